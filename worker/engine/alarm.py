"""When something of ours falls due, so that nobody has to wait for the slow poll."""

from __future__ import annotations

import heapq
import math
import time

HORIZON = 60.0  # seconds; what falls due later than that is found by the poll
STEP = 0.02  # seconds; what falls due together rings once


class Alarm:
    """Holds at most HORIZON / STEP times, however many commands wait."""

    def __init__(self) -> None:
        self._times: list[float] = []

    def set(self, seconds: float) -> None:
        """Ring in `seconds`, or up to STEP later: never too early."""
        at = math.ceil((time.monotonic() + seconds) / STEP) * STEP
        if seconds <= HORIZON and at not in self._times:
            heapq.heappush(self._times, at)

    def rings_in(self) -> float:
        """Seconds to the next ring, which is then used up when it has come; infinite without one."""
        now = time.monotonic()
        rung = False
        while self._times and self._times[0] <= now:
            heapq.heappop(self._times)
            rung = True
        if rung:
            return 0.0
        return self._times[0] - now if self._times else math.inf
