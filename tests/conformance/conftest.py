"""One suite, both databases: no test asks which one it got."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from tests.conformance.support import Place
from worker.journal.journal import StoredJournal
from worker.journal.schema import prepare
from worker.journal.whole import metadata
from worker.sandbox.postgres import PrivatePostgres

EMPTY = "".join(f"DELETE FROM {table.name};" for table in metadata.sorted_tables)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/worker.db"


@pytest.fixture(scope="session")
def prepared_postgres_url(postgres: PrivatePostgres) -> str:
    """One database for the suite: making one for each test would take longer than the test."""
    url = postgres.create_database("conformance")
    asyncio.run(prepare(url, only_empty=True))
    return url


@pytest.fixture
async def emptied_postgres_url(prepared_postgres_url: str) -> str:
    connection = await asyncpg.connect(prepared_postgres_url, server_settings={"lock_timeout": "30s"})
    await connection.execute(EMPTY)
    await connection.close()
    return prepared_postgres_url


@pytest.fixture(params=["sqlite", "emptied_postgres"], ids=["sqlite", "postgres"])
def journal_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def place(journal_url: str) -> AsyncIterator[Place]:
    """An empty journal, to be opened as often as a test likes."""
    place = Place(journal_url)
    yield place
    await place.close()


@pytest.fixture
async def journal(place: Place) -> StoredJournal:
    return await place.open()
