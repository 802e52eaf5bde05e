"""Everything that can be known to be wrong with a file, before anything of it is sent."""

from __future__ import annotations

import asyncio
import csv
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from worker.journal.batches.batches import Batches, row_hash
from worker.messages.catalogue import COMMANDS
from worker.onboarding.escape import escaped
from worker.onboarding.rows import Finding, Made, Maker
from worker.onboarding.sheet import Row, Sheet

T = TypeVar("T")

PORTION = 500  # rows
FIRST = 10  # findings for the screen
COLUMNS = ("row", "column", "field", "value", "problem", "code")
ONCE = frozenset({"create", "increment"})  # an earlier batch with the same row is most likely the same order

Beyond = Callable[[Sequence[Made]], Awaitable[list[Finding]]]  # asks the platform


class Seen:
    """Rows of this file by the MAC of their identity: on disk, so that a million of them take no memory."""

    def __init__(self) -> None:
        self._file = tempfile.NamedTemporaryFile(prefix="worker-batch-")  # noqa: SIM115 - until close
        self._db = sqlite3.connect(self._file.name, isolation_level=None)
        for statement in ("PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF", "PRAGMA cache_size=-8000"):
            self._db.execute(statement)
        self._db.execute("CREATE TABLE seen (hash BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID")
        self._db.execute("CREATE TABLE bad (number INTEGER PRIMARY KEY)")
        self._db.execute("BEGIN")

    def first(self, hash: str, number: int) -> int:
        """The number of the first row of this identity."""
        key = bytes.fromhex(hash[:32])
        self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, number))
        return int(self._db.execute("SELECT number FROM seen WHERE hash = ?", (key,)).fetchone()[0])

    def mark_bad(self, number: int) -> None:
        self._db.execute("INSERT OR IGNORE INTO bad VALUES (?)", (number,))

    def is_bad(self, number: int) -> bool:
        return self._db.execute("SELECT 1 FROM bad WHERE number = ?", (number,)).fetchone() is not None

    def close(self) -> None:
        self._db.close()
        self._file.close()


@dataclass(slots=True)
class Checked:
    """What the checks found. `seen` is needed for sending; close it."""

    seen: Seen
    rows: int = 0  # that hold something
    good: int = 0
    bad: int = 0
    left_out: int = 0  # by the mapping's `when`
    commands: int = 0
    first: list[Finding] = field(default_factory=list)
    causes: dict[str, int] = field(default_factory=dict)
    report: Path | None = None

    @property
    def share_bad(self) -> float:
        return self.bad / self.rows if self.rows else 0.0


class Problems:
    """The report of problems: opened at the first one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None
        self._writer: Any = None

    def add(self, findings: Sequence[Finding]) -> None:
        if not findings:
            return
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8-sig", newline="")
            self._writer = csv.writer(self._file)
            self._writer.writerow(COLUMNS)
        for one in findings:
            self._writer.writerow(escaped(getattr(one, name)) for name in COLUMNS)

    def close(self) -> bool:
        """Whether there were any."""
        if self._file is None:
            return False
        self._file.close()
        return True


@contextmanager
def _open(path: Path) -> Iterator[Problems]:
    problems = Problems(path)
    try:
        yield problems
    finally:
        problems.close()


def portions(rows: Iterator[Row], maker: Maker) -> Iterator[list[Made | None]]:
    """Rows, made into commands; None for one that the mapping leaves out."""
    portion: list[Made | None] = []
    for row in rows:
        portion.append(maker.make(row))
        if len(portion) >= PORTION:
            yield portion
            portion = []
    if portion:
        yield portion


async def off_loop(portions: Iterable[T]) -> AsyncIterator[T]:
    """Each portion is made in a thread: a large one must not hold up what else this process does."""
    place = iter(portions)
    while (portion := await asyncio.to_thread(next, place, None)) is not None:
        yield portion


async def check(
    sheet: Sheet,
    maker: Maker,
    batches: Batches,
    name: str,
    report: Path,
    *,
    repeats: bool = False,
    beyond: Beyond | None = None,
    read: Callable[[int], None] = lambda rows: None,
) -> Checked:
    """Read the whole file. `repeats`: rows of earlier batches are meant; `read`: told how many rows so far.

    Raises SheetError.
    """
    found = Checked(Seen())
    try:
        with _open(report) as problems:
            async for made, findings in _findings(sheet, maker, batches, name, found, repeats, beyond):
                _count(found, made, findings)
                problems.add(findings)
                read(found.rows)
            found.report = report if problems.close() else None
    except BaseException:
        found.seen.close()
        raise
    return found


async def _findings(
    sheet: Sheet,
    maker: Maker,
    batches: Batches,
    name: str,
    found: Checked,
    repeats: bool,
    beyond: Beyond | None,
) -> AsyncIterator[tuple[list[Made], list[Finding]]]:
    async for portion in off_loop(portions(sheet.rows(), maker)):
        made = [one for one in portion if one is not None]
        found.left_out += len(portion) - len(made)
        findings = [finding for one in made for finding in one.findings]
        good = [one for one in made if not one.findings]
        hashes = {one.number: row_hash(batches.core, maker.platform, one.identity) for one in good}
        for one in good:
            first = found.seen.first(hashes[one.number], one.number)
            if first != one.number:
                findings.append(_twice(one, first))
        if not repeats:
            findings += await _earlier(batches, name, maker, good, hashes)
        if beyond is not None:
            bad = {one.row for one in findings}
            findings += await beyond([one for one in good if one.number not in bad])
        yield made, sorted(findings, key=lambda one: one.row)


def _twice(one: Made, first: int) -> Finding:
    what = ", ".join(f"{name} {value}" for name, value in one.keys.items())
    sentence = f"row {first} is about the same: leave one of them out, or name more columns as identity in the mapping"
    return Finding(one.number, ", ".join(one.keys), "", what, sentence, "duplicate_row")


async def _earlier(
    batches: Batches, name: str, maker: Maker, good: Sequence[Made], hashes: Mapping[int, str]
) -> list[Finding]:
    """Rows whose create or top-up an earlier batch has sent already; blocking again is no mistake."""
    findings = []
    for type in dict.fromkeys(type for one in good for type, _ in one.commands):
        if COMMANDS[type].effect not in ONCE:
            continue
        rows = [one for one in good if any(type == each for each, _ in one.commands)]
        before = await batches.earlier(name, maker.platform, [hashes[one.number] for one in rows], type)
        for one in rows:
            if (batch := before.get(hashes[one.number])) is not None:
                findings.append(_before(one, type, batch))
    return findings


def _before(one: Made, type: str, batch: str) -> Finding:
    what = ", ".join(f"{name} {value}" for name, value in one.keys.items())
    sentence = (
        f"batch {batch} has sent {type.removesuffix('.v1')} for it already: leave it out, or say --repeats if it is"
        " to be done once more"
    )
    return Finding(one.number, ", ".join(one.keys), "", what, sentence, "in_earlier_batch")


def _count(found: Checked, made: Sequence[Made], findings: Sequence[Finding]) -> None:
    bad = {one.row for one in findings}
    for number in bad:
        found.seen.mark_bad(number)
    found.rows += len(made)
    found.bad += len(bad)
    found.good += len(made) - len(bad)
    found.commands += sum(len(one.commands) for one in made if one.number not in bad)
    found.first += list(findings)[: max(0, FIRST - len(found.first))]
    for one in findings:
        cause = (
            f"{one.column or one.field or one.code}: {one.problem}"
            if one.code != "duplicate_row"
            else "the same row twice"
        )
        if cause in found.causes or len(found.causes) < 1000:
            found.causes[cause] = found.causes.get(cause, 0) + 1
