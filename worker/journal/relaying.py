"""The outbox and the audit chain, from the journal's side (rules 6.4, 6.5)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from worker.journal.core import AUDIT, Core
from worker.journal.driver import Row, Tx
from worker.journal.port import Outgoing
from worker.journal.vault import KeyMissing
from worker.messages.events import audit_data, audit_event, canonical

log = structlog.get_logger()

PORTION = 100  # audit records, where no results ask for more
GENESIS = "0" * 64  # what the first record's `previous` is
HEAD = "audit_head"  # meta: number and mac of the last sealed record, MACed itself
TAIL = "audit_tail"  # meta: number and mac of the last purged record, MACed itself


async def seal(tx: Tx, core: Core, limit: int) -> int:
    """Number and chain what was written since. One sealer at a time; short transactions."""
    if not await tx.try_lock("seal"):
        return 0
    rows = await tx.rows("SELECT id, record FROM audit WHERE number IS NULL ORDER BY id LIMIT $1", limit)
    if not rows:
        return 0
    number, mac = await head_of(tx, core)
    sealed = []
    for row in rows:
        number += 1
        mac = core.vault.audit_mac(mac, canonical(audit_data(json.loads(row["record"]), number, mac)))
        sealed.append((row["id"], number, mac))
    await tx.many("UPDATE audit SET number = $2, mac = $3 WHERE id = $1", sealed)
    await put_mark(tx, core, HEAD, number, mac)
    tx.wake("relay")
    return len(rows)


async def head_of(tx: Tx, core: Core, name: str = HEAD) -> tuple[int, str]:
    rows = await tx.rows("SELECT value FROM meta WHERE name = $1", name)
    if not rows:
        return 0, GENESIS
    mark = json.loads(rows[0]["value"])
    return mark["number"], mark["mac"]


async def put_mark(tx: Tx, core: Core, name: str, number: int, mac: str) -> None:
    """A signed checkpoint: without the key nobody can move it."""
    mark = {"number": number, "mac": mac, "signed": core.vault.audit_mac(name, f"{number}:{mac}".encode())}
    await tx.run(
        "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        name,
        json.dumps(mark),
    )


async def mark_is_true(tx: Tx, core: Core, name: str) -> bool:
    rows = await tx.rows("SELECT value FROM meta WHERE name = $1", name)
    if not rows:
        return True
    mark = json.loads(rows[0]["value"])
    signed = core.vault.audit_mac(name, f"{mark['number']}:{mark['mac']}".encode())
    return bool(mark.get("signed") == signed)


async def unpublished(tx: Tx, core: Core, limit: int) -> list[Outgoing]:
    """Results first, at most `limit`. A backlog of audit records goes in portions, for a result that comes
    meanwhile waits until all of these are confirmed.
    """
    results = await _results(tx, core, limit)
    records = await tx.rows(
        "SELECT * FROM audit WHERE published_at IS NULL AND number IS NOT NULL ORDER BY number LIMIT $1",
        min(limit, max(PORTION, 2 * len(results))),  # a command has two of them
    )
    if not records:
        return results
    before = await _macs_before(tx, core, records)
    return [*results, *(_record(core, row, before[row["number"]]) for row in records)]


async def _results(tx: Tx, core: Core, limit: int) -> list[Outgoing]:
    """The first that can be opened: those that nobody can, however many, must not stand in their way."""
    after = 0
    while True:
        rows = await tx.rows(
            "SELECT * FROM outbox WHERE published_at IS NULL AND id > $1 ORDER BY id LIMIT $2", after, limit
        )
        opened = [out for row in rows if (out := _opened(core, row)) is not None]
        if opened or len(rows) < limit:
            return opened
        after = rows[-1]["id"]


def _opened(core: Core, row: Row) -> Outgoing | None:
    """One that nobody can open stays, and shows in the health as unpublished; the others go out."""
    try:
        return _result(core, row)
    except KeyMissing:
        log.error("relay.key_missing", event_id=row["event_id"], routing_key=row["routing_key"])
        return None


def _result(core: Core, row: Row) -> Outgoing:
    return Outgoing(
        row=row["id"],
        table="outbox",
        exchange=row["exchange"],
        routing_key=row["routing_key"],
        event_id=row["event_id"],
        type=row["type"],
        body=core.vault.open_bytes(row["body_sealed"]),
        correlation_id=row["correlation_id"],
        created_at=row["created_at"],
    )


def _record(core: Core, row: Row, previous: str) -> Outgoing:
    record = json.loads(row["record"])
    return Outgoing(
        row=row["id"],
        table="audit",
        exchange=AUDIT,
        routing_key=f"{row['platform']}.{row['what']}",
        event_id=row["event_id"],
        type=f"provisioning.audit.{row['what']}.v1",
        body=audit_event(record, row["number"], previous, row["mac"], row["event_id"], core.source),
        correlation_id=(record.get("command") or {}).get("correlationid"),
        created_at=row["at"],
    )


async def _macs_before(tx: Tx, core: Core, records: Sequence[Row]) -> dict[int, str]:
    """By a record's number the mac of the one before it, which may have been published long ago, or purged."""
    macs = {row["number"]: str(row["mac"]) for row in records}
    gaps = [number - 1 for number in macs if number - 1 not in macs]
    for row in await tx.rows("SELECT number, mac FROM audit WHERE number = ANY($1)", gaps):
        macs[row["number"]] = str(row["mac"])
    tail, tail_mac = await head_of(tx, core, TAIL)  # of the last one that was purged; genesis where none was
    macs.setdefault(tail, tail_mac)
    return {row["number"]: macs.get(row["number"] - 1, tail_mac) for row in records}


async def published(tx: Tx, rows: Sequence[tuple[Outgoing, bool]]) -> None:
    """Strike off, row by row. `taken` False: nobody was bound; it stays for events.retention."""
    for table in ("outbox", "audit"):
        await tx.many(
            f"UPDATE {table} SET published_at = $2::float8, taken = $3 WHERE id = $1",  # noqa: S608 - two fixed names
            [(out.row, tx.now, taken) for out, taken in rows if out.table == table],
        )
    await _count_listeners(tx, rows)


async def _count_listeners(tx: Tx, rows: Sequence[tuple[Outgoing, bool]]) -> None:
    known = {
        row["exchange"]: row["returned"] for row in await tx.rows("SELECT exchange, returned FROM listeners")
    }
    for exchange in {out.exchange for out, _ in rows if out.exchange}:
        last_taken = [taken for out, taken in rows if out.exchange == exchange]
        after = (
            last_taken[::-1].index(True) if True in last_taken else known.get(exchange, 0) + len(last_taken)
        )
        if after != known.get(exchange, 0):
            await tx.run(
                "INSERT INTO listeners (exchange, returned) VALUES ($1, $2)"
                " ON CONFLICT (exchange) DO UPDATE SET returned = excluded.returned",
                exchange,
                after,
            )


async def republish(tx: Tx, since: float, untaken_only: bool) -> int:
    """Send again under the same ids: what nobody took, or everything since."""
    where = "published_at IS NOT NULL AND exchange <> ''" + (" AND taken = false" if untaken_only else "")
    count = await tx.run(
        f"UPDATE outbox SET published_at = NULL, taken = NULL WHERE {where} AND created_at >= $1::float8",  # noqa: S608
        since,
    )
    where = "published_at IS NOT NULL" + (" AND taken = false" if untaken_only else "")
    count += await tx.run(
        f"UPDATE audit SET published_at = NULL, taken = NULL WHERE {where} AND at >= $1::float8",  # noqa: S608
        since,
    )
    tx.wake("relay")
    return count


# ---------------------------------------------------------------- verifying


@dataclass(slots=True)
class AuditReport:
    """What `audit verify` found. Empty `faults` means that the chain is whole."""

    records: int = 0
    first: int | None = None
    last: int | None = None
    unsealed: int = 0
    collected: int = 0
    faults: list[str] = field(default_factory=list)


async def verify(tx: Tx, core: Core, collected: Iterable[Mapping[str, Any]] | None = None) -> AuditReport:
    """Walk the chain; hold it against events that were collected elsewhere, where given."""
    report = AuditReport()
    for name in (HEAD, TAIL):
        if not await mark_is_true(tx, core, name):
            report.faults.append(f"the signed checkpoint {name} was changed")
    tail, mac = await head_of(tx, core, TAIL)
    number = tail
    [before] = await tx.rows("SELECT count(*) AS n FROM audit WHERE number <= $1", tail)
    if before["n"]:
        report.faults.append(f"{before['n']} records were inserted before {tail + 1}, where the chain begins")
    macs: dict[int, str] = {}
    async for row in _all_records(tx, number):
        number, mac = _check(core, report, row, number, mac)
        macs[row["number"]] = row["mac"]
    last, last_mac = await head_of(tx, core)
    if last != number:
        report.faults.append(
            f"the chain ends at {number}, the checkpoint says {last}: records are missing at its end"
        )
    elif last_mac != mac and not report.faults:
        report.faults.append("the last record is not the one that was sealed last")
    [unsealed] = await tx.rows("SELECT count(*) AS n FROM audit WHERE number IS NULL")
    report.unsealed = unsealed["n"]
    if collected is not None:
        _compare(core, report, macs, collected, tail)
    return report


async def _all_records(tx: Tx, after: int) -> Any:
    while rows := await tx.rows("SELECT * FROM audit WHERE number > $1 ORDER BY number LIMIT 1000", after):
        for row in rows:
            yield row
        after = rows[-1]["number"]


def _check(core: Core, report: AuditReport, row: Row, number: int, mac: str) -> tuple[int, str]:
    report.records += 1
    report.first = row["number"] if report.first is None else report.first
    report.last = row["number"]
    if row["number"] != number + 1:
        report.faults.append(f"records {number + 1} to {row['number'] - 1} are missing")
    try:
        record = json.loads(row["record"])
        data = canonical(audit_data(record, row["number"], mac))
        true = core.vault.audit_mac(mac, data) == row["mac"]
        true = true and (record["what"], record["platform"]) == (row["what"], row["platform"])
    except (ValueError, TypeError, KeyError):
        true = False
    if not true and row["number"] == number + 1:
        report.faults.append(f"record {row['number']} was changed or inserted")
    return row["number"], row["mac"]


def _compare(
    core: Core,
    report: AuditReport,
    macs: Mapping[int, str],
    collected: Iterable[Mapping[str, Any]],
    tail: int,
) -> None:
    """Collected events carry their own number, previous and mac: a tail cut off here is still there."""
    for event in collected:
        data = event.get("data")
        if not isinstance(data, Mapping) or "previous" not in data or not isinstance(data.get("number"), int):
            continue
        report.collected += 1
        number, mac = data["number"], str(event.get("auditmac"))
        if core.vault.audit_mac(str(data["previous"]), canonical(dict(data))) != mac:
            report.faults.append(f"collected event {number} does not carry a true mac")
        elif number in macs and macs[number] != mac:
            report.faults.append(f"record {number} differs from the event that was collected")
        elif number not in macs and number > tail:
            report.faults.append(f"record {number} was published and is missing from the journal")
