"""Whether the database of call records is there, lets us in to read and nothing more, and has what is read of it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable

from worker.messages.sippulse.call_records import TABLES, Table
from worker.platforms.checkup import Examined
from worker.platforms.sippulse.call_records.database import Database, Unreadable
from worker.platforms.sippulse.call_records.evidence import CallEvidence
from worker.settings.platforms import CallRecordSettings

PART = "call records"
PRICED = {"vi_cdrs": frozenset({"price"})}  # what evidence for credit needs beside
HARMLESS = frozenset({"USAGE", "SELECT", "SHOW VIEW", "SHOW DATABASES"})
ACCOUNT = "docs/credit.md has the statements for an account that may read the two and nothing else"
_SESSION = "SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_read_only', 'transaction_read_only')"
_GRANT = re.compile(r"GRANT (.+?) ON ", re.DOTALL)


async def examined(
    database: Database, evidence: CallEvidence, settings: CallRecordSettings
) -> AsyncIterator[Examined]:
    """It ends with the first thing without which the others cannot be looked at."""
    try:
        session = await database.select(_SESSION, {})
    except Unreadable as error:
        yield broken(error)
        return
    way = "encrypted" if settings.encrypted else "not encrypted"
    yield Examined(PART, "well", f"the database is reachable ({way}), signed in")
    if not any(value == "ON" for _, value in session.rows):
        text = "the session may write, though it was told to only read: a proxy may stand in between"
        yield Examined(PART, "broken", text, "let call_records.url lead to the server itself")
    async for found in _account(database):
        yield found
    for table in TABLES.values():
        yield await _table(database, table)
    try:
        if await evidence.shows_anything():
            text = "the SELECT in credit_evidence shows rows of a command that there is not"
            yield Examined(PART, "broken", text, "let it name the command: docs/credit.md, Your own SELECT")
    except Unreadable as error:
        yield broken(error, "credit_evidence: ")


async def _account(database: Database) -> AsyncIterator[Examined]:
    """An account that may do more than read is no fault, for our sessions only read; it is more than is needed."""
    try:
        granted = await database.select("SHOW GRANTS", {})
    except Unreadable as error:
        yield broken(error, "what the account may do cannot be read: ")
        return
    if more := sorted(privileges(str(row[0]) for row in granted.rows) - HARMLESS):
        text = f"the account may do more than read: {', '.join(more)}"
        yield Examined(PART, "advice", text, f"give the worker one of its own: {ACCOUNT}")


def privileges(grants: Iterable[str]) -> set[str]:
    """Names of what SHOW GRANTS lists, without columns; of its lines nothing else, for they may hold a hash."""
    found: set[str] = set()
    for line in grants:
        if (named := _GRANT.match(line)) is not None:
            without_columns = re.sub(r"\([^)]*\)", "", named[1])
            found |= {each.strip().upper() for each in without_columns.split(",")}
    return found


async def _table(database: Database, table: Table) -> Examined:
    try:
        empty = await database.select(f"SELECT * FROM {table.name} WHERE 1 = 0", {})  # noqa: S608 - our own name
    except Unreadable as error:
        return broken(error, f"{table.name}: ")
    names = {name.lower() for name in empty.names}
    if lacking := sorted((table.needed | PRICED.get(table.name, frozenset())) - names):
        text = f"{table.name} lacks {', '.join(lacking)}, without which it cannot be used"
        return Examined(PART, "broken", text, "let call_records.url lead to SIPPulse's own database")
    missing = [each.name for each in table.columns if each.name not in names]
    without = f"; without {', '.join(missing)}, which lists show as null" if missing else ""
    return Examined(
        PART, "well", f"{table.name} can be read, {len(table.columns) - len(missing)} columns{without}"
    )


def broken(error: Unreadable, about: str = "") -> Examined:
    return Examined(PART, "broken", f"{about}{error}", error.advice)
