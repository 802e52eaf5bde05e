"""What simulators of JSON platforms share: a request as a call, refusals on request, a log of what changed."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from aiohttp import web

from . import exchange as common
from . import faults
from .counts import Counts
from .exchange import Answer, Behaviour, Dice, Exchange
from .faults import BaseRule, Fault
from .simulator import BaseSimulator

MASK = "***"


@dataclass(frozen=True, slots=True)
class RestCall:
    """One request that the platform knows. `object`: the id of what it is about, "" for nothing in particular.

    Its repr shows neither the body nor what stands in the address: both may hold secrets.
    """

    operation: str
    changes: bool
    object: str = ""
    path: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Any = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.operation


@dataclass(frozen=True, slots=True)
class RestRule(BaseRule):
    """A fault on request: as every simulator's.

    object: only requests about this id. status: the HTTP status of `refuse`.
    """

    KINDS: ClassVar[Mapping[str, str]] = {
        **faults.KINDS,
        "refuse": "answers as the platform refuses, with `text` and HTTP status `status`",
        "too_many": "answers 429",
    }

    object: str | None = None
    status: int = 200

    def changes(self, call: RestCall) -> bool | None:
        return call.changes

    def about(self, call: RestCall) -> bool:
        return self.object in (None, call.object)


async def _refuse(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    await exchange.apply_if(fault)
    status = getattr(fault.rule, "status", 200)
    return exchange.refuse(
        _simulator(exchange).refusal(exchange.call, exchange.wording(fault.rule.text), status)
    )


async def _too_many(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    await exchange.apply_if(fault)
    return exchange.refuse(_simulator(exchange).too_many(exchange.call))


def _simulator(exchange: Exchange) -> "RestSimulator":
    assert isinstance(exchange.stand, RestSimulator)
    return exchange.stand


class RestSimulator(BaseSimulator):
    """A simulator of a JSON platform; a kind says also how it refuses."""

    rule: ClassVar[type[BaseRule]] = RestRule
    behaviours: ClassVar[Mapping[str, Behaviour]] = {
        **common.BEHAVIOURS,
        "refuse": _refuse,
        "too_many": _too_many,
    }

    def refusal(self, call: Any, text: str, status: int) -> Answer:
        raise NotImplementedError

    def too_many(self, call: Any) -> Answer:
        raise NotImplementedError

    def illness(self, call: Any, text: str) -> Answer:
        return Answer(500, text.encode(), "text/plain", fault=text)


@dataclass(frozen=True, slots=True)
class Entry:
    """One applied change. `via` is the fault under which it was applied, empty for a plain one."""

    sequence: int
    object: str
    operation: str
    arguments: Any
    via: str
    at: float

    def shown(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class RestLedger(Counts):
    """Counts, and a log of what was changed by requests. What the admin API seeds is not in it."""

    entries: list[Entry] = field(default_factory=list)

    def record(self, call: RestCall, object_: str, via: str, secrets: frozenset[str]) -> None:
        arguments = masked({**call.query, **(call.body if isinstance(call.body, dict) else {})}, secrets)
        number = len(self.entries) + 1
        self.entries.append(Entry(number, object_, call.operation, arguments, via, time.time()))

    def about(self, object_: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.object == object_]


def masked(value: Any, secrets: frozenset[str]) -> Any:
    """A copy with *** for whatever stands under a secret's name."""
    if isinstance(value, Mapping):
        return {
            name: MASK if name in secrets and each is not None else masked(each, secrets)
            for name, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [masked(each, secrets) for each in value]
    return value


def answer(status: int, body: Any, headers: Mapping[str, str] | None = None, fault: str = "") -> Answer:
    raw = json.dumps(body, ensure_ascii=False).encode()
    return Answer(status, raw, "application/json", fault=fault, headers=headers or {})
