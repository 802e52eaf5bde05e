"""`worker platforms learn`: measure how a staging platform behaves, and say what to write into the settings."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli import show
from worker.cli.context import USAGE, Fault, Json, actor, known, run, settings_of

if TYPE_CHECKING:
    from worker.journal.journal import StoredJournal
    from worker.messages.events import AuditDraft
    from worker.platforms.sippulse.learn import Given, Report, Study
    from worker.platforms.sippulse.records import Name
    from worker.settings import Settings, SippulseSettings


def learn(
    context: typer.Context,
    platform: Annotated[str, typer.Argument(metavar="PLATFORM", help="Its name in the settings.")],
    subscriber: Annotated[
        str,
        typer.Option(
            metavar="USER@DOMAIN",
            help="A name that nobody has: it is made, changed, and removed. @DOMAIN takes one of its own.",
            show_default=False,
        ),
    ],
    profile: Annotated[
        str | None,
        typer.Option(help="Profile of the test subscriber; else the first listed.", show_default=False),
    ] = None,
    rate_plan: Annotated[
        int | None, typer.Option(help="Its rate plan's number; else the first listed.", show_default=False)
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", help="Why: it stands in the audit records.")
    ] = "to measure how the platform behaves",
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Measure on a staging platform what `assume` is about; print the lines for the settings."""
    from worker.platforms.sippulse.learn import Given

    settings = settings_of(context)
    of = _staging(settings, platform)
    name = _named(subscriber)
    _announce(platform, of, name)
    if not yes:
        _confirm()
    report = run(_study(settings, Act(platform, name, reason), of, Given(profile, rate_plan)))
    told = as_data(platform, str(name), report)
    show.emit(told) if as_json else show.say("\n".join(as_toml(told)))
    if not report.clean:
        raise Fault(left_behind(name, report))


@dataclass(frozen=True, slots=True)
class Act:
    """What the audit records are about."""

    platform: str
    name: Name
    reason: str


def _staging(settings: Settings, platform: str) -> SippulseSettings:
    from worker.settings import SippulseSettings

    known(settings, platform)
    of = settings.platforms[platform]
    if not isinstance(of, SippulseSettings):
        raise Fault(f"{platform} is of kind {of.kind}: only platforms of kind sippulse are measured", USAGE)
    if of.environment != "staging":
        raise Fault(
            f"{platform} is in production, and learning writes: it is done where the settings say "
            f'environment = "staging" under [platforms.{platform}]',
            USAGE,
        )
    return of


def _named(subscriber: str) -> Name:
    from worker.platforms.sippulse.records import Name

    username, at, domain = subscriber.rpartition("@")
    username = username or f"learn-{secrets.token_hex(6)}"
    if not (at and re.fullmatch(r"[^\s@]+", username) and re.fullmatch(r"[^\s@]+", domain)):
        raise Fault("--subscriber: write USER@DOMAIN, e.g. 5511999990000@voip.example", USAGE)
    return Name(username, domain)


def _announce(platform: str, of: SippulseSettings, name: Name) -> None:
    from worker.platforms.sippulse.learn import WRITES

    tell(f"{platform} ({of.url}), with the subscriber {name}, which is not there yet, this")
    for each in WRITES:
        tell(f"  - {each}")


def _confirm() -> None:
    if not sys.stdin or not sys.stdin.isatty():
        raise Fault("nothing was written: nobody can be asked here, --yes says that it may", USAGE)
    if not typer.confirm("Write?", err=True):
        raise Fault("nothing was written")


async def _study(settings: Settings, act: Act, of: SippulseSettings, given: Given) -> Report:
    """Between two audit records: what will be written, and what was, however it ended."""
    from worker.platforms.sippulse import connect
    from worker.platforms.sippulse.learn import WRITES, Study

    journal = await _journal(settings)
    try:
        client = await connect(act.platform, of)
        study = Study(client, of, act.name, given)
        try:
            await journal.audit([_record("learning", act, {"writes": list(WRITES)})])
            await _measured(study, act.name)
        finally:
            await client.close()
            await _tell_audit(journal, act, study.report)
    finally:
        await journal.close()
    return study.report


async def _journal(settings: Settings) -> StoredJournal:
    """Where there is none yet it is made, with its key, which is said aloud."""
    from worker.bootstrap import open_stored_journal
    from worker.bootstrap.stored import key_file

    file = key_file(settings)
    known = bool(settings.journal.keys) or file.exists()
    journal = await open_stored_journal(settings, make=True)
    if not known:
        tell(f"{file} was made, the key of a new journal: back it up apart from the journal")
    return journal


async def _measured(study: Study, name: Name) -> None:
    from worker.platforms.sippulse.learn import CannotLearn

    try:
        with _stopped_gently() as stopped:
            await study.run(lambda what: tell(f"{what} …"))
    except CannotLearn as error:
        rest = "" if study.report.clean else f". {left_behind(name, study.report)}"
        raise Fault(f"{error}{rest}") from None
    except asyncio.CancelledError:
        there = f"{name} is not there" if study.report.clean else left_behind(name, study.report)
        tell(f"broken off: {there}")
        if stopped.is_set():
            raise typer.Exit(128 + signal.SIGTERM) from None
        raise


def _record(what: str, act: Act, details: Mapping[str, Any]) -> AuditDraft:
    from worker.messages.events import AuditDraft

    return AuditDraft(what, act.platform, actor(), act.reason, None, {"subscriber": str(act.name), **details})


async def _tell_audit(journal: StoredJournal, act: Act, report: Report) -> None:
    """What was sent stays sent, also where it cannot be written down: then it is said."""
    from worker.journal.port import JournalDown

    try:
        await journal.audit([_record("learned", act, {"sent": report.sent, "removed": report.clean})])
    except JournalDown as error:
        sent = ", ".join(one["operation"] for one in report.sent) or "nothing"
        tell(f"the journal was away ({error}), so the audit does not have what was sent: {sent}")


@contextmanager
def _stopped_gently() -> Iterator[asyncio.Event]:
    """SIGTERM ends it as Ctrl-C does: what was made is removed first. The event says that it came."""
    task, loop, stopped = asyncio.current_task(), asyncio.get_running_loop(), asyncio.Event()
    assert task is not None

    def stop() -> None:
        stopped.set()
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        yield stopped
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


ELSEWHERE = {"all_documented_operations": "`worker platforms check` lists what the server has"}


def left_behind(name: Name, report: Report) -> str:
    if report.others:
        return f"{name} is there and was not made here: it was left alone; look whether all is well with it"
    return f"{name} may still be there: look, and remove it by hand"


def tell(text: str) -> None:
    """Beside the answer, which programs read."""
    print(text, file=sys.stderr, flush=True)


# What was found --------------------------------------------------------------------------------------------


def as_data(platform: str, subscriber: str, report: Report) -> dict[str, Any]:
    from worker.settings import SippulseAssume
    from worker.settings.assume import FIELDS as OF_NEW_SUBSCRIBERS

    ours = (*OF_NEW_SUBSCRIBERS, "cps", "keep_alive")  # what is right there is not the platform's to say
    defaults = {name: each.default for name, each in SippulseAssume.model_fields.items() if name not in ours}
    measured = {each.key for each in report.findings}
    left = [name for name in defaults if name not in measured]
    return {
        "platform": platform,
        "subscriber": subscriber,
        "assume": {each.key: each.value for each in report.findings if each.value is not None},
        "refusals": dict(report.refusals),
        "seen": {each.key: each.seen for each in report.findings},
        "defaults": defaults,
        "not_measured": {each.key: each.seen for each in report.findings if each.value is None}
        | {name: ELSEWHERE.get(name, "it is not tried") for name in left},
        "notes": list(report.notes),
        "sent": list(report.sent),
        "removed": report.clean,
    }


def as_toml(told: Mapping[str, Any]) -> Iterator[str]:
    """Lines for the settings; what is no setting stands behind #."""
    table = f"[platforms.{told['platform']}"
    yield f"# measured with {told['subscriber']}; in place of what the settings have in these tables"
    yield f"{table}.assume]"
    width = max((len(name) + len(json.dumps(value)) for name, value in told["assume"].items()), default=0)
    for name, value in told["assume"].items():
        line = f"{name} = {json.dumps(value)}"
        usual = " (the default)" if value == told["defaults"][name] else ""
        yield f"{line:<{width + 3}}  # {_line(told['seen'][name])}{usual}"
    if told["refusals"]:
        yield f"\n{table}.refusals]"
        yield from (f"{_quoted(pattern)} = {json.dumps(code)}" for pattern, code in told["refusals"].items())
    yield ""
    for name, why in told["not_measured"].items():
        yield f"# not measured: {name}, which stays {json.dumps(told['defaults'][name])}: {_line(why)}"
    yield from (f"# {_line(note)}" for note in told["notes"])


def _quoted(pattern: str) -> str:
    """As TOML has it without escapes, where that is possible: a regular expression stays readable."""
    return f"'{pattern}'" if "'" not in pattern and pattern.isprintable() else json.dumps(pattern)


def _line(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text)
