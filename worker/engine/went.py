"""How one attempt went: what is to be settled."""

from __future__ import annotations

from dataclasses import dataclass

from worker.domain.decide import Again, Decision
from worker.domain.evidence import Credit, Reading
from worker.domain.lifecycle import State
from worker.domain.outcome import Exchange, Outcome
from worker.engine.line import Line
from worker.journal.port import Claim, EvidenceRow
from worker.platforms.port import Step


@dataclass(frozen=True, slots=True)
class Went:
    decision: Decision
    step: Step | None = None  # None: no step was begun
    steps_left: tuple[Step, ...] = ()  # after this one
    outcome: str = ""  # a bounded label
    exchange: Exchange | None = None
    evidence: tuple[EvidenceRow, ...] = ()  # readings that are not written yet
    unverified: bool | None = None  # a refusal could not be checked (rule 2.5); None: as it was before
    before: Reading | None = None  # the evidence that was written with the "sent" mark


# Not begun: the claim is given back as it was, its attempt too.
GIVEN_BACK = Again(0.0, "given back", counted=False, failing=False)
# A person has paused it meanwhile; the next claim sets it aside. Not at once: that person may just have let it go on.
PAUSED = Again(0.5, "paused", counted=False, failing=False)
# The sweep ends it within this time.
PAST_ITS_TIME = Again(0.5, "past its expirytime", counted=False, failing=False)


def unresolved(claim: Claim) -> bool:
    """What an earlier call of it did is not known."""
    return claim.state is State.IN_DOUBT or claim.unverified


def credit_of(line: Line, step: Step) -> Credit | None:
    if step.amount is None:
        return None
    return Credit(step.amount, line.settings.credit_step, line.settings.rounded_away)


def label(outcome: Outcome) -> str:
    return type(outcome).__name__.lower()
