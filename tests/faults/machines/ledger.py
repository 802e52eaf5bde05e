"""A subscriber's account as a pure function of time, and the engine's readings of it after a lost answer.

Seconds; the call goes out at 0 with the balance read just before, its answer is given up at `LOST`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from worker.domain.decide import (
    After,
    Again,
    Decision,
    Doubt,
    InDoubt,
    Patience,
    clear_up,
    unread_again,
)
from worker.domain.effect import Effect
from worker.domain.evidence import Credit, Reading, judge
from worker.engine.doubt import seen_at_the_start

LOST, SETTLE, LAG = 5.0, 120.0, 10.0
OPENING = Decimal(100)


@dataclass(frozen=True)
class Talk:
    """A call is debited at `at`; its record shows `shows_after` seconds later, less than `call_records.lag`."""

    at: float
    price: Decimal
    shows_after: float = 0.0


@dataclass(frozen=True)
class Account:
    """`lands`: when our credit is booked, None: never. `others`: (when, how much) somebody else books."""

    amount: Decimal
    lands: float | None
    talks: tuple[Talk, ...] = ()
    others: tuple[tuple[float, Decimal], ...] = ()
    records: bool = False

    def read(self, at: float) -> Reading:
        balance = OPENING - sum((t.price for t in self.talks if t.at <= at), Decimal(0))
        balance += sum((much for when, much in self.others if when <= at), Decimal(0))
        if self.lands is not None and self.lands <= at:
            balance += self.amount
        if not self.records:
            return Reading(balance=balance)
        shown = sorted((t for t in self.talks if t.at + t.shows_after <= at), key=lambda t: t.at)
        return Reading(balance=balance, last_call=len(shown), calls=tuple(t.price for t in shown))


@dataclass(frozen=True)
class Told:
    decision: Decision
    at: float


def read_until_decided(
    account: Account, failures: Sequence[bool], *, strict: bool = False, patience: Patience | None = None
) -> Told:
    """What worker.engine.doubt makes of the readings, one by one. `failures`: which of the first ones fail."""
    patience = patience or Patience()
    credit = Credit(account.amount, Decimal("0.01"))
    before = account.read(-1.0)
    earlier: list[After] = []
    now, closes = LOST, LOST + SETTLE
    for turn in range(500):
        doubt = InDoubt(Effect.INCREMENT, tuple(earlier), now >= closes, now, now - LOST, SETTLE, LAG, strict)
        if turn < len(failures) and failures[turn]:
            decision = unread_again(doubt, patience)
        else:
            reading = account.read(now)
            verdict = judge(Effect.INCREMENT, before, reading, credit)
            decision = clear_up(doubt, reading, verdict, patience)
            if isinstance(decision, Again) and not seen_at_the_start(doubt):
                decision = Doubt(0.0, "it begins anew", opens=True)
            earlier.append(After(reading, verdict, now, closing=now >= closes))
        if not isinstance(decision, Doubt):
            return Told(decision, now)
        if decision.opens:
            closes = now + SETTLE
        # The end of the window makes it due at once.
        next_ = now + max(decision.after, 0.05)
        now = closes if now < closes < next_ else next_
    raise AssertionError("it reads for ever")
