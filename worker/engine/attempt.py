"""Take one command one step, and say how it went. A newcomer reads this file first.

    evidence (creates, increments) → "sent" committed → call → decision → one settlement

Nothing is written here but the "sent" mark: what comes back is settled by the caller, in one commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.domain.decide import (
    After,
    Again,
    Decision,
    Doubt,
    Finish,
    InDoubt,
    Park,
    Patience,
    Reject,
    clear_up,
    decide,
    still_in_doubt,
)
from worker.domain.effect import Effect
from worker.domain.evidence import Credit, NoEffect, Reading, TookEffect, Undecided, Verdict, judge
from worker.domain.lifecycle import State
from worker.domain.outcome import Busy, Ill, NotSent, Outcome, Refused, Unclear
from worker.engine.line import Line
from worker.journal.port import Claim, EvidenceRow
from worker.messages.errors import Code, Problem
from worker.platforms.port import Exchange, Order, Step, Unread


@dataclass(frozen=True, slots=True)
class Went:
    """How one attempt went: what is to be settled."""

    decision: Decision
    step: Step | None = None
    steps_left: tuple[Step, ...] = ()  # after this one
    outcome: str = ""
    exchange: Exchange | None = None
    evidence: tuple[EvidenceRow, ...] = ()
    unverified: bool = False
    read_only: bool = False  # nothing that changes anything was called


GIVEN_BACK = Again(0.0, "given back", counted=False, failing=False)


async def attempt(claim: Claim, line: Line) -> Went | None:
    """None: the claim had ended before the call, and somebody else goes on."""
    if claim.data is None:
        text = "its data was encrypted under a key that this worker was not given: see [journal] keys"
        return Went(Park(Problem(Code.KEY_MISSING, text)), outcome="key_missing")
    plan = line.platform.plan(Order(claim.message_id, claim.view.type, claim.data))
    if isinstance(plan, Problem):
        return Went(Reject(plan), outcome="not_planned")
    todo = remaining(plan, claim.steps)
    assert todo, "a command with nothing left to do has ended"
    step, left = todo[0], todo[1:]
    if claim.state is State.IN_DOUBT:
        return await read_again(claim, line, step, left)
    if step.effect.needs_evidence:
        return await call_with_evidence(claim, line, step, left)
    return await call_plainly(claim, line, step, left)


def remaining(plan: Sequence[Step], finished: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Finished steps are in the journal: go on after them. A step only for what was adopted may fall away."""
    adopted = any(step["output"].get("adopted") for step in finished)
    done = {step["name"] for step in finished}
    return tuple(step for step in plan if step.name not in done and (adopted or not step.after_adoption))


async def call_plainly(claim: Claim, line: Line, step: Step, left: tuple[Step, ...]) -> Went:
    """Reads, and what may be repeated without harm once the window has ended: the claim is their "sent"."""
    if line.stopping:
        return Went(GIVEN_BACK, step)
    reply = await line.call(step, claim)
    if gone_by_our_own_hand(claim, step, reply.outcome):
        return Went(Finish(), step, left, label(reply.outcome), reply.exchange)
    verdict = await line.confirm(reply.outcome)
    decision = decided(claim, line, step, verdict)
    kept: tuple[EvidenceRow, ...] = ()
    if reply.before is not None and isinstance(decision, Doubt):
        kept = (EvidenceRow(step.name, claim.attempts, "before", reply.before),)
    return Went(decision, step, left, label(reply.outcome), reply.exchange, kept)


def gone_by_our_own_hand(claim: Claim, step: Step, outcome: Outcome) -> bool:
    """An earlier attempt saw it and may have removed it after all: that it is gone is what was ordered."""
    seen = any(e.step == step.name and e.kind == "before" and e.reading.present for e in claim.evidence)
    missing = isinstance(outcome, Refused) and outcome.code is Code.NOT_FOUND and outcome.certain
    return step.effect is Effect.DELETE and seen and missing


async def call_with_evidence(claim: Claim, line: Line, step: Step, left: tuple[Step, ...]) -> Went | None:
    """Creates and increments: without the state before, nobody could tell afterwards."""
    before = await line.look(step, None)
    if not isinstance(before, Reading):
        return Went(
            await unread(claim, line, before),
            step,
            left,
            "unread",
            unverified=claim.unverified,
            read_only=True,
        )
    row = EvidenceRow(step.name, claim.attempts, "before", before)
    if (settled := judged_before(claim, line, step, left, before, row)) is not None:
        return settled
    if line.stopping:
        return Went(GIVEN_BACK, step)
    if not await line.mark_sent(claim, row):
        return None
    reply = await line.call(step, claim)
    outcome, unverified, after = await check_refusal(claim, line, step, before, reply.outcome)
    decision = decided(claim, line, step, outcome)
    return Went(decision, step, left, label(reply.outcome), reply.exchange, after, unverified)


def judged_before(
    claim: Claim, line: Line, step: Step, left: tuple[Step, ...], before: Reading, row: EvidenceRow
) -> Went | None:
    """What the state before the call already decides. None: call."""
    kept = (row,)
    earlier = [e.reading for e in claim.evidence if e.step == step.name and e.kind == "before"]
    if step.effect is Effect.INCREMENT:
        if claim.unverified and earlier:
            verdict = judge(step.effect, earlier[-1], before, credit_of(line, step))
            if not isinstance(verdict, NoEffect):
                doubt = Doubt(
                    0.0, "a refusal that could not be checked may have hidden an effect", opens=True
                )
                return Went(doubt, step, left, "unverified", evidence=kept)
        return None
    if not before.present:
        return None
    if earlier and not earlier[0].present:
        return Went(found_later(judge(step.effect, earlier[0], before)), step, left, "found", evidence=kept)
    return Went(exists(step, before), step, left, "exists", evidence=kept, read_only=True)


def found_later(verdict: Verdict) -> Decision:
    """It was not there at our first look: ours, or a person must say (rule table 3, create)."""
    match verdict:
        case TookEffect(output):
            return Finish(dict(output))
        case Undecided(why):
            return Park(Problem(Code.EFFECT_UNKNOWN, why), unknown=True)
        case NoEffect():
            raise AssertionError("it is present")


def exists(step: Step, before: Reading) -> Decision:
    if step.if_exists == "reject":
        return Reject(Problem(Code.ALREADY_EXISTS, "it was there before the command ran"))
    if step.if_exists == "adopt" and not before.matches:
        named = ", ".join(before.differences)
        return Reject(Problem(Code.EXISTS_DIFFERENT, f"it is there already and differs in: {named}"))
    return Finish(
        {"platform_id": before.platform_id, "adopted": True, "differences": list(before.differences)}
    )


async def check_refusal(
    claim: Claim, line: Line, step: Step, before: Reading, outcome: Outcome
) -> tuple[Outcome, bool, tuple[EvidenceRow, ...]]:
    """After `Refused`, `Ill` or `Busy` the evidence is read; if it shows an effect, it was `Unclear` (rule 2.5).

    Returns the outcome to go by, whether it could not be checked, and what was read.
    """
    if isinstance(outcome, Refused):
        outcome = await line.confirm(outcome)
    if not isinstance(outcome, (Refused, Ill, Busy)):
        return outcome, False, ()
    now = await line.look(step, before)
    if not isinstance(now, Reading):
        later = NotSent("the refusal could not be checked") if isinstance(outcome, Refused) else outcome
        return later, True, ()
    kept = (EvidenceRow(step.name, claim.attempts, "after", now),)
    if isinstance(judge(step.effect, before, now, credit_of(line, step)), NoEffect):
        return outcome, False, kept
    return Unclear("it was refused, but shows an effect"), False, kept


async def read_again(claim: Claim, line: Line, step: Step, left: tuple[Step, ...]) -> Went:
    """In doubt: only readings go out, and what they prove is the end of it (rules 3)."""
    befores = [e.reading for e in claim.evidence if e.step == step.name and e.kind == "before"]
    before = befores[-1] if befores else None
    doubt = in_doubt(claim, line, step, before)
    if not step.readable or (step.effect.needs_evidence and before is None):
        return Went(unreadable(doubt, line.patience), step, left, "unreadable", read_only=True)
    now = await line.look(step, before)
    if not isinstance(now, Reading):
        await line.note_unread(now)
        return Went(
            still_in_doubt(doubt, line.patience, "the reading failed"), step, left, "unread", read_only=True
        )
    row = EvidenceRow(step.name, claim.attempts, "after", now)
    verdict = judge(step.effect, before, now, credit_of(line, step))
    decision = clear_up(doubt, now, verdict, line.patience)
    if isinstance(decision, Again) and not seen_at_the_start(doubt):
        decision = Doubt(0.0, "nothing was read while the window was open: it begins anew", opens=True)
    return Went(decision, step, left, type(verdict).__name__, evidence=(row,), read_only=True)


def seen_at_the_start(doubt: InDoubt) -> bool:
    """Money: zero counts only when it was read at both ends of the window."""
    return doubt.effect is not Effect.INCREMENT or bool(doubt.earlier)


def in_doubt(claim: Claim, line: Line, step: Step, before: Reading | None) -> InDoubt:
    rows = [
        e for e in claim.evidence if e.step == step.name and e.kind == "after" and e.attempt == claim.attempts
    ]
    credit = credit_of(line, step)
    earlier = [After(row.reading, judge(step.effect, before, row.reading, credit), row.at) for row in rows]
    return InDoubt(
        effect=step.effect,
        earlier=earlier,
        window_closed=bool(claim.window and claim.window.closed),
        now=claim.now,
        failing_for=line.failing_for(claim),
        lag=line.settings.call_records.lag,
        strict=line.settings.credit_evidence == "strict",
    )


def unreadable(doubt: InDoubt, patience: Patience) -> Decision:
    """No read shows it. A set is called again after the window; without evidence a person decides."""
    if doubt.effect.needs_evidence:
        text = "the evidence from before the call is missing"
        return Park(Problem(Code.EFFECT_UNKNOWN, text), unknown=True)
    if doubt.window_closed:
        return Again(0.0, "the window has ended, and the same call again leaves the same state")
    return still_in_doubt(
        doubt, patience, "the platform shows no trace of it: it is called again after the window"
    )


def decided(claim: Claim, line: Line, step: Step, outcome: Outcome) -> Decision:
    return decide(outcome, step.effect, claim.attempts, line.failing_for(claim), line.patience)


async def unread(claim: Claim, line: Line, outcome: Unread) -> Decision:
    """A look before the call failed. Nothing was sent: whatever it was, it is not the command's end by itself."""
    await line.note_unread(outcome)
    confirmed = await line.confirm(outcome)
    if isinstance(confirmed, Unclear):
        confirmed = NotSent(f"reading before the call: {confirmed.why}")
    return decide(confirmed, Effect.READ, claim.attempts, line.failing_for(claim), line.patience)


def credit_of(line: Line, step: Step) -> Credit | None:
    return None if step.amount is None else Credit(step.amount, line.settings.credit_step)


def label(outcome: Outcome) -> str:
    return type(outcome).__name__.lower()
