"""Writes whose answers mean something else on this platform than on others: what `assume` says of them."""

from __future__ import annotations

from worker.domain.effect import Effect
from worker.domain.evidence import Reading
from worker.domain.outcome import Outcome, Refused
from worker.messages.errors import Code
from worker.messages.sippulse.checks import AsSent
from worker.platforms.reading import not_sent, within
from worker.platforms.sippulse.looks import Looks
from worker.platforms.sippulse.records import Absent, Record, Records, nobody
from worker.platforms.sippulse.steps import NativeStep
from worker.settings import SippulseAssume

OF_SUBSCRIBERS = "SubscriberWS"


class Unknowns:
    """`brief`: seconds for a read beside the call."""

    def __init__(self, records: Records, looks: Looks, assume: SippulseAssume, brief: float) -> None:
        self._records, self._looks, self._assume, self._brief = records, looks, assume, brief

    async def before(self, step: NativeStep) -> Outcome | None:
        """Where a write to nobody is answered like any other: why the call is not made. None: make it."""
        if self._assume.absent_writes == "refused" or step.effect not in (Effect.SET, Effect.CHANGE_SECRET):
            return None
        name = step.person
        read_anyway = isinstance(step.operation.check, AsSent) and step.readable
        if name is None or step.operation.service != OF_SUBSCRIBERS or read_anyway:
            return None
        found = await within(self._brief, self._records.subscriber(name))
        match found:
            case Record():
                return None
            case Absent(said):
                return nobody(name, said)
            case unread:
                return not_sent(unread)

    async def reached(self, step: NativeStep, refused: Refused) -> bool:
        """Whether it was refused because what was ordered is so already: held against the record where one shows
        it ("already active" says nothing of the limit that was ordered with it), else by its text alone.
        """
        if self._assume.already_reached == "accepted" or step.operation.effect != Effect.SET.value:
            return False
        if refused.certain and refused.code is not Code.ALREADY_EXISTS:
            return False
        if not step.readable:  # of a flag, as blockSubscriber, the text is all there is
            return refused.certain and step.operation.object is None
        reading = await within(self._brief, self._looks.look(step))
        return isinstance(reading, Reading) and reading.matches is True
