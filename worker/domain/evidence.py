"""What was read from the platform, and what it proves about a call whose answer was lost (rules 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import combinations
from typing import Any

from worker.domain.effect import Effect


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at the object of a step showed. Fields that the effect has no use for stay None.

    `balance` and `calls` in the platform's currency unit; `last_call` is the highest call record id.
    """

    present: bool | None = None  # create, delete: the object exists
    matches: bool | None = None  # create: agrees in the fields we send; set, change_secret: is as wanted
    differences: tuple[str, ...] = ()  # create: names of the fields that differ
    platform_id: str | None = None
    balance: Decimal | None = None
    last_call: int | None = None  # None: no call records are configured
    calls: tuple[Decimal, ...] = ()  # prices of the calls above the evidence's `last_call`
    old_secret_works: bool | None = None
    record: Mapping[str, Any] = field(default_factory=dict)  # kept encrypted; holds no secret

    def as_data(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "present": self.present,
            "matches": self.matches,
            "differences": list(self.differences),
            "platform_id": self.platform_id,
            "balance": None if self.balance is None else str(self.balance),
            "last_call": self.last_call,
            "calls": [str(price) for price in self.calls],
            "old_secret_works": self.old_secret_works,
            "record": dict(self.record),
        }
        return {name: value for name, value in data.items() if value not in (None, [], {})}


def reading_from(data: Mapping[str, Any]) -> Reading:
    return Reading(
        present=data.get("present"),
        matches=data.get("matches"),
        differences=tuple(data.get("differences", ())),
        platform_id=data.get("platform_id"),
        balance=None if data.get("balance") is None else Decimal(data["balance"]),
        last_call=data.get("last_call"),
        calls=tuple(Decimal(price) for price in data.get("calls", ())),
        old_secret_works=data.get("old_secret_works"),
        record=data.get("record", {}),
    )


@dataclass(frozen=True, slots=True)
class TookEffect:
    """The reading shows the effect. `output` goes into the result."""

    output: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NoEffect:
    """The reading shows that nothing happened (so far)."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """The reading shows something that neither a yes nor a no explains."""

    why: str


Verdict = TookEffect | NoEffect | Undecided


@dataclass(frozen=True, slots=True)
class Credit:
    """What the verdict on an increment needs beside the readings, in the platform's currency unit."""

    amount: Decimal
    step: Decimal


def judge(effect: Effect, before: Reading | None, now: Reading, credit: Credit | None = None) -> Verdict:
    """What `now` says about a call of this effect that went out after `before` was read."""
    match effect:
        case Effect.INCREMENT:
            assert before is not None
            assert credit is not None
            return judge_credit(before, now, credit)
        case Effect.CREATE:
            return judge_create(before, now)
        case Effect.DELETE:
            return TookEffect() if now.present is False else NoEffect()
        case Effect.CHANGE_SECRET:
            return judge_secret(now)
        case Effect.SET | Effect.READ:
            return TookEffect() if now.matches else NoEffect()


def judge_create(before: Reading | None, now: Reading) -> Verdict:
    if not now.present:
        return NoEffect()
    if before is not None and before.present:
        return Undecided("it was there before the call already")
    if now.matches:
        return TookEffect(
            {"platform_id": now.platform_id, "adopted": False, "differences": list(now.differences)}
        )
    return Undecided("what is there differs in: " + ", ".join(now.differences))


def judge_secret(now: Reading) -> Verdict:
    if now.matches:
        return TookEffect()
    return NoEffect() if now.old_secret_works else Undecided("neither the old nor the new secret works")


def judge_credit(before: Reading, now: Reading, credit: Credit) -> Verdict:
    """The arithmetic of rule table 3: what is left when the calls in between are explained away."""
    assert before.balance is not None
    assert now.balance is not None
    moved = now.balance - before.balance
    explained = moved + sum(now.calls, Decimal(0))
    half = credit.step / 2
    if abs(explained - credit.amount) < half:
        if calls_cost(now.calls, credit):
            return Undecided(f"calls among {len(now.calls)} cost exactly the amount")
        return TookEffect({"balance_after": money(now.balance)})
    if abs(explained) < half:
        if calls_cost(now.calls, credit):
            return Undecided(f"calls among {len(now.calls)} cost exactly the amount")
        return NoEffect()
    return Undecided(
        f"the balance moved by {moved}, calls explain {explained - moved}, ordered were {credit.amount}"
    )


def money(amount: Decimal) -> str:
    """As results say it: at least two decimal places, more only where there are more."""
    exponent = amount.as_tuple().exponent
    whole = isinstance(exponent, int) and exponent > -2
    return f"{amount:.2f}" if whole else f"{amount:f}"


MOST_CALLS = 14  # 2^14 choices are looked at; with more calls in between a person decides


def calls_cost(calls: Sequence[Decimal], credit: Credit) -> bool:
    """Whether some choice among the calls costs exactly the amount, so that a top-up could hide in it."""
    if len(calls) > MOST_CALLS:
        return True
    half = credit.step / 2
    return any(
        abs(sum(choice, Decimal(0)) - credit.amount) < half
        for size in range(1, len(calls) + 1)
        for choice in combinations(calls, size)
    )
