"""After a backup was put back: what may have run since it was taken is unknown, and nothing of it runs by itself.

Without this a worker on a backup would book a credit again that was booked in the hour that the backup does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from worker.domain.effect import Effect
from worker.domain.lifecycle import EffectSeen, State
from worker.journal.backups import marks
from worker.journal.commands.claims import open_windows, tell_parked_row
from worker.journal.commands.endings import advance, lock_lanes, new_id
from worker.journal.core import problem_text, view_of, write_audit
from worker.journal.driver import Row, Tx
from worker.journal.journal import StoredJournal
from worker.journal.schema import ALIVE, CONNECTED, refuse
from worker.messages.catalogue import find
from worker.messages.errors import Code, Problem
from worker.messages.events import AuditDraft, rfc3339

PORTION = 500  # commands a commit
PROBLEM = Problem(
    Code.EFFECT_UNKNOWN,
    "the journal was restored from a backup: whether it ran since that was taken is not known."
    " Look on the platform, then say what took effect",
)
OTHERWISE = "a journal that was put back by other means"
Told = Callable[[int], None]  # commands so far


async def none_runs(journal: StoredJournal, url: str) -> None:
    """Raises JournalError while a worker runs on it, or did until a moment ago.

    Only engines give signs of life; of the other roles a file knows by its lock, PostgreSQL by their connections.
    """

    async def work(tx: Tx) -> list[str]:
        rows = await tx.rows(
            "SELECT owner FROM processes WHERE beat_at > $1::float8 ORDER BY owner", tx.now - ALIVE
        )
        if not rows and url.startswith("postgresql"):
            rows = await tx.rows(CONNECTED)
        return [str(row["owner"]) for row in rows]

    refuse(await journal.run(work))


async def restored(
    journal: StoredJournal, actor: str, reason: str, told: Told = lambda done: None
) -> dict[str, int]:
    """Parks every command that may have run since the copy was made, ends what would go on by itself, and lets
    workers start again. In portions: killed half-way, it is said again.

    Returns how many of each: parked, waiting (they only read), batches, acts, sessions.
    """
    await journal.run(_closed)
    counts = {"parked": 0, "waiting": 0}
    last = 0
    while True:
        rows, last = await journal.run(lambda tx, last=last: _portion(tx, journal, last))  # type: ignore[misc]  # bound at once
        if last == 0:
            break
        counts["parked"] += rows
        told(counts["parked"])

    async def end(tx: Tx) -> dict[str, int]:
        # All of a command may have run since: whoever says that it took effect says it of the whole, and ends it.
        await tx.run(
            "UPDATE commands SET steps_left = '[]' WHERE finished_at IS NULL AND state = 'parked'"
            " AND effect = 'unknown' AND COALESCE(steps_left, '') <> '[]'"
        )
        [reads] = await tx.rows(
            "SELECT count(*) AS n FROM commands WHERE finished_at IS NULL AND state = 'waiting'"
        )
        found = {"waiting": int(reads["n"]), **await _stopped(tx, actor, reason)}
        await _opened(tx, actor, reason, counts | found)
        return found

    return counts | await journal.run(end)


async def _closed(tx: Tx) -> None:
    """No worker starts before all of it is done, also on what no backup of ours has marked."""
    if await marks.read(tx) is None:
        await marks.write(tx, marks.Mark("backup", rfc3339(tx.now) or "", OTHERWISE))


async def opened(journal: StoredJournal, actor: str, reason: str) -> None:
    """A person knows that nothing ran since the copy was made: it goes on as it is."""
    await journal.run(lambda tx: _opened(tx, actor, reason, {"nothing_ran": True}))


async def _opened(tx: Tx, actor: str, reason: str, details: dict[str, int]) -> None:
    mark = await marks.read(tx)
    about = dict(details) | ({"how": mark.how, "copied_at": mark.at} if mark else {})
    await marks.write(tx, None)
    await tx.run("DELETE FROM processes WHERE owner <> ''")
    await tx.run("DELETE FROM leases WHERE role <> ''")
    await write_audit(
        tx, [(AuditDraft("journal_restored", "unknown", actor, reason, None, about), None)], new_id
    )


async def _portion(tx: Tx, journal: StoredJournal, last: int) -> tuple[int, int]:
    """(commands parked, number of the last one looked at; 0: there are no more)."""
    found = await tx.rows(
        "SELECT id, lane_id FROM commands WHERE finished_at IS NULL AND id > $1"
        " AND NOT (state = 'parked' AND effect = 'unknown') ORDER BY id LIMIT $2",
        last,
        PORTION,
    )
    if not found:
        return 0, 0
    await tx.lock("admission")
    await lock_lanes(tx, [row["lane_id"] for row in found])
    rows = await tx.rows(
        "SELECT * FROM commands WHERE id = ANY($1) ORDER BY id FOR UPDATE", [row["id"] for row in found]
    )
    reads = [row for row in rows if _only_reads(row)]
    others = [row for row in rows if not _only_reads(row)]
    await _let_go(tx, reads)
    await _park(tx, journal, others)
    await advance(tx, [row["lane_id"] for row in rows])
    return len(others), rows[-1]["id"]


def _only_reads(row: Row) -> bool:
    spec = find(row["type"])
    return spec is not None and spec.effect == Effect.READ and row["state"] in (State.WAITING, State.RUNNING)


async def _let_go(tx: Tx, rows: Sequence[Row]) -> None:
    """Whoever had claimed them then does not work on them now."""
    await tx.many(
        "UPDATE commands SET state = 'waiting', owner = NULL, lease_until = NULL, fence = fence + 1,"
        " due_at = COALESCE(due_at, $2::float8) WHERE id = $1 AND owner IS NOT NULL",
        [(row["id"], tx.now) for row in rows],
    )


async def _park(tx: Tx, journal: StoredJournal, rows: Sequence[Row]) -> None:
    """Each holds its key, as if the answer to its call had just been lost (rule 3.1); those that had not joined
    their line yet do now, for they may have run as well."""
    joining = [row["id"] for row in rows if row["arrival"] is None]
    arrivals = dict(zip(joining, await tx.numbers(len(joining), "admission") if joining else [], strict=True))
    await tx.many(
        "UPDATE commands SET state = 'parked', effect = 'unknown', problem = $2, arrival = COALESCE(arrival, $3),"
        " steps_left = '[]', window_closed = false, due_at = NULL, owner = NULL, lease_until = NULL, fence = fence + 1, paused_for = NULL, paused_at = NULL"
        " WHERE id = $1",
        [(row["id"], problem_text(PROBLEM), arrivals.get(row["id"])) for row in rows],
    )
    for row in rows:
        await tell_parked_row(tx, journal.core, row, EffectSeen.UNKNOWN, PROBLEM)
    first = {row["lane_id"]: row["id"] for row in reversed(rows)}
    await open_windows(tx, [(lane, command, tx.now) for lane, command in sorted(first.items())])
    drafts = [
        (
            AuditDraft(
                "parked", row["platform"], "worker", command=view_of(row).command(), details=_details()
            ),
            row["id"],
        )
        for row in rows
    ]
    await write_audit(tx, drafts, new_id)


def _details() -> dict[str, str]:
    return {"code": PROBLEM.code.value, "message": PROBLEM.message}


async def _stopped(tx: Tx, actor: str, reason: str) -> dict[str, int]:
    """What would go on by itself, or lets people in who may have been sent away since."""
    batches = await tx.run(
        "UPDATE batches SET paused_by = $1, paused_reason = $2 WHERE state = 'sending' AND paused_by IS NULL",
        actor,
        f"the journal was restored: {reason}",
    )
    await tx.run(  # those that had not begun their batch, or were to send failed rows once more
        "UPDATE uploads SET state = 'stopped', touched_at = $1::float8, text = $2 WHERE state = 'going'"
        " AND NOT EXISTS (SELECT 1 FROM batches b WHERE b.name = uploads.batch AND b.state = 'sending')",
        tx.now,
        "the journal was restored: its rows may have run since",
    )
    acts = await tx.run(
        "UPDATE console_acts SET state = 'stopped', text = 'the journal was restored', ended_at = $1::float8"
        " WHERE state = 'going'",
        tx.now,
    )
    sessions = await tx.run("DELETE FROM console_sessions WHERE 1 = 1")
    await tx.run("DELETE FROM console_links WHERE 1 = 1")
    return {"batches": batches, "acts": acts, "sessions": sessions}
