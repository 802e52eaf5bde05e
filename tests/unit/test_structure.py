"""The import arrow never runs up, and what a newcomer reads stays short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

WORKER = Path(__file__).resolve().parents[2] / "worker"
HEIGHT = {
    "__init__": 0,
    "settings": 0,
    "logs": 0.5,  # it is told its settings
    "telemetry": 0,
    "tracing": 0.5,
    "messages": 1,
    "domain": 2,
    "journal": 3,
    "platforms": 3,
    "engine": 4,
    "broker": 5,
    "console": 5,
    "onboarding": 5,
    "bootstrap": 6,
    "cli": 7,
    "__main__": 8,
}
APART = ("simulators", "sandbox")  # they import nothing else of worker/
FILES = sorted(WORKER.rglob("*.py"))


def part(file: Path) -> str:
    return file.relative_to(WORKER).parts[0].removesuffix(".py")


def imported(file: Path) -> Iterator[str]:
    """The name after "worker." in each of its imports."""
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [
                f"worker.{alias.name}" if node.module == "worker" else node.module
                for alias in node.names
                if alias.name != "__version__"
            ]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("worker."):
                yield name.split(".")[1]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(WORKER)))
def test_the_import_arrow_never_runs_up(file: Path) -> None:
    here = part(file)
    for there in imported(file):
        if here in APART:
            assert there == here, f"{here} stands apart and imports {there}"
        elif there not in APART:
            assert there == here or HEIGHT[there] < HEIGHT[here], f"{here} imports {there}"
        else:
            assert here == "cli", f"only the command line starts the {there}, not {here}"


def test_nobody_but_tests_stands_in_for_a_platform() -> None:
    inside = [f for f in FILES if part(f) not in APART and "simulators" in imported(f)]
    assert {part(f) for f in inside} <= {"cli"}


def test_functions_are_short_enough_to_see() -> None:
    long = [
        f"{file.relative_to(WORKER)}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for file in FILES
        if "migrations" not in file.parts
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= 70
    ]
    assert not long
