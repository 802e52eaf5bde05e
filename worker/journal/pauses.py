"""What people have stopped besides single platforms: everything, a command, a source, a batch.

A platform's own pause stands with its hold and its open circuit (see `care`), for they are counted together. Of a
command, a source or a batch only what is to begin is kept back: the evidence of lost answers is read on.

A claim that meets a paused head sets it aside: its line has no due time until the pause has ended. So each is met
once, however many wait, and its key's line waits behind it (P4).
"""

from __future__ import annotations

from collections.abc import Sequence

from worker.journal.commands.endings import advance, lock_lanes, new_id
from worker.journal.core import Core, write_audit
from worker.journal.driver import Row, Tx
from worker.journal.port import Pause, Scope
from worker.messages.events import AuditDraft

LEAST_RATE = 0.01  # calls a second: what is to go slower had better be paused
AT_ONCE = 500  # commands that are set aside, or let go again, in one commit

# The pauses of a row of `commands`: a look into a table of a few rows, most times of none.
HOLDING = (
    "FROM pauses p WHERE p.name = CASE p.scope WHEN 'command' THEN commands.type"
    " WHEN 'source' THEN commands.source WHEN 'batch' THEN commands.batch_id END"
)


def pause_of(row: Row) -> Pause:
    return Pause(row["scope"], row["name"], row["paused_by"], row["reason"], row["since"])


async def listing(tx: Tx) -> list[Pause]:
    """All there are, the oldest first; not those of single platforms."""
    return [pause_of(row) for row in await tx.rows("SELECT * FROM pauses ORDER BY since, scope, name")]


def checked_rate(rate: float, configured: float) -> float:
    """Calls a second that a platform may be lowered to. Raises ValueError with a sentence."""
    if not rate >= LEAST_RATE:
        raise ValueError(f"the least rate is {LEAST_RATE:g} calls a second: to let nothing go out, pause it")
    if rate >= configured:
        raise ValueError(f"the settings say {configured:g} calls a second: a lowered rate is below that")
    return rate


# ---------------------------------------------------------------- acts


async def stop(tx: Tx, scope: Scope, name: str, actor: str, reason: str) -> Pause | None:
    """Begin nothing of it from now on. Returns the pause that there was already; whoever comes last stands in it."""
    before = await _find(tx, scope, name)
    await tx.run(
        "INSERT INTO pauses (scope, name, paused_by, reason, since) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (scope, name) DO UPDATE SET paused_by = excluded.paused_by, reason = excluded.reason",
        scope,
        name,
        actor,
        reason,
        tx.now,
    )
    if scope == "everything":
        await _lock_platforms(tx)
        await tx.run("UPDATE platforms SET stopped_since = $1::float8 WHERE stopped_since IS NULL", tx.now)
    if scope == "batch":
        await tx.run(
            "UPDATE batches SET paused_by = $2, paused_reason = $3 WHERE name = $1", name, actor, reason
        )
    await _tell(tx, "paused", scope, name, actor, reason)
    tx.wake("control")
    return before


async def go_on(tx: Tx, scope: Scope, name: str, actor: str, reason: str) -> bool:
    """False: it was not paused. What was set aside is let go by the sweeps."""
    gone = await tx.run("DELETE FROM pauses WHERE scope = $1 AND name = $2", scope, name) > 0
    if scope == "everything" and gone:
        await _lock_platforms(tx)
        await tx.run(
            "UPDATE platforms SET stopped_total = stopped_total + $1::float8 - stopped_since, stopped_since = NULL"
            " WHERE stopped_since IS NOT NULL AND held IS NULL AND paused_by IS NULL AND broken_since IS NULL",
            tx.now,
        )
    if scope == "batch":
        sending = await tx.run(
            "UPDATE batches SET paused_by = NULL, paused_reason = NULL WHERE name = $1 AND paused_by IS NOT NULL",
            name,
        )
        gone = gone or sending > 0
    if gone:
        await _tell(tx, "resumed", scope, name, actor, reason)
    tx.wake("control")
    tx.wake("sweep")
    return gone


async def _lock_platforms(tx: Tx) -> None:
    """A hold or its end that is being written would be judged by how the row was before it (see `care`)."""
    await tx.rows("SELECT name FROM platforms ORDER BY name FOR UPDATE")


async def _find(tx: Tx, scope: Scope, name: str) -> Pause | None:
    rows = await tx.rows("SELECT * FROM pauses WHERE scope = $1 AND name = $2", scope, name)
    return pause_of(rows[0]) if rows else None


async def _tell(tx: Tx, what: str, scope: Scope, name: str, actor: str, reason: str) -> None:
    """Under the same names as for a platform; a batch has its own since there are batches."""
    batch = await tx.rows("SELECT platform FROM batches WHERE name = $1", name) if scope == "batch" else ()
    if batch:
        draft = AuditDraft(f"batch_{what}", batch[0]["platform"], actor, reason, None, {"batch": name})
    else:
        about = {"scope": scope, "name": name} if name else {"scope": scope}
        draft = AuditDraft(what, "unknown", actor, reason, None, about)
    await write_audit(tx, [(draft, None)], new_id)


# ---------------------------------------------------------------- setting aside


async def pass_over(tx: Tx, platform: str, heads: Sequence[int]) -> None:
    """Set aside those of these heads that are paused, and with them the next ones that are due: with one portion
    after the other the platform's other commands come to their turn."""
    if not (lanes := await _set_aside(tx, platform, heads)):
        return
    due = await tx.rows(
        "SELECT head FROM lanes WHERE platform = $1 AND due_at <= $2::float8 ORDER BY priority, due_at LIMIT $3"
        " FOR UPDATE SKIP LOCKED",
        platform,
        tx.now,
        AT_ONCE,
    )
    lanes += await _set_aside(tx, platform, [row["head"] for row in due])
    await advance(tx, lanes)
    tx.wake(platform)


async def _set_aside(tx: Tx, platform: str, ids: Sequence[int]) -> list[int]:
    """Returns the lines of those that were."""
    rows = await tx.rows(
        "UPDATE commands SET paused_for ="  # noqa: S608 - our own words
        f" (SELECT p.scope || ':' || p.name {HOLDING} ORDER BY p.since, p.scope LIMIT 1), paused_at = $2::float8 WHERE id = ANY($1) AND state = 'waiting' AND owner IS NULL"
        f" AND EXISTS (SELECT 1 {HOLDING}) RETURNING lane_id",
        list(ids),
        tx.now - (await stopped_totals(tx)).get(platform, 0.0),
    )
    return [row["lane_id"] for row in rows]


# One look into the index for each pause that something waits for.
ENDED = """
WITH RECURSIVE held(name) AS (
    SELECT MIN(paused_for) FROM commands WHERE paused_for IS NOT NULL
    UNION ALL
    SELECT (SELECT MIN(paused_for) FROM commands WHERE paused_for IS NOT NULL AND paused_for > held.name)
    FROM held WHERE held.name IS NOT NULL
)
SELECT name FROM held WHERE name IS NOT NULL
AND NOT EXISTS (SELECT 1 FROM pauses p WHERE p.scope || ':' || p.name = held.name)
"""


async def release(tx: Tx, core: Core) -> int:
    """What was set aside for a pause that has ended comes to its turn again, by the time at which it was due.

    The time until now does not count towards retry_for (rule 7.1); that of the platform's stops is counted apart.
    """
    ended = [row["name"] for row in await tx.rows(ENDED)]
    if not ended:
        return 0
    rows = await tx.rows(
        "SELECT id, lane_id, platform FROM commands WHERE paused_for = ANY($1::text[]) ORDER BY id LIMIT $2",
        ended,
        AT_ONCE,
    )
    await lock_lanes(tx, [row["lane_id"] for row in rows])
    stopped = await stopped_totals(tx)
    for platform in sorted({row["platform"] for row in rows}):
        await tx.run(
            "UPDATE commands SET stopped_before = stopped_before - CASE WHEN failing_since IS NULL THEN 0"
            " ELSE GREATEST($3::float8 - paused_at, 0) END, paused_for = NULL, paused_at = NULL"
            " WHERE id = ANY($1) AND paused_for = ANY($2::text[])",
            [row["id"] for row in rows if row["platform"] == platform],
            ended,
            tx.now - stopped.get(platform, 0.0),
        )
    await advance(tx, [row["lane_id"] for row in rows])
    return len(rows)


async def stopped_totals(tx: Tx) -> dict[str, float]:
    """Seconds, up to now, that each platform was held, paused or broken: they do not count for retry_for."""
    rows = await tx.rows("SELECT name, stopped_since, stopped_total FROM platforms")
    return {
        row["name"]: row["stopped_total"]
        + (0.0 if row["stopped_since"] is None else tx.now - row["stopped_since"])
        for row in rows
    }
