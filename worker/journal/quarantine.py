"""Messages that could not be admitted: kept encrypted, within limits of size, age, and source (rule 8.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worker.journal.core import Core
from worker.journal.driver import Row, Tx
from worker.journal.endings import new_id
from worker.journal.port import Refusal


def _clean(text: str | None, most: int = 500) -> str | None:
    """What a database text can hold: no NUL, no lone surrogate."""
    if text is None:
        return None
    return text[:most].replace("\0", "\ufffd").encode("utf-8", "replace").decode()


async def keep(tx: Tx, core: Core, refusal: Refusal) -> str:
    """Keep the body, or over the limits only the record of it. Returns the uid that people name it by."""
    uid = new_id()
    known = refusal.known
    source = _clean(_text(known.get("source")))
    room = len(refusal.body) <= core.quarantine_bytes // 64 and await _room(
        tx, core, source, len(refusal.body)
    )
    await tx.run(
        "INSERT INTO quarantine (uid, source, message_id, type, platform, queue, code, message, field, size,"
        " body_sealed, headers_sealed, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
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
    return uid


async def _room(tx: Tx, core: Core, source: str | None, size: int) -> bool:
    [total] = await tx.rows(
        "SELECT count(*) AS n, COALESCE(sum(size), 0) AS bytes FROM quarantine WHERE body_sealed IS NOT NULL"
    )
    if total["n"] >= core.quarantine_rows or total["bytes"] + size > core.quarantine_bytes:
        return False
    [recent] = await tx.rows(
        "SELECT count(*) AS n FROM quarantine WHERE source = $1 AND at > $2::float8",
        source or "",
        tx.now - 3600,
    )
    return bool(recent["n"] < core.quarantine_source_hour)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _plain(headers: Mapping[str, Any]) -> dict[str, str]:
    return {str(name)[:200]: str(value)[:2000] for name, value in headers.items()}


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
    rows = await tx.rows(
        "SELECT *, body_sealed IS NOT NULL AS kept FROM quarantine WHERE uid = $1 OR uid LIKE $1 || '%'", uid
    )
    if len(rows) != 1:
        return None
    [row] = rows
    sealed = row["body_sealed"]
    headers = core.vault.open(row["headers_sealed"]) if row["headers_sealed"] else {}
    return _record(row), core.vault.open_bytes(sealed) if sealed else None, headers


async def mark(tx: Tx, uid: str, state: str) -> bool:
    """`sent` (again) or `dropped`; a dropped one loses its body."""
    if state == "dropped":
        sql = "UPDATE quarantine SET state = 'dropped', body_sealed = NULL, headers_sealed = NULL WHERE uid = $1"
        return await tx.run(sql, uid) == 1
    return await tx.run("UPDATE quarantine SET state = $2 WHERE uid = $1", uid, state) == 1
