"""All verbs, put together."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from worker.cli import (
    audit,
    batch,
    commands,
    console,
    contracts,
    doctor,
    events,
    journal,
    onboard,
    platforms,
    quarantine,
    send,
    show,
    simulate,
)
from worker.cli import demo as demo_verb
from worker.cli import run as run_verb
from worker.cli.context import EXIT_CODES, FAILED, State, complain, explained


def build() -> typer.Typer:
    app = typer.Typer(
        name="worker",
        help="Provisioning worker: commands from RabbitMQ take effect exactly once on telecom platforms.\n\n"
        + EXIT_CODES,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(root)
    app.command()(run_verb.run)
    demo_verb.mount(app)
    send.mount(app)
    onboard.mount(app)
    batch.mount(app)
    app.command()(doctor.doctor)
    for group in (commands, console, quarantine, platforms, events, audit, journal, simulate, contracts):
        group.mount(app)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        from worker import __version__

        typer.echo(f"provisioning-worker {__version__}")
        raise typer.Exit


def root(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            envvar="WORKER_CONFIG",
            help="Settings file; without it ./worker.toml, if there is one.",
            show_default=False,
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and what the libraries say.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    context.obj = State(config, debug)


def run(words: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code. An error is one sentence on standard error."""
    given = list(sys.argv[1:] if words is None else words)
    code = _code(given, lambda: _verb(given))
    unwritten = _code(given, show.flush)
    return code or unwritten


def _verb(words: list[str]) -> None:
    build()(args=send.with_wait(words) if "send" in words else words, prog_name="worker")


def _code(words: list[str], work: Callable[[], None]) -> int:
    try:
        work()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FAILED if end.code else 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if "--debug" in words:
            raise
        text, code = explained(error) or (_unforeseen(error), FAILED)
        complain(text)
        return code
    return 0


def _unforeseen(error: Exception) -> str:
    """Its text may quote a secret: only where it happened is said."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" in {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return f"unexpected {type(error).__name__}{place}: run it again with --debug to see more"
