"""From how an attempt went to what is written of it, in one commit with its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, assert_never

from worker.domain.decide import Again, Doubt, Finish, Hold, Park, Reject
from worker.domain.effect import Effect, risk_of
from worker.domain.evidence import money
from worker.domain.lifecycle import DONE, RESOLVED, UNNAMED, EffectSeen, State
from worker.engine.went import Went
from worker.journal.port import Claim, Settlement
from worker.messages.errors import Code, Problem
from worker.messages.events import MASK
from worker.platforms.port import Step


def settlement(claim: Claim, went: Went, stopped_total: float, flagged: tuple[str, ...] = ()) -> Settlement:
    common: dict[str, Any] = {
        "exchange": went.exchange,
        "outcome": went.outcome,
        "evidence": went.evidence,
        "flagged": flagged,
        "stopped_before": stopped_total,
        "left": unfinished(claim, went),
    }
    unverified = claim.unverified if went.unverified is None else went.unverified
    so_far = effect_of(claim.steps)
    begun = {**common, "effect": so_far, "steps": claim.steps, "unverified": unverified}
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
                failing=failing,
                problem=Problem(Code.PLATFORM_UNREACHABLE, f"will be tried again: {why}")
                if failing
                else None,
                **begun,
            )
        case Hold(code, text):
            return Settlement(
                claim,
                State.WAITING,
                due_in=0.0,
                counted=False,
                problem=Problem(code, text),
                **begun,
            )
        case Doubt(after, why, opens, counted):
            return Settlement(
                claim,
                State.IN_DOUBT,
                due_in=after,
                counted=counted,
                effect=EffectSeen.UNKNOWN,
                steps=claim.steps,
                open_window=opens,
                failing=True,
                problem=Problem(Code.EFFECT_UNKNOWN, f"in doubt: {why}"),
                details={"why": why},
                **common,
            )
        case Park(problem, unknown):
            unknown = unknown or unverified  # a refusal that nobody could check may hide an effect (rule 2.5)
            return Settlement(
                claim,
                State.PARKED,
                effect=EffectSeen.UNKNOWN if unknown else so_far,
                steps=claim.steps,
                problem=problem,
                unverified=unverified,
                failing=True,
                **common,
            )
        case _:
            assert_never(went.decision)


def finished(claim: Claim, went: Went, output: Mapping[str, Any], common: dict[str, Any]) -> Settlement:
    """A step is done: the next one, or the command's end."""
    steps = with_this(claim, went, output)
    left = tuple(s for s in went.steps_left if adopted_before(steps) or not s.after_adoption)
    if left:
        return Settlement(
            claim,
            State.WAITING,
            due_in=0.0,
            effect=effect_of(steps),
            steps=steps,
            risk=risk_of(left[0].effect),
            **{**common, "left": tuple(s.name for s in left)},
        )
    public, secret = outputs(steps, claim.secret_output)
    return Settlement(
        claim,
        State.SUCCEEDED,
        effect=effect_of(steps),
        steps=steps,
        output=public,
        secret_output=secret,
        problem=by_word(steps),
        **common,
    )


def unfinished(claim: Claim, went: Went) -> tuple[str, ...] | None:
    """Names of the step that was tried and of those after it; None: none was."""
    if went.step is None:
        return None
    left = (s.name for s in went.steps_left if adopted_before(claim.steps) or not s.after_adoption)
    return went.step.name, *left


def with_this(claim: Claim, went: Went, output: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The finished steps with this one, which may be the one of which a person said that it took effect."""
    if went.step is None:
        return claim.steps
    this, last = done(claim, went, went.step, output), claim.steps[-1] if claim.steps else {}
    if last.get("name") != UNNAMED:
        return (*claim.steps, this)
    return (*claim.steps[:-1], {**this, "status": RESOLVED, "said": last["said"]})


def by_word(steps: Sequence[Mapping[str, Any]]) -> Problem | None:
    """What a person said of a step, for the result."""
    said = (step["said"] for step in steps if step["status"] == RESOLVED)
    return next((Problem(Code.RESOLVED_BY_OPERATOR, words) for words in said), None)


def done(claim: Claim, went: Went, step: Step, output: Mapping[str, Any]) -> dict[str, Any]:
    output = {**step.promises, **output}
    if step.amount is not None:
        output = {"amount": money(step.amount), **balance_before(claim, went, step), **output}
    if step.effect is Effect.DELETE and "removed" not in output:
        output |= removed_before(claim, step)
    changes = step.effect is not Effect.READ and not output.get("adopted")
    return {"name": step.name, "status": DONE, "output": output, "changes": changes}


def balance_before(claim: Claim, went: Went, step: Step) -> dict[str, Any]:
    """From the evidence read before the call that took effect."""
    kept = [e.reading for e in claim.evidence if e.kind == "before" and e.step == step.name]
    before = went.before or (kept[-1] if kept else None)
    return {} if before is None or before.balance is None else {"balance_before": money(before.balance)}


def removed_before(claim: Claim, step: Step) -> dict[str, Any]:
    """The record as it was read before a removal whose answer was lost."""
    kept = [e.reading.record for e in claim.evidence if e.kind == "before" and e.step == step.name]
    return {"removed": dict(kept[-1])} if kept else {}


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
    name = "the rest" if went.step is None else went.step.name
    if so_far is EffectSeen.APPLIED:
        done = ", ".join(step["name"] for step in claim.steps)
        text = f"{name} was refused ({problem.code}: {problem.message}) after these took effect: {done}"
        problem = Problem(Code.PARTLY_DONE, text, None, problem.platform_code, problem.platform_message)
    steps = claim.steps
    if went.step is not None and claim.steps:
        steps = (*steps, {"name": name, "status": "refused", "output": {}, "changes": False})
    return Settlement(claim, State.REJECTED, effect=so_far, steps=steps, problem=problem, **common)


def scrubbed(settled: Settlement) -> Settlement:
    """The same without halves of characters and NULs, which a platform may send and no database stores."""
    exchange, problem = settled.exchange, settled.problem
    return replace(
        settled,
        steps=scrub(settled.steps),
        output=scrub(settled.output),
        secret_output=scrub(settled.secret_output),
        details=scrub(settled.details),
        problem=None if problem is None else replace(problem, **scrub(texts(problem))),
        exchange=None if exchange is None else replace(exchange, request="", answer=""),
        evidence=tuple(
            replace(row, reading=replace(row.reading, record=scrub(row.reading.record)))
            for row in settled.evidence
        ),
    )


def texts(problem: Problem) -> dict[str, Any]:
    return {"message": problem.message, "platform_message": problem.platform_message}


def scrub(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        case Mapping():
            return {scrub(name): scrub(inner) for name, inner in value.items()}
        case tuple() | list():
            return type(value)(scrub(inner) for inner in value)
        case _:
            return value


def unspeakable(settled: Settlement) -> Settlement:
    """Nothing helps: a person is told that there is an answer which cannot be written down."""
    text = f"the answer ({settled.outcome or settled.state.value}) cannot be stored: see the worker's log"
    return Settlement(
        settled.claim,
        State.PARKED,
        effect=EffectSeen.UNKNOWN,
        steps=settled.claim.steps,
        problem=Problem(Code.EFFECT_UNKNOWN, text),
        open_window=settled.open_window,
        failing=True,
        flagged=settled.flagged,
        left=None,  # of this step it may be said that it is done, and of no later one
        stopped_before=settled.stopped_before,
    )
