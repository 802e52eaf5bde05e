"""One platform as this process sees it: its adapter behind rate, breaker and control reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import Any

import structlog
from tenacity import AsyncRetrying, retry_if_result, stop_after_attempt, wait_random_exponential

from worker.domain.decide import Again, Patience
from worker.domain.evidence import Reading
from worker.domain.outcome import Done, Exchange, Ill, NotSent, Outcome, Refused
from worker.engine.gate import Place
from worker.engine.guards import Breaker, ControlRead, Rate, share, transport_failure
from worker.engine.lease import LeaseGuard
from worker.engine.pages import Pages, PageSink, Unsent
from worker.journal.journal import StoredJournal
from worker.journal.port import Claim, EvidenceRow, JournalDown, PlatformState, Quota
from worker.messages.errors import Code, Problem
from worker.platforms.port import Platform, Reply, Step, Unread
from worker.platforms.transport import boottime
from worker.settings import PlatformSettings
from worker.telemetry import Telemetry

log = structlog.get_logger()

QUICK_TRIES = 3  # within one attempt, and only while nothing was sent (rule 7.1)
QUICK = 1.0  # seconds: a failure that took longer than this is not tried again at once
CALLS = 3  # of one attempt, at most in a row: read, call, read


class Line:
    """`guards`: the lease of each claim that is being worked on, by command and fence: one that was rescued and
    claimed again in this very process has another, and the old attempt must not go by it."""

    def __init__(
        self,
        platform: Platform,
        settings: PlatformSettings,
        journal: StoredJournal,
        telemetry: Telemetry,
        sink: PageSink | None = None,
    ) -> None:
        self.platform = platform
        self.settings = settings
        self.state = PlatformState(platform.name)
        self._stopped_at = -inf  # when this process last broke the circuit or held the platform
        self.stopping = False
        self.joining = False  # other processes do not know of us yet: we claim nothing
        self.patience = Patience(settings.retry_first, settings.retry_most, settings.retry_for)
        self.guards: dict[tuple[int, int], LeaseGuard] = {}
        self._journal = journal
        self._telemetry = telemetry
        self._sink = sink
        self._breaker = Breaker(settings.breaker_after)
        self._rate = Rate(settings.rate)
        self._control = ControlRead(self._read_control)
        self._no_to_all = float("-inf")  # when a control read was last refused, by boottime

    @property
    def name(self) -> str:
        return self.platform.name

    @property
    def places(self) -> int:
        """Calls at once that are our share, and not more than the rate serves within a lease."""
        ours = share(self.settings.concurrency, self.state.processes, self.state.rank)
        served = int(self._rate.per_second * self.settings.timeout / CALLS)
        return min(ours, max(served, 1))

    @property
    def rate(self) -> float:
        """Calls a second, all processes together: as the settings say, or less while an operator has lowered it."""
        lowered = self.state.lowered_rate
        return self.settings.rate if lowered is None else min(lowered, self.settings.rate)

    @property
    def closed(self) -> bool:
        """Nothing is to go out: we stop, or the platform is held, paused or broken."""
        return self.stopping or self.state.stopped

    def paused(self, claim: Claim) -> bool:
        """It is to begin nothing: a person has paused its command, its sender or its batch since it was claimed."""
        view = claim.view
        return any(one.holds(view.type or "", view.source or "", view.batch_id) for one in self.state.pauses)

    def waited(self, claim: Claim) -> float:
        """Seconds since its attempt began: at a rate that was lowered far, a turn may be minutes away."""
        return boottime() - self.guards[claim.id, claim.fence].began

    def learn(self, state: PlatformState, asked: float = inf) -> None:
        """What the last heartbeat, begun at `asked`, said of the platform and of those who share it."""
        if asked <= self._stopped_at and not state.stopped:  # it may have been read before we stopped it
            mine = self.state
            state = replace(state, held=mine.held, held_text=mine.held_text, broken_since=mine.broken_since)
        if self.state.broken_since and not state.broken_since:
            self._breaker.reset()
        self.state = state
        self._rate.per_second = self.rate / max(state.processes, 1)

    async def turn(self, claim: Claim) -> Again | None:
        """Wait for our turn by the rate. Before the "sent" mark, so that its lease is not spent on waiting.

        Returns how it is given back where it does not come: one has to run alone in this process.
        """
        place = self.guards[claim.id, claim.fence].place
        if place is not None and place.turn_kept:
            place.turn_kept = False
            return None
        if (turn := self._rate.join(claim.priority)) is not None:
            if place is not None:
                place.open()  # it may be minutes away
            try:
                if not await self._came(turn, claim, place):
                    return Again(0.0, "it gives way to one that has to run alone", False, False)
            finally:
                turn.cancel()  # nobody else's, where it has not come
        if place is None or not place.alone:
            return None
        lease = claim.lease_until - claim.now
        await self._renewed(claim, lease)  # waiting for the others must not use up what looks and call need
        if await place.close():
            await self._renewed(claim, lease)
            return None
        return Again(place.later, "it could not run alone yet", counted=False, failing=False)

    async def _came(self, turn: asyncio.Future[None], claim: Claim, place: Place | None) -> bool:
        """False: the gate closes for another one."""
        lease = claim.lease_until - claim.now
        awaited = [turn] if place is None else [turn, place.closing]
        while True:
            done, _ = await asyncio.wait(awaited, timeout=lease / 4, return_when=asyncio.FIRST_COMPLETED)
            if len(awaited) > 1 and awaited[1].done():
                return False
            if done:
                return True
            if not await self._renewed(claim, lease):
                return True  # the next check of it says so, before anything goes out

    async def _renewed(self, claim: Claim, lease: float) -> bool:
        """At a rate that was lowered far a turn may be away for longer than a lease."""
        asked = boottime()
        try:
            ours = await self._journal.renew(claim)
        except JournalDown:
            return True
        if ours:
            self.guards[claim.id, claim.fence].renew(asked + lease)
        return ours

    async def call(self, step: Step, claim: Claim) -> Reply:
        """One call, whose turn has come. While no byte was sent, and that quickly, it is tried again at once."""
        guard = self.guards[claim.id, claim.fence]
        reply = await self.platform.call(step, guard)
        if self._not_sent(reply):
            reply = await self._call_again(step, guard, reply)
        self._count(step.endpoint, reply.outcome)
        self._telemetry.call_seconds.labels(self.name).observe(reply.exchange.ms / 1000)
        await self._note(reply.outcome)
        return reply

    async def read_rows(self, step: Step, claim: Claim) -> Reply:
        """A long answer, page by page to `reply_to`. Raises NobodyTakes, or LeaseLost."""
        began, alive = boottime(), self._alive(claim)
        pages = Pages(claim.view, self._journal.core.source, self._sink, alive)
        keeping = asyncio.create_task(self._keep(alive, claim.lease_until - claim.now))
        try:
            reply = await self.platform.read_rows(step, pages)
            if isinstance(reply.outcome, Done):
                await pages.close()
                totals = {**reply.outcome.output, "rows": pages.rows, "pages": pages.number}
                reply = replace(reply, outcome=Done(totals))
        except Unsent as error:
            return Reply(NotSent(str(error)), Exchange(step.endpoint, (boottime() - began) * 1000))
        finally:
            keeping.cancel()
        self._count(step.endpoint, reply.outcome)
        if transport_failure(reply.outcome):  # rows may come from another server: it says no more than this
            await self._note(reply.outcome)
        return reply

    async def _keep(self, alive: Callable[[], Awaitable[bool]], lease: float) -> None:
        """One statement, a day without rows, or a page that nobody takes may last longer than the claim."""
        with suppress(JournalDown):
            while True:
                if not await alive():
                    return
                await asyncio.sleep(lease / 8)

    def _alive(self, claim: Claim) -> Callable[[], Awaitable[bool]]:
        """Renews the claim where that is due; False: it has ended."""
        guard, lease = self.guards[claim.id, claim.fence], claim.lease_until - claim.now

        async def alive() -> bool:
            if guard.until - boottime() > lease / 2:
                return True
            asked = boottime()
            if not await self._journal.mark_one(claim, None):
                return False
            guard.renew(asked + lease)
            return True

        return alive

    async def _call_again(self, step: Step, guard: LeaseGuard, first: Reply) -> Reply:
        replies = [first]

        async def one() -> Reply:
            return replies.pop() if replies else await self.platform.call(step, guard)

        tries = AsyncRetrying(
            retry=retry_if_result(self._not_sent),
            stop=stop_after_attempt(QUICK_TRIES),
            wait=wait_random_exponential(multiplier=0.05, max=0.5),
            retry_error_callback=lambda state: state.outcome and state.outcome.result(),
        )
        reply: Reply = await tries(one)
        return reply

    def _not_sent(self, reply: Reply) -> bool:
        quickly = reply.exchange.ms < QUICK * 1000 and not self.closed
        return quickly and isinstance(reply.outcome, NotSent) and transport_failure(reply.outcome)

    async def look(self, step: Step, before: Reading | None, claim: Claim) -> Reading | Unread | Again:
        """A reading. For the breaker it is as good as a call. `Again`: its turn did not come."""
        if (back := await self.turn(claim)) is not None:
            return back
        found = await self.platform.look(step, before)
        if isinstance(found, Reading):
            self._breaker.reset()
        else:
            await self._note(found)
        return found

    async def _note(self, outcome: Outcome) -> None:
        """Never fails: the answer we have must not be lost because the journal is away."""
        if not self._breaker.note(outcome) or self.state.broken_since:
            return
        self._breaker.reset()
        log.warning("circuit.opened", platform=self.name, why=getattr(outcome, "why", ""))
        try:
            await self._journal.break_circuit(self.name)
        except JournalDown:
            log.warning("journal.away", platform=self.name, why="the open circuit was not written")
            return
        self._stop(broken_since=self.state.broken_since or 1.0)

    async def hold(self, ill: Ill) -> None:
        """Not a command is at fault but the login or the platform: everything of it waits (rule 2.4)."""
        code = Code.CREDENTIALS_REFUSED if ill.credentials else Code.PLATFORM_ILL
        if self.state.held is None:
            log.error("platform.held", platform=self.name, code=code.value, why=ill.text)
        try:
            await self._journal.hold(self.name, code.value, ill.text)
        except JournalDown:
            log.warning("journal.away", platform=self.name, why="the hold was not written")
            return
        self._stop(held=code.value, held_text=ill.text)

    def _stop(self, **why: Any) -> None:
        """Until the next heartbeat says the same."""
        self.state, self._stopped_at = replace(self.state, **why), boottime()

    def _count(self, endpoint: str, outcome: Outcome) -> None:
        self._telemetry.calls.labels(self.name, endpoint, type(outcome).__name__.lower()).inc()

    async def confirm(self, outcome: Outcome) -> Outcome:
        """A refusal that the platform's table does not know is the command's only if the platform is well:
        a control read, begun after it, succeeds (rule 2.4). Otherwise it is the platform's: `Ill` or a login.
        """
        if not isinstance(outcome, Refused) or outcome.certain:
            return outcome
        asked = boottime()
        control = await self._control.begun_now()
        if not isinstance(control, Done):
            return self.ill(control)
        if self._no_to_all > asked - self.settings.timeout:
            # While our call was under way everybody was refused, and now nobody is: it may have met that moment.
            return Ill("it refused control reads a moment ago, and with them perhaps this call")
        if outcome.code is Code.CREDENTIALS_REFUSED:
            return replace(outcome, code=Code.PLATFORM_REFUSED, certain=True)
        return outcome

    def ill(self, control: Outcome) -> Outcome:
        if isinstance(control, Refused):
            return Ill(f"the platform refuses our login: {control.text}", credentials=True)
        return Ill(
            f"a control read failed: {getattr(control, 'why', None) or getattr(control, 'text', 'busy')}"
        )

    async def control(self) -> Outcome:
        """A control read of its own, for windows and probes."""
        return await self._control.begun_now()

    async def _read_control(self) -> Outcome:
        outcome = await self.platform.control()
        self._count("control", outcome)
        if isinstance(outcome, (Refused, Ill)):
            self._no_to_all = boottime()
        return outcome

    def failing_for(self, claim: Claim) -> float:
        """Seconds it has been failing, without those in which the platform was stopped (rule 7.1)."""
        if claim.failing_since is None:
            return 0.0
        stopped = max(self.state.stopped_total - claim.stopped_before, 0.0)
        return max(claim.now - claim.failing_since - stopped, 0.0)

    async def mark_sent(self, claim: Claim, evidence: EvidenceRow | None) -> bool:
        """False, or any doubt about the commit: do not call (rule 5.1)."""
        asked = boottime()
        if not await self._journal.mark_one(claim, evidence):
            return False
        self.guards[claim.id, claim.fence].renew(asked + claim.lease_until - claim.now)
        return True

    async def over_limit(self, claim: Claim, step: Step) -> Problem | None:
        """Take this call's part of the platform's limits, or say which one it would exceed (rule 7.4)."""
        if (quota := self._quota(claim, step)) is None:
            return None
        over = await self._journal.reserve(claim, quota)
        return None if over is None else Problem(Code.OVER_LIMIT, over)

    def _quota(self, claim: Claim, step: Step) -> Quota | None:
        """None, the usual case: no limit is set, and nothing is counted."""
        limits = self.settings.limits
        if step.removes and limits.removes_per_hour is not None:
            return Quota("remove", removes_per_hour=limits.removes_per_hour)
        day, hour = limits.credit_per_subscriber_day, limits.credit_per_hour
        if step.amount is None or step.amount <= 0 or (day is None and hour is None):
            return None
        return Quota("credit", step.amount, subscriber_day=day, platform_hour=hour)
