"""What stands between an attempt and a platform that is not well: rate, breaker, control reads."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable

from worker.domain.outcome import NotSent, Outcome, Unclear

# Why an answer was lost, where it says something about the way to the platform. All other words (server_fault,
# garbage, redirect, ...) come from a platform that answered: an operation that faults must not close it.
TRANSPORT = frozenset({"dns", "tls", "refused", "unreachable", "closed", "stale", "reset", "cut", "timeout"})


def transport_failure(outcome: Outcome) -> bool:
    match outcome:
        case NotSent(why) | Unclear(why):
            return why.rpartition(": ")[2] in TRANSPORT  # "read before: timeout"
        case _:
            return False


class Breaker:
    """Counts transport failures in a row; whether the circuit is open stands in the journal, for all."""

    def __init__(self, after: int) -> None:
        self._after = after
        self._failures = 0

    def note(self, outcome: Outcome) -> bool:
        """True: the circuit is to be opened now."""
        if not transport_failure(outcome):
            self._failures = 0
            return False
        self._failures += 1
        return self._failures >= self._after

    def reset(self) -> None:
        self._failures = 0


HEAD_START = 2.0  # seconds, of a degree of priority


class Rate:
    """A token bucket: at most `per_second` calls, one second's worth in a burst; the more urgent go ahead."""

    def __init__(self, per_second: float) -> None:
        self._tokens = per_second
        self._at = time.monotonic()
        self._per_second = per_second
        self._line: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def per_second(self) -> float:
        return self._per_second

    @per_second.setter
    def per_second(self, wanted: float) -> None:
        """Those who wait go by the new one at once, however long the next turn was away."""
        if wanted == self._per_second:
            return
        self._fill()
        self._per_second = wanted
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._arm()

    async def take(self, priority: int = 1) -> None:
        """Wait for a token. Each degree of `priority` (0 is the highest) is as if one had come 2 s earlier: not
        more, for whoever waits has a claim, which must not lapse behind an endless row of more urgent ones.
        """
        if (turn := self.join(priority)) is not None:
            await turn

    def join(self, priority: int = 1) -> asyncio.Future[None] | None:
        """The same: None where a token was there, else what is done when the turn has come. Whoever does not wait
        for it cancels it."""
        self._fill()
        if not self._line and self._tokens >= 1:
            self._tokens -= 1
            return None
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._line, (self._at + priority * HEAD_START, next(self._numbers), turn))
        self._arm()
        return turn

    def _fill(self) -> None:
        now, burst = time.monotonic(), max(self.per_second, 1.0)
        self._tokens = min(self._tokens + (now - self._at) * self.per_second, burst)
        self._at = now

    def _arm(self) -> None:
        if self._line and self._timer is None:
            wait = max((1 - self._tokens) / self.per_second, 0.0)
            self._timer = asyncio.get_running_loop().call_later(wait, self._serve)

    def _serve(self) -> None:
        self._timer = None
        self._fill()
        while self._line and self._tokens >= 1:
            *_, turn = heapq.heappop(self._line)
            if not turn.done():  # else it was cancelled, and has left the line
                turn.set_result(None)
                self._tokens -= 1
        self._arm()


class ControlRead:
    """One control read at a time serves all refusals that wait for it (rule 2.4)."""

    def __init__(self, read: Callable[[], Awaitable[Outcome]]) -> None:
        self._read = read
        self._running: asyncio.Task[Outcome] | None = None
        self._next: asyncio.Task[Outcome] | None = None

    async def begun_now(self) -> Outcome:
        """The outcome of a read that begins after this call: one under way already says too little."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running))
        return await asyncio.shield(self._next)

    async def _after(self, running: asyncio.Task[Outcome] | None) -> Outcome:
        if running is not None:
            await asyncio.wait([running])
        self._running, self._next = self._next, None  # whoever comes from here on needs a later one
        return await self._read()


def share(total: int, processes: int, rank: int) -> int:
    """Our part of `total` places when `processes` share them; the first ones get what is left over."""
    part, rest = divmod(total, max(processes, 1))
    return part + (1 if rank < rest else 0)
