"""`worker audit`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from worker.cli import show
from worker.cli.context import FAILED, USAGE, Fault, Json, run, settings_of, with_journal


def mount(app: typer.Typer) -> None:
    group = typer.Typer(help="The chain of audit records.", no_args_is_help=True)
    group.callback()(lambda: None)
    group.command()(verify)
    app.add_typer(group, name="audit")


def verify(
    context: typer.Context,
    collected: Annotated[
        Path | None,
        typer.Option(
            help="Audit events that were collected elsewhere, one JSON a line: finds a tail that was cut off.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find a record that was changed, removed or inserted."""
    settings = settings_of(context)
    events = list(_events(collected)) if collected else None
    if events == []:
        raise Fault(f"no audit event in {collected}: nothing can be held against the chain")
    report = run(with_journal(settings, lambda journal: journal.verify(events)))
    if as_json:
        show.emit(asdict(report))
    else:
        span = f" ({report.first} to {report.last})" if report.records else ""
        show.say(f"{report.records} records{span}, {report.unsealed} not sealed yet")
        if events is not None:
            show.say(f"{report.collected} collected events held against them")
        for fault in report.faults:
            show.say(f"wrong: {fault}")
        if not report.faults:
            show.say("the chain is whole")
    if report.faults:
        raise typer.Exit(FAILED)


def _events(file: Path) -> Iterator[Mapping[str, Any]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Fault(f"{file} cannot be read ({type(error).__name__})", USAGE) from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError:
            raise Fault(f"{file}, line {number}: not JSON", USAGE) from None
        if isinstance(event, Mapping):
            yield event
