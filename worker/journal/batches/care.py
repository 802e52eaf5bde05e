"""What time does to batches: old ones go, and what comes late of a cancelled one is cancelled."""

from __future__ import annotations

from worker.journal.batches.endings import source_of
from worker.journal.commands.acts import ActRefused, cancel
from worker.journal.core import DAY, Core
from worker.journal.driver import Row, Tx

LATE = 30 * DAY  # since it was begun: how long RabbitMQ may hold a command of a batch that was cancelled
WHY = "its batch was cancelled"
BY = "worker"


async def purge(tx: Tx, core: Core, limit: int) -> int:
    """One portion of the rows of batches that were sent before the retention; the batch goes with its last."""
    old = await tx.rows(
        "SELECT id FROM batches WHERE COALESCE(sent_at, created_at) < $1::float8 AND state <> 'sending'"
        " ORDER BY id LIMIT 1",
        tx.now - core.retention,
    )
    if not old:
        return 0
    rows = await tx.rows("SELECT id FROM batch_rows WHERE batch_id = $1 LIMIT $2", old[0]["id"], limit)
    ids = [row["id"] for row in rows]
    await tx.run("DELETE FROM batch_commands WHERE row_id = ANY($1)", ids)
    await tx.run("DELETE FROM batch_rows WHERE id = ANY($1)", ids)
    if not ids:  # its pause goes along: a later batch of that name is not to find it
        await tx.run(
            "DELETE FROM pauses WHERE scope = 'batch' AND name = (SELECT name FROM batches WHERE id = $1)",
            old[0]["id"],
        )
        await tx.run("DELETE FROM batches WHERE id = $1", old[0]["id"])
    return max(1, len(ids))


async def cancel_late(tx: Tx, core: Core, limit: int = 100) -> int:
    """Commands that came out of RabbitMQ after their batch had been cancelled."""
    cancelled = await tx.rows(
        "SELECT name FROM batches WHERE state = 'cancelled' AND created_at > $1::float8", tx.now - LATE
    )
    done = 0
    for batch in cancelled:
        for row in await waiting(tx, batch["name"], limit):
            if row["retry_of"] is None:  # else an operator wants it all the same
                done += await try_cancel(tx, core, row, BY, WHY)
    return done


async def waiting(tx: Tx, name: str, limit: int) -> list[Row]:
    """Commands of a batch that wait and have had no effect, the last ones first."""
    rows = await tx.rows(
        "SELECT id, retry_of FROM commands WHERE batch_id = $1 AND source = $2 AND finished_at IS NULL"
        " AND state = 'waiting' AND steps_sealed IS NULL AND unverified = false ORDER BY id DESC LIMIT $3",
        name,
        source_of(name),
        limit,
    )
    return list(rows)


async def try_cancel(tx: Tx, core: Core, row: Row, actor: str, reason: str) -> int:
    try:
        await cancel(tx, core, f"#{row['id']}", actor, reason)
    except ActRefused:
        return 0  # it began meanwhile, or ended because the one before it was cancelled
    return 1
