"""The admin page: what a person wants to see at a glance. No secrets, all escaped."""

import itertools
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from .soap import plain

if TYPE_CHECKING:
    from .simulator import Simulator

ROWS = 200
_STYLE = (
    "body{font:14px sans-serif;margin:2em;max-width:70em}table{border-collapse:collapse;margin-bottom:2em}"
    "th,td{border:1px solid #999;padding:.25em .6em;text-align:left}caption{text-align:left;font-weight:bold}"
)


def render(simulator: "Simulator") -> str:
    parts = [
        _operations(simulator),
        _faults(simulator),
        _credits(simulator),
        _subscribers(simulator),
    ]
    return (
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>SIPPulse simulator</title>"
        f"<style>{_STYLE}</style></head><body><h1>SIPPulse simulator</h1>"
        f"<p>{escape(_summary(simulator))}</p>{''.join(parts)}</body></html>"
    )


def _summary(simulator: "Simulator") -> str:
    platform = simulator.platform
    return (
        f"{len(platform)} subscribers ({platform.ledger.doubles} doubles), "
        f"{simulator.freezer.waiting()} requests frozen, {simulator.pending()} pending, "
        f"{platform.ledger.malformed} malformed"
    )


def _operations(simulator: "Simulator") -> str:
    rows = [
        (name, each.received, each.applied, each.refused, each.answered)
        for name, each in sorted(simulator.platform.ledger.operations.items())
    ]
    return _table("Operations", ("operation", "received", "applied", "refused", "answered"), rows)


def _faults(simulator: "Simulator") -> str:
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
    return _table("Faults in force", ("rule", "operation", "kind", "share", "times", "hits"), rows + frozen)


def _credits(simulator: "Simulator") -> str:
    credits_ = simulator.platform.ledger.credits_by_obs.items()
    rows = ((obs, each.subscriber, each.times, plain(each.sum)) for obs, each in credits_)
    return _table("Credit applied, by obs", ("obs", "subscriber", "times", "sum"), rows)


def _subscribers(simulator: "Simulator") -> str:
    rows = (
        (
            each.dto["id"],
            "@".join(each.key),
            "active" if each.active else "blocked",
            plain(each.dto["activeOutgoingCalls"]),
            plain(each.dto["activeIncomingCalls"]),
            plain(each.balance),
        )
        for each in simulator.platform
    )
    return _table("Subscribers", ("id", "name", "state", "outgoing", "incoming", "balance"), rows)


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    shown = list(itertools.islice(rows, ROWS + 1))
    more = f" (the first {ROWS})" if len(shown) > ROWS else ""
    body = "".join(_row("td", row) for row in shown[:ROWS])
    return f"<table><caption>{escape(caption + more)}</caption>{_row('th', heads)}{body}</table>"


def _row(tag: str, cells: Sequence[object]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"
