"""What the engine asks of a platform, and all that it may know about one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from worker.domain.effect import Effect
from worker.domain.evidence import Reading
from worker.domain.outcome import Busy, Exchange, Ill, NotSent, Outcome, Refused, Unclear
from worker.messages.errors import Problem


@dataclass(frozen=True, slots=True)
class Order:
    """A command as an adapter sees it. `data` is what was sent, checked; it may hold secrets: no repr.

    `finished`: the steps that are done, as the journal keeps them: {name, status, output}. A step may be about
    what an earlier one found; which steps there are, and their names, do not depend on it.
    """

    id: str  # the sender's id of the command; `addCredit.obs` begins with it
    type: str  # e.g. subscriber.create.v1
    data: Mapping[str, Any] = field(repr=False)
    finished: Sequence[Mapping[str, Any]] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Step:
    """One call that changes (or reads) something; a command is a list of them, in order.

    `params` may hold secrets: no repr. Planning twice gives the same steps.
    """

    name: str  # stands in the result's `steps`, e.g. insertSubscriber
    endpoint: str  # a bounded label for attempts and metrics, e.g. SubscriberWS.insertSubscriber
    effect: Effect
    params: Mapping[str, Any] = field(repr=False)
    readable: bool = True  # `look` can tell whether it took effect
    if_exists: str = "reject"  # creates only: reject, adopt, update
    after_adoption: bool = False  # runs only where an earlier create found the object there
    amount: Decimal | None = None  # increments only, in the platform's currency unit
    removes: bool = False  # a subscriber goes: it counts against `removes_per_hour`
    paged: bool = False  # reads only: a long answer, done by `read_rows` instead of `call`
    promises: Mapping[str, Any] = field(
        default_factory=dict
    )  # output once it took effect, however that is known


@dataclass(frozen=True, slots=True)
class Reply:
    """`before`: what was read just before the call and is gone after it; kept should the answer be lost."""

    outcome: Outcome
    exchange: Exchange
    before: Reading | None = None


Unread = Refused | Ill | Busy | NotSent | Unclear


class LeaseLost(Exception):
    """The claim ended before the first byte: nothing may be written."""


class Guard(Protocol):
    """The last word before the first byte, and the note that it went (rule 5.2). Both synchronous."""

    def before_first_byte(self) -> None:
        """Raise LeaseLost when the claim has ended."""

    def wrote(self) -> None:
        """The first byte was handed to the socket."""


class Memory(Protocol):
    """What an adapter remembers of an object, for all processes and for as long as it likes: no secrets.

    `of`: the object, as in the ordering key. Raises JournalDown's kind of error when it cannot be reached.
    """

    async def recall(self, of: str, name: str) -> str | None: ...
    async def remember(self, of: str, name: str, value: str) -> None: ...
    async def forget(self, of: str, name: str) -> None: ...


class Passing(Memory):
    """Gone with the process: for those who only plan and read."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], str] = {}

    async def recall(self, of: str, name: str) -> str | None:
        return self._kept.get((of, name))

    async def remember(self, of: str, name: str, value: str) -> None:
        self._kept[of, name] = value

    async def forget(self, of: str, name: str) -> None:
        self._kept.pop((of, name), None)


Row = Mapping[str, Any]  # plain JSON values, money as decimal texts; no secret


class Stopped(Exception):
    """The rows cannot be handed over (any more): the reading ends. A platform lets it through."""


class Rows(Protocol):
    """Where the rows of a long answer go: they leave as `page` events to `reply_to`, and are not kept."""

    async def add(self, rows: Sequence[Row]) -> None:
        """Hand over some rows, in their order; returns when there is room for more, so read no further before.

        Hand them over as they come, at least every `timeout` seconds: it keeps the claim alive. Raises Stopped,
        or LeaseLost.
        """


class Platform(Protocol):
    """One configured instance. Nothing here raises for what the network or the platform does."""

    name: str
    kind: str

    def plan(self, order: Order) -> tuple[Step, ...] | Problem:
        """The steps of a command, or why this platform cannot do it. Pure."""

    async def look(self, step: Step, before: Reading | None) -> Reading | Unread:
        """Read what the step is about. `before` is the evidence read before the call, if any was."""

    async def call(self, step: Step, guard: Guard) -> Reply:
        """Do the step, sending at most one request that changes anything."""

    async def read_rows(self, step: Step, rows: Rows) -> Reply:
        """Do a `paged` step: all rows to `rows`, in an order that is the same when read again, a part at a time
        so that memory stays bounded. `Done` carries the totals; rows and pages are counted by the caller."""

    async def control(self) -> Outcome:
        """A read with the same login that succeeds exactly when the platform is well."""

    def facts(self) -> Mapping[str, Any]:
        """What `platforms check` shows: operations the server has, lacks, spells differently."""

    async def close(self) -> None: ...
