"""How a command ends, whoever ends it: its result, its identity, those that waited for the same answer,
and the next one of its key. All in the commit of the caller.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from worker.domain.lifecycle import EffectSeen, State
from worker.journal.core import RESULTS, Core, problem_text, sealed, view_of, write_audit
from worker.journal.driver import Row, Tx
from worker.messages.errors import Problem
from worker.messages.events import AuditDraft, Draft, Event, View, render, result


@dataclass(frozen=True, slots=True)
class Ending:
    """One command's end. `row` is its row of `commands`."""

    row: Row
    state: State
    effect: EffectSeen = EffectSeen.NONE
    output: Mapping[str, Any] | None = None
    secret_output: Mapping[str, Any] | None = None
    problem: Problem | None = None
    steps: Sequence[Mapping[str, Any]] = ()
    actor: str = "worker"
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()  # new ones

    @property
    def all_flags(self) -> list[str]:
        """What was found out before it is said whoever ends the command (rule 5.2)."""
        return sorted({*self.row["flags"].split(), *self.flags})


def new_id() -> str:
    return str(uuid.uuid4())


def shown(steps: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": step["name"], "status": step["status"]} for step in steps]


@dataclass(frozen=True, slots=True)
class Told:
    """An ending, the event that tells of it, and that event as it is stored."""

    ending: Ending
    view: View
    draft: Draft
    event: Event
    body: str


async def finish(tx: Tx, core: Core, endings: Sequence[Ending]) -> None:
    """Write the ends of commands whose lanes the caller has locked, and let the next ones go."""
    if not endings:
        return
    told = [_told(core, ending, tx.now) for ending in endings]
    await _close_commands(tx, core, endings)
    await _close_identities(tx, told)
    await put_out(tx, core, [(t.ending.row["id"], t.event, t.body) for t in told])
    await _answer_whoever_waits(tx, core, told)
    await write_audit(tx, [(_audit(t), t.ending.row["id"]) for t in told], new_id)
    await advance(tx, {e.row["lane_id"] for e in endings})


def _told(core: Core, ending: Ending, now: float) -> Told:
    view = view_of(ending.row)
    draft = _draft(ending, view, now)
    event = render(draft, ending.row["sequence"] + 1, core.source)
    return Told(ending, view, draft, event, core.vault.seal_bytes(event.body))


def _draft(ending: Ending, view: View, now: float, **more: Any) -> Draft:
    if ending.all_flags:
        more["flags"] = ending.all_flags
    return result(
        view,
        ending.state.value,
        at=now,
        effect=ending.effect.value,
        output=ending.output,
        error=ending.problem,
        steps=shown(ending.steps),
        secret_output=ending.secret_output,
        **more,
    )


async def _close_commands(tx: Tx, core: Core, endings: Sequence[Ending]) -> None:
    await tx.many(
        "UPDATE commands SET state = $2, effect = $3, output_sealed = $4, problem = $5, steps_sealed = $6,"
        " flags = $7, finished_at = $8::float8, sequence = sequence + 1, owner = NULL, lease_until = NULL, due_at = NULL,"
        " notify_at = NULL, window_closed = false, paused_for = NULL, paused_at = NULL WHERE id = $1",
        [
            (
                e.row["id"],
                e.state.value,
                e.effect.value,
                sealed(core.vault, None if e.output is None else dict(e.output)),
                problem_text(e.problem),
                sealed(core.vault, [dict(s) for s in e.steps] or None),
                " ".join(e.all_flags),
                tx.now,
            )
            for e in endings
        ],
    )


async def _close_identities(tx: Tx, told: Sequence[Told]) -> None:
    await tx.many(
        "UPDATE identities SET status = $2, effect = $3, event_id = $4, routing_key = $5, ending_sealed = $6"
        " WHERE id = $1",
        [
            (
                t.ending.row["id"],
                t.ending.state.value,
                t.ending.effect.value,
                t.event.id,
                t.event.routing_key,
                t.body,
            )
            for t in told
        ],
    )


async def put_out(tx: Tx, core: Core, events: Sequence[tuple[int | None, Event, str | None]]) -> None:
    """Events into the outbox: to everybody, and to `reply_to` where the sender named one."""
    rows = []
    for command, event, body in events:
        seal = body or core.vault.seal_bytes(event.body)
        common = (command, event.id, event.type)
        rows.append((*common, RESULTS, event.routing_key, event.correlation_id, seal, tx.now))
        if event.reply_to:
            private = seal if event.reply_body is None else core.vault.seal_bytes(event.reply_body)
            rows.append((*common, "", event.reply_to, event.correlation_id, private, tx.now))
    await tx.many(
        "INSERT INTO outbox (command_id, event_id, type, exchange, routing_key, correlation_id, body_sealed, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        rows,
    )
    if rows:
        tx.wake("relay")


async def _answer_whoever_waits(tx: Tx, core: Core, told: Sequence[Told]) -> None:
    """Messages that came meanwhile under other ids for the same key get the stored result (rule 4.6).

    Those that depend on one of these are joined, or cancelled, by the next sweep (rule 4.8).
    """
    by_command = {t.ending.row["id"]: t for t in told}
    waiting = await tx.rows(
        "SELECT id, command_id, message_id, reply_to FROM identities"
        " WHERE command_id = ANY($1) AND status IS NULL AND role = 'duplicate' UNION ALL"
        " SELECT 0, depends_on, '', NULL FROM (SELECT depends_on FROM commands"
        " WHERE depends_on = ANY($1) AND finished_at IS NULL LIMIT 1) dependents",
        list(by_command),
    )
    for row in waiting:
        if row["id"] == 0:
            tx.wake("sweep")
        else:
            await _answer_duplicate(tx, core, row, by_command[row["command_id"]])


async def _answer_duplicate(tx: Tx, core: Core, row: Row, told: Told) -> None:
    ending = told.ending
    view = replace(told.view, id=row["message_id"], reply_to=row["reply_to"])
    draft = _draft(ending, view, tx.now, duplicate_of=told.view.id)
    event = render(draft, ending.row["sequence"] + 1, core.source)
    await close_identity(tx, core, row["id"], ending.state.value, ending.effect.value, event)


async def close_identity(tx: Tx, core: Core, identity: int, status: str, effect: str, event: Event) -> None:
    body = core.vault.seal_bytes(event.body)
    await tx.run(
        "UPDATE identities SET status = $2, effect = $3, event_id = $4, routing_key = $5, ending_sealed = $6"
        " WHERE id = $1",
        identity,
        status,
        effect,
        event.id,
        event.routing_key,
        body,
    )
    await put_out(tx, core, [(None, event, body)])


def _audit(told: Told) -> AuditDraft:
    ending, data = told.ending, told.draft.data
    timeline = {
        "status": ending.state.value,
        "effect": ending.effect.value,
        "code": ending.problem.code.value if ending.problem else None,
        **{name: data[name] for name in ("attempts", "received_at", "started_at", "finished_at", "steps")},
    }
    if ending.all_flags:
        timeline["flags"] = ending.all_flags
    return AuditDraft(
        what="ended",
        platform=told.view.platform,
        actor=ending.actor,
        reason=ending.reason,
        command=data["command"],
        details={**timeline, **ending.details},
    )


async def advance(tx: Tx, lanes: Iterable[int]) -> None:
    """Set each lane's head, due time and inherited priority anew from what stands in it (rule 4.2).

    While a window is open its own command may read, and nothing else goes out for the key (rule 3.1): its next
    step, or its retry, waits like everybody else.
    """
    due = await tx.rows(
        "UPDATE lanes SET head = line.head, priority = COALESCE(line.priority, 1), due_at = CASE"
        " WHEN c.id IS NULL OR c.owner IS NOT NULL OR c.state NOT IN ('waiting', 'in_doubt') THEN NULL"
        " WHEN c.paused_for IS NOT NULL THEN NULL"
        " WHEN lanes.window_opened IS NOT NULL AND (lanes.window_command <> c.id OR c.state <> 'in_doubt') THEN NULL"
        " ELSE c.due_at END FROM (SELECT l.id,"
        " (SELECT f.id FROM commands f WHERE f.lane_id = l.id AND f.finished_at IS NULL AND f.arrival IS NOT NULL"
        " ORDER BY f.arrival LIMIT 1) AS head,"
        " (SELECT MIN(p.priority) FROM commands p WHERE p.lane_id = l.id AND p.finished_at IS NULL"
        " AND p.arrival IS NOT NULL) AS priority FROM lanes l WHERE l.id = ANY($1)) line"
        " LEFT JOIN commands c ON c.id = line.head WHERE lanes.id = line.id"
        " RETURNING lanes.platform AS platform, lanes.due_at AS due_at",
        sorted(set(lanes)),
    )
    for lane in due:
        if lane["due_at"] is not None and lane["due_at"] <= tx.now:
            tx.wake(lane["platform"])


async def lock_lanes(tx: Tx, ids: Iterable[int]) -> dict[int, Row]:
    """In sorted order, so that two batches cannot wait for each other."""
    rows = await tx.rows(
        "SELECT id, key, platform, head, due_at, priority, window_command, window_opened, window_first, window_last"
        " FROM lanes WHERE id = ANY($1) ORDER BY id FOR UPDATE",
        sorted(set(ids)),
    )
    return {row["id"]: row for row in rows}
