"""A command whose processes died twice runs alone, so that it takes no others with it (rules 1).

Who wants to be alone closes the gate and waits until the others have left with what they have written: those in a
call when it has ended, those that wait for a turn by the rate at once, for that may be minutes away. It waits for
turns of its own with the gate open. So a rate that is low on one platform holds up no other one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    def __init__(self) -> None:
        self._present = 0
        self._moved = asyncio.Event()
        self._closing: asyncio.Future[None] | None = None
        self.closed = False  # one is alone inside, or waits to be: claim nothing that would only wait

    @property
    def closing(self) -> asyncio.Future[None]:
        """Done when somebody is to be alone: whoever waits for a turn gives its claim back."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_future()
            if self.closed:
                self._closing.set_result(None)
        return self._closing

    @contextmanager
    def place(self, *, alone: bool, patience: float) -> Iterator[Place | None]:
        """None: the gate is closed. Kept until what became of the command is written: an answer that is still to
        be stored when another one kills the process would be lost with it.
        """
        if self.closed:
            yield None
            return
        place = Place(self, alone, patience)
        self._present += 1
        try:
            yield place
        finally:
            place.open()
            self._present -= 1
            self._moved.set()

    async def close(self, patience: float) -> bool:
        """False: the others did not leave within `patience` seconds, and it is open again."""
        if self.closed:
            return False
        self.closed = True
        if self._closing is not None:
            self._closing.set_result(None)
        left = False
        try:
            left = await self._left(patience)
        finally:
            if not left:
                self.open()
        return left

    def open(self) -> None:
        self.closed, self._closing = False, None

    async def _left(self, patience: float) -> bool:
        try:
            async with asyncio.timeout(patience):
                while self._present > 1:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True


class Place:
    """Of one attempt, inside the gate. `alone`: it has to be."""

    def __init__(self, gate: Gate, alone: bool, patience: float) -> None:
        self._gate = gate
        self._patience = patience
        self._closed = False  # by us
        self.alone = alone
        self.later = 30 * patience  # seconds until it tries again: while it tries, all others stand still
        self.turn_kept = False  # one was taken before the gate was closed for it

    @property
    def closing(self) -> asyncio.Future[None]:
        return self._gate.closing

    async def close(self) -> bool:
        """Be alone, where that is asked for. False: it cannot be yet."""
        if self.alone and not self._closed:
            self._closed = await self._gate.close(self._patience)
        return self._closed or not self.alone

    def open(self) -> None:
        if self._closed:
            self._closed = False
            self._gate.open()
