"""CSV as it is found: the encoding, the delimiter and the quotes are worked out from the content."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.onboarding.sheet import CHUNK, MOST_CELL, Options, Row, SheetError, header, row_of

SAMPLE = 256 * 1024  # bytes that the dialect is worked out from
LOOK = 200  # records of the sample that are compared
DELIMITERS = ",;\t|"
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
MOST = (
    4 * MOST_CELL
)  # characters of a cell before reading stops: a quote that is never closed takes in the rest
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Dialect:
    delimiter: str
    quote: str = '"'
    escape: str | None = None
    announced: bool = False  # the first line is Excel's `sep=;`

    def reader(self, file: Iterator[str]) -> Iterator[list[str]]:
        return csv.reader(
            file,
            delimiter=self.delimiter,
            quotechar=self.quote,
            escapechar=self.escape,
            doublequote=True,
            skipinitialspace=True,
        )


class Delimited:
    """A CSV file."""

    def __init__(self, path: Path, options: Options) -> None:
        self._path = path
        self.encoding = options.encoding or encoding_of(path)
        self.dialect = dialect_of(self._sample(), options.delimiter)
        name = NAMES.get(self.dialect.delimiter, repr(self.dialect.delimiter))
        self.how = f"CSV, {self.encoding}, delimiter {name}"

    def columns(self) -> tuple[str, ...]:
        for _, cells in self._records():
            return header(cells)
        raise SheetError(f"{self._path.name} is empty")

    def rows(self) -> Iterator[Row]:
        columns: tuple[str, ...] | None = None
        for number, cells in self._records():
            if columns is None:
                columns = header(cells)
            elif (row := row_of(number, columns, cells)) is not None:
                yield row

    def _records(self) -> Iterator[tuple[int, list[Any]]]:
        """Numbered as a spreadsheet numbers its rows: a record with line breaks inside is one."""
        csv.field_size_limit(MOST)
        number = 0
        try:
            with self._path.open(encoding=self.encoding, newline="") as file:
                if self.dialect.announced:
                    file.readline(100)
                for number, cells in enumerate(self.dialect.reader(_lines(file)), 1):
                    yield number, list(cells)
        except UnicodeError:
            raise SheetError(
                f"{self._path.name} is not {self.encoding} below row {number}: say --encoding"
            ) from None
        except csv.Error as error:
            raise SheetError(f"{self._path.name}, row {number + 1}: {_said(error)}") from None

    def _sample(self) -> str:
        with self._path.open("rb") as file:
            raw = file.read(SAMPLE)
        try:
            decoder = codecs.getincrementaldecoder(self.encoding)()
        except LookupError:
            raise SheetError(f"--encoding: there is none called {self.encoding!r}") from None
        try:
            return decoder.decode(raw)
        except UnicodeError:
            raise SheetError(f"{self._path.name} is not {self.encoding}: say another --encoding") from None


def _lines(file: io.TextIOBase) -> Iterator[str]:
    """A file without line breaks must not become one line in memory."""
    while line := file.readline(CHUNK):
        if "\0" in line:
            raise SheetError("it holds NUL characters: it is no text file")
        yield line


def _said(error: csv.Error) -> str:
    if "field larger" in str(error):
        return f"a cell has more than {MOST} characters: is a quote opened and never closed?"
    return f"it cannot be read ({error})"


def encoding_of(path: Path) -> str:
    """By its byte order mark; else UTF-8 if all of it is; else what Excel writes in Western Europe and Brazil."""
    with path.open("rb") as file:
        head = file.read(CHUNK)
        for bom, name in BOMS:
            if head.startswith(bom):
                return name
        if b"\0" in head:
            return _without_mark(path, head)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while head:
                decoder.decode(head)
                head = file.read(CHUNK)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return _western(path)
    return "utf-8"


def _without_mark(path: Path, head: bytes) -> str:
    """UTF-16 whose mark is missing: every other byte of common text is 0."""
    even, odd = head[0:4096:2].count(0), head[1:4096:2].count(0)
    half = len(head[:4096]) / 2
    if odd > half * 0.6 and even < half * 0.1:
        return "utf-16-le"
    if even > half * 0.6 and odd < half * 0.1:
        return "utf-16-be"
    raise SheetError(f"{path.name} is a binary file; rows come as CSV, XLSX or JSON Lines")


def _western(path: Path) -> str:
    """cp1252, or latin-1 where a byte is none of cp1252's; control characters are in no text."""
    with path.open("rb") as file:
        head = file.read(CHUNK)
    odd = sum(byte < 32 and byte not in (9, 10, 13) for byte in head[:65536])
    if odd > len(head[:65536]) / 100:
        raise SheetError(f"{path.name} is a binary file; rows come as CSV, XLSX or JSON Lines")
    undefined = {0x81, 0x8D, 0x8F, 0x90, 0x9D}
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            if not undefined.isdisjoint(chunk):
                return "latin-1"
    return "cp1252"


def dialect_of(sample: str, delimiter: str | None = None) -> Dialect:
    """The delimiter with which most records have as many cells as the header."""
    if "\0" in sample:
        raise SheetError("it holds NUL characters: it is no text file")
    first, _, rest = sample.partition("\n")
    first = first.strip().lstrip("\ufeff")
    if first.lower().startswith("sep=") and len(first) == 5:
        found = _best(rest, first[4])
        return Dialect(found.delimiter, found.quote, found.escape, announced=True)
    return _best(sample, delimiter)


def _best(sample: str, delimiter: str | None) -> Dialect:
    header_line = sample.split("\n", 1)[0].strip()
    quote = "'" if header_line.startswith("'") and header_line.endswith("'") and len(header_line) > 1 else '"'
    escape = "\\" if f"\\{quote}" in sample and quote * 2 not in sample else None
    if delimiter is not None:
        return Dialect("\t" if delimiter in ("\\t", "tab") else delimiter, quote, escape)
    candidates = [Dialect(sign, quote, escape) for sign in DELIMITERS]
    return max(candidates, key=lambda one: _score(sample, one))


def _score(sample: str, dialect: Dialect) -> tuple[float, int]:
    """Share of records that have the header's number of cells, and that number; 0 for a single column."""
    records = []
    try:
        for record in dialect.reader(io.StringIO(sample, newline="")):
            if record:
                records.append(len(record))
            if len(records) >= LOOK:
                break
    except csv.Error:
        return 0.0, 0
    if not records or records[0] < 2:
        return 0.0, 0
    alike = sum(count == records[0] for count in records) / len(records)
    return alike, records[0]
