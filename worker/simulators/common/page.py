"""The admin page's frame and tables: what a person wants to see at a glance. All is escaped."""

import itertools
from collections.abc import Iterable, Sequence
from html import escape

from .simulator import BaseSimulator

ROWS = 200
_STYLE = (
    "body{font:14px sans-serif;margin:2em;max-width:70em}table{border-collapse:collapse;margin-bottom:2em}"
    "th,td{border:1px solid #999;padding:.25em .6em;text-align:left}caption{text-align:left;font-weight:bold}"
)


def frame(title: str, summary: str, parts: Iterable[str]) -> str:
    """A whole page; `parts` are HTML, the rest is text."""
    return (
        f"<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"<p>{escape(summary)}</p>{''.join(parts)}</body></html>"
    )


def operations(simulator: BaseSimulator) -> str:
    rows = [
        (name, each.received, each.applied, each.refused, each.answered)
        for name, each in sorted(simulator.counts.operations.items())
    ]
    return table("Operations", ("operation", "received", "applied", "refused", "answered"), rows)


def faults(simulator: BaseSimulator) -> str:
    rows: list[Sequence[object]] = [
        (
            each.number,
            " ".join(each.rule.operation),
            each.rule.kind or " ".join(each.rule.mix),
            each.rule.share,
            "for ever" if each.rule.count is None else each.rule.count,
            each.hits,
        )
        for each in simulator.faults.standing
    ]
    frozen: list[Sequence[object]] = [
        ("-", each.pattern, "frozen", 1, each.seconds, len(each.queue)) for each in simulator.freezer.freezes
    ]
    return table("Faults in force", ("rule", "operation", "kind", "share", "times", "hits"), rows + frozen)


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    shown = list(itertools.islice(rows, ROWS + 1))
    more = f" (the first {ROWS})" if len(shown) > ROWS else ""
    body = "".join(_row("td", row) for row in shown[:ROWS])
    return f"<table><caption>{escape(caption + more)}</caption>{_row('th', heads)}{body}</table>"


def _row(tag: str, cells: Sequence[object]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"
