"""Whether a journal was written under some key: a new key beside it would read nothing of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import asyncpg

from worker.journal.port import JournalDown, JournalError
from worker.journal.version import PATIENCE, sqlite_path

ASK = "SELECT value FROM meta WHERE name = 'key'"


async def has_begun(url: str) -> bool:
    """False too for what is no journal yet, or none of ours: opening it says more.

    Raises JournalDown when the database does not answer, JournalError when it does not let us in.
    """
    if url.startswith("sqlite"):
        return _in_file(sqlite_path(url))
    return url.startswith("postgresql://") and await _in_database(url)


def _in_file(path: Path) -> bool:
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=PATIENCE)
        ) as file:
            return file.execute(ASK).fetchone() is not None
    except sqlite3.Error:
        return False


async def _in_database(url: str) -> bool:
    connection = await _connected(url)
    try:
        return await connection.fetchval(ASK, timeout=PATIENCE) is not None
    except asyncpg.UndefinedTableError:
        return False
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise JournalDown(f"the database does not answer: {type(error).__name__}") from None
    finally:
        await connection.close(timeout=PATIENCE)


async def _connected(url: str) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(url, timeout=PATIENCE)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        from worker.journal.postgres import reason
        from worker.journal.schema import NEEDS_A_PERSON

        state = str(getattr(error, "sqlstate", None) or "")
        if state in NEEDS_A_PERSON:
            raise JournalError(f"[journal] url: {NEEDS_A_PERSON[state]}") from None
        if isinstance(error, (FileNotFoundError, ValueError, asyncpg.InterfaceError)):
            raise JournalError(f"[journal] url: {reason(error)}") from None
        raise JournalDown(f"the database does not answer: {reason(error)}") from None
