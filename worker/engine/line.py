"""One platform as this process sees it: its adapter behind rate, breaker and control reads."""

from __future__ import annotations

import structlog

from worker.domain.decide import Patience
from worker.domain.evidence import Reading
from worker.domain.outcome import Done, Ill, Outcome, Refused
from worker.engine.guards import Breaker, ControlRead, Rate, share
from worker.engine.lease import LeaseGuard
from worker.journal.journal import StoredJournal
from worker.journal.port import Claim, EvidenceRow, PlatformState
from worker.messages.errors import Code
from worker.platforms.port import Platform, Reply, Step, Unread
from worker.platforms.transport import boottime
from worker.settings import PlatformSettings
from worker.telemetry import Telemetry

log = structlog.get_logger()


class Line:
    """`guards`: the lease of each claim that is being worked on."""

    def __init__(
        self,
        platform: Platform,
        settings: PlatformSettings,
        journal: StoredJournal,
        telemetry: Telemetry,
    ) -> None:
        self.platform = platform
        self.settings = settings
        self.state = PlatformState(platform.name)
        self.stopping = False
        self.patience = Patience(settings.retry_first, settings.retry_most, settings.retry_for)
        self.guards: dict[int, LeaseGuard] = {}
        self._journal = journal
        self._telemetry = telemetry
        self._breaker = Breaker(settings.breaker_after)
        self._rate = Rate(settings.rate)
        self._control = ControlRead(self._read_control)

    @property
    def name(self) -> str:
        return self.platform.name

    @property
    def places(self) -> int:
        """Calls at once that are our share."""
        return share(self.settings.concurrency, self.state.processes, self.state.rank)

    def learn(self, state: PlatformState) -> None:
        """What the last heartbeat said of the platform and of those who share it."""
        if self.state.broken_since and not state.broken_since:
            self._breaker.reset()
        self.state = state
        self._rate.per_second = self.settings.rate / max(state.processes, 1)

    async def call(self, step: Step, claim: Claim) -> Reply:
        await self._rate.take()
        reply = await self.platform.call(step, self.guards[claim.id])
        self._count(step.endpoint, reply.outcome)
        self._telemetry.call_seconds.labels(self.name).observe(reply.exchange.ms / 1000)
        await self._note(reply.outcome)
        return reply

    async def look(self, step: Step, before: Reading | None) -> Reading | Unread:
        await self._rate.take()
        return await self.platform.look(step, before)

    async def note_unread(self, outcome: Unread) -> None:
        """A reading failed: for the breaker it is as good as a call."""
        await self._note(outcome)

    async def _note(self, outcome: Outcome) -> None:
        if self._breaker.note(outcome) and not self.state.broken_since:
            self._breaker.reset()
            log.warning("circuit.opened", platform=self.name, why=getattr(outcome, "why", ""))
            await self._journal.break_circuit(self.name)

    def _count(self, endpoint: str, outcome: Outcome) -> None:
        self._telemetry.calls.labels(self.name, endpoint, type(outcome).__name__.lower()).inc()

    async def confirm(self, outcome: Outcome) -> Outcome:
        """A refusal that the platform's table does not know is the command's only if the platform is well:
        a control read, begun after it, succeeds (rule 2.4). Otherwise it is the platform's: `Ill` or a login.
        """
        if not isinstance(outcome, Refused) or outcome.certain:
            return outcome
        control = await self._control.begun_now()
        if isinstance(control, Done):
            if outcome.code is Code.CREDENTIALS_REFUSED:
                return Refused(Code.PLATFORM_REFUSED, outcome.text, outcome.platform_code, certain=True)
            return outcome
        return self.ill(control)

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
        return outcome

    def failing_for(self, claim: Claim) -> float:
        """Seconds it has been failing, without those in which the platform was stopped (rule 7.1)."""
        if claim.failing_since is None:
            return 0.0
        stopped = max(self.state.stopped_total - claim.stopped_before, 0.0)
        return max(claim.now - claim.failing_since - stopped, 0.0)

    async def mark_sent(self, claim: Claim, evidence: EvidenceRow) -> bool:
        """False, or any doubt about the commit: do not call (rule 5.1)."""
        asked = boottime()
        if not await self._journal.mark_one(claim, evidence):
            return False
        self.guards[claim.id].renew(asked + claim.lease_until - claim.now)
        return True
