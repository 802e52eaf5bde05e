"""The platform's answers under fire: any status, headers and bytes in; one of the declared outcomes out."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, cast

from tests.security.fuzzing.mutation import bent
from worker.domain.evidence import Reading
from worker.domain.outcome import Busy, Done, Exchange, Ill, NotSent, Outcome, Refused, Unclear
from worker.platforms.build import build
from worker.platforms.port import Guard, Order, Reply, Step
from worker.platforms.refusals import MOST_TEXT
from worker.platforms.sippulse.adapter import SippulsePlatform
from worker.platforms.sippulse.client import MOST_KEPT, Client
from worker.platforms.transport import NO_GUARD, Answer, Request, Transport
from worker.settings import SippulseSettings
from worker.simulators.sippulse.soap import child, declared_fault, success, undeclared_fault

NAME = "answers"
PASSWORD = "Adm-Secret&77"
SUBSCRIBERS_PASSWORD = "Sub-Secret&1"
USER, DOMAIN = "551133330001", "pbx.example"
SETTINGS = SippulseSettings.model_validate(
    {
        "kind": "sippulse",
        "url": "http://127.0.0.1:9/SipPulse",
        "login": "admin",
        "password": PASSWORD,
        "settle": 0.01,
        "refusals": {"saldo insuficiente": "over_limit", "try later": "busy", "database": "ill"},
    }
)
OUTCOMES = (Done, Refused, Ill, Busy, NotSent, Unclear)
UNREAD = (Refused, Ill, Busy, NotSent, Unclear)
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
OPERATION = re.compile(rb"<(?:[\w.-]+:)?Body[^>]*>\s*<(?:[\w.-]+:)?([A-Za-z0-9]+)")


class Canned:
    """Stands where the transport stands: the answer under test first, and then that again or a good one."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.then_good = False

    async def send(self, request: Request, guard: Guard = NO_GUARD) -> Answer:
        guard.before_first_byte()
        guard.wrote()
        if self.then_good and not self.answers:
            return Answer(200, {}, good(request.body or b""), 0.0, 0.1)
        status, headers, body = self.answers[0]
        if self.then_good:
            self.answers.pop(0)
        return Answer(status, headers, body, time.monotonic(), time.monotonic())

    async def close(self) -> None: ...


CANNED = Canned()
LOOP = asyncio.new_event_loop()


@cache
def client() -> Client:
    """A real one but for its transport."""
    built = cast(SippulsePlatform, LOOP.run_until_complete(build("sippulse-br", SETTINGS)))
    built._client._transport = cast(Transport, CANNED)
    return built._client


def platform() -> SippulsePlatform:
    """A new one for each case: it learns how this server says "absent"."""
    return SippulsePlatform("sippulse-br", SETTINGS, client())


# ---------------------------------------------------------------- real answers

RECORD = {
    "username": USER, "domain": DOMAIN, "id": 4711, "password": "pw-of-the-first", "passwordPortal": "portal-1",
    "email": "ana@pbx.example", "profile": "default", "rateId": 3, "countryCode": "55", "areaCode": "11",
    "callLimit": 2, "activeOutgoingCalls": True, "blockCollectCalls": False, "credit": "12.34", "firstName": "Ana",
    "voiceMail": True, "voiceMailPassword": "90817", "street": "Rua A & B", "keepAlive": 1, "cps": 2,
}  # fmt: skip


def good(request: bytes) -> bytes:
    """What a platform that is well says to this request."""
    found = OPERATION.search(request)
    operation = found[1].decode() if found else "listDomains"
    return success(operation, INNER.get(operation, "")).body


def _record() -> str:
    return "".join(child(name, value) for name, value in RECORD.items())  # type: ignore[arg-type]  # plain values


INNER = {
    "retrieveSubscriber": f"<return>{_record()}</return>",
    "retrieveCredit": "<return>12.34</return>",
    "insertSubscriber": "<return>4711</return>",
    "listDomains": "<return><domain>pbx.example</domain></return><return><domain>b.example</domain></return>",
}


def _step(command: str, **data: Any) -> Step:
    who = {"username": USER, "domain": DOMAIN}
    order = Order("order-1", f"{command}.v1", {"platform": "sippulse-br", "subscriber": who, **data})
    steps = platform().plan(order)
    assert isinstance(steps, tuple), steps
    return steps[0]


@cache
def steps() -> dict[str, Step]:
    new = {
        "password": SUBSCRIBERS_PASSWORD, "portal_password": "Por-Secret'2", "profile": "default", "rate_plan_id": 3,
        "email": "ana@example.com", "country_code": 55, "area_code": 11, "call_limit": 2,
    }  # fmt: skip
    return {
        "create": _step("subscriber.create", **new),
        "get": _step("subscriber.get"),
        "remove": _step("subscriber.remove"),
        "block": _step("calls.block", kinds=["outgoing"]),
        "credit": _step("credit.add", amount="10.00", note="x"),
        "balance": _step("credit.get"),
    }


OPERATIONS = {
    "create": "insertSubscriber",
    "get": "retrieveSubscriber",
    "remove": "retrieveSubscriber",
    "block": "blockOutgoingCalls",
    "credit": "addCredit",
    "balance": "retrieveCredit",
    "look create": "retrieveSubscriber",
    "look block": "retrieveSubscriber",
    "look credit": "retrieveCredit",
    "control": "listDomains",
}


def written(do: str, status: int, body: bytes, then: str = "same", **headers: str) -> bytes:
    """An answer as text, so that it can be mutated: what it answers, status, headers, an empty line, the body."""
    lines = [f"do: {do}", f"then: {then}", f"status: {status}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\n".join([*lines, "", ""]).encode() + body


def bend(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    return bent(seeds, TOKENS, chance)


def corpus() -> list[bytes]:
    """Each operation's own answer, faults of both kinds, and what proxies and crashing servers say."""
    return [*_answers(), *_echoes()]


def _answers() -> Iterator[bytes]:
    for number, (do, operation) in enumerate(OPERATIONS.items()):
        then = ("same", "good")[number % 2]
        yield written(do, 200, success(operation, INNER.get(operation, "")).body, then)
        yield written(do, 500, declared_fault("User not found: 551133330001").body, then)
        yield written(do, 500, undeclared_fault("java.lang.NullPointerException").body, then)
        yield written(do, 500, declared_fault("saldo insuficiente").body, then)
    yield written("credit", 503, b"Service Unavailable", Retry_After="Wed, 21 Oct 2026 07:28:00 GMT")
    yield written("credit", 429, b"", Retry_After="120")
    yield written("create", 500, b"<!DOCTYPE html><html><body><h1>HTTP Status 500</h1></body></html>")
    yield written("get", 401, b"<html/>")
    yield written("get", 302, b"", Location="http://127.0.0.1:1/")
    yield written(
        "get", 200, b'<?xml version="1.0" encoding="UTF-16"?>' + success("retrieveSubscriber", "").body
    )
    yield written("get", 200, '<?xml version="1.0" encoding="UTF-16"?><a>ü</a>'.encode("utf-16"))


def _echoes() -> Iterator[bytes]:
    """Servers that quote the request, and the password with it."""
    for text in (
        PASSWORD,
        "Adm-Secret&amp;77",
        "&#65;dm-Secret&#x26;77",
        "Adm-Secret%2677",
        SUBSCRIBERS_PASSWORD,
    ):
        yield written("create", 500, declared_fault(f"refused for {text}").body)
        yield written("create", 200, f"<a><password>{text}</password>{text}</a>".encode())


TOKENS = (
    b"<", b">", b"/>", b"</", b"&", b"&amp;", b"&lt;", b"&#0;", b"&#x110000;", b"&x;", b"]]>", b"<![CDATA[", b"<!--",
    b"<?xml version='1.0' encoding='", b"UTF-16", b"UTF-7", b"ISO-8859-1", b"<!DOCTYPE a [<!ENTITY x 'y'>]>", b"\x00",
    b"<!ENTITY x SYSTEM 'file:///etc/passwd'>", b"xsi:nil='true'", b"xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'",
    b"<return>", b"</return>", b"<S:Fault>", b"<detail>", b"<faultMessage>", b"<S:Body>", b"xsi:type='xs:int'", b"-INF",
    b"NaN", b"1e999", b"-0", b"9999999999999999999999", b"<id/>", b"<username></username>", b"\xff", b"\xed\xa0\x80",
    b"status: 200", b"status: 500", b"Retry-After: -1", b"Retry-After: 99999999999999999999", b"do: get\n", b"do: credit\n",
    b"then: good\n", b"<xi:include href='file:///etc/passwd' xmlns:xi='http://www.w3.org/2001/XInclude'/>", b"\n\n",
    b"href='#1'", b"<password>", b"&lt;password ", b"%2525", b"\\u0041", b"PASSWORD",
)  # fmt: skip


# ---------------------------------------------------------------- one case


def check(data: bytes) -> str:
    """One case. Returns how it ended, in a word; raises AssertionError, or what escaped the adapter."""
    head, _, body = data.partition(b"\n\n")
    fields: dict[str, str] = {}
    for line in head.decode("latin-1").split("\n")[:30]:
        name, _, value = line.partition(": ")
        fields[name] = value
    do = fields.pop("do", "get")
    CANNED.then_good = fields.pop("then", "") == "good"
    CANNED.answers = [(_status(fields.pop("status", "")), fields, body)]
    client()  # loads the WSDLs the first time, in the loop that the case then runs in
    return LOOP.run_until_complete(_ask(do, CANNED.answers[0][0]))


def _status(text: str) -> int:
    return int(text) if re.fullmatch(r"[1-9][0-9]{2}", text, re.ASCII) else 200


async def _ask(do: str, status: int) -> str:
    asked = platform()
    if do == "control":
        return _outcome(await asked.control(), status)
    if do.startswith("look "):
        seen = await asked.look(steps().get(do[5:], steps()["create"]), None)
        assert isinstance(seen, (Reading, *UNREAD)), type(seen)
        return _reading(seen) if isinstance(seen, Reading) else _outcome(seen, status)
    reply = await asked.call(steps().get(do, steps()["get"]), NO_GUARD)
    assert isinstance(reply, Reply), type(reply)
    _exchange(reply.exchange)
    if do == "create":
        assert SUBSCRIBERS_PASSWORD not in str(reply), "the subscriber's password"
    return _outcome(reply.outcome, status)


def _outcome(outcome: Outcome, status: int) -> str:
    assert isinstance(outcome, OUTCOMES), type(outcome)
    match outcome:
        case Done(output):
            assert status == 200 or CANNED.then_good, "done, and the server said otherwise"
            _storable(output)
        case Refused(_, text) | Ill(text):
            _sayable(text)
        case Busy(after):
            assert 1 <= after <= 3600, after
        case NotSent(why) | Unclear(why):
            assert re.fullmatch(r"[a-z_]+", why), why
    return type(outcome).__name__


def _reading(seen: Reading) -> str:
    if seen.balance is not None:
        assert seen.balance.is_finite()
    _storable({"record": seen.record, "differences": list(seen.differences), "id": seen.platform_id})
    return "Reading"


def _storable(value: Any) -> None:
    """As an event and as a row: JSON without NaN, and no character that a database refuses."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_refuse)
    text.encode()
    assert not UNSTORABLE.search(text)


def _refuse(value: object) -> object:
    raise AssertionError(f"an output holds a {type(value).__name__}")


def _sayable(text: str) -> None:
    assert text, "an empty text"
    assert len(text) <= max(MOST_TEXT, 300), f"a text of {len(text)} characters"
    assert "\n" not in text, "a text of more than one line"
    assert PASSWORD not in text, "the password in a text"


def _exchange(kept: Exchange) -> None:
    for text in (kept.request, kept.answer):
        assert len(text.encode()) <= MOST_KEPT
        assert PASSWORD not in text, "the password in an exchange"
