"""What the console keeps goes as well: with its commands, with its time, or past the journal's retention."""

from __future__ import annotations

from collections.abc import Sequence

from worker.journal.console.people import IDLE
from worker.journal.core import Core
from worker.journal.driver import Tx

DAY = 86400.0
ANSWERS = DAY  # seconds that an answer is kept for the same Idempotency-Key
HOURS = 8 * 24  # that a group's count by the hour is kept
ACTS = 5  # acts on many that go in one portion; each may have 10,000 lines


async def purge(tx: Tx, core: Core, commands: Sequence[int], most: int) -> int:
    """One portion. `commands`: those that go with it. Returns how many rows went; call again until it is 0."""
    before = tx.now - core.retention
    gone = await tx.run("DELETE FROM console_failures WHERE command_id = ANY($1)", list(commands))
    gone += await _groups(tx, before, most)
    gone += await _acts(tx, before)
    gone += await tx.run("DELETE FROM console_answers WHERE at < $1::float8", tx.now - ANSWERS)
    gone += await tx.run(
        "DELETE FROM console_sessions WHERE expires_at < $1::float8 OR seen_at < $2::float8",
        tx.now,
        tx.now - IDLE,
    )
    gone += await tx.run("DELETE FROM console_links WHERE expires_at < $1::float8", tx.now)
    gone += await tx.run(
        "DELETE FROM console_tokens WHERE expires_at < $1::float8 OR revoked_at < $1::float8", before
    )
    # Wrong passwords are forgotten a day after their last lock: a typo months later must not lock for an hour.
    await tx.run(
        "UPDATE console_users SET failures = 0, locked_until = NULL WHERE locked_until < $1::float8",
        tx.now - DAY,
    )
    return gone


async def _groups(tx: Tx, before: float, most: int) -> int:
    """Groups of which no failure is left, with their notes; and counts by the hour that no chart shows."""
    rows = await tx.rows(
        "SELECT id FROM console_groups g WHERE last_at < $1::float8"
        " AND NOT EXISTS (SELECT 1 FROM console_failures f WHERE f.group_id = g.id) ORDER BY last_at LIMIT $2",
        before,
        most,
    )
    ids = [row["id"] for row in rows]
    if ids:
        await tx.run("DELETE FROM console_group_hours WHERE group_id = ANY($1)", ids)
        await tx.run("DELETE FROM console_groups WHERE id = ANY($1)", ids)
    old = int(tx.now // 3600) - HOURS
    return len(ids) + await tx.run("DELETE FROM console_group_hours WHERE hour < $1", old)


async def _acts(tx: Tx, before: float) -> int:
    rows = await tx.rows(
        "SELECT id FROM console_acts WHERE state <> 'going' AND ended_at < $1::float8 ORDER BY id LIMIT $2",
        before,
        ACTS,
    )
    ids = [row["id"] for row in rows]
    if ids:
        await tx.run("DELETE FROM console_act_items WHERE act_id = ANY($1)", ids)
        await tx.run("DELETE FROM console_acts WHERE id = ANY($1)", ids)
    return len(ids)
