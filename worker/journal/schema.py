"""Bringing a database to the schema this version needs (surface 4, `[journal] url`)."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, event, inspect, text
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from worker.journal.port import JournalDown, JournalError
from worker.journal.postgres import reason
from worker.journal.version import sqlite_path

LOCK = 0x70726F76_00000001  # one process at a time makes or changes the schema
PATIENCE = 10.0  # seconds for a connection, and for another process that makes the schema
ALIVE = 30  # seconds since its last sign of life that a process may still run
CONNECTED = (  # only engines give signs of life, and not while they start
    "SELECT 'a connection of process ' || pid AS owner FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = 'provisioning-worker' AND pid <> pg_backend_pid()"
)
NEEDS_A_PERSON = {  # SQLSTATE
    "3D000": "there is no such database on the server: create it, or name another one",
    "28P01": "the server refuses the user or the password",
    "28000": "the server refuses this user from here (pg_hba.conf)",
    "42501": "the user may not make tables in this database: give it the right, or the database",
}


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection, only_empty: bool) -> str:
    """Returns what was done. Raises JournalError where a person must act first."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    config = _config(connection)
    wanted = ScriptDirectory.from_config(config).get_current_head()
    present = MigrationContext.configure(connection).get_current_revision()
    if present == wanted:
        return "up to date"
    if present is None and inspect(connection).has_table("commands"):
        raise JournalError(
            "the database has a table `commands` that is not ours: give the journal a database of its own"
        )
    known = {revision.revision for revision in ScriptDirectory.from_config(config).walk_revisions()}
    if present is not None and present not in known:
        raise JournalError(f"the journal was written by a newer worker (schema {present}): run that version")
    if present is not None and only_empty:
        raise JournalError(
            f"the journal has schema {present}, this worker needs {wanted}: stop the workers, back it up,"
            " then run `worker journal upgrade`"
        )
    if present is not None:
        _nobody_works(connection)
    command.upgrade(config, "head")
    return f"made schema {wanted}" if present is None else f"upgraded from {present} to {wanted}"


def _nobody_works(connection: Connection) -> None:
    """A worker of the older version would go on with what it does not understand."""
    now = (
        "extract(epoch FROM clock_timestamp())"
        if connection.dialect.name == "postgresql"
        else "strftime('%s', 'now')"
    )
    found = list(
        connection.execute(text(f"SELECT owner FROM processes WHERE beat_at > {now} - {ALIVE}"))  # noqa: S608 - ours
    )
    if connection.dialect.name == "postgresql":
        found = found or list(connection.execute(text(CONNECTED)))
    refuse([str(row.owner) for row in found])


def refuse(owners: Sequence[str]) -> None:
    """Raises JournalError where workers run."""
    if owners:
        raise JournalError(
            f"workers run on this journal ({', '.join(owners[:3])}): stop them, wait half a minute, and say it again"
        )


def _sqlite(path: Path, only_empty: bool) -> str:
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"timeout": PATIENCE})
    event.listen(engine, "connect", _write_ahead)
    event.listen(engine, "begin", _begin_immediate)
    try:
        with engine.begin() as connection:
            return _upgrade(connection, only_empty)
    except OperationalError as error:
        raise JournalDown(f"the journal's file {path.name} cannot be opened: {error.orig}") from None
    except DatabaseError as error:
        raise JournalError(f"[journal] url: {path.name} is no database of ours: {error.orig}") from None


def _write_ahead(connection: Any, _record: object) -> None:
    """And no transactions of the driver's own making: it would commit before each statement of the schema."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")


def _begin_immediate(connection: Connection) -> None:
    """The schema is made by one process, whole or not at all."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


async def _postgres(url: str, only_empty: bool) -> str:
    engine = create_async_engine(
        "postgresql+asyncpg://",
        poolclass=NullPool,
        # asyncpg reads the address itself, as the driver lets it: SQLAlchemy does not know sslmode and sslrootcert.
        async_creator=lambda: asyncpg.connect(url, timeout=PATIENCE),
    )
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(_upgrade, only_empty)
    except (OSError, TimeoutError, DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        cause = getattr(error, "orig", None) or error
        state = str(getattr(cause, "sqlstate", None) or "")
        if state in NEEDS_A_PERSON:
            raise JournalError(f"[journal] url: {NEEDS_A_PERSON[state]}") from None
        if isinstance(cause, (ssl.SSLError, FileNotFoundError, asyncpg.InterfaceError)):
            raise JournalError(f"[journal] url: {reason(cause)}") from None
        raise JournalDown(f"the database does not answer: {reason(cause)}") from None
    finally:
        await engine.dispose()


async def prepare(url: str, *, only_empty: bool) -> str:
    """`only_empty`: make the schema of an empty database, but leave an older one to `journal upgrade`."""
    if url.startswith("sqlite"):
        path = sqlite_path(url)
        if not path.absolute().parent.is_dir():
            raise JournalError(f"[journal] url: there is no folder {path.absolute().parent}: make it first")
        return _sqlite(path, only_empty)
    return await _postgres(url, only_empty)


def differences(connection: Connection) -> list[Any]:
    """What the migrations' sum lacks or has too much, compared with the tables; for the tests."""
    from alembic.autogenerate import compare_metadata

    from worker.journal.whole import metadata

    return list(compare_metadata(MigrationContext.configure(connection), metadata))
