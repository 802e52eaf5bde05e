"""What all processes share about platforms and each other, and the journal's own housekeeping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.domain.lifecycle import State
from worker.journal import pauses
from worker.journal.batches import care as batch_care
from worker.journal.commands.endings import lock_lanes, new_id
from worker.journal.console import purge as console_purge
from worker.journal.core import Core, write_audit
from worker.journal.driver import Row, Tx
from worker.journal.port import Health, Pause, PlatformState
from worker.journal.quarantine import quarantine
from worker.journal.relaying import TAIL, put_mark
from worker.messages.events import AuditDraft

ALIVE = 10.0  # seconds since its last beat that a process counts for the shares
FORGOTTEN = 300.0


async def heartbeat(tx: Tx, owner: str, platforms: Sequence[str]) -> dict[str, PlatformState]:
    """We are alive; who else is, and how are the platforms?"""
    await tx.run(
        "INSERT INTO processes (owner, beat_at, started_at) VALUES ($1, $2, $2)"
        " ON CONFLICT (owner) DO UPDATE SET beat_at = excluded.beat_at",
        owner,
        tx.now,
    )
    await tx.run("DELETE FROM processes WHERE beat_at < $1::float8", tx.now - FORGOTTEN)
    alive = [
        row["owner"]
        for row in await tx.rows(
            "SELECT owner FROM processes WHERE beat_at > $1::float8 ORDER BY owner", tx.now - ALIVE
        )
    ]
    windows = {
        row["platform"]: row["n"]
        for row in await tx.rows(
            "SELECT platform, count(*) AS n FROM lanes WHERE window_opened IS NOT NULL GROUP BY platform"
        )
    }
    rows = {
        row["name"]: row
        for row in await tx.rows("SELECT * FROM platforms WHERE name = ANY($1::text[])", list(platforms))
    }
    stops = Stops.of(await pauses.listing(tx))
    if stops.halted:  # its time is counted in the platform's row
        await tx.many(
            "INSERT INTO platforms (name, stopped_since) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
            [(name, stops.halted.since) for name in platforms if name not in rows],
        )
    return {
        name: platform_state(name, rows.get(name), stops, windows.get(name, 0), alive, owner, tx.now)
        for name in platforms
    }


@dataclass(frozen=True, slots=True)
class Stops:
    """What is paused besides single platforms, as each platform sees it."""

    halted: Pause | None = None
    others: tuple[Pause, ...] = ()

    @staticmethod
    def of(found: Sequence[Pause]) -> Stops:
        halted = next((one for one in found if one.scope == "everything"), None)
        return Stops(halted, tuple(one for one in found if one is not halted))


async def states(tx: Tx) -> list[PlatformState]:
    """Of all platforms that the journal knows."""
    stops = Stops.of(await pauses.listing(tx))
    rows = await tx.rows("SELECT * FROM platforms ORDER BY name")
    return [platform_state(row["name"], row, stops, now=tx.now) for row in rows]


def platform_state(
    name: str,
    row: Row | None,
    stops: Stops,
    windows: int = 0,
    alive: Sequence[str] = (),
    owner: str = "",
    now: float = 0.0,
) -> PlatformState:
    rank = alive.index(owner) if owner in alive else 0
    if row is None:
        return PlatformState(
            name,
            open_windows=windows,
            processes=max(len(alive), 1),
            rank=rank,
            halted=stops.halted,
            pauses=stops.others,
        )
    running = 0.0 if row["stopped_since"] is None else now - row["stopped_since"]
    return PlatformState(
        name=name,
        held=row["held"],
        held_text=row["held_text"],
        held_since=row["held_since"],
        paused_by=row["paused_by"],
        paused_reason=row["paused_reason"],
        paused_since=row["paused_since"],
        broken_since=row["broken_since"],
        stopped_total=row["stopped_total"] + running,
        open_windows=windows,
        processes=max(len(alive), 1),
        rank=rank,
        halted=stops.halted,
        pauses=stops.others,
        lowered_rate=row["lowered_rate"],
        lowered_by=row["lowered_by"],
        lowered_reason=row["lowered_reason"],
        lowered_since=row["lowered_since"],
    )


async def leave(tx: Tx, owner: str) -> None:
    await tx.run("DELETE FROM processes WHERE owner = $1", owner)
    await let_go(tx, owner)


async def let_go(tx: Tx, owner: str) -> None:
    await tx.run("DELETE FROM leases WHERE owner = $1", owner)


async def forget_others(tx: Tx) -> None:
    """Of a journal that one process alone uses: whoever it still names as alive was killed."""
    await tx.run("DELETE FROM processes")
    await tx.run("DELETE FROM leases")


async def keep(tx: Tx, role: str, owner: str, lease: float) -> bool:
    """Whether `owner` has the role (relay, a platform's keeper) for the next `lease` seconds."""
    changed = await tx.run(
        "INSERT INTO leases (role, owner, until) VALUES ($1, $2, $3)"
        " ON CONFLICT (role) DO UPDATE SET owner = excluded.owner, until = excluded.until"
        " WHERE leases.owner = excluded.owner OR leases.until < $4::float8",
        role,
        owner,
        tx.now + lease,
        tx.now,
    )
    return changed == 1


async def change_platform(tx: Tx, name: str, **changes: Any) -> Row:
    """Set some of held, paused and broken; keep the sum of the time that the platform was stopped."""
    await tx.run("INSERT INTO platforms (name) VALUES ($1) ON CONFLICT (name) DO NOTHING", name)
    [before] = await tx.rows("SELECT * FROM platforms WHERE name = $1 FOR UPDATE", name)
    after = {column: before[column] for column in STOPS} | changes
    stopped = bool(after["held"] or after["paused_by"] or after["broken_since"])
    if not stopped:  # asked for under the row's lock, which ending that pause takes as well
        stopped = bool(await tx.rows("SELECT 1 AS one FROM pauses WHERE scope = 'everything'"))
    since, total = before["stopped_since"], before["stopped_total"]
    if stopped and since is None:
        since = tx.now
    elif not stopped and since is not None:
        since, total = None, total + tx.now - since
    await tx.run(
        "UPDATE platforms SET held = $2, held_text = $3, held_since = $4, paused_by = $5, paused_reason = $6,"
        " paused_since = $7, broken_since = $8, stopped_since = $9, stopped_total = $10 WHERE name = $1",
        name,
        *(after[column] for column in STOPS),
        since,
        total,
    )
    tx.wake(name)
    tx.wake("control")
    return before


STOPS = ("held", "held_text", "held_since", "paused_by", "paused_reason", "paused_since", "broken_since")


async def hold(tx: Tx, name: str, code: str, text: str) -> None:
    """The platform refuses our login, or everything: its commands wait, a person is told (rule 2.4)."""
    before = await change_platform(tx, name, held=code, held_text=text, held_since=tx.now)
    if before["held"] is None:
        await _tell(tx, "held", name, "worker", text, {"code": code})


async def release(tx: Tx, name: str, actor: str, reason: str) -> bool:
    before = await change_platform(tx, name, held=None, held_text=None, held_since=None)
    if before["held"] is not None:
        await _tell(tx, "released", name, actor, reason, {"code": before["held"]})
    return before["held"] is not None


async def break_circuit(tx: Tx, name: str, broken: bool) -> None:
    before = await change_platform(tx, name, broken_since=tx.now if broken else None)
    if (before["broken_since"] is None) is broken:
        await _tell(tx, "circuit_opened" if broken else "circuit_closed", name, "worker", None, {})


async def pause(tx: Tx, name: str, actor: str, reason: str) -> None:
    await change_platform(tx, name, paused_by=actor, paused_reason=reason, paused_since=tx.now)
    await _tell(tx, "paused", name, actor, reason, {})


async def resume(tx: Tx, name: str, actor: str, reason: str) -> bool:
    """Ends a pause and a hold."""
    before = await change_platform(
        tx,
        name,
        paused_by=None,
        paused_reason=None,
        paused_since=None,
        held=None,
        held_text=None,
        held_since=None,
    )
    stopped = bool(before["paused_by"] or before["held"])
    await _tell(tx, "resumed", name, actor, reason, {"was": before["held"] or "paused"} if stopped else {})
    return stopped


async def lower(tx: Tx, name: str, rate: float, actor: str, reason: str) -> None:
    """At most `rate` calls a second, all processes together, until it is restored."""
    await _set_rate(tx, name, rate, actor, reason)
    await _tell(tx, "rate_lowered", name, actor, reason, {"rate": rate})


async def restore(tx: Tx, name: str, actor: str, reason: str) -> bool:
    """As the settings say. False: it was not lowered."""
    before = await _set_rate(tx, name, None, None, None)
    if before is not None:
        await _tell(tx, "rate_restored", name, actor, reason, {"was": before})
    return before is not None


async def _set_rate(
    tx: Tx, name: str, rate: float | None, actor: str | None, reason: str | None
) -> float | None:
    """Returns what it was lowered to before."""
    await tx.run("INSERT INTO platforms (name) VALUES ($1) ON CONFLICT (name) DO NOTHING", name)
    [before] = await tx.rows("SELECT lowered_rate FROM platforms WHERE name = $1 FOR UPDATE", name)
    await tx.run(
        "UPDATE platforms SET lowered_rate = $2, lowered_by = $3, lowered_reason = $4, lowered_since = $5"
        " WHERE name = $1",
        name,
        rate,
        actor,
        reason,
        None if rate is None else tx.now,
    )
    tx.wake("control")
    return None if before["lowered_rate"] is None else float(before["lowered_rate"])


async def _tell(
    tx: Tx, what: str, name: str, actor: str, reason: str | None, details: Mapping[str, Any]
) -> None:
    await write_audit(tx, [(AuditDraft(what, name, actor, reason, None, details), None)], new_id)


# One look into the index for each platform and priority, however many lanes are due.
OLDEST_DUE = """
WITH RECURSIVE p(name) AS (
    SELECT MIN(platform) FROM lanes WHERE due_at IS NOT NULL
    UNION ALL
    SELECT (SELECT MIN(platform) FROM lanes WHERE due_at IS NOT NULL AND platform > p.name) FROM p
    WHERE p.name IS NOT NULL
)
SELECT MIN((SELECT MIN(due_at) FROM lanes
            WHERE due_at IS NOT NULL AND platform = p.name AND priority = r.rank)) AS at
FROM p CROSS JOIN (SELECT 0 AS rank UNION ALL SELECT 1 UNION ALL SELECT 2) r
"""


async def health(tx: Tx) -> Health:
    states = {
        row["state"]: row["n"]
        for row in await tx.rows(
            "SELECT state, count(*) AS n FROM commands WHERE finished_at IS NULL GROUP BY state"
        )
    }
    [due] = await tx.rows(OLDEST_DUE)
    [out] = await tx.rows(
        "SELECT count(*) AS n, MIN(created_at) AS at FROM outbox WHERE published_at IS NULL"
    )
    [chained] = await tx.rows(
        "SELECT count(*) AS n FROM audit WHERE number IS NOT NULL AND published_at IS NULL"
    )
    [unsealed] = await tx.rows("SELECT count(*) AS n FROM audit WHERE number IS NULL")
    [kept] = await tx.rows("SELECT count(*) AS n FROM quarantine WHERE state = 'kept'")
    listeners = await tx.rows("SELECT exchange, returned FROM listeners WHERE returned > 0")
    return Health(
        waiting=states.get(State.WAITING, 0),
        running=states.get(State.RUNNING, 0),
        in_doubt=states.get(State.IN_DOUBT, 0),
        parked=states.get(State.PARKED, 0),
        oldest_due=None if due["at"] is None or due["at"] > tx.now else tx.now - due["at"],
        unpublished=out["n"] + chained["n"],
        oldest_unpublished=None if out["at"] is None else tx.now - out["at"],
        unsealed=unsealed["n"],
        quarantined=kept["n"],
        nobody_listens={row["exchange"]: row["returned"] for row in listeners},
    )


PURGE_AT_ONCE = 2000


async def purge(tx: Tx, core: Core) -> dict[str, int]:
    """One portion of what is past its retention. Call again until all figures are 0."""
    before = tx.now - core.retention
    old = await tx.rows(
        "SELECT id, lane_id FROM commands WHERE finished_at < $1::float8 ORDER BY finished_at LIMIT $2",
        before,
        PURGE_AT_ONCE,
    )
    ids = [row["id"] for row in old]
    if ids:  # a command that is being admitted must find the lane that it found
        await tx.lock("admission")
    for table in ("attempts", "evidence"):
        await tx.run(f"DELETE FROM {table} WHERE command_id = ANY($1)", ids)  # noqa: S608 - two fixed names
    await tx.run("DELETE FROM commands WHERE id = ANY($1)", ids)
    lanes = await _purge_lanes(tx, sorted({row["lane_id"] for row in old}))
    events = await tx.run(
        "DELETE FROM outbox WHERE id = ANY($1)",
        await _ids(tx, "outbox", "published_at < $1::float8", tx.now - core.events_retention),
    )
    identities = await tx.run(
        "DELETE FROM identities WHERE id = ANY($1)",
        await _ids(
            tx, "identities", "status IS NOT NULL AND created_at < $1::float8", tx.now - core.dedup_window
        ),
    )
    kept = await quarantine.purge(tx, core, PURGE_AT_ONCE)
    batches = await batch_care.purge(tx, core, PURGE_AT_ONCE)
    console = await console_purge.purge(tx, core, ids, PURGE_AT_ONCE)
    audit = await _purge_audit(tx, core, before)
    return {
        "commands": len(ids),
        "events": events,
        "identities": identities,
        "quarantine": kept,
        "lanes": lanes,
        "audit": audit,
        "batches": batches,
        "console": console,
    }


async def _purge_lanes(tx: Tx, lanes: list[int]) -> int:
    """Lines that the last command has left, with no window open and nothing deferred for them."""
    await lock_lanes(tx, lanes)
    return await tx.run(
        "DELETE FROM lanes WHERE id = ANY($1) AND head IS NULL AND window_opened IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM commands c WHERE c.lane_id = lanes.id)",
        lanes,
    )


async def _ids(tx: Tx, table: str, where: str, value: float) -> list[int]:
    rows = await tx.rows(f"SELECT id FROM {table} WHERE {where} ORDER BY id LIMIT {PURGE_AT_ONCE}", value)  # noqa: S608
    return [row["id"] for row in rows]


async def _purge_audit(tx: Tx, core: Core, before: float) -> int:
    """From the chain's tail, published ones only; a signed checkpoint says where it begins now."""
    rows = await tx.rows(
        "SELECT id, number, mac, at, published_at FROM audit WHERE number IS NOT NULL ORDER BY number LIMIT $1",
        PURGE_AT_ONCE,
    )
    gone = []
    for row in rows:
        if row["at"] >= before or row["published_at"] is None:
            break
        gone.append(row)
    if gone:
        await put_mark(tx, core, TAIL, gone[-1]["number"], gone[-1]["mac"])
        await tx.run("DELETE FROM audit WHERE id = ANY($1)", [row["id"] for row in gone])
    return len(gone)


SEALED = {
    "identities": ("ending_sealed",),
    "commands": ("data_sealed", "steps_sealed", "output_sealed"),
    "evidence": ("reading_sealed",),
    "outbox": ("body_sealed",),
    "quarantine": ("body_sealed", "headers_sealed"),
    "batch_rows": ("keys_sealed", "made_sealed"),
    "uploads": ("looked_sealed", "plan_sealed", "found_sealed"),  # their parts: see upload_care
}


async def rekey(tx: Tx, core: Core, table: str, after: int, limit: int = 500) -> tuple[int, int]:
    """Encrypt one portion of a table under the first key. Returns (rows done, last id)."""
    columns = SEALED[table]
    rows = await tx.rows(
        f"SELECT id, {', '.join(columns)} FROM {table} WHERE id > $1 ORDER BY id LIMIT $2 FOR UPDATE",  # noqa: S608
        after,
        limit,
    )
    for column in columns:
        await tx.many(
            f"UPDATE {table} SET {column} = $2 WHERE id = $1",  # noqa: S608 - names from the table above
            [(row["id"], core.vault.rotate(row[column])) for row in rows if row[column] is not None],
        )
    return len(rows), rows[-1]["id"] if rows else after
