"""Messages that could not be admitted: kept encrypted, within limits of size, age, and source (rule 8.4)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.journal.commands.endings import new_id
from worker.journal.core import Core, clean
from worker.journal.driver import Row, Tx
from worker.journal.port import Refusal

_UID = re.compile("[0-9a-f-]{4,36}")  # its first letters are enough
ROWS, BYTES = "quarantine_rows", "quarantine_bytes"  # in `counters`: the bodies that are kept


def _clean(text: str | None, most: int = 500) -> str | None:
    return None if text is None else clean(text[:most])


@dataclass(slots=True)
class Room:
    """What is left of the limits, for one batch; sizes in bytes."""

    rows: int
    bytes: int
    body: int  # the largest one that is kept
    sources: dict[str | None, int]  # what each may still send within the hour

    def takes(self, source: str | None, size: int) -> bool:
        if size > self.body or self.rows < 1 or self.bytes < size or self.sources[source] < 1:
            return False
        self.rows -= 1
        self.bytes -= size
        self.sources[source] -= 1
        return True


async def _room(tx: Tx, core: Core, sources: set[str | None]) -> Room:
    kept = {row["name"]: row["value"] for row in await tx.rows("SELECT name, value FROM counters")}
    left = dict.fromkeys(sources, core.quarantine_source_hour)
    for row in await tx.rows(
        "SELECT source, count(*) AS n FROM quarantine WHERE at > $2::float8 AND (source = ANY($1::text[]) OR source IS NULL)"
        " GROUP BY source",
        sorted(source for source in sources if source is not None),
        tx.now - 3600,
    ):
        if row["source"] in left:
            left[row["source"]] -= row["n"]
    return Room(
        rows=core.quarantine_rows - kept.get(ROWS, 0),
        bytes=core.quarantine_bytes - kept.get(BYTES, 0),
        body=core.quarantine_bytes // 64,
        sources=left,
    )


async def keep(tx: Tx, core: Core, refusals: Sequence[Refusal]) -> list[str]:
    """Keep the bodies, or over the limits only the record of them. Returns the uids that people name them by."""
    if not refusals:
        return []
    named = [(new_id(), _clean(_text(refusal.known.get("source"))), refusal) for refusal in refusals]
    room = await _room(tx, core, {source for _, source, _ in named})
    rows = [
        _row(tx, core, uid, source, refusal, room.takes(source, len(refusal.body)))
        for uid, source, refusal in named
    ]
    await tx.many(
        "INSERT INTO quarantine (uid, source, message_id, type, platform, queue, code, message, field, size,"
        " body_sealed, headers_sealed, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        rows,
    )
    held = [row for row in rows if row[10] is not None]
    await count(tx, len(held), sum(row[9] for row in held))
    return [uid for uid, _, _ in named]


def _row(tx: Tx, core: Core, uid: str, source: str | None, refusal: Refusal, room: bool) -> tuple[Any, ...]:
    known = refusal.known
    return (
        uid,
        source,
        _clean(_text(known.get("id"))),
        _clean(_text(known.get("type"))),
        _clean(_text(known.get("platform"))),
        refusal.queue,
        refusal.problem.code.value,
        _clean(refusal.problem.message, 2000),
        _clean(refusal.problem.field),
        len(refusal.body),
        core.vault.seal_bytes(refusal.body) if room else None,
        core.vault.seal(_plain(refusal.headers)) if room else None,
        tx.now,
    )


async def count(tx: Tx, rows: int, size: int) -> None:
    """Bodies that were added (or, negative, taken away), so that nobody has to count them all."""
    if rows:
        await tx.many(
            "INSERT INTO counters (name, value) VALUES ($1, $2)"
            " ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value",
            [(BYTES, size), (ROWS, rows)],
        )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _plain(headers: Mapping[str, Any]) -> dict[str, str]:
    return {clean(str(name)[:200]): clean(str(value)[:2000]) for name, value in headers.items()}


async def listing(tx: Tx, state: str, limit: int) -> list[dict[str, Any]]:
    rows = await tx.rows(
        "SELECT uid, source, message_id, type, platform, queue, code, message, field, size, at, state,"
        " body_sealed IS NOT NULL AS kept FROM quarantine WHERE state = $1 ORDER BY id DESC LIMIT $2",
        state,
        limit,
    )
    return [_record(row) for row in rows]


def _record(row: Row) -> dict[str, Any]:
    names = (
        "uid",
        "source",
        "message_id",
        "type",
        "platform",
        "queue",
        "code",
        "message",
        "field",
        "size",
        "at",
        "state",
    )
    return {name: row[name] for name in names} | {"kept": bool(row["kept"])}


async def body(tx: Tx, core: Core, uid: str) -> tuple[dict[str, Any], bytes | None, dict[str, str]] | None:
    """The record, the body as it came, and its headers. Looking is an act: the caller audits it."""
    if not _UID.fullmatch(uid):
        return None
    rows = await tx.rows(
        "SELECT *, body_sealed IS NOT NULL AS kept FROM quarantine WHERE uid = $1 OR uid LIKE $1 || '%'", uid
    )
    if len(rows) != 1:
        return None
    [row] = rows
    sealed = row["body_sealed"]
    headers = core.vault.open(row["headers_sealed"]) if row["headers_sealed"] else {}
    return _record(row), core.vault.open_bytes(sealed) if sealed else None, headers


async def find(tx: Tx, uid: str) -> list[dict[str, Any]]:
    """The records of those whose uid begins so: none, the one that is meant, or the first of several."""
    if not _UID.fullmatch(uid):
        return []
    rows = await tx.rows(
        "SELECT *, body_sealed IS NOT NULL AS kept FROM quarantine WHERE uid LIKE $1 || '%' ORDER BY id LIMIT 100",
        uid,
    )
    return [_record(row) for row in rows]


async def mark(tx: Tx, uid: str, state: str) -> bool:
    """`sent` (again) or `dropped`; a dropped one loses its body. False: somebody sent or dropped it before."""
    rows = await tx.rows(
        "SELECT id, size, body_sealed FROM quarantine WHERE uid = $1 AND state = 'kept' FOR UPDATE", uid
    )
    if not rows:
        return False
    if state != "dropped":
        await tx.run("UPDATE quarantine SET state = $2 WHERE id = $1", rows[0]["id"], state)
        return True
    await tx.run(
        "UPDATE quarantine SET state = 'dropped', body_sealed = NULL, headers_sealed = NULL WHERE id = $1",
        rows[0]["id"],
    )
    await forget(tx, rows)
    return True


async def forget(tx: Tx, rows: Sequence[Row]) -> None:
    """Rows (size, body_sealed) whose bodies go."""
    held = [row["size"] for row in rows if row["body_sealed"] is not None]
    await count(tx, -len(held), -sum(held))


async def purge(tx: Tx, core: Core, most: int) -> int:
    rows = await tx.rows(
        "SELECT id, size, body_sealed FROM quarantine WHERE at < $1::float8 ORDER BY id LIMIT $2 FOR UPDATE",
        tx.now - core.quarantine_retention,
        most,
    )
    await tx.run("DELETE FROM quarantine WHERE id = ANY($1)", [row["id"] for row in rows])
    await forget(tx, rows)
    return len(rows)
