"""The parts of a workbook, read in bounded memory: whoever wrote the file may have meant harm.

A part is an XML file in an archive. Rows and shared texts are taken out of it one by one; the few parts that are read
whole have to be small; none may declare entities, which a workbook never does.
"""

from __future__ import annotations

import errno
import os
import struct
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, overload
from xml.etree.ElementTree import Element, XMLPullParser
from xml.parsers import expat

from worker.onboarding.sheet import SheetError

MOST_BYTES = 4 << 30  # unpacked, all parts together
MOST_PACKED = 100  # times smaller than unpacked: real sheets are 5 to 30 times smaller
FREE = 64 << 20  # bytes that may be packed as tightly as they like
MOST_WHOLE = 2 << 20  # bytes of a part that is read whole (names of sheets, styles): 100 MB as objects
MOST_ELEMENT = 16 << 20  # bytes of one row, or one text
MOST_INSIDE = (
    1 << 18
)  # beginnings and ends of elements in one row: 16,384 cells, what a sheet can have, are half of it
CHUNK = 1 << 16
PLACE = struct.Struct("<QQ")


def check_parts(path: Path) -> None:
    """Raises SheetError for what is no workbook, or one that would not fit: before anything is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            _sizes(path, parts)
            for part in parts:
                if part.filename.endswith((".xml", ".rels")):
                    with archive.open(part) as source:
                        _no_entities(path, source.read(CHUNK))
    except SheetError:
        raise
    except Exception as error:  # whatever a broken archive makes of the library
        raise broken(path, error) from None


def _sizes(path: Path, parts: Sequence[zipfile.ZipInfo]) -> None:
    unpacked, packed = sum(part.file_size for part in parts), sum(part.compress_size for part in parts)
    if unpacked > MOST_BYTES or unpacked > FREE + MOST_PACKED * packed:
        raise SheetError(
            f"{path.name} would unpack to {unpacked >> 20} MB from {packed >> 10} kB: that is no table of customers"
        )
    if "[Content_Types].xml" not in {part.filename for part in parts}:
        raise SheetError(f"{path.name} is an archive and no XLSX file: unpack it first")


class _Begun(Exception):
    """The first element has begun: no declaration can follow."""


def _no_entities(path: Path, head: bytes) -> None:
    """Entities may stand for gigabytes. They are declared before the first element, or nowhere."""

    def refuse(*_: object) -> None:
        raise SheetError(f"{path.name} declares XML entities, which no workbook does: it is not read")

    def begun(*_: object) -> None:
        raise _Begun

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = begun
    try:
        parser.Parse(head, False)
    except _Begun:
        return
    if len(head) == CHUNK:
        raise SheetError(f"{path.name} does not look like a workbook inside: open and save it again")


def small(path: Path, archive: zipfile.ZipFile, names: Sequence[str]) -> None:
    """Raises SheetError where a part that is about to be read whole is none that fits."""
    for part in archive.infolist():
        if part.filename in names and part.file_size > MOST_WHOLE:
            raise SheetError(
                f"{path.name}: its part {part.filename} has {part.file_size >> 20} MB, at most {MOST_WHOLE >> 20} are"
                " read: copy the rows into a new workbook, or save them as CSV"
            )


def elements(path: Path, source: IO[bytes], tag: str, within: str) -> Iterator[Element]:
    """Elements `tag` of the element `within`, each finished and gone when the next one is asked for."""
    parser: XMLPullParser[Any] = XMLPullParser(("start", "end"))
    holder: Element | None = None
    inside = size = 0
    while chunk := source.read(CHUNK):
        parser.feed(chunk)
        size += len(chunk)
        found: Iterator[Any] = parser.read_events()
        for event, node in found:
            inside += 1
            if event == "start":
                holder = node if holder is None and node.tag == within else holder
            elif node.tag == within:
                return
            elif node.tag == tag and holder is not None:
                yield node
                holder.clear()  # clearing the row would leave an empty one for each of them
                inside = size = 0
            if inside > MOST_INSIDE:
                raise SheetError(f"{path.name}: a row of the sheet has more cells than a sheet can have")
        if size > MOST_ELEMENT:
            raise SheetError(f"{path.name}: a row or a text in it has more than {MOST_ELEMENT >> 20} MB")
    parser.close()
    if holder is None:
        raise SheetError(
            f"{path.name} is no workbook of the usual form: save it as .xlsx (not as Strict Open XML), or as CSV"
        )


class Texts(Sequence[str]):
    """The texts that cells share, in nameless files: a million different ones take no memory of the process.

    `path` is the workbook's: of one that is held in memory only, the texts do not touch the disk either.
    """

    def __init__(self, path: Path) -> None:
        held = path.is_symlink() and str(path.readlink()).startswith("/proc/")
        self._texts, self._places = (_file(held) for _ in range(2))
        self._end = self._count = 0

    def append(self, text: str) -> None:
        raw = text.encode("utf-8", "replace")
        self._texts.write(raw)
        self._places.write(PLACE.pack(self._end, len(raw)))
        self._end += len(raw)
        self._count += 1

    def finish(self) -> Texts:
        """Nothing more is added: it may be read."""
        self._texts.flush()
        self._places.flush()
        return self

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        if not 0 <= place < self._count:
            raise IndexError(place)
        start, length = PLACE.unpack(os.pread(self._places.fileno(), PLACE.size, place * PLACE.size))
        return os.pread(self._texts.fileno(), length, start).decode()


def _file(held: bool) -> IO[bytes]:
    if held:
        return os.fdopen(os.memfd_create("texts"), "w+b")
    return tempfile.TemporaryFile()


def broken(path: Path, error: Exception) -> SheetError:
    if isinstance(error, OSError) and error.errno == errno.EFBIG:  # see `rehearsal.MOST_HELD`
        return SheetError(
            f"{path.name} holds more text than is read of a file that was uploaded: remove sheets and columns that are"
            " not needed, save it as CSV, or use `worker batch run` on the command line"
        )
    return SheetError(f"{path.name} cannot be read as XLSX ({type(error).__name__}): open and save it again")
