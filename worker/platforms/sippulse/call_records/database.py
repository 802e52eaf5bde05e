"""Statements that only read, over a bounded number of connections, each with a time limit."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import aiomysql  # type: ignore[import-untyped] # it has no types; what comes from it is only texts
from pymysql.constants import CR, ER  # type: ignore[import-untyped] # numbers
from pymysql.err import Error, MySQLError  # type: ignore[import-untyped] # classes

from worker.settings.platforms import CallRecordSettings

RESTS = 30.0  # seconds: an idle connection that is older is not used again
BEYOND = 2.0  # seconds after the database should have ended a statement itself
PORT = 3306

Cell = str | None
Cells = Sequence[Cell]
Arguments = Mapping[str, Any]


class Unreadable(Exception):
    """It could not be read, now. `lasting`: it will not be before somebody changes something there.

    The text names no secret and quotes nothing that the database said.
    """

    def __init__(self, why: str, *, lasting: bool = False) -> None:
        super().__init__(why)
        self.lasting = lasting


@dataclass(frozen=True, slots=True)
class Table:
    """What a SELECT gave: names of its columns, and its rows as texts."""

    names: tuple[str, ...]
    rows: Sequence[Cells]


class Database:
    """Connections are opened when they are needed, and kept for the next statement."""

    def __init__(self, settings: CallRecordSettings) -> None:
        assert settings.url is not None
        self._settings = settings
        self._places = asyncio.Semaphore(settings.connections)
        self._idle: list[tuple[float, Any]] = []

    def __repr__(self) -> str:
        return "Database(***)"

    async def select(self, statement: str, arguments: Arguments) -> Table:
        """One statement, whole, within `statement_timeout`; keep its answer small. Raises Unreadable.

        `%(name)s` in it is an argument, a percent sign is written twice.
        """
        limit = self._settings.statement_timeout + BEYOND
        try:
            async with asyncio.timeout(limit), self._connection() as connection:
                return await self._ask(connection, statement, arguments)
        except TimeoutError:
            raise Unreadable(f"the database of call records did not answer within {limit:g} s") from None

    async def close(self) -> None:
        while self._idle:
            _drop(self._idle.pop()[1])

    async def _ask(self, connection: Any, statement: str, arguments: Arguments) -> Table:
        async with connection.cursor() as cursor:
            await cursor.execute(statement, dict(arguments))
            rows = await cursor.fetchall()
            names = tuple(str(each[0]) for each in cursor.description or ())
        return Table(names, [[_text(cell) for cell in row] for row in rows])

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """One that is ours alone; given back only if nothing went wrong with it."""
        async with self._places:
            connection = self._rested()
            try:
                if connection is None:
                    connection = await self._connect()
                yield connection
            except (MySQLError, OSError, EOFError) as error:
                _drop(connection)
                raise self._explained(error) from None  # its text may hold what the server said
            except BaseException:  # cancelled: an answer may be under way on it
                _drop(connection)
                raise
            self._idle.append((time.monotonic(), connection))

    def _rested(self) -> Any | None:
        while self._idle:
            since, connection = self._idle.pop()
            # A server that closed it has said so by now: the reader is at its end.
            if time.monotonic() - since < RESTS and not connection.closed and not connection._reader.at_eof():
                return connection
            _drop(connection)
        return None

    async def _connect(self) -> Any:
        assert self._settings.url is not None
        parts = urlsplit(self._settings.url.get_secret_value())
        connection = await aiomysql.connect(
            host=parts.hostname,
            port=parts.port or PORT,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            db=unquote(parts.path.removeprefix("/")),
            charset="utf8mb4",
            autocommit=True,  # each statement sees what is committed by then
            conv={},  # all values as texts: each column says itself what it is
            ssl=await asyncio.to_thread(self._tls),
            program_name="provisioning-worker",
        )
        try:
            await self._prepare(connection)
        except BaseException:
            _drop(connection)
            raise
        return connection

    async def _prepare(self, connection: Any) -> None:
        """Read only, whatever its account may do; the server itself ends a statement that runs too long."""
        seconds = self._settings.statement_timeout
        limit = f"max_execution_time = {max(1, round(seconds * 1000))}"  # MySQL counts milliseconds
        if "mariadb" in str(connection.server_version).lower():
            limit = f"max_statement_time = {seconds:.3f}"
        async with connection.cursor() as cursor:
            await cursor.execute("SET SESSION TRANSACTION READ ONLY")
            await cursor.execute(f"SET SESSION {limit}")

    def _tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self._settings.ca) if self._settings.ca else None

    def _explained(self, error: BaseException) -> Unreadable:
        """By its number: a server's own words may quote anything."""
        code = error.args[0] if isinstance(error, Error) and error.args else None
        number = f" (error {code})" if isinstance(code, int) else ""
        why, lasting = _SAID.get(code, ("the database of call records does not answer", False))
        if isinstance(error, ssl.SSLError):
            why = "the database of call records shows no certificate that call_records.ca knows"
        seconds = f" {self._settings.statement_timeout:g} s" if "longer than" in why else ""
        return Unreadable(f"{why}{seconds}{number}", lasting=lasting)


_LOGIN = "the database of call records refuses the login in call_records.url"
_RIGHTS = "the account in call_records.url may not read it: grant it SELECT on vi_cdrs and acc"
_SLOW = "the database of call records ended the statement, which took longer than"
# Error number -> what it means, and whether only a person can change it.
_SAID: Mapping[Any, tuple[str, bool]] = {
    ER.ACCESS_DENIED_ERROR: (_LOGIN, False),
    1698: (_LOGIN, False),  # MariaDB: no password would do
    1251: (_LOGIN, False),  # a way to sign in that the client does not know
    ER.HOST_NOT_PRIVILEGED: (_LOGIN, False),
    ER.DBACCESS_DENIED_ERROR: (_RIGHTS, False),
    ER.TABLEACCESS_DENIED_ERROR: (_RIGHTS, False),
    ER.COLUMNACCESS_DENIED_ERROR: (_RIGHTS, False),
    ER.BAD_DB_ERROR: ("there is no database of the name in call_records.url", True),
    ER.NO_SUCH_TABLE: ("the database in call_records.url has no such table", True),
    ER.BAD_FIELD_ERROR: ("the table lacks a column that is asked for", True),
    ER.PARSE_ERROR: ("the database does not understand the SELECT in credit_evidence", True),
    1356: ("a view of the database refers to what is not there", True),
    ER.CON_COUNT_ERROR: ("the database of call records has too many connections", False),
    1226: ("the account in call_records.url has used up its connections", False),
    1969: (_SLOW, False),  # MariaDB, max_statement_time
    3024: (_SLOW, False),  # MySQL, max_execution_time
    CR.CR_SERVER_LOST: ("the database of call records broke the connection off", False),
}


def _drop(connection: Any | None) -> None:
    """At once: the server notices by itself."""
    if connection is not None and not connection.closed:
        connection.close()


def _text(cell: Any) -> Cell:
    return cell.decode("utf-8", "replace") if isinstance(cell, bytes) else cell
