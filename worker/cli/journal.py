"""`worker journal`: its schema, its age, its keys, its copies."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli import show
from worker.cli.context import (
    EXIT_CODES,
    USAGE,
    Json,
    Reason,
    actor,
    complain,
    fail,
    run,
    settings_of,
    with_journal,
)

if TYPE_CHECKING:
    from worker.journal.journal import StoredJournal
    from worker.settings import Settings

EVERY = 50_000  # rows between two lines of progress


def mount(app: typer.Typer) -> None:
    group = typer.Typer(help="Keep the journal.", no_args_is_help=True, epilog=EXIT_CODES)
    for verb in (upgrade, purge, rekey, backup, copy, restored):
        group.command(epilog=EXIT_CODES)(verb)
    app.add_typer(group, name="journal")


def upgrade(context: typer.Context, as_json: Json = False) -> None:
    """Bring the schema to what this version needs. Stop the workers and back it up first."""
    from worker.bootstrap import journal_url
    from worker.journal.schema import prepare

    settings = settings_of(context)
    done = run(prepare(journal_url(settings), only_empty=False))
    if as_json:
        show.emit({"journal": settings.journal.shown, "done": done})
    else:
        show.say(done)


def purge(context: typer.Context, as_json: Json = False) -> None:
    """Delete what is older than the settings keep. A running worker does it by itself once an hour."""
    gone = run(with_journal(settings_of(context), lambda journal: journal.purge()))
    _told(gone, as_json, "nothing was old enough")


def rekey(context: typer.Context, as_json: Json = False) -> None:
    """Encrypt everything under the first of journal.keys. Afterwards those between it and the last may go."""
    done = run(with_journal(settings_of(context), lambda journal: journal.rekey()))
    _told(done, as_json, "nothing to encrypt")


def _told(counts: object, as_json: bool, nothing: str) -> None:
    figures = dict(counts) if isinstance(counts, dict) else {}
    if as_json:
        show.emit(figures)
    elif any(figures.values()):
        show.facts({name: str(count) for name, count in figures.items() if count})
    else:
        show.say(nothing)


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to make; there must be none of that name.")],
    as_json: Json = False,
) -> None:
    """Write the whole journal, as it is at this instant, into one file (SQLite), while workers go on.

    Put back, it says that it is a backup, and no worker starts on it before `worker journal restored`. The keys
    are not in it: keep a copy of them elsewhere.
    """
    from worker.bootstrap import journal_url
    from worker.journal.backups import copying
    from worker.journal.backups.marks import Mark

    settings = settings_of(context)
    mark = Mark("backup", _now(), settings.journal.shown)
    counts = run(
        with_journal(settings, lambda _: copying.backup(journal_url(settings), file, mark, _progress()))
    )
    if as_json:
        show.emit({"file": str(file), "bytes": file.stat().st_size, "rows": counts, "at": mark.at})
    else:
        _tell_copied(counts, f"{file} ({file.stat().st_size / 2**20:,.1f} MiB)")
        show.say("The keys are not in it: keep a copy of them elsewhere.")


def copy(
    context: typer.Context,
    to: Annotated[
        str, typer.Option("--to", help="Address of an empty journal; env:NAME takes it from there.")
    ] = "",
    from_: Annotated[
        str,
        typer.Option(
            "--from", help="Address of another journal, e.g. a backup; env:NAME takes it from there."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Copy the whole journal into another, empty database, while no worker runs: from SQLite to PostgreSQL, or back.

    The side that is not named is [journal] url. Afterwards the old one says that it was copied, and no worker
    starts on it.
    """
    if bool(to) is bool(from_):
        raise typer.BadParameter("say either --to or --from; the other side is the journal of the settings")
    settings = settings_of(context)
    counts, where = run(_copied(settings, _address(to), _address(from_)))
    if as_json:
        show.emit({"to": where, "rows": counts})
    else:
        _tell_copied(counts, where)
        show.say("Workers go on there: set [journal] url, and keep the keys as they are.")


def restored(
    context: typer.Context,
    reason: Reason,
    nothing_ran: Annotated[
        bool, typer.Option("--nothing-ran", help="It is certain that no worker ran since the copy was made.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say that the journal was put back from a backup, before any worker starts on it.

    Whatever has not ended may have run since the backup was taken. It is parked, its effect unknown: look on the
    platform, then `worker commands resolve`. Running batches pause, acts on many stop, and everybody has to sign in
    again. Start with `worker run --held` when you want to look first.
    """
    settings = settings_of(context)
    counts = run(_restored(settings, reason, nothing_ran))
    if as_json:
        show.emit({"nothing_ran": nothing_ran, **counts})
    elif nothing_ran:
        show.say("The journal goes on as it is.")
    else:
        show.facts({_WORDS[name]: f"{count:,}" for name, count in counts.items()})
        show.say(
            "Next: `worker commands list --state parked`, look at each on its platform, then `worker commands"
            " resolve`. What was sent since the backup is not known here: docs/operations.md says what to do."
        )


_WORDS = {
    "parked": "commands parked",
    "waiting": "reads that wait",
    "batches": "batches paused",
    "acts": "acts on many stopped",
    "sessions": "sign-ins ended",
}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _address(text: str) -> str:
    """An address may hold a password, which does not belong into a command line."""
    if not text.startswith("env:"):
        return text
    found = os.environ.get(text.removeprefix("env:"), "")
    return found or fail(f"the variable {text.removeprefix('env:')} is not set", USAGE)


def _progress() -> Callable[[str, int], None]:
    """A line to standard error for every EVERY rows of a table: a large journal takes minutes."""

    told_of: dict[str, int] = {}

    def told(table: str, rows: int) -> None:
        if rows >= told_of.get(table, 0) + EVERY:
            told_of[table] = rows
            complain(f"{table}: {rows:,} rows")

    return told


def _tell_copied(counts: dict[str, int], where: str) -> None:
    named = {
        name: f"{counts[name]:,}" for name in ("commands", "identities", "audit", "quarantine", "batches")
    }
    show.facts({**named, "rows in all": f"{sum(counts.values()):,}"})
    show.say(f"Copied to {where}.")


@asynccontextmanager
async def _quiet(url: str, settings: Settings) -> AsyncIterator[StoredJournal]:
    """A journal that no worker uses, nor can begin to where it is a file."""
    from worker.bootstrap import core
    from worker.journal.backups.restored import none_runs
    from worker.journal.opening import open_journal
    from worker.journal.version import sqlite_path

    if url.startswith("sqlite") and not sqlite_path(url).is_file():
        fail(f"there is no journal at {sqlite_path(url)}", USAGE)
    journal = await open_journal(url, core(settings), exclusive=url.startswith("sqlite"))
    try:
        await none_runs(journal, url)
        yield journal
    finally:
        await journal.close()


async def _copied(settings: Settings, to: str, from_: str) -> tuple[dict[str, int], str]:
    from pydantic import SecretStr

    from worker.bootstrap import journal_url
    from worker.journal.backups import marks
    from worker.journal.backups.copying import copy as copied
    from worker.journal.backups.marks import Mark
    from worker.journal.backups.restored import none_runs
    from worker.settings.values import without_password

    ours = journal_url(settings)
    source, sink = from_ or ours, to or ours
    there = without_password(SecretStr(sink))
    async with _quiet(source, settings) as journal:
        was = await journal.run(marks.read)
        if was is not None and was.how != "backup":
            fail(f"this journal {was.words}. {marks.ADVICE[0].upper()}{marks.ADVICE[1:]}")
        under_way = was or Mark("moving", _now(), there)
        await journal.run(lambda tx: marks.write(tx, under_way))
        try:
            await none_runs(journal, source)  # nobody who began before the mark was there
            counts = await copied(source, sink, under_way, _progress())
        except BaseException:
            await journal.run(lambda tx: marks.write(tx, was))
            raise
        if was is None:  # closed until the other one is: of two open ones everything would happen twice
            await journal.run(lambda tx: marks.write(tx, Mark("moved", _now(), there)))
            await _open_up(sink, settings)
    return counts, there


async def _open_up(url: str, settings: Settings) -> None:
    from worker.bootstrap import core
    from worker.journal.backups import marks
    from worker.journal.opening import open_journal

    journal = await open_journal(url, core(settings))
    try:
        await journal.run(lambda tx: marks.write(tx, None))
    finally:
        await journal.close()


async def _restored(settings: Settings, reason: str, nothing_ran: bool) -> dict[str, int]:
    from worker.bootstrap import journal_url
    from worker.journal.backups import restored as after

    progress = _progress()
    async with _quiet(journal_url(settings), settings) as journal:
        if nothing_ran:
            await after.opened(journal, actor(), reason)
            return {}
        return await after.restored(journal, actor(), reason, lambda done: progress("parked", done))
