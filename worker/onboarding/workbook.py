"""XLSX, streamed: openpyxl reads cells and styles; rows and texts come one by one (`parts`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, cast

from worker.onboarding.parts import Texts, broken, check_parts, elements, small
from worker.onboarding.sheet import Options, Row, SheetError, header, row_of

ERRORS = re.compile(r"#(N/A|REF!|VALUE!|DIV/0!|NAME\?|NUM!|NULL!)")


class Workbook:
    def __init__(self, path: Path, options: Options) -> None:
        self._path = path
        check_parts(path)
        self._texts: Texts | None = None
        reader = self._open()
        try:
            self._part, name = self._chosen(reader, options.sheet)
        finally:
            reader.archive.close()
        self.how = f"XLSX, sheet {name!r}"

    def columns(self) -> tuple[str, ...]:
        for _, cells in self._records():
            return header(cells)
        raise SheetError(f"{self._path.name}: the {self.how.partition(', ')[2]} is empty")

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
        """Rows that hold something, by the number that the sheet gives them."""
        reader = self._open()
        try:
            last = 0
            for number, cells in self._cells(reader):
                if number <= last:
                    raise SheetError(
                        f"{self._path.name}: row {number} follows row {last}: open and save it again"
                    )
                last = number
                if any(cell is not None and cell != "" for cell in cells):
                    yield number, cells
        except SheetError:
            raise
        except Exception as error:  # whatever a broken archive or sheet makes of the library
            raise broken(self._path, error) from None
        finally:
            reader.archive.close()

    def _cells(self, reader: Any) -> Iterator[tuple[int, list[Any]]]:
        from openpyxl.worksheet._reader import DATA_TAG, ROW_TAG, WorkSheetParser

        book, nothing = reader.wb, cast(Any, None)
        parser: Any = WorkSheetParser(
            nothing,  # we hand it the rows
            reader.shared_strings,
            data_only=True,
            epoch=book.epoch,
            date_formats=book._date_formats,
            timedelta_formats=book._timedelta_formats,
        )
        with reader.archive.open(self._part) as source:
            for element in elements(self._path, source, ROW_TAG, DATA_TAG):
                number, cells = parser.parse_row(element)
                parser.row_dimensions.clear()  # it would keep the height of each row
                values = [None] * max((cell["column"] for cell in cells), default=0)
                for cell in cells:
                    values[cell["column"] - 1] = plain(cell["value"])
                yield number, values

    def _open(self) -> Any:
        """openpyxl's reader with names and styles; and, the first time, the shared texts."""
        from openpyxl.packaging import relationship
        from openpyxl.reader import excel
        from openpyxl.styles.stylesheet import apply_stylesheet
        from openpyxl.xml.constants import ARC_CONTENT_TYPES, ARC_STYLE

        opening, related = cast(Any, excel), cast(Any, relationship)  # more than their stubs tell
        reader: Any = None
        try:
            reader = opening.ExcelReader(str(self._path), read_only=True, data_only=True, keep_links=False)
            small(self._path, reader.archive, [ARC_CONTENT_TYPES])
            reader.read_manifest()
            names = opening._find_workbook_part(reader.package).PartName[1:]
            small(self._path, reader.archive, [names, related.get_rels_path(names), ARC_STYLE])
            reader.read_workbook()
            apply_stylesheet(reader.archive, reader.wb)
            self._texts = _texts(self._path, reader) if self._texts is None else self._texts
            reader.shared_strings = self._texts
        except Exception as error:
            if reader is not None:
                reader.archive.close()
            raise error if isinstance(error, SheetError) else broken(self._path, error) from None
        return reader

    def _chosen(self, reader: Any, wanted: str | None) -> tuple[str, str]:
        """The part with the rows, and the sheet's name."""
        sheets: dict[str, str] = {
            sheet.name: rel.target
            for sheet, rel in reader.parser.find_sheets()
            if rel.target in reader.valid_files and "chartsheet" not in rel.Type
        }
        if not sheets:
            raise SheetError(f"{self._path.name} has no sheet with rows")
        name = next(iter(sheets)) if wanted is None else wanted
        if name not in sheets:
            raise SheetError(
                f"--sheet: {self._path.name} has no sheet {wanted!r}; it has {', '.join(sheets)}"
            )
        return sheets[name], name


def _texts(path: Path, reader: Any) -> Texts:
    """As openpyxl's own reading of them, without keeping a list."""
    from openpyxl.cell.text import Text
    from openpyxl.xml.constants import SHARED_STRINGS, SHEET_MAIN_NS

    found = Texts(path)
    part = reader.package.find(SHARED_STRINGS)
    if part is not None:
        with reader.archive.open(part.PartName[1:]) as source:
            for node in elements(path, source, f"{{{SHEET_MAIN_NS}}}si", f"{{{SHEET_MAIN_NS}}}sst"):
                as_openpyxl: Any = node  # its stubs describe another class of elements
                text: Any = Text.from_tree(as_openpyxl)
                found.append(text.content.replace("x005F_", ""))
    return found.finish()


def plain(cell: Any) -> Any:
    """A number that is whole as a whole number: telephone numbers are often kept as numbers."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return int(cell)
    if isinstance(cell, datetime):
        return cell.date().isoformat() if cell.time() == time() else cell.isoformat()
    if isinstance(cell, (date, time)):
        return cell.isoformat()
    return cell
