"""How the rows of a batch ended: looked up from their commands, a portion at a time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.domain.lifecycle import State
from worker.journal.core import Core
from worker.journal.driver import Row, Tx

OPEN = ("sending", "sent", "parked")
REFUSED = "refused"  # never admitted; the quarantine knows why
FINAL = frozenset({"succeeded", "rejected", "cancelled", "expired", REFUSED})
SKIPPED = "dependency_failed"  # did not run because an earlier command of its row had failed


@dataclass(frozen=True, slots=True)
class Part:
    """One command of a row, and how it stands. `state` None: it has not been admitted yet.

    Times are seconds since the epoch. `command`: the journal's number, where the command is still kept.
    """

    part: int
    type: str
    message_id: str
    state: str | None = None
    effect: str | None = None
    problem: Mapping[str, Any] | None = None
    command: int | None = None
    partition_key: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    output: Mapping[str, Any] | None = field(default=None, repr=False)
    data: Mapping[str, Any] | None = field(default=None, repr=False)  # as it was sent; only where asked for

    @property
    def final(self) -> bool:
        return self.state in FINAL

    @property
    def skipped(self) -> bool:
        return self.state == State.CANCELLED and (self.problem or {}).get("code") == SKIPPED


def row_state(parts: Sequence[Part]) -> str:
    """Of a row whose commands were all sent: done, failed, parked, or sent."""
    states = [part.state for part in parts]
    if all(state == State.SUCCEEDED for state in states):
        return "done"
    if all(part.final for part in parts):
        return "failed"
    return "parked" if State.PARKED in states else "sent"


def since_failed(parts: Sequence[Part]) -> str:
    """Of a row that had failed: a person may have run its commands again, and the newest ending counts."""
    unknown = any(part.state is None for part in parts)  # it was refused, and the quarantine has forgotten it
    return "failed" if unknown or not parts else row_state(parts)


async def parts_of(
    tx: Tx, core: Core, source: str, rows: Sequence[int], *, outputs: bool = False, datas: bool = False
) -> dict[int, list[Part]]:
    """Row -> its commands in order. A command that a person ran again stands for the one he repeated."""
    if not rows:
        return {}
    made = await tx.rows(
        "SELECT b.row_id, b.part, b.type, b.message_id, m.id AS arrived,"
        " (SELECT MAX(i.id) FROM identities i WHERE i.key_hash = b.key_hash AND i.role = 'command') AS holder"
        " FROM batch_commands b LEFT JOIN identities m ON m.message_hash = b.message_hash"
        " WHERE b.row_id = ANY($1) ORDER BY b.row_id, b.part",
        list(rows),
    )
    endings = await _endings(tx, [row["holder"] or row["arrived"] for row in made if row["arrived"]])
    refused = await _refused(tx, source, [row["message_id"] for row in made if not row["arrived"]])
    found: dict[int, list[Part]] = defaultdict(list)
    for row in made:
        if row["arrived"]:
            part = _ended(core, row, endings[row["holder"] or row["arrived"]], outputs, datas)
        else:
            part = _not_arrived(row, refused.get(row["message_id"]))
        found[row["row_id"]].append(part)
    return found


async def _endings(tx: Tx, identities: Iterable[int]) -> dict[int, Row]:
    rows = await tx.rows(
        "SELECT i.id, i.status, i.effect AS identity_effect, c.id AS command, c.state, c.effect, c.problem,"
        " c.partition_key, c.started_at, c.finished_at, c.output_sealed, c.data_sealed"
        " FROM identities i LEFT JOIN commands c ON c.id = i.command_id WHERE i.id = ANY($1)",
        sorted(set(identities)),
    )
    return {row["id"]: row for row in rows}


def _ended(core: Core, made: Row, row: Row, outputs: bool, datas: bool) -> Part:
    return Part(
        made["part"],
        made["type"],
        made["message_id"],
        row["state"] or row["status"],
        row["effect"] or row["identity_effect"],
        json.loads(row["problem"]) if row["problem"] else None,
        row["command"],
        row["partition_key"],
        row["started_at"],
        row["finished_at"],
        _opened(core, row["output_sealed"]) if outputs else None,
        _opened(core, row["data_sealed"]) if datas else None,
    )


def _opened(core: Core, token: str | None) -> Any:
    """None also where its key is missing."""
    return core.vault.open(token) if token and core.vault.can_open(token) else None


async def _refused(tx: Tx, source: str, messages: Sequence[str]) -> dict[str, Row]:
    if not messages:
        return {}
    rows = await tx.rows(
        "SELECT message_id, code, message, field FROM quarantine WHERE source = $1"
        " AND message_id = ANY($2::text[]) ORDER BY id",
        source,
        sorted(messages),
    )
    return {row["message_id"]: row for row in rows}


def _not_arrived(made: Row, refused: Row | None) -> Part:
    if refused is None:
        return Part(made["part"], made["type"], made["message_id"])
    problem = {"code": refused["code"], "message": refused["message"], "field": refused["field"]}
    return Part(made["part"], made["type"], made["message_id"], REFUSED, "none", problem)


async def gather(
    tx: Tx, core: Core, batch: Row, after: int, limit: int, states: Sequence[str] = OPEN
) -> tuple[dict[str, int], int, int | None]:
    """Write down how a portion of the rows in `states` stands.

    Returns what changed by state ({"sent": -3, "done": 3}), how many rows were looked at, and the last of
    them (None: there was none).
    """
    rows = await tx.rows(
        "SELECT id, state FROM batch_rows WHERE batch_id = $1 AND state = ANY($2::text[]) AND id > $3"
        " ORDER BY id LIMIT $4",
        batch["id"],
        list(states),
        after,
        limit,
    )
    parts = await parts_of(tx, core, source_of(batch["name"]), [row["id"] for row in rows])
    changes: dict[str, int] = defaultdict(int)
    updates = []
    for row in rows:
        own = parts.get(row["id"], [])
        if row["state"] == "sending" and any(part.state is None for part in own):
            continue  # nobody knows yet whether RabbitMQ has it
        state = since_failed(own) if row["state"] == "failed" else row_state(own)
        if state != row["state"]:
            updates.append((row["id"], state))
            changes[row["state"]] -= 1
            changes[state] += 1
    await settle_rows(tx, updates)
    return dict(changes), len(rows), rows[-1]["id"] if rows else None


async def settle_rows(tx: Tx, updates: Sequence[tuple[int, str]]) -> None:
    """Rows (id, state). The passwords of one that is done are needed by nobody but who reads the operator's own file."""
    await tx.many(
        "UPDATE batch_rows SET state = $2, made_sealed = CASE WHEN $2::text = 'done' THEN NULL ELSE made_sealed END"
        " WHERE id = $1",
        updates,
    )


def source_of(name: str) -> str:
    """`source` of the commands of a batch."""
    return f"/worker/batch/{name}"
