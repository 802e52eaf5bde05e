"""A command whose processes died twice runs alone, so that it takes no others with it (rules 1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Gate:
    def __init__(self) -> None:
        self._inside = 0
        self._alone = asyncio.Lock()
        self._empty = asyncio.Condition()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        async with self._alone:
            self._inside += 1
        try:
            yield
        finally:
            await self._leave()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        async with self._alone, self._empty:
            await self._empty.wait_for(lambda: self._inside == 0)
            yield

    async def _leave(self) -> None:
        self._inside -= 1
        if self._inside == 0:
            async with self._empty:
                self._empty.notify_all()
