"""The loop of one platform: claim what is due, as many as there are places, and settle each."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import TypeVar

import structlog

from worker.domain.decide import Again, Doubt, Hold
from worker.domain.lifecycle import State
from worker.domain.outcome import Ill
from worker.engine.alarm import Alarm
from worker.engine.attempt import attempt
from worker.engine.gate import Gate
from worker.engine.lease import LeaseGuard
from worker.engine.line import Line
from worker.engine.settle import scrubbed, settlement, unspeakable
from worker.engine.went import GIVEN_BACK, Went
from worker.journal.journal import StoredJournal
from worker.journal.port import Claim, JournalDown, Settlement
from worker.messages.errors import Code
from worker.platforms.transport import boottime
from worker.telemetry import Part, Telemetry

T = TypeVar("T")
log = structlog.get_logger()

ALONE_AFTER = 2  # lapsed leases in a row
NEXT = 0.1  # seconds between two that have to run alone
CLOSING = 5.0  # seconds for settling what was cut short, at a stop


class Runner:
    def __init__(
        self,
        line: Line,
        journal: StoredJournal,
        telemetry: Telemetry,
        owner: str,
        gate: Gate,
        poll: float = 0.5,
    ) -> None:
        self.line = line
        self._journal = journal
        self._telemetry = telemetry
        self._owner = owner
        self._gate = gate
        self._poll = poll
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._claiming = asyncio.Lock()
        self._alarm = Alarm()
        self._say = log.bind(platform=line.name)  # bound once: a line an attempt is written with it

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. A journal that is away is waited for."""
        while True:
            self._wake.clear()
            try:
                if await self._claim():
                    continue
            except JournalDown as error:
                log.warning("journal.away", platform=self.line.name, why=str(error))
                await asyncio.sleep(self._poll)
            await self._wait()

    async def _claim(self) -> bool:
        """True: there may be more."""
        async with self._claiming:
            return await self._claim_free()

    async def _claim_free(self) -> bool:
        free = self.line.places - len(self._tasks)
        if free <= 0 or self.line.closed or self.line.joining or self._gate.closed:
            return False
        asked = boottime()
        lease = self.line.settings.lease
        claims = await self._journal.claim(self.line.name, self._owner, free, lease)
        for claim in await self._without_crowding(claims):
            self.line.guards[claim.id, claim.fence] = LeaseGuard(asked + lease)
            task = asyncio.create_task(self._work(claim))
            self._tasks.add(task)
            task.add_done_callback(self._done)
        return len(claims) == free

    async def _without_crowding(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """The crowding ones are given back before the one that has to be alone begins: it may kill us at once."""
        back, stopped = crowding(claims), self.line.state.stopped_total
        # One after the other, so that the next one comes when there is a place for it.
        given = [
            settlement(one, not_alone(one, NEXT * place), stopped) for place, one in enumerate(back, start=1)
        ]
        await asyncio.gather(*(self._write(settled) for settled in given))
        return [one for one in claims if one not in back]

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("attempt.broke", platform=self.line.name, error=type(error).__name__, exc_info=error)

    async def _wait(self) -> None:
        """For a signal, the next due time of ours, or the slow poll under both."""
        patience = min(self._poll, self._alarm.rings_in())
        try:
            async with asyncio.timeout(patience):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _work(self, claim: Claim) -> None:
        began, guard = time.monotonic(), self.line.guards[claim.id, claim.fence]
        alone, patience = claim.lapsed >= ALONE_AFTER, self.line.settings.lease_margin * 2 / 3
        with self._gate.place(alone=alone, patience=patience) as guard.place:
            try:
                went = await self._attempt(claim)
            finally:
                self.line.guards.pop((claim.id, claim.fence))
            if went is None:
                log.warning("claim.ended", platform=self.line.name, command=claim.message_id)
                return
            await self._settle(claim, went, guard, began)

    async def _attempt(self, claim: Claim) -> Went | None:
        """Cancelled at the end of the grace time: what was sent is in doubt, the rest is given back (P9)."""
        guard = self.line.guards[claim.id, claim.fence]
        try:
            if guard.place is None:  # it was closed meanwhile, for one of ours or of another platform's
                return not_alone(claim, NEXT)
            if guard.place.alone:
                if (back := await self.line.turn(claim)) is not None:
                    return not_alone(claim, back.after)
                guard.place.turn_kept = True
            return await attempt(claim, self.line)
        except asyncio.CancelledError:
            return cut_short(claim, guard, "the worker was stopped during the call")
        except JournalDown:
            # The "sent" commit is uncertain, and so no call was made.
            return cut_short(claim, guard, "the journal went away before the call")
        except Exception as error:  # ours or the adapter's: the command must not be lost with it
            log.error("attempt.broke", platform=self.line.name, error=type(error).__name__, exc_info=error)
            why = f"the worker failed: {type(error).__name__}"
            went = cut_short(claim, guard, why)
            if isinstance(went.decision, Doubt):
                return went
            return Went(Again(self.line.patience.wait(claim.attempts), why), outcome="broke")

    async def _settle(self, claim: Claim, went: Went, guard: LeaseGuard, began: float) -> None:
        if isinstance(went.decision, Hold):
            credentials = went.decision.code is Code.CREDENTIALS_REFUSED
            await self.line.hold(Ill(went.decision.text, credentials))
        flagged = ("sent_after_lease",) if guard.late else ()
        settled = settlement(claim, went, self.line.state.stopped_total, flagged)
        ours = await finish(self._write(settled))
        if guard.late:
            await self._say_late(claim)
        self._log(claim, went, settled, ours, began)
        if ours and settled.due_in:
            self._alarm.set(settled.due_in)
            self._wake.set()

    async def _write(self, settled: Settlement) -> bool:
        """An answer that we have must not be lost: try until the journal takes it, or says it is not ours."""
        wait, less = 0.05, [unspeakable, scrubbed]
        while True:
            try:
                return await self._journal.settle_one(settled)
            except JournalDown:
                await asyncio.sleep(wait)
                wait = min(wait * 2, 2.0)
            except Exception as error:  # something in it cannot be stored: without that, then
                log.error("settle.broke", platform=self.line.name, error=type(error).__name__, exc_info=error)
                if not less:
                    raise
                settled = less.pop()(settled)

    async def _say_late(self, claim: Claim) -> None:
        self._telemetry.late.labels(self.line.name).inc()
        try:
            await self._journal.flag(claim, "sent_after_lease")
        except JournalDown:
            log.error("sent_after_lease", platform=self.line.name, command=claim.message_id)

    def _log(self, claim: Claim, went: Went, settled: Settlement, ours: bool, began: float) -> None:
        """One line an attempt."""
        self._say.info(
            "attempt.settled" if ours else "attempt.not_ours",
            command=claim.message_id,
            type=claim.view.type,
            attempt=claim.attempts,
            outcome=went.outcome,
            decision=type(went.decision).__name__,
            state=settled.state.value,
            took_ms=round((time.monotonic() - began) * 1000, 1),
        )
        if self._telemetry.tracer:
            self._telemetry.tracer.tell(span_of(claim, went, settled, ours, time.monotonic() - began))
        if ours and settled.state.final:
            self._telemetry.endings.labels(self.line.name, settled.state.value).inc()
        if ours and settled.open_window:
            self._telemetry.doubts.labels(self.line.name).inc()

    @property
    def running(self) -> int:
        return len(self._tasks)

    async def drain(self, grace: float) -> None:
        """No new work; calls under way get `grace` seconds, then are settled as they stand (P9)."""
        self.line.stopping = True
        with suppress(TimeoutError):  # a claim under way must hand over its tasks first
            async with asyncio.timeout(grace), self._claiming:
                pass
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSING)


def span_of(claim: Claim, went: Went, settled: Settlement, ours: bool, took: float) -> Part:
    """The attempt, as the sender's trace shows it."""
    view, state = claim.view, settled.state.value if ours else "not_ours"
    facts: dict[str, str | int] = {
        "provisioning.command.id": claim.message_id,
        "provisioning.command.type": view.type,
        "provisioning.platform": view.platform or "",
        "provisioning.attempt": claim.attempts,
        "provisioning.step": went.step.name if went.step else "",
        "provisioning.outcome": went.outcome,
        "provisioning.state": state,
    }
    failed = settled.problem.code.value if settled.problem else None
    return Part(f"attempt {view.type}", "client", took, view.traceparent, view.tracestate, facts, failed)


def crowding(claims: Sequence[Claim]) -> list[Claim]:
    """Of those that have to be alone all but the first: one that waited under its lease for another to kill the
    process would have its own lease lapse with it, and be parked for nothing (rule 1)."""
    return [claim for claim in claims if claim.lapsed >= ALONE_AFTER][1:]


def not_alone(claim: Claim, after: float = 1.0) -> Went:
    """The others did not leave in time. A doubt stays one: as a mere wait it would be called a second time."""
    why = "it could not run alone yet"
    if claim.state is State.IN_DOUBT:
        return Went(Doubt(after, why, counted=False), outcome="not_alone")
    return Went(Again(after, why, counted=False, failing=False), outcome="not_alone")


def cut_short(claim: Claim, guard: LeaseGuard, why: str) -> Went:
    if guard.sent or claim.state is State.IN_DOUBT:
        return Went(Doubt(0.0, why, opens=guard.sent), outcome="cut_short")
    return Went(GIVEN_BACK, outcome="given_back")


async def finish(work: Awaitable[T]) -> T:
    """Await `work` to its end although we are cancelled meanwhile, then let the cancellation through."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=CLOSING)
        raise


def new_owner(name: str = "") -> str:
    """Who holds a claim: this process, this start."""
    return f"{name or os.uname().nodename}-{os.getpid()}-{os.urandom(4).hex()}"
