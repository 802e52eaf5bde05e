"""One run of a batch from the command line: what is said, and the exit code."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from worker.cli import show
from worker.cli.batch_options import PASSPHRASE, Given
from worker.cli.context import (
    FAILED,
    STILL_RUNNING,
    USAGE,
    Fault,
    actor,
    complain,
    explained,
    journal_of,
    known,
    run,
    settings_of,
)

if TYPE_CHECKING:
    from worker.journal.batches.batches import Batch, Batches
    from worker.onboarding.check import Beyond, Checked
    from worker.onboarding.job import Job
    from worker.onboarding.mapping import Plan
    from worker.onboarding.passwords import Lock
    from worker.onboarding.publishing import Bulk
    from worker.onboarding.sending import Still
    from worker.onboarding.sheet import Sheet
    from worker.platforms.port import Platform
    from worker.settings import Settings

CREATE = "subscriber.create.v1"
# Faults of the parts, by name: these have nothing sent, or not all.
NOT_SENT = frozenset(
    {
        "SheetError",
        "MappingError",
        "Stopped",
        "PasswordsError",
        "BulkGone",
        "BatchBusy",
        "NotAsked",
        "Cancelled",
        "JournalDown",
    }
)


def platform_of(settings: Settings, name: str | None) -> str:
    """The platform named, or the only one. Raises Fault."""
    if name is None and len(settings.platforms) == 1:
        return next(iter(settings.platforms))
    return known(settings, name)


def sheet_of(file: Path, encoding: str | None, delimiter: str | None, sheet: str | None) -> Sheet:
    from worker.onboarding.sheet import Options, open_sheet

    return open_sheet(file, Options(encoding, delimiter, sheet))


def guarded(work: Any) -> Any:
    """What a part of onboarding cannot do becomes a sentence and an exit code."""
    try:
        return work()
    except Exception as error:
        raise as_fault(error) from None


def as_fault(error: Exception) -> Exception:
    name = type(error).__name__
    if name in NOT_SENT:
        return Fault(str(error), USAGE)
    return Fault(str(error), FAILED) if name in ("ReportError", "UnknownBatch") else error


async def awaited(work: Awaitable[int]) -> int:
    try:
        return await work
    except Exception as error:
        raise as_fault(error) from None


# ---------------------------------------------------------------- a run


def run_file(context: typer.Context, given: Given) -> None:
    settings = settings_of(context)
    name = platform_of(settings, given.platform)
    _can_report(given.report)
    try:
        code = run(awaited(_run(settings, name, given)))
    except KeyboardInterrupt:
        complain("stopped: give the same command again, and it goes on where it was")
        raise
    if code:
        raise typer.Exit(code)


def _can_report(path: Path | None) -> None:
    """Before the night's work, not behind it."""
    if path is not None and path.suffix.lower() not in (".csv", ".xlsx"):
        raise Fault(f"--report: {path} has to end in .csv or .xlsx", USAGE)
    if path is not None and not path.absolute().parent.is_dir():
        raise Fault(f"--report: there is no folder {path.absolute().parent}", USAGE)


def _plan(given: Given, sheet: Sheet, kind: str) -> Plan:
    """Raises MappingError."""
    from worker.onboarding.mapping import read_plan
    from worker.onboarding.plans import plan_for

    return plan_for(
        sheet.columns,
        kind,
        mapping=None if given.mapping is None else read_plan(given.mapping, kind),
        types=given.types,
        creates=given.creates,
        undoable=given.wish.undoable,
        name=str(given.mapping),
    )


@asynccontextmanager
async def _batches(settings: Settings, given: Given) -> AsyncIterator[Batches]:
    """A dry run does without the journal where it cannot be used: it sends nothing, and only compares less."""
    from worker.journal.batches.batches import Batches
    from worker.onboarding.unreached import NoBatches

    async with AsyncExitStack() as stack:
        found: Batches
        try:
            found = Batches(await stack.enter_async_context(journal_of(settings)))
        except Exception as error:
            why = explained(error)
            if why is None or not given.dry_run:
                raise
            complain(f"{why[0]}; so the rows are not compared with those of earlier batches")
            found = NoBatches()
        yield found


@asynccontextmanager
async def _platform(settings: Settings, name: str) -> AsyncIterator[Platform]:
    from worker.platforms.build import build

    try:
        platform = await build(name, settings.platforms[name])
    except ValueError as error:
        raise Fault(str(error), USAGE) from None
    try:
        yield platform
    finally:
        await platform.close()


def _beyond(settings: Settings, platform: Platform, wanted: bool) -> Beyond | None:
    from worker.onboarding.against import Against

    if not wanted:
        return None
    limits = settings.platforms[platform.name]
    return Against(platform, max(0.5, limits.rate / 2), max(1, limits.concurrency // 2))


async def _run(settings: Settings, name: str, given: Given) -> int:
    """The exit code."""
    from worker.onboarding import job as jobs
    from worker.onboarding.rows import Maker

    kind = settings.kinds[name]
    sheet = sheet_of(given.file, given.encoding, given.delimiter, given.sheet)
    plan = _plan(given, sheet, kind)
    lock = _lock(given) if plan.generates and not given.dry_run else None  # before the long reading
    async with _batches(settings, given) as batches, _platform(settings, name) as platform:
        maker = Maker(plan, name, kind, platform.plan, settings.intake.max_bytes)
        job = await jobs.begin(sheet, plan, maker, batches, given.wish)
        async with nullcontext() if given.dry_run else batches.running(job.name):
            # Once more: another run may have ended while we waited for our turn.
            job = await jobs.begin(sheet, plan, maker, batches, given.wish)
            return await _check_and_send(settings, job, batches, platform, given, lock)


async def _check_and_send(
    settings: Settings, job: Job, batches: Batches, platform: Platform, given: Given, lock: Lock | None
) -> int:
    from worker.onboarding import job as jobs
    from worker.onboarding.progress import reading
    from worker.onboarding.unreached import NoBatches

    if not given.as_json:
        _announce(job)
        show.flush()  # a log shows it before the lines of progress
    with reading(_console(given)) as read:
        found = await jobs.checked(job, batches, _beyond(settings, platform, given.against), read)
    try:
        if not given.as_json:
            _tell_checks(job, found)
            show.flush()
        if given.dry_run:
            return _dry(job, found, given, compared=not isinstance(batches, NoBatches))
        jobs.may_go(job, found)
        return await _send(settings, job, found, batches, given, lock)
    finally:
        found.seen.close()


def _announce(job: Job) -> None:
    show.say(f"{job.sheet.path.name}: {job.sheet.how}")
    show.say(f"batch {job.name}, platform {job.maker.platform}: {job.plan.title}")
    if job.known is not None:
        show.say("it was begun before: rows that were sent are not sent again")
    if job.plan.unused:
        show.say(f"columns that nothing reads: {', '.join(map(repr, job.plan.unused))}")


def _tell_checks(job: Job, found: Checked) -> None:
    left = f", {found.left_out} left out by the mapping" if found.left_out else ""
    show.say(f"{found.rows} rows: {found.good} good ({found.commands} commands), {found.bad} bad{left}")
    for one in found.first:
        where = f"{one.column!r} " if one.column else ""
        value = f" (it is {one.value!r})" if one.value else ""
        show.say(f"  row {one.row}: {where}{one.problem}{value}")
    if found.report is not None:
        show.say(f"all problems are in {found.report}")


def _dry(job: Job, found: Checked, given: Given, compared: bool) -> int:
    if given.as_json:
        figures = {**_figures(found), "with_earlier_batches": compared}
        show.emit({"batch": job.name, "checked": figures, "sent": 0})
    else:
        show.say("nothing was sent")
    return FAILED if found.bad else 0


def _figures(found: Checked) -> dict[str, Any]:
    return {
        "rows": found.rows,
        "good": found.good,
        "bad": found.bad,
        "left_out": found.left_out,
        "commands": found.commands,
        "problems": str(found.report) if found.report else None,
        "first": [
            {"row": one.row, "column": one.column, "problem": one.problem, "code": one.code}
            for one in found.first
        ],
    }


def _console(given: Given) -> Any:
    """Where progress is shown; None: to nobody."""
    return None if given.as_json else show.console(stderr=True)


async def _send(
    settings: Settings, job: Job, found: Checked, batches: Batches, given: Given, lock: Lock | None
) -> int:
    from worker.onboarding import job as jobs
    from worker.onboarding.check import portions
    from worker.onboarding.passwords import PasswordFile

    passwords = PasswordFile(given.passwords or Path(f"{job.name}.passwords"), lock) if lock else None
    try:
        batch = await jobs.opened(job, batches, found)
        if given.rate is not None:
            batch = await batches.set_rate(batch.name, given.rate, actor(), "--rate")
        rows = portions(job.sheet.rows(), job.maker)
        return await send_batch(settings, batches, batch, rows, found, passwords, given)
    finally:
        if passwords is not None:
            passwords.close()


def _lock(given: Given) -> Lock:
    """What generated passwords are encrypted to. Raises PasswordsError."""
    from worker.onboarding.passwords import Lock, PasswordsError

    if given.passwords_key is not None:
        return Lock.to_key(given.passwords_key)
    phrase = passphrase(given.passphrase_file)
    if phrase is None:
        raise PasswordsError(
            "the mapping generates passwords: say for whom they are encrypted, --passwords-key PUBLIC.pem or"
            f" --passphrase-file FILE (or the variable {PASSPHRASE})"
        )
    return Lock(passphrase=phrase)


def passphrase(file: Path | None) -> bytes | None:
    """Raises PasswordsError for one that protects nothing."""
    from worker.onboarding.passwords import PasswordsError

    if file is not None:
        try:
            text = file.read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise PasswordsError(f"{file}: cannot be read ({type(error).__name__})") from None
    else:
        text = os.environ.get(PASSPHRASE, "")
    if not text and file is None:
        return None
    if len(text) < 12:
        raise PasswordsError("a passphrase has at least 12 characters")
    return text.encode()


async def send_batch(
    settings: Settings,
    batches: Batches,
    batch: Batch,
    rows: Any,
    found: Checked,
    passwords: Any,
    given: Given,
    still: Still | None = None,
) -> int:
    """Send, follow if wished, report. The exit code."""
    from worker.onboarding.progress import shown
    from worker.onboarding.sending import Progress, Sender, Terms

    progress = Progress(total=found.rows)
    bulk = bulk_of(settings)
    terms = Terms(given.retry_failed, given.in_flight)
    sender = Sender(batches, batch, bulk, passwords, progress, terms, still)
    in_time = True
    try:
        with shown(progress, _console(given)) as update:
            ticking = asyncio.create_task(_tick(update))
            try:
                await sender.send(rows, found.seen.is_bad)
                if given.follow or given.within:
                    in_time = await sender.follow(update, given.within)
            finally:
                ticking.cancel()
    finally:
        await bulk.close()
    kept = passwords.path if passwords is not None else None
    return await _tell_end(batches, batch, found, progress, in_time, given, kept)


async def _tick(update: Any) -> None:
    while True:
        update()
        await asyncio.sleep(0.5)


def bulk_of(settings: Settings) -> Bulk:
    from worker.bootstrap import broker_address
    from worker.broker.link import connect
    from worker.onboarding.publishing import Bulk

    where = broker_address(settings)
    return Bulk(lambda: connect(where, "batch"))


async def _tell_end(
    batches: Batches,
    batch: Batch,
    found: Checked,
    progress: Any,
    in_time: bool,
    given: Given,
    passwords: Path | None,
) -> int:
    from worker.onboarding.report import summarize, summary_data, write_report

    await batches.gather_all(batch)
    batch = await batches.control(batch.name)
    if given.report is not None:
        summary = await write_report(batches, batch, given.report)
    else:
        summary = await summarize(batches, batch)
    if given.as_json:
        sent = {"sent": progress.sent, "sent_before": progress.before, "checked": _figures(found)}
        sent["passwords"] = str(passwords) if passwords else None
        show.emit(
            {**summary_data(batch, summary), **sent, "report": str(given.report) if given.report else None}
        )
    else:
        _say_end(batch, summary, progress, given)
        if passwords is not None:
            show.say(f"generated passwords are in {passwords}, encrypted: `worker batch passwords` opens it")
    return _code(summary, in_time)


def _code(summary: Any, in_time: bool) -> int:
    rows = summary.endings
    if rows["failed"] or rows["parked"] or rows["not sent"] or summary.changed:
        return FAILED
    return 0 if in_time else STILL_RUNNING


def _say_end(batch: Batch, summary: Any, progress: Any, given: Given) -> None:
    before = f", {progress.before} were sent before" if progress.before else ""
    show.say(f"sent {progress.sent} rows{before}")
    if progress.before and not progress.sent and not given.retry_failed and batch.undo_of is None:
        begun = show.moment(batch.created_at)
        show.say(
            f"nothing was left to send: this batch was begun on {begun}. Is the same to be done once more, give it"
            " another name: --batch NAME"
        )
    say_summary(batch, summary)
    if progress.changed_count:
        some = ", ".join(map(str, progress.changed[:10]))
        show.say(
            f"{progress.changed_count} rows have changed since they were sent and were not sent again: rows {some}"
        )
    if given.report is not None:
        show.say(f"the report is in {given.report}")
    elif summary.endings["waiting"]:
        show.say(f"`worker batch show {batch.name}` says how they end")


def say_summary(batch: Batch, summary: Any) -> None:
    show.facts(dict(summary.endings.most_common()), "  ")
    if summary.causes:
        show.say("most frequent causes")
        show.table(
            ("rows", "command", "code", "for example"),
            ((one.rows, one.command, one.code, one.example) for one in summary.frequent),
            "none",
        )
