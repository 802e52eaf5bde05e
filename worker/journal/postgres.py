"""The journal on PostgreSQL: for more than one process, on more than one machine."""

from __future__ import annotations

import asyncio
import re
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from typing import Any, NoReturn, TypeVar

import asyncpg
import structlog

from worker.journal.driver import Row, Tx, Unstorable
from worker.journal.port import JournalDown

T = TypeVar("T")
log = structlog.get_logger()

CHANNEL = "provisioning_worker"
DEADLOCKS = 5  # how often a batch is repeated after a deadlock abort
# A machine that is gone says nothing: the server asks, so that what it held is free within half a minute.
ASKING = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
BROKEN_BY_DATA = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, UnicodeError, OverflowError)


class _Connection(asyncpg.Connection):
    def get_reset_query(self) -> str:
        """Nothing of a session outlives our transactions: no round trip when it goes back to the pool."""
        return ""


@lru_cache(maxsize=512)
def as_set(sql: str) -> str:
    """Arrays as sets: `= ANY(array)` is compared with every row, one by one, while a table has no statistics."""
    return re.sub(
        r"= ANY\(\$(\d+)(?:::(\w+)\[\])?\)", lambda m: f"IN (SELECT unnest(${m[1]}::{m[2] or 'int8'}[]))", sql
    )


class PostgresTx:
    def __init__(self, connection: Any, now: float) -> None:
        self._connection = connection
        self.now = now
        self.woken: set[str] = set()

    async def rows(self, sql: str, *args: Any) -> Sequence[Row]:
        rows: Sequence[Row] = await self._connection.fetch(as_set(sql), *args)
        return rows

    async def run(self, sql: str, *args: Any) -> int:
        status: str = await self._connection.execute(as_set(sql), *args)
        count = status.rsplit(" ", 1)[-1]
        return int(count) if count.isdigit() else 0

    async def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        if len(rows) == 1:
            await self._connection.execute(sql, *rows[0])
        elif rows:
            await self._connection.executemany(sql, rows)

    async def numbers(self, count: int, lock: str) -> list[int]:
        rows = await self._connection.fetch(
            "WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock($2))"
            " SELECT nextval('arrivals') AS n FROM held, generate_series(1, $1)",
            count,
            _number(lock),
        )
        return [row["n"] for row in rows]

    async def lock(self, name: str) -> None:
        await self._connection.execute("SELECT pg_advisory_xact_lock($1)", _number(name))

    async def try_lock(self, name: str) -> bool:
        return bool(await self._connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _number(name)))

    def wake(self, channel: str) -> None:
        self.woken.add(channel)


def _number(name: str) -> int:
    return 0x70726F76 << 32 | zlib.crc32(name.encode())  # "prov": apart from other users of the database


class PostgresDriver:
    """`lease`: seconds of the shortest lease; a frozen process must not hold the others for a third of it."""

    def __init__(self, url: str, *, lease: float = 25.0, connections: int = 8) -> None:
        self._url = url.replace("postgresql+asyncpg://", "postgresql://", 1)
        # Below a third: another process waits for the lock of a frozen one, then does its own work.
        self._patience = str(int(max(lease * 0.3, 0.2) * 1000))
        self._connections = connections
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._heard: list[Callable[[str], None]] = []
        self._listener: asyncio.Task[None] | None = None

    async def _open(self) -> asyncpg.Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=1,
                    max_size=self._connections,
                    timeout=5,
                    command_timeout=30,
                    connection_class=_Connection,
                    init=_durable,
                    server_settings={
                        "application_name": "provisioning-worker",
                        "lock_timeout": self._patience,
                        "idle_in_transaction_session_timeout": self._patience,
                        "jit": "off",
                    },
                )
            return self._pool

    async def transact(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        for tried in range(DEADLOCKS):
            try:
                return await self._transact(work)
            except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError) as error:
                if tried == DEADLOCKS - 1:
                    _down(error)
            except BROKEN_BY_DATA as error:  # its own text may quote the data
                raise Unstorable(f"the database refuses the data: {type(error).__name__}") from None
            except AWAY as error:
                _down(error)
        raise AssertionError

    async def _transact(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        pool = self._pool or await self._open()
        async with pool.acquire(timeout=10) as connection:
            try:
                await connection.execute("BEGIN")
                now = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
                tx = PostgresTx(connection, now)
                answer = await work(tx)
                await connection.execute(_ending(tx.woken))
            except BaseException:
                with suppress(*AWAY):
                    await connection.execute("ROLLBACK")
                raise
        return answer

    @asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[bool]:
        """By a connection of its own: the lock ends with it."""
        try:
            connection = await asyncpg.connect(
                self._url, timeout=5, command_timeout=30, server_settings=ASKING
            )
        except AWAY as error:
            _down(error)
        try:
            try:
                ours = await connection.fetchval("SELECT pg_try_advisory_lock($1)", _number(name))
            except AWAY as error:
                _down(error)
            yield bool(ours)
        finally:
            with suppress(*AWAY):
                await connection.close(timeout=5)

    def listen(self, heard: Callable[[str], None]) -> None:
        self._heard.append(heard)
        if self._listener is None:
            self._listener = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        """A lost listener loses signals only: every loop polls slowly as well."""
        while True:
            with suppress(*AWAY):
                connection = await asyncpg.connect(self._url, timeout=5)
                try:
                    await connection.add_listener(CHANNEL, self._hear)
                    await _gone(connection).wait()
                finally:
                    connection.terminate()
            await asyncio.sleep(1)

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        for channel in str(payload).split():
            for heard in self._heard:
                heard(channel)

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener])
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), 5)
            except AWAY:
                self._pool.terminate()


def _ending(woken: set[str]) -> str:
    """COMMIT, and one signal for all that was woken, in one round trip."""
    if not woken:
        return "COMMIT"
    channels = " ".join(sorted(woken))[:7900].replace("'", "''")
    return f"NOTIFY {CHANNEL}, '{channels}'; COMMIT"


def _down(error: BaseException) -> NoReturn:
    """Whatever is not about the data is about the database: nobody's message is to blame for it."""
    state = str(getattr(error, "sqlstate", None) or "")
    if state.startswith("42"):  # a table or a right is missing: it does not come back by itself
        log.error("journal.statement_refused", error=type(error).__name__, sqlstate=state)
    raise JournalDown(f"the database does not answer: {reason(error)}") from None


def reason(error: BaseException) -> str:
    """A word, or for TLS a sentence, about what an operator can put right; never the address or its password."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not accepted ({error.verify_message})"
        case ssl.SSLError():
            return f"TLS with it fails ({error.reason})"
        case FileNotFoundError(filename=str(name)):
            return f"there is no file {name}, which the address names"
        case _:
            return type(error).__name__


async def _durable(connection: Any) -> None:
    """A commit that a power cut can undo must not be acknowledged (P1), whatever the database's default."""
    await connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )


def _gone(connection: Any) -> asyncio.Event:
    gone = asyncio.Event()
    connection.add_termination_listener(lambda _connection, gone=gone: gone.set())
    return gone
