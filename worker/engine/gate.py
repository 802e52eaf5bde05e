"""A command whose processes died twice runs alone, so that it takes no others with it (rules 1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Gate:
    def __init__(self) -> None:
        self._inside = 0
        self._alone = asyncio.Lock()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def closed(self) -> bool:
        """One is alone inside, or waits to be: claim nothing that would only wait under its lease."""
        return self._alone.locked()

    @asynccontextmanager
    async def enter(self, *, alone: bool, patience: float) -> AsyncIterator[bool]:
        """False: the others did not leave within `patience` seconds. Only who wants to be alone meets that."""
        if not alone:
            async with self._shared():
                yield True
            return
        async with self._alone:  # nobody comes in from here on
            yield await self._left(patience)

    @asynccontextmanager
    async def _shared(self) -> AsyncIterator[None]:
        async with self._alone:
            self._inside += 1
            self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if self._inside == 0:
                self._empty.set()

    async def _left(self, patience: float) -> bool:
        try:
            async with asyncio.timeout(patience):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True
