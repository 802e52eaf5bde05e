"""Rows on their way: written down before they are sent, and what to do with one that is known already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from worker.domain.lifecycle import State
from worker.journal.batches.endings import OPEN, Part, parts_of, settle_rows, since_failed, source_of
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
    """A row that is about to be sent. `made`: generated values, should it have none yet."""

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
    new = await _write(tx, core, batch, rows)
    now = await _by_hash(tx, batch, rows)
    if await _remember(tx, core, batch, rows, [now[hash] for hash in new]):
        now = await _by_hash(tx, batch, rows)
    failed = [
        now[r.hash]["id"] for r in rows
        if retry_failed and now[r.hash]["state"] == "failed" and now[r.hash]["content_mac"] == r.content_mac
    ]  # fmt: skip
    # And those that somebody was about to send again when he was killed: what took effect is not sent again.
    begun = [row["id"] for row in now.values() if row["state"] == "sending" and row["generation"] > 0]
    ended = await parts_of(tx, core, batch.source, failed + begun)
    mended = {id: state for id in failed if (state := since_failed(ended.get(id, ()))) != "failed"}
    await settle_rows(tx, list(mended.items()))
    again = {id for id in failed if id not in mended}
    await tx.run(
        "UPDATE batch_rows SET state = 'sending', generation = generation + 1 WHERE id = ANY($1)",
        sorted(again),
    )
    answers: list[Send | Known] = []
    moved: list[tuple[int, int]] = []
    marked: list[int] = []
    commands: list[tuple[Any, ...]] = []
    renewed: list[tuple[int, str]] = []
    for row in rows:
        kept = now[row.hash]
        id, state = kept["id"], mended.get(kept["id"], kept["state"])
        if kept["number"] != row.number:
            moved.append((id, row.number))
        if kept["content_mac"] != row.content_mac:
            marked.append(id)
            answers.append(Known(id, "changed"))
        elif state == "sending" or id in again:
            made = opened(
                core.vault, kept["made_sealed"]
            )  # not our own: of two runs at once one has written its
            generation = kept["generation"] + (id in again)
            send, written = _to_send(batch, row, id, generation, ended.get(id, ()), made)
            if made is None and send.made:
                renewed.append((id, core.vault.seal(dict(send.made))))
            answers.append(replace(send, was=None if row.hash in new else str(kept["state"])))
            commands += written
        else:
            answers.append(Known(id, "open" if state in OPEN else state))
    await tx.many("UPDATE batch_rows SET number = $2 WHERE id = $1", moved)
    await tx.many("UPDATE batch_rows SET made_sealed = $2 WHERE id = $1", renewed)
    await tx.run("UPDATE batch_rows SET changed = true WHERE id = ANY($1)", marked)
    await _name(tx, commands)
    return answers


async def _write(tx: Tx, core: Core, batch: Batch, rows: Sequence[Offered]) -> set[str]:
    """Write down the rows that are not yet; returns their hashes."""
    before = await _by_hash(tx, batch, rows)
    fresh = [row for row in rows if row.hash not in before]
    await tx.many(
        "INSERT INTO batch_rows (batch_id, row_hash, content_mac, number, state, keys_sealed, made_sealed)"
        " VALUES ($1, $2, $3, $4, 'sending', $5, $6) ON CONFLICT (batch_id, row_hash) DO NOTHING",
        [
            (batch.id, r.hash, r.content_mac, r.number, core.vault.seal(dict(r.keys)), sealed(core.vault, r.made and dict(r.made)))
            for r in fresh
        ],
    )  # fmt: skip
    return {row.hash for row in fresh}


async def _remember(tx: Tx, core: Core, batch: Batch, rows: Sequence[Offered], fresh: Sequence[Row]) -> bool:
    """Rows that are new to us, and whose commands are known: of a batch of this name that was purged.

    Identities outlive it. Sent again they would be answered with the old ending, and a password made anew would be
    nobody's: so nothing of them is sent, and the row ends as it ended then.
    """
    ids = {row["row_hash"]: row["id"] for row in fresh}
    named = [
        (ids[row.hash], part, type, name, *(2 * (pair_hash(batch.source, name),)))
        for row in rows
        if row.hash in ids
        for part, type in enumerate(row.types)
        for name in [message_id(batch.name, row.hash, part, 0)]
    ]
    counted = await tx.rows(
        "SELECT key_hash, count(*) AS n FROM identities WHERE key_hash = ANY($1::text[]) GROUP BY key_hash",
        sorted(one[-1] for one in named),
    )
    times = {row["key_hash"]: int(row["n"]) for row in counted}
    # How often each was tried: the next try needs ids that were never used.
    tried: dict[int, int] = {}
    for id, *_, key in named:
        if key in times:
            tried[id] = max(tried.get(id, 0), times[key])
    if not tried:
        return False
    await _name(tx, [one for one in named if one[0] in tried])
    await tx.many(
        "UPDATE batch_rows SET generation = $2, made_sealed = NULL, state = 'failed' WHERE id = $1",
        list(tried.items()),
    )
    ended = await parts_of(tx, core, batch.source, sorted(tried))
    await settle_rows(tx, [(id, since_failed(parts)) for id, parts in ended.items()])
    return True


async def _name(tx: Tx, commands: Sequence[tuple[Any, ...]]) -> None:
    await tx.many(
        "INSERT INTO batch_commands (row_id, part, type, message_id, message_hash, key_hash)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (row_id, part) DO UPDATE SET"
        " message_id = excluded.message_id, message_hash = excluded.message_hash",
        commands,
    )


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
    """The row's messages, but those that have taken effect already; and what is to be written of them.

    What comes behind one that succeeded waits for nothing: it may have succeeded as a person's retry, under an id
    of its own, while the one that we sent has failed.
    """
    done = {part.part for part in ended if part.state == State.SUCCEEDED}
    parts: list[tuple[int, str, str | None]] = []
    written: list[tuple[Any, ...]] = []
    before: str | None = None
    for part, type in enumerate(row.types):
        name = None if part in done else message_id(batch.name, row.hash, part, generation)
        if name is not None:
            parts.append((part, name, before))
            key = message_id(batch.name, row.hash, part, 0)
            hashes = (pair_hash(batch.source, name), pair_hash(batch.source, key))
            written.append((id, part, type, name, *hashes))
        before = name
    if made is None and row.made:  # of a purged batch, that failed: what was made then is gone
        sent = {str(part) for part, _, _ in parts}
        made = {name: value for name, value in row.made.items() if name.split(" ", 1)[0] in sent} or None
    return Send(id, tuple(parts), made), written
