"""Folding what has ended into failure groups and figures a minute, in portions, beside the path of a command.

The engine writes nothing for it. One process folds (a lease); it looks at what ended since its mark, and at
what is parked. A command is folded once however often it is seen: its row in `console_failures` says so.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from worker.journal.console.lists import divided
from worker.journal.driver import Row, Tx

STEPS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)  # seconds from arrival to end
LATE = 20.0  # seconds: by then every commit that ended a command has come
PORTION = 2000  # commands that a fold looks at
FAILED = 200  # new failures that it writes, in one short commit
MARK = "console_folded"  # meta: ended up to here, seconds
KEPT = 8 * 86400.0  # seconds that figures a minute are kept
MOST_PATTERN = 300

_QUOTED = re.compile(r"'[^']{1,200}'|\"[^\"]{1,200}\"|`[^`]{1,200}`")
_ADDRESS = re.compile(r"\b[\w.+-]+@[\w.-]+\b|\b[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}\b|\b(?:https?|sip)s?:\S+")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


def pattern(message: str, names: Iterable[str] = ()) -> str:
    """The message without numbers and names: what is left is the same for all that failed alike."""
    text = _QUOTED.sub("‹…›", message)
    text = _ADDRESS.sub("‹…›", text)
    for name in names:
        if len(name) > 2:
            text = text.replace(name, "‹…›")
    text = _NUMBER.sub("#", text)
    return " ".join(text.split())[:MOST_PATTERN]


def names_of(partition_key: str) -> list[str]:
    """What in an ordering key names its object: all after `platform:kind:`, and its parts."""
    _, name = divided(partition_key)
    return [name, *re.split(r"[@:/]", name)]


def step_of(seconds: float) -> int:
    return next((index for index, step in enumerate(STEPS) if seconds <= step), len(STEPS))


def percentile(spread: Sequence[int], share: float) -> float | None:
    """The step within which that share ended, in seconds; None where nothing ended."""
    total = sum(spread)
    if total == 0:
        return None
    seen = 0
    for index, count in enumerate(spread):
        seen += count
        if seen >= share * total:
            return STEPS[index] if index < len(STEPS) else STEPS[-1] * 2
    return None


# ---------------------------------------------------------------- reading what is new


ENDED = (
    "SELECT id, platform, type, partition_key, state, problem, received_at, finished_at FROM commands"
    " WHERE finished_at IS NOT NULL AND finished_at > $1::float8 AND finished_at <= $2::float8"
    " ORDER BY finished_at LIMIT $3"
)


async def mark(tx: Tx) -> float:
    """Everything that ended up to here is folded. The first time: all that there is, portion by portion."""
    rows = await tx.rows("SELECT value FROM meta WHERE name = $1", MARK)
    return float(rows[0]["value"]) if rows else 0.0


async def ended(tx: Tx, since: float) -> tuple[list[dict[str, Any]], float]:
    """What ended after `since`, and the new mark. Those of one instant stay together."""
    until = tx.now - LATE
    rows = list(await tx.rows(ENDED, since, until, PORTION))
    if len(rows) == PORTION:
        last = rows[-1]["finished_at"]
        same = await tx.rows(ENDED, last - 1e-9, last, 1_000_000)
        rows = [row for row in rows if row["finished_at"] < last] + list(same)
        until = last
    return [dict_of(row) for row in rows], max(until, since)


async def newly_failed(tx: Tx) -> list[dict[str, Any]]:
    """What failed so lately that `ended` leaves it for later, and what is parked: an operator waits for these.

    `state || ''`: the way in is the time of the end, not the state that many share.
    """
    rows = await tx.rows(
        "SELECT id, platform, type, partition_key, state, problem, received_at, finished_at FROM commands c"
        " WHERE finished_at IS NOT NULL AND (state || '') IN ('rejected', 'expired') AND finished_at > $1::float8"
        " AND NOT EXISTS (SELECT 1 FROM console_failures f WHERE f.command_id = c.id AND f.parked = false)"
        " ORDER BY finished_at LIMIT $2",
        tx.now - 2 * LATE,
        FAILED,
    )
    stuck = await tx.rows(
        "SELECT id, platform, type, partition_key, state, problem, received_at, finished_at FROM commands c"
        " WHERE finished_at IS NULL AND state = 'parked'"
        " AND NOT EXISTS (SELECT 1 FROM console_failures f WHERE f.command_id = c.id) ORDER BY id LIMIT $1",
        FAILED,
    )
    return [dict_of(row) for row in [*rows, *stuck]]


async def gone_on(tx: Tx) -> list[int]:
    """Those that were parked, and are not any more."""
    rows = await tx.rows(
        "SELECT f.command_id FROM console_failures f WHERE f.parked AND NOT EXISTS"
        " (SELECT 1 FROM commands c WHERE c.id = f.command_id AND c.state = 'parked') LIMIT $1",
        PORTION,
    )
    return [row["command_id"] for row in rows]


def dict_of(row: Row) -> dict[str, Any]:
    names = ("id", "platform", "type", "partition_key", "state", "problem", "received_at", "finished_at")
    return {name: row[name] for name in names}


# ---------------------------------------------------------------- writing it down


async def fold(
    tx: Tx,
    before: float,
    rows: Sequence[Mapping[str, Any]],
    after: float,
    failed: Sequence[Mapping[str, Any]],
    past: Sequence[int],
) -> bool:
    """One portion. False: another process has folded meanwhile, and nothing was done."""
    await tx.lock("console_fold")
    if abs(await mark(tx) - before) > 1e-6 and await _marked(tx):
        return False
    await tx.run("DELETE FROM console_failures WHERE command_id = ANY($1)", list(past))
    await _minutes(tx, rows)
    await _failures(tx, [*(row for row in rows if row["state"] in ("rejected", "expired")), *failed])
    await tx.run(
        "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        MARK,
        repr(after),
    )
    return True


async def _marked(tx: Tx) -> bool:
    return bool(await tx.rows("SELECT 1 AS one FROM meta WHERE name = $1", MARK))


async def _minutes(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
    sums: dict[tuple[int, str], tuple[Counter[str], list[int]]] = {}
    for row in rows:
        at = (int(row["finished_at"] // 60), row["platform"])
        counts, spread = sums.setdefault(at, (Counter(), [0] * (len(STEPS) + 1)))
        counts[row["state"]] += 1
        spread[step_of(row["finished_at"] - row["received_at"])] += 1
    for (minute, platform), (counts, spread) in sorted(sums.items()):
        known = await tx.rows(
            "SELECT * FROM console_minutes WHERE minute = $1 AND platform = $2", minute, platform
        )
        old = json.loads(known[0]["spread"]) if known else [0] * len(spread)
        await tx.run(
            "INSERT INTO console_minutes (minute, platform, succeeded, failed, spread) VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT (minute, platform) DO UPDATE SET succeeded = console_minutes.succeeded + excluded.succeeded,"
            " failed = console_minutes.failed + excluded.failed, spread = excluded.spread",
            minute,
            platform,
            counts["succeeded"],
            counts["rejected"] + counts["expired"],
            json.dumps([one + two for one, two in zip(old, spread, strict=True)]),
        )
    await tx.run("DELETE FROM console_minutes WHERE minute < $1", int((tx.now - KEPT) // 60))


async def _failures(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
    """Each into its group. One that was parked and then ended is counted where it ended too."""
    known = {
        row["command_id"]: bool(row["parked"])
        for row in await tx.rows(
            "SELECT command_id, parked FROM console_failures WHERE command_id = ANY($1)",
            [row["id"] for row in rows],
        )
    }
    groups: dict[tuple[str, str, str, str], list[tuple[int, float, bool]]] = {}
    for row in {row["id"]: row for row in rows if row["problem"]}.values():
        parked = row["state"] == "parked"
        if known.get(row["id"]) not in (False, parked):
            at = row["finished_at"] if row["finished_at"] is not None else tx.now
            groups.setdefault(_likeness(row), []).append((row["id"], at, parked))
    for same, members in sorted(groups.items()):
        await _count(tx, await _group(tx, same, members[0][1]), members)


def _likeness(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    problem = json.loads(row["problem"])
    said = problem.get("platform_message") or problem.get("message") or ""
    text = pattern(str(said), names_of(row["partition_key"]))
    return row["platform"], row["type"], str(problem.get("code")), text


async def _group(tx: Tx, same: tuple[str, str, str, str], at: float) -> int:
    await tx.run(
        "INSERT INTO console_groups (platform, type, code, pattern, first_at, last_at) VALUES ($1, $2, $3, $4, $5, $5)"
        " ON CONFLICT (platform, type, code, pattern) DO NOTHING",
        *same,
        at,
    )
    [row] = await tx.rows(
        "SELECT id FROM console_groups WHERE platform = $1 AND type = $2 AND code = $3 AND pattern = $4",
        *same,
    )
    return int(row["id"])


async def _count(tx: Tx, group: int, members: Sequence[tuple[int, float, bool]]) -> None:
    """`members`: command, when it failed, whether it is parked."""
    await tx.many(
        "INSERT INTO console_failures (command_id, group_id, at, parked) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (command_id) DO UPDATE SET group_id = excluded.group_id, at = excluded.at,"
        " parked = excluded.parked",
        [(command, group, at, parked) for command, at, parked in members],
    )
    # What fails again after it was archived comes back.
    await tx.run(
        "UPDATE console_groups SET count = count + $4, first_at = LEAST(first_at, $2::float8),"
        " last_at = GREATEST(last_at, $3::float8), archived = false WHERE id = $1",
        group,
        min(at for _, at, _ in members),
        max(at for _, at, _ in members),
        len(members),
    )
    await tx.many(
        "INSERT INTO console_group_hours (group_id, hour, count) VALUES ($1, $2, $3)"
        " ON CONFLICT (group_id, hour) DO UPDATE SET count = console_group_hours.count + excluded.count",
        [(group, hour, n) for hour, n in Counter(int(at // 3600) for _, at, _ in members).items()],
    )
