"""What people do to commands (rules 8), and what they look at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from worker.domain.effect import Risk
from worker.domain.lifecycle import RESOLVED, UNNAMED, EffectSeen, State
from worker.journal.commands import chain
from worker.journal.commands.admission import content, untouched
from worker.journal.commands.endings import Ending, advance, finish, lock_lanes, new_id, shown
from worker.journal.commands.newcomers import Fresh, write_commands
from worker.journal.core import Core, opened, problem_text, view_of, write_audit
from worker.journal.driver import Row, Tx
from worker.journal.port import NewCommand
from worker.journal.vault import pair_hash
from worker.messages.envelope import Envelope
from worker.messages.errors import Code, Problem
from worker.messages.events import AuditDraft, canonical


class ActRefused(Exception):
    """What a person asked for is not possible; the text says why and what is."""


def _shown(row: Row) -> dict[str, Any]:
    names = (
        "id", "message_id", "source", "idem_key", "type", "platform", "partition_key", "state", "effect", "attempts",
        "received_at", "started_at", "finished_at", "due_at", "batch_id", "retry_of", "archived", "flags", "window_closed",
    )  # fmt: skip
    told = {name: row[name] for name in names}
    return told | {"problem": json.loads(row["problem"]) if row["problem"] else None}


async def listing(
    tx: Tx, filters: Mapping[str, Any], limit: int, before: int | None = None
) -> list[dict[str, Any]]:
    """Newest first. Filters: state, platform, type, partition_key, source, batch_id, archived."""
    allowed = ("state", "platform", "type", "partition_key", "source", "batch_id", "message_id", "idem_key")
    args: list[Any] = [limit, before if before is not None else 1 << 62]
    where = "id < $2"
    for name in allowed:
        if (value := filters.get(name)) is not None:
            args.append(value)
            where += f" AND {name} = ${len(args)}"
    if not filters.get("archived"):
        where += " AND archived = false"
    rows = await tx.rows(f"SELECT * FROM commands WHERE {where} ORDER BY id DESC LIMIT $1", *args)  # noqa: S608
    return [_shown(row) for row in rows]


async def find(tx: Tx, name: str) -> Row:
    """By the sender's id, or by the journal's number, which `#` before it makes certain.

    Raises ActRefused when that is not exactly one: an act must not hit another command than was meant.
    """
    certain = name.removeprefix("#")
    number = int(certain) if certain.isdecimal() and len(certain) < 19 else -1
    id_ = "" if name.startswith("#") and number >= 0 else name
    rows = await tx.rows(
        "SELECT * FROM commands WHERE id = $1 OR message_id = $2 ORDER BY id DESC LIMIT 3", number, id_
    )
    if not rows:
        raise ActRefused(f"no command {name!r}: give the number or the id that `worker commands list` shows")
    if len(rows) > 1:
        numbers = ", ".join(f"#{row['id']}" for row in rows)
        raise ActRefused(f"several commands go by {name!r}: give the number, one of {numbers}")
    return rows[0]


async def show(tx: Tx, core: Core, name: str) -> dict[str, Any]:
    """One command with its attempts, readings, events, records, and its neighbours in the line. No secrets."""
    row = await find(tx, name)
    number = row["id"]
    attempts = await tx.rows("SELECT * FROM attempts WHERE command_id = $1 ORDER BY id", number)
    readings = await tx.rows("SELECT * FROM evidence WHERE command_id = $1 ORDER BY id", number)
    events = await tx.rows("SELECT * FROM outbox WHERE command_id = $1 ORDER BY id", number)
    records = await tx.rows("SELECT record, number FROM audit WHERE command_id = $1 ORDER BY id", number)
    [lane] = await tx.rows("SELECT * FROM lanes WHERE id = $1", row["lane_id"])
    line = await tx.rows(
        "SELECT id, message_id, state FROM commands WHERE lane_id = $1 AND finished_at IS NULL AND arrival IS NOT NULL"
        " ORDER BY arrival LIMIT 50",
        row["lane_id"],
    )
    fields = ("number", "endpoint", "outcome", "status", "ms", "request", "answer", "at")
    return _shown(row) | {
        # Not what they gave: that may be a whole record, and a secret of a command that gives one.
        "steps": shown(opened(core.vault, row["steps_sealed"]) or ()),
        "steps_left": _after_this(row),
        "output": opened(core.vault, row["output_sealed"]),
        "attempts_made": [{name: a[name] for name in fields} for a in attempts],
        "readings": [
            {"step": r["step"], "attempt": r["attempt"], "kind": r["kind"], "at": r["at"]}
            | {"reading": core.vault.open(r["reading_sealed"])}
            for r in readings
        ],
        "events": [
            {
                "event_id": e["event_id"],
                "type": e["type"],
                "exchange": e["exchange"],
                "published_at": e["published_at"],
            }
            for e in events
        ],
        "records": [json.loads(r["record"]) | {"number": r["number"]} for r in records],
        "line": [{"id": c["id"], "message_id": c["message_id"], "state": c["state"]} for c in line],
        "window": {name: lane[name] for name in ("window_command", "window_opened", "window_first")},
    }


async def cancel(tx: Tx, core: Core, name: str, actor: str, reason: str) -> dict[str, Any]:
    """A waiting one with nothing done, or a parked one whose effect is known.

    With a finished step it ends `rejected` with `partly_done` (rule 1): what was done has to be in the answer.
    """
    row = await _locked(tx, name)
    parked = row["state"] == State.PARKED and row["effect"] != EffectSeen.UNKNOWN and not row["unverified"]
    steps: Sequence[Mapping[str, Any]] = opened(core.vault, row["steps_sealed"]) or ()
    # Resolved, and nobody ran the rest yet: nobody may ever, where its platform has left the settings.
    said = row["state"] == State.WAITING and bool(steps) and steps[-1]["name"] == UNNAMED
    if not (untouched(row) or parked or said):
        raise ActRefused(_cannot(row, "cancelled"))
    if steps:
        ending = _given_up(row, steps, actor, reason)
    else:
        problem = Problem(Code.CANCELLED_BY_OPERATOR, f"cancelled by {actor}: {reason}")
        ending = Ending(row, State.CANCELLED, problem=problem, actor=actor, reason=reason)
    await finish(tx, core, [ending])
    return {"id": row["id"], "state": ending.state.value}


def _given_up(row: Row, steps: Sequence[Mapping[str, Any]], actor: str, reason: str) -> Ending:
    done = ", ".join(step["name"] for step in steps)
    return Ending(
        row,
        State.REJECTED,
        effect=effect_of(steps),
        problem=Problem(Code.PARTLY_DONE, f"given up by {actor} after {done}: {reason}"),
        steps=steps,
        actor=actor,
        reason=reason,
    )


async def resolve(
    tx: Tx, core: Core, name: str, applied: bool, actor: str, reason: str, waive: bool = False
) -> dict[str, Any]:
    """A person says what took effect (rule 8.1), after the window or waiving it."""
    row = await _locked(tx, name)
    if row["state"] not in (State.PARKED, State.IN_DOUBT) or row["effect"] != EffectSeen.UNKNOWN:
        raise ActRefused(
            f"command {row['id']} is {row['state']} with effect {row['effect']}: nothing is to be resolved"
        )
    [lane] = await tx.rows("SELECT * FROM lanes WHERE id = $1", row["lane_id"])
    ours = lane["window_command"] == row["id"]
    # After a restore several of one line may be in doubt: none of them is decided before its window has ended.
    open_window = lane["window_opened"] is not None and (ours or not row["window_closed"])
    if open_window and not waive:
        raise ActRefused(
            f"the settle window of command {row['id']} has not ended: its call may still take effect."
            " Wait for it, or waive it (--waive-window) if you know that the platform will not apply it any more"
        )
    if open_window and ours:
        await tx.run(
            "UPDATE lanes SET window_command = NULL, window_opened = NULL, window_first = NULL, window_last = NULL"
            " WHERE id = $1",
            lane["id"],
        )
    problem = Problem(
        Code.RESOLVED_BY_OPERATOR, f"{actor} decided that it took {'' if applied else 'no '}effect: {reason}"
    )
    if applied and not _is_the_whole(row):
        return await _step_resolved(tx, core, row, problem, actor, reason, waived=open_window)
    details = {"applied": applied, "window_waived": open_window}
    ending = Ending(
        row,
        State.SUCCEEDED if applied else State.REJECTED,
        effect=EffectSeen.APPLIED if applied else _steps_effect(core, row),
        problem=problem,
        steps=opened(core.vault, row["steps_sealed"]) or (),
        actor=actor,
        reason=reason,
        details=details,
        flags=("window_waived",) if open_window else (),
    )
    await finish(tx, core, [ending])
    return {"id": row["id"], "state": ending.state.value, "effect": ending.effect.value}


def _is_the_whole(row: Row) -> bool:
    """The call in doubt is all of the command: one of several steps is finished by a worker, who knows them."""
    left = json.loads(row["steps_left"] or "null")
    return left == [] or (left is not None and len(left) == 1 and row["steps_sealed"] is None)


def _after_this(row: Row) -> list[str] | None:
    """Names of the steps after the one under way; None: no worker has lived to say."""
    left = json.loads(row["steps_left"] or "null")
    return None if left is None else left[1:]


async def _step_resolved(
    tx: Tx, core: Core, row: Row, problem: Problem, actor: str, reason: str, *, waived: bool
) -> dict[str, Any]:
    """The step in doubt took effect, and the command goes on with those after it (rule 1)."""
    left = _after_this(row)
    step = {"name": UNNAMED, "status": RESOLVED, "output": {}, "changes": True, "said": problem.message}
    await tx.run(
        # No call is under way any more: who dies before the next step has begun leaves no doubt.
        "UPDATE commands SET state = 'waiting', due_at = $2::float8, lapsed = 0, failing_since = NULL, effect = $3,"
        " problem = $4, steps_sealed = $5, flags = $6, unverified = false, window_closed = false, risk = $7,"
        " sent_at = NULL, owner = NULL, lease_until = NULL WHERE id = $1",
        row["id"],
        tx.now,
        EffectSeen.APPLIED.value,
        problem_text(problem),
        core.vault.seal([*(opened(core.vault, row["steps_sealed"]) or ()), step]),
        " ".join(sorted({*row["flags"].split(), *(["window_waived"] if waived else [])})),
        Risk.NONE.value,
    )
    await advance(tx, [row["lane_id"]])
    await _record(tx, "resolved", row, actor, reason, applied=True, window_waived=waived, steps_left=left)
    return {
        "id": row["id"],
        "state": State.WAITING.value,
        "effect": EffectSeen.APPLIED.value,
        "steps_left": left,
    }


def _steps_effect(core: Core, row: Row) -> EffectSeen:
    return effect_of(opened(core.vault, row["steps_sealed"]) or ())


def effect_of(steps: Sequence[Mapping[str, Any]]) -> EffectSeen:
    """A step that only read has changed nothing."""
    return EffectSeen.APPLIED if any(step.get("changes", True) for step in steps) else EffectSeen.NONE


async def retry(
    tx: Tx,
    core: Core,
    name: str,
    actor: str,
    reason: str,
    data: Mapping[str, Any] | None = None,
    dependents: bool = False,
) -> dict[str, Any]:
    """A parked one goes on; a final one is made anew, linked, and takes over its key (rule 8.2).

    `dependents`: those that ended because this one did, or wait for it, come along, each with its own data.
    """
    await tx.lock("admission")
    along = await chain.dependents(tx, (await find(tx, name))["id"]) if dependents else []
    if len(along) > chain.MOST:
        raise ActRefused(
            f"more than {chain.MOST} commands depend on it: retry it without them, and then them, by a filter"
        )
    row = await _locked(tx, name, [one.row["lane_id"] for one in along])
    if row["effect"] == EffectSeen.UNKNOWN:
        raise ActRefused(
            f"what command {row['id']} did is unknown: `worker commands resolve --applied|--not-applied` comes first"
        )
    if row["state"] == State.PARKED and data is None:
        return await _go_on(tx, row, actor, reason)
    if row["state"] == State.PARKED:
        raise ActRefused(f"command {row['id']} is parked: cancel it first, then edit and retry it")
    if not State(row["state"]).final:
        raise ActRefused(f"command {row['id']} is {row['state']}: it runs by itself")
    done = await _again(tx, core, row, actor, reason, data)
    if dependents:
        done["dependents"] = await _bring(tx, core, row, done, actor, reason)
    return done


async def _bring(
    tx: Tx, core: Core, parent: Row, made: Mapping[str, Any], actor: str, reason: str
) -> list[dict[str, Any]]:
    """Looked up again under the locks of their lines: one may have been cancelled, or retried, meanwhile."""
    became = {parent["id"]: int(made["id"])}
    told = []
    for one in await chain.dependents(tx, parent["id"]):
        line = one.shown()
        after = became.get(one.row["depends_on"])
        if one.why is None and after is not None:
            if one.row["finished_at"] is None:
                await tx.run("UPDATE commands SET depends_on = $2 WHERE id = $1", one.row["id"], after)
                await _record(tx, "edited", one.row, actor, reason, waits_for=after)
                line["became"] = one.row["id"]
            elif (newer := await chain.holder(tx, one.row)) is not None:
                line["why"] = f"command {newer} holds its key already"
            else:
                new = await _make(tx, core, one.row, None, after)
                await _record(tx, "retried", one.row, actor, reason, new=new["message_id"], waits_for=after)
                line["became"] = became[one.row["id"]] = new["id"]
        told.append(line)
    return told


async def _go_on(tx: Tx, row: Row, actor: str, reason: str) -> dict[str, Any]:
    await tx.run(
        "UPDATE commands SET state = 'waiting', due_at = $2, lapsed = 0, failing_since = NULL WHERE id = $1",
        row["id"],
        tx.now,
    )
    await advance(tx, [row["lane_id"]])
    await _record(tx, "retried", row, actor, reason)
    return {"id": row["id"], "state": State.WAITING.value}


async def _again(
    tx: Tx, core: Core, row: Row, actor: str, reason: str, data: Mapping[str, Any] | None
) -> dict[str, Any]:
    if (holder := await chain.holder(tx, row)) is not None:
        raise ActRefused(f"command {holder} holds the same key already: retry or look at that one")
    if row["effect"] == EffectSeen.APPLIED and row["state"] == State.SUCCEEDED:
        raise ActRefused(f"command {row['id']} succeeded: send a new command if it shall happen once more")
    if row["effect"] == EffectSeen.APPLIED:
        raise ActRefused(
            f"some steps of command {row['id']} took effect, and a retry would begin with the first one again:"
            " look at its steps and put the rest right with single commands"
        )
    made = await _make(tx, core, row, data, None)
    await _record(tx, "edited" if data is not None else "retried", row, actor, reason, new=made["message_id"])
    return made


def is_ahead(row: Row, now: float) -> bool:
    """It was ordered for a time that has not come: a restore parks such a one as well."""
    return row["not_before"] is not None and row["not_before"] > now


async def _make(
    tx: Tx, core: Core, row: Row, data: Mapping[str, Any] | None, depends_on: int | None
) -> dict[str, Any]:
    """The same order as a new command. `depends_on`: of the command whose success it waits for."""
    sent = core.vault.open(row["data_sealed"])
    envelope = Envelope(
        id=new_id(),
        source=row["source"],
        type=row["type"],
        data=dict(data) if data is not None else sent,
        subject=row["subject"],
        idempotency_key=row["idem_key"],
        correlation_id=row["correlation_id"],
        causation_id=row["message_id"],
        traceparent=row["traceparent"],
        tracestate=row["tracestate"],
        batch_id=row["batch_id"],
        not_before=row["not_before"] if depends_on is not None or is_ahead(row, tx.now) else None,
        priority=row["priority"],
        reply_to=row["reply_to"],
    )
    [number] = await tx.numbers(1, "admission")
    new = NewCommand(
        envelope, row["platform"], row["partition_key"], Risk(row["first_risk"]), bool(row["secret_output"])
    )
    mac = core.vault.content_mac(content(envelope))
    await tx.many(
        "INSERT INTO identities (id, message_hash, key_hash, source, message_id, idem_key, content_mac, role,"
        " command_id, reply_to, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 'command', $8, $9, $10)",
        [(
            number, pair_hash(row["source"], envelope.id), pair_hash(row["source"], row["idem_key"]), row["source"],
            envelope.id, row["idem_key"], mac, number, row["reply_to"], tx.now,
        )],
    )  # fmt: skip
    original = (
        json.loads(row["original"])
        if row["original"]
        else {"id": row["message_id"], "idempotencykey": row["idem_key"]}
    )
    link = {"retry_of": row["message_id"], "original": canonical(original).decode()}
    await write_commands(tx, core, [Fresh(number, new, mac, depends_on, row["reply_to"])], **link)
    return {
        "id": number,
        "message_id": envelope.id,
        "state": State.WAITING.value,
        "retry_of": row["message_id"],
    }


async def archive(tx: Tx, name: str, actor: str, reason: str) -> dict[str, Any]:
    row = await _locked(tx, name)
    if not State(row["state"]).final:
        raise ActRefused(f"command {row['id']} is {row['state']}: only an ended one can be archived")
    await tx.run("UPDATE commands SET archived = true WHERE id = $1", row["id"])
    await _record(tx, "archived", row, actor, reason)
    return {"id": row["id"], "archived": True}


async def _locked(tx: Tx, name: str, lanes: Sequence[int] = ()) -> Row:
    """`lanes`: of others that the act is about, locked together: one by one, two acts could wait for each other."""
    row = await find(tx, name)
    await lock_lanes(tx, [row["lane_id"], *lanes])
    fresh = await tx.rows("SELECT * FROM commands WHERE id = $1 FOR UPDATE", row["id"])
    if not fresh:  # between the two looks
        raise ActRefused(f"command {row['id']} was purged meanwhile")
    return fresh[0]


def _cannot(row: Row, done: str) -> str:
    if row["effect"] == EffectSeen.UNKNOWN:
        return f"what command {row['id']} did is unknown: `worker commands resolve` comes first"
    return f"command {row['id']} is {row['state']}: it cannot be {done} any more"


async def _record(tx: Tx, what: str, row: Row, actor: str, reason: str, **details: Any) -> None:
    draft = AuditDraft(what, row["platform"], actor, reason, view_of(row).command(), details)
    await write_audit(tx, [(draft, row["id"])], new_id)


def merged(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """An edit: fields named replace those of the order, null removes one."""
    data = dict(old)
    for name, value in changes.items():
        if value is None:
            data.pop(name, None)
        else:
            data[name] = value
    return data


async def data_of(tx: Tx, core: Core, name: str) -> tuple[Row, dict[str, Any]]:
    row = await find(tx, name)
    return row, core.vault.open(row["data_sealed"])


__all__ = [
    "ActRefused",
    "archive",
    "cancel",
    "data_of",
    "find",
    "listing",
    "merged",
    "resolve",
    "retry",
    "show",
]
