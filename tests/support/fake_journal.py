"""The few methods of the journal that the broker's side asks for, in memory, for its own tests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from worker.journal.port import Admission, Arrival, Inquiry, JournalDown, NewCommand, Outgoing, Refusal


class Unstorable(Exception):
    """What a database says about data that it cannot hold."""


class FakeJournal:
    """Knows identities, keeps order, and fails on request.

    `down`: every call raises JournalDown. `poison`: an arrival that this is true of fails its whole commit.
    `gate`: cleared, a commit hangs until it is set again.
    """

    def __init__(self) -> None:
        self.down = False
        self.poison: Callable[[Arrival], bool] = lambda arrival: False
        self.gate = asyncio.Event()
        self.gate.set()
        self.in_commit = asyncio.Event()
        self.order: list[str] = []  # ids of commands in their order of arrival, each once
        self.refusals: list[Refusal] = []
        self.inquiries: list[Inquiry] = []
        self.dead: list[Refusal] = []
        self.commits: list[int] = []  # how many arrivals each commit had
        self.extra_waiting = 0
        self.outbox: list[Outgoing] = []
        self.taken: dict[int, bool] = {}
        self.sealed: list[int] = []
        self.to_seal = 0
        self.holder: str | None = None
        self.asked: Counter[str] = Counter()

    def _answer(self, what: str) -> None:
        self.asked[what] += 1
        if self.down:
            raise JournalDown("the journal does not answer (test)")

    # intake

    async def admit(self, arrivals: Sequence[Arrival]) -> list[Admission]:
        self._answer("admit")
        self.in_commit.set()
        await self.gate.wait()
        self._answer("commit")
        if any(self.poison(arrival) for arrival in arrivals):
            raise Unstorable
        self.commits.append(len(arrivals))
        return [self._take(arrival) for arrival in arrivals]

    def _take(self, arrival: Arrival) -> Admission:
        match arrival.item:
            case Refusal() as refusal:
                self.refusals.append(refusal)
                return "refused"
            case Inquiry() as inquiry:
                self.inquiries.append(inquiry)
                return "answered"
            case NewCommand(envelope=envelope):
                if envelope.id in self.order:
                    return "repeated"
                self.order.append(envelope.id)
                return "admitted"

    async def waiting(self) -> int:
        self._answer("waiting")
        return len(self.order) + self.extra_waiting

    async def quarantine_dead(self, arrivals: Sequence[Refusal]) -> None:
        self._answer("quarantine_dead")
        self.dead.extend(arrivals)

    # relay

    async def keep(self, role: str, owner: str, lease: float) -> bool:
        self._answer("keep")
        if self.holder in (None, owner):
            self.holder = owner
            return True
        return False

    async def let_go(self, owner: str) -> None:
        if self.holder == owner:
            self.holder = None

    async def seal(self, limit: int) -> int:
        self._answer("seal")
        done = min(limit, self.to_seal)
        self.to_seal -= done
        if done:
            self.sealed.append(done)
        return done

    async def unpublished(self, limit: int) -> list[Outgoing]:
        self._answer("unpublished")
        return [event for event in self.outbox if event.row not in self.taken][:limit]

    async def published(self, rows: Sequence[tuple[Outgoing, bool]]) -> None:
        self._answer("published")
        for event, taken in rows:
            self.taken[event.row] = taken
