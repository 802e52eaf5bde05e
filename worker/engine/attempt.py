"""Take one command one step, and say how it went. A newcomer reads this file first.

    evidence (creates, increments) → "sent" committed → call → decision → one settlement

Nothing is written here but the "sent" mark: what comes back is settled by the caller, in one commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from worker.domain.decide import Again, Decision, Doubt, Finish, Park, Reject, decide
from worker.domain.effect import Effect, Risk
from worker.domain.evidence import NoEffect, Reading, TookEffect, Undecided, Verdict, judge
from worker.domain.lifecycle import RESOLVED, UNNAMED, State
from worker.domain.outcome import Busy, Ill, NotSent, Outcome, Refused, Unclear
from worker.engine.doubt import read_again
from worker.engine.line import Line
from worker.engine.pages import NobodyTakes
from worker.engine.went import GIVEN_BACK, PAST_ITS_TIME, PAUSED, Went, credit_of, label, unresolved
from worker.journal.port import Claim, EvidenceRow
from worker.messages.errors import Code, Problem
from worker.platforms.port import LeaseLost, Order, Step, Unread


async def attempt(claim: Claim, line: Line) -> Went | None:
    """None: the claim had ended before the call, and somebody else goes on."""
    if claim.data is None:
        text = "its data was encrypted under a key that this worker was not given: see [journal] keys"
        return Went(Park(Problem(Code.KEY_MISSING, text), unknown=unresolved(claim)), outcome="key_missing")
    plan = line.platform.plan(Order(claim.message_id, claim.view.type, claim.data, claim.steps))
    if isinstance(plan, Problem):
        return Went(unplanned(claim, plan), outcome="not_planned")
    todo = remaining(plan, claim.steps)
    if claim.state is State.IN_DOUBT:
        return await read_again(claim, line, todo)
    if claim.steps and claim.steps[-1]["name"] == UNNAMED:
        return resolved(todo)
    if not todo:
        return Went(Finish(), outcome="nothing_left")
    if (back := not_now(claim, line)) is not None:
        return back
    step, left = todo[0], todo[1:]
    if step.effect.needs_evidence:
        return await call_with_evidence(claim, line, step, left)
    return await call_plainly(claim, line, step, left)


def not_now(claim: Claim, line: Line, step: Step | None = None, left: tuple[Step, ...] = ()) -> Went | None:
    """Nothing new is to be begun: the platform is stopped, or a person has paused such commands."""
    if line.closed:
        return Went(GIVEN_BACK, step, left, "given_back")
    if line.paused(claim):
        return Went(PAUSED, step, left, "paused")
    if past_its_time(claim, line.waited(claim)):
        return Went(PAST_ITS_TIME, step, left, "expired")
    return None


def remaining(plan: Sequence[Step], finished: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Finished steps are in the journal: go on after them, by name, for settings may have changed the plan.

    A step only for what was adopted stays in while it is open whether the object was there, then may fall away.
    """
    done = {step["name"] for step in finished}
    adopted = not finished or any(step.get("output", {}).get("adopted") for step in finished)
    return tuple(step for step in plan if step.name not in done and (adopted or not step.after_adoption))


def resolved(todo: tuple[Step, ...]) -> Went:
    """A person said that its call took effect: nothing goes out, and what is left of the command goes on.

    That call is the first that changes something: what had to be read for it may be gone with it.
    """
    at = next((place for place, step in enumerate(todo) if step.effect is not Effect.READ), 0)
    return Went(Finish(), todo[at] if todo else None, todo[at + 1 :], RESOLVED)


def unplanned(claim: Claim, problem: Problem) -> Decision:
    """The settings, or the server's WSDL, do not allow it any more. What was sent before stays sent."""
    if not unresolved(claim):
        return Reject(problem)
    text = f"what its call did is unknown, and it cannot be read any more: {problem.message}"
    return Park(Problem(Code.EFFECT_UNKNOWN, text), unknown=True)


def past_its_time(claim: Claim, waited: float = 0.0) -> bool:
    """Nothing is begun after the expirytime, though the sweep has not come round yet (rule 1)."""
    late = claim.expires_at is not None and claim.now + waited >= claim.expires_at
    return late and not claim.steps and not claim.unverified


async def call_plainly(claim: Claim, line: Line, step: Step, left: tuple[Step, ...]) -> Went | None:
    """Reads, and what may be repeated without harm once the window has ended: the claim is their "sent"."""
    if (gone := await line.turn(claim)) is not None:
        return Went(gone, step, left, outcome="given_back")
    if (back := not_now(claim, line, step, left)) is not None:
        return back
    if (over := await line.over_limit(claim, step)) is not None:
        return Went(Park(over), step, left, "over_limit")
    # It came in as a creation, or as what reads first: of these a rescue takes a claim without the mark for not begun.
    if claim.risk is Risk.SENT and step.effect is not Effect.READ and not await line.mark_sent(claim, None):
        return None
    try:
        reply = await (line.read_rows(step, claim) if step.paged else line.call(step, claim))
    except NobodyTakes as error:
        return Went(Reject(error.problem), step, left, "nobody_takes")
    except LeaseLost:
        return None
    if gone_by_our_own_hand(claim, step, reply.outcome):
        return Went(Finish(), step, left, label(reply.outcome), reply.exchange)
    decision = not_lost(claim, decided(claim, line, step, await line.confirm(reply.outcome)))
    kept: tuple[EvidenceRow, ...] = ()
    if reply.before is not None and isinstance(decision, Doubt):
        kept = (EvidenceRow(step.name, claim.attempts, "before", reply.before),)
    return Went(decision, step, left, label(reply.outcome), reply.exchange, kept)


def not_lost(claim: Claim, decision: Decision) -> Decision:
    """A repeat was refused, and what no read shows of the call before it is still unknown. Where there is
    nothing, there is no effect either."""
    if not (isinstance(decision, Reject) and claim.unverified) or decision.problem.code is Code.NOT_FOUND:
        return decision
    text = f"an earlier call of it may have taken effect, and now: {decision.problem.message}"
    return Park(Problem(Code.EFFECT_UNKNOWN, text), unknown=True)


def gone_by_our_own_hand(claim: Claim, step: Step, outcome: Outcome) -> bool:
    """An earlier attempt saw it and may have removed it after all: that it is gone is what was ordered."""
    seen = any(e.step == step.name and e.kind == "before" and e.reading.present for e in claim.evidence)
    missing = isinstance(outcome, Refused) and outcome.code is Code.NOT_FOUND and outcome.certain
    return step.effect is Effect.DELETE and seen and missing


async def call_with_evidence(claim: Claim, line: Line, step: Step, left: tuple[Step, ...]) -> Went | None:
    """Creates and increments: without the state before, nobody could tell afterwards."""
    before = await line.look(step, None, claim)
    if isinstance(before, Again):
        return Went(before, step, left, "given_back")
    if not isinstance(before, Reading):
        return Went(await unread(claim, line, before), step, left, "unread")
    since = await since_the_refusal(claim, line, step, before)
    if isinstance(since, Again):
        return Went(since, step, left, "given_back")
    if not isinstance(since, Reading):
        return Went(await unread(claim, line, since), step, left, "unread")
    if (judged := judged_before(claim, line, step, left, since)) is not None:
        return judged
    if (gone := await line.turn(claim)) is not None:
        return Went(gone, step, left, outcome="given_back")
    if (back := not_now(claim, line, step, left)) is not None:
        return back
    if (over := await line.over_limit(claim, step)) is not None:
        return Went(Park(over), step, left, "over_limit")
    if not await line.mark_sent(claim, EvidenceRow(step.name, claim.attempts, "before", before)):
        return None
    reply = await line.call(step, claim)
    outcome, unverified, after = await check_refusal(claim, line, step, before, reply.outcome)
    decision = decided(claim, line, step, outcome)
    went = label(reply.outcome)
    return Went(decision, step, left, went, reply.exchange, after, unverified, before)


async def since_the_refusal(
    claim: Claim, line: Line, step: Step, before: Reading
) -> Reading | Unread | Again:
    """Money that a refusal may have hidden is looked for with the calls made since its own `before`."""
    earlier = [e.reading for e in claim.evidence if e.step == step.name and e.kind == "before"]
    if step.effect is not Effect.INCREMENT or not claim.unverified or not earlier:
        return before
    return await line.look(step, earlier[-1], claim)


def judged_before(
    claim: Claim, line: Line, step: Step, left: tuple[Step, ...], before: Reading
) -> Went | None:
    """What the state before the call already decides. None: call."""
    earlier = [e.reading for e in claim.evidence if e.step == step.name and e.kind == "before"]
    # Of an earlier call it is a reading from after: as a `before` it would hide that call's effect.
    kept = (EvidenceRow(step.name, claim.attempts, "after" if earlier else "before", before),)
    if step.effect is Effect.INCREMENT:
        if before.entries:
            text = "credit_evidence shows a credit entry of this command before its call: look which it is"
            park = Park(Problem(Code.EFFECT_UNKNOWN, text), unknown=bool(earlier))
            return Went(park, step, left, "entered_before", evidence=kept)
        hidden = claim.unverified and earlier
        if not hidden or isinstance(judge(step.effect, earlier[-1], before, credit_of(line, step)), NoEffect):
            return None
        doubt = Doubt(0.0, "a refusal that could not be checked may have hidden an effect", opens=True)
        return Went(doubt, step, left, "unverified", evidence=kept)
    if not before.present:
        return None
    if earlier and not earlier[0].present:
        return Went(found_later(judge(step.effect, earlier[0], before)), step, left, "found", evidence=kept)
    return Went(exists(step, before), step, left, "exists", evidence=kept)


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
    now = await line.look(step, before, claim)
    if not isinstance(now, Reading):
        later = NotSent("the refusal could not be checked") if isinstance(outcome, Refused) else outcome
        return later, True, ()
    kept = (EvidenceRow(step.name, claim.attempts, "after", now),)
    if isinstance(judge(step.effect, before, now, credit_of(line, step)), NoEffect):
        return outcome, False, kept
    return Unclear("it was refused, but shows an effect"), False, kept


def decided(claim: Claim, line: Line, step: Step, outcome: Outcome) -> Decision:
    return decide(outcome, step.effect, claim.attempts, line.failing_for(claim), line.patience)


async def unread(claim: Claim, line: Line, outcome: Unread) -> Decision:
    """A look before the call failed, and nothing was sent: a lost answer is no doubt here."""
    confirmed = await line.confirm(outcome)
    if isinstance(confirmed, Unclear):
        confirmed = NotSent(f"reading before the call: {confirmed.why}")
    decision = decide(confirmed, Effect.READ, claim.attempts, line.failing_for(claim), line.patience)
    if isinstance(decision, Reject) and claim.unverified:
        text = f"an earlier refusal may have hidden an effect, and now: {decision.problem.message}"
        return Park(Problem(Code.EFFECT_UNKNOWN, text), unknown=True)
    return decision
