"""Small line charts under each other, as plain SVG that reads in light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, GAP, LEFT, TOP = 760, 110, 46, 70, 56
COLOURS = ("#2f6fb3", "#c2571a", "#3c8d40")
STYLE = (
    "text{font:12px sans-serif;fill:#444}.h{font-size:16px;font-weight:bold}.g{stroke:#8886;stroke-width:1}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}}"
)


@dataclass(frozen=True, slots=True)
class Chart:
    """`lines`: name -> points (minutes, value), in order of time."""

    title: str
    unit: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


def draw(title: str, subtitle: str, charts: Sequence[Chart]) -> str:
    height = TOP + len(charts) * (HEIGHT + GAP)
    end = max((at for chart in charts for line in chart.lines.values() for at, _ in line), default=1.0)
    body = "".join(_chart(chart, TOP + place * (HEIGHT + GAP), end) for place, chart in enumerate(charts))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {height}" role="img">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
        f'<text class="h" x="8" y="20">{escape(title)}</text><text x="8" y="38">{escape(subtitle)}</text>'
        f"{body}</svg>\n"
    )


def _chart(chart: Chart, top: float, end: float) -> str:
    most = _round_up(max((value for line in chart.lines.values() for _, value in line), default=1.0))
    parts = [f'<text x="{LEFT}" y="{top + 10}">{escape(_heading(chart))}</text>']
    for share in (0.0, 0.5, 1.0):
        y = top + 18 + HEIGHT * (1 - share)
        parts.append(f'<line class="g" x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{most * share:g}</text>')
    for place, (name, line) in enumerate(chart.lines.items()):
        colour = COLOURS[place % len(COLOURS)]
        points = " ".join(
            f"{LEFT + WIDTH * at / end:.1f},{top + 18 + HEIGHT * (1 - value / most):.1f}"
            for at, value in line
        )
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>')
        if name:
            x = LEFT + WIDTH - 90 * (len(chart.lines) - place)
            parts.append(f'<text x="{x}" y="{top + 10}" style="fill:{colour}">{escape(name)}</text>')
    foot = top + 18 + HEIGHT + 14
    parts.append(f'<text x="{LEFT}" y="{foot}">0</text>')
    parts.append(f'<text x="{LEFT + WIDTH}" y="{foot}" text-anchor="end">{end:.0f} min</text>')
    return "".join(parts)


def _heading(chart: Chart) -> str:
    return f"{chart.title}, {chart.unit}" if chart.unit else chart.title


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20 … above it."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in (1, 2, 3, 5, 10) if step * unit >= value)
