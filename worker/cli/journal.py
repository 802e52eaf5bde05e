"""`worker journal`: its schema, its age, its keys."""

from __future__ import annotations

import typer

from worker.cli import show
from worker.cli.context import Json, run, settings_of, with_journal


def mount(app: typer.Typer) -> None:
    group = typer.Typer(help="Keep the journal.", no_args_is_help=True)
    for verb in (upgrade, purge, rekey):
        group.command()(verb)
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
