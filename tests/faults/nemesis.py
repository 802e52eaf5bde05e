"""When what breaks: a seeded schedule of the faults in `breaks.KINDS`.

Faults stand in lanes. Lanes run beside each other, the faults of one lane one after another, so that RabbitMQ is
never killed while it is being restarted, but may well be killed while a worker is frozen and the database has no
disk. A lane deals its faults like cards: none comes again before all have come.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from tests.faults.arena import Arena
from tests.faults.breaking import Break
from tests.faults.breaks import KINDS
from tests.faults.history import Fault

Say = Callable[[str], None]
MOST = 3.0  # seconds before one that begins its lane
# Seconds from the end of one fault to the next of its lane, on average.
PACE = {"workers": 7.0, "broker": 14.0, "database": 14.0, "links": 7.0, "platform": 12.0, "clock": 20.0}


def kind_of(broken: type[Break]) -> str:
    """`KillBroker` is told as `kill broker`."""
    name = broken.__name__
    return "".join(f" {sign.lower()}" if sign.isupper() else sign for sign in name).strip()


@dataclass(slots=True)
class Nemesis:
    """`only`: names of faults or lanes, all where there is none. `pace`: above 1 there is more time between.

    `first`: faults that begin their lanes, in this order, each to its end, though on a busy machine time may run out
    over them.
    """

    arena: Arena
    seed: int
    only: tuple[str, ...] = ()
    pace: float = 1.0
    first: tuple[str, ...] = ()
    say: Say = lambda text: None
    done: list[Fault] = field(default_factory=list)
    now: dict[str, str] = field(default_factory=dict)  # lane -> what is broken
    errors: list[str] = field(default_factory=list)

    def lanes(self) -> dict[str, list[type[Break]]]:
        found: dict[str, list[type[Break]]] = {}
        for kind in self._wanted():
            if not kind.why_not(self.arena):
                found.setdefault(kind.lane, []).append(kind)
        return found

    def left_out(self) -> dict[str, str]:
        """What was wanted and cannot be done on this machine, and why."""
        reasons = {kind_of(kind): kind.why_not(self.arena) for kind in self._wanted()}
        return {kind: why for kind, why in reasons.items() if why}

    def _wanted(self) -> list[type[Break]]:
        return [kind for kind in KINDS if not self.only or {kind.lane, kind_of(kind)} & set(self.only)]

    async def rage(self, seconds: float) -> None:
        """Break and mend for so long. Everything is mended when it returns."""
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._lane(lane, kinds, until) for lane, kinds in self.lanes().items()))

    async def _lane(self, lane: str, kinds: list[type[Break]], until: float) -> None:
        chance = Random(f"{self.seed}/{lane}")
        for kind in self._opening(kinds):
            one = kind(self.arena, chance)
            one.draw()
            await asyncio.sleep(0.5 + min(chance.expovariate(1 / (PACE[lane] * self.pace)), MOST))
            await self._break(one, math.inf)
        for kind in dealt(kinds, chance):
            one = kind(self.arena, chance)
            one.draw()
            gap = chance.expovariate(1 / (PACE[lane] * self.pace)) + 0.5
            if not await _until(min(time.monotonic() + gap, until), until):
                return
            await self._break(one, until)

    def _opening(self, kinds: list[type[Break]]) -> list[type[Break]]:
        return [kind for name in self.first for kind in kinds if kind_of(kind) == name]

    async def _break(self, one: Break, until: float) -> None:
        kind, began = kind_of(type(one)), time.time()
        self.now[one.lane] = f"{kind}: {one.target}"
        self.say(self.now[one.lane])
        try:
            await one.begin()
            await _until(min(time.monotonic() + one.seconds, until), until)
        except Exception as error:  # a fault that fails must not leave the rest unmended
            self.errors.append(f"{kind}: {error!r}")
        finally:
            await self._mend(one, kind)
            self.done.append(Fault(kind, one.target, began, time.time()))
            del self.now[one.lane]

    async def _mend(self, one: Break, kind: str) -> None:
        try:
            await one.end()
        except Exception as error:
            self.errors.append(f"mending {kind}: {error!r}")


def dealt(kinds: list[type[Break]], chance: Random) -> Iterator[type[Break]]:
    while True:
        deck = [kind for kind in kinds for _ in range(kind.share)]
        chance.shuffle(deck)
        yield from deck


async def _until(at: float, end: float) -> bool:
    """Sleep until then; whether there is time left."""
    await asyncio.sleep(max(0.0, at - time.monotonic()))
    return time.monotonic() < end
