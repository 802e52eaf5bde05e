"""Opening a journal by its URL: schema, driver, key."""

from __future__ import annotations

from worker.journal import care
from worker.journal.core import Core
from worker.journal.driver import Driver
from worker.journal.journal import StoredJournal
from worker.journal.port import JournalError
from worker.journal.postgres import PostgresDriver
from worker.journal.sqlite import SqliteDriver
from worker.journal.version import is_newest, sqlite_path

SCHEMES = "sqlite:///worker.db or postgresql://user@host/database"


async def open_journal(
    url: str, core: Core, *, exclusive: bool = False, lease: float = 25.0, connections: int = 8
) -> StoredJournal:
    """`exclusive`: as the one `worker run` of a SQLite file. `lease`: seconds of the shortest lease.

    Raises JournalError where a person must act (older schema, other key), JournalDown when it is away.
    """
    if not url.startswith(("sqlite:///", "postgresql://")):
        raise JournalError(f"[journal] url must be {SCHEMES}")
    if not await is_newest(url):
        from worker.journal.schema import prepare

        await prepare(url, only_empty=True)
    driver: Driver
    if url.startswith("sqlite"):
        driver = SqliteDriver(sqlite_path(url), exclusive=exclusive)
    else:
        driver = PostgresDriver(url, lease=lease, connections=connections)
    journal = StoredJournal(driver, core)
    try:
        await journal.check_key()
        if exclusive and isinstance(driver, SqliteDriver):
            await journal.run(care.forget_others)
    except BaseException:
        await journal.close()
        raise
    return journal
