"""Rows on their way: written down before they are sent, and what to do with one that is known already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from worker.domain.lifecycle import State
from worker.journal.batch_endings import OPEN, Part, parts_of, source_of
from worker.journal.core import Core, opened, sealed
from worker.journal.driver import Row, Tx
from worker.journal.vault import pair_hash

HASH = 24  # hex digits of a row's MAC that stand in its messages' ids


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch as the journal knows it. Times are seconds since the epoch, `rate` is rows a second."""

    id: int
    name: str
    platform: str
    title: str
    file: str
    content: str
    plan: str
    state: str
    paused_by: str | None
    paused_reason: str | None
    rate: float | None
    undo_of: str | None
    undoable: bool
    total: int
    created_by: str
    created_at: float
    sent_at: float | None

    @property
    def source(self) -> str:
        return source_of(self.name)


@dataclass(frozen=True, slots=True)
class Offered:
    """A row that is about to be sent. `made`: generated values, should the row be new."""

    hash: str
    number: int
    content_mac: str
    keys: Mapping[str, Any]
    types: tuple[str, ...]
    made: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Send:
    """Send these commands of the row: (part, message id, id of the one that it depends on).

    `was`: its state before; None: it is new.
    """

    row: int
    parts: tuple[tuple[int, str, str | None], ...]
    made: Mapping[str, str] | None = field(default=None, repr=False)
    was: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """It was sent before: done, failed, or open. changed: and with other content; it is not sent."""

    row: int
    state: str


def message_id(batch: str, hash: str, part: int, generation: int) -> str:
    again = f"/again-{generation}" if generation else ""
    return f"{batch}/{hash[:HASH]}/{part}{again}"


async def offer(
    tx: Tx, core: Core, batch: Batch, rows: Sequence[Offered], retry_failed: bool
) -> list[Send | Known]:
    before = await _by_hash(tx, batch, rows)
    fresh = [row for row in rows if row.hash not in before]
    new = {row.hash for row in fresh}
    await tx.many(
        "INSERT INTO batch_rows (batch_id, row_hash, content_mac, number, state, keys_sealed, made_sealed)"
        " VALUES ($1, $2, $3, $4, 'sending', $5, $6) ON CONFLICT (batch_id, row_hash) DO NOTHING",
        [
            (batch.id, r.hash, r.content_mac, r.number, core.vault.seal(dict(r.keys)), sealed(core.vault, r.made and dict(r.made)))
            for r in fresh
        ],
    )  # fmt: skip
    now = await _by_hash(tx, batch, rows)
    failed = [
        now[r.hash]["id"] for r in rows
        if retry_failed and now[r.hash]["state"] == "failed" and now[r.hash]["content_mac"] == r.content_mac
    ]  # fmt: skip
    # And those that somebody was about to send again when he was killed: what took effect is not sent again.
    begun = [row["id"] for row in now.values() if row["state"] == "sending" and row["generation"] > 0]
    ended = await parts_of(tx, core, batch.source, failed + begun)
    await tx.run(
        "UPDATE batch_rows SET state = 'sending', generation = generation + 1 WHERE id = ANY($1)", failed
    )
    generations = {row["id"]: row["generation"] + (row["id"] in failed) for row in now.values()}
    answers: list[Send | Known] = []
    moved: list[tuple[int, int]] = []
    marked: list[int] = []
    commands: list[tuple[Any, ...]] = []
    for row in rows:
        kept = now[row.hash]
        if kept["number"] != row.number:
            moved.append((kept["id"], row.number))
        if kept["content_mac"] != row.content_mac:
            marked.append(kept["id"])
            answers.append(Known(kept["id"], "changed"))
        elif kept["state"] == "sending" or kept["id"] in failed:
            made = row.made if row.hash in new else opened(core.vault, kept["made_sealed"])
            send, written = _to_send(
                batch, row, kept["id"], generations[kept["id"]], ended.get(kept["id"], ()), made
            )
            was = None if row.hash in new else str(kept["state"])
            answers.append(replace(send, was=was))
            commands += written
        else:
            answers.append(Known(kept["id"], "open" if kept["state"] in OPEN else kept["state"]))
    await tx.many("UPDATE batch_rows SET number = $2 WHERE id = $1", moved)
    await tx.run("UPDATE batch_rows SET changed = true WHERE id = ANY($1)", marked)
    await tx.many(
        "INSERT INTO batch_commands (row_id, part, type, message_id, message_hash, key_hash)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (row_id, part) DO UPDATE SET"
        " message_id = excluded.message_id, message_hash = excluded.message_hash",
        commands,
    )
    return answers


async def _by_hash(tx: Tx, batch: Batch, rows: Sequence[Offered]) -> dict[str, Row]:
    found = await tx.rows(
        "SELECT * FROM batch_rows WHERE batch_id = $1 AND row_hash = ANY($2::text[])",
        batch.id,
        sorted({row.hash for row in rows}),
    )
    return {row["row_hash"]: row for row in found}


def _to_send(
    batch: Batch,
    row: Offered,
    id: int,
    generation: int,
    ended: Sequence[Part],
    made: Mapping[str, str] | None,
) -> tuple[Send, list[tuple[Any, ...]]]:
    """The row's messages, but those that have taken effect already; and what is to be written of them."""
    done = {part.part: part.message_id for part in ended if part.state == State.SUCCEEDED}
    parts: list[tuple[int, str, str | None]] = []
    written: list[tuple[Any, ...]] = []
    before: str | None = None
    for part, type in enumerate(row.types):
        name = done.get(part)
        if name is None:
            name = message_id(batch.name, row.hash, part, generation)
            parts.append((part, name, before))
            key = message_id(batch.name, row.hash, part, 0)
            hashes = (pair_hash(batch.source, name), pair_hash(batch.source, key))
            written.append((id, part, type, name, *hashes))
        before = name
    return Send(id, tuple(parts), made), written
