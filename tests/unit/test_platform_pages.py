"""docs/platforms.md and the pages of the platforms say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from worker.messages.catalogue import KINDS, PORTABLE
from worker.messages.rest.document import file_of
from worker.messages.rest.page import BEGIN, page

DOCS = Path(__file__).parents[2] / "docs"
PLATFORMS = (DOCS / "platforms.md").read_text(encoding="utf-8")
COLUMNS = ("sippulse", "voipmundo", "ringme")


def test_the_table_says_of_every_portable_command_who_offers_it() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| (.+) \| (.+) \| (.+) \|$", PLATFORMS, re.MULTILINE)
    offered = {f"{name}.v1": {kind for kind, cell in zip(COLUMNS, cells, strict=True) if cell != "–"}
               for name, *cells in rows}  # fmt: skip
    assert set(COLUMNS) <= set(KINDS)
    assert offered == {
        type_: set(spec.kinds) & set(COLUMNS) for type_, spec in PORTABLE.items() if not spec.at_intake
    }


def test_every_file_that_a_fourth_one_needs_exists() -> None:
    named = re.findall(r"`((?:worker|tests|contracts)/[\w./<>-]+)`", PLATFORMS)
    assert len(named) > 10
    for path in named:
        for kind in (COLUMNS if "openapi" not in path else COLUMNS[1:]) if "<kind>" in path else ("",):
            assert (DOCS.parent / path.replace("<kind>", kind)).exists(), (path, kind)


def test_a_fourth_platform_is_little_work() -> None:
    said = dict(re.findall(r"^\| `(toy[\w.]+)` \| (\d+) \|", PLATFORMS, re.MULTILINE))
    folder = DOCS.parent / "tests" / "conformance" / "platforms"
    assert {file.name for file in folder.glob("toy*") if file.is_file()} == set(said)
    for name, lines in said.items():
        assert len((folder / name).read_text(encoding="utf-8").splitlines()) == int(lines), name
    assert int(said["toy.py"]) < 80, "the platform itself: settings, portable commands, plans, login"


def test_the_tables_of_native_commands_are_what_the_files_say() -> None:
    for kind in filter(file_of, COLUMNS):
        text = (DOCS / f"{kind}.md").read_text(encoding="utf-8")
        assert BEGIN in text, kind
        assert text == page(text, kind), "run `python -m worker.messages.rest`"
