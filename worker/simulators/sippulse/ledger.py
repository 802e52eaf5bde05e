"""What the simulator applied, counted: the truth that tests compare the worker with."""

import time
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from worker.simulators.common.counts import Counts

Key = tuple[str, str]  # username, domain in lower case


@dataclass(frozen=True, slots=True)
class Entry:
    """One applied change. `via` is the fault under which it was applied, empty for a plain one.

    `changed`: fields of the state that are otherwise since, and what they are now.
    """

    sequence: int
    username: str
    domain: str
    operation: str
    arguments: dict[str, Any]
    via: str
    at: float
    changed: dict[str, Any] = field(default_factory=dict, repr=False)

    def shown(self) -> dict[str, Any]:
        """Without `changed`, in which secrets stand."""
        return {
            "sequence": self.sequence,
            "username": self.username,
            "domain": self.domain,
            "operation": self.operation,
            "arguments": self.arguments,
            "via": self.via,
            "at": self.at,
        }


@dataclass(slots=True)
class Sum:
    """How often, and how much in all."""

    times: int = 0
    sum: Decimal = Decimal(0)
    subscriber: str = ""

    def add(self, amount: Decimal) -> None:
        self.times += 1
        self.sum += amount


@dataclass(frozen=True, slots=True)
class Charge:
    """A rated call, as a row of vi_cdrs would show it; `price` has left the balance."""

    id: int
    accountcode: str
    price: Decimal
    at: float


@dataclass(slots=True)
class Ledger(Counts):
    """Counters and logs of what came by SOAP, and charges. What the admin API seeds is not in them."""

    entries: list[Entry] = field(default_factory=list)
    by_subscriber: defaultdict[Key, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    credits_by_obs: defaultdict[str, Sum] = field(default_factory=lambda: defaultdict(Sum))
    credits_by_subscriber: defaultdict[Key, Sum] = field(default_factory=lambda: defaultdict(Sum))
    charges: list[Charge] = field(default_factory=list)
    charged: defaultdict[Key, Sum] = field(default_factory=lambda: defaultdict(Sum))
    doubles: int = 0

    def record(
        self, key: Key, operation: str, arguments: dict[str, Any], via: str, changed: dict[str, Any]
    ) -> None:
        entry = Entry(len(self.entries) + 1, *key, operation, arguments, via, time.time(), changed)
        self.entries.append(entry)
        self.by_subscriber[key].append(entry)

    def credit(self, key: Key, obs: str, amount: Decimal) -> None:
        self.credits_by_obs[obs].add(amount)
        self.credits_by_obs[obs].subscriber = "@".join(key)
        self.credits_by_subscriber[key].add(amount)

    def charge(self, key: Key, price: Decimal) -> Charge:
        charge = Charge(len(self.charges) + 1, "@".join(key), price, time.time())
        self.charges.append(charge)
        self.charged[key].add(price)
        return charge
