"""What the model of the journal writes down: messages, commands, claims, windows, events.

Its time is virtual: whole hundreds of seconds that only `pass_time` moves. Deadlines lie fifty seconds beside
them, so that the seconds which an example really takes decide nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from worker.domain.effect import Risk
from worker.domain.lifecycle import FINAL, EffectSeen, State

UNKNOWN, NONE, APPLIED = EffectSeen.UNKNOWN, EffectSeen.NONE, EffectSeen.APPLIED
NOTIFY_AFTER = 750.0  # seconds
SETTLE = 350.0  # seconds: of control reads every hundred, the fifth ends a window
PARKED_AFTER = 3  # lapsed leases in a row


class Moment(NamedTuple):
    """Virtual seconds, and which commit it was."""

    at: float
    commit: int


class Content(NamedTuple):
    """What two messages must share to be the same order. The key is part of it, as it is in an order's data."""

    key: str
    variant: str


@dataclass(frozen=True)
class Message:
    """A command as it is sent. `not_before`, `expires`: seconds from now."""

    source: str
    id: str
    idem: str
    content: Content
    priority: int = 1
    risk: Risk = Risk.CLAIM
    reply: bool = False
    not_before: float | None = None
    expires: float | None = None
    depends_on: str | None = None
    old: bool = False  # its time is before the deduplication window


@dataclass(eq=False)
class Command:
    message: Message
    due: Moment
    notify: float | None
    risk: Risk
    expires: float | None
    not_before: Moment | None = None
    parent: Command | None = None
    arrival: int | None = None
    number: int = 0  # the journal's own, told to us after it was admitted
    retry_of: str | None = None
    state: State = State.WAITING
    effect: EffectSeen = NONE
    attempts: int = 0
    lapsed: int = 0
    claim: Token | None = None
    sent: bool = False
    steps: int = 0
    planned: bool = False  # a worker has said which steps are left of it: here none
    unverified: bool = False
    window_closed: bool = False
    failing: bool = False
    finished: Moment | None = None
    readings: int = 0
    records: list[str] = field(default_factory=list)
    duplicates: list[Identity] = field(default_factory=list)

    @property
    def key(self) -> str:
        return self.message.content.key

    @property
    def ended(self) -> bool:
        return self.state in FINAL

    @property
    def untouched(self) -> bool:
        """Waits, no step has finished and no call is unresolved: all that expiry and cancel may end (rule 1)."""
        return self.state is State.WAITING and not self.steps and not self.unverified


@dataclass(eq=False)
class Token:
    """One claim of one process. A command that was taken from it has another one, or none."""

    command: Command
    owner: str
    lease: float  # seconds it was asked for
    until: float


@dataclass(eq=False)
class Identity:
    """(source, id): the same message for ever."""

    message: Message
    role: Literal["command", "duplicate", "inquiry"]
    command: Command | None
    ending: tuple[str, str] | None = None  # status and effect, once it was answered


@dataclass(eq=False)
class Window:
    command: Command
    opened: float
    first: float | None = None
    last: float | None = None


@dataclass(frozen=True)
class Told:
    """One event that must have been put out. `copy`: also to reply_to. `again`: under the id it had before."""

    source: str
    id: str
    what: str
    effect: str
    copy: bool = False
    again: bool = False
    of: str | None = None  # duplicate_of, or the code of a refusal


@dataclass(frozen=True)
class Ended:
    """How a claim, a sweep or a person ends a command."""

    state: State
    effect: EffectSeen


class Refused(Exception):
    """What a person asked for must be refused."""
