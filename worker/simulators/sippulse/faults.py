"""What can go wrong with a SOAP request, and about whom it has to be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from worker.simulators.common import faults as common
from worker.simulators.common.faults import BaseRule, Fault, Faults, Standing

from .operations import OPERATIONS
from .soap import Call

__all__ = ["KINDS", "LOST", "Fault", "Faults", "Rule", "Standing"]

KINDS = {
    "delay": common.KINDS["delay"],
    "declared": "answers the declared WSException fault with `text`",
    "undeclared": "answers a SOAP fault without WSException, with `text`",
    **{name: meaning for name, meaning in common.KINDS.items() if name != "delay"},
}

# Every way to lose an answer. `lost` as a kind stands for this mix.
LOST: Mapping[str, float] = {
    "drop_before": 1,
    "drop_after": 2,
    "late": 1,
    "drip": 1,
    "garbage": 1,
    "undeclared": 1,
    "html500": 1,
}


@dataclass(frozen=True, slots=True)
class Rule(BaseRule):
    """A fault on request: as every simulator's, with patterns such as `SubscriberWS.block*`.

    username, domain: only requests about this subscriber.
    """

    KINDS: ClassVar[Mapping[str, str]] = KINDS
    LOST: ClassVar[Mapping[str, float]] = LOST
    CHOICES: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **common.CHOICES,
        "variant": ("any", "not_http", "not_xml", "truncated"),
    }

    username: str | None = None
    domain: str | None = None

    def changes(self, call: Call) -> bool | None:
        operation = OPERATIONS.get(call.operation)
        return None if operation is None else operation.changes

    def about(self, call: Call) -> bool:
        username, domain = call.subject
        return self.username in (None, username) and (self.domain is None or self.domain.lower() == domain)
