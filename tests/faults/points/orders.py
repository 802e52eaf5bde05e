"""One command of every effect, two of several steps, and what the platform shows of each from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.support.storm import DOMAIN, Order, Sippulse, create, credit, order

BALANCE = "10.00"
AMOUNT = "7.50"
OLD, NEW = "the-password-before", "the-password-after"


@dataclass(frozen=True, slots=True)
class Traces:
    """What the platform did for one subscriber: operations applied, in order, and its records now, secrets too."""

    applied: tuple[str, ...]
    records: tuple[Mapping[str, Any], ...]
    credits: tuple[int, Decimal]  # times, sum; by the platform's own count

    @property
    def record(self) -> Mapping[str, Any]:
        assert len(self.records) == 1, f"{len(self.records)} records of one name"
        return self.records[0]


async def traces(platform: Sippulse, username: str) -> Traces:
    log = (await platform.ask("log", username=username, domain=DOMAIN))["log"]
    state = await platform.ask("state", username=username, domain=DOMAIN, secrets="1")
    account = (await platform.ask("credits"))["by_subscriber"].get(f"{username}@{DOMAIN}")
    booked = (account["times"], Decimal(account["sum"])) if account else (0, Decimal(0))
    return Traces(tuple(one["operation"] for one in log), tuple(state["subscribers"]), booked)


Output = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Effect:
    """`operations`: what changes the platform, a step each, none for a read; `unseen`: those that no read shows.

    `dies_in`: at the engine's points a process dies over this step, by its place.
    """

    name: str
    make: Callable[[str], Order]
    operations: tuple[str, ...]
    check: Callable[[Traces, Output], bool]
    exists_before: bool = True
    unseen: frozenset[str] = frozenset()
    dies_in: int = 0

    def __str__(self) -> str:
        return self.name

    @property
    def before(self) -> tuple[str, ...]:
        """What is done when a process comes to the step that it dies over."""
        return self.operations[: self.dies_in]

    @property
    def after(self) -> tuple[str, ...]:
        """And when it has called that step."""
        return self.operations[: self.dies_in + 1]


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


def _change_secret(seen: Traces, output: Output) -> bool:
    return bool(seen.record["password"] == NEW)


def _create_in_steps(seen: Traces, output: Output) -> bool:
    return _create(seen, output) and (seen.record["cps"], seen.record["keepAlive"]) == (5, 30)


def _update_in_steps(seen: Traces, output: Output) -> bool:
    record = seen.record
    flags = (record["voicemail"], record["activeOutgoingCalls"])
    return _change_secret(seen, output) and flags == (True, False)


def create_in_steps(name: str) -> Order:
    """The platform takes what stands in no record by an operation of its own, after the creation."""
    made = create(name)
    made["data"] |= {"cps": 5, "keep_alive": 30}
    return made


def update_in_steps(name: str) -> Order:
    changes = {
        "password": NEW,
        "voicemail": True,
        "voicemail_password": "1234",
        "outgoing_calls": False,
    }
    return order("subscriber.update", name, changes=changes)


EFFECTS = {
    one.name: one
    for one in (
        Effect("read", lambda name: order("credit.get", name), (), _read),
        Effect("set", lambda name: order("calls.block", name), ("blockOutgoingCalls",), _set),
        Effect(
            "set_unseen",
            lambda name: order("subscriber.block", name),
            ("blockSubscriber",),
            lambda seen, output: seen.record["active"] is False,
            unseen=frozenset({"blockSubscriber"}),
        ),
        Effect("delete", lambda name: order("subscriber.remove", name), ("removeSubscriber",), _delete),
        Effect("create", create, ("insertSubscriber",), _create, exists_before=False),
        Effect("increment", lambda name: credit(name, AMOUNT), ("addCredit",), _increment),
        Effect(
            "change_secret",
            lambda name: order("password.change", name, new_password=NEW),
            ("changePassword",),
            _change_secret,
        ),
        Effect(
            "create_in_steps",
            create_in_steps,
            ("insertSubscriber", "updateSubscriberServices"),
            _create_in_steps,
            exists_before=False,
            unseen=frozenset({"updateSubscriberServices"}),
            dies_in=1,
        ),
        Effect(
            "update_in_steps",
            update_in_steps,
            ("changePassword", "activateVoicemail", "blockOutgoingCalls"),
            _update_in_steps,
        ),
    )
}
