"""What follows an answer. Pure: time is an argument, nothing sleeps, nothing logs (rules 2, 3, 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from tenacity import RetryCallState, wait_exponential, wait_random
from tenacity.wait import wait_base

from worker.domain.effect import Effect
from worker.domain.evidence import NoEffect, Reading, TookEffect, Undecided, Verdict
from worker.domain.outcome import Busy, Done, Ill, NotSent, Outcome, Refused, Unclear
from worker.messages.errors import Code, Problem


@dataclass(frozen=True, slots=True)
class Finish:
    """The step is done."""

    output: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reject:
    problem: Problem


@dataclass(frozen=True, slots=True)
class Again:
    """Nothing happened; due again in `after` seconds. `counted`: this attempt was spent."""

    after: float
    why: str
    counted: bool = True
    failing: bool = True


@dataclass(frozen=True, slots=True)
class Hold:
    """Not this command is at fault but the login or the platform: everything of it waits (rule 2.4)."""

    code: Code
    text: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """Read again in `after` seconds. `opens`: a call may yet take effect, so a window begins now.

    `counted`: it was worked on. False: nothing was read, so leases that lapsed before still count (rule 1).
    """

    after: float
    why: str
    opens: bool = False
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Park:
    problem: Problem
    unknown: bool = False  # what the call did is not known


Decision = Finish | Reject | Again | Hold | Doubt | Park


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often, in seconds."""

    first: float = 2.0
    most: float = 900.0
    retry_for: float = 86400.0

    def wait(self, tries: int) -> float:
        """Exponential with jitter: before the next try, after `tries` of them."""
        waits: wait_base = wait_exponential(multiplier=self.first, max=self.most) + wait_random(
            0, self.first / 2
        )
        state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
        state.attempt_number = max(tries, 1)
        return float(waits(state))


def decide(outcome: Outcome, effect: Effect, tries: int, failing_for: float, patience: Patience) -> Decision:
    """After a call. A refusal comes here only once it is known to be about this command (rule 2.4)."""
    match outcome:
        case Done(output):
            return Finish(dict(output))
        case Refused(code, text, platform_code, said=said):
            return Reject(Problem(code, text, platform_code=platform_code, platform_message=said))
        case Ill(text, credentials):
            return Hold(Code.CREDENTIALS_REFUSED if credentials else Code.PLATFORM_ILL, text)
        case Busy(after):
            return _again(after, "busy", failing_for, patience)
        case NotSent(why):
            return _again(patience.wait(tries), why, failing_for, patience)
        case Unclear(why):
            if effect is Effect.READ:
                return _again(patience.wait(tries), why, failing_for, patience)
            return Doubt(0.0, why, opens=True)
        case _:
            assert_never(outcome)


def _again(after: float, why: str, failing_for: float, patience: Patience) -> Decision:
    if failing_for > patience.retry_for:
        hours = patience.retry_for / 3600
        return Park(Problem(Code.GAVE_UP, f"tried for {hours:g} h without success, last: {why}"))
    return Again(after, why)


@dataclass(frozen=True, slots=True)
class After:
    """One earlier reading after the lost answer: what it said, and when (by the database's clock).

    `closing`: it was begun when the window had ended.
    """

    reading: Reading
    verdict: Verdict
    at: float
    closing: bool = False


@dataclass(frozen=True, slots=True)
class InDoubt:
    """All that is known while an answer is lost. Seconds."""

    effect: Effect
    earlier: Sequence[After]
    window_closed: bool
    now: float
    failing_for: float
    settle: float = 120.0
    lag: float = 10.0  # increments: a reading counts when two, this far apart, agree
    strict: bool = False  # increments: what a movement of somebody else's could imitate is left to a person


def reread(doubt: InDoubt, patience: Patience) -> float:
    """Seconds to the next reading: by the schedule, but while the window is open often enough to see its start."""
    wait = patience.wait(len(doubt.earlier) + 1)
    return wait if doubt.window_closed else min(wait, doubt.settle / 4)


def clear_up(doubt: InDoubt, now: Reading, verdict: Verdict, patience: Patience) -> Decision:
    """What a reading settles (rule 3.3 and the table of rules 3)."""
    if doubt.effect is Effect.INCREMENT:
        return _clear_up_money(doubt, now, verdict, patience)
    match verdict:
        case TookEffect(output):
            return Finish(dict(output))
        case NoEffect():
            if doubt.window_closed:
                return Again(0.0, "no effect by the end of the window")
        case Undecided(why):
            if doubt.window_closed:
                return _unknown(why)
        case _:
            assert_never(verdict)
    return still_in_doubt(doubt, patience, "it does not show yet")


def still_in_doubt(doubt: InDoubt, patience: Patience, why: str) -> Decision:
    return _doubt(doubt, patience, reread(doubt, patience), why)


def unread_again(doubt: InDoubt, patience: Patience) -> Decision:
    """A reading failed: the longer it has been failing, the longer until the next one."""
    after = min(max(reread(doubt, patience), doubt.failing_for / 4), patience.most)
    after = after if doubt.window_closed else min(after, doubt.settle / 4)
    return _doubt(doubt, patience, after, "the reading failed")


def _doubt(doubt: InDoubt, patience: Patience, after: float, why: str) -> Decision:
    if doubt.failing_for > patience.retry_for:
        return _unknown(f"in doubt for too long: {why}")
    return Doubt(after, why)


def _unknown(why: str) -> Park:
    return Park(Problem(Code.EFFECT_UNKNOWN, why), unknown=True)


def _clear_up_money(doubt: InDoubt, now: Reading, verdict: Verdict, patience: Patience) -> Decision:
    if now.entries and isinstance(verdict, TookEffect):
        return Finish(dict(verdict.output))  # it bears this command's name: nothing else could have made it
    if now.last_call is None:
        verdict = _unexplained(doubt, verdict)
    if not _agreed(doubt, now):
        if isinstance(verdict, Undecided) and now.last_call is None and _looked_long(doubt):
            return _unknown(verdict.why)  # it goes on moving, and nothing will ever explain it
        return _doubt(doubt, patience, doubt.lag, "a second reading must agree")
    match verdict:
        case TookEffect(output):
            return _booked(doubt, patience, output)
        case NoEffect():
            return _zero(doubt, now, patience)
        case Undecided(why):
            return _unknown(why) if doubt.window_closed else still_in_doubt(doubt, patience, why)
        case _:
            assert_never(verdict)


def _unexplained(doubt: InDoubt, verdict: Verdict) -> Verdict:
    """Without call records a balance that once moved by anything else proves nothing any more."""
    moved = [after.verdict for after in doubt.earlier if isinstance(after.verdict, Undecided)]
    if not moved or isinstance(verdict, Undecided):
        return verdict
    return Undecided(f"meanwhile {moved[-1].why}, and no call records explain it")


def _looked_long(doubt: InDoubt) -> bool:
    return doubt.window_closed and any(doubt.now - after.at >= doubt.lag for after in doubt.earlier)


def _agreed(doubt: InDoubt, now: Reading, closing: bool = False) -> bool:
    """An earlier reading, `lag` or more before, shows the same figures; `closing`: one after the window's end."""
    return any(
        doubt.now - after.at >= doubt.lag
        and after.reading.balance == now.balance
        and sorted(after.reading.calls) == sorted(now.calls)
        and after.reading.entries == now.entries
        and (after.closing or not closing)
        for after in doubt.earlier
    )


def _booked(doubt: InDoubt, patience: Patience, output: Mapping[str, object]) -> Decision:
    """The balance shows the amount. A top-up of somebody else's, just as large, would look the same."""
    if not doubt.strict:
        return Finish(dict(output))
    why = 'the balance shows the amount; credit_evidence = "strict" leaves it to a person whose it is'
    return _unknown(why) if doubt.window_closed else still_in_doubt(doubt, patience, why)


def _zero(doubt: InDoubt, now: Reading, patience: Patience) -> Decision:
    """Zero at both ends of the window: it was not applied (and will not be)."""
    if any(isinstance(after.verdict, TookEffect) for after in doubt.earlier):
        return _unknown("an earlier reading showed the amount, and now it is gone: calls may have used it up")
    if not doubt.window_closed:
        return still_in_doubt(doubt, patience, "not booked so far")
    if now.last_call is not None and not _agreed(doubt, now, closing=True):
        # A reading from before the end may be older than a late credit and a call that cost just as much,
        # whose record is not there yet. Between two from after it nothing of ours can land.
        return _doubt(doubt, patience, doubt.lag, "a second reading from after the window must agree")
    if doubt.strict:
        return _unknown('the balance did not move; credit_evidence = "strict" leaves it to a person')
    return Again(0.0, "not booked by the end of the window")
