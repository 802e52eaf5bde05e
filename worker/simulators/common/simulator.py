"""What every simulator does with a request, and how one ends."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, ClassVar

from aiohttp import web

from .counts import Counts
from .exchange import BEHAVIOURS, Answer, Behaviour, Exchange
from .faults import BaseRule, Called, Faults
from .freezer import Freezer


class BaseSimulator:
    """A running simulator, without what makes it one platform rather than another.

    A kind of its own sets `rule`, `behaviours` and `noise`, keeps its state in what `begin` makes, and says
    `apply` and `illness` (see `Stand`), `counts` and `path`. Tests in the same process may reach into
    `faults` and `freezer`.
    """

    rule: ClassVar[type[BaseRule]] = BaseRule
    behaviours: ClassVar[Mapping[str, Behaviour]] = BEHAVIOURS
    path: ClassVar[str] = ""  # what a platform's `url` setting has after host and port
    noise = Answer(200, b"{<<< %PDF-1.4 \x00\xff", "application/json")

    def __init__(self, *, seed: int, faults: tuple[Mapping[str, Any], ...] = ()) -> None:
        self.origin = ""
        self._tasks: set[asyncio.Future[web.Response]] = set()
        self._runner: web.AppRunner | None = None
        self._seed, self._rules = seed, faults
        self._restart()

    def _restart(self) -> None:
        self.faults = Faults(self._seed)
        self.freezer = Freezer()
        for rule in self._rules:
            self.faults.add(self.rule.from_values(rule))
        self.begin()

    # What a kind says of itself ----------------------------------------------------------------------

    def begin(self) -> None:
        """Make the state anew."""

    @property
    def counts(self) -> Counts:
        raise NotImplementedError

    def apply(self, call: Any, via: str) -> Answer:
        raise NotImplementedError

    def illness(self, call: Any, text: str) -> Answer:
        raise NotImplementedError

    def wording(self, call: Any, text: str) -> str:
        return text

    def stop_work(self) -> None:
        """End what runs by itself, before a close or a reset."""

    # For tests in the same process -----------------------------------------------------------------

    @property
    def url(self) -> str:
        """What a platform's `url` setting takes."""
        return f"{self.origin}{self.path}"

    @property
    def admin_url(self) -> str:
        return f"{self.origin}/admin/"

    def fail(self, operation: str | tuple[str, ...], kind: str, **parameters: Any) -> None:
        """Add a fault rule, e.g. `fail("addCredit", "drop_after", count=3)`; `rule` has the parameters."""
        patterns = (operation,) if isinstance(operation, str) else operation
        self.faults.add(self.rule(operation=patterns, kind=kind, **parameters))

    def heal(self) -> None:
        """No more faults; what is frozen thaws. What is late still lands."""
        self.faults.clear()
        self.freezer.thaw()

    def pending(self) -> int:
        """Requests that are not applied or not answered yet: late, delayed, frozen, dripping."""
        return len(self._tasks)

    # Life ------------------------------------------------------------------------------------------

    def started(self, runner: web.AppRunner, origin: str) -> None:
        """It is being served now, under `origin`."""
        self._runner, self.origin = runner, origin

    async def close(self) -> None:
        """Stop. What was late or frozen is not applied any more."""
        await self._stop()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def reset(self) -> None:
        """As if just started: state, counts, faults, freezes, and nothing late lands any more."""
        await self._stop()
        self._restart()

    async def _stop(self) -> None:
        self.stop_work()
        self.freezer.forget()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Requests --------------------------------------------------------------------------------------

    def answered(self, call: Called) -> None:
        self.counts.operations[call.operation].answered += 1

    async def received(self, request: web.Request, call: Any) -> web.Response:
        """A request that could be read: by plain way, or through what was asked to go wrong."""
        exchange = Exchange(request, call, self)
        self.counts.operations[call.operation].received += 1
        if self.freezer.covers(call.name):
            return await self._apart(_frozen(exchange))
        fault = self.faults.draw(call)
        if fault is None:
            return exchange.respond(await exchange.apply())
        self.counts.faults[fault.kind] += 1
        return await self._apart(self.behaviours[fault.kind](exchange, fault, self.faults.random.choice))

    async def _apart(self, work: Awaitable[web.Response]) -> web.Response:
        """In a task of the simulator's own: the change lands although the client's connection is gone."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            return web.Response(status=503, text="the simulator was reset\n")


async def _frozen(exchange: Exchange) -> web.Response:
    return exchange.respond(await exchange.apply(via="frozen"))
