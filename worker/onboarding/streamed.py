"""The report of a batch as it is sent to a browser: CSV while its rows are read; XLSX is made first, beside the loop."""

from __future__ import annotations

import asyncio
import csv
import io
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Literal

from worker.journal.batches.batches import Batch, Batches, Line
from worker.journal.batches.uploads import PART
from worker.onboarding.escape import escaped
from worker.onboarding.report import COLUMNS, Summary, cells, summary_rows

Form = Literal["csv", "xlsx"]
DESCRIPTORS = Path("/proc/self/fd")  # by these, what has no name has a path


async def report(batches: Batches, batch: Batch, form: Form) -> AsyncIterator[bytes]:
    parts = _csv(batches, batch) if form == "csv" else _xlsx(batches, batch)
    async for part in parts:
        yield part


async def _portions(batches: Batches, batch: Batch) -> AsyncIterator[list[Line]]:
    after: tuple[int, int] | None = (-1, 0)
    while after is not None:
        lines, after = await batches.lines(batch, after)
        if lines:
            yield lines


def _head(names: Sequence[str]) -> list[Any]:
    return ["row", *map(escaped, names), *COLUMNS]


def _cells(lines: Sequence[Line], names: Sequence[str]) -> list[list[Any]]:
    return [[escaped(cell) for cell in cells(line, names)] for line in lines]


async def _csv(batches: Batches, batch: Batch) -> AsyncIterator[bytes]:
    """With a byte order mark, so that a spreadsheet reads its accents."""
    names: tuple[str, ...] | None = None
    yield b"\xef\xbb\xbf"
    async for lines in _portions(batches, batch):
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        if names is None:
            names = tuple(lines[0].keys)
            writer.writerow(_head(names))
        writer.writerows(await asyncio.to_thread(_cells, lines, names))
        yield text.getvalue().encode()
    if names is None:
        yield ",".join(["row", *COLUMNS]).encode() + b"\r\n"


async def _xlsx(batches: Batches, batch: Batch) -> AsyncIterator[bytes]:
    """Its files have no name: they hold customers in clear, and go with the process, however that ends."""
    from openpyxl import Workbook

    book, summary = Workbook(write_only=True), Summary()
    sheet = _sheet(book, "rows")
    names: tuple[str, ...] | None = None
    async for lines in _portions(batches, batch):
        if names is None:
            names = tuple(lines[0].keys)
            sheet.append(_head(names))
        for line in lines:
            summary.add(line)
        await asyncio.to_thread(_append, sheet, lines, names)
    if names is None:
        sheet.append(["row", *COLUMNS])
    second = _sheet(book, "summary")
    for row in summary_rows(batch, summary):
        second.append([escaped(cell) for cell in row])
    with tempfile.TemporaryFile() as file:
        await asyncio.to_thread(book.save, file)
        file.seek(0)
        while part := await asyncio.to_thread(file.read, PART):
            yield part


def _sheet(book: Any, title: str) -> Any:
    """A sheet whose rows wait in a nameless file; openpyxl's own has a name, and outlives a process that is killed."""
    from openpyxl.worksheet._writer import WorksheetWriter

    sheet = book.create_sheet(title)
    if not DESCRIPTORS.is_dir():  # not Linux: as openpyxl does it
        return sheet
    file = tempfile.TemporaryFile()  # noqa: SIM115 - until it is in the archive

    class Nameless(WorksheetWriter):
        def cleanup(self) -> None:
            file.close()

    sheet._writer = Nameless(sheet, str(DESCRIPTORS / str(file.fileno())))
    sheet._writer.write_top()
    return sheet


def _append(sheet: Any, lines: Sequence[Line], names: Sequence[str]) -> None:
    for row in _cells(lines, names):
        sheet.append(row)
