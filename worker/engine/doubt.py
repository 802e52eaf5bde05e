"""In doubt: only readings go out, and what they prove is the end of it (rules 3)."""

from __future__ import annotations

from worker.domain.decide import (
    After,
    Again,
    Decision,
    Doubt,
    InDoubt,
    Park,
    clear_up,
    still_in_doubt,
    unread_again,
)
from worker.domain.effect import Effect
from worker.domain.evidence import NoEffect, Reading, judge
from worker.domain.outcome import Busy, Ill, Outcome, Refused
from worker.engine.line import Line
from worker.engine.went import Went, credit_of
from worker.journal.port import Claim, EvidenceRow
from worker.messages.errors import Code, Problem
from worker.platforms.port import Step, Unread


async def read_again(claim: Claim, line: Line, todo: tuple[Step, ...]) -> Went:
    if not todo:
        text = "the settings do not plan the call any more whose answer was lost"
        return Went(Park(Problem(Code.EFFECT_UNKNOWN, text), unknown=True), outcome="not_planned")
    step, left = todo[0], todo[1:]
    before, doubt = last_before(claim, step), in_doubt(claim, line, step)
    if not step.readable or (step.effect.needs_evidence and before is None):
        # Called again in time, but what the first call did stays unresolved until a repeat has succeeded.
        return Went(unreadable(doubt, line), step, left, "unreadable", unverified=True)
    if line.closed:  # it was claimed before the platform was held, paused or found broken
        return Went(Doubt(0.5, "the platform is not to be read now", counted=False), step, left, "given_back")
    now = await line.look(step, before, claim)
    if isinstance(now, Again):
        return Went(Doubt(now.after, now.why, counted=False), step, left, "given_back")
    if not isinstance(now, Reading):
        return Went(await not_read(line, step, doubt, now), step, left, "unread")
    row = EvidenceRow(step.name, claim.attempts, "closing" if doubt.window_closed else "after", now)
    verdict = judge(step.effect, before, now, credit_of(line, step))
    decision = clear_up(doubt, now, verdict, line.patience)
    if isinstance(decision, Again) and not seen_at_the_start(doubt):
        decision = Doubt(0.0, "nothing was read as the window began: it begins anew", opens=True)
    return Went(decision, step, left, type(verdict).__name__.lower(), evidence=(row,))


def last_before(claim: Claim, step: Step) -> Reading | None:
    """The evidence from before the call whose answer was lost."""
    rows = [e.reading for e in claim.evidence if e.step == step.name and e.kind == "before"]
    return rows[-1] if rows else None


def in_doubt(claim: Claim, line: Line, step: Step) -> InDoubt:
    rows = [e for e in claim.evidence if e.step == step.name]
    call = max((i for i, e in enumerate(rows) if e.kind == "before"), default=-1)
    after = [e for e in rows[call + 1 :] if e.attempt == claim.attempts]
    before, credit = last_before(claim, step), credit_of(line, step)
    known = before is not None or not step.effect.needs_evidence
    return InDoubt(
        effect=step.effect,
        earlier=[
            After(e.reading, judge(step.effect, before, e.reading, credit), e.at, e.kind == "closing")
            for e in after
            if known
        ],
        window_closed=bool(claim.window and claim.window.closed),
        now=claim.now,
        failing_for=line.failing_for(claim),
        settle=line.settings.settle,
        lag=line.settings.evidence_lag,
        strict=line.settings.strict,
    )


def seen_at_the_start(doubt: InDoubt) -> bool:
    """Money: zero counts only when zero was read at both ends of the window, not twice at its end."""
    if doubt.effect is not Effect.INCREMENT:
        return True
    zeros = (one for one in doubt.earlier if isinstance(one.verdict, NoEffect))
    return any(doubt.now - one.at >= doubt.settle / 2 for one in zeros)


async def not_read(line: Line, step: Step, doubt: InDoubt, outcome: Unread) -> Decision:
    """The reading failed. It says nothing about the call; it may say something about the platform."""
    confirmed = await line.confirm(outcome)
    if isinstance(confirmed, Ill):
        await line.hold(confirmed)
    if gone(confirmed) and doubt.window_closed:
        if step.effect is Effect.SET:
            return Again(
                0.0, "the window has ended: the call itself will say that there is nothing to change"
            )
        text = "what it was about is not there any more, so nothing shows what the call did"
        return Park(Problem(Code.EFFECT_UNKNOWN, text), unknown=True)
    decision = unread_again(doubt, line.patience)
    if isinstance(decision, Doubt) and isinstance(confirmed, Busy):
        return Doubt(max(decision.after, confirmed.after), decision.why)
    return decision


def gone(outcome: Outcome) -> bool:
    return isinstance(outcome, Refused) and outcome.code is Code.NOT_FOUND


def unreadable(doubt: InDoubt, line: Line) -> Decision:
    """No read shows it. A set is called again after the window; without evidence a person decides."""
    if doubt.effect.needs_evidence:
        text = "the evidence from before the call is missing"
        return Park(Problem(Code.EFFECT_UNKNOWN, text), unknown=True)
    if doubt.window_closed:
        if doubt.effect not in (Effect.SET, Effect.READ):
            text = "no read shows what it did, and called again it would be answered as if it had not"
            return Park(Problem(Code.EFFECT_UNKNOWN, text), unknown=True)
        return Again(0.0, "the window has ended, and the same call again leaves the same state")
    why = "the platform shows no trace of it: it is called again after the window"
    return still_in_doubt(doubt, line.patience, why)
