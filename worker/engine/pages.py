"""The rows of a long answer on their way to `reply_to`: cut into pages, each confirmed before more is read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from worker.messages.errors import Code, Problem
from worker.messages.events import Event, View, dump, page
from worker.platforms.port import LeaseLost, Row, Stopped

ROWS = 500  # of one page, at most
BYTES = 256 * 1024  # of one page's rows; a single row may be larger, and is a page of its own
WAITS = (0.0, 0.5, 2.0, 5.0)  # seconds before each try of a page: to begin again costs all pages before it


class PageSink(Protocol):
    """What publishes pages."""

    async def send(self, event: Event) -> bool | None:
        """True: a queue has it. False: there is no such queue. None: not known, or not now. Never raises."""


class NobodyTakes(Stopped):
    """The queue in `reply_to` is gone: nobody will ever take the rows."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Unsent(Stopped):
    """RabbitMQ does not take pages now: the reading begins again later, with the first page."""


class Pages:
    """The pages of one reading. `alive()` renews the claim where that is due; False: it has ended.

    A page is sent when a row comes that does not fit into it, so that the last one is known to be the last.
    """

    def __init__(
        self, view: View, source: str, sink: PageSink | None, alive: Callable[[], Awaitable[bool]]
    ) -> None:
        self._view, self._source, self._sink, self._alive = view, source, sink, alive
        self._rows: list[bytes] = []
        self._size = 0
        self.number = 0  # pages sent so far
        self.rows = 0  # rows handed over so far

    async def add(self, rows: Sequence[Row]) -> None:
        for row in rows:
            body = written(row)
            if len(self._rows) >= ROWS or (self._rows and self._size + len(body) > BYTES):
                await self._send(last=False)
            self._rows.append(body)
            self._size += len(body)
            self.rows += 1
        await self._renew()

    async def close(self) -> None:
        """The last page, which is empty when there were no rows at all."""
        await self._send(last=True)

    async def _renew(self) -> None:
        if not await self._alive():
            raise LeaseLost

    async def _send(self, *, last: bool) -> None:
        event = page(self._view, self._source, self.number + 1, self._rows, last=last)
        taken = None
        for wait in WAITS:
            await asyncio.sleep(wait)
            await self._renew()  # of two processes that read, only the one that holds the command sends
            taken = None if self._sink is None else await self._sink.send(event)
            if taken is not None:
                break
        if taken is None:
            raise Unsent(f"RabbitMQ did not take page {self.number + 1}")
        if not taken:
            raise NobodyTakes(self._gone())
        self.number += 1
        self._rows, self._size = [], 0

    def _gone(self) -> Problem:
        text = f"the queue in reply_to is gone after {self.number} pages: nobody takes the rows"
        return Problem(Code.NOT_FOUND, text, "reply_to")


def written(row: Row) -> bytes:
    """Half a character, which JSON cannot hold, becomes a question mark: it must not cost all the other rows."""
    try:
        return dump(dict(row))
    except UnicodeError:
        return json.dumps(dict(row), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
