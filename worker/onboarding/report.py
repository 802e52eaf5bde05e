"""What became of each row: a line each, as CSV or XLSX, and a summary with the most frequent causes."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worker.journal.batches.batches import Batch, Batches, Line
from worker.journal.batches.endings import Part
from worker.onboarding.escape import escaped

COLUMNS = (
    "ending",
    "command",
    "code",
    "message",
    "skipped",
    "platform_ids",
    "started_at",
    "finished_at",
    "ids",
)
# The states of rows, in words for the report.
ENDINGS = {
    "done": "succeeded",
    "failed": "failed",
    "parked": "parked",
    "sent": "waiting",
    "sending": "not confirmed",
    "bad": "not sent",
}
OPEN = ("waiting", "not confirmed")
MOST_CAUSES = 5


class ReportError(Exception):
    """The report cannot be written; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Rows that failed, or were not sent, for the same reason; `example` is one of their sentences."""

    rows: int
    command: str
    code: str
    example: str


@dataclass(slots=True)
class Summary:
    """Rows by ending, and why they failed."""

    endings: Counter[str] = field(default_factory=Counter)
    changed: int = 0
    causes: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        self.endings[ENDINGS[line.state]] += 1
        self.changed += line.changed
        if line.state in ("failed", "parked", "bad"):
            command, code, sentence = why(line)
            self.causes[command, code] += 1
            self.examples.setdefault((command, code), sentence)

    @property
    def frequent(self) -> list[Cause]:
        return [Cause(n, *key, self.examples[key]) for key, n in self.causes.most_common(MOST_CAUSES)]


def worded(counts: Mapping[str, int]) -> Counter[str]:
    """Rows by ending, in the report's words."""
    return Counter({ENDINGS[state]: n for state, n in counts.items() if state in ENDINGS})


def stage(batch: Batch, endings: Mapping[str, int]) -> str:
    """One word, as on the console: sending, paused, cancelled; when all is sent: sent (some rows are open), parked
    (the rows that are left wait for a person), ended."""
    if batch.state == "sending":
        return "paused" if batch.paused_by else "sending"
    if batch.state == "cancelled":
        return "cancelled"
    if any(endings.get(one) for one in OPEN):
        return "sent"
    return "parked" if endings.get("parked") else "ended"


def as_keys(endings: Mapping[str, int]) -> dict[str, int]:
    """For programs: not_sent."""
    return {ending.replace(" ", "_"): n for ending, n in endings.items()}


async def lines_of(batches: Batches, batch: Batch) -> AsyncIterator[Line]:
    """All rows of a batch by their number in the file, a portion in memory at a time."""
    after: tuple[int, int] | None = (-1, 0)
    while after is not None:
        lines, after = await batches.lines(batch, after)
        for line in lines:
            yield line


async def lines_of_data(batches: Batches, batch: Batch) -> AsyncIterator[Line]:
    """The same with the commands' data, which may hold secrets."""
    after: tuple[int, int] | None = (-1, 0)
    while after is not None:
        lines, after = await batches.lines(batch, after, 200, datas=True)
        for line in lines:
            yield line


async def summarize(batches: Batches, batch: Batch) -> Summary:
    summary = Summary()
    async for line in lines_of(batches, batch):
        summary.add(line)
    return summary


async def write_report(batches: Batches, batch: Batch, path: Path) -> Summary:
    """`path` ends in .csv or .xlsx. Raises ReportError."""
    if path.suffix.lower() not in (".csv", ".xlsx"):
        raise ReportError(f"{path}: a report is .csv or .xlsx")
    summary = Summary()
    draft = path.with_name(f".{path.name}.part")
    try:
        write = _xlsx if path.suffix.lower() == ".xlsx" else _csv
        await write(batches, batch, draft, summary)
        draft.replace(path)
    except OSError as error:
        raise ReportError(f"{path}: the report cannot be written ({error.strerror})") from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return summary


async def _csv(batches: Batches, batch: Batch, path: Path, summary: Summary) -> None:
    """With a byte order mark, so that a spreadsheet reads its accents."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        await _rows(batches, batch, summary, csv.writer(file).writerow)


async def _xlsx(batches: Batches, batch: Batch, path: Path, summary: Summary) -> None:
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    await _rows(batches, batch, summary, book.create_sheet("rows").append)
    sheet = book.create_sheet("summary")
    for row in summary_rows(batch, summary):
        sheet.append([escaped(cell) for cell in row])
    book.save(path)


async def _rows(
    batches: Batches, batch: Batch, summary: Summary, write: Callable[[Sequence[Any]], object]
) -> None:
    names: tuple[str, ...] | None = None
    async for line in lines_of(batches, batch):
        if names is None:
            names = tuple(line.keys)
            write(["row", *map(escaped, names), *COLUMNS])
        summary.add(line)
        write([escaped(cell) for cell in cells(line, names)])
    if names is None:
        write(["row", *COLUMNS])


def cells(line: Line, names: Sequence[str]) -> list[Any]:
    command, code, sentence = why(line)
    ending = ENDINGS[line.state]
    if line.changed:
        ending += ", changed in the file and not sent"
    parts = line.parts
    return [
        line.number,
        *(line.keys.get(name, "") for name in names),
        ending,
        command,
        code,
        sentence,
        ", ".join(short(part.type) for part in parts if part.skipped),
        ", ".join(_ids(parts)),
        moment(min((p.started_at for p in parts if p.started_at), default=None)),
        moment(max((p.finished_at for p in parts if p.finished_at), default=None)),
        " ".join(part.message_id for part in parts),
    ]


def why(line: Line) -> tuple[str, str, str]:
    """The command that stopped the row, the code and the sentence; empty where nothing did."""
    if line.problem is not None:
        return "", str(line.problem.get("code", "")), str(line.problem.get("message", ""))
    if line.state == "done":
        return "", "", ""
    for part in line.parts:
        if part.problem and not part.skipped and part.state != "succeeded":
            return short(part.type), str(part.problem.get("code", "")), str(part.problem.get("message", ""))
    return "", "", ""


def _ids(parts: Sequence[Part]) -> list[str]:
    return [str(p.output["platform_id"]) for p in parts if p.output and p.output.get("platform_id")]


def short(type: str) -> str:
    return type.removesuffix(".v1")


def moment(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def summary_rows(batch: Batch, summary: Summary) -> list[list[Any]]:
    rows: list[list[Any]] = [
        ["batch", batch.name],
        ["platform", batch.platform],
        ["commands", batch.title],
        ["file", batch.file],
        *([ending, n] for ending, n in summary.endings.most_common()),
    ]
    if summary.changed:
        rows.append(["changed in the file and not sent", summary.changed])
    rows += [[], ["rows", "command", "code", "for example"]] if summary.causes else []
    rows += [[one.rows, one.command, one.code, one.example] for one in summary.frequent]
    return rows


def summary_data(batch: Batch, summary: Summary) -> Mapping[str, Any]:
    """For programs."""
    return {
        "batch": batch.name,
        "platform": batch.platform,
        "commands": batch.title,
        "file": batch.file,
        "state": stage(batch, summary.endings),
        "rows": as_keys(summary.endings),
        "changed": summary.changed,
        "causes": [
            {"rows": one.rows, "command": one.command, "code": one.code, "example": one.example}
            for one in summary.frequent
        ],
    }
