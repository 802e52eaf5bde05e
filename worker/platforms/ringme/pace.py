"""The hourly limit (EN 13598761, RU 1901920568): all applications of a client share one count of calls.

Each answer says the limit, how much is left, and in how many seconds the next hour begins. From `slow` of the
limit on, what is left is spread over the rest of the hour; `reserve` of it is for control reads alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from worker.domain.outcome import Busy
from worker.messages.rest.operations import Operation
from worker.platforms.transport import Answer, Lost

AT_ONCE = 4.0  # calls that need not be spread: a command takes a few, and had better not stop half-way
SHORT = 0.5  # seconds that a call may wait for its turn; a longer wait is told to the engine
HOUR = 3600  # seconds: a longer wait than that is no answer to go by
SAME_HOUR = 5.0  # seconds by which two answers of one hour may differ about its end


@dataclass(slots=True)
class Hour:
    """What the last answers said. `ends` by the pace's clock."""

    limit: int
    left: int
    ends: float


class HourlyPace:
    """Of one process: others see the same headers and slow down with us."""

    def __init__(self, reserve: float, slow: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._reserve, self._slow, self._clock = reserve, slow, clock
        self._hour: Hour | None = None
        self._under_way = 0
        self._allowed, self._since = AT_ONCE, clock()

    @asynccontextmanager
    async def turn(self, operation: Operation, *, control: bool) -> AsyncIterator[Busy | None]:
        wait = self.wait(control=control)
        if wait > SHORT:
            yield Busy(wait)
            return
        if wait:
            await asyncio.sleep(wait)
        self._under_way += 1
        try:
            yield None
        finally:
            self._under_way -= 1

    def wait(self, *, control: bool) -> float:
        """Seconds until a call may go out; taking the turn where it is 0 or short."""
        now, hour = self._clock(), self._hour
        if hour is None or now >= hour.ends:
            return 0.0
        left = hour.left - self._under_way
        if control:
            return 0.0 if hour.left > 0 else hour.ends - now
        usable = left - round(hour.limit * self._reserve)
        if usable <= 0:
            return hour.ends - now
        if usable >= hour.limit * self._slow:
            self._allowed, self._since = AT_ONCE, now
            return 0.0
        return self._spread(now, usable / (hour.ends - now))

    def _spread(self, now: float, rate: float) -> float:
        allowed = min(self._allowed + (now - self._since) * rate, AT_ONCE)
        self._since = now
        wait = max((1.0 - allowed) / rate, 0.0)
        self._allowed = allowed - 1.0 if wait <= SHORT else allowed  # who is told to come later has no turn
        return wait

    def heard(self, sent: Answer | Lost) -> None:
        if isinstance(sent, Lost):
            return
        limit, left, reset = (_whole(sent, name) for name in ("Limit", "Remaining", "Reset"))
        if limit is None or left is None or reset is None:
            return
        ends, hour = sent.ended + min(reset, HOUR), self._hour
        # Answers may overtake each other: within one hour the lowest count is the latest.
        same = hour is not None and sent.ended < hour.ends and abs(ends - hour.ends) < SAME_HOUR
        if same and hour is not None and limit == hour.limit:
            left, ends = min(left, hour.left), max(ends, hour.ends)
        self._hour = Hour(limit, left, ends)


def busy_for(sent: Answer) -> float | None:
    """Of a 429: seconds until the next hour, where it is the hourly limit."""
    reset = _whole(sent, "Reset")
    if _whole(sent, "Remaining") == 0 and reset is not None:
        return min(reset, HOUR)
    return None


def _whole(sent: Answer, name: str) -> int | None:
    text = sent.headers.get(f"X-RateLimit-{name}", "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
