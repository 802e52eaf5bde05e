"""`worker run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.context import no_file, settings_of

ALL = "intake,engine,relay,console"


def run(
    context: typer.Context,
    roles: Annotated[str, typer.Option(help="What this process does, separated by commas.")] = ALL,
    held: Annotated[
        bool, typer.Option("--held", help="Pause every platform first: commands come in and wait.")
    ] = False,
) -> None:
    """Run the worker until SIGTERM or SIGINT.

    More processes on the same RabbitMQ and PostgreSQL share the work; each may take some of the roles.
    A stop finishes the calls under way (worker.grace); a second signal ends it at once.
    """
    import uvloop

    from worker.bootstrap import run as run_worker

    settings = settings_of(context, logs=True)
    if no_file.get() and not settings.platforms:
        _warn()
    chosen = [role.strip() for role in roles.split(",") if role.strip()]
    uvloop.run(run_worker(settings, chosen, held))


def _warn() -> None:
    """In a wrong folder the defaults would make a new key and a new journal there without a word."""
    import structlog

    structlog.get_logger(__name__).warning(
        "settings.none", folder=str(Path.cwd()), advice="no ./worker.toml here, and no platform: see --config"
    )
