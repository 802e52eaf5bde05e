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
from pymysql.constants import CLIENT, CR, ER  # type: ignore[import-untyped] # numbers
from pymysql.err import Error, MySQLError, OperationalError  # type: ignore[import-untyped] # classes

from worker.settings.platforms import CallRecordSettings

RESTS = 30.0  # seconds: an idle connection that is older is not used again
BEYOND = 2.0  # seconds after the database should have ended a statement itself
PORT = 3306

Cell = str | None
Cells = Sequence[Cell]
Arguments = Mapping[str, Any]


class Unreadable(Exception):
    """It could not be read, now. `lasting`: it will not be before somebody changes something there.

    The text names no secret and quotes nothing that the database said. `advice`: what to do about it.
    """

    def __init__(self, why: str, *, lasting: bool = False, advice: str = "") -> None:
        super().__init__(why)
        self.lasting = lasting
        self.advice = advice


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
            why = f"the database of call records did not answer within {limit:g} s"
            raise Unreadable(why, advice=_REACH) from None

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
        connection = Encryptable(
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
        await connection._connect()
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
        """None: it is not asked for."""
        if not self._settings.encrypted:
            return None
        context = ssl.create_default_context(cafile=self._settings.ca)
        if not self._settings.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _explained(self, error: BaseException) -> Unreadable:
        """By its number: a server's own words may quote anything."""
        tls = error if isinstance(error, ssl.SSLError) else error.__cause__
        if isinstance(tls, ssl.SSLError):
            return _not_trusted(tls)
        code = error.args[0] if isinstance(error, Error) and error.args else None
        number = f" (error {code})" if isinstance(code, int) else ""
        why, lasting, advice = _SAID.get(
            code, ("the database of call records does not answer", False, _REACH)
        )
        seconds = f" {self._settings.statement_timeout:g} s" if "longer than" in why else ""
        return Unreadable(f"{why}{seconds}{number}", lasting=lasting, advice=advice)


class Encryptable(aiomysql.Connection):  # type: ignore[misc] # it has no types
    """Of itself it goes on in clear, password and all, where the server says that it has no TLS."""

    async def _request_authentication(self) -> None:
        if self._ssl_context is not None and not self.server_capabilities & CLIENT.SSL:
            raise OperationalError(CR.CR_SSL_CONNECTION_ERROR, "no TLS")
        await super()._request_authentication()


def _not_trusted(error: ssl.SSLError) -> Unreadable:
    """What OpenSSL says of a certificate quotes at most the address in our own settings."""
    said = getattr(error, "verify_message", "") or "TLS failed"
    why = f"the database of call records shows a certificate that is not trusted: {said}"
    return Unreadable(why, advice="put call_records.ca right, or the certificate that the server shows")


_REACH = "check host and port in call_records.url, the network, and that the database runs"
_RIGHT_LOGIN = (
    "put user and password in call_records.url right; docs/credit.md has the statements that make them"
)
_GRANT = "run the GRANT statements of docs/credit.md for that account"
_THERE = "let call_records.url lead to SIPPulse's own database, and ask the vendor for vi_cdrs and acc"
_QUICKER = "see that accountcode has an index, or raise call_records.statement_timeout"
_FEWER = "lower call_records.connections, or let the server take more"
_LOGIN = "the database of call records refuses the login in call_records.url"
_RIGHTS = "the account in call_records.url may not read it: grant it SELECT on vi_cdrs and acc"
_SLOW = "the database of call records ended the statement, which took longer than"
# Error number -> what it means, whether only a person can change it, and what to do.
_SAID: Mapping[Any, tuple[str, bool, str]] = {
    ER.ACCESS_DENIED_ERROR: (_LOGIN, False, _RIGHT_LOGIN),
    1698: (_LOGIN, False, _RIGHT_LOGIN),  # MariaDB: no password would do
    1251: (_LOGIN, False, _RIGHT_LOGIN),  # a way to sign in that the client does not know
    ER.HOST_NOT_PRIVILEGED: (_LOGIN, False, _RIGHT_LOGIN),
    ER.DBACCESS_DENIED_ERROR: (_RIGHTS, False, _GRANT),
    ER.TABLEACCESS_DENIED_ERROR: (_RIGHTS, False, _GRANT),
    ER.COLUMNACCESS_DENIED_ERROR: (_RIGHTS, False, _GRANT),
    ER.BAD_DB_ERROR: (
        "there is no database of the name in call_records.url",
        True,
        "put the name at the end of call_records.url right",
    ),
    ER.NO_SUCH_TABLE: ("the database in call_records.url has no such table", True, _THERE),
    ER.BAD_FIELD_ERROR: ("the table lacks a column that is asked for", True, _THERE),
    ER.PARSE_ERROR: (
        "the database does not understand the SELECT in credit_evidence",
        True,
        "try that SELECT in the database's own client, with values for its parameters",
    ),
    1356: ("a view of the database refers to what is not there", True, _THERE),
    ER.CON_COUNT_ERROR: ("the database of call records has too many connections", False, _FEWER),
    1226: ("the account in call_records.url has used up its connections", False, _FEWER),
    1969: (_SLOW, False, _QUICKER),  # MariaDB, max_statement_time
    3024: (_SLOW, False, _QUICKER),  # MySQL, max_execution_time
    CR.CR_SERVER_LOST: ("the database of call records broke the connection off", False, _REACH),
    CR.CR_SSL_CONNECTION_ERROR: (
        "the database of call records offers no encrypted connection, and call_records asks for one",
        False,
        "give the server a certificate; without tls and ca the connection is not encrypted",
    ),
}


def _drop(connection: Any | None) -> None:
    """At once: the server notices by itself."""
    if connection is not None and not connection.closed:
        connection.close()


def _text(cell: Any) -> Cell:
    return cell.decode("utf-8", "replace") if isinstance(cell, bytes) else cell
