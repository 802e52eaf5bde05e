"""`worker contracts`: the folder contracts/ and the code say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.cli import show
from worker.cli.context import FAILED, USAGE, Fault, Json

Where = Annotated[Path | None, typer.Option("--folder", help="The folder; that of this checkout without it.")]


def mount(app: typer.Typer) -> None:
    group = typer.Typer(help="AsyncAPI, schemas and examples.", no_args_is_help=True)
    group.command()(write)
    group.command()(check)
    app.add_typer(group, name="contracts")


def write(folder: Where = None) -> None:
    """Bring the folder up to the code."""
    from worker.messages.contracts import write as bring_up

    changed = bring_up(folder or _ours())
    for path in changed:
        show.say(path)
    show.say(f"{len(changed)} files changed")


def check(folder: Where = None, as_json: Json = False) -> None:
    """Say how folder and code differ, in both directions."""
    from worker.messages.contracts import check as compare

    wrong = compare(folder or _ours())
    if as_json:
        show.emit({"wrong": list(wrong)})
    for sentence in () if as_json else wrong:
        show.say(sentence)
    if wrong:
        raise typer.Exit(FAILED)
    if not as_json:
        show.say("code and contracts say the same")


def _ours() -> Path:
    import worker

    folder = Path(worker.__file__).resolve().parent.parent / "contracts"
    if not folder.is_dir():
        raise Fault(f"there is no folder {folder}: name it with --folder", USAGE)
    return folder
