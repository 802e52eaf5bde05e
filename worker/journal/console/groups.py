"""Failure groups as people see them, figures for charts, and what an overview shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from worker.journal.console.fold import STEPS, percentile
from worker.journal.console.lists import escaped
from worker.journal.console.people import record
from worker.journal.driver import Row, Tx
from worker.messages.events import dump

HOURS = 24  # of a trend


def _group(row: Row) -> dict[str, Any]:
    names = (
        "id", "platform", "type", "code", "pattern", "count", "first_at", "last_at", "note", "noted_by",
    )  # fmt: skip
    return {name: row[name] for name in names} | {"archived": bool(row["archived"])}


async def groups(
    tx: Tx, platform: str | None = None, archived: bool = False, limit: int = 100
) -> list[dict[str, Any]]:
    """Those that failed last first, each with what it counted in each of the last 24 hours, and how many are parked."""
    where, args = "archived = $1", [archived, *([platform] if platform else [])]
    if platform:
        where += " AND platform = $2"
    rows = await tx.rows(
        f"SELECT * FROM console_groups WHERE {where} ORDER BY last_at DESC LIMIT {int(limit)}",  # noqa: S608
        *args,
    )
    found = [_group(row) for row in rows]
    trends = await _trends(tx, [one["id"] for one in found])
    waiting = await _parked(tx)
    return [
        one | {"trend": trends.get(one["id"], [0] * HOURS), "parked": waiting.get(one["id"], 0)}
        for one in found
    ]


async def group(tx: Tx, number: int) -> dict[str, Any] | None:
    rows = await tx.rows("SELECT * FROM console_groups WHERE id = $1", number)
    if not rows:
        return None
    trends = await _trends(tx, [number])
    return _group(rows[0]) | {
        "trend": trends.get(number, [0] * HOURS),
        "parked": (await _parked(tx)).get(number, 0),
    }


async def _trends(tx: Tx, numbers: Sequence[int]) -> dict[int, list[int]]:
    first = int(tx.now // 3600) - HOURS + 1
    found: dict[int, list[int]] = {}
    for row in await tx.rows(
        "SELECT group_id, hour, count FROM console_group_hours WHERE group_id = ANY($1) AND hour >= $2",
        list(numbers),
        first,
    ):
        trend = found.setdefault(row["group_id"], [0] * HOURS)
        if row["hour"] - first < HOURS:
            trend[row["hour"] - first] = row["count"]
    return found


async def _parked(tx: Tx) -> dict[int, int]:
    rows = await tx.rows(
        "SELECT group_id, count(*) AS n FROM console_failures WHERE parked GROUP BY group_id"
    )
    return {row["group_id"]: row["n"] for row in rows}


async def group_of(tx: Tx, command: int) -> int | None:
    rows = await tx.rows("SELECT group_id FROM console_failures WHERE command_id = $1", command)
    return int(rows[0]["group_id"]) if rows else None


async def note(tx: Tx, number: int, text: str, actor: str) -> bool:
    done = await tx.run(
        "UPDATE console_groups SET note = $2, noted_by = $3 WHERE id = $1", number, text, actor
    )
    if done:
        await record(tx, "group_noted", actor, text or None, {"group": number})
    return done == 1


async def archive(tx: Tx, number: int, archived: bool, actor: str, reason: str) -> bool:
    done = await tx.run(
        "UPDATE console_groups SET archived = $2 WHERE id = $1 AND archived <> $2", number, archived
    )
    if done:
        what = "group_archived" if archived else "group_restored"
        await record(tx, what, actor, reason, {"group": number})
    return done == 1


# ---------------------------------------------------------------- figures


async def minutes(tx: Tx, back: int, step: int = 1) -> dict[str, list[dict[str, Any]]]:
    """By platform, one figure for each `step` minutes of the last `back`: succeeded, failed, p50, p99 (seconds)."""
    last = int(tx.now // 60)
    first = last - back + 1
    rows = await tx.rows("SELECT * FROM console_minutes WHERE minute >= $1 ORDER BY minute", first)
    sums: dict[str, dict[int, list[Row]]] = {}
    for row in rows:
        if row["minute"] <= last:
            sums.setdefault(row["platform"], {}).setdefault((row["minute"] - first) // step, []).append(row)
    return {
        platform: [_figure(slots.get(slot, ()), (first + slot * step) * 60) for slot in range(back // step)]
        for platform, slots in sums.items()
    }


def _figure(rows: Sequence[Row], at: int) -> dict[str, Any]:
    spread = [0] * (len(STEPS) + 1)
    for row in rows:
        spread = [one + two for one, two in zip(spread, json.loads(row["spread"]), strict=True)]
    return {
        "at": at,
        "succeeded": sum(row["succeeded"] for row in rows),
        "failed": sum(row["failed"] for row in rows),
        "p50": percentile(spread, 0.5),
        "p99": percentile(spread, 0.99),
    }


async def ends(tx: Tx, back: int, step: int) -> dict[str, list[dict[str, Any]]]:
    """As `minutes`, without the times that the ends took: added up where the rows are."""
    last = int(tx.now // 60)
    first = last - back + 1
    found: dict[str, list[dict[str, Any]]] = {}
    for row in await tx.rows(
        "SELECT platform, (minute - $1) / $2 AS slot, SUM(succeeded) AS succeeded, SUM(failed) AS failed"
        " FROM console_minutes WHERE minute >= $1 AND minute <= $3 GROUP BY platform, (minute - $1) / $2",
        first,
        step,
        last,
    ):
        empty = [{"at": (first + n * step) * 60, "succeeded": 0, "failed": 0} for n in range(back // step)]
        slots = found.setdefault(row["platform"], empty)
        slots[int(row["slot"])] |= {"succeeded": int(row["succeeded"]), "failed": int(row["failed"])}
    return found


async def open_counts(tx: Tx) -> dict[str, dict[str, int]]:
    """By platform how many wait, run, are in doubt, are parked; `failing`: those waiting that were tried.

    Of each state the first COUNTED are looked at: past that the figures say "at least".
    """
    found: dict[str, dict[str, int]] = {}
    for state in ("waiting", "running", "in_doubt", "parked"):
        for row in await tx.rows(
            "SELECT platform, count(*) AS n, SUM(CASE WHEN failing_since IS NULL THEN 0 ELSE 1 END) AS failing"
            " FROM (SELECT platform, failing_since FROM commands WHERE finished_at IS NULL AND state = $1"
            " LIMIT $2) AS them GROUP BY platform",
            state,
            COUNTED,
        ):
            counts = found.setdefault(row["platform"], {})
            counts[state] = row["n"]
            if state == "waiting":
                counts["failing"] = int(row["failing"] or 0)
    return found


COUNTED = 20_000


async def calls(tx: Tx) -> dict[str, list[float]]:
    """By platform how long its calls of the last minutes took, in seconds, the shortest first.

    Of all platforms the newest CALLED are looked at: an old answer says nothing of now.
    """
    found: dict[str, list[float]] = {}
    for row in await tx.rows(
        "SELECT c.platform, a.ms FROM (SELECT command_id, ms, at FROM attempts ORDER BY id DESC LIMIT $1) AS a"
        " JOIN commands c ON c.id = a.command_id WHERE a.at > $2::float8 ORDER BY a.ms",
        CALLED,
        tx.now - LATELY,
    ):
        found.setdefault(row["platform"], []).append(row["ms"] / 1000)
    return found


CALLED, LATELY = 2_000, 300.0  # calls, seconds


async def oldest_waiting(tx: Tx) -> Mapping[str, Any] | None:
    """The command that is open longest."""
    oldest = []
    for state in ("waiting", "in_doubt", "parked"):
        [row] = await tx.rows(
            "SELECT MIN(id) AS id FROM commands WHERE finished_at IS NULL AND state = $1", state
        )
        oldest += [row["id"]] if row["id"] is not None else []
    rows = await tx.rows(
        "SELECT id, platform, type, partition_key, state, received_at FROM commands WHERE id = $1",
        min(oldest, default=-1),
    )
    names = ("id", "platform", "type", "partition_key", "state", "received_at")
    return {name: rows[0][name] for name in names} if rows else None


async def records(
    tx: Tx,
    *,
    what: str | None = None,
    actor: str | None = None,
    platform: str | None = None,
    command: int | None = None,
    before: int | None = None,
    limit: int = 50,
) -> tuple[list[dict[str, Any]], int | None]:
    """Audit records, newest first; `actor` is looked for among the last of them only."""
    where, args = "id < $1", [before if before is not None else 1 << 62]
    for column, value in (("what", what), ("platform", platform), ("command_id", command)):
        if value:
            args.append(value)  # type: ignore[arg-type]  # arguments of several kinds
            where += f" AND {column} = ${len(args)}"
    if actor:
        # As the record was written, and all of it to the letter: a wild card would reach into other fields.
        written = escaped(f',"actor":{dump(actor).decode()},"reason":')
        args.append(f"%{written}%")  # type: ignore[arg-type]  # as above
        where += f" AND record LIKE ${len(args)} ESCAPE '!'"
    found: list[dict[str, Any]] = []
    [edge] = await tx.rows("SELECT MAX(id) AS high FROM audit")
    newest = (edge["high"] or 0) if before is None else before
    low = 0 if command is not None else max(newest - LOOKED_THROUGH, 0)  # to a command's an index leads
    sql = f"SELECT id, number, record FROM audit WHERE {where} AND id > {int(low)} ORDER BY id DESC LIMIT {limit + 1}"  # noqa: S608
    rows = await tx.rows(sql, *args)
    for row in rows[:limit]:
        found.append({"row": row["id"], "number": row["number"], **json.loads(row["record"])})
    if len(rows) > limit:
        return found, found[-1]["row"]
    return found, int(low) if low > 0 else None


LOOKED_THROUGH = 20_000  # audit records that one page looks at
