"""What the checker found, for people and for programs."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from tests.faults.history import Fault, Heard, Sent
from tests.faults.story import FINAL, word

SHOWN = 10  # sentences of one heading

BAD = (
    "lost",
    "effects doubled",
    "effects missing",
    "wrong verdicts",
    "unnamed fields changed",
    "out of order",
    "missing or double final results",
    "broken audit chain",
    "secrets seen",
    "stuck",
    "history contradicts itself",
)


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds."""

    least: float
    middle: float
    most: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread | None:
        return cls(min(seconds), median(seconds), max(seconds)) if seconds else None

    def __str__(self) -> str:
        return f"{self.least:.1f} / {self.middle:.1f} / {self.most:.1f}"


@dataclass(frozen=True, slots=True)
class Recovery:
    """After the faults of one kind: to the first final result, and until all that waited then was done.

    `open`: faults after which something of that backlog has no final result to this day.
    """

    times: int
    first: Spread | None
    backlog: Spread | None
    open: int = 0


@dataclass(slots=True)
class Report:
    """`bad` has every heading, most of them with no sentence; `excused` is what the promises leave open."""

    counts: dict[str, int] = field(default_factory=dict)
    bad: dict[str, list[str]] = field(default_factory=lambda: {heading: [] for heading in BAD})
    excused: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    recovery: dict[str, Recovery] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not any(self.bad.values())

    @property
    def found(self) -> set[str]:
        """The headings that have something under them."""
        return {heading for heading, sentences in self.bad.items() if sentences}

    def as_json(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "counts": dict(self.counts),
            "bad": {heading: list(found) for heading, found in self.bad.items()},
            "excused": {heading: list(found) for heading, found in self.excused.items()},
            "recovery": {kind: asdict(one) for kind, one in self.recovery.items()},
        }

    def render(self) -> str:
        lines = [f"{number:>9,}  {name}" for name, number in self.counts.items()]
        lines += [f"{len(found):>9,}  {heading}" for heading, found in self.bad.items()]
        lines += _sentences("allowed, or not to be told", self.excused)
        lines += _sentences("WRONG", self.bad)
        lines += self._recoveries()
        verdict = "Everything that was promised held." if self.passed else "PROMISES WERE BROKEN."
        return "\n".join([*lines, "", verdict])

    def _recoveries(self) -> list[str]:
        if not self.recovery:
            return []
        lines = ["", "seconds to recover (least / median / most)"]
        lines.append(f"  {'fault':<28}{'times':>6}  {'first result':<24}{'backlog done':<24}")
        for kind, one in sorted(self.recovery.items()):
            still = f", {one.open} still open" if one.open else ""
            lines.append(
                f"  {kind:<28}{one.times:>6}  {one.first or '-'!s:<24}{one.backlog or '-'!s:<24}{still}"
            )
        return lines

    def __str__(self) -> str:
        return self.render()


def _sentences(title: str, found: Mapping[str, Sequence[str]]) -> list[str]:
    lines = []
    for heading, sentences in found.items():
        if sentences:
            lines += ["", f"{title}: {heading}", *(f"  - {one}" for one in sentences[:SHOWN])]
            lines += [f"  … and {len(sentences) - SHOWN} more"] * (len(sentences) > SHOWN)
    return lines


# ---------------------------------------------------------------- times to recover


def recoveries(
    faults: Iterable[Fault], sent: Sequence[Sent], finals: Iterable[Heard], excepted: set[str]
) -> dict[str, Recovery]:
    """By kind of fault. `excepted`: ids that wait for a person, and are nobody's backlog."""
    answered: dict[str, float] = {}
    for event in sorted(finals, key=lambda one: one.at):
        if event.command is not None and word(event) in (*FINAL, "refused"):
            answered.setdefault(event.command, event.at)
    heard = sorted(answered.values())
    asked = [(one.at, answered.get(one.id)) for one in sent if one.confirmed and one.id not in excepted]
    kinds: dict[str, list[_After]] = defaultdict(list)
    for fault in faults:
        kinds[fault.kind].append(_after(fault.ended, asked, heard))
    return {kind: _recovery(after) for kind, after in kinds.items()}


@dataclass(frozen=True, slots=True)
class _After:
    """One fault: seconds to the first result and to the end of the backlog; None where there was none."""

    first: float | None
    backlog: float | None
    open: bool


def _after(ended: float, asked: Sequence[tuple[float, float | None]], heard: Sequence[float]) -> _After:
    waiting = [done for at, done in asked if at <= ended and (done is None or done > ended)]
    if not waiting:  # nothing was left to recover
        return _After(None, None, open=False)
    done = [one for one in waiting if one is not None]
    later = bisect_right(heard, ended)
    first = heard[later] if later < len(heard) else None
    whole = len(done) == len(waiting)
    return _After(None if first is None else first - ended, max(done) - ended if whole else None, not whole)


def _recovery(after: Sequence[_After]) -> Recovery:
    return Recovery(
        len(after),
        Spread.of([one.first for one in after if one.first is not None]),
        Spread.of([one.backlog for one in after if one.backlog is not None]),
        sum(one.open for one in after),
    )
