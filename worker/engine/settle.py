"""From how an attempt went to what is written of it, in one commit with its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from worker.domain.decide import Again, Doubt, Finish, Hold, Park, Reject
from worker.domain.effect import Effect, risk_of
from worker.domain.lifecycle import EffectSeen, State
from worker.engine.attempt import Went
from worker.journal.port import Claim, Settlement
from worker.messages.errors import Code, Problem
from worker.messages.events import MASK


def settlement(claim: Claim, went: Went, stopped_total: float, flagged: tuple[str, ...] = ()) -> Settlement:
    common: dict[str, Any] = {
        "exchange": went.exchange,
        "outcome": went.outcome,
        "evidence": went.evidence,
        "flagged": flagged,
        "stopped_before": stopped_total,
    }
    so_far = effect_of(claim.steps)
    match went.decision:
        case Finish(output):
            return finished(claim, went, output, common)
        case Reject(problem):
            return rejected(claim, went, problem, so_far, common)
        case Again(after, why, counted, failing):
            return Settlement(
                claim,
                State.WAITING,
                due_in=after,
                counted=counted,
                effect=so_far,
                steps=claim.steps,
                unverified=went.unverified,
                failing=failing,
                problem=Problem(Code.PLATFORM_UNREACHABLE, f"will be tried again: {why}")
                if failing
                else None,
                **common,
            )
        case Hold(code, text):
            return Settlement(
                claim,
                State.WAITING,
                due_in=0.0,
                counted=False,
                effect=so_far,
                steps=claim.steps,
                unverified=went.unverified,
                problem=Problem(code, text),
                **common,
            )
        case Doubt(after, why, opens):
            return Settlement(
                claim,
                State.IN_DOUBT,
                due_in=after,
                effect=EffectSeen.UNKNOWN,
                steps=claim.steps,
                open_window=opens,
                failing=True,
                problem=Problem(Code.EFFECT_UNKNOWN, f"in doubt: {why}"),
                details={"why": why},
                **common,
            )
        case Park(problem, unknown):
            return Settlement(
                claim,
                State.PARKED,
                effect=EffectSeen.UNKNOWN if unknown else so_far,
                steps=claim.steps,
                problem=problem,
                failing=True,
                **common,
            )
        case _:
            assert_never(went.decision)


def finished(claim: Claim, went: Went, output: Mapping[str, Any], common: dict[str, Any]) -> Settlement:
    """A step is done: the next one, or the command's end."""
    assert went.step is not None
    output = {**went.step.promises, **output}
    if went.step.effect is Effect.DELETE and "removed" not in output:
        output |= removed_before(claim)
    if went.step.amount is not None:
        output = {"amount": str(went.step.amount), **balance_before(claim, went), **output}
    adopted = bool(output.get("adopted"))
    changes = went.step.effect is not Effect.READ and not adopted
    done = {"name": went.step.name, "status": "done", "output": output, "changes": changes}
    steps = (*claim.steps, done)
    left = tuple(s for s in went.steps_left if adopted_before(steps) or not s.after_adoption)
    if left:
        return Settlement(
            claim,
            State.WAITING,
            due_in=0.0,
            effect=effect_of(steps),
            steps=steps,
            risk=risk_of(left[0].effect),
            **common,
        )
    public, secret = outputs(steps, claim.secret_output)
    return Settlement(
        claim,
        State.SUCCEEDED,
        effect=effect_of(steps),
        steps=steps,
        output=public,
        secret_output=secret,
        **common,
    )


def balance_before(claim: Claim, went: Went) -> dict[str, Any]:
    """From the evidence read before the call that took effect."""
    rows = [e for e in (*claim.evidence, *went.evidence) if e.kind == "before"]
    balance = rows[-1].reading.balance if rows else None
    return {} if balance is None else {"balance_before": str(balance)}


def removed_before(claim: Claim) -> dict[str, Any]:
    """The record as it was read before a removal whose answer was lost."""
    records = [e.reading.record for e in claim.evidence if e.kind == "before" and e.reading.record]
    return {"removed": dict(records[-1])} if records else {}


def adopted_before(steps: Sequence[Mapping[str, Any]]) -> bool:
    return any(step["output"].get("adopted") for step in steps)


def effect_of(steps: Sequence[Mapping[str, Any]]) -> EffectSeen:
    return EffectSeen.APPLIED if any(step.get("changes") for step in steps) else EffectSeen.NONE


def outputs(steps: Sequence[Mapping[str, Any]], secret: bool) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The steps' outputs as one; lists of the same name are joined (`kinds`)."""
    whole: dict[str, Any] = {}
    for step in steps:
        for name, value in step["output"].items():
            whole[name] = joined(whole.get(name), value)
    if not secret:
        return whole, None
    return dict.fromkeys(whole, MASK), whole


def joined(before: Any, value: Any) -> Any:
    if isinstance(before, list) and isinstance(value, list):
        return [*before, *(each for each in value if each not in before)]
    return value


def rejected(
    claim: Claim, went: Went, problem: Problem, so_far: EffectSeen, common: dict[str, Any]
) -> Settlement:
    """A refusal after a finished step is `partly_done`, and names the steps (rule 1)."""
    if so_far is EffectSeen.APPLIED and went.step is not None:
        done = ", ".join(step["name"] for step in claim.steps)
        text = f"{went.step.name} was refused ({problem.code}: {problem.message}) after these took effect: {done}"
        problem = Problem(Code.PARTLY_DONE, text, None, problem.platform_code, problem.platform_message)
    steps = claim.steps
    if went.step is not None and not isinstance(went.decision, Finish) and claim.steps:
        steps = (*steps, {"name": went.step.name, "status": "refused", "output": {}, "changes": False})
    return Settlement(claim, State.REJECTED, effect=so_far, steps=steps, problem=problem, **common)
