"""A secret is in no log, event, page, exception text, journal file or dump, in no dress (P7)."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import re
import secrets as random
import subprocess
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from glob import glob
from typing import Any

import pytest
import pytest_asyncio

from tests.support.amqp import Listener, command, eventually, message
from tests.support.leaks import leaks
from tests.support.seen import pages_of, signed_in
from tests.support.stage import DOMAIN, MODULE, Stage, about, staged
from worker.sandbox.processes import ServiceError

pytestmark = MODULE
ADMIN = f"Adm{random.token_hex(6)}"
stage = staged(settings={"logs": {"level": "debug"}}, password=ADMIN)

# Signs that every dress changes, and letters of two bytes; nothing of it can stand somewhere by chance.
PORTAL = f"p&<ç>\"'/+ %41\\{random.token_hex(6)}"
SIP = f"sip;ü={random.token_hex(8)}&a<b>"
VOICEMAIL = str(10**17 + int.from_bytes(random.token_bytes(6)))
FOREIGN = f"other-{random.token_hex(8)}"  # of a subscriber that somebody else made
REFUSED = f"refused-{random.token_hex(8)}"  # in messages that are refused
# There too, where no secret belongs. Who mends such a message has to see it; looking is an act that is recorded.
MISPLACED = f"misplaced-{random.token_hex(8)}"
SECRETS = {
    "the administrator's password": ADMIN,
    "the portal password": PORTAL,
    "the SIP password": SIP,
    "the voicemail password": VOICEMAIL,
    "a password that the platform has from elsewhere": FOREIGN,
    "a password in a refused message": REFUSED,
    "a password where none belongs": MISPLACED,
}


def create(username: str, **changes: Any) -> dict[str, Any]:
    order = {
        "password": SIP,
        "portal_password": PORTAL,
        "voicemail_password": VOICEMAIL,
        "voicemail": True,
        "profile": "residential",
        "rate_plan_id": 3,
        "email": f"{username}@{DOMAIN}",
        "country_code": 55,
        "area_code": 11,
        "call_limit": 2,
    }
    return command("subscriber.create.v1", about(username, **{**order, **changes}))


@dataclass(slots=True)
class Aftermath:
    """Where a secret is looked for."""

    places: dict[str, bytes] = field(default_factory=dict)
    looks: dict[str, bytes] = field(default_factory=dict)  # pages that show a refused message to who mends it
    statuses: dict[str, str] = field(default_factory=dict)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def aftermath(stage: Stage, request: pytest.FixtureRequest) -> Aftermath:
    """Everything that can happen to a password, and then all that the worker left anywhere."""
    found = Aftermath()
    async with Listener(stage.broker, exchange=None) as answers:
        await stage.platform.tell("principal", password=ADMIN)
        await happen(stage, answers.queue, found)
        await eventually(lambda: len(answers.heard) >= 2, 30)
        for name, one in (("results", stage.results), ("audit", stage.audit), ("reply_to", answers)):
            found.places |= {
                f"{name} {n} {heard.type}": heard.body + repr(heard.message.info()).encode()
                for n, heard in enumerate(one.heard)
            }
    await refuse(stage)
    await hold(stage, found)
    await command_line(stage, found)
    found.places |= {f"page {path}": body for path, body in (await pages_of(stage.worker)).items()}
    await more_pages(stage, found)
    await stage.settled()
    found.places |= dict(left(stage))
    if stage.journal:
        found.places["dump"] = dumped(stage.journal)
    return found


ECHOES = (
    "rejected: {password} and {secret}",
    f"<a>{html.escape(SIP)}</a> {html.escape(PORTAL)}",
    f"url {urllib.parse.quote(SIP, safe='')} {urllib.parse.quote_plus(PORTAL)}",
    f"json {json.dumps(PORTAL)} {json.dumps({'password': SIP})}",
    f"base64 {base64.b64encode(SIP.encode()).decode()} {base64.b64encode(('x' + PORTAL).encode()).decode()}",
    f"basic {base64.b64encode(('admin:' + ADMIN).encode()).decode()}",
    f"twice {urllib.parse.quote(html.escape(PORTAL))} {html.escape(json.dumps(PORTAL))}",
)


async def happen(stage: Stage, answers: str, found: Aftermath) -> None:
    """Each kind of ending for an order that holds secrets."""
    fail = stage.platform.fail
    told: dict[str, dict[str, Any]] = {}
    for number, text in enumerate(ECHOES):
        name = f"echo-{number}"
        told[name] = create(name)
        await fail("insertSubscriber", "declared", text=text, username=name)
    for name, kind in (
        ("lost", "drop_after"),
        ("late", "drop_before"),
        ("garbage", "garbage"),
        ("page", "html500"),
    ):
        told[name] = create(name)
        await fail("insertSubscriber", kind, username=name, count=1, text="{password} {secret}")
    told["undeclared"] = create("undeclared")
    await fail("insertSubscriber", "undeclared", username="undeclared", count=1, text="{password} {secret}")
    foreign = {"password": FOREIGN, "passwordPortal": FOREIGN, "username": "there", "domain": DOMAIN}
    await stage.platform.tell("subscribers", **foreign)
    told["there"] = create("there")
    told["adopt"] = create("there", if_exists="adopt")
    told["update"] = create("there", if_exists="update")
    told["plain"] = create("plain")
    told["get"] = command("subscriber.get.v1", about("there"))
    told["get-plain"] = command("subscriber.get.v1", about("plain"))
    told["fields"] = create("fields", platform_fields={"voiceMailPassword": VOICEMAIL})
    del told["fields"]["data"]["voicemail_password"]
    for one in told.values():
        await stage.send(one, reply_to=answers)
    for name, one in told.items():
        found.statuses[name] = (await stage.ending(one["id"], within=90)).data["status"]
    removed = command("subscriber.remove.v1", about("there"))
    again = {**told["plain"], "id": str(uuid.uuid4()), "idempotencykey": told["plain"]["id"]}
    await stage.send(removed, told["plain"], again, reply_to=answers)
    found.statuses["remove"] = (await stage.ending(removed["id"])).data["status"]
    found.statuses["again"] = (await stage.ending(again["id"])).data["status"]


async def refuse(stage: Stage) -> None:
    """Messages that are refused, a password in each of them."""
    wrong: list[dict[str, Any]] = [
        create("bad", password=[REFUSED]),
        create("bad", password={"is": REFUSED}),
        create("bad", password=REFUSED + "\n"),
        create("bad", password=REFUSED * 50),
        create("bad", password=REFUSED, passwd=REFUSED),
        create("bad", password=REFUSED, call_limit=MISPLACED),
        create("bad", password=REFUSED, email=MISPLACED),
        create("bad", if_exists=MISPLACED),
        create("bad", voicemail_password=REFUSED),
        create("bad", platform_fields={"voiceMailPassword": REFUSED}),
        create("bad", portal_password=REFUSED, platform_fields={"passwordPortal": REFUSED}),
        {**create("bad", password=REFUSED), "type": "subscriber.mend.v1"},
        {**create("bad", password=REFUSED), "time": MISPLACED},
        {**create("bad", password=REFUSED), "data": MISPLACED},
        command("credit.add.v1", about("bad", amount=MISPLACED)),
    ]
    text = json.dumps(create("bad", password=REFUSED))
    broken = [
        text[:-2],
        text.replace('"area_code"', '"password": 1, "area_code"'),
        f"password={MISPLACED}",
        f'"{MISPLACED}"',
    ]
    first = create("joao", password=REFUSED)
    conflicts = [first, {**first, "data": {**first["data"], "password": f"{REFUSED}2"}}]
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "x",
        "ce-source": "/tests",
        "ce-type": "subscriber.create.v1",
    }
    headers |= {"authorization": REFUSED, "ce-time": "never"}
    before = len(_refused(stage))
    await stage.send(*wrong, *(one.encode() for one in broken), *conflicts)
    await stage.send(message(text.encode(), "application/json", headers=headers))
    wanted = before + len(wrong) + len(broken) + 2
    await eventually(lambda: len(_refused(stage)) >= wanted, 60, what=f"{wanted} refusals")
    assert len(_refused(stage)) == wanted


def _refused(stage: Stage) -> list[Any]:
    return [one for one in stage.results.heard if one.data["status"] == "refused"]


async def hold(stage: Stage, found: Aftermath) -> None:
    """The platform refuses our login, and says with which words: the platform is held, and told about."""
    texts = {
        "wrong_principal": f"no {{login}}/{{password}} here; {base64.b64encode(ADMIN.encode()).decode()}"
    }
    await stage.platform.tell("switches", texts=texts)
    await stage.platform.tell("principal", password="changed")
    order = create("held")
    await stage.send(order)

    async def held() -> bool:
        return "held" in (await stage.worker.get("/readyz"))[1]

    await eventually(held, 60, 0.2, "a platform that is held")
    doctor = await stage.cli("doctor", code=None)
    found.places["doctor"] = (doctor.out + doctor.err).encode()
    assert doctor.code != 0
    for page in ("/readyz", "/healthz", "/metrics"):
        found.places[f"held {page}"] = (await stage.worker.get(page))[1].encode()
    await stage.platform.tell("principal", password=ADMIN)
    found.statuses["held"] = (await stage.ending(order["id"], within=90)).data["status"]


async def command_line(stage: Stage, found: Aftermath) -> None:
    """What a person sees; also of settings and fields that are wrong."""
    calls: dict[str, tuple[str, ...]] = {
        "list": ("commands", "list", "--json", "--limit", "500"),
        "quarantine": ("quarantine", "list", "--json", "--limit", "500"),
        "quarantine for eyes": ("quarantine", "list"),
        "platforms": ("platforms", "list"),
    }
    for name, words in calls.items():
        await print_of(stage, found, name, *words)
    listed = json.loads(found.places["worker list"])
    chosen = {row["message_id"]: row for row in listed if row["type"] == "subscriber.create.v1"}
    for one in chosen:
        await print_of(stage, found, f"show {one}", "commands", "show", one, "--json")
        await print_of(stage, found, f"show {one} for eyes", "commands", "show", one)
    nowhere = {"WORKER__BROKER__URL": f"amqp://u:{SIP_URL}@127.0.0.1:1/"}
    away = {"WORKER__JOURNAL__URL": f"postgresql://u:{SIP_URL}@127.0.0.1:1/x"}
    wrong = ("send", "subscriber.create", "subscriber.username=x", f"password={SIP}", f"email={SIP}")
    await asyncio.gather(
        print_of(stage, found, "send", "--debug", *wrong),
        print_of(stage, found, "lost doctor", "--debug", "doctor", **nowhere),
        print_of(stage, found, "list without journal", "--debug", "commands", "list", **away),
    )


async def print_of(stage: Stage, found: Aftermath, name: str, *words: str, **env: str) -> None:
    """With --debug an error ends the process with its traceback: then in one of its own."""
    apart = "--debug" in words
    done = await (stage.cli(*words, code=None, **env) if apart else stage.here(*words))
    found.places[f"worker {name}"] = (done.out + done.err).encode()


async def more_pages(stage: Stage, found: Aftermath) -> None:
    """What is behind a click: lists, mending a command, looking into quarantine."""
    async with signed_in(stage.worker) as client:
        commands = (await client.get("/api/v1/commands?type=subscriber.create")).json()["rows"]
        refused = (await client.get("/api/v1/quarantine")).json()
        paths = ["/quarantine", "/api/v1/quarantine", "/api/v1/in-doubt", "/scheduled", "/people", "/acts"]
        for path in (*paths, *(f"/commands/{row['id']}/edit" for row in commands)):
            answer = await client.get(path)
            assert answer.status_code == 200, (path, answer.text)
            found.places[f"page {path}"] = answer.content
        mark = re.findall(r'name="csrf" value="([^"]+)"', (await client.get("/scheduled")).text)[0]
        for row in refused:
            path = f"/quarantine/{row['uid']}/look"
            answer = await client.post(path, data={"csrf": mark, "reason": "for a test"})
            assert answer.status_code == 200, (path, answer.text)
            found.looks[path] = answer.content


SIP_URL = urllib.parse.quote(SIP, safe="")


def left(stage: Stage) -> Iterator[tuple[str, bytes]]:
    """All files of the worker but its settings and its key: log, SQLite, its write-ahead log."""
    for file in sorted(stage.workers.folder.iterdir()):
        if file.name not in ("worker.toml", "worker.key"):
            yield file.name, file.read_bytes()


def dumped(url: str) -> bytes:
    programs = sorted(glob("/usr/lib/postgresql/*/bin/pg_dump"))
    if not programs:
        raise ServiceError("no pg_dump: install it with deploy/packages postgresql")
    return subprocess.run([programs[-1], "--inserts", url], check=True, capture_output=True).stdout


async def test_every_ending_was_there(stage: Stage, aftermath: Aftermath) -> None:
    """Otherwise nothing could have leaked."""
    rejected = {f"echo-{number}" for number in range(len(ECHOES))} | {"there", "adopt"}
    wanted = {name: "rejected" if name in rejected else "succeeded" for name in aftermath.statuses}
    assert aftermath.statuses == wanted
    stored = (await stage.platform.ask("state", username="plain", domain=DOMAIN, secrets="1"))["subscribers"][
        0
    ]
    assert (stored["password"], stored["passwordPortal"]) == (SIP, PORTAL)
    assert str(stored["voiceMailPassword"]) == VOICEMAIL


async def test_no_secret_is_found_anywhere(stage: Stage, aftermath: Aftermath) -> None:
    assert len(aftermath.places) > 60
    assert leaks(everything(stage), aftermath.places) == []
    assert {"page /in-doubt", "page /audit", "page /failures", "page /quarantine"} <= aftermath.places.keys()


async def test_a_look_at_a_refused_message_shows_no_field_that_is_a_secret(
    stage: Stage, aftermath: Aftermath
) -> None:
    assert len(aftermath.looks) > 15
    secrets = {name: secret for name, secret in everything(stage).items() if secret != MISPLACED}
    assert leaks(secrets, aftermath.looks) == []


def everything(stage: Stage) -> Mapping[str, str]:
    """Passwords of the services too."""
    urls = {"the broker's password": stage.broker, "the database's password": stage.journal or ""}
    services = {name: urllib.parse.urlsplit(url).password for name, url in urls.items()}
    return SECRETS | {name: word for name, word in services.items() if word}


async def test_the_logs_were_as_talkative_as_they_can_be(stage: Stage, aftermath: Aftermath) -> None:
    log = aftermath.places["worker-1.log"].decode()
    assert stage.workers.settings["logs"] == {"level": "debug"}
    assert "attempt.settled" in log


async def test_the_refusals_say_what_was_wrong_all_the_same(stage: Stage, aftermath: Aftermath) -> None:
    fields = [one.data["error"].get("field") for one in _refused(stage)]
    assert {"password", "passwd", "call_limit", "email", "if_exists", "voicemail_password"} <= set(fields)


def dressed(secret: str) -> Iterator[str]:
    """As programs would write it, with something around it."""
    told = {"order": {"password": secret}}
    yield f"before {secret} behind"
    yield json.dumps(told)
    yield json.dumps({"body": json.dumps(told)})
    yield json.dumps(told, ensure_ascii=False)
    yield repr(told)
    yield f"<password>{html.escape(secret)}</password>"
    yield html.escape(f"<password>{html.escape(secret)}</password>")
    yield "".join(f"&#{ord(sign)};" for sign in secret)
    yield urllib.parse.urlencode({"password": secret})
    yield "http://x/" + urllib.parse.quote(urllib.parse.quote(json.dumps(told)))
    yield re.sub("%..", lambda found: found[0].lower(), urllib.parse.quote(secret, safe=""))
    for before in ("", "a", "ab"):
        for behind in ("", "y", "yz"):
            yield base64.b64encode((before + secret + behind).encode()).decode()
            yield base64.urlsafe_b64encode((before + secret + behind).encode()).decode()
    yield secret.encode().hex()


async def test_the_search_finds_a_secret_in_every_dress() -> None:
    for name, secret in SECRETS.items():
        for text in dressed(secret):
            planted = {"log": b"line 1\n" + text.encode() + b"\nline 3"}
            assert leaks({name: secret}, planted), f"{name} was not found in {text}"
            assert not leaks({name: "another" + secret[::-1]}, planted)


async def test_the_search_finds_a_planted_secret_in_the_places_searched(
    stage: Stage, aftermath: Aftermath
) -> None:
    marker = f"planted-{random.token_hex(8)}"
    await stage.send(command("credit.get.v1", about("plain"), subject=marker))
    await eventually(lambda: any(marker.encode() in one.body for one in stage.results.heard))
    await stage.settled()
    where = dict(left(stage)) | ({"dump": dumped(stage.journal)} if stage.journal else {})
    where |= {"event": b"".join(one.body for one in stage.results.heard)}
    found = {line.split(" stands in ")[1].split(",")[0] for line in leaks({"marker": marker}, where)}
    assert found >= ({"event", "dump"} if stage.journal else {"event", "worker.db-wal"}), found
