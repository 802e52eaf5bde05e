"""What we say ourselves the libraries do not say once more."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from worker.logs import configure
from worker.settings import LogSettings


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_a_lost_connection_is_told_once_and_by_us() -> None:
    stream = io.StringIO()
    configure(LogSettings(level="debug"), stream)
    logging.getLogger("aiormq.connection").error("error when creating transport")
    logging.getLogger("asyncpg.pool").warning("Failed to restore the pool connection floor")
    assert stream.getvalue() == ""
    logging.getLogger("worker.broker.link").warning("broker.away")
    assert "broker.away" in stream.getvalue()
