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
    entries: int | None = (
        None  # credit entries of this command that the operator's SELECT shows; None: no SELECT
    )
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
            "entries": self.entries,
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
        entries=data.get("entries"),
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
    rounded_away: Decimal = Decimal(0)  # how far what a call took may be from its price in the call records

    def fits(self, sum_: Decimal, wanted: Decimal, calls: int) -> bool:
        """Whether two sums are the same but for rounding: never so far off that the whole amount fits between."""
        slack = min(self.step / 2 + calls * self.rounded_away, abs(self.amount) / 2)
        return abs(sum_ - wanted) < slack

    def drowns(self, calls: Sequence[Decimal]) -> bool:
        """Prices finer than a step may have been rounded, whatever the settings say: up to a step each, and one
        for the balance. Together that could be half of a small amount, and then nothing can be told apart."""
        finer = sum(1 for price in calls if price % self.step)
        return bool(finer) and self.step / 2 + (finer + 1) * self.step >= abs(self.amount) / 2


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
    """The operator's own look at credit entries where there is one, else the figures alone."""
    figures = judge_figures(before, now, credit)
    if now.entries is None or before.entries is None:
        return figures
    return judge_entries(before.entries, now.entries, now, figures)


def judge_entries(before: int, now: int, reading: Reading, figures: Verdict) -> Verdict:
    """An entry is certain. That there is none counts only where the figures do not speak against it: a SELECT
    that looks in the wrong place never shows one."""
    if before:
        return Undecided(
            f"the SELECT showed {before} rows before the call: it does not single out the command"
        )
    if now == 1:
        assert reading.balance is not None
        return TookEffect({"balance_after": money(reading.balance)})
    if now > 1:
        return Undecided("the SELECT shows more than one credit entry of this command")
    if isinstance(figures, TookEffect):
        return Undecided("the SELECT shows no credit entry, but the balance moved by the amount")
    return figures


def judge_figures(before: Reading, now: Reading, credit: Credit) -> Verdict:
    """The arithmetic of rule table 3: what is left when the calls in between are explained away."""
    assert before.balance is not None
    assert now.balance is not None
    moved = now.balance - before.balance
    explained = moved + sum(now.calls, Decimal(0))
    if credit.drowns(now.calls):
        return Undecided(
            f"{len(now.calls)} calls with prices in fractions may be rounded by the amount itself"
        )
    booked = credit.fits(explained, credit.amount, len(now.calls))
    if not booked and not credit.fits(explained, Decimal(0), len(now.calls)):
        return Undecided(
            f"the balance moved by {moved}, calls explain {explained - moved}, ordered were {credit.amount}"
        )
    if calls_cost(now.calls, credit):
        return Undecided(f"calls among {len(now.calls)} cost exactly the amount")
    return TookEffect({"balance_after": money(now.balance)}) if booked else NoEffect()


def money(amount: Decimal) -> str:
    """As results say it: at least two decimal places, more only where there are more."""
    exponent = amount.as_tuple().exponent
    whole = isinstance(exponent, int) and exponent > -2
    return f"{amount:.2f}" if whole else f"{amount:f}"


MOST_CALLS = 14  # 2^14 choices are looked at; with more calls in between a person decides


def calls_cost(calls: Sequence[Decimal], credit: Credit) -> bool:
    """Whether some choice among the calls costs exactly the amount, so that the credit could hide in it.

    Of a negative one too: a call that was debited before our first look, and rated after it, "explains" it.
    """
    if len(calls) > MOST_CALLS:
        return True
    return any(
        credit.fits(sum(choice, Decimal(0)), abs(credit.amount), len(calls))
        for size in range(1, len(calls) + 1)
        for choice in combinations(calls, size)
    )
