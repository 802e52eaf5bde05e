"""`worker platforms learn` against every way that the simulated platform may behave."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import sys
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import eventually
from worker.bootstrap import open_stored_journal
from worker.cli import main
from worker.cli.context import actor
from worker.platforms.sippulse import connect
from worker.platforms.sippulse.learn import CannotLearn, Given, Report, Study
from worker.platforms.sippulse.records import Name
from worker.settings import SippulseAssume, SippulseSettings, load
from worker.simulators.sippulse import Simulator, SimulatorConfig, serve
from worker.simulators.sippulse.config import CHOICES, Switches

DOMAIN = "voip.example"
TEST = Name("5511999990000", DOMAIN)
LOGIN, PASSWORD = "admin", "adm-secret-of-staging"
ME = ("--subscriber", str(TEST))

Start = Callable[..., Awaitable[Simulator]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with contextlib.AsyncExitStack() as stack:

        async def begin(**config: Any) -> Simulator:
            usual = {"password": PASSWORD, "domains": [DOMAIN], "rate_plans": ["standard"]}
            sim = await serve(0, config=SimulatorConfig.from_values({**usual, **config}))
            stack.push_async_callback(sim.close)
            return sim

        yield begin


def settings_for(sim: Simulator, **given: Any) -> SippulseSettings:
    keys = {"url": sim.url, "login": LOGIN, "password": PASSWORD, "timeout": 2.0, **given}
    return SippulseSettings(kind="sippulse", environment="staging", **keys)


async def learned(sim: Simulator, **given: Any) -> Report:
    settings = settings_for(sim, **given)
    client = await connect("sippulse-st", settings)
    study = Study(client, settings, TEST, Given())
    try:
        await study.run(lambda _: None)
    finally:
        await client.close()
    return study.report


def found(report: Report) -> dict[str, Any]:
    return {each.key: each.value for each in report.findings if each.value is not None}


# What each switch of the simulator that is measured is in the settings. `domains` (a text for `refusals`) and
# `blocking` (a note) are seen and told, and nothing is assumed of them.
MEANS: Mapping[tuple[str, str], dict[str, Any]] = {
    ("absent", "fault"): {"absent_is_undeclared_fault": False},
    ("absent", "empty"): {"absent_is_undeclared_fault": False},
    ("absent", "undeclared"): {"absent_is_undeclared_fault": True},
    ("absent", "record"): {"absent_is_undeclared_fault": False},
    ("absent_writes", "fault"): {"absent_writes": "refused"},
    ("absent_writes", "silent"): {"absent_writes": "silent"},
    ("duplicates", "refuse"): {"duplicates": "refused"},
    ("duplicates", "double"): {"duplicates": "doubled"},
    ("passwords", "returned"): {"passwords": "returned", "retrieve_password": "clear"},
    ("passwords", "empty"): {"passwords": "empty", "retrieve_password": "hidden"},
    ("passwords", "masked"): {"passwords": "masked", "retrieve_password": "hidden"},
    ("password_reads", "same"): {"retrieve_password": "clear"},
    ("password_reads", "returned"): {"retrieve_password": "clear"},
    ("password_reads", "empty"): {"retrieve_password": "hidden"},
    ("password_reads", "masked"): {"retrieve_password": "hidden"},
    ("customer_password", "portal"): {"customer_password": "portal"},
    ("customer_password", "sip"): {"customer_password": "sip"},
    ("domains", "any"): {},
    ("domains", "listed"): {},
    ("omitted", "clear"): {"left_out": "cleared"},
    ("omitted", "keep"): {"left_out": "kept"},
    ("reached", "accept"): {"already_reached": "accepted"},
    ("reached", "refuse"): {"already_reached": "refused"},
    ("blocking", "hidden"): {},
    ("blocking", "calls"): {},
    ("rounding", "exact"): {"rounding": "exact"},
    ("rounding", "cents"): {"rounding": "cents"},
}
USUAL = {
    "absent_is_undeclared_fault": False,
    "absent_writes": "refused",
    "duplicates": "refused",
    "passwords": "returned",
    "retrieve_password": "clear",
    "customer_password": "portal",
    "left_out": "cleared",
    "already_reached": "accepted",
    "rounding": "exact",
}


# What is not measured -> what the report says of it. A call, or somebody's number, would have to be risked.
NOT_MEASURED: Mapping[str, str] = {
    "numbers": "no number is given away to try",
    "goes_along": "what goes along with a subscriber that is removed cannot be measured",
    "cdr_delay": "when a call appears in vi_cdrs cannot be measured",
}


def test_every_switch_of_the_simulator_is_learned_or_said_not_to_be() -> None:
    learned_ = {(name, value) for name, values in CHOICES.items() for value in values} - set(MEANS)
    assert {name for name, _ in learned_} == NOT_MEASURED.keys() & CHOICES.keys()
    assert {each.name for each in fields(Switches)} == CHOICES.keys() | NOT_MEASURED.keys()


@pytest.mark.parametrize("values", [{}, {"numbers": "listed", "goes_along": "all", "cdr_delay": 2.5}])
async def test_what_is_not_measured_is_said_by_name_and_never_claimed(
    start: Start, values: dict[str, Any]
) -> None:
    sim = await start(switches=values)
    report = await learned(sim)
    assert found(report) == USUAL
    said = [*report.notes, *(each.seen for each in report.findings if each.value is None)]
    for name, words in NOT_MEASURED.items():
        assert sum(words in each for each in said) == 1, name
    assert not sim.platform.ledger.operations["insertDid"].received


@pytest.mark.parametrize(("switch", "value"), MEANS)
async def test_what_a_platform_does_is_measured_and_nothing_is_left_of_it(
    start: Start, switch: str, value: str
) -> None:
    sim = await start(switches={switch: value})
    report = await learned(sim)
    assert found(report) == {**USUAL, **MEANS[switch, value]}
    assert report.clean
    assert len(sim.platform) == 0
    SippulseAssume(**found(report))


async def test_everything_otherwise_at_once_is_measured_too(start: Start) -> None:
    otherwise = {name: values[-1] for name, values in CHOICES.items()}
    sim = await start(switches=otherwise)
    expected = {**USUAL}
    for name, value in otherwise.items():
        expected |= MEANS.get((name, value), {})
    assert found(await learned(sim)) == expected | {"retrieve_password": "hidden"}
    assert len(sim.platform) == 0


async def test_how_faults_are_worded_is_learned_without_the_subscribers_name(start: Start) -> None:
    sim = await start(switches={"reached": "refuse"})
    report = await learned(sim)
    assert report.refusals == {
        r"Subscriber \S+@\S+ not found": "not_found",
        r"Subscriber \S+@\S+ already exists": "already_exists",
        "Nothing to do: the subscriber is in that state already": "already_exists",
    }
    settings_for(sim, refusals=report.refusals)


async def test_how_a_domain_without_a_right_to_it_is_refused_is_learned(start: Start) -> None:
    report = await learned(await start(switches={"domains": "listed"}))
    assert report.refusals[r"Domain \S+ is not managed by \S+"] == "not_allowed"


async def test_what_blocking_moves_is_told(start: Start) -> None:
    notes = (await learned(await start(switches={"blocking": "calls"}))).notes
    assert "blockSubscriber moved activeIncomingCalls, activeOutgoingCalls" in notes


async def test_a_text_that_stands_for_everything_is_no_refusal(start: Start) -> None:
    same = dict.fromkeys(("unknown_subscriber", "duplicate", "already_reached"), "Operation failed")
    report = await learned(await start(texts=same, switches={"reached": "refuse"}))
    assert report.refusals == {}
    assert any("Operation failed" in note for note in report.notes)
    assert found(report)["duplicates"] == "refused"


async def test_what_cannot_be_seen_is_not_claimed(start: Start) -> None:
    """Nobody shows the password, and signing in is refused: whether it was kept stays unknown."""
    sim = await start(switches={"passwords": "masked", "omitted": "keep"})
    sim.fail("authenticate", "declared")
    report = await learned(sim)
    unknown = {each.key: each.seen for each in report.findings if each.value is None}
    assert set(unknown) == {"customer_password", "left_out", "numbers"}
    assert "nobody can see it" in unknown["left_out"]


@pytest.mark.parametrize(
    "operation", ["addCredit", "updateSubscriber", "blockSubscriber", "retrievePassword"]
)
async def test_an_operation_that_is_refused_is_said_and_the_rest_is_measured(
    start: Start, operation: str
) -> None:
    sim = await start()
    sim.fail(operation, "declared", text="not for you")
    report = await learned(sim)
    assert "not for you" in json.dumps([each.seen for each in report.findings])
    assert len(found(report)) >= len(USUAL) - 2
    assert len(sim.platform) == 0


async def test_a_subscriber_that_is_not_ours_is_not_touched(start: Start) -> None:
    sim = await start(subscribers=[{**TEST.arguments, "firstName": "Ana"}])
    with pytest.raises(CannotLearn, match="is there already"):
        await learned(sim)
    assert len(sim.platform) == 1
    assert not sim.platform.ledger.entries


async def test_what_was_left_over_from_an_interrupted_run_is_removed_first(start: Start) -> None:
    sim = await start(subscribers=[{**TEST.arguments, "contractNumber": "worker platforms learn"}])
    assert found(await learned(sim)) == USUAL
    assert len(sim.platform) == 0


@pytest.mark.parametrize("kind", ["drop_after", "drop_before", "html500"])
async def test_a_lost_answer_leaves_nothing_behind(start: Start, kind: str) -> None:
    sim = await start()
    sim.fail("insertSubscriber", kind, count=1)
    with pytest.raises(CannotLearn, match="insertSubscriber is not answered"):
        await learned(sim)
    assert len(sim.platform) == 0


async def test_a_removal_that_fails_is_said(start: Start) -> None:
    sim = await start()
    sim.fail("removeSubscriber", "declared")
    report = await learned(sim)
    assert not report.clean
    assert len(sim.platform) == 1


async def test_a_login_that_is_refused_measures_nothing(start: Start) -> None:
    sim = await start()
    with pytest.raises(CannotLearn, match="listDomains is not answered"):
        await learned(sim, password="another")
    assert not sim.platform.ledger.entries


# On the command line -------------------------------------------------------------------------------


def written(folder: Path, sim: Simulator, environment: str = "staging") -> Path:
    file = folder / "worker.toml"
    lines = {
        "kind": "sippulse",
        "url": sim.url,
        "login": LOGIN,
        "password": PASSWORD,
        "environment": environment,
    }
    file.write_text(
        "[platforms.sippulse-st]\n" + "".join(f'{key} = "{each}"\n' for key, each in lines.items())
    )
    return file


@contextlib.asynccontextmanager
async def verb(file: Path, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    command = ("-m", "worker", "--config", str(file), "platforms", "learn", "sippulse-st", *words)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        env={**os.environ},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def done(file: Path, *words: str) -> tuple[int | None, str, str]:
    async with verb(file, *words) as process:
        out, err = await process.communicate()
    assert PASSWORD.encode() not in out + err
    return process.returncode, out.decode(), err.decode()


async def test_the_lines_that_are_printed_are_settings(start: Start, tmp_path: Path) -> None:
    sim = await start(switches={"passwords": "masked", "omitted": "keep", "reached": "refuse"})
    file = written(tmp_path, sim)
    code, out, err = await done(file, *ME, "--yes")
    assert (code, "makes the subscriber" in err) == (0, True)
    table = tomllib.loads(out)["platforms"]["sippulse-st"]
    assert table["assume"]["left_out"] == "kept"
    file.write_text(f"{file.read_text()}\n{out}")
    assume = load(file, {}).platforms["sippulse-st"].assume  # type: ignore[attr-defined] # of this kind
    assert (assume.passwords, assume.already_reached) == ("masked", "refused")
    assert '# not measured: numbers, which stays "listed": no number is given away to try' in out
    for words in NOT_MEASURED.values():
        assert words in out


async def test_programs_get_json(start: Start, tmp_path: Path) -> None:
    code, out, _ = await done(written(tmp_path, await start()), *ME, "--yes", "--json")
    told = json.loads(out)
    assert (code, told["assume"], told["removed"]) == (0, USUAL, True)


@pytest.mark.parametrize(
    ("environment", "words", "said"),
    [
        ("production", (*ME, "--yes"), 'environment = "staging"'),
        ("staging", ME, "nothing was written: nobody can be asked here, --yes says that it may"),
        ("staging", ("--subscriber", "nobody", "--yes"), "--subscriber: write USER@DOMAIN"),
    ],
)
async def test_nothing_is_written_in_production_or_unasked(
    start: Start, tmp_path: Path, environment: str, words: tuple[str, ...], said: str
) -> None:
    sim = await start()
    file = written(tmp_path, sim, environment)
    with redirect_stderr(io.StringIO()) as err, redirect_stdout(io.StringIO()) as out:
        code = main(["--config", str(file), "platforms", "learn", "sippulse-st", *words])
    assert (code, out.getvalue()) == (2, "")
    assert said in err.getvalue()
    assert not sim.platform.ledger.entries


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interruption_leaves_the_platform_as_it_was(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    sim = await start()
    sim.fail("updateSubscriber", "delay", seconds=8)
    async with verb(written(tmp_path, sim), *ME, "--yes") as process:
        await eventually(
            lambda: sim.platform.ledger.operations["updateSubscriber"].received, what="the change"
        )
        process.send_signal(number)
        _, err = await process.communicate()
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert f"broken off: {TEST} is not there" in err.decode()
    assert "Traceback" not in err.decode()
    assert len(sim.platform) == 0


async def test_what_could_not_be_removed_is_said_and_ends_with_an_error(start: Start, tmp_path: Path) -> None:
    sim = await start()
    sim.fail("removeSubscriber", "declared", text="no")
    code, _, err = await done(written(tmp_path, sim), *ME, "--yes")
    assert code == 1
    assert f"{TEST} may still be there: look, and remove it by hand" in err


async def test_one_that_somebody_else_made_under_the_name_meanwhile_is_left_alone(start: Start) -> None:
    sim = await start()
    sim.fail("addCredit", "delay", seconds=1)
    running = asyncio.create_task(learned(sim, timeout=5.0))
    await eventually(lambda: sim.platform.ledger.operations["addCredit"].received, what="the credit")
    theirs = sim.subscriber(TEST.username, DOMAIN)
    assert theirs is not None
    theirs.dto["contractNumber"] = "C-4711"
    report = await running
    assert (report.clean, report.others) == (False, True)
    assert len(sim.platform) == 1
    assert not sim.platform.ledger.operations["removeSubscriber"].applied


async def test_what_was_written_stands_in_the_audit_with_who_and_why(start: Start, tmp_path: Path) -> None:
    sim = await start()
    file = written(tmp_path, sim)
    code, _, _ = await done(file, *ME, "--reason", "new version on the lab", "--yes")
    assert code == 0
    journal = await open_stored_journal(load(file, {}))
    try:
        await journal.seal(100)
        records = [json.loads(one.body)["data"] for one in await journal.unpublished(100)]
        assert (await journal.verify()).faults == []
    finally:
        await journal.close()
    begun, ended = records
    assert (begun["what"], ended["what"]) == ("learning", "learned")
    assert {one["reason"] for one in records} == {"new version on the lab"}
    assert {one["actor"] for one in records} == {actor()}
    sent = [one["operation"] for one in ended["details"]["sent"]]
    assert sent[:2] == ["SubscriberWS.blockOutgoingCalls", "SubscriberWS.insertSubscriber"]
    assert sent[-1] == "SubscriberWS.removeSubscriber"
    reads = ("retrieve", "list", "authenticate")
    came = {name: one.received for name, one in sim.platform.ledger.operations.items()}
    assert len(sent) == sum(count for name, count in came.items() if not name.startswith(reads))
    assert ended["details"]["removed"] is True
    assert PASSWORD not in json.dumps(records)


async def test_nothing_is_written_where_the_audit_cannot_have_it(start: Start, tmp_path: Path) -> None:
    sim = await start()
    file = written(tmp_path, sim)
    file.write_text(f'[journal]\nurl = "postgresql://w:w@127.0.0.1:9/w"\n{file.read_text()}')
    code, _, err = await done(file, *ME, "--yes")
    assert code != 0
    assert "the journal cannot be reached" in err
    assert not sim.platform.ledger.entries


async def test_a_name_of_its_own_is_one_that_nobody_has(start: Start, tmp_path: Path) -> None:
    code, out, err = await done(written(tmp_path, await start()), "--subscriber", f"@{DOMAIN}", "--yes")
    assert code == 0, err
    assert "worker.key was made, the key of a new journal" in err
    assert re.search(rf"measured with learn-[0-9a-f]{{12}}@{re.escape(DOMAIN)}", out)
