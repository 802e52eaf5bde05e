"""The schema: made once, whole, by one process; an older or a foreign one stops the start."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from worker.journal import schema
from worker.journal.core import Core
from worker.journal.opening import open_journal
from worker.journal.port import JournalError
from worker.journal.vault import Vault, new_key
from worker.journal.version import NEWEST, is_newest
from worker.journal.whole import metadata

ROOT = Path(__file__).parents[2]
KEY = new_key()

Look = Callable[[Connection], Any]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/worker.db"
    address: str = request.getfixturevalue("postgres_url")
    return address


async def on(url: str, look: Look) -> Any:
    """`look` at the database through SQLAlchemy, in one transaction."""
    if url.startswith("sqlite"):
        engine = create_engine(url, poolclass=NullPool)
        with engine.begin() as connection:
            return look(connection)
    remote = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"), poolclass=NullPool)
    async with remote.begin() as there:
        return await there.run_sync(look)


async def opened(url: str, key: str = KEY) -> None:
    journal = await open_journal(url, Core(Vault([key])))
    await journal.close()


def migrate(to: str) -> Look:
    def work(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, to)

    return work


def sql(statement: str) -> Look:
    def work(connection: Connection) -> list[Any]:
        result = connection.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []

    return work


async def test_the_migrations_sum_is_the_schema(url: str) -> None:
    await opened(url)
    assert await on(url, schema.differences) == []


async def test_the_comparison_itself_sees_a_difference(url: str) -> None:
    await opened(url)
    await on(url, sql("ALTER TABLE commands ADD COLUMN extra TEXT"))
    await on(url, sql("DROP INDEX commands_dependents"))
    assert len(await on(url, schema.differences)) == 2


async def test_migrations_and_tables_have_the_same_defaults_and_indexes(url: str, tmp_path: Path) -> None:
    """The comparison above overlooks them: so make the tables directly, and hold both against each other."""
    if not url.startswith("sqlite"):
        wanted = sql(
            "SELECT table_name, column_name, is_nullable, data_type, column_default IS NULL OR column_default"
            " LIKE 'nextval%' FROM information_schema.columns WHERE table_schema = 'public'"
            " AND table_name <> 'alembic_version' ORDER BY 1, 2"
        )
        indexes = sql(
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1"
        )
    else:
        wanted = sql(
            'SELECT m.name, c.name, c.type, c."notnull", c.dflt_value, c.pk FROM sqlite_master m'
            " JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name <> 'alembic_version' ORDER BY 1, 2"
        )
        indexes = sql("SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1")
    await opened(url)
    migrated = (await on(url, wanted), await on(url, indexes))
    await on(url, metadata.drop_all)
    await on(url, metadata.create_all)
    made = (await on(url, wanted), await on(url, indexes))
    assert migrated == made


async def test_an_older_schema_stops_the_start_and_names_the_cure(url: str) -> None:
    await on(url, migrate("0001"))
    with pytest.raises(JournalError, match="worker journal upgrade"):
        await opened(url)
    said = await schema.prepare(url, only_empty=False)
    assert "0001" in said
    await opened(url)
    assert await schema.prepare(url, only_empty=False) == "up to date"


async def test_nothing_is_upgraded_under_a_worker_that_runs(url: str) -> None:
    """It would go on with what it does not understand."""
    await on(url, migrate("0001"))
    now = "extract(epoch FROM now())" if url.startswith("postgresql") else "strftime('%s', 'now')"
    await on(url, sql(f"INSERT INTO processes (owner, beat_at, started_at) VALUES ('worker-1', {now}, 1)"))
    with pytest.raises(JournalError, match=r"worker-1.*stop them"):
        await schema.prepare(url, only_empty=False)
    await on(url, sql("UPDATE processes SET beat_at = beat_at - 31"))
    assert "0001" in await schema.prepare(url, only_empty=False)


async def test_an_upgrade_keeps_what_is_there_and_counts_it(url: str) -> None:
    await on(url, migrate("0001"))
    insert = (
        "INSERT INTO quarantine (uid, queue, code, message, size, body_sealed, at, state)"
        " VALUES ('{}', 'q', 'c', 'm', 7, {}, 1, 'kept')"
    )
    await on(url, sql(insert.format("a", "'x'")))
    await on(url, sql(insert.format("b", "NULL")))
    await schema.prepare(url, only_empty=False)
    counters = dict(await on(url, sql("SELECT name, value FROM counters")))
    assert (counters["quarantine_rows"], counters["quarantine_bytes"]) == (1, 7)


async def test_whether_the_schema_is_the_newest_is_known_without_the_tools_that_make_it(url: str) -> None:
    head = ScriptDirectory(str(ROOT / "worker/journal/migrations")).get_current_head()
    assert head == NEWEST
    assert not await is_newest(url)
    await opened(url)
    assert await is_newest(url)
    await on(
        url, lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    )
    assert not await is_newest(url)


async def test_a_newer_schema_stops_the_start(url: str) -> None:
    await opened(url)
    await on(url, sql("UPDATE alembic_version SET version_num = '9999'"))
    for attempt in (opened(url), schema.prepare(url, only_empty=False)):
        with pytest.raises(JournalError, match="newer worker"):
            await attempt


async def test_a_database_of_somebody_else_is_left_alone(url: str) -> None:
    await on(url, sql("CREATE TABLE commands (name TEXT)"))
    for attempt in (opened(url), schema.prepare(url, only_empty=False)):
        with pytest.raises(JournalError, match="not ours"):
            await attempt
    tables = "sqlite_master" if url.startswith("sqlite") else "pg_tables"
    column = "name" if url.startswith("sqlite") else "tablename"
    assert await on(url, sql(f"SELECT {column} FROM {tables} WHERE {column} IN ('lanes', 'outbox')")) == []


async def test_another_key_than_the_first_stops_the_start(url: str) -> None:
    await opened(url)
    with pytest.raises(JournalError, match="another key"):
        await opened(url, new_key())
    await opened(url)


OPEN = """
import asyncio, sys
from worker.journal.core import Core
from worker.journal.opening import open_journal
from worker.journal.vault import Vault

async def main(url, key):
    print("ready", flush=True)
    sys.stdin.readline()
    journal = await open_journal(url, Core(Vault([key])))
    print(await journal.waiting(), flush=True)
    await journal.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_two_processes_that_open_an_empty_database_at_once_both_start(url: str) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            OPEN,
            url,
            KEY,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    told: list[Awaitable[tuple[bytes, bytes]]] = [process.communicate(b"go\n") for process in processes]
    answers = await asyncio.wait_for(asyncio.gather(*told), 120)
    assert [(out.strip(), err.decode()) for out, err in answers] == [(b"0", "")] * 3
    assert await on(url, schema.differences) == []


async def test_a_schema_that_broke_off_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole or not at all: a power cut in the middle must not leave half a schema that looks foreign."""

    def broken(connection: Connection, only_empty: bool) -> str:
        migrate("0001")(connection)
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(schema, "_upgrade", broken)
        with pytest.raises(ZeroDivisionError):
            await schema.prepare(url, only_empty=True)
    await opened(url)
