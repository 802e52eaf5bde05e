"""Sending the rows of a batch: write down, keep the passwords, publish, strike off; and watching them end.

Whoever is killed between any two of these and runs again sends the same messages under the same ids.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from worker.journal.batches.batches import Batch, Batches, Known, Offered, Send, content_mac, row_hash
from worker.journal.batches.offers import HASH
from worker.journal.port import JournalDown
from worker.onboarding.check import off_loop
from worker.onboarding.passwords import Entry, PasswordFile
from worker.onboarding.publishing import Bulk, Message
from worker.onboarding.rows import Finding, Made, generated

T = TypeVar("T")
# Asked for rows whose turn has come: the same rows, with findings where one is not to be sent after all.
Still = Callable[[Sequence[Made]], Awaitable[Sequence[Made]]]

CHUNK = 100  # rows that are written down together
LOOK = 0.5  # seconds, at least, between two looks at how rows ended
SHARE = 20  # a look may take at most one part in so many of the time: the journal is the worker's
SOON = 5.0  # seconds, at most, between two looks even so: a pause has to take hold
AWAY = 120.0  # seconds that the journal may be away before the run gives up
SILENT = 30.0  # seconds without an ending after which a person is asked to look


class Cancelled(Exception):
    """The batch was cancelled while it ran."""


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Again while the journal is away. All that is asked of it here may be asked twice."""
    until = time.monotonic() + AWAY
    while True:
        try:
            return await work()
        except JournalDown:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(1.0)


def rest(took: float) -> float:
    """Seconds until the next look, after one that took so many."""
    return min(max(LOOK, took * SHARE), SOON)


@dataclass(slots=True)
class Progress:
    """Figures of a run, all in rows. `before`: were sent by an earlier run."""

    total: int = 0
    read: int = 0
    sent: int = 0
    before: int = 0
    changed: list[int] = field(default_factory=list)
    changed_count: int = 0
    states: dict[str, int] = field(default_factory=dict)  # of the whole batch, by the journal
    paused: str | None = None
    rate: float | None = None
    stopped: str | None = None  # why the platform takes nothing
    last_ended: float = field(default_factory=time.monotonic)
    began: float = field(default_factory=time.monotonic)
    ended_here: int = 0  # ended since this run began

    @property
    def done(self) -> int:
        return self.states.get("done", 0)

    @property
    def failed(self) -> int:
        return self.states.get("failed", 0)

    @property
    def parked(self) -> int:
        return self.states.get("parked", 0)

    @property
    def open(self) -> int:
        return self.states.get("sent", 0)

    def add(self, changes: dict[str, int]) -> None:
        """What we have just done ourselves; the next look puts right what others did meanwhile."""
        for state, by in changes.items():
            self.states[state] = self.states.get(state, 0) + by

    def know(self, states: dict[str, int]) -> None:
        """What the journal says. Whoever looks at a batch writes down how its rows stand: not only we do."""
        ended = sum(states.get(name, 0) - self.states.get(name, 0) for name in ("done", "failed"))
        self.states = states
        self.ended_here += max(0, ended)
        if ended > 0:
            self.last_ended = time.monotonic()

    @property
    def silent(self) -> float | None:
        """Seconds since a row ended, where that is long and some should."""
        seconds = time.monotonic() - self.last_ended
        return seconds if self.open > 0 and seconds > SILENT else None

    @property
    def speed(self) -> float:
        """Rows ended a second, in this run."""
        return self.ended_here / max(0.001, time.monotonic() - self.began)

    @property
    def left(self) -> float | None:
        """Seconds to the end at this speed; None: nobody can say."""
        remaining = self.total - self.done - self.failed - self.parked - self.states.get("bad", 0)
        return remaining / self.speed if self.ended_here >= 20 else None


class Watch:
    """Looks in the journal how rows end, and what people want of the batch."""

    def __init__(self, batches: Batches, batch: Batch, progress: Progress) -> None:
        self._batches = batches
        self.batch = batch
        self._progress = progress
        self._around = 0  # where the slow round over all open rows is
        self.looked = asyncio.Event()
        # Held while rows are counted in the journal, and while the sender adds some: else a count from before would
        # be taken for what is open now, and more than `in_flight` rows go out.
        self.counting = asyncio.Lock()

    async def begin(self) -> None:
        self._progress.states = await self._batches.counts(self.batch)

    async def run(self) -> None:
        while True:
            took = await patiently(self.look)
            await asyncio.sleep(rest(took))

    async def look(self) -> float:
        """One look; the seconds it took. Rows end about in the order in which they were sent."""
        start = time.monotonic()
        self.batch = await self._batches.control(self.batch.name)
        self._progress.paused, self._progress.rate = self.batch.paused_by, self.batch.rate
        self._progress.stopped = await self._batches.stopped(self.batch.platform)
        after = 0
        while True:
            changes, _, last = await self._batches.gather(self.batch, after)
            if last is None or not changes:
                break
            after = last
        _, _, last = await self._batches.gather(self.batch, max(after, self._around))
        self._around = 0 if last is None else last
        async with self.counting:
            self._progress.know(await self._batches.states(self.batch))
        self.looked.set()
        return time.monotonic() - start


@dataclass(frozen=True, slots=True)
class Terms:
    """How a run sends. `in_flight`: rows that were sent and have not ended; 0: no bound."""

    retry_failed: bool = False
    in_flight: int = 500


class Sender:
    def __init__(
        self,
        batches: Batches,
        batch: Batch,
        bulk: Bulk,
        passwords: PasswordFile | None,
        progress: Progress,
        terms: Terms,
        still: Still | None = None,
    ) -> None:
        self._batches = batches
        self._batch = batch
        self._bulk = bulk
        self._passwords = passwords
        self._progress = progress
        self._terms = terms
        self._still = still
        self.watch = Watch(batches, batch, progress)
        self._next = 0.0  # by the loop's clock: when the rate lets the next row go

    async def send(self, rows: Iterable[Sequence[Made | None]], is_bad: Callable[[int], bool]) -> None:
        """All rows that are to be sent, a portion at a time; None: left out by the mapping.

        Raises Cancelled, BulkGone, SheetError, PasswordsError.
        """
        await self.watch.begin()
        watching = asyncio.create_task(self.watch.run())
        try:
            async for portion in off_loop(rows):
                made = [one for one in portion if one is not None]
                self._progress.read += len(made)
                await self._keep_bad([one for one in made if one.findings or is_bad(one.number)])
                good = [one for one in made if not one.findings and not is_bad(one.number)]
                await self._rows(good, watching)
            await self._batches.all_sent(self._batch.name)
        finally:
            watching.cancel()
            await asyncio.wait({watching})

    async def follow(self, report: Callable[[], None] = lambda: None, within: float | None = None) -> bool:
        """Until every row that was sent has ended, or a person must decide; False: `within` seconds ran out."""
        until = None if within is None else time.monotonic() + within
        self._progress.know(await self._batches.gather_all(self._batch))
        while self._progress.open > 0:
            if until is not None and time.monotonic() > until:
                return False
            took = await patiently(self.watch.look)
            report()
            await asyncio.sleep(rest(took))
        self._progress.know(await self._batches.gather_all(self._batch))
        return True

    async def _keep_bad(self, rows: Sequence[Made]) -> None:
        if not rows:
            return
        kept = []
        for one in rows:
            first = one.findings[0] if one.findings else None
            problem = {"code": first.code if first else "duplicate_row", "message": _sentence(one)}
            kept.append((one.number, one.keys, problem))
        await self._batches.keep_bad(self._batch, kept)
        self._progress.add({"bad": len(kept)})

    async def _rows(self, rows: Sequence[Made], watching: asyncio.Task[None]) -> None:
        place = 0
        while place < len(rows):
            room = await self._room(watching)
            await self._chunk(await self._due(rows[place : place + room]))
            place += room

    async def _due(self, rows: Sequence[Made]) -> Sequence[Made]:
        """Those whose turn has come and that are still to be sent."""
        if (still := self._still) is None:
            return rows
        asked = await patiently(lambda: still(rows))
        await self._keep_bad([one for one in asked if one.findings])
        return [one for one in asked if not one.findings]

    async def _room(self, watching: asyncio.Task[None]) -> int:
        """How many rows may go now; waits while none may. Raises Cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            if watching.done():
                watching.result()
            batch, most = self.watch.batch, self._terms.in_flight
            if batch.state == "cancelled":
                raise Cancelled(f"batch {batch.name} was cancelled: nothing more of it is sent")
            room = min(CHUNK, most - self._progress.open) if most else CHUNK
            if batch.rate:
                room = min(room, max(1, int(batch.rate)))
            if room > 0 and not batch.paused_by and loop.time() >= self._next:
                if batch.rate:
                    self._next = max(self._next, loop.time() - 1.0) + room / batch.rate
                return room
            self.watch.looked.clear()
            wait = LOOK if batch.paused_by or room <= 0 else min(LOOK, max(0.0, self._next - loop.time()))
            try:
                await asyncio.wait_for(self.watch.looked.wait(), max(0.01, wait))
            except TimeoutError:
                continue

    async def _chunk(self, rows: Sequence[Made]) -> None:
        if not rows:
            return
        offered = [self._offered(one) for one in rows]
        answers = await patiently(lambda: self._batches.offer(self._batch, offered, self._terms.retry_failed))
        sends = [(one, answer) for one, answer in zip(rows, answers, strict=True) if isinstance(answer, Send)]
        if self._passwords is not None:
            entries = [self._entry(one, send.made) for one, send in sends if send.made]
            if entries:
                self._passwords.add(entries)
        for _, send in sends:
            self._progress.add({"sending": int(send.was != "sending"), "failed": -int(send.was == "failed")})
        if sends:
            await self._bulk.publish(
                [message for one, send in sends for message in self._messages(one, send)]
            )
            async with self.watch.counting:
                fresh = await patiently(lambda: self._batches.sent([send.row for _, send in sends]))
                self._progress.add({"sending": -fresh, "sent": fresh})
        self._count(rows, answers, len(sends))

    def _count(self, rows: Sequence[Made], answers: Sequence[Send | Known], sent: int) -> None:
        self._progress.sent += sent
        for one, answer in zip(rows, answers, strict=True):
            if isinstance(answer, Known) and answer.state == "changed":
                self._progress.changed_count += 1
                self._progress.changed += [one.number] if len(self._progress.changed) < 1000 else []
            elif isinstance(answer, Known):
                self._progress.before += 1

    def _entry(self, one: Made, made: Mapping[str, str]) -> Entry:
        id = row_hash(self._batches.core, self._batch.platform, one.identity)[:HASH]
        return Entry(one.number, one.keys, made, id)

    def _offered(self, one: Made) -> Offered:
        core = self._batches.core
        return Offered(
            row_hash(core, self._batch.platform, one.identity),
            one.number,
            content_mac(core, one.content()),
            one.keys,
            tuple(type for type, _ in one.commands),
            generated(one.blanks) or None,
        )

    def _messages(self, one: Made, send: Send) -> Iterator[Message]:
        commands = one.filled(send.made or {})
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        for part, name, before in send.parts:
            type, data = commands[part]
            event = {
                "specversion": "1.0",
                "id": name,
                "source": self._batch.source,
                "type": type,
                "time": now,
                "idempotencykey": name.split("/again-")[0],
                "batchid": self._batch.name,
                "correlationid": name.rsplit(f"/{part}", 1)[0],
                "data": data,
            }
            if before is not None:
                event["dependson"] = before
            yield Message(name, type, self._batch.platform, json.dumps(event, ensure_ascii=False).encode())


def _sentence(one: Made) -> str:
    if not one.findings:
        return "it stands in the file twice, or in an earlier batch: see the report of problems"
    return "; ".join(map(_told, one.findings))[:2000]


def _told(found: Finding) -> str:
    """The column first, where the sentence does not begin with it anyway."""
    name = found.column or found.field
    return f"{name}: {found.problem}" if name and not found.problem.startswith(f"{name}:") else found.problem
