"""The loop of one platform: claim what is due, as many as there are places, and settle each."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable
from typing import TypeVar

import structlog

from worker.domain.decide import Doubt, Hold
from worker.domain.lifecycle import State
from worker.engine.attempt import GIVEN_BACK, Went, attempt
from worker.engine.gate import Gate
from worker.engine.lease import LeaseGuard
from worker.engine.line import Line
from worker.engine.settle import settlement
from worker.journal.journal import StoredJournal
from worker.journal.port import Claim, JournalDown, Settlement
from worker.messages.events import AuditDraft
from worker.platforms.transport import boottime
from worker.telemetry import Telemetry

T = TypeVar("T")
log = structlog.get_logger()

ALONE_AFTER = 2  # lapsed leases in a row


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
        self._due: float | None = None  # loop time at which something of ours falls due

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
        if free <= 0 or self.line.state.stopped or self.line.stopping:
            return False
        asked = boottime()
        lease = self.line.settings.lease
        claims = await self._journal.claim(self.line.name, self._owner, free, lease)
        for claim in claims:
            self.line.guards[claim.id] = LeaseGuard(asked + lease)
            task = asyncio.create_task(self._work(claim))
            self._tasks.add(task)
            task.add_done_callback(self._done)
        return len(claims) == free

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("attempt.broke", platform=self.line.name, error=type(error).__name__, exc_info=error)

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        patience = self._poll
        if self._due is not None:
            patience = max(min(patience, self._due - loop.time()), 0.001)
            if self._due <= loop.time():
                self._due = None
        try:
            async with asyncio.timeout(patience):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _work(self, claim: Claim) -> None:
        began = time.monotonic()
        entered = self._gate.alone() if claim.lapsed >= ALONE_AFTER else self._gate.shared()
        async with entered:
            went = await self._attempt(claim)
        guard = self.line.guards.pop(claim.id)
        if went is None:
            log.warning("claim.ended", platform=self.line.name, command=claim.message_id)
            return
        await self._settle(claim, went, guard, began)

    async def _attempt(self, claim: Claim) -> Went | None:
        """Cancelled at the end of the grace time: what was sent is in doubt, the rest is given back (P9)."""
        try:
            return await attempt(claim, self.line)
        except asyncio.CancelledError:
            if self.line.guards[claim.id].sent or claim.state is State.IN_DOUBT:
                opens = self.line.guards[claim.id].sent
                return Went(
                    Doubt(0.0, "the worker was stopped during the call", opens=opens), outcome="cancelled"
                )
            return GIVEN
        except JournalDown:
            return None  # the "sent" commit is uncertain: no call was made; the lease ends by itself

    async def _settle(self, claim: Claim, went: Went, guard: LeaseGuard, began: float) -> None:
        if isinstance(went.decision, Hold):
            await self._hold(went.decision)
        flagged = ("sent_after_lease",) if guard.late else ()
        settled = settlement(claim, went, self.line.state.stopped_total, flagged)
        ours = await finish(self._write(settled))
        if guard.late:
            await self._say_late(claim)
        self._log(claim, went, settled, ours, began)
        if settled.due_in:
            self._fall_due(settled.due_in)

    async def _write(self, settled: Settlement) -> bool:
        """An answer that we have must not be lost: try until the journal takes it, or says it is not ours."""
        wait = 0.05
        while True:
            try:
                return await self._journal.settle_one(settled)
            except JournalDown:
                await asyncio.sleep(wait)
                wait = min(wait * 2, 2.0)

    async def _hold(self, hold: Hold) -> None:
        if self.line.state.held is None:
            log.error("platform.held", platform=self.line.name, code=hold.code.value, why=hold.text)
        try:
            await self._journal.hold(self.line.name, hold.code.value, hold.text)
        except JournalDown:
            log.warning("journal.away", platform=self.line.name, why="the hold was not written")

    async def _say_late(self, claim: Claim) -> None:
        self._telemetry.late.labels(self.line.name).inc()
        draft = AuditDraft("sent_after_lease", self.line.name, "worker", command=claim.view.command())
        try:
            await self._journal.audit([draft])
        except JournalDown:
            log.error("sent_after_lease", platform=self.line.name, command=claim.message_id)

    def _log(self, claim: Claim, went: Went, settled: Settlement, ours: bool, began: float) -> None:
        """One line an attempt."""
        log.info(
            "attempt.settled" if ours else "attempt.not_ours",
            platform=self.line.name,
            command=claim.message_id,
            type=claim.view.type,
            attempt=claim.attempts,
            outcome=went.outcome,
            decision=type(went.decision).__name__,
            state=settled.state.value,
            took_ms=round((time.monotonic() - began) * 1000, 1),
        )
        if ours and settled.state.final:
            self._telemetry.endings.labels(self.line.name, settled.state.value).inc()
        if ours and settled.open_window:
            self._telemetry.doubts.labels(self.line.name).inc()

    def _fall_due(self, seconds: float) -> None:
        at = asyncio.get_running_loop().time() + seconds
        if self._due is None or at < self._due:
            self._due = at
            self._wake.set()

    @property
    def running(self) -> int:
        return len(self._tasks)

    async def drain(self, grace: float) -> None:
        """No new work; calls under way get `grace` seconds, then are settled as they stand (P9)."""
        self.line.stopping = True
        async with self._claiming:  # a claim under way must hand over its tasks first
            pass
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)


GIVEN = Went(GIVEN_BACK, outcome="given_back")


async def finish(work: Awaitable[T]) -> T:
    """Await `work` to its end although we are cancelled meanwhile, then let the cancellation through."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=5)
        raise


def new_owner(name: str = "") -> str:
    """Who holds a claim: this process, this start."""
    return f"{name or os.uname().nodename}-{os.getpid()}-{os.urandom(4).hex()}"
