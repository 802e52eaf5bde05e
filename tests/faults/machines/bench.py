"""A journal under test: two processes' views of one database, emptied for each example."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Double

from tests.conformance.support import Place
from tests.faults.machines.entries import NOTIFY_AFTER
from worker.journal.journal import StoredJournal
from worker.journal.tables import metadata

T = TypeVar("T")

EMPTY = [table.name for table in metadata.sorted_tables if table.name != "meta"]
# Columns that hold a time, by table: those that are moved when time passes.
TIMES = {
    table.name: [
        c.name for c in table.columns if isinstance(c.type, Double) and c.name not in ("ms", "stopped_before")
    ]
    for table in metadata.sorted_tables
    if table.name in ("commands", "lanes", "leases")
}


class Bench:
    """`journals`: one for each of two processes, which share the database."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._place = Place(url)
        self.journals: list[StoredJournal] = []

    @contextmanager
    def opened(self) -> Iterator[Bench]:
        try:
            self.journals = [self.run(self._place.open(notify_after=NOTIFY_AFTER)) for _ in range(2)]
            yield self
        finally:
            self.run(self._place.close())
            self._runner.close()

    @property
    def journal(self) -> StoredJournal:
        return self.journals[0]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def empty(self) -> None:
        """As if nobody had used the journal yet. Its key stays."""

        async def work(tx: Any) -> None:
            for table in EMPTY:
                await tx.run(f"DELETE FROM {table}")
            await tx.run("DELETE FROM meta WHERE name <> 'key'")

        self.run(self.journal.run(work))

    def pass_time(self, seconds: float) -> None:
        """Everything that was noted is so many seconds further back, as the database's clock sees it."""

        async def work(tx: Any) -> None:
            for table, columns in TIMES.items():
                moved = ", ".join(f"{column} = {column} - {seconds}" for column in columns)
                await tx.run(f"UPDATE {table} SET {moved}")

        self.run(self.journal.run(work))
