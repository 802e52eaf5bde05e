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
from worker.messages.events import AuditDraft, Draft, Event, View, render, result, rfc3339


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
    flags: tuple[str, ...] = ()


def new_id() -> str:
    return str(uuid.uuid4())


def shown(steps: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": step["name"], "status": step["status"]} for step in steps]


async def finish(tx: Tx, core: Core, endings: Sequence[Ending]) -> None:
    """Write the ends of commands whose lanes the caller has locked, and let the next ones go."""
    if not endings:
        return
    rendered = [_event(core, ending, tx.now) for ending in endings]
    bodies = [core.vault.seal_bytes(event.body) for event in rendered]
    await _close_commands(tx, core, endings)
    await _close_identities(tx, endings, rendered, bodies)
    await put_out(
        tx,
        core,
        [(e.row["id"], event, body) for e, event, body in zip(endings, rendered, bodies, strict=True)],
    )
    await _answer_duplicates(tx, core, endings)
    await _wake_dependents(tx, endings)
    await write_audit(tx, [(_audit(e, tx.now), e.row["id"]) for e in endings], new_id)
    await advance(tx, {e.row["lane_id"] for e in endings})


def _event(core: Core, ending: Ending, now: float) -> Event:
    return render(_draft(ending, view_of(ending.row), now), ending.row["sequence"] + 1, core.source)


def _draft(ending: Ending, view: View, now: float, **more: Any) -> Draft:
    if ending.flags:
        more["flags"] = list(ending.flags)
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
        " notify_at = NULL, window_closed = false WHERE id = $1",
        [
            (
                e.row["id"],
                e.state.value,
                e.effect.value,
                sealed(core.vault, None if e.output is None else dict(e.output)),
                problem_text(e.problem),
                sealed(core.vault, [dict(s) for s in e.steps] or None),
                " ".join(e.flags),
                tx.now,
            )
            for e in endings
        ],
    )


async def _close_identities(
    tx: Tx, endings: Sequence[Ending], events: Sequence[Event], bodies: Sequence[str]
) -> None:
    await tx.many(
        "UPDATE identities SET status = $2, effect = $3, event_id = $4, routing_key = $5, ending_sealed = $6"
        " WHERE id = $1",
        [
            (e.row["id"], e.state.value, e.effect.value, event.id, event.routing_key, body)
            for e, event, body in zip(endings, events, bodies, strict=True)
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


async def _answer_duplicates(tx: Tx, core: Core, endings: Sequence[Ending]) -> None:
    """Messages that came meanwhile under other ids for the same key get the stored result (rule 4.6)."""
    by_command = {e.row["id"]: e for e in endings}
    waiting = await tx.rows(
        "SELECT id, command_id, message_id, reply_to FROM identities"
        " WHERE command_id = ANY($1) AND status IS NULL AND role = 'duplicate'",
        list(by_command),
    )
    for row in waiting:
        ending = by_command[row["command_id"]]
        original = view_of(ending.row)
        view = replace(original, id=row["message_id"], reply_to=row["reply_to"])
        event = render(
            _draft(ending, view, tx.now, duplicate_of=original.id), ending.row["sequence"] + 1, core.source
        )
        await close_identity(tx, core, row["id"], ending.state.value, ending.effect.value, event)


async def _wake_dependents(tx: Tx, endings: Sequence[Ending]) -> None:
    """Those that wait for one of these are joined, or cancelled, by the next sweep (rule 4.8)."""
    waiting = await tx.rows(
        "SELECT id FROM commands WHERE depends_on = ANY($1) AND finished_at IS NULL LIMIT 1",
        [e.row["id"] for e in endings],
    )
    if waiting:
        tx.wake("sweep")


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


def _audit(ending: Ending, now: float) -> AuditDraft:
    row = ending.row
    timeline = {
        "status": ending.state.value,
        "effect": ending.effect.value,
        "code": ending.problem.code.value if ending.problem else None,
        "attempts": row["attempts"],
        "received_at": rfc3339(row["received_at"]),
        "started_at": rfc3339(row["started_at"]),
        "finished_at": rfc3339(now),
        "steps": shown(ending.steps),
    }
    if ending.flags:
        timeline["flags"] = list(ending.flags)
    return AuditDraft(
        what="ended",
        platform=row["platform"],
        actor=ending.actor,
        reason=ending.reason,
        command=view_of(row).command(),
        details={**timeline, **ending.details},
    )


async def advance(tx: Tx, lanes: Iterable[int]) -> None:
    """Set each lane's head, due time and inherited priority anew from what stands in it (rule 4.2)."""
    wanted = sorted(set(lanes))
    first = await tx.rows(
        "SELECT lane_id, MIN(arrival) AS arrival, MIN(priority) AS priority FROM commands"
        " WHERE lane_id = ANY($1) AND arrival IS NOT NULL AND finished_at IS NULL GROUP BY lane_id",
        wanted,
    )
    arrivals = [row["arrival"] for row in first]
    heads = {}
    if arrivals:
        heads = {
            row["lane_id"]: row
            for row in await tx.rows(
                "SELECT id, lane_id, due_at, state, owner FROM commands"
                " WHERE lane_id = ANY($1) AND arrival = ANY($2) AND finished_at IS NULL",
                wanted,
                arrivals,
            )
        }
    ranks = {row["lane_id"]: row["priority"] for row in first}
    windows = await tx.rows(
        "SELECT id, platform, window_command, window_opened FROM lanes WHERE id = ANY($1)", wanted
    )
    updates = []
    for lane in windows:
        head = heads.get(lane["id"])
        due = None if head is None else _due(lane, head)
        updates.append((lane["id"], None if head is None else head["id"], due, ranks.get(lane["id"], 1)))
        if due is not None and due <= tx.now:
            tx.wake(lane["platform"])
    await tx.many("UPDATE lanes SET head = $2, due_at = $3, priority = $4 WHERE id = $1", updates)


def _due(lane: Row, head: Row) -> float | None:
    """When the head may be claimed. While a window is open only its own command may read (rule 3.1)."""
    if head["owner"] is not None or head["state"] not in (State.WAITING, State.IN_DOUBT):
        return None
    if lane["window_opened"] is not None and (
        lane["window_command"] != head["id"] or head["state"] != State.IN_DOUBT
    ):
        return None  # its next step, or its retry, waits like everybody else
    due: float | None = head["due_at"]
    return due


async def lock_lanes(tx: Tx, ids: Iterable[int]) -> dict[int, Row]:
    """In sorted order, so that two batches cannot wait for each other."""
    rows = await tx.rows(
        "SELECT id, key, platform, head, due_at, priority, window_command, window_opened, window_first, window_last"
        " FROM lanes WHERE id = ANY($1) ORDER BY id FOR UPDATE",
        sorted(set(ids)),
    )
    return {row["id"]: row for row in rows}
