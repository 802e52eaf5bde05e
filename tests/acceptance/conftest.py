"""Message in, message out: real RabbitMQ, both journals, worker processes, the simulator as a process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.storm import Sippulse, Storm


@pytest.fixture(params=["sqlite", "postgresql"])
def journal(request: pytest.FixtureRequest) -> str | None:
    """What `Workers` takes: an empty PostgreSQL database, or None for SQLite in its folder."""
    if request.param == "sqlite":
        return None
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Sippulse]:
    async with Sippulse(tmp_path) as simulator:
        yield simulator


@pytest.fixture
async def storm(rabbit_url: str) -> AsyncIterator[Storm]:
    async with Storm(rabbit_url) as one:
        yield one
