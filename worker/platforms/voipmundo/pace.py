"""How many calls at once: a 429 takes it down to one, and it comes back slowly."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from worker.domain.outcome import Busy
from worker.messages.rest.operations import Operation
from worker.platforms.transport import Answer, Lost

log = structlog.get_logger()

TOO_MANY = 429
AWAY = 1.0  # seconds that a command stays away for which there was no place


class OneAtATime:
    """The platform's 429 is worded about requests at the same time, without a number: so it is one at a time.

    most      calls at once at the start, and again in the end
    recovery  seconds without a 429 after which one more at once is tried
    patience  seconds that a call waits for a place; then nothing is sent, and it comes again later
    """

    def __init__(
        self, most: int, recovery: float, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.places = self._most = max(most, 1)
        self._recovery, self._patience, self._clock = recovery, patience, clock
        self._inside = 0
        self._since = clock()  # of the last 429, or of the last place that was added
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def turn(self, operation: Operation, *, control: bool) -> AsyncIterator[Busy | None]:
        """A control read goes before those who wait."""
        if not await self._enter(first=control):
            yield Busy(AWAY)
            return
        try:
            yield None
        finally:
            self._inside -= 1
            self._next()

    async def _enter(self, *, first: bool) -> bool:
        if self._inside < self.places and (first or not self._waiting):
            self._inside += 1
            return True
        place = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if first else self._waiting.append)(place)
        try:
            await asyncio.wait_for(asyncio.shield(place), self._patience)
        except (TimeoutError, asyncio.CancelledError) as error:
            if place in self._waiting:
                self._waiting.remove(place)
            elif isinstance(error, TimeoutError):
                return True  # it was given in the same moment
            else:
                self._leave()
            if isinstance(error, asyncio.CancelledError):
                raise
            return False
        return True

    def _leave(self) -> None:
        self._inside -= 1
        self._next()

    def _next(self) -> None:
        """Whoever is given a place counts as inside at once, so that nobody comes between."""
        while self._waiting and self._inside < self.places:
            place = self._waiting.popleft()
            if not place.done():
                self._inside += 1
                place.set_result(None)

    def heard(self, sent: Answer | Lost) -> None:
        if not isinstance(sent, Answer):
            return
        now = self._clock()
        if sent.status == TOO_MANY:
            if self.places > 1:
                log.warning("voipmundo.one_at_a_time", places=self.places)
            self.places, self._since = 1, now
        elif self.places < self._most and now - self._since >= self._recovery:
            self.places, self._since = self.places + 1, now
            self._next()
