"""Batches: which there are, which rows they have sent, and how those ended.

A row is written down before it is sent, under a keyed MAC of its identity; its messages get ids that are made
of the batch's name and that MAC. So whoever is killed at any instant sends, the second time, the same messages.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from worker.journal.batches.care import try_cancel, waiting
from worker.journal.batches.endings import OPEN, Part, gather, parts_of, row_state, since_failed, source_of
from worker.journal.batches.offers import Batch, Known, Offered, Send, message_id, offer
from worker.journal.commands.endings import new_id
from worker.journal.core import Core, write_audit
from worker.journal.driver import Row, Tx
from worker.journal.journal import StoredJournal
from worker.messages.events import AuditDraft, canonical

LETS_GO = 10.0  # seconds in which the database of a busy machine notices that a run was killed


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What a run is about to send. `rate`: rows a second, of one that is made; one that goes on keeps its own."""

    name: str
    platform: str
    title: str
    file: str
    content: str
    plan: str
    total: int
    by: str
    undo_of: str | None = None
    undoable: bool = False
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One row for the report."""

    number: int
    state: str
    changed: bool
    keys: Mapping[str, Any]
    parts: tuple[Part, ...]
    problem: Mapping[str, Any] | None = None


class BatchBusy(Exception):
    """Another run sends it just now."""


class UnknownBatch(Exception):
    """There is no batch of that name; the text says where the names stand."""


def row_hash(core: Core, platform: str, identity: Sequence[Any]) -> str:
    """A row's identity on its platform, the same in every batch. Keyed: an identity could be guessed."""
    return core.vault.content_mac(canonical(["batch row", platform, *identity]))


def content_mac(core: Core, content: Any) -> str:
    return core.vault.content_mac(canonical(["batch content", content]))


class Batches:
    """The journal, as those who send and watch batches use it."""

    def __init__(self, journal: StoredJournal) -> None:
        self._journal = journal
        self.core = journal.core

    # ------------------------------------------------------------ batches

    async def find(self, name: str) -> Batch | None:
        async def work(tx: Tx) -> Batch | None:
            rows = await tx.rows("SELECT * FROM batches WHERE name = $1", name)
            return _batch(rows[0]) if rows else None

        return await self._journal.run(work)

    @asynccontextmanager
    async def running(self, name: str) -> AsyncIterator[None]:
        """One run at a time: two would each keep passwords in a file of their own. Raises BatchBusy."""
        until = time.monotonic() + LETS_GO
        while True:
            async with self._journal.held(f"batch-{name}") as ours:
                if ours:
                    yield
                    return
            if time.monotonic() > until:
                raise BatchBusy(
                    f"another run of batch {name} is checking or sending it just now, here or on another machine: watch"
                    f" that one (`worker batch show {name}`), or give the command again when it has ended"
                )
            await asyncio.sleep(0.2)

    async def needed(self, name: str) -> Batch:
        """Raises UnknownBatch."""
        found = await self.find(name)
        if found is None:
            raise UnknownBatch(f"there is no batch {name!r}: see `worker batch list`")
        return found

    async def listing(self, limit: int) -> list[tuple[Batch, dict[str, int]]]:
        """Newest first, with their rows by state."""

        async def work(tx: Tx) -> list[tuple[Batch, dict[str, int]]]:
            rows = await tx.rows("SELECT * FROM batches ORDER BY id DESC LIMIT $1", limit)
            return [(_batch(row), await _counts(tx, row["id"])) for row in rows]

        return await self._journal.run(work)

    async def begin(self, new: NewBatch) -> Batch:
        """Make it, or go on with the one of that name (then with this file)."""

        async def work(tx: Tx) -> Batch:
            made = await tx.run(
                "INSERT INTO batches (name, platform, title, file, content, plan, state, undo_of, undoable, total,"
                " created_by, created_at, rate) VALUES ($1, $2, $3, $4, $5, $6, 'sending', $7, $8, $9, $10, $11, $12)"
                " ON CONFLICT (name) DO NOTHING",
                new.name, new.platform, new.title, new.file, new.content, new.plan, new.undo_of, new.undoable,
                new.total, new.by, tx.now, new.rate,
            )  # fmt: skip
            if not made:
                await tx.run(
                    "UPDATE batches SET file = $2, content = $3, total = $4 WHERE name = $1",
                    new.name,
                    new.file,
                    new.content,
                    new.total,
                )
            [row] = await tx.rows("SELECT * FROM batches WHERE name = $1", new.name)
            await tx.run("DELETE FROM batch_rows WHERE batch_id = $1 AND state = 'bad'", row["id"])
            await tx.run("UPDATE batch_rows SET changed = false WHERE batch_id = $1 AND changed", row["id"])
            what = "batch_begun" if made else "batch_resumed"
            rate = {"rate": new.rate} if made and new.rate else {}
            await _record(tx, what, row, new.by, None, file=new.file, rows=new.total, **rate)
            return _batch(row)

        return await self._journal.run(work)

    async def control(self, name: str) -> Batch:
        return await self.needed(name)

    async def all_sent(self, name: str) -> None:
        async def work(tx: Tx) -> None:
            await tx.run(
                "UPDATE batches SET state = 'sent', sent_at = $2 WHERE name = $1 AND state = 'sending'",
                name,
                tx.now,
            )

        await self._journal.run(work)

    async def pause(self, name: str, actor: str, reason: str) -> Batch:
        """Nothing more of it is sent, and nothing of what was sent is begun."""
        await self.needed(name)
        await self._journal.stop("batch", name, actor, reason)
        return await self.needed(name)

    async def resume(self, name: str, actor: str, reason: str) -> Batch:
        await self.needed(name)
        await self._journal.go_on("batch", name, actor, reason)
        return await self.needed(name)

    async def set_rate(self, name: str, rate: float | None, actor: str, reason: str) -> Batch:
        return await self._act(name, "batch_rate", actor, reason, rate=rate)

    async def close(self, name: str, actor: str, reason: str) -> Batch:
        """Nothing more of it is sent; see `cancel_waiting` for what was."""
        return await self._act(name, "batch_cancelled", actor, reason, state="cancelled")

    async def reopen(self, name: str, actor: str) -> Batch:
        """A person runs a cancelled batch again."""
        return await self._act(name, "batch_reopened", actor, None, state="sending")

    async def _act(self, name: str, what: str, actor: str, reason: str | None, **changes: Any) -> Batch:
        sets = ", ".join(f"{column} = ${place}" for place, column in enumerate(changes, 2))

        async def work(tx: Tx) -> Batch:
            await tx.run(f"UPDATE batches SET {sets} WHERE name = $1", name, *changes.values())  # noqa: S608 - our own names
            rows = await tx.rows("SELECT * FROM batches WHERE name = $1", name)
            if not rows:
                raise UnknownBatch(f"there is no batch {name!r}: see `worker batch list`")
            rate = {"rate": changes["rate"]} if "rate" in changes else {}
            await _record(tx, what, rows[0], actor, reason, **rate)
            return _batch(rows[0])

        return await self._journal.run(work)

    async def note(self, batch: Batch, what: str, actor: str, reason: str) -> None:
        """A record of an act on it."""

        async def work(tx: Tx) -> None:
            [row] = await tx.rows("SELECT * FROM batches WHERE id = $1", batch.id)
            await _record(tx, what, row, actor, reason)

        await self._journal.run(work)

    async def cancel_waiting(self, name: str, actor: str, reason: str, limit: int = 100) -> int:
        """Cancel some of its commands that wait and have had no effect. 0: none is left of those admitted."""

        async def work(tx: Tx) -> int:
            rows = await waiting(tx, name, limit)
            return sum([await try_cancel(tx, self.core, row, actor, reason) for row in rows])

        return await self._journal.run(work)

    # ------------------------------------------------------------ rows

    async def offer(self, batch: Batch, rows: Sequence[Offered], retry_failed: bool) -> list[Send | Known]:
        """Write rows down before they are sent; what to do with each, in their order."""
        return await self._journal.run(lambda tx: offer(tx, self.core, batch, rows, retry_failed))

    async def sent(self, rows: Sequence[int]) -> int:
        """RabbitMQ has all commands of these rows. Returns how many of them were not yet known to have it."""

        async def work(tx: Tx) -> int:
            return await tx.run(
                "UPDATE batch_rows SET state = 'sent' WHERE id = ANY($1) AND state = 'sending'", list(rows)
            )

        return await self._journal.run(work)

    async def keep_bad(
        self, batch: Batch, rows: Sequence[tuple[int, Mapping[str, Any], Mapping[str, Any]]]
    ) -> None:
        """Rows that are not sent, for the report: (number, keys, problem)."""

        async def work(tx: Tx) -> None:
            await tx.many(
                "INSERT INTO batch_rows (batch_id, row_hash, content_mac, number, state, keys_sealed, problem)"
                " VALUES ($1, $2, '', $3, 'bad', $4, $5) ON CONFLICT (batch_id, row_hash) DO NOTHING",
                [
                    (
                        batch.id,
                        f"bad/{number}",
                        number,
                        self.core.vault.seal(dict(keys)),
                        json.dumps(dict(problem)),
                    )
                    for number, keys, problem in rows
                ],
            )

        await self._journal.run(work)

    async def earlier(self, batch: str, platform: str, hashes: Sequence[str], first: str) -> dict[str, str]:
        """Rows of other batches that began with the command `first`, unless nothing of them took effect: hash ->
        batch. Of one that failed half-way a part was done, and would be done again under new keys."""

        async def work(tx: Tx) -> dict[str, str]:
            rows = await tx.rows(
                "SELECT r.row_hash, b.name FROM batch_rows r JOIN batches b ON b.id = r.batch_id"
                " WHERE r.row_hash = ANY($1::text[]) AND b.name <> $2 AND b.platform = $3"
                " AND r.state <> 'bad'"
                " AND EXISTS (SELECT 1 FROM batch_commands c WHERE c.row_id = r.id AND c.type = $4)"
                " AND (r.state IN ('sending', 'sent', 'parked', 'done') OR EXISTS"
                " (SELECT 1 FROM batch_commands c JOIN identities i ON i.key_hash = c.key_hash"
                " WHERE c.row_id = r.id AND i.role = 'command' AND i.effect <> 'none')) ORDER BY r.id",
                sorted(set(hashes)), batch, platform, first,
            )  # fmt: skip
            return {row["row_hash"]: row["name"] for row in rows}

        return await self._journal.run(work)

    async def stopped(self, platform: str) -> str | None:
        """Why the platform takes nothing now, in a few words."""
        for state in await self._journal.platforms():
            if state.name == platform and state.stopped:
                why = state.held or ("paused" if state.paused_by or state.halted else "it does not answer")
                return f"platform {platform} is stopped: {why}"
        return None

    async def states(self, batch: Batch) -> dict[str, int]:
        """Rows by state, from the index alone."""

        async def work(tx: Tx) -> dict[str, int]:
            return await _states(tx, batch.id)

        return await self._journal.run(work)

    async def counts(self, batch: Batch) -> dict[str, int]:
        async def work(tx: Tx) -> dict[str, int]:
            return await _counts(tx, batch.id)

        return await self._journal.run(work)

    async def gather(
        self, batch: Batch, after: int = 0, limit: int = 500, states: Sequence[str] = OPEN
    ) -> tuple[dict[str, int], int, int | None]:
        """See `batch_endings.gather`."""

        async def work(tx: Tx) -> tuple[dict[str, int], int, int | None]:
            [row] = await tx.rows("SELECT * FROM batches WHERE id = $1", batch.id)
            return await gather(tx, self.core, row, after, limit, states)

        return await self._journal.run(work)

    async def gather_all(self, batch: Batch) -> dict[str, int]:
        """All rows once that are open, or failed (a person may have run them again); then the rows by state."""
        last: int | None = 0
        while last is not None:
            _, _, last = await self.gather(batch, last, states=(*OPEN, "failed"))
        return await self.counts(batch)

    async def open_numbers(self, batch: Batch, limit: int = 10) -> list[int]:
        async def work(tx: Tx) -> list[int]:
            rows = await tx.rows(
                "SELECT number FROM batch_rows WHERE batch_id = $1 AND state = ANY($2::text[]) ORDER BY id LIMIT $3",
                batch.id, list(OPEN), limit,
            )  # fmt: skip
            return [row["number"] for row in rows]

        return await self._journal.run(work)

    async def lines(
        self, batch: Batch, after: tuple[int, int] = (-1, 0), limit: int = 500, *, datas: bool = False
    ) -> tuple[list[Line], tuple[int, int] | None]:
        """A portion of the report, by row number; and where the next one begins (None: it was the last)."""

        async def work(tx: Tx) -> tuple[list[Line], tuple[int, int] | None]:
            rows = await tx.rows(
                "SELECT * FROM batch_rows WHERE batch_id = $1 AND (number > $2 OR (number = $2 AND id > $3))"
                " ORDER BY number, id LIMIT $4",
                batch.id, *after, limit,
            )  # fmt: skip
            ids = [row["id"] for row in rows]
            parts = await parts_of(tx, self.core, batch.source, ids, outputs=True, datas=datas)
            lines = [_line(self.core, row, parts.get(row["id"], [])) for row in rows]
            return lines, (rows[-1]["number"], rows[-1]["id"]) if len(rows) == limit else None

        return await self._journal.run(work)

    async def since(self, batch: Batch, keys: Sequence[str], command: int) -> str | None:
        """A command of somebody else about one of these objects that came after `command` and took effect, or may."""

        async def work(tx: Tx) -> str | None:
            rows = await tx.rows(
                "SELECT message_id, type FROM commands WHERE partition_key = ANY($1::text[]) AND source <> $3"
                # One that was ordered before, for later, joined the line after it, or has yet to.
                " AND (id > $2 OR arrival > $2 OR (arrival IS NULL AND finished_at IS NULL))"
                " AND source <> $4 AND (finished_at IS NULL OR effect <> 'none')"
                " AND type NOT LIKE '%.get.v1' ORDER BY id LIMIT 1",
                list(keys), command, batch.source, source_of(f"{batch.name}-undo"),
            )  # fmt: skip
            return f"{rows[0]['type'].removesuffix('.v1')} {rows[0]['message_id']}" if rows else None

        return await self._journal.run(work)


async def _states(tx: Tx, batch: int) -> dict[str, int]:
    rows = await tx.rows(
        "SELECT state, count(*) AS n FROM batch_rows WHERE batch_id = $1 GROUP BY state", batch
    )
    return {row["state"]: int(row["n"]) for row in rows}


async def _counts(tx: Tx, batch: int) -> dict[str, int]:
    changed = await tx.rows("SELECT count(*) AS n FROM batch_rows WHERE batch_id = $1 AND changed", batch)
    return await _states(tx, batch) | ({"changed": int(changed[0]["n"])} if changed[0]["n"] else {})


def _line(core: Core, row: Row, parts: list[Part]) -> Line:
    state = row["state"]
    if state in ("sent", "parked") and parts:
        state = row_state(parts)
    elif state == "failed":
        state = since_failed(parts)
    keys = core.vault.open(row["keys_sealed"]) if core.vault.can_open(row["keys_sealed"]) else {}
    problem = json.loads(row["problem"]) if row["problem"] else None
    return Line(row["number"], state, bool(row["changed"]), keys, tuple(parts), problem)


def _batch(row: Row) -> Batch:
    names = Batch.__dataclass_fields__
    return Batch(**{name: row[name] for name in names} | {"undoable": bool(row["undoable"])})


async def _record(tx: Tx, what: str, row: Row, actor: str, reason: str | None, **details: Any) -> None:
    draft = AuditDraft(what, row["platform"], actor, reason, None, {"batch": row["name"], **details})
    await write_audit(tx, [(draft, None)], new_id)


__all__ = [
    "Batch",
    "BatchBusy",
    "Batches",
    "Known",
    "Line",
    "NewBatch",
    "Offered",
    "Send",
    "UnknownBatch",
    "content_mac",
    "message_id",
    "row_hash",
]
