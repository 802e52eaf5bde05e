"""Reading files of rows: CSV, XLSX, JSON Lines. A row at a time, whatever the file's size."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

MOST_CELL = 32_767  # characters: what a cell of a spreadsheet can hold
MOST_COLUMNS = 1000
CHUNK = 1 << 20

Kind = Literal["csv", "xlsx", "jsonl"]


class SheetError(Exception):
    """The file cannot be read as rows: the sentence says why and what helps."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `number` is the one that a spreadsheet shows (the header is 1); `flaw`: it cannot be read."""

    number: int
    cells: Mapping[str, Any] = field(repr=False)
    flaw: str | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What a person says of the file; None: found out."""

    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None  # of a workbook; None: the first


class Reader(Protocol):
    """One kind of file. Both methods begin at its beginning each time."""

    how: str

    def __init__(self, path: Path, options: Options) -> None: ...

    def columns(self) -> tuple[str, ...]: ...

    def rows(self) -> Iterator[Row]: ...


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file that was looked at. `how` says in words as what it is read."""

    path: Path
    kind: Kind
    how: str
    sha256: str
    columns: tuple[str, ...]
    stamp: tuple[int, int]  # size and time of change: it must stay as it was
    reader: Reader = field(repr=False)

    def rows(self) -> Iterator[Row]:
        """From the first row, each time it is called. Raises SheetError."""
        self._unchanged()
        yield from self.reader.rows()
        self._unchanged()

    def _unchanged(self) -> None:
        if stamp_of(self.path) != self.stamp:
            raise SheetError(f"{self.path.name} was changed while it was read: start again")


def open_sheet(path: Path, options: Options | None = None) -> Sheet:
    """Look at the file: what it is, its columns, its content's hash. Raises SheetError."""
    from worker.onboarding.delimited import Delimited
    from worker.onboarding.jsonlines import JsonLines
    from worker.onboarding.workbook import Workbook

    given = options or Options()
    try:
        if not path.is_file():
            raise SheetError(f"{path}: there is no such file")
        stamp = stamp_of(path)
        kind = _kind(path)
        sha256 = _hash(path)
        readers: dict[Kind, type[Reader]] = {"csv": Delimited, "xlsx": Workbook, "jsonl": JsonLines}
        reader = readers[kind](path, given)
        columns = reader.columns()
        _check_columns(path, columns)
        if next(iter(reader.rows()), None) is None:
            raise SheetError(f"{path.name} has a header and no row below it")
    except OSError as error:
        raise SheetError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from None
    return Sheet(path, kind, reader.how, sha256, columns, stamp, reader)


def stamp_of(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


MAGIC = {
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"\xd0\xcf\x11\xe0": "an old Excel file (.xls): save it as .xlsx or CSV",
    b"SQLite format": "a database",
    b"{\\rtf": "a text document: save it as CSV",
}


def _kind(path: Path) -> Kind:
    """By its content; its name only decides where that could be both."""
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise SheetError(f"{path.name} is empty")
    for magic, what in MAGIC.items():
        if head.startswith(magic):
            raise SheetError(f"{path.name} is {what}; rows come as CSV, XLSX or JSON Lines")
    if head.startswith(b"PK\x03\x04"):
        return "xlsx"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"{") or path.suffix.lower() in (".jsonl", ".ndjson"):
        return "jsonl"
    if text.startswith(b"[") and path.suffix.lower() == ".json":
        raise SheetError(f"{path.name} is one JSON list: write one object a line (JSON Lines)")
    return "csv"


def _check_columns(path: Path, columns: tuple[str, ...]) -> None:
    if not any(columns):
        raise SheetError(f"{path.name} has no header: its first row must name the columns")
    seen: set[str] = set()
    for name in columns:
        if name and name in seen:
            raise SheetError(f"{path.name}: two columns are called {name!r}: give each its own name")
        seen.add(name)


def header(cells: list[Any]) -> tuple[str, ...]:
    """Names of the columns: without white space around them; those at the end without a name go."""
    names = ["" if cell is None else " ".join(str(cell).split()) for cell in cells]
    while names and not names[-1]:
        names.pop()
    if len(names) > MOST_COLUMNS:
        raise SheetError(
            f"the first row has {len(names)} columns, more than {MOST_COLUMNS}: is it the header?"
        )
    return tuple(names)


def row_of(number: int, columns: tuple[str, ...], cells: list[Any]) -> Row | None:
    """None: the row is empty."""
    if all(cell is None or (isinstance(cell, str) and not cell.strip()) for cell in cells):
        return None
    extra = [cell for cell in cells[len(columns) :] if cell not in (None, "")]
    found = dict(zip(columns, itertools.chain(cells, itertools.repeat(None)), strict=False))
    found.pop("", None)
    return Row(number, found, _flaw(columns, cells, bool(extra)))


def _flaw(columns: tuple[str, ...], cells: list[Any], extra: bool) -> str | None:
    if extra:
        return f"it has {len(cells)} cells, the header has {len(columns)}: is a quote or a delimiter missing?"
    for name, cell in zip(columns, cells, strict=False):
        if isinstance(cell, str) and len(cell) > MOST_CELL:
            return f"its cell {name!r} has {len(cell)} characters, at most {MOST_CELL} are read"
    return None
