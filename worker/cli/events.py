"""`worker events`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from worker.cli import show
from worker.cli.context import Json, Reason, actor, run, settings_of, with_journal


def mount(app: typer.Typer) -> None:
    group = typer.Typer(help="Published events.", no_args_is_help=True)
    group.callback()(lambda: None)
    group.command()(republish)
    app.add_typer(group, name="events")


def republish(
    context: typer.Context,
    reason: Reason,
    since: Annotated[str, typer.Option(help="How far back: 90d, 24h, 15m, 30s.")] = "24h",
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that somebody took; without it only what nobody took.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Publish events again, under the same ids: a consumer that knows them drops them."""
    from worker.settings.values import seconds

    try:
        back = float(str(seconds(since)))
    except ValueError as error:
        raise typer.BadParameter(f"--since: {error}") from None
    settings = settings_of(context)
    count = run(
        with_journal(
            settings,
            lambda journal: journal.republish(time.time() - back, not everything, actor(), reason),
        )
    )
    if as_json:
        show.emit({"events": count})
    else:
        seen = "; `worker doctor` says whether somebody took them" if count else ""
        show.say(f"{count} {'event is' if count == 1 else 'events are'} published again{seen}")
