"""`worker console`: a way in for an admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from worker.cli import show
from worker.cli.context import USAGE, Fault, Json, Reason, actor, run, settings_of, with_journal

if TYPE_CHECKING:
    from worker.journal.journal import StoredJournal
    from worker.settings import Settings


def mount(app: typer.Typer) -> None:
    group = typer.Typer(help="The pages for people.", no_args_is_help=True)
    group.command()(link)
    group.callback()(_group)
    app.add_typer(group, name="console")


def _group() -> None:
    """The pages for people."""


def link(context: typer.Context, reason: Reason, as_json: Json = False) -> None:
    """Make a link that makes one admin, once, within a day; an older link ends. It is recorded."""
    settings = settings_of(context)
    if not settings.console.port and not settings.console.address:
        raise Fault(
            "console.port = 0: only the worker's start knows the address; set a port, or console.address",
            USAGE,
        )
    secret = run(with_journal(settings, lambda journal: _made(journal, reason)))
    address = f"{_address(settings)}/first/{secret}"
    if as_json:
        show.emit({"link": address})
    else:
        show.say(address)


async def _made(journal: StoredJournal, reason: str) -> str:
    from worker.journal.console.people import make_link

    return await journal.run(lambda tx: make_link(tx, actor(), reason))


def _address(settings: Settings) -> str:
    """What people type."""
    place = settings.console
    host = f"[{place.host}]" if ":" in place.host else place.host
    return place.address.rstrip("/") or f"http://{host}:{place.port}"
