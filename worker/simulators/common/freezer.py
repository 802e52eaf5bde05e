"""A platform that stops answering: what comes meanwhile is queued, and applied in order when it thaws."""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

Work = Callable[[], Any]


@dataclass(slots=True)
class Held:
    """A request in the queue; nobody may be waiting for its answer any more."""

    number: int
    name: str
    work: Work
    answer: asyncio.Future[Any]


@dataclass(slots=True, eq=False)
class Freeze:
    """`pattern` of Service.operation names that stand still, `*` for the whole platform."""

    pattern: str
    seconds: float | None
    queue: list[Held] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None

    def covers(self, name: str) -> bool:
        return fnmatchcase(name, self.pattern) or fnmatchcase(name.partition(".")[2], self.pattern)


class Freezer:
    """All freezes in force, and their queues in order of arrival."""

    def __init__(self) -> None:
        self.freezes: list[Freeze] = []
        self._numbers = itertools.count()

    def freeze(self, pattern: str = "*", seconds: float | None = None) -> None:
        """Stop what `pattern` names, for `seconds` or until `thaw`."""
        freeze = Freeze(pattern, seconds)
        self.freezes.append(freeze)
        if seconds is not None:
            freeze.timer = asyncio.get_running_loop().call_later(seconds, self._end, freeze)

    def thaw(self, pattern: str | None = None) -> int:
        """End all freezes, or those of one pattern; gives how many requests were waiting in them."""
        ending = [freeze for freeze in self.freezes if pattern in (None, freeze.pattern)]
        waiting = sum(len(freeze.queue) for freeze in ending)
        self._end(*ending)
        return waiting

    def forget(self) -> None:
        """End all freezes and apply nothing of what waits: the platform was restarted."""
        for freeze in self.freezes:
            if freeze.timer:
                freeze.timer.cancel()
            for held in freeze.queue:
                held.answer.cancel()
        self.freezes.clear()

    def waiting(self) -> int:
        return sum(len(freeze.queue) for freeze in self.freezes)

    def covers(self, name: str) -> bool:
        return any(freeze.covers(name) for freeze in self.freezes)

    def hold(self, name: str, work: Work) -> asyncio.Future[Any] | None:
        """Queue the work if its operation stands still now; None if it may run at once."""
        if not self.freezes:
            return None
        held = Held(next(self._numbers), name, work, asyncio.get_running_loop().create_future())
        return held.answer if self._queued(held) else None

    def _queued(self, held: Held) -> bool:
        for freeze in self.freezes:
            if freeze.covers(held.name):
                freeze.queue.append(held)
                freeze.queue.sort(key=lambda each: each.number)
                return True
        return False

    def _end(self, *ending: Freeze) -> None:
        """Apply all that waits in one go, in order of arrival: nothing that arrives now may overtake it."""
        ending = tuple(freeze for freeze in ending if freeze in self.freezes)
        for freeze in ending:
            self.freezes.remove(freeze)
            if freeze.timer:
                freeze.timer.cancel()
        waiting = sorted((held for freeze in ending for held in freeze.queue), key=lambda each: each.number)
        for held in waiting:
            if not self._queued(held):
                _run(held)


def _run(held: Held) -> None:
    try:
        result = held.work()
    except Exception as error:  # a fault of the simulator's own must not keep the rest of the queue waiting
        if not held.answer.done():
            held.answer.set_exception(error)
        return
    if not held.answer.done():
        held.answer.set_result(result)
