"""One suite, both databases: no test asks which one it got."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.support import Place
from worker.journal.journal import StoredJournal


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/worker.db"


@pytest.fixture(params=["sqlite", "postgres"])
def journal_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def place(journal_url: str) -> AsyncIterator[Place]:
    """An empty database, to be opened as often as a test likes."""
    place = Place(journal_url)
    yield place
    await place.close()


@pytest.fixture
async def journal(place: Place) -> StoredJournal:
    return await place.open()
