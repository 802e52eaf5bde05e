"""XLSX, streamed: openpyxl reads a sheet row by row; the texts that cells share are kept packed."""

from __future__ import annotations

import re
import zipfile
from array import array
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, overload

from worker.onboarding.sheet import Options, Row, SheetError, header, row_of

MOST_BYTES = 4 << 30  # unpacked, all parts together
MOST_PACKED = 100  # times smaller than unpacked: real sheets are 5 to 30 times smaller
FREE = 64 << 20  # bytes that may be packed as tightly as they like
ERRORS = re.compile(r"#(N/A|REF!|VALUE!|DIV/0!|NAME\?|NUM!|NULL!)")


class Packed(Sequence[str]):
    """Texts in one block of bytes: a million of them as Python's would not fit into the memory allowed."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("Q", [0])

    def append(self, text: str) -> None:
        self._bytes += text.encode("utf-8", "replace")
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        return self._bytes[self._ends[place] : self._ends[place + 1]].decode()


class Workbook:
    def __init__(self, path: Path, options: Options) -> None:
        self._path = path
        self._sheet = options.sheet
        _no_bomb(path)
        self._texts: Packed | None = None
        book = self._open()
        try:
            self._name = self._chosen(book)
        finally:
            book.close()
        self.how = f"XLSX, sheet {self._name!r}"

    def columns(self) -> tuple[str, ...]:
        for _, cells in self._records():
            return header(cells)
        raise SheetError(f"{self._path.name}: the sheet {self._name!r} is empty")

    def rows(self) -> Iterator[Row]:
        columns: tuple[str, ...] | None = None
        for number, cells in self._records():
            if columns is None:
                columns = header(cells)
            elif (row := row_of(number, columns, cells)) is not None:
                wrong = next(
                    (n for n, c in row.cells.items() if isinstance(c, str) and ERRORS.fullmatch(c)), None
                )
                flaw = row.flaw or (
                    f"its cell {wrong!r} holds an error of the spreadsheet" if wrong else None
                )
                yield Row(row.number, row.cells, flaw)

    def _records(self) -> Iterator[tuple[int, list[Any]]]:
        book = self._open()
        try:
            sheet = book[self._name]
            sheet.reset_dimensions()  # what writers say of the size is often wrong
            for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
                values = [plain(cell) for cell in cells]
                if number > 1 or any(values):
                    yield number, values
        except SheetError:
            raise
        except Exception as error:  # whatever a broken archive or sheet makes of the library
            raise _broken(self._path, error) from None
        finally:
            book.close()

    def _open(self) -> Any:
        from openpyxl.reader.excel import ExcelReader

        texts = self._texts

        class Reader(ExcelReader):
            def read_strings(self) -> None:
                self.shared_strings: Any = _texts(self) if texts is None else texts

        try:
            reader = Reader(str(self._path), read_only=True, data_only=True, keep_links=False)
            reader.read()
        except Exception as error:
            raise _broken(self._path, error) from None
        self._texts = reader.shared_strings
        return reader.wb

    def _chosen(self, book: Any) -> str:
        names: list[str] = [sheet.title for sheet in book.worksheets]
        if not names:
            raise SheetError(f"{self._path.name} has no sheet with rows")
        if self._sheet is None:
            return names[0]
        if self._sheet not in names:
            raise SheetError(
                f"--sheet: {self._path.name} has no sheet {self._sheet!r}; it has {', '.join(names)}"
            )
        return self._sheet


def _texts(reader: Any) -> Packed:
    """As openpyxl's own reading of them, without keeping a list."""
    from xml.etree.ElementTree import iterparse

    from openpyxl.cell.text import Text
    from openpyxl.xml.constants import SHARED_STRINGS, SHEET_MAIN_NS

    found = Packed()
    part = reader.package.find(SHARED_STRINGS)
    if part is None:
        return found
    tag = f"{{{SHEET_MAIN_NS}}}si"
    with reader.archive.open(part.PartName[1:]) as source:
        root = None
        for event, node in iterparse(source, ("start", "end")):  # noqa: S314 - expat bounds entities itself
            root = node if root is None else root
            if event == "end" and node.tag == tag:
                text: Any = Text.from_tree(node)
                found.append(text.content.replace("x005F_", ""))
                root.clear()
    return found


def _no_bomb(path: Path) -> None:
    """A small archive that unpacks to far more than any spreadsheet is refused before it is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise _broken(path, error) from None
    unpacked, packed = sum(part.file_size for part in parts), sum(part.compress_size for part in parts)
    if unpacked > MOST_BYTES or unpacked > FREE + MOST_PACKED * packed:
        raise SheetError(
            f"{path.name} would unpack to {unpacked >> 20} MB from {packed >> 10} kB: that is no table of customers"
        )
    names = {part.filename for part in parts}
    if "[Content_Types].xml" not in names:
        raise SheetError(f"{path.name} is an archive and no XLSX file: unpack it first")


def _broken(path: Path, error: Exception) -> SheetError:
    return SheetError(f"{path.name} cannot be read as XLSX ({type(error).__name__}): open and save it again")


def plain(cell: Any) -> Any:
    """A number that is whole as a whole number: telephone numbers are often kept as numbers."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return int(cell)
    if isinstance(cell, datetime):
        return cell.date().isoformat() if cell.time() == time() else cell.isoformat()
    if isinstance(cell, (date, time)):
        return cell.isoformat()
    return cell
