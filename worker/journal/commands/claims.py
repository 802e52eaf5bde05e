"""Claims, the "sent" mark and settling (rules 5): each takes all that waits, in one commit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from worker.domain.effect import Risk
from worker.domain.evidence import reading_from
from worker.domain.lifecycle import EffectSeen, State
from worker.journal import pauses
from worker.journal.commands.endings import Ending, advance, finish, new_id, put_out, shown
from worker.journal.core import (
    Core,
    clean,
    clean_or_none,
    is_clean,
    opened,
    problem_text,
    sealed,
    shown_steps,
    view_of,
    write_audit,
)
from worker.journal.driver import Row, Tx
from worker.journal.port import Claim, EvidenceRow, Settlement, Window
from worker.journal.vault import KeyMissing
from worker.messages.errors import Problem
from worker.messages.events import AuditDraft, render, result


async def claim(tx: Tx, core: Core, platform: str, owner: str, limit: int, lease: float) -> list[Claim]:
    """Take up to `limit` heads that are due, for `lease` seconds. Nobody waits for a row another takes."""
    lanes = await tx.rows(
        "SELECT id, head, priority, window_command, window_opened, window_first FROM lanes"
        " WHERE platform = $1 AND due_at <= $2::float8 ORDER BY priority, due_at LIMIT $3 FOR UPDATE SKIP LOCKED",
        platform,
        tx.now,
        limit,
    )
    if not lanes:
        return []
    await tx.run("UPDATE lanes SET due_at = NULL WHERE id = ANY($1)", [lane["id"] for lane in lanes])
    rows = await tx.rows(
        "UPDATE commands SET state = CASE WHEN state = 'waiting' THEN 'running' ELSE state END,"  # noqa: S608 - our own words
        " attempts = attempts + CASE WHEN state = 'waiting' THEN 1 ELSE 0 END, owner = $2, fence = fence + 1,"
        " lease_until = $3::float8, started_at = COALESCE(started_at, $4::float8),"
        " sent_at = CASE WHEN state = 'waiting' THEN NULL ELSE sent_at END"
        " WHERE id = ANY($1) AND state IN ('waiting', 'in_doubt') AND owner IS NULL"
        f" AND (state = 'in_doubt' OR NOT EXISTS (SELECT 1 {pauses.HOLDING})) RETURNING *",
        [lane["head"] for lane in lanes],
        owner,
        tx.now + lease,
        tx.now,
    )
    windows = {lane["head"]: lane for lane in lanes}
    if len(rows) < len(lanes):  # a lane that was due without a reason would never be looked at again
        taken = {row["lane_id"] for row in rows}
        left = [lane for lane in lanes if lane["id"] not in taken]
        await pauses.pass_over(tx, platform, [lane["head"] for lane in left if lane["head"] is not None])
        await advance(tx, [lane["id"] for lane in left])
    # By the fence, not by `attempts`: an attempt that did not count may have left evidence too.
    evidence = await _evidence(tx, [row["id"] for row in rows if row["fence"] > 1])
    return [_claim(tx, core, row, windows[row["id"]], evidence.get(row["id"], ())) for row in rows]


async def tell_parked_row(tx: Tx, core: Core, row: Row, effect: EffectSeen, problem: Problem | None) -> None:
    draft = result(
        view_of(row),
        "parked",
        at=tx.now,
        effect=effect.value,
        error=problem,
        steps=shown_steps(core.vault, row),
        finished=False,
    )
    await put_out(tx, core, [(row["id"], render(draft, row["sequence"] + 1, core.source), None)])
    await tx.run("UPDATE commands SET sequence = sequence + 1, notify_at = NULL WHERE id = $1", row["id"])


async def _evidence(tx: Tx, ids: Sequence[int]) -> dict[int, list[Row]]:
    if not ids:
        return {}
    found: dict[int, list[Row]] = {}
    for row in await tx.rows("SELECT * FROM evidence WHERE command_id = ANY($1) ORDER BY id", list(ids)):
        found.setdefault(row["command_id"], []).append(row)
    return found


def _claim(tx: Tx, core: Core, row: Row, lane: Row, evidence: Sequence[Row]) -> Claim:
    data, steps, readings = _contents(core, row, evidence)
    window = None
    if row["state"] == State.IN_DOUBT:
        opened_at = lane["window_opened"]
        window = Window(
            opened_at if opened_at is not None else tx.now, lane["window_first"], bool(row["window_closed"])
        )
    return Claim(
        id=row["id"],
        lane=row["lane_id"],
        owner=row["owner"],
        fence=row["fence"],
        lease_until=row["lease_until"],
        now=tx.now,
        state=State(row["state"]),
        view=view_of(row),
        data=data,
        attempts=row["attempts"],
        lapsed=row["lapsed"],
        steps=steps,
        evidence=readings,
        window=window,
        unverified=bool(row["unverified"]),
        expires_at=row["expires_at"],
        failing_since=row["failing_since"],
        stopped_before=row["stopped_before"],
        message_id=row["message_id"],
        secret_output=bool(row["secret_output"]),
        priority=lane["priority"],
        risk=Risk(row["risk"]),
    )


Contents = tuple[dict[str, Any] | None, tuple[Mapping[str, Any], ...], tuple[EvidenceRow, ...]]


def _contents(core: Core, row: Row, evidence: Sequence[Row]) -> Contents:
    """Data, finished steps and readings. Without data when a key is missing: then the engine parks it,
    and it does not stop the others of the claim."""
    vault = core.vault
    try:
        return (
            vault.open(row["data_sealed"]),
            tuple(opened(vault, row["steps_sealed"]) or ()),
            tuple(_reading(core, kept) for kept in evidence),
        )
    except KeyMissing:
        return None, (), ()


def _reading(core: Core, row: Row) -> EvidenceRow:
    reading = reading_from(core.vault.open(row["reading_sealed"]))
    return EvidenceRow(row["step"], row["attempt"], row["kind"], reading, row["at"])


async def mark_sent(tx: Tx, core: Core, claims: Sequence[tuple[Claim, EvidenceRow | None]]) -> list[bool]:
    """The last commit before a call that must leave a trace. False: the claim has ended, do not call."""
    rows = await tx.rows(
        "SELECT id, fence, owner, lease_until FROM commands WHERE id = ANY($1) ORDER BY id FOR UPDATE",
        sorted(claim.id for claim, _ in claims),
    )
    alive = {row["id"]: row for row in rows if row["lease_until"] is not None and row["lease_until"] > tx.now}
    ours = {claim.id for claim, _ in claims if claim.id in alive and _still_ours(claim, alive[claim.id])}
    # The lease begins anew: reading the evidence has used part of it.
    leases: dict[float, list[int]] = {}
    for one, _ in claims:
        if one.id in ours:
            leases.setdefault(round(one.lease_until - one.now, 3), []).append(one.id)
    for lease, ids in leases.items():
        await tx.run(
            "UPDATE commands SET sent_at = $2::float8, lease_until = $3::float8 WHERE id = ANY($1)",
            sorted(ids),
            tx.now,
            tx.now + lease,
        )
    await _write_evidence(tx, core, [(c.id, row) for c, row in claims if row is not None and c.id in ours])
    return [claim.id in ours for claim, _ in claims]


async def renew(tx: Tx, claim: Claim) -> bool:
    """Its lease begins anew, and nothing is said to have been sent. False: it has ended."""
    changed = await tx.run(
        "UPDATE commands SET lease_until = $4::float8 WHERE id = $1 AND owner = $2 AND fence = $3"
        " AND lease_until > $5::float8",
        claim.id,
        claim.owner,
        claim.fence,
        tx.now + claim.lease_until - claim.now,
        tx.now,
    )
    return changed == 1


def _still_ours(claim: Claim, row: Row) -> bool:
    return bool(row["id"] == claim.id and row["fence"] == claim.fence and row["owner"] == claim.owner)


async def _write_evidence(tx: Tx, core: Core, rows: Sequence[tuple[int, EvidenceRow]]) -> None:
    await tx.many(
        "INSERT INTO evidence (command_id, step, attempt, kind, reading_sealed, at) VALUES ($1, $2, $3, $4, $5, $6)",
        [
            (c, r.step, r.attempt, r.kind, core.vault.seal(r.reading.as_data()), r.at or tx.now)
            for c, r in rows
        ],
    )


async def settle(tx: Tx, core: Core, settlements: Sequence[Settlement]) -> list[bool]:
    """Write how attempts ended. False: the claim was not ours any more, and nothing of it was written."""
    rows = {
        row["id"]: row
        for row in await tx.rows(  # in the order of lanes, like everybody who locks them
            "SELECT c.*, l.window_command AS lane_window FROM lanes l JOIN commands c ON c.lane_id = l.id"
            " WHERE c.id = ANY($1) ORDER BY l.id FOR UPDATE",
            sorted(s.claim.id for s in settlements),
        )
    }
    ours = [storable(s) for s in settlements if s.claim.id in rows and _still_ours(s.claim, rows[s.claim.id])]
    await _write_attempts(tx, ours)
    await _write_evidence(tx, core, [(s.claim.id, row) for s in ours for row in s.evidence])
    await open_windows(tx, [(s.claim.lane, s.claim.id, tx.now) for s in ours if s.open_window])
    await _release_windows(tx, [s for s in ours if s.releases_window], rows)
    await _go_on(tx, core, [s for s in ours if not s.state.final], rows)
    await _end(tx, core, [s for s in ours if s.state.final], rows)
    kept = {s.claim.id for s in ours}
    return [s.claim.id in kept for s in settlements]


def storable(s: Settlement) -> Settlement:
    """Texts that came from the platform, without what a database text cannot hold (\\u0000, half characters).

    An answer we have must not be lost to its own garbage.
    """
    exchange, problem = s.exchange, s.problem
    if exchange is not None and not (is_clean(exchange.request) and is_clean(exchange.answer)):
        exchange = replace(exchange, request=clean(exchange.request), answer=clean(exchange.answer))
        s = replace(s, exchange=exchange)
    if problem is not None:
        problem = replace(
            problem, message=clean(problem.message), platform_message=clean_or_none(problem.platform_message)
        )
        s = replace(s, problem=problem)
    return s


async def _write_attempts(tx: Tx, settlements: Iterable[Settlement]) -> None:
    await tx.many(
        "INSERT INTO attempts (command_id, number, endpoint, outcome, status, ms, request, answer, at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        [
            (s.claim.id, s.claim.attempts, x.endpoint, s.outcome, x.status, x.ms, x.request, x.answer, tx.now)
            for s in settlements
            if (x := s.exchange) is not None
        ],
    )


async def open_windows(tx: Tx, windows: Sequence[tuple[int, int, float]]) -> None:
    """(lane, command, from when): nothing but that command's reads goes out for the key until it closes."""
    await tx.many(
        "UPDATE lanes SET window_command = $2, window_opened = $3, window_first = NULL, window_last = NULL WHERE id = $1",
        windows,
    )
    await tx.many(
        "UPDATE commands SET window_closed = false WHERE id = $1", [(command,) for _, command, _ in windows]
    )
    if windows:
        tx.wake("control")


async def _go_on(tx: Tx, core: Core, settlements: Sequence[Settlement], rows: Mapping[int, Row]) -> None:
    """Not ended: waiting, in doubt or parked."""
    await tx.many(
        "UPDATE commands SET state = $2, due_at = $3, attempts = attempts - $4::int, effect = $5, steps_sealed = $6,"
        " risk = $7, problem = $8, unverified = $9, failing_since = $10::float8, stopped_before = $11, flags = $12,"
        " lapsed = CASE WHEN $13::boolean THEN 0 ELSE lapsed END, steps_left = $14, owner = NULL, lease_until = NULL"
        " WHERE id = $1",
        [_go_on_row(tx, core, s, rows[s.claim.id]) for s in settlements],
    )
    await _tell_parked(tx, core, [s for s in settlements if s.state is State.PARKED], rows)
    await write_audit(tx, [(d, s.claim.id) for s in settlements if (d := _changed(s)) is not None], new_id)
    await advance(tx, [s.claim.lane for s in settlements])


def _go_on_row(tx: Tx, core: Core, s: Settlement, row: Row) -> tuple[Any, ...]:
    failing = s.claim.failing_since
    if s.failing and failing is None:
        failing = tx.now
    return (
        s.claim.id,
        s.state.value,
        None if s.state is State.PARKED else tx.now + (s.due_in or 0.0),
        # A reading while in doubt is no attempt: there is none to give back.
        0 if s.counted or s.claim.state is State.IN_DOUBT else 1,
        s.effect.value,
        # One whose key is missing does not know its steps: they stay as they are.
        row["steps_sealed"]
        if s.claim.data is None
        else sealed(core.vault, [dict(p) for p in s.steps] or None),
        row["risk"] if s.risk is None else s.risk.value,
        problem_text(s.problem),
        s.unverified,
        failing if s.failing else (None if s.counted else s.claim.failing_since),
        s.stopped_before if s.failing and s.claim.failing_since is None else s.claim.stopped_before,
        _flags(row, s),
        s.counted,
        row["steps_left"] if s.left is None else json.dumps(s.left),
    )


async def flag(tx: Tx, claim: Claim, word: str) -> None:
    """The claim may have ended, and the command may be another process's: the word goes into its result."""
    rows = await tx.rows("SELECT flags FROM commands WHERE id = $1 FOR UPDATE", claim.id)
    for row in rows:
        flags = " ".join(sorted({*row["flags"].split(), word}))
        await tx.run("UPDATE commands SET flags = $2 WHERE id = $1", claim.id, flags)
    draft = AuditDraft(word, claim.view.platform, "worker", command=claim.view.command())
    await write_audit(tx, [(draft, claim.id)], new_id)


def _flags(row: Row, s: Settlement) -> str:
    return " ".join(sorted({*row["flags"].split(), *s.flagged}))


def _changed(s: Settlement) -> AuditDraft | None:
    """A retry is no change; falling into doubt, being parked and a step that finished are."""
    finished_a_step = len(s.steps) > len(s.claim.steps)
    if s.state is State.WAITING and not finished_a_step:
        return None
    what = "step_finished" if s.state is State.WAITING else s.state.value
    if s.state is State.IN_DOUBT and s.claim.state is State.IN_DOUBT:
        return None
    details: dict[str, Any] = {
        "attempt": s.claim.attempts,
        "outcome": s.outcome,
        "steps": shown(s.steps),
        **s.details,
    }
    if s.problem is not None:
        details |= {"code": s.problem.code.value, "message": s.problem.message}
    view = s.claim.view
    return AuditDraft(what, view.platform, "worker", command=view.command(), details=details)


async def _tell_parked(tx: Tx, core: Core, parked: Sequence[Settlement], rows: Mapping[int, Row]) -> None:
    events = []
    for s in parked:
        draft = result(
            s.claim.view,
            "parked",
            at=tx.now,
            effect=s.effect.value,
            error=s.problem,
            steps=shown(s.steps),
            finished=False,
        )
        events.append((s.claim.id, render(draft, rows[s.claim.id]["sequence"] + 1, core.source), None))
    await tx.many(
        "UPDATE commands SET sequence = sequence + 1, notify_at = NULL WHERE id = $1",
        [(s.claim.id,) for s in parked],
    )
    await put_out(tx, core, events)


async def _end(tx: Tx, core: Core, settlements: Sequence[Settlement], rows: Mapping[int, Row]) -> None:
    endings = [
        Ending(
            row=rows[s.claim.id],
            state=s.state,
            effect=s.effect,
            output=s.output,
            secret_output=s.secret_output,
            problem=s.problem,
            steps=s.steps,
            details=s.details,
            flags=s.flagged,
        )
        for s in settlements
    ]
    await finish(tx, core, endings)


async def _release_windows(tx: Tx, settlements: Sequence[Settlement], rows: Mapping[int, Row]) -> None:
    """The evidence proves that our own call made the change: nothing of it can come late (rule 3.3)."""
    await tx.many(
        "UPDATE lanes SET window_command = NULL, window_opened = NULL, window_first = NULL, window_last = NULL WHERE id = $1",
        [(s.claim.lane,) for s in settlements if rows[s.claim.id]["lane_window"] == s.claim.id],
    )
