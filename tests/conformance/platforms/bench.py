"""An engine before one kind of platform, with a journal on SQLite and the platform's simulator behind a socket."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.conformance.platforms.subject import Act, Sent, Subject
from tests.support.engine import FINAL, QUICK, SOON, Stand, eventually
from worker.broker.arrivals import Reader
from worker.journal.port import NewCommand
from worker.messages.envelope import STRUCTURED, Delivery
from worker.platforms.build import build
from worker.platforms.port import Order, Platform, Step
from worker.settings import Settings
from worker.simulators.common.simulator import BaseSimulator

NAME = "under-test"
ANSWERS = "answers"  # the queue that commands with a secret output name
SETTLE = 1.6  # seconds: short, and yet long enough that a busy machine reads often enough within it


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the platform received it. `at` is time.monotonic()."""

    at: float
    operation: str


class Watch:
    """What came to a simulator, in order, and how many requests it had at once."""

    def __init__(self, sim: BaseSimulator, control: str) -> None:
        self.seen: list[Request] = []
        self.most_inside = self._inside = 0
        self._control, self._received = control, sim.received
        sim.received = self._note  # type: ignore[method-assign] # the log is the test's own

    async def _note(self, request: web.Request, call: Any) -> web.Response:
        self.seen.append(Request(time.monotonic(), call.operation))
        counts = call.operation != self._control  # control reads have places of their own
        self._inside += counts
        self.most_inside = max(self.most_inside, self._inside)
        try:
            return await self._received(request, call)
        finally:
            self._inside -= counts

    def of(self, operation: str) -> list[Request]:
        return [each for each in self.seen if each.operation == operation]


class Bench(Stand):
    """`sim` and `watch` are there after `serve`, `engine` after `run`."""

    subject: Subject
    watch: Watch

    async def serve(self, port: int = 0) -> BaseSimulator:
        self.sim = sim = await self.subject.serve(port)
        self._stack.push_async_callback(sim.close)
        self.watch = Watch(sim, self.subject.control)
        return sim

    async def made(self, url: str = "", **settings: Any) -> tuple[Platform, Any]:
        """A platform of the kind, with its settings."""
        common = {name: value for name, value in QUICK.items() if name != "call_records"}  # SIPPulse's own
        given = {
            **common,
            "kind": self.subject.kind,
            **self.subject.settings(url or self.sim.url),
            **settings,
        }
        known = Settings.model_validate({"platforms": {NAME: given}}).platforms[NAME]
        platform = await build(NAME, known)
        self._stack.push_async_callback(platform.close)
        return platform, known

    async def run(self, url: str = "", **settings: Any) -> None:
        await self.start_for([await self.made(url, **settings)])

    # Orders ---------------------------------------------------------------------------------------

    def prepare(self, *acts: Act, each: int = 1) -> list[tuple[Act, Any]]:
        """What the commands of these acts need is there now."""
        return [(act, act.make(self.sim, number)) for act in acts for number in range(1, each + 1)]

    async def all_of(self, prepared: Sequence[tuple[Act, Any]]) -> list[Sent]:
        """Send them as messages that go through intake's own reading."""
        reader, sent, arrivals = Reader({NAME: self.subject.kind}, 262144), [], []
        for act, data in prepared:
            self._sent += 1
            name = f"order-{self._sent}"
            arrival = reader.arrival(self._delivery(name, act, data))
            assert isinstance(arrival.item, NewCommand), (act.name, arrival.item)
            arrivals.append(arrival)
            sent.append(Sent(act, name, data))
        await self.admit(*arrivals)
        return sent

    def _delivery(self, name: str, act: Act, data: Any) -> Delivery:
        message = {
            "specversion": "1.0",
            "id": name,
            "source": "/crm",
            "type": f"{act.command}.v1",
            "data": {"platform": NAME, **data},
        }
        return Delivery(json.dumps(message).encode(), "q", content_type=STRUCTURED, reply_to=ANSWERS)

    async def outcomes(self, sent: Sequence[Sent], *states: str, within: float = SOON) -> list[Any]:
        """Their rows, once each has ended, or come into one of these states."""
        return await asyncio.gather(*(self.became(one.id, *(states or FINAL), within=within) for one in sent))

    async def succeeded(self, sent: Sequence[Sent]) -> None:
        """All ended well, and the platform did each exactly once (a set: at least once)."""
        for one, row in zip(sent, await self.outcomes(sent, *FINAL, "parked"), strict=True):
            told = (one.act.name, row["state"], row["problem"])
            assert row["state"] == "succeeded", told
            assert row["effect"] == ("applied" if one.act.changes else "none"), told
            self.applied(one)

    def applied(self, one: Sent) -> None:
        times = one.act.count(self.sim, one.data)
        expected = "none" if not one.act.changes else "once"
        assert times >= 1 if one.act.effect == "set" else times == int(one.act.changes), (
            f"{one.act.name} was applied {times} times instead of {expected}"
        )

    def nothing_applied(self, sent: Sequence[Sent]) -> None:
        assert Counter({one.act.name: one.act.count(self.sim, one.data) for one in sent}).total() == 0

    def step(self, platform: Platform, act: Act, data: Any) -> Step:
        """The only step of a command."""
        plan = platform.plan(Order("order", f"{act.command}.v1", {"platform": NAME, **data}))
        assert isinstance(plan, tuple), (act.name, plan)
        [step] = plan
        return step

    async def until_received(self, operation: str, times: int = 1) -> None:
        await eventually(lambda: len(self.watch.of(operation)) >= times, what=f"{operation} {times} times")

    def left_behind(self) -> dict[str, bytes]:
        """The journal's files, as they lie on the disk."""
        file = Path(self.url.removeprefix("sqlite:///"))
        return {each.name: each.read_bytes() for each in file.parent.glob(f"{file.name}*")}


@contextmanager
def spent() -> Iterator[list[float]]:
    """Seconds that a block took."""
    began, found = time.monotonic(), [0.0]
    yield found
    found[0] = time.monotonic() - began
