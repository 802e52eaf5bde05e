"""What `worker send --dry-run` asks of a platform: a step's request before it is sent, and what is there.

Both are optional: a platform that offers neither shows its steps only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from worker.platforms.port import Order, Step


@dataclass(frozen=True, slots=True)
class Preview:
    """One request as it would go out, every secret as ***: login, tokens and passwords alike.

    method, url: empty where nothing goes over HTTP (rows of a database). body: as text, indented for people.
    notes: what is known only when it runs, one sentence each. reads: names of the reads that show whether it took
    effect (`SubscriberWS.retrieveSubscriber`); empty: no read does.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    notes: Sequence[str] = ()
    reads: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Existing:
    """One thing that a command names, held against the platform.

    what: `profile residential`. there: None where it could not be read. wanted: whether the command needs it
    there; False: it must not be. said: a sentence, with the way out where it is not as wanted.
    """

    what: str
    there: bool | None
    wanted: bool
    said: str

    @property
    def right(self) -> bool:
        return self.there is self.wanted


@runtime_checkable
class Previewing(Protocol):
    """`preview(step)`: nothing is asked of the platform, and nothing is sent."""

    async def preview(self, step: Step) -> Preview: ...


@runtime_checkable
class Inspecting(Protocol):
    """`existing(order, steps)`: reads only. Nothing here raises for what the network or the platform does."""

    async def existing(self, order: Order, steps: Sequence[Step]) -> Sequence[Existing]: ...
