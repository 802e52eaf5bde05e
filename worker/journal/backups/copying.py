"""A copy of a whole journal: into a file while workers run, or into another database while none does.

Tables go over a portion of rows at a time, as they were at one instant. The keys do not: what the journal encrypts
is as unreadable in the copy.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, Protocol

import asyncpg
from sqlalchemy import Boolean, Double, Table

from worker.journal.backups.marks import NAME, Mark
from worker.journal.port import JournalDown, JournalError
from worker.journal.postgres import AWAY, reason
from worker.journal.schema import prepare
from worker.journal.sqlite import make_file
from worker.journal.version import sqlite_path
from worker.journal.whole import metadata

PORTION = 1000  # rows
PORTIONS = {"upload_parts": 20, "quarantine": 20}  # of large ones
PATIENCE = 10.0  # seconds for a connection
OF_PROCESSES = (
    "processes",
    "leases",
    "listeners",
)  # about those that run on the one journal, not on the other
SEQUENCE = "arrivals"  # PostgreSQL's sequence, SQLite's row of `counters`
MADE_FULL = "DELETE FROM counters"  # the only table that is not empty from the beginning
TABLES = [table for table in metadata.sorted_tables if table.name not in OF_PROCESSES]

Rows = Sequence[Sequence[Any]]
Told = Callable[[str, int], None]  # table, its rows so far


class Source(Protocol):
    def portions(self, table: Table) -> AsyncIterator[Rows]:
        """All rows as they were when it was opened, in the order of their key."""

    async def arrivals(self) -> int:
        """The last number given."""


class Sink(Protocol):
    async def write(self, table: Table, rows: Rows) -> None: ...

    async def finish(self, arrivals: int) -> None:
        """The numbers go on where those of the source stood."""


async def copy(source_url: str, sink_url: str, mark: Mark | None, told: Told) -> dict[str, int]:
    """Into an empty database, whole or not at all; rows by table. `mark`: what the copy says of itself.

    Raises JournalError where the other one is not empty, JournalDown when a database does not answer.
    """
    if sink_url.startswith("sqlite"):
        make_file(sqlite_path(sink_url))  # for its owner alone, before anything is in it
    await prepare(sink_url, only_empty=True)
    counts: dict[str, int] = {}
    async with _source(source_url) as source, _sink(sink_url) as sink:
        for table in TABLES:
            counts[table.name] = 0
            async for rows in source.portions(table):
                kept = [row for row in rows if not _left_out(table, row)]
                await sink.write(table, kept)
                counts[table.name] += len(kept)
                told(table.name, counts[table.name])
        if mark is not None:
            await sink.write(metadata.tables["meta"], [(NAME, mark.text())])
        await sink.finish(await source.arrivals())
    return counts


def portion_of(table: Table) -> int:
    return PORTIONS.get(table.name, PORTION)


def _left_out(table: Table, row: Sequence[Any]) -> bool:
    """The last number is `finish`'s to write, and what the source says of itself is not true of its copy."""
    return (table.name, row[0]) in (("counters", SEQUENCE), ("meta", NAME))


async def backup(source_url: str, file: Path, mark: Mark, told: Told) -> dict[str, int]:
    """Into a new SQLite file for its owner alone, which is there when it is whole."""
    draft = _draft(file)
    try:
        counts = await copy(source_url, f"sqlite:///{draft.absolute()}", mark, told)
        _put(draft, file)
    except FileExistsError:
        raise JournalError(f"there is a file {file}: name another one") from None
    except OSError as error:
        raise JournalError(f"the backup {file} cannot be written: {error.strerror}") from None
    finally:
        for left in (draft, Path(f"{draft}-wal"), Path(f"{draft}-shm")):
            left.unlink(missing_ok=True)
    return counts


def _draft(file: Path) -> Path:
    folder = file.absolute().parent
    if not folder.is_dir():
        raise JournalError(f"there is no folder {folder}: make it first")
    return folder / f".{file.name}.{os.getpid()}"


def _put(draft: Path, file: Path) -> None:
    """Under its name, without files beside it, and on the disk. Raises FileExistsError: never over another one."""
    with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    _sync(draft)
    try:
        os.link(draft, file)
    except PermissionError:  # a file system without links
        if file.exists():
            raise FileExistsError from None
        draft.rename(file)
    _sync(file.absolute().parent)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _columns(table: Table) -> str:
    return ", ".join(f'"{column.name}"' for column in table.columns)


def _reading(table: Table) -> str:
    order = ", ".join(f'"{column.name}"' for column in table.primary_key.columns)
    return f"SELECT {_columns(table)} FROM {table.name} ORDER BY {order}"  # noqa: S608 - names are ours


def _source(url: str) -> AbstractAsyncContextManager[Source]:
    return _file_source(sqlite_path(url)) if url.startswith("sqlite") else _database_source(url)


def _sink(url: str) -> AbstractAsyncContextManager[Sink]:
    return _file_sink(sqlite_path(url)) if url.startswith("sqlite") else _database_sink(url)


# ---------------------------------------------------------------- SQLite


class _File:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def portions(self, table: Table) -> AsyncIterator[Rows]:
        found = self._connection.execute(_reading(table))
        while rows := found.fetchmany(portion_of(table)):
            yield rows

    async def arrivals(self) -> int:
        row = self._connection.execute("SELECT value FROM counters WHERE name = ?", [SEQUENCE]).fetchone()
        return 0 if row is None else int(row[0])

    async def write(self, table: Table, rows: Rows) -> None:
        places = ", ".join("?" for _ in table.columns)
        self._connection.executemany(
            f"INSERT INTO {table.name} ({_columns(table)}) VALUES ({places})",  # noqa: S608 - names are ours
            rows,
        )

    async def finish(self, arrivals: int) -> None:
        self._connection.execute("INSERT INTO counters (name, value) VALUES (?, ?)", [SEQUENCE, arrivals])
        self._connection.execute("COMMIT")


@asynccontextmanager
async def _file_source(path: Path) -> AsyncIterator[_File]:
    async with _file(path, "BEGIN") as connection:
        connection.execute("SELECT 1 FROM meta").fetchone()  # from here on nothing changes for us
        yield _File(connection)


@asynccontextmanager
async def _file_sink(path: Path) -> AsyncIterator[_File]:
    async with _file(path, "BEGIN IMMEDIATE") as connection:
        connection.execute(MADE_FULL)
        for table in TABLES:
            if connection.execute(f"SELECT 1 FROM {table.name} LIMIT 1").fetchone():  # noqa: S608 - names are ours
                raise _not_empty(table)
        yield _File(connection)


@asynccontextmanager
async def _file(path: Path, begin: str) -> AsyncIterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as connection:
            connection.execute(begin)
            yield connection
    except sqlite3.Error as error:
        raise JournalDown(f"the journal's file {path.name} cannot be used: {error}") from None


def _not_empty(table: Table) -> JournalError:
    return JournalError(
        f"the other journal is not empty (there are rows in {table.name}): a copy goes into a new one only"
    )


# ---------------------------------------------------------------- PostgreSQL


class _Database:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def portions(self, table: Table) -> AsyncIterator[Rows]:
        cursor = await self._connection.cursor(_reading(table))
        while rows := await cursor.fetch(portion_of(table)):
            yield [tuple(row) for row in rows]

    async def arrivals(self) -> int:
        last = await self._connection.fetchval(f"SELECT last_value FROM {SEQUENCE} WHERE is_called")  # noqa: S608 - a name of ours
        return int(last or 0)

    async def write(self, table: Table, rows: Rows) -> None:
        if rows:
            await self._connection.copy_records_to_table(
                table.name, records=_typed(table, rows), columns=[column.name for column in table.columns]
            )

    async def finish(self, arrivals: int) -> None:
        if arrivals:
            await self._connection.execute("SELECT setval($1::regclass, $2)", SEQUENCE, arrivals)
        for table in TABLES:
            await self._count_on(table)

    async def _count_on(self, table: Table) -> None:
        """A number that the database gives out itself must not be one that came over."""
        for column in table.primary_key.columns:
            name = await self._connection.fetchval(
                "SELECT pg_get_serial_sequence($1, $2)", table.name, column.name
            )
            if name is not None:
                await self._connection.execute(
                    f"SELECT setval($1::regclass, greatest(max({column.name}), 1), max({column.name}) IS NOT NULL)"  # noqa: S608 - names are ours
                    f" FROM {table.name}",
                    name,
                )


def _typed(table: Table, rows: Rows) -> list[tuple[Any, ...]]:
    """SQLite keeps truth as 0 and 1, and a time of whole seconds as a whole number."""
    as_: Mapping[int, type] = {
        place: bool if isinstance(column.type, Boolean) else float
        for place, column in enumerate(table.columns)
        if isinstance(column.type, (Boolean, Double))
    }
    return [
        tuple(
            value if value is None or place not in as_ else as_[place](value)
            for place, value in enumerate(row)
        )
        for row in rows
    ]


@asynccontextmanager
async def _database_source(url: str) -> AsyncIterator[_Database]:
    async with (
        _database(url) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        yield _Database(connection)


@asynccontextmanager
async def _database_sink(url: str) -> AsyncIterator[_Database]:
    async with _database(url) as connection, connection.transaction():
        await connection.execute(MADE_FULL)
        for table in TABLES:
            if await connection.fetchval(f"SELECT 1 FROM {table.name} LIMIT 1"):  # noqa: S608 - names are ours
                raise _not_empty(table)
        yield _Database(connection)


@asynccontextmanager
async def _database(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = None
    try:
        connection = await asyncpg.connect(url, timeout=PATIENCE)
        yield connection
    except AWAY as error:
        raise JournalDown(f"the database does not answer: {reason(error)}") from None
    finally:
        if connection is not None:
            with suppress(*AWAY):
                await connection.close(timeout=PATIENCE)
