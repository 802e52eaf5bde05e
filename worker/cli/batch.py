"""`worker batch`: any command for every row of a file; and looking at, steering and taking back batches."""

from __future__ import annotations

import csv
import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli import batch_options as of
from worker.cli import show
from worker.cli.batch_options import Given
from worker.cli.batch_run import as_fault, awaited, guarded, passphrase, run_file, say_summary, send_batch
from worker.cli.context import (
    FAILED,
    USAGE,
    Fault,
    Json,
    Reason,
    actor,
    journal_of,
    known,
    run,
    settings_of,
)  # fmt: skip

if TYPE_CHECKING:
    from worker.journal.batches.batches import Batch, Batches
    from worker.settings import Settings

Name = Annotated[str, typer.Argument(metavar="BATCH", help="As `list` shows it.")]
LATE = 5.0  # seconds that `cancel` waits for commands that are still in RabbitMQ


def mount(app: typer.Typer) -> None:
    group = typer.Typer(help="Send, watch, steer and take back batches.", no_args_is_help=True)
    group.command("run", epilog=of.BATCH_EXIT_CODES)(run_)
    group.command("list", epilog=of.OTHER_EXIT_CODES)(list_)
    group.command("show", epilog=of.OTHER_EXIT_CODES)(show_)
    for verb in (report, pause, resume, rate, cancel, passwords):
        group.command(epilog=of.OTHER_EXIT_CODES)(verb)
    group.command(epilog=of.BATCH_EXIT_CODES)(undo)
    app.add_typer(group, name="batch")


def run_(
    context: typer.Context,
    file: of.File,
    command: Annotated[
        list[str] | None,
        typer.Option(help="E.g. calls.block; needed where no mapping names them.", show_default=False),
    ] = None,
    platform: of.PlatformName = None,
    mapping: of.Mapping = None,
    batch: of.Name = None,
    resume: of.Resume = False,
    retry_failed: of.RetryFailed = False,
    dry_run: of.DryRun = False,
    against_platform: of.Against = False,
    skip_bad: of.SkipBad = False,
    max_rows: of.MaxRows = None,
    max_share_bad: of.MaxShareBad = None,
    repeats: of.Repeats = False,
    undoable: of.Undoable = False,
    follow: of.Follow = False,
    within: of.Within = None,
    report: of.Report = None,
    problems: of.ProblemsFile = None,
    passwords: of.Passwords = None,
    passwords_key: of.PasswordsKey = None,
    passphrase_file: of.PassphraseFile = None,
    in_flight: of.InFlight = 500,
    rate: of.Rate = None,
    encoding: of.Encoding = None,
    delimiter: of.Delimiter = None,
    sheet: of.SheetName = None,
    as_json: Json = False,
) -> None:
    """Send a command for every row of a file."""
    if bool(command) is (mapping is not None):
        raise typer.BadParameter("say --command or --mapping, one of them")
    wish = of.wish_of(batch, resume, skip_bad, max_rows, max_share_bad, repeats, undoable, problems)
    given = Given(
        file, platform, mapping, tuple(command or ()), False, wish, encoding, delimiter, sheet, retry_failed, dry_run,
        against_platform, follow, within, report, passwords, passwords_key, passphrase_file, in_flight, rate, as_json,
    )  # fmt: skip
    run_file(context, given)


# ---------------------------------------------------------------- looking


def with_batches(settings: Settings, work: Callable[[Batches], Awaitable[Any]]) -> Any:
    async def all() -> Any:
        from worker.journal.batches.batches import Batches

        async with journal_of(settings) as journal:
            return await work(Batches(journal))

    return run(_as_fault(all()))


async def _as_fault(work: Awaitable[Any]) -> Any:
    from worker.journal.port import JournalDown

    try:
        return await work
    except JournalDown:
        raise  # an exit code of its own, as with all verbs but those that send
    except Exception as error:
        raise as_fault(error) from None


def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List batches, newest first; rows as they were known when somebody last looked."""
    found = with_batches(settings_of(context), lambda batches: batches.listing(limit))
    if as_json:
        show.emit([_data(batch, counts) for batch, counts in found])
        return
    columns = (
        "batch", "platform", "commands", "state", "begun", "by", "rows", "succeeded", "failed", "parked", "open", "not sent",
    )  # fmt: skip
    show.table(columns, (_row(batch, counts) for batch, counts in found), "no batch")


def _row(batch: Batch, counts: dict[str, int]) -> tuple[Any, ...]:
    from worker.onboarding.report import OPEN, stage, worded

    rows = worded(counts)
    return (
        batch.name, batch.platform, batch.title, stage(batch, rows), show.moment(batch.created_at), batch.created_by, batch.total,
        rows["succeeded"], rows["failed"], rows["parked"], sum(rows[one] for one in OPEN), rows["not sent"],
    )  # fmt: skip


def _data(batch: Batch, counts: dict[str, int]) -> dict[str, Any]:
    from worker.onboarding.report import as_keys, stage, worded

    rows = worded(counts)
    return {
        "batch": batch.name,
        "platform": batch.platform,
        "commands": batch.title,
        "state": stage(batch, rows),
        "file": batch.file,
        "total": batch.total,
        "rows": as_keys(rows),
        "changed": counts.get("changed", 0),
        "rate": batch.rate,
        "paused_by": batch.paused_by,
        "paused_reason": batch.paused_reason,
        "undoable": batch.undoable,
        "undo_of": batch.undo_of,
        "created_by": batch.created_by,
        **show.moments({"created_at": batch.created_at, "sent_at": batch.sent_at}, "created_at", "sent_at"),
    }


def show_(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Show one batch: how far it is, and why rows failed."""

    async def work(batches: Batches) -> Any:
        from worker.onboarding.report import summarize

        batch = await batches.needed(name)
        counts = await batches.gather_all(batch)
        return batch, counts, await summarize(batches, batch)

    batch, counts, summary = with_batches(settings_of(context), work)
    data = _data(batch, counts)
    if as_json:
        from worker.onboarding.report import summary_data

        show.emit({**data, **summary_data(batch, summary)})
        return
    show.facts({name: value for name, value in data.items() if name not in ("rows", "changed", "undoable")})
    show.say("\nrows")
    say_summary(batch, summary)
    left = batch.total - summary.endings.total()
    if batch.state == "sending" and left > 0:
        show.say(f"{left} rows are still to be sent; where no run of it is going on, give its command again")


def report(
    context: typer.Context,
    name: Name,
    output: Annotated[Path, typer.Argument(metavar="OUT", help=".csv or .xlsx, a line a row.")],
    as_json: Json = False,
) -> None:
    """Write the report of a batch as it stands now."""

    async def work(batches: Batches) -> Any:
        from worker.onboarding.report import write_report

        batch = await batches.needed(name)
        await batches.gather_all(batch)
        return batch, await write_report(batches, batch, output)

    batch, summary = with_batches(settings_of(context), work)
    if as_json:
        from worker.onboarding.report import summary_data

        show.emit({**summary_data(batch, summary), "report": str(output)})
        return
    say_summary(batch, summary)
    show.say(f"the report is in {output}")


# ---------------------------------------------------------------- steering


def pause(context: typer.Context, name: Name, reason: Reason, as_json: Json = False) -> None:
    """Send nothing more until it is resumed; what was sent goes on."""
    _act(context, lambda batches: batches.pause(name, actor(), reason), "is paused", as_json)


def resume(context: typer.Context, name: Name, reason: Reason, as_json: Json = False) -> None:
    """Let a paused batch go on."""
    _act(context, lambda batches: batches.resume(name, actor(), reason), "goes on", as_json)


def rate(
    context: typer.Context,
    name: Name,
    rows: Annotated[float, typer.Argument(metavar="ROWS", min=0, help="A second, at most; 0: no limit.")],
    reason: Reason,
    as_json: Json = False,
) -> None:
    """Change how fast a batch is sent, while it runs."""
    said = f"sends at most {rows:g} rows a second" if rows else "sends as fast as they end"
    _act(context, lambda batches: batches.set_rate(name, rows or None, actor(), reason), said, as_json)


def _act(
    context: typer.Context, act: Callable[[Batches], Awaitable[Batch]], said: str, as_json: bool
) -> None:
    async def work(batches: Batches) -> Any:
        batch = await act(batches)
        return batch, await batches.counts(batch)

    batch, counts = with_batches(settings_of(context), work)
    if as_json:
        found = _data(batch, counts)
        show.emit({name: found[name] for name in ("batch", "state", "rate")})
    else:
        show.say(f"batch {batch.name} {said}")


def cancel(context: typer.Context, name: Name, reason: Reason, as_json: Json = False) -> None:
    """Send nothing more, and cancel what waits; what has begun is finished."""

    async def work(batches: Batches) -> Any:
        batch = await batches.needed(name)
        await batches.close(name, actor(), reason)
        cancelled = 0
        while done := await batches.cancel_waiting(name, actor(), reason):
            cancelled += done
        return cancelled, await batches.gather_all(batch)

    from worker.onboarding.report import OPEN, as_keys, worded

    cancelled, counts = with_batches(settings_of(context), work)
    rows = worded(counts)
    open_ = sum(rows[one] for one in OPEN)
    if as_json:
        figures = {"cancelled": cancelled, "open": open_, "rows": as_keys(rows)}
        show.emit({"batch": name, "state": "cancelled", **figures})
        return
    show.say(
        f"batch {name} is cancelled: {cancelled} commands that waited will not run, {rows['succeeded']} rows have succeeded"
    )
    if open_:
        show.say(
            f"{open_} rows are still open: what has begun is finished; what is still in RabbitMQ is cancelled when"
            " it arrives"
        )


# ---------------------------------------------------------------- passwords


def passwords(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="BATCH.passwords, as a run wrote it.")],
    key: Annotated[Path | None, typer.Option(help="Private key (PEM).", show_default=False)] = None,
    passphrase_file: of.PassphraseFile = None,
    output: Annotated[
        Path | None, typer.Option(help="CSV, for its owner alone; else standard output.", show_default=False)
    ] = None,
) -> None:
    """Open a file of generated passwords. They come out in clear: as CSV."""
    from worker.onboarding.passwords import Opener, read_passwords

    def work() -> Any:
        phrase = passphrase(passphrase_file)
        if key is None and phrase is None:
            raise Fault(
                f"say what opens it: --key PRIVATE.pem, --passphrase-file FILE, or {of.PASSPHRASE}", USAGE
            )
        opener = Opener.with_key(key, phrase) if key is not None else Opener(passphrase=phrase)
        return read_passwords(file, opener)

    _write_passwords(guarded(work), output)


def _write_passwords(entries: list[Any], output: Path | None) -> None:
    import os

    names = sorted({name for one in entries for name in one.made})
    keys = list(dict.fromkeys(name for one in entries for name in one.keys))
    head = ["row", *keys, *(name.split(" ", 1)[1] for name in names)]
    rows = [
        [one.row, *(one.keys.get(k, "") for k in keys), *(one.made.get(n, "") for n in names)]
        for one in entries
    ]
    if output is None:
        csv.writer(sys.stdout).writerows([head, *rows])
        return
    try:
        opened = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Fault(f"{output}: cannot be made ({error.strerror})", USAGE) from None
    with open(opened, "w", encoding="utf-8", newline="") as opened_file:
        csv.writer(opened_file).writerows([head, *rows])
    show.say(f"{len(rows)} rows are in {output}, in clear: delete it when it is used")


# ---------------------------------------------------------------- undo


def undo(
    context: typer.Context,
    name: Name,
    reason: Reason,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be reversed.")] = False,
    retry_failed: of.RetryFailed = False,
    follow: of.Follow = False,
    within: of.Within = None,
    report: of.Report = None,
    in_flight: of.InFlight = 500,
    as_json: Json = False,
) -> None:
    """Reverse what a batch changed, and only that; as a batch of its own, BATCH-undo."""
    from worker.onboarding.job import Wish

    wish = Wish(by=actor(), undo_of=name, skip_bad=True)
    given = Given(
        Path(f"{name}-undo"), None, None, (), False, wish, None, None, None, retry_failed, dry_run, False, follow, within,
        report, None, None, None, in_flight, None, as_json,
    )  # fmt: skip
    settings = settings_of(context)
    code = run(awaited(_undo(settings, name, reason, given)))
    if code:
        raise typer.Exit(code)


async def _undo(settings: Settings, name: str, reason: str, given: Given) -> int:
    from worker.journal.batches.batches import Batches

    async with journal_of(settings) as journal:
        batches = Batches(journal)
        batch = await batches.needed(name)
        if batch.state == "sending":
            raise Fault(f"batch {name} is still being sent: let it end, or cancel it first", FAILED)
        async with nullcontext() if given.dry_run else batches.running(f"{name}-undo"):
            await batches.gather_all(batch)
            return await _reverse(settings, batches, batch, reason, given)


async def _reverse(settings: Settings, batches: Batches, batch: Batch, reason: str, given: Given) -> int:
    from worker.journal.batches.batches import NewBatch
    from worker.onboarding.check import Checked, Seen
    from worker.onboarding.undo import Reversal

    reversal = Reversal(batches, batch, settings.kinds[known(settings, batch.platform)])
    rows = await reversal.rows()
    bad = [one for one in rows if one.findings]
    if not given.as_json:
        _tell_undo(batch.name, rows)
    if given.dry_run or not rows:
        if given.as_json:
            show.emit({"undo_of": batch.name, "reversed": len(rows) - len(bad), "left": len(bad), "sent": 0})
        else:
            show.say("nothing was sent")
        return 0
    found = Checked(Seen(), len(rows), len(rows) - len(bad), len(bad))
    try:
        title, name = f"undo of {batch.title}", f"{batch.name}-undo"
        new = NewBatch(name, batch.platform, title, batch.file, "", "", len(rows), actor(), batch.name)
        made = await batches.begin(new)
        if made.state == "cancelled":
            made = await batches.reopen(made.name, actor())
        await batches.note(made, "batch_undone", actor(), reason)
        portions = [rows[start : start + 500] for start in range(0, len(rows), 500)]
        return await send_batch(settings, batches, made, portions, found, None, given, reversal.still)
    finally:
        found.seen.close()


def _tell_undo(name: str, rows: list[Any]) -> None:
    kept = [one for one in rows if one.findings]
    show.say(f"batch {name}: {len(rows) - len(kept)} rows are reversed, {len(kept)} are left as they are")
    for one in kept[:10]:
        show.say(f"  row {one.number}: {one.findings[0].problem}")
