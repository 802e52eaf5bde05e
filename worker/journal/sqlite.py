"""The journal on SQLite: one connection, one writer, for one machine."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, TypeVar

from worker.journal.driver import Row, Tx, Unstorable
from worker.journal.port import JournalDown, JournalError

T = TypeVar("T")

BUSY = 5.0  # seconds to wait for another process (a command-line act) that writes the file
POLL = 0.005  # seconds between two looks whether it has finished


@lru_cache(maxsize=512)
def translate(sql: str) -> str:
    """PostgreSQL's words into SQLite's. There is one writer, so row locks have no counterpart."""
    sql = re.sub(r"=\s*ANY\(\$(\d+)(::text\[\])?\)", r"IN (SELECT value FROM json_each(?\1))", sql)
    sql = re.sub(r"unnest\(\$(\d+)::text\[\]\) AS (\w+)\(value\)", r"json_each(?\1) AS \2", sql)
    sql = re.sub(r"::[a-z0-9]+(\[\])?", "", sql)
    sql = re.sub(r"FOR UPDATE( OF \w+)?( SKIP LOCKED)?", "", sql)
    sql = sql.replace("LEAST(", "MIN(").replace("GREATEST(", "MAX(")
    return re.sub(r"\$(\d+)", r"?\1", sql)


def _value(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value


class SqliteTx:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.now = time.time()
        self.woken: set[str] = set()

    async def rows(self, sql: str, *args: Any) -> Sequence[Row]:
        return self._connection.execute(translate(sql), [_value(a) for a in args]).fetchall()

    async def run(self, sql: str, *args: Any) -> int:
        return self._connection.execute(translate(sql), [_value(a) for a in args]).rowcount

    async def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            self._connection.executemany(translate(sql), rows)

    async def numbers(self, count: int, lock: str) -> list[int]:
        [row] = self._connection.execute(
            "INSERT INTO counters (name, value) VALUES ('arrivals', ?1)"
            " ON CONFLICT (name) DO UPDATE SET value = value + ?1 RETURNING value",
            [count],
        ).fetchall()
        return list(range(row[0] - count + 1, row[0] + 1))

    async def lock(self, name: str) -> None:
        """The transaction holds the only write lock already."""

    async def try_lock(self, name: str) -> bool:
        return True

    def wake(self, channel: str) -> None:
        self.woken.add(channel)


class SqliteDriver:
    def __init__(self, path: Path, *, exclusive: bool = False) -> None:
        """`exclusive`: this is the one `worker run` of the file; raises JournalError if there is one."""
        self._path = path
        self._file_lock = _only_one(path) if exclusive else None
        self._lock = asyncio.Lock()
        self._heard: list[Callable[[str], None]] = []
        try:
            self._connection = _connect(path)
        except sqlite3.Error as error:
            self._unlock()
            raise JournalDown(f"the journal's file cannot be opened: {error}") from None

    async def transact(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Syncing the file happens in a thread; the statements before it take microseconds."""
        async with self._lock:
            try:
                tx, answer = await self._transact(work)
            except (UnicodeError, OverflowError, sqlite3.DataError, sqlite3.IntegrityError) as error:
                raise Unstorable(f"the journal refuses the data: {type(error).__name__}") from None
            except sqlite3.ProgrammingError:
                raise
            except sqlite3.Error as error:
                raise JournalDown(f"the journal's file cannot be written: {error}") from None
        for channel in tx.woken:
            for heard in self._heard:
                heard(channel)
        return answer

    async def _transact(self, work: Callable[[Tx], Awaitable[T]]) -> tuple[SqliteTx, T]:
        try:
            await self._begin()
            before = self._connection.total_changes
            tx = SqliteTx(self._connection)
            answer = await work(tx)
            if self._connection.total_changes == before:
                self._connection.execute("COMMIT")  # nothing is to be synced
            else:
                await finish(asyncio.to_thread(self._connection.execute, "COMMIT"))
            return tx, answer
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    async def _begin(self) -> None:
        """The file is ours alone but for a command-line act now and then: wait for that without a thread."""
        patience = time.monotonic() + BUSY
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > patience:
                    raise
            await asyncio.sleep(POLL)

    @asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[bool]:
        """By a file beside the journal's; `name` has to be fit for one."""
        path = Path(f"{self._path}.{name}.lock")
        file = _locked(path)
        try:
            yield file is not None
        finally:
            if file is not None:
                _let_go(path, file)

    def listen(self, heard: Callable[[str], None]) -> None:
        self._heard.append(heard)

    async def close(self) -> None:
        async with self._lock:
            self._connection.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._file_lock is not None:
            self._file_lock.close()


def make_file(path: Path) -> None:
    """An empty journal for its owner alone; SQLite gives the files beside it the same mode."""
    with suppress(OSError):  # it is there, or opening it says why it cannot be made
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    # The last one last: until then another process may hold the file for a moment.
    pragmas = (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",
        "busy_timeout=0",
    )
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")
    return connection


async def finish(work: Awaitable[T]) -> T:
    """Await `work` to its end although we are cancelled meanwhile, then let the cancellation through."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # the caller is gone: nobody else is to be told
        raise


def _locked(path: Path) -> IO[str] | None:
    """None: somebody else holds it. Who held it before may have removed the file that we have opened: then again."""
    while True:
        try:
            file = path.open("w")
        except OSError as error:
            raise JournalDown(f"no file can be made beside the journal's ({error.strerror})") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        except OSError:
            file.close()
            return None
        file.close()


def _let_go(path: Path, file: IO[str]) -> None:
    path.unlink(missing_ok=True)
    file.close()


def _only_one(path: Path) -> IO[str]:
    lock = Path(f"{path}.lock").open("w")  # noqa: SIM115 - open, and so locked, as long as the journal is
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise JournalError(
            f"another `worker run` uses {path.name}: a SQLite journal serves one process."
            " Stop that one, or use PostgreSQL for more than one."
        ) from None
    return lock
