"""`worker contracts`: the folder contracts/ and the code say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.cli import show
from worker.cli.context import FAILED, USAGE, Fault, Json

OPENAPI = "openapi.yaml"  # the operator's API
Where = Annotated[Path | None, typer.Option("--folder", help="The folder; that of this checkout without it.")]


def mount(app: typer.Typer) -> None:
    group = typer.Typer(help="AsyncAPI, schemas and examples.", no_args_is_help=True)
    group.command()(write)
    group.command()(check)
    app.add_typer(group, name="contracts")


def write(folder: Where = None) -> None:
    """Bring the folder up to the code."""
    from worker.messages.contracts import write as bring_up

    where = folder or _ours()
    changed = [*bring_up(where), *_write_openapi(where)]
    for path in changed:
        show.say(path)
    show.say(f"{len(changed)} files changed")


def check(folder: Where = None, as_json: Json = False) -> None:
    """Say how folder and code differ, in both directions."""
    from worker.messages.contracts import check as compare

    where = folder or _ours()
    wrong = [*compare(where), *_compare_openapi(where)]
    if as_json:
        show.emit({"wrong": list(wrong)})
    for sentence in () if as_json else wrong:
        show.say(sentence)
    if wrong:
        raise typer.Exit(FAILED)
    if not as_json:
        show.say("code and contracts say the same")


def _openapi() -> str:
    import yaml

    from worker.console.api import document

    return yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=110)


def _write_openapi(folder: Path) -> list[str]:
    file, text = folder / OPENAPI, _openapi()
    if file.is_file() and file.read_text() == text:
        return []
    file.write_text(text)
    return [OPENAPI]


def _compare_openapi(folder: Path) -> list[str]:
    """The operator's API is the console's own: `worker.messages` does not know it."""
    file = folder / OPENAPI
    if not file.is_file():
        return [f"{OPENAPI} is missing: `worker contracts write` makes it"]
    same = file.read_text() == _openapi()
    return [] if same else [f"{OPENAPI} differs from the code: `worker contracts write` brings it up"]


def _ours() -> Path:
    import worker

    folder = Path(worker.__file__).resolve().parent.parent / "contracts"
    if not folder.is_dir():
        raise Fault(f"there is no folder {folder}: name it with --folder", USAGE)
    return folder
