"""The simulator itself: what happens to a request, what tests may reach for, and how it ends."""

import asyncio
from collections.abc import Awaitable
from decimal import Decimal
from typing import Any

from aiohttp import web

from .config import SimulatorConfig
from .exchange import BEHAVIOURS, Exchange
from .faults import Faults, Rule
from .freezer import Freezer
from .platform import Platform, Subscriber
from .soap import Call
from .traffic import Traffic


class Simulator:
    """A running simulator. Tests in the same process may reach into `platform`, `faults` and `freezer`."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self.origin = ""
        self._tasks: set[asyncio.Future[web.Response]] = set()
        self._traffic: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        self._begin()

    def _begin(self) -> None:
        self.platform = Platform(self.config)
        self.faults = Faults(self.config.seed)
        self.freezer = Freezer()
        for rule in self.config.faults:
            self.faults.add(Rule.from_values(rule))

    @property
    def url(self) -> str:
        """What a platform's `url` setting takes, e.g. http://127.0.0.1:8081/SipPulse."""
        return f"{self.origin}/SipPulse"

    @property
    def admin_url(self) -> str:
        return f"{self.origin}/admin/"

    # For tests in the same process -----------------------------------------------------------------

    def subscriber(self, username: str, domain: str) -> Subscriber | None:
        return self.platform.get(username, domain)

    def fail(self, operation: str | tuple[str, ...], kind: str, **parameters: Any) -> None:
        """Add a fault rule, e.g. `fail("addCredit", "drop_after", count=3)`; `Rule` has the parameters."""
        patterns = (operation,) if isinstance(operation, str) else operation
        self.faults.add(Rule(operation=patterns, kind=kind, **parameters))

    def heal(self) -> None:
        """No more faults; what is frozen thaws. What is late still lands."""
        self.faults.clear()
        self.freezer.thaw()

    def credit(self, obs: str) -> tuple[int, Decimal]:
        """How often, and how much in all, addCredit was applied with this `obs`."""
        found = self.platform.ledger.credits_by_obs.get(obs)
        return (found.times, found.sum) if found else (0, Decimal(0))

    def pending(self) -> int:
        """Requests that are not applied or not answered yet: late, delayed, frozen, dripping."""
        return len(self._tasks)

    # Life ------------------------------------------------------------------------------------------

    def started(self, runner: web.AppRunner, origin: str) -> None:
        """It is being served now, under `origin`."""
        self._runner, self.origin = runner, origin
        self.run_traffic(Traffic.from_values(self.config.traffic) if self.config.traffic else None)

    async def close(self) -> None:
        """Stop. What was late or frozen is not applied any more."""
        self.run_traffic(None)
        self.freezer.forget()
        await self._cancel_tasks()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def reset(self) -> None:
        """As if just started: state, counts, faults, freezes, and nothing late lands any more."""
        self.run_traffic(None)
        self.freezer.forget()
        await self._cancel_tasks()
        self._begin()

    async def _cancel_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def run_traffic(self, traffic: Traffic | None) -> None:
        """Start calls that eat credit, in place of those that run; None or a rate of 0 stops them."""
        if self._traffic is not None:
            self._traffic.cancel()
        running = traffic is not None and traffic.rate > 0
        self._traffic = asyncio.create_task(traffic.run(self.platform)) if running and traffic else None

    # Requests --------------------------------------------------------------------------------------

    async def received(self, request: web.Request, call: Call) -> web.Response:
        """A request that could be read: by plain way, or through what was asked to go wrong."""
        exchange = Exchange(request, call, self.platform, self.freezer)
        self.platform.ledger.operations[call.operation].received += 1
        if self.freezer.covers(call.name):
            return await self._apart(_frozen(exchange))
        fault = self.faults.draw(call)
        if fault is None:
            return exchange.respond(await exchange.apply())
        self.platform.ledger.faults[fault.kind] += 1
        return await self._apart(BEHAVIOURS[fault.kind](exchange, fault, self.faults.random.choice))

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
