"""What a report says of the rows of a file, beside what the platform has: the two have to be the same."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.batches.files import Row

ReportLine = Mapping[str, str]
FIRST = 2  # number of the first row behind the header
OPEN = ("waiting", "not confirmed")
EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Platform:
    """The truth: who is there, how often each got a credit, and how many were made twice."""

    subscribers: frozenset[str]
    credits: Mapping[str, int]
    doubles: int


@dataclass(frozen=True, slots=True)
class Compared:
    """`ours`: by file and report; `theirs`: on the platform."""

    what: str
    ours: int
    theirs: int
    equal: bool
    examples: tuple[str, ...] = ()  # of what is on one side alone


@dataclass(frozen=True, slots=True)
class Account:
    lines: tuple[Compared, ...]
    endings: tuple[tuple[str, str], ...]
    commands: int  # that ran

    @property
    def equal(self) -> bool:
        return all(one.equal for one in self.lines)


def read_report(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def seen(counts: Mapping[str, Any], credits: Mapping[str, Any], state: Mapping[str, Any]) -> Platform:
    """Views of the simulator's admin API."""
    booked = {
        name.rpartition("@")[0]: one["times"]
        for name, one in credits["by_subscriber"].items()
        if one["times"]
    }
    return Platform(frozenset(one["username"] for one in state["subscribers"]), booked, counts["doubles"])


def name_of(row: Row) -> str:
    return "55" + "".join(filter(str.isdigit, row[0]))


def is_bad(row: Row) -> bool:
    """As `customers` makes them bad."""
    return not row[0].startswith("(11)")


def accounted(rows: Sequence[Row], report: Sequence[ReportLine], platform: Platform) -> Account:
    """Of a platform that nobody else has used. Rows that are parked are a person's, and count on neither side."""
    by_number = {int(line["row"]): line for line in report}
    ordered = dict(enumerate(rows, FIRST))
    both = [(row, by_number[number]) for number, row in ordered.items() if number in by_number]
    parked = {name_of(row) for row, line in both if line["ending"] == "parked"}
    # Who failed at the credit has been made before; of one whose create failed the credit was not even tried.
    made = {name_of(row) for row, line in both if _made(line)}
    booked = {name_of(row) for row, line in both if row[3] and line["ending"] == "succeeded"}
    unmade = [(row, line) for row, line in both if line["ending"] == "failed" and not _made(line)]
    bad = {number for number, row in ordered.items() if is_bad(row)}
    left_out = {number for number, line in by_number.items() if line["ending"] == "not sent"}
    credited = {name: times for name, times in platform.credits.items() if name not in parked}
    lines = (
        Compared("rows, each once", len(report), len(rows), len(report) == len(rows) and by_number.keys() == ordered.keys()),
        _same("rows that were bad, and not sent", left_out, bad),
        _same("subscribers", made, platform.subscribers - parked),
        _same("credits, each once", booked, credited, sum(credited.values())),
        Compared("subscribers made twice", 0, platform.doubles, platform.doubles == 0),
        _same(
            "rows whose create failed: their credits, skipped",
            {name_of(row) for row, line in unmade if row[3]},
            {name_of(row) for row, line in unmade if line["skipped"] == "credit.add"},
        ),
        Compared("rows still open", sum(line["ending"] in OPEN for line in report), 0, not any(line["ending"] in OPEN for line in report)),
    )  # fmt: skip
    return Account(lines, tuple(_endings(both)), _commands(both))


def _made(line: ReportLine) -> bool:
    return line["ending"] == "succeeded" or (line["ending"], line["command"]) == ("failed", "credit.add")


def _same(what: str, ours: Collection[Any], theirs: Collection[Any], count: int | None = None) -> Compared:
    there = len(theirs) if count is None else count
    alone = sorted(map(str, set(ours) ^ set(theirs)))
    return Compared(what, len(ours), there, not alone and len(ours) == there, tuple(alone[:EXAMPLES]))


def _endings(both: Sequence[tuple[Row, ReportLine]]) -> list[tuple[str, str]]:
    found = Counter(
        f"failed: {line['command']} {line['code']}" if line["ending"] == "failed" else line["ending"]
        for _, line in both
    )
    return [(f"rows {name}", str(n)) for name, n in found.most_common()]


def _commands(both: Sequence[tuple[Row, ReportLine]]) -> int:
    """Creates and credits that were tried, not those that were skipped."""
    return sum(
        1 + (bool(row[3]) and not line["skipped"])
        for row, line in both
        if line["ending"] in ("succeeded", "failed")
    )
