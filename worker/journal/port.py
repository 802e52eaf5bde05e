"""What the loops ask of the journal. One port, one conformance suite, two databases.

Times handed out are seconds since the epoch by the database's clock; delays handed in are seconds.
Every method that writes takes all that waits and commits it at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, Protocol

from worker.domain.effect import Risk
from worker.domain.evidence import Reading
from worker.domain.lifecycle import EffectSeen, State
from worker.domain.outcome import Exchange
from worker.messages.envelope import Envelope
from worker.messages.errors import Problem
from worker.messages.events import AuditDraft, View

# ---------------------------------------------------------------- intake


@dataclass(frozen=True, slots=True)
class NewCommand:
    """A message that was read and checked, to be admitted."""

    envelope: Envelope
    platform: str
    partition_key: str
    risk: Risk  # of its first step
    secret_output: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that was refused before the journal saw it; its body goes to quarantine."""

    problem: Problem
    known: Mapping[str, Any]  # attributes that could be read: id, source, type, platform, ...
    body: bytes = field(repr=False)
    queue: str
    headers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    reply_to: str | None = None
    named: bool = True  # False: platform or type is none of ours, and must not stand in a routing key


@dataclass(frozen=True, slots=True)
class Inquiry:
    """`command.get` or `command.cancel`: answered at intake."""

    envelope: Envelope
    what: Literal["get", "cancel"]
    target_id: str | None = None  # of the sender's own source
    target_source: str | None = None
    target_key: str | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message in its order of delivery, with what quarantine needs should its data break the commit."""

    item: NewCommand | Refusal | Inquiry
    body: bytes = field(repr=False)
    queue: str
    headers: Mapping[str, Any] = field(default_factory=dict, repr=False)


Admission = Literal["admitted", "repeated", "duplicate", "refused", "answered"]

# ---------------------------------------------------------------- engine


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """One reading that was kept. `at` is by the database's clock.

    kind: `before` (before a call), `after` (while in doubt, or after a refusal).
    """

    step: str
    attempt: int
    kind: Literal["before", "after", "closing"]  # closing: read when the settle window had ended
    reading: Reading
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Window:
    """The settle window of a key (rule 3.2). `closed` says that it has ended with the platform answering."""

    opened: float
    first_read: float | None = None  # first answered control read of the unbroken series
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """One command, ours until `lease_until`. `data` may hold secrets: no repr."""

    id: int
    lane: int
    owner: str
    fence: int
    lease_until: float
    now: float
    state: State  # running, or in_doubt (then only readings may go out)
    view: View
    data: Mapping[str, Any] | None = field(repr=False)  # None: its key is missing
    attempts: int = 0
    lapsed: int = 0  # leases that lapsed in a row
    steps: tuple[Mapping[str, Any], ...] = ()  # finished ones: {name, status, output}
    evidence: tuple[EvidenceRow, ...] = ()
    window: Window | None = None
    unverified: bool = False  # a refusal could not be checked against the evidence yet (rule 2.5)
    expires_at: float | None = None
    failing_since: float | None = None
    stopped_before: float = 0.0  # the platform's stopped seconds when it began to fail
    message_id: str = ""
    secret_output: bool = False
    priority: int = 1  # of its line: 0 high, 1 normal, 2 low
    risk: Risk = Risk.CLAIM  # what a rescue would go by, should this claim lapse


@dataclass(frozen=True, slots=True)
class Settlement:
    """How one claim ended: written in one commit with its events, or not at all."""

    claim: Claim
    state: State
    due_in: float | None = None  # waiting and in_doubt: seconds until it is due
    counted: bool = True  # False: the attempt is given back
    effect: EffectSeen = EffectSeen.NONE
    steps: tuple[Mapping[str, Any], ...] = ()  # all finished ones
    risk: Risk | None = None  # of the next step, where one remains
    left: tuple[str, ...] | None = None  # names of unfinished steps, the one under way first; None: as it was
    output: Mapping[str, Any] | None = field(default=None, repr=False)
    secret_output: Mapping[str, Any] | None = field(default=None, repr=False)
    problem: Problem | None = None
    exchange: Exchange | None = None
    outcome: str = ""  # a bounded label for the attempt's row: done, refused, unclear, ...
    evidence: tuple[EvidenceRow, ...] = ()
    open_window: bool = False  # the call may yet have an effect: hold the key from now on
    unverified: bool = False
    failing: bool = False  # this attempt failed: time counts towards retry_for
    stopped_before: float = 0.0  # the platform's stopped seconds so far, kept with the first failure
    releases_window: bool = False  # proved: nothing of our call can come late
    flagged: tuple[str, ...] = ()  # e.g. sent_after_lease
    details: Mapping[str, Any] = field(default_factory=dict)  # for the audit record


@dataclass(frozen=True, slots=True)
class Quota:
    """The part of a platform's limits (rule 7.4) that one command asks for. None: no such limit."""

    kind: Literal["credit", "remove"]
    amount: Decimal = Decimal(0)  # credits: in the platform's currency unit
    subscriber_day: Decimal | None = None  # credit of one subscriber in 24 hours
    platform_hour: Decimal | None = None  # credit of the whole platform in an hour
    removes_per_hour: int | None = None


Scope = Literal["everything", "command", "source", "batch"]


@dataclass(frozen=True, slots=True)
class Pause:
    """What a person has stopped besides single platforms. `name`: a command's type, a source, a batch; of
    everything it is empty. `since`: by the database's clock."""

    scope: Scope
    name: str
    by: str
    reason: str
    since: float

    def holds(self, type: str, source: str, batch: str | None) -> bool:
        """Whether such a command begins nothing. Everything is stopped by platform."""
        held = {"command": type, "source": source, "batch": batch}
        return self.scope in held and held[self.scope] == self.name

    def words(self) -> str:
        what = {
            "everything": "everything is paused",
            "command": f"{self.name.removesuffix('.v1')} is paused",
            "source": f"what {self.name} sends is paused",
            "batch": f"batch {self.name} is paused",
        }
        return f"{what[self.scope]} by {self.by}: {self.reason}"


@dataclass(frozen=True, slots=True)
class PlatformState:
    """What all processes know of a platform. Times by the database's clock."""

    name: str
    held: str | None = None  # credentials_refused, platform_ill
    held_text: str | None = None
    held_since: float | None = None
    paused_by: str | None = None
    paused_reason: str | None = None
    paused_since: float | None = None
    broken_since: float | None = None  # the circuit breaker is open
    stopped_total: float = 0.0  # seconds, up to now, that it was held, paused or broken
    open_windows: int = 0
    waiting: int = 0
    processes: int = 1  # live engine processes
    rank: int = 0  # ours among them
    halted: Pause | None = None  # everything is paused, and it too
    pauses: tuple[Pause, ...] = ()  # of commands, sources and batches, on all platforms
    lowered_rate: float | None = None  # calls a second, all processes together; None: as the settings say
    lowered_by: str | None = None
    lowered_reason: str | None = None
    lowered_since: float | None = None

    @property
    def stopped(self) -> bool:
        return bool(self.held or self.paused_by or self.broken_since or self.halted)


# ---------------------------------------------------------------- relay


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One event on its way. `exchange` "" means the default exchange (reply_to)."""

    row: int
    table: Literal["outbox", "audit"]
    exchange: str
    routing_key: str
    event_id: str
    type: str
    body: bytes = field(repr=False)
    correlation_id: str | None
    created_at: float


@dataclass(frozen=True, slots=True)
class Health:
    """Figures for /readyz, /metrics and doctor."""

    waiting: int
    running: int
    in_doubt: int
    parked: int
    oldest_due: float | None  # seconds it has been due
    unpublished: int
    oldest_unpublished: float | None  # seconds
    unsealed: int
    quarantined: int
    nobody_listens: Mapping[str, int]  # exchange -> events returned since the last one that was taken


class Journal(Protocol):
    """See the module's first lines. Every method may raise JournalDown when the database does not answer."""

    # intake
    async def admit(self, arrivals: Sequence[Arrival]) -> list[Admission]: ...
    async def waiting(self) -> int: ...
    async def quarantine_dead(self, arrivals: Sequence[Refusal]) -> None: ...

    # engine
    async def claim(self, platform: str, owner: str, limit: int, lease: float) -> list[Claim]: ...
    async def mark_sent(self, claims: Sequence[tuple[Claim, EvidenceRow | None]]) -> list[bool]: ...
    async def reserve(self, claim: Claim, quota: Quota) -> str | None: ...
    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]: ...
    async def flag(self, claim: Claim, flag: str) -> None: ...
    async def sweep(self) -> int: ...
    async def rescue(self) -> int: ...
    async def heartbeat(self, owner: str, platforms: Sequence[str]) -> dict[str, PlatformState]: ...
    async def leave(self, owner: str) -> None: ...
    async def hold(self, platform: str, code: str, text: str) -> None: ...
    async def release(self, platform: str, actor: str, reason: str) -> bool: ...
    async def break_circuit(self, platform: str) -> None: ...
    async def control_answered(self, platform: str, began: float, settle: float) -> int: ...
    async def keep(self, role: str, owner: str, lease: float) -> bool: ...
    async def let_go(self, owner: str) -> None: ...
    async def now(self) -> float: ...

    # relay
    async def seal(self, limit: int) -> int: ...
    async def unpublished(self, limit: int) -> list[Outgoing]: ...
    async def published(self, rows: Sequence[tuple[Outgoing, bool]]) -> None: ...

    # care
    async def audit(self, drafts: Sequence[AuditDraft]) -> None: ...
    async def health(self) -> Health: ...
    async def purge(self) -> Mapping[str, int]: ...
    async def close(self) -> None: ...


class JournalDown(Exception):
    """The database does not answer; nothing was committed, or it is not known whether it was."""


class JournalError(Exception):
    """Something about the journal that a person must put right: the text says what and how."""
