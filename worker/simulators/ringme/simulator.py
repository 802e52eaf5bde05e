"""The simulator itself: its state, and what tests may reach for."""

from collections.abc import Mapping
from typing import ClassVar

from worker.simulators.common.counts import Counts
from worker.simulators.common.exchange import Answer, Behaviour
from worker.simulators.common.faults import BaseRule
from worker.simulators.common.simulator import BaseSimulator

from .calls import Call
from .config import SimulatorConfig
from .faults import BEHAVIOURS, Rule
from .platform import Platform
from .wire import refused


class Simulator(BaseSimulator):
    """A running RingMe. Tests in the same process may reach into `platform`, `faults` and `freezer`."""

    rule: ClassVar[type[BaseRule]] = Rule
    behaviours: ClassVar[Mapping[str, Behaviour]] = BEHAVIOURS

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        super().__init__(seed=config.seed, faults=config.faults)

    def begin(self) -> None:
        self.platform = Platform(self.config)

    @property
    def counts(self) -> Counts:
        return self.platform.ledger

    def apply(self, call: Call, via: str) -> Answer:
        return self.platform.serve(call, via)

    def illness(self, call: Call, text: str) -> Answer:
        return refused(500, "", text, self.limits())

    def wording(self, call: Call, text: str) -> str:
        """{token} and {secret}: what the caller would not like to read in a log."""
        password = call.body.get("password", "") if isinstance(call.body, dict) else ""
        return text.replace("{token}", call.token or "").replace("{secret}", str(password))

    def limits(self) -> dict[str, str]:
        """The headers that each answer carries."""
        return self.platform.hour.headers()
