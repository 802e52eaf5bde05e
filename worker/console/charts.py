"""Charts as numbers for SVG: the templates draw them, no script is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HEIGHT = 40.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One column, in units of the chart: failures stand on top of what succeeded."""

    x: float
    width: float
    good_y: float
    good: float
    bad_y: float
    bad: float
    at: float
    succeeded: int
    failed: int


def bars(figures: Sequence[Mapping[str, Any]], width: float = 240.0) -> list[Bar]:
    most = max((one["succeeded"] + one["failed"] for one in figures), default=0)
    if most == 0:
        return []
    step = width / len(figures)
    made = []
    for index, one in enumerate(figures):
        good = round(HEIGHT * one["succeeded"] / most, 2)
        bad = round(HEIGHT * one["failed"] / most, 2)
        if one["failed"]:
            bad = max(bad, 1.5)  # one failure among thousands is still to be seen
        made.append(
            Bar(
                round(index * step, 2), round(step * 0.8, 2), round(HEIGHT - good, 2), good,
                round(max(HEIGHT - good - bad, 0), 2), bad, one["at"], one["succeeded"], one["failed"],
            )
        )  # fmt: skip
    return [one for one in made if one.succeeded or one.failed]


def spark(trend: Sequence[int], width: float = 96.0) -> list[Bar]:
    return bars([{"succeeded": 0, "failed": n, "at": 0} for n in trend], width) if any(trend) else []
