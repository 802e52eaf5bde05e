"""`worker demo`: the whole flow on this machine, with lost answers, and the sums at the end."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.context import FAILED, quieten, state

SEED = 7


def mount(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    context: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running until stopped (Ctrl-C).")] = False,
    seed: Annotated[int, typer.Option(help="Another seed loses other answers.")] = SEED,
) -> None:
    """Send the example orders through a private RabbitMQ to a SIPPulse that loses every fourth answer.

    Starts RabbitMQ (or uses WORKER__BROKER__URL), the simulator with faults on, and a worker on SQLite, all in
    a temporary folder; ends with a table, and exit code 0 only if every order got the answer it should, and
    the platform has exactly the credit that was ordered. Cleans up what it started, also on Ctrl-C.
    """
    import asyncio

    from worker.cli.demo.flow import play
    from worker.cli.demo.stage import Stage, Stopped, stopped_by_signals

    quieten(state(context).debug)
    well = False
    try:
        # The stage outside the event loop: what a thread of it still starts is known when the stage ends.
        with stopped_by_signals(), Stage(seed) as stage:
            well = asyncio.run(play(stage, keep))
    except Stopped as stopped:
        if not stage.kept:
            raise typer.Exit(128 + stopped.number) from None
        well = True
    if not well:
        raise typer.Exit(FAILED)
