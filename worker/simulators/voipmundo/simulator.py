"""The simulator itself: its state, and what tests may reach for."""

import asyncio
from decimal import Decimal
from typing import Any

from aiohttp import web

from worker.simulators.common.counts import Counts
from worker.simulators.common.exchange import Answer
from worker.simulators.common.rest import RestCall, RestSimulator

from .config import SimulatorConfig
from .operations import apply, refused, wording
from .state import Client, State


class Simulator(RestSimulator):
    """A running VoIPMundo. Tests in the same process may reach into `state`, `faults` and `freezer`."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self._inside = 0
        super().__init__(seed=config.seed, faults=config.faults)

    def begin(self) -> None:
        self.state = State(self.config)

    @property
    def counts(self) -> Counts:
        return self.state.ledger

    def apply(self, call: RestCall, via: str) -> Answer:
        return apply(self.state, call, via)

    def refusal(self, call: RestCall, text: str, status: int) -> Answer:
        return refused(text, status)

    def too_many(self, call: RestCall) -> Answer:
        return refused(self.state.texts["too_many"], 429)

    def wording(self, call: RestCall, text: str) -> str:
        return wording(self.state, call, text)

    async def received(self, request: web.Request, call: Any) -> web.Response:
        """With the switch `simultaneous` = `one`, a request that comes beside another is turned away."""
        if self._inside and self.state.switches.simultaneous == "one":
            self.counts.operations[call.operation].received += 1
            self.counts.faults["simultaneous"] += 1
            answer = self.too_many(call)
            return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)
        self._inside += 1
        try:
            if self.state.time:
                await asyncio.sleep(self.state.time)
            return await super().received(request, call)
        finally:
            self._inside -= 1

    # For tests in the same process -----------------------------------------------------------------

    def client(self, number: int) -> Client | None:
        return self.state.clients.get(number)

    def credit(self, note: str) -> tuple[int, Decimal]:
        """How often, and how much in all, credit was applied with a note that begins so."""
        found = [
            each["amount"]
            for client in self.state
            for each in client.credits
            if str(each["note"] or "").startswith(note)
        ]
        return len(found), sum(found, Decimal(0))
