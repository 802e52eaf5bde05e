"""One command of every effect, and what the platform shows of it from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.support.storm import DOMAIN, Order, Sippulse, create, credit, order

BALANCE = "10.00"
AMOUNT = "7.50"


@dataclass(frozen=True, slots=True)
class Traces:
    """What the platform did for one subscriber: operations applied, in order, and its records now."""

    applied: tuple[str, ...]
    records: tuple[Mapping[str, Any], ...]
    credits: tuple[int, Decimal]  # times, sum; by the platform's own count

    @property
    def record(self) -> Mapping[str, Any]:
        assert len(self.records) == 1, f"{len(self.records)} records of one name"
        return self.records[0]


async def traces(platform: Sippulse, username: str) -> Traces:
    log = (await platform.ask("log", username=username, domain=DOMAIN))["log"]
    state = await platform.ask("state", username=username, domain=DOMAIN)
    account = (await platform.ask("credits"))["by_subscriber"].get(f"{username}@{DOMAIN}")
    booked = (account["times"], Decimal(account["sum"])) if account else (0, Decimal(0))
    return Traces(tuple(one["operation"] for one in log), tuple(state["subscribers"]), booked)


Output = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Effect:
    """`operation`: what changes the platform, None for a read; `shown`: whether a read shows that it did."""

    name: str
    make: Callable[[str], Order]
    operation: str | None
    check: Callable[[Traces, Output], bool]
    exists_before: bool = True
    shown: bool = True

    def __str__(self) -> str:
        return self.name


def _read(seen: Traces, output: Output) -> bool:
    return Decimal(output["balance"]) == Decimal(BALANCE) == Decimal(seen.record["balance"])


def _set(seen: Traces, output: Output) -> bool:
    return seen.record["activeOutgoingCalls"] is False and output["kinds"] == ["outgoing"]


def _delete(seen: Traces, output: Output) -> bool:
    return not seen.records  # what was removed: see `cases`


def _create(seen: Traces, output: Output) -> bool:
    return bool(seen.record["contractNumber"]) and output["adopted"] is False


def _increment(seen: Traces, output: Output) -> bool:
    whole = Decimal(seen.record["balance"]) == Decimal(BALANCE) + Decimal(AMOUNT)
    return whole and seen.credits == (1, Decimal(AMOUNT)) and output["amount"] == AMOUNT


EFFECTS = {
    one.name: one
    for one in (
        Effect("read", lambda name: order("credit.get", name), None, _read),
        Effect("set", lambda name: order("calls.block", name), "blockOutgoingCalls", _set),
        Effect(
            "set_unseen",
            lambda name: order("subscriber.block", name),
            "blockSubscriber",
            lambda seen, output: seen.record["active"] is False,
            shown=False,
        ),
        Effect("delete", lambda name: order("subscriber.remove", name), "removeSubscriber", _delete),
        Effect("create", create, "insertSubscriber", _create, exists_before=False),
        Effect("increment", lambda name: credit(name, AMOUNT), "addCredit", _increment),
    )
}
