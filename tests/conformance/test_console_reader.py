"""The console's looks give up in time, however many statements they are, and leave the reader fit for the next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conformance.support import Place
from worker.journal.console import reader as readers
from worker.journal.console.reader import Reader, TooWide, open_reader
from worker.journal.driver import Tx
from worker.journal.journal import StoredJournal

SHORT = 0.5  # seconds that a look may take here
MUCH = 20.0  # seconds: far more than a look may take, far less than the statements below would
COUNT = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {most}) SELECT count(*) AS n FROM n"


@pytest.fixture
async def reader(
    place: Place, journal: StoredJournal, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Reader]:
    monkeypatch.setattr(readers, "PATIENCE", SHORT)
    it = open_reader(place.url, journal)
    yield it
    await it.close()


async def still_reads(reader: Reader) -> None:
    [row] = await reader.read(lambda tx: tx.rows("SELECT 1 AS one"))
    assert row["one"] == 1


async def test_a_statement_that_goes_on_is_ended(reader: Reader) -> None:
    began = time.monotonic()
    with pytest.raises(TooWide):
        await reader.read(lambda tx: tx.rows(COUNT.format(most=1_000_000_000)))
    assert time.monotonic() - began < MUCH
    await still_reads(reader)


async def test_a_look_of_many_short_statements_is_bounded_as_a_whole(reader: Reader) -> None:
    asked = 0

    async def work(tx: Tx) -> None:
        nonlocal asked
        while True:  # each is short, all together would never end
            await tx.rows("SELECT 1 AS one")
            asked += 1

    began = time.monotonic()
    with pytest.raises(TooWide):
        await asyncio.wait_for(reader.read(work), MUCH)
    assert asked > 1
    assert time.monotonic() - began >= SHORT
    await still_reads(reader)


async def test_the_last_statement_gets_only_what_the_others_have_left(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "PATIENCE", MUCH)

    async def work(tx: Any) -> None:
        await tx.rows("SELECT 1 AS one")
        tx.until = time.monotonic() + SHORT  # as if the others had taken the rest
        await tx.rows(COUNT.format(most=1_000_000_000))

    began = time.monotonic()
    with pytest.raises(TooWide):
        await reader.read(work)
    assert time.monotonic() - began < MUCH
    await still_reads(reader)


async def test_a_page_that_nobody_waits_for_any_more_ends_its_statement(reader: Reader) -> None:
    begun = asyncio.Event()

    async def work(tx: Tx) -> None:
        begun.set()
        await tx.rows(COUNT.format(most=1_000_000_000))

    asking = asyncio.create_task(reader.read(work))
    await begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asking, MUCH)
    await still_reads(reader)
