"""`worker send --dry-run`: what a command would become, of every command, and whether what it names is there."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from worker.cli import main
from worker.cli.dry_run import step_as_data
from worker.domain.effect import Effect
from worker.domain.redaction import secrets_in
from worker.messages.errors import Problem
from worker.platforms.build import build
from worker.platforms.port import Order
from worker.platforms.preview import Previewing
from worker.settings import PlatformSettings, RingmeSettings, SippulseSettings, VoipmundoSettings
from worker.simulators.sippulse import Simulator, SimulatorConfig, serve

EXAMPLES = Path(__file__).parents[2] / "contracts" / "examples"
PASSWORD = "adm-secret-of-the-platform"
NOWHERE = "http://127.0.0.1:9"
COMMON: dict[str, Any] = {"url": NOWHERE, "allow": ["*"], "limits": {"negative_credit": True}}
KINDS: Mapping[str, PlatformSettings] = {
    "sippulse": SippulseSettings(
        kind="sippulse",
        login="integration",
        password=PASSWORD,
        assume={"all_documented_operations": True},
        call_records={"url": f"mysql://reader:{PASSWORD}@127.0.0.1:9/sippulse"},
        **COMMON,
    ),
    "voipmundo": VoipmundoSettings(
        kind="voipmundo", api_token=PASSWORD, api_key="key-" + PASSWORD, undocumented=True, **COMMON
    ),
    "ringme": RingmeSettings(kind="ringme", app_id="app", app_secret=PASSWORD, undocumented=True, **COMMON),
}


def examples(kind: str) -> Iterator[dict[str, Any]]:
    for file in sorted(EXAMPLES.glob("*.json")):
        event = json.loads(file.read_text())
        name = str(event["data"].get("platform", ""))
        if not event["type"].startswith("provisioning.") and name.split("-")[0] == kind:
            yield event


@pytest.mark.parametrize("kind", KINDS)
async def test_every_command_shows_its_requests_and_its_evidence_and_no_secret(kind: str) -> None:
    settings, seen = KINDS[kind], 0
    platform = await build(f"{kind}-x", settings)
    assert isinstance(platform, Previewing)
    try:
        for event in examples(kind):
            plan = platform.plan(Order(event["id"], event["type"], event["data"]))
            for step in () if isinstance(plan, Problem) else plan:
                shown = step_as_data(step, await platform.preview(step), settings)
                seen += 1
                told = json.dumps(shown, ensure_ascii=False)
                for secret in (PASSWORD, *secrets_in(event["data"])):
                    assert secret not in told, event["type"]
                request = shown["request"]
                assert request["method"] or shown["notes"], f"{event['type']}: no request, and no word why"
                if request["method"]:
                    assert request["url"].startswith(NOWHERE)
                assert shown["evidence"]["lost"], event["type"]
                if step.effect in (Effect.CREATE, Effect.INCREMENT) and step.readable:
                    assert shown["evidence"]["reads"], event["type"]
    finally:
        await platform.close()
    assert seen > 20


async def test_an_envelope_is_the_one_that_would_go_out() -> None:
    """Well-formed, with the login of the settings, for every operation of the catalogue that is sent."""
    settings = KINDS["sippulse"]
    platform = await build("sippulse-br", settings)
    assert isinstance(platform, Previewing)
    operations = set()
    try:
        for event in examples("sippulse"):
            plan = platform.plan(Order(event["id"], event["type"], event["data"]))
            assert not isinstance(plan, Problem), (event["type"], plan)
            for step in plan:
                preview = await platform.preview(step)
                if not step.paged:
                    root = etree.fromstring(preview.body)
                    operations.add(etree.QName(root[-1][0]).localname)
                    login = root.find(".//principal/login")
                    assert (login is None) == step.endpoint.startswith("CustomerWS.")
    finally:
        await platform.close()
    assert len(operations) >= 95


# On the command line -------------------------------------------------------------------------------

DOMAIN = "voip.example"
ANA = ("subscriber.username=551140001000", f"subscriber.domain={DOMAIN}")
NEW = (
    "password=s3cret-of-a-new-one", "portal_password=p0rtal-of-a-new-one", "rate_plan_id=1", "profile=residential",
    "email=ana@voip.example", "country_code=55", "area_code=11", "call_limit=2",
)  # fmt: skip


def other(field: str) -> tuple[str, ...]:
    """A new subscriber, with one field otherwise."""
    name = field.partition("=")[0]
    return (*(each for each in NEW if not each.startswith(f"{name}=")), field)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    ana = {"username": "551140001000", "domain": DOMAIN, "balance": "5"}
    config = SimulatorConfig(
        password=PASSWORD, domains=(DOMAIN, "other.example"), rate_plans=("standard",), subscribers=(ana,)
    )
    simulator = await serve(0, config=config)
    yield simulator
    await simulator.close()


@pytest.fixture
def file(sim: Simulator, tmp_path: Path) -> Path:
    made = tmp_path / "worker.toml"
    made.write_text(
        f'[platforms.sippulse-br]\nkind = "sippulse"\nurl = "{sim.url}"\nlogin = "integration"\n'
        f'password = "{PASSWORD}"\ntimeout = "3s"\nallow = ["sippulse.*"]\n'
    )
    sim.platform.login = "integration"
    return made


async def dry(file: Path, *words: str) -> tuple[int, str, str]:
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = await asyncio.to_thread(main, ["--config", str(file), "send", *words, "--dry-run"])
    for secret in (PASSWORD, "s3cret-of-a-new-one", "p0rtal-of-a-new-one"):
        assert secret not in out.getvalue() + err.getvalue()
    return code, out.getvalue(), err.getvalue()


async def test_people_read_the_steps_the_envelope_and_what_follows_a_lost_answer(
    file: Path, sim: Simulator
) -> None:
    code, out, _ = await dry(file, "credit.add", *ANA, "amount=2.50", "--key", "k1", "--id", "order-7")
    assert code == 0
    for line in (
        "step 1  SubscriberWS.addCredit (increment)",
        f"POST {sim.url}/SubscriberWS",
        "<value>2.50</value>",
        "<obs>order-7</obs>",
        "<password>***</password>",
        "before the call: the balance, by SubscriberWS.retrieveCredit, is read once and kept",
        "moved by exactly 2.50: done",
        "not moved, neither at once nor at the end: called again",
        "nothing was sent",
    ):
        assert line in out
    assert sim.platform.ledger.operations == {}, "not even a read"


async def test_what_is_read_first_stands_as_such_in_the_envelope(file: Path) -> None:
    _, out, _ = await dry(file, "subscriber.update", *ANA, "changes.platform_fields.rings:=20", "--json")
    [step] = json.loads(out)["steps"]
    assert "<rings>20</rings>" in step["request"]["body"]
    assert "<activeOutgoingCalls>…</activeOutgoingCalls>" in step["request"]["body"]
    assert "is read first" in step["notes"][0]
    assert step["evidence"]["reads"] == ["SubscriberWS.retrieveSubscriber"]


async def test_the_platform_has_all_that_a_good_order_names(file: Path, sim: Simulator) -> None:
    new = ("subscriber.username=551140001999", f"subscriber.domain={DOMAIN}", *NEW)
    code, out, _ = await dry(file, "subscriber.create", *new, "--against-platform", "--json")
    found = json.loads(out)["against_platform"]
    assert (code, [each["right"] for each in found]) == (0, [True] * 4)
    assert [each["what"].split()[0] for each in found] == ["domain", "subscriber", "profile", "rate"]
    assert not sim.platform.ledger.entries


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("subscriber.create", *ANA, *NEW), "is there already: the command would be rejected already_exists"),
        (
            ("subscriber.create", *ANA, *other("profile=gold")),
            "no profile gold in voip.example: it has business",
        ),
        (
            ("subscriber.create", *ANA, *other("rate_plan_id=9")),
            "no rate plan 9 in voip.example: it has 1 (standard)",
        ),
        (("calls.block", "subscriber.username=1", f"subscriber.domain={DOMAIN}"), "rejected not_found"),
        (
            ("calls.block", "subscriber.username=1", "subscriber.domain=nowhere.example"),
            "domain nowhere.example is not among those of this login: it has other.example, voip.example",
        ),
        (
            (
                "sippulse.SubscriberWS.changeProfile",
                "username=551140001000",
                f"domain={DOMAIN}",
                "newProfileId=7",
            ),
            "no profile 7 in voip.example: it has 1 (default), 2 (residential), 3 (business)",
        ),
    ],
)
async def test_what_is_missing_is_named_with_what_there_is_and_ends_with_an_error(
    file: Path, sim: Simulator, words: tuple[str, ...], said: str
) -> None:
    code, out, err = await dry(file, *words, "--against-platform")
    assert code == 1
    assert said in out
    assert "the platform is not as this command needs it" in err
    assert not sim.platform.ledger.entries


async def test_a_platform_that_does_not_answer_is_said_and_nothing_is_claimed(
    file: Path, sim: Simulator
) -> None:
    await sim.close()
    code, out, _ = await dry(file, "calls.block", *ANA, "--against-platform", "--json")
    found = json.loads(out)["against_platform"]
    assert code == 1
    assert {each["there"] for each in found} == {None}
    assert all("cannot be reached" in each["said"] for each in found)


async def test_a_login_that_is_refused_is_said(file: Path, sim: Simulator) -> None:
    sim.platform.password = "changed by somebody"
    code, out, _ = await dry(file, "calls.block", *ANA, "--against-platform")
    assert code == 1
    assert "could not be read: the platform says: Authentication failed" in out


async def test_only_a_dry_run_is_held_against_the_platform(file: Path) -> None:
    with redirect_stderr(io.StringIO()) as err:
        code = await asyncio.to_thread(
            main, ["--config", str(file), "send", "calls.block", *ANA, "--against-platform"]
        )
    assert code == 2
    assert "--against-platform goes with --dry-run" in err.getvalue()
