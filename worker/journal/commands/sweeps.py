"""What falls due by time: joining a line, expiry, `delayed`, lapsed leases, settle windows.

Each sweep is done by one process at a time; the others find its lock taken and go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from worker.domain.effect import Risk
from worker.domain.lifecycle import EffectSeen, State
from worker.journal import pauses
from worker.journal.commands.admission import untouched
from worker.journal.commands.claims import open_windows, tell_parked_row
from worker.journal.commands.endings import Ending, advance, finish, lock_lanes, new_id, put_out
from worker.journal.commands.newcomers import queue_up
from worker.journal.core import Core, problem_of, problem_text, shown_steps, view_of, write_audit
from worker.journal.driver import Row, Tx
from worker.journal.port import Pause
from worker.messages.errors import Code, Problem
from worker.messages.events import AuditDraft, render, result, rfc3339

MOST = 500  # rows a sweep takes at once
PARKED_AFTER = 3  # lapsed leases in a row: the last of them alone in its process


MAY_JOIN = (
    " FROM commands c LEFT JOIN commands p ON p.id = c.depends_on"
    " WHERE c.finished_at IS NULL AND c.arrival IS NULL"
    " AND (c.not_before <= $1::float8 OR (c.not_before IS NULL AND c.depends_on IS NOT NULL))"
    " AND (c.depends_on IS NULL OR p.id IS NULL OR p.finished_at IS NOT NULL)"
)


async def join(tx: Tx, core: Core) -> int:
    """Deferred commands whose time has come, or whose dependency has ended, join their key's line (rule 4.8).

    Arrival numbers are given under the admission lock: in one line they never run backwards.
    """
    if not await tx.rows(f"SELECT 1 AS one{MAY_JOIN} LIMIT 1", tx.now):
        return 0  # nothing to hold up admission for
    await tx.lock("admission")
    rows = await tx.rows(
        "SELECT c.*, p.state AS parent_state, p.finished_at AS parent_finished, p.message_id AS parent_message"
        f"{MAY_JOIN} ORDER BY GREATEST(COALESCE(c.not_before, 0), COALESCE(p.finished_at, 0)), c.id LIMIT $2",
        tx.now,
        MOST,
    )
    if not rows:
        return 0
    lanes = await lock_lanes(tx, [row["lane_id"] for row in rows])
    fresh = await _still_deferred(tx, rows)
    states = await _parent_states(tx, rows)
    failed = [row for row in rows if row["depends_on"] is not None and states[row["id"]] != State.SUCCEEDED]
    failures = [(fresh[row["id"]], row) for row in failed if row["id"] in fresh]
    await finish(tx, core, [_dependency_failed(now, row, states[row["id"]]) for now, row in failures])
    gone = {row["id"] for row in failed}
    joining = [row for row in rows if row["id"] in fresh and row["id"] not in gone]
    await _join(tx, joining, lanes)
    return len(failures) + len(joining)


async def _still_deferred(tx: Tx, rows: Sequence[Row]) -> dict[int, Row]:
    """As they are under the locks of their lines: meanwhile a person may have cancelled one, who needs no lock of
    admission for it, and the word of a delay may have been sent.
    """
    found = await tx.rows(
        "SELECT * FROM commands WHERE id = ANY($1) AND finished_at IS NULL AND arrival IS NULL ORDER BY id FOR UPDATE",
        [row["id"] for row in rows],
    )
    return {row["id"]: row for row in found}


async def _parent_states(tx: Tx, rows: Sequence[Row]) -> dict[int, str | None]:
    """How each dependency ended; a purged one is known by its identity."""
    purged = [
        row["depends_on"] for row in rows if row["depends_on"] is not None and row["parent_state"] is None
    ]
    kept = await tx.rows("SELECT id, status FROM identities WHERE id = ANY($1)", purged) if purged else []
    known = {row["id"]: row["status"] for row in kept}
    return {row["id"]: row["parent_state"] or known.get(row["depends_on"]) for row in rows}


def _dependency_failed(now: Row, row: Row, state: str | None) -> Ending:
    text = (
        f"the command it depends on ({row['parent_message'] or row['depends_on']}) ended {state or 'unknown'}"
    )
    return Ending(now, State.CANCELLED, problem=Problem(Code.DEPENDENCY_FAILED, text, "dependson"))


async def _join(tx: Tx, rows: Sequence[Row], lanes: dict[int, Row]) -> None:
    numbers = await tx.numbers(len(rows), "admission") if rows else []
    await tx.many(
        "UPDATE commands SET arrival = $2, due_at = $3 WHERE id = $1",
        [(row["id"], number, tx.now) for row, number in zip(rows, numbers, strict=True)],
    )
    names = ("id", "head", "due_at", "priority", "window_opened")
    state: dict[int, dict[str, Any]] = {i: {name: lane[name] for name in names} for i, lane in lanes.items()}
    for row in rows:
        queue_up(state[row["lane_id"]], row["id"], row["priority"], tx.now)
        tx.wake(row["platform"])
    await tx.many(
        "UPDATE lanes SET head = $2, due_at = $3, priority = $4 WHERE id = $1",
        [(s["id"], s["head"], s["due_at"], s["priority"]) for s in state.values()],
    )


async def expire(tx: Tx, core: Core) -> int:
    """Past its expirytime with nothing done: it ends `expired` (rule 1)."""
    rows = await tx.rows(
        # COALESCE keeps SQLite from looking through all that waits instead of the few that may have expired.
        "SELECT id, lane_id FROM commands WHERE finished_at IS NULL AND expires_at IS NOT NULL"
        " AND expires_at <= $1::float8 AND COALESCE(state, '') = 'waiting' AND steps_sealed IS NULL"
        " AND unverified = false ORDER BY expires_at LIMIT $2",
        tx.now,
        MOST,
    )
    if not rows:
        return 0
    await lock_lanes(tx, [row["lane_id"] for row in rows])
    ids = sorted(row["id"] for row in rows)
    late = await tx.rows("SELECT * FROM commands WHERE id = ANY($1) ORDER BY id FOR UPDATE", ids)
    problem = Problem(Code.EXPIRED, "its expirytime passed before anything was done", "expirytime")
    endings = [Ending(row, State.EXPIRED, problem=problem) for row in late if untouched(row)]
    await finish(tx, core, endings)
    return len(endings)


async def tell_delayed(tx: Tx, core: Core) -> int:
    """Not ended `notify_after` seconds after it came: say so, once, with state and reason."""
    rows = await tx.rows(
        "SELECT * FROM commands WHERE notify_at IS NOT NULL AND notify_at <= $1::float8"
        " ORDER BY notify_at LIMIT $2 FOR UPDATE SKIP LOCKED",
        tx.now,
        MOST,
    )
    if not rows:
        return 0
    heads = await _heads(tx, [row["lane_id"] for row in rows])
    paused = await pauses.listing(tx)
    stopped = await _stopped(tx, paused)
    await tx.run(
        "UPDATE commands SET notify_at = NULL, sequence = sequence + 1 WHERE id = ANY($1)",
        [row["id"] for row in rows],
    )
    events = []
    for row in rows:
        reason = _reason(row, heads.get(row["lane_id"]), stopped.get(row["platform"]), paused)
        draft = result(
            view_of(row),
            "delayed",
            at=tx.now,
            effect=row["effect"],
            error=problem_of(row["problem"]),
            steps=shown_steps(core.vault, row),
            finished=False,
            state=row["state"],
            reason=reason,
        )
        events.append((row["id"], render(draft, row["sequence"] + 1, core.source), None))
    await put_out(tx, core, events)
    return len(rows)


async def _heads(tx: Tx, lanes: Sequence[int]) -> dict[int, Row]:
    rows = await tx.rows(
        "SELECT l.id, c.id AS command_id, c.message_id, c.state FROM lanes l JOIN commands c ON c.id = l.head"
        " WHERE l.id = ANY($1)",
        sorted(set(lanes)),
    )
    return {row["id"]: row for row in rows}


async def _stopped(tx: Tx, paused: Sequence[Pause]) -> dict[str, str]:
    rows = await tx.rows("SELECT * FROM platforms WHERE stopped_since IS NOT NULL")
    halted = next((one for one in paused if one.scope == "everything"), None)
    return {row["name"]: halted.words() if halted else stop_reason(row) for row in rows}


def stop_reason(row: Row) -> str:
    if row["paused_by"]:
        return f"the platform is paused by {row['paused_by']}: {row['paused_reason']}"
    if row["held"]:
        return f"the platform is held ({row['held']}): {row['held_text']}"
    return "the platform does not answer (circuit breaker open)"


def _reason(row: Row, head: Row | None, stopped: str | None, paused: Sequence[Pause]) -> str:
    if row["arrival"] is None:
        return "it waits for its notbefore time or for the command it depends on"
    if head is not None and head["command_id"] != row["id"]:
        return f"it waits behind {head['message_id']} of the same subscriber, which is {head['state']}"
    if row["state"] == State.IN_DOUBT:
        return "the answer to a call was lost: it waits until the platform can be read for certain"
    if stopped is not None:
        return stopped
    for one in paused:
        if one.holds(row["type"], row["source"], row["batch_id"]):
            return one.words()
    return "it is tried again by schedule" if row["attempts"] else "the platform has no free place for it yet"


async def rescue(tx: Tx, core: Core) -> int:
    """Commands whose process has died or was frozen beyond its lease (rule 5.3)."""
    lapsed = await tx.rows(
        "SELECT id, lane_id FROM commands WHERE owner IS NOT NULL AND lease_until < $1::float8 ORDER BY id LIMIT $2",
        tx.now,
        MOST,
    )
    if not lapsed:
        return 0
    await lock_lanes(tx, [row["lane_id"] for row in lapsed])
    rows = await tx.rows(
        "SELECT * FROM commands WHERE id = ANY($1) AND owner IS NOT NULL AND lease_until < $2::float8 ORDER BY id FOR UPDATE",
        [row["id"] for row in lapsed],
        tx.now,
    )
    verdicts = [(row, *_after_lapse(row)) for row in rows]
    stopped = await pauses.stopped_totals(tx)
    await tx.many(
        "UPDATE commands SET state = $2, effect = $3, problem = $4, due_at = $5, lapsed = lapsed + 1, fence = fence + 1,"
        " stopped_before = CASE WHEN failing_since IS NULL THEN $7 ELSE stopped_before END,"
        " failing_since = COALESCE(failing_since, $6::float8), owner = NULL, lease_until = NULL WHERE id = $1",
        [
            (
                row["id"],
                state.value,
                effect.value,
                problem_text(p),
                tx.now,
                tx.now,
                stopped.get(row["platform"], 0.0),
            )
            for row, state, effect, p in verdicts
        ],
    )
    doubtful = [
        row
        for row, _, effect, _ in verdicts
        if effect is EffectSeen.UNKNOWN and row["state"] == State.RUNNING
    ]
    await open_windows(tx, [(row["lane_id"], row["id"], row["lease_until"]) for row in doubtful])
    await _tell_rescued(tx, core, verdicts)
    await advance(tx, [row["lane_id"] for row in rows])
    return len(rows)


def _after_lapse(row: Row) -> tuple[State, EffectSeen, Problem | None]:
    begun = may_have_begun(row)
    effect = EffectSeen.UNKNOWN if begun else EffectSeen(row["effect"])
    if row["lapsed"] + 1 >= PARKED_AFTER:
        text = f"{PARKED_AFTER} processes in a row died or froze while they worked on it"
        code = Code.EFFECT_UNKNOWN if begun else Code.GAVE_UP
        return State.PARKED, effect, Problem(code, text)
    return (State.IN_DOUBT if begun else State.WAITING), effect, problem_of(row["problem"])


def may_have_begun(row: Row) -> bool:
    """A call that changes something may have gone out under this claim, or an earlier one is unresolved."""
    if row["state"] == State.IN_DOUBT:
        return True
    risk = Risk(row["risk"])
    return risk is Risk.CLAIM or (risk is Risk.SENT and row["sent_at"] is not None)


async def _tell_rescued(
    tx: Tx, core: Core, verdicts: Sequence[tuple[Row, State, EffectSeen, Problem | None]]
) -> None:
    drafts = []
    for row, state, effect, problem in verdicts:
        details = {
            "state": state.value,
            "effect": effect.value,
            "lease_ended": rfc3339(row["lease_until"]),
            "owner": row["owner"],
            "code": problem.code.value if problem else None,
        }
        command = view_of(row).command()
        drafts.append(
            (AuditDraft("rescued", row["platform"], "worker", command=command, details=details), row["id"])
        )
        if state is State.PARKED:
            await tell_parked_row(tx, core, row, effect, problem)
    await write_audit(tx, drafts, new_id)


async def control_answered(tx: Tx, platform: str, began: float, settle: float) -> int:
    """One answered control read, begun at `began`, moves all open windows of the platform (rule 3.2).

    Returns how many stay open. A read that began before a window opened says nothing about it. When the answer
    came is not known: this process may have been frozen behind it. So a window begins now, at the latest that it
    can have been, and goes on to when the read began, at the earliest.
    """
    locked = await tx.rows(
        "SELECT id FROM lanes WHERE platform = $1 AND window_opened IS NOT NULL ORDER BY id FOR UPDATE",
        platform,
    )
    if not locked:
        return 0
    await tx.run(
        "UPDATE lanes SET window_last = GREATEST(COALESCE(window_last, $4::float8), $4::float8), window_first ="
        " CASE WHEN window_first IS NULL OR $4::float8 - window_last > $3::float8 THEN $2::float8"
        " ELSE window_first END"
        " WHERE platform = $1 AND window_opened IS NOT NULL AND window_opened <= $4::float8",
        platform,
        tx.now,
        settle / 3,
        began,
    )
    ended = await tx.rows(
        "SELECT id, window_command FROM lanes WHERE platform = $1 AND window_opened IS NOT NULL"
        " AND window_first IS NOT NULL AND $2::float8 - window_first >= $3::float8 ORDER BY id LIMIT $4",
        platform,
        began,
        settle,
        MOST * 4,
    )
    if ended:
        await _close_windows(tx, ended)
        tx.wake(platform)
    return len(locked) - len(ended)


async def _close_windows(tx: Tx, lanes: Sequence[Row]) -> None:
    await tx.run(
        "UPDATE commands SET window_closed = true, due_at = $2::float8 WHERE id = ANY($1) AND state = 'in_doubt'",
        [lane["window_command"] for lane in lanes],
        tx.now,
    )
    await tx.run(
        "UPDATE commands SET window_closed = true WHERE id = ANY($1) AND state = 'parked'",
        [lane["window_command"] for lane in lanes],
    )
    await tx.run(
        "UPDATE lanes SET window_command = NULL, window_opened = NULL, window_first = NULL, window_last = NULL"
        " WHERE id = ANY($1)",
        [lane["id"] for lane in lanes],
    )
    await advance(tx, [lane["id"] for lane in lanes])
