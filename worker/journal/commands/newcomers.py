"""New commands on their way into the tables, each at the end of its key's line (rules 4.2, 4.3, 4.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.domain.lifecycle import Priority, State
from worker.journal.commands.endings import new_id
from worker.journal.core import Core, write_audit
from worker.journal.driver import Row, Tx
from worker.journal.port import NewCommand
from worker.messages.envelope import Envelope
from worker.messages.events import AuditDraft, View


@dataclass(frozen=True, slots=True)
class Fresh:
    """A command to be written: `id` is its number, `mac` the identity of its content."""

    id: int
    new: NewCommand
    mac: str
    depends_on: int | None
    reply_to: str | None


def view_of_envelope(
    envelope: Envelope, platform: str, key: str | None, received: float | None = None
) -> View:
    return View(
        id=envelope.id,
        source=envelope.source,
        type=envelope.type,
        idempotency_key=envelope.idempotency_key,
        platform=platform,
        partition_key=key,
        subject=envelope.subject,
        correlation_id=envelope.correlation_id,
        causation_id=envelope.causation_id,
        traceparent=envelope.traceparent,
        tracestate=envelope.tracestate,
        batch_id=envelope.batch_id,
        reply_to=envelope.reply_to,
        received_at=received,
    )


async def write_commands(tx: Tx, core: Core, fresh: Sequence[Fresh], **link: str | None) -> None:
    """New commands, each at the end of its key's line. `link`: retry_of and original of a retry."""
    lanes = await _lanes(tx, {f.new.partition_key: f.new.platform for f in fresh})
    state = {key: dict(_lane_state(row)) for key, row in lanes.items()}
    rows = [_command_row(tx, core, f, lanes[f.new.partition_key]["id"], link) for f in fresh]
    await tx.many(
        "INSERT INTO commands (id, lane_id, source, message_id, idem_key, type, platform, partition_key, subject,"
        " correlation_id, causation_id, traceparent, tracestate, batch_id, reply_to, priority, state, arrival, due_at,"
        " not_before, expires_at, depends_on, data_sealed, risk, secret_output, received_at, notify_at, retry_of,"
        " original, first_risk) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,"
        " $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $24)",
        rows,
    )
    for f in fresh:
        if not _deferred(f, tx.now):
            queue_up(state[f.new.partition_key], f.id, f.new.envelope.priority, tx.now)
            tx.wake(f.new.platform)
        else:
            tx.wake("sweep")
    await tx.many(
        "UPDATE lanes SET head = $2, due_at = $3, priority = $4 WHERE id = $1",
        [(s["id"], s["head"], s["due_at"], s["priority"]) for s in state.values()],
    )
    await write_audit(tx, [(_admitted(f), f.id) for f in fresh], new_id)


def _lane_state(row: Row) -> Mapping[str, Any]:
    return {name: row[name] for name in ("id", "head", "due_at", "priority", "window_opened")}


def queue_up(lane: dict[str, Any], command: int, priority: int, now: float) -> None:
    """The last of its line: the head of an empty one, else it lends its priority to the head (rule 4.2)."""
    if lane["head"] is None:
        lane["head"], lane["priority"] = command, priority
        lane["due_at"] = now if lane["window_opened"] is None else None
    else:
        lane["priority"] = min(lane["priority"], priority)


LOCK_KEYS = (
    "SELECT id, key, head, due_at, priority, window_opened FROM lanes WHERE key = ANY($1::text[])"
    " ORDER BY id FOR UPDATE"
)


async def _lanes(tx: Tx, keys: Mapping[str, str]) -> dict[str, Row]:
    """The lines of these keys, locked. New ones are made under the admission lock only, and come last."""
    lanes = {row["key"]: row for row in await tx.rows(LOCK_KEYS, sorted(keys))}
    if missing := sorted(keys.keys() - lanes.keys()):
        await tx.many(
            "INSERT INTO lanes (key, platform) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING",
            [(key, keys[key]) for key in missing],
        )
        lanes |= {row["key"]: row for row in await tx.rows(LOCK_KEYS, missing)}
    return lanes


def _deferred(fresh: Fresh, now: float) -> bool:
    """It joins its key's line later, and holds nobody until then (rule 4.8)."""
    not_before = fresh.new.envelope.not_before
    return fresh.depends_on is not None or (not_before is not None and not_before > now)


def _command_row(
    tx: Tx, core: Core, fresh: Fresh, lane: int, link: Mapping[str, str | None]
) -> tuple[Any, ...]:
    e = fresh.new.envelope
    deferred = _deferred(fresh, tx.now)
    return (
        fresh.id,
        lane,
        e.source,
        e.id,
        e.idempotency_key,
        e.type,
        fresh.new.platform,
        fresh.new.partition_key,
        e.subject,
        e.correlation_id,
        e.causation_id,
        e.traceparent,
        e.tracestate,
        e.batch_id,
        fresh.reply_to,
        int(Priority(e.priority)),
        State.WAITING.value,
        None if deferred else fresh.id,
        tx.now,
        e.not_before,
        e.expires_at,
        fresh.depends_on,
        core.vault.seal(dict(e.data)),
        fresh.new.risk.value,
        fresh.new.secret_output,
        tx.now,
        tx.now + core.notify_after,
        link.get("retry_of"),
        link.get("original"),
    )


def _admitted(fresh: Fresh) -> AuditDraft:
    view = view_of_envelope(fresh.new.envelope, fresh.new.platform, fresh.new.partition_key)
    return AuditDraft("admitted", fresh.new.platform, "sender", command=view.command())
