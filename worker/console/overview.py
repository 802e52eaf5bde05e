"""What an overview tells, for its page and for programs: what is wrong, and how each platform fares."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from worker.console.office import Office, masked_key
from worker.journal.console.fold import LATE
from worker.journal.console.people import Person
from worker.journal.port import PlatformState

Condition = Literal["held", "broken", "failing", "slow", "paused", "well"]
SEVERITY: tuple[Condition, ...] = ("held", "broken", "failing", "slow", "paused", "well")  # worst first
SLOW = 0.5  # share of a platform's `timeout` that a call may take before it counts as slow
FAILED_LATELY = 86_400.0  # seconds
RATED = 5  # minutes that a rate is taken from
STOPPED = (
    "held", "held_text", "paused_by", "paused_reason", "broken_since", "lowered_rate", "lowered_by", "lowered_reason",
)  # fmt: skip


async def overview(office: Office, person: Person) -> dict[str, Any]:
    """`wrong`: sentences, each with its part and level; `platforms`: the ill ones first; rates a minute, times in
    seconds; `journal`: what waits for whom, None where the journal did not say."""
    seen = await office.journal.overview()
    ready, report = await office.readiness.report()
    known = await office.readiness.watch.seen(max_age=2.0)
    states = {one.name: one for one in known.platforms}
    names = sorted(set(office.kinds) | set(seen["open"]) | set(seen["hour"]))
    lines = [line_of(office, name, states.get(name), seen) for name in names]
    newest = await office.journal.groups(limit=4)
    return {
        "ready": ready,
        "wrong": [*report["wrong"], *(one for line in lines for one in complaints(line))],
        "journal": None if known.health is None else asdict(known.health),
        "oldest": _oldest(seen["oldest"], person),
        "platforms": sorted(lines, key=lambda one: SEVERITY.index(one["condition"])),
        "groups": [one for one in newest if time.time() - one["last_at"] < FAILED_LATELY],
    }


def _oldest(row: Mapping[str, Any] | None, person: Person) -> dict[str, Any] | None:
    if row is None:
        return None
    shown = dict(row)
    return shown if person.may("operator") else shown | {"partition_key": masked_key(row["partition_key"])}


def line_of(
    office: Office, name: str, state: PlatformState | None, seen: Mapping[str, Any]
) -> dict[str, Any]:
    """One platform: `share` in percent of the last hour, `p50` and `p99` from arrival to end in the newest minute
    that has some, `calls` of the last minutes."""
    hour, open_ = seen["hour"].get(name, []), seen["open"].get(name, {})
    succeeded, failed = sum(one["succeeded"] for one in hour), sum(one["failed"] for one in hour)
    newest = next((one for one in reversed(hour) if one["p50"] is not None), None)
    calls = calls_of(seen["calls"].get(name, ()), office.timeouts.get(name))
    return {
        "name": name,
        "kind": office.kinds.get(name),
        "condition": condition(state, open_, calls),
        **{field: getattr(state, field, None) for field in STOPPED},
        "open": {"waiting": 0, "running": 0, "in_doubt": 0, "parked": 0, "failing": 0} | open_,
        "rate": rate(hour, seen["now"]),
        "share": None if succeeded + failed == 0 else 100 * succeeded / (succeeded + failed),
        "p50": newest and newest["p50"],
        "p99": newest and newest["p99"],
        "calls": calls,
        "most": max((one["succeeded"] + one["failed"] for one in hour), default=0),
        "hour": hour,
        "day": seen["day"].get(name, []),
    }


def rate(hour: Sequence[Mapping[str, Any]], now: float) -> float:
    """Commands that ended a minute, of the last minutes; the present one has begun only, and is counted late."""
    last = hour[-RATED:]
    if not last:
        return 0.0
    covered = max((now - LATE - last[0]["at"]) / 60, 1.0)
    return float(sum(one["succeeded"] + one["failed"] for one in last) / covered)


def calls_of(took: Sequence[float], timeout: float | None) -> dict[str, Any]:
    """Of the platform's calls in the last minutes: how many, p50 and p99 of them in seconds, how many were `slow`.

    `took`: seconds, the shortest first; `timeout`: what one may take, None where this process does not know.
    """
    return {
        "count": len(took),
        "p50": took[(len(took) - 1) // 2] if took else None,
        "p99": took[-1 - len(took) // 100] if took else None,
        "slow": 0 if timeout is None else sum(one > timeout * SLOW for one in took),
        "timeout": timeout,
    }


def is_slow(calls: Mapping[str, Any]) -> bool:
    """More than one call in a hundred, and more than a single one, took over half of what a call may take.

    Calls, not commands: those wait for their turn, their day, and the rest of their batch.
    """
    return bool(calls["slow"] > max(1, calls["count"] / 100))


def condition(state: PlatformState | None, open_: Mapping[str, int], calls: Mapping[str, Any]) -> Condition:
    """One word for the eye; where several hold, that which explains the others."""
    if state is not None and (state.paused_by or state.halted):
        return "paused"
    if state is not None and state.held:
        return "held"
    if state is not None and state.broken_since:
        return "broken"
    if open_.get("failing"):
        return "failing"
    return "slow" if is_slow(calls) else "well"


def condition_of(
    office: Office, name: str, state: PlatformState | None, seen: Mapping[str, Any]
) -> Condition:
    """`seen`: as the journal's `standing` says it."""
    calls = calls_of(seen["calls"].get(name, ()), office.timeouts.get(name))
    return condition(state, seen["open"].get(name, {}), calls)


def complaints(line: Mapping[str, Any]) -> list[dict[str, str]]:
    """What of a platform needs a look although nobody and nothing has stopped it."""
    found, calls = [], line["calls"]
    if line["condition"] == "failing":
        found.append(
            f"{line['open']['failing']} of {line['open']['waiting']} waiting commands were tried and failed"
        )
    if line["condition"] in ("failing", "slow") and is_slow(calls):
        found.append(
            f"it is slow: {calls['slow']} of its last {calls['count']} calls took more than"
            f" {calls['timeout'] * SLOW:g} s, half of its timeout"
        )
    return [{"part": f"platform {line['name']}", "level": "warning", "text": text} for text in found]
