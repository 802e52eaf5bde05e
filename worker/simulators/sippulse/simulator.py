"""The simulator itself: its state, what tests may reach for, and the calls that eat credit."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

from aiohttp import web

from worker.simulators.common.counts import Counts
from worker.simulators.common.exchange import Answer, Behaviour
from worker.simulators.common.faults import BaseRule
from worker.simulators.common.simulator import BaseSimulator

from .call_records import CallRecords
from .config import SimulatorConfig
from .exchange import BEHAVIOURS
from .faults import Rule
from .operations import apply
from .platform import Platform, Subscriber
from .soap import Call, undeclared_fault
from .traffic import Traffic


class Simulator(BaseSimulator):
    """A running SIPPulse. Tests in the same process may reach into `platform`, `faults` and `freezer`."""

    rule: ClassVar[type[BaseRule]] = Rule
    behaviours: ClassVar[Mapping[str, Behaviour]] = BEHAVIOURS
    path: ClassVar[str] = "/SipPulse"
    noise = Answer(200, b"<S:Envelope <<< %PDF-1.4 \x00\xff not xml", "text/xml")

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self._traffic: asyncio.Task[None] | None = None
        self.call_records = CallRecords(config.call_records) if config.call_records else None
        super().__init__(seed=config.seed, faults=config.faults)

    def begin(self) -> None:
        self.platform = Platform(self.config, self.call_records)

    @property
    def counts(self) -> Counts:
        return self.platform.ledger

    def apply(self, call: Call, via: str) -> Answer:
        return apply(self.platform, call, via)

    def illness(self, call: Call, text: str) -> Answer:
        return undeclared_fault(text)

    def wording(self, call: Call, text: str) -> str:
        return self.platform.wording(call, text, {})

    # For tests in the same process -----------------------------------------------------------------

    def subscriber(self, username: str, domain: str) -> Subscriber | None:
        return self.platform.get(username, domain)

    def credit(self, obs: str) -> tuple[int, Decimal]:
        """How often, and how much in all, addCredit was applied with this `obs`."""
        found = self.platform.ledger.credits_by_obs.get(obs)
        return (found.times, found.sum) if found else (0, Decimal(0))

    # Calls that eat credit -------------------------------------------------------------------------

    def started(self, runner: web.AppRunner, origin: str) -> None:
        super().started(runner, origin)
        self.run_traffic(Traffic.from_values(self.config.traffic) if self.config.traffic else None)

    def stop_work(self) -> None:
        self.run_traffic(None)
        if self.call_records is not None:
            self.call_records.stop()

    def run_traffic(self, traffic: Traffic | None) -> None:
        """Start calls that eat credit, in place of those that run; None or a rate of 0 stops them."""
        if self._traffic is not None:
            self._traffic.cancel()
        running = traffic is not None and traffic.rate > 0
        self._traffic = asyncio.create_task(traffic.run(self.platform)) if running and traffic else None
