"""Reading for people, beside the loops: it holds no lock that they wait for, and gives up in time."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from worker.journal.driver import Row, Tx
from worker.journal.port import JournalDown
from worker.journal.sqlite import translate
from worker.journal.version import sqlite_path

T = TypeVar("T")

PATIENCE = 3.0  # seconds that one look may take in all
AT_ONCE = 2  # looks at a time on PostgreSQL: most connections stay with the loops
SLACK = 0.1  # seconds that a statement may go on past PATIENCE: the server is not told the rest before each short one
STEPS = 10_000  # of SQLite's machine, between two looks at the clock; well below a millisecond

Work = Callable[[Tx], Awaitable[T]]


class TooWide(Exception):
    """The search would read too much: it has to be narrowed."""

    def __init__(self) -> None:
        super().__init__("the search reads too much: name a subscriber, an id, a type, or a shorter period")


class Reader(Protocol):
    """`postgres`: which statements to take where the two differ."""

    postgres: bool

    async def read(self, work: Work[T], patience: float | None = None) -> T:
        """Raises TooWide after PATIENCE seconds, or `patience`; JournalDown when the database does not answer."""

    async def close(self) -> None: ...


class Runs(Protocol):
    """What a reader on PostgreSQL needs of the journal."""

    async def run(self, work: Work[T]) -> T: ...


def open_reader(url: str, journal: Runs) -> Reader:
    return SqliteReader(sqlite_path(url)) if url.startswith("sqlite") else PostgresReader(journal)


class _Reading:
    """A transaction that only reads, and for PATIENCE seconds in all: a look may be many statements."""

    def __init__(self, now: float, patience: float | None) -> None:
        self.now = now
        self.until = time.monotonic() + (PATIENCE if patience is None else patience)

    def over(self) -> bool:
        """SQLite asks it while a statement runs, in that statement's thread; True ends the statement."""
        return time.monotonic() >= self.until

    def left(self) -> float:
        """Seconds. Raises TooWide where there are none."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TooWide
        return left

    async def run(self, sql: str, *args: Any) -> int:
        raise AssertionError("a reader changes nothing")

    async def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        raise AssertionError("a reader changes nothing")

    async def numbers(self, count: int, lock: str) -> list[int]:
        raise AssertionError("a reader changes nothing")

    async def lock(self, name: str) -> None:
        """Reading waits for nobody."""

    async def try_lock(self, name: str) -> bool:
        return True

    def wake(self, channel: str) -> None:
        """There is nothing to tell."""


class _PostgresTx(_Reading):
    """The server ends a statement that would take longer than what is left of the look."""

    def __init__(self, tx: Tx, patience: float | None) -> None:
        super().__init__(tx.now, patience)
        self._tx = tx
        self._told = float("inf")  # seconds that the server gives a statement

    async def rows(self, sql: str, *args: Any) -> Sequence[Row]:
        left = self.left()
        if self._told > left + SLACK:
            await self._tx.run(f"SET LOCAL statement_timeout = {int(left * 1000) + 1}")
            self._told = left
        return await self._tx.rows(sql, *args)


class PostgresReader:
    """The journal's own connections, a few of them."""

    postgres = True

    def __init__(self, journal: Runs) -> None:
        self._journal = journal
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def read(self, work: Work[T], patience: float | None = None) -> T:
        limited: list[_PostgresTx] = []

        async def within(tx: Tx) -> T:
            limited[:] = [_PostgresTx(tx, patience)]
            return await work(limited[0])

        async with self._turn:
            try:
                return await self._journal.run(within)
            except JournalDown:
                if limited and limited[0].over():
                    raise TooWide from None
                raise

    async def close(self) -> None:
        """Nothing is ours."""


class _SqliteTx(_Reading):
    """Statements in a thread: the engine's event loop goes on meanwhile."""

    def __init__(self, connection: sqlite3.Connection, patience: float | None) -> None:
        super().__init__(time.time(), patience)
        self._connection = connection

    async def rows(self, sql: str, *args: Any) -> Sequence[Row]:
        self.left()
        return await asyncio.to_thread(self._rows, translate(sql), [_value(one) for one in args])

    def _rows(self, sql: str, args: list[Any]) -> Sequence[Row]:
        return self._connection.execute(sql, args).fetchall()


def _value(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value


class SqliteReader:
    """A connection of its own: in WAL mode readers and the writer do not wait for each other."""

    postgres = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = asyncio.Lock()
        self._connection: sqlite3.Connection | None = None

    async def read(self, work: Work[T], patience: float | None = None) -> T:
        async with self._turn:
            try:
                connection = self._connection or self._open()
                connection.execute("BEGIN")
                return await self._in_time(connection, work, patience)
            except sqlite3.Error as error:
                if error.args == ("interrupted",):
                    raise TooWide from None
                raise JournalDown(f"the journal's file cannot be read: {error}") from None
            finally:
                if self._connection is not None and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    async def _in_time(self, connection: sqlite3.Connection, work: Work[T], patience: float | None) -> T:
        """A statement that runs in its thread is ended there; the transaction ends after that, never beside it."""
        tx = _SqliteTx(connection, patience)
        connection.set_progress_handler(tx.over, STEPS)
        task = asyncio.ensure_future(work(tx))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            tx.until = 0.0
            await asyncio.gather(task, return_exceptions=True)
            raise
        finally:
            connection.set_progress_handler(None, STEPS)

    def _open(self) -> sqlite3.Connection:
        self._connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=1.0,
        )
        self._connection.row_factory = sqlite3.Row
        return self._connection

    async def close(self) -> None:
        async with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
