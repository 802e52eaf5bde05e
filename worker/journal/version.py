"""Which schema a journal has, without the tools that make schemas: loading those costs a second at every start."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import asyncpg

NEWEST = max(file.stem[:4] for file in (Path(__file__).parent / "migrations/versions").glob("[0-9]*.py"))
ASK = "SELECT version_num FROM alembic_version"
PATIENCE = 5.0  # seconds
SILENT = (OSError, TimeoutError, ValueError, sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError)


async def is_newest(url: str) -> bool:
    """False: it is older or newer, or nobody can say. `schema.prepare` then does or says what is needed."""
    try:
        if url.startswith("sqlite"):
            return _in_file(sqlite_path(url)) == NEWEST
        return await _in_database(url) == NEWEST
    except SILENT:
        return False


def _in_file(path: Path) -> str | None:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=PATIENCE)) as file:
        row = file.execute(ASK).fetchone()
    return None if row is None else str(row[0])


async def _in_database(url: str) -> str | None:
    connection = await asyncpg.connect(url, timeout=PATIENCE)
    try:
        found = await connection.fetchval(ASK, timeout=PATIENCE)
    finally:
        await connection.close(timeout=PATIENCE)
    return None if found is None else str(found)


def sqlite_path(url: str) -> Path:
    """`sqlite:///worker.db` is relative, `sqlite:////var/lib/worker.db` is absolute."""
    return Path(url.removeprefix("sqlite:///"))
