"""INTAKE: what has come is read, checked, admitted in one commit, then acknowledged (rules 6.1 to 6.3)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from worker.broker.arrivals import unstorable
from worker.broker.consumer import Ack, Consumer, ConsumerHealth, Options
from worker.broker.link import Address
from worker.broker.session import Held
from worker.broker.topology import command_queue
from worker.journal.port import Admission, Arrival, JournalDown, JournalError, NewCommand
from worker.messages.envelope import Delivery
from worker.telemetry import Part, Tells

log = structlog.get_logger(__name__)

SLICE = 0.015  # seconds of reading after which the event loop gets its turn
OFTEN = 3  # a message that came back so often is admitted alone: it may be what stops its neighbours
RESUME = 0.95  # of max_waiting: a pause ends below it, not at the first command that ends


class Admits(Protocol):
    """What intake asks of the journal."""

    async def admit(self, arrivals: Sequence[Arrival]) -> list[Admission]: ...
    async def waiting(self) -> int: ...


class Reads(Protocol):
    def arrival(self, delivery: Delivery) -> Arrival:
        """Never raises."""


@dataclass(frozen=True, slots=True)
class IntakeHealth:
    consumer: ConsumerHealth
    admitted: int
    refused: int

    @property
    def well(self) -> bool:
        return self.consumer.well


class Intake:
    """One command queue, from RabbitMQ into the journal.

    `max_waiting`: commands in the journal above which intake pauses.
    """

    def __init__(
        self,
        where: Address,
        queue: str,
        journal: Admits,
        reader: Reads,
        *,
        max_waiting: int = 1_000_000,
        options: Options | None = None,
        tracer: Tells | None = None,
    ) -> None:
        self.queue = queue
        self._tracer = tracer
        self.admissions: Counter[str] = Counter()
        self._journal = journal
        self._reader = reader
        self._room = Room(journal, max_waiting)
        self._log = log.bind(queue=queue)
        self._consumer = Consumer(where, command_queue(queue), self, options or Options())

    async def start(self) -> None:
        await self._consumer.start()

    async def stop(self) -> None:
        await self._consumer.stop()

    @property
    def delivered(self) -> int:
        return self._consumer.counts.delivered

    @property
    def redelivered(self) -> int:
        return self._consumer.counts.redelivered

    @property
    def acked(self) -> int:
        return self._consumer.counts.acked

    @property
    def admitted(self) -> int:
        return self.admissions["admitted"]

    @property
    def refused(self) -> int:
        return self.admissions["refused"]

    @property
    def rebuilt(self) -> int:
        """Sessions that ended otherwise than by a stop."""
        return self._consumer.rebuilt

    def health(self) -> IntakeHealth:
        return IntakeHealth(self._consumer.health(), self.admitted, self.refused)

    async def hindrance(self) -> str | None:
        return await self._room.lacking()

    async def take(self, held: Sequence[Held], ack: Ack) -> None:
        for group in groups(held):
            arrivals = await self._read(group)
            try:
                await self._admit(group, arrivals, ack)
            except JournalDown:
                self._room.forget()
                raise

    async def _read(self, group: Sequence[Held]) -> list[Arrival]:
        arrivals = []
        until = time.perf_counter() + SLICE
        for one in group:
            arrivals.append(self._reader.arrival(one.delivery))
            if time.perf_counter() > until:
                await asyncio.sleep(0)
                until = time.perf_counter() + SLICE
        return arrivals

    async def _admit(self, group: Sequence[Held], arrivals: Sequence[Arrival], ack: Ack) -> None:
        began = time.monotonic()
        try:
            admissions = await self._journal.admit(arrivals)
        except (JournalDown, JournalError):
            raise
        except Exception as error:
            await self._split(group, arrivals, ack, error)
            return
        self.admissions.update(admissions)
        self._room.took(len(arrivals))
        if self._tracer:
            for part in spans_of(arrivals, admissions, self.queue, time.monotonic() - began):
                self._tracer.tell(part)
        await ack(group[-1])

    async def _split(
        self, group: Sequence[Held], arrivals: Sequence[Arrival], ack: Ack, error: Exception
    ) -> None:
        """One message's data fails the commit of all: halve until it is alone (rule 6.3). Order is kept."""
        if len(group) == 1:
            await self._quarantine(group[0], arrivals[0], ack, error)
            return
        middle = len(group) // 2
        await self._admit(group[:middle], arrivals[:middle], ack)
        await self._admit(group[middle:], arrivals[middle:], ack)

    async def _quarantine(self, one: Held, arrival: Arrival, ack: Ack, error: Exception) -> None:
        self._log.warning("intake.unstorable", error=type(error).__name__, size=len(arrival.body))
        try:
            self.admissions.update(await self._journal.admit([unstorable(arrival, error)]))
        except (JournalDown, JournalError):
            raise
        except Exception as again:  # even its id, or what was wrong with it, cannot be stored
            self.admissions.update(await self._journal.admit([unstorable(arrival, again, bare=True)]))
        await ack(one)


def spans_of(
    arrivals: Sequence[Arrival], admissions: Sequence[Admission], queue: str, took: float
) -> Iterator[Part]:
    """Of each command: that it has come, and what intake said to it."""
    for arrival, admission in zip(arrivals, admissions, strict=True):
        if isinstance(arrival.item, NewCommand):
            sent = arrival.item.envelope
            facts: dict[str, str | int] = {
                "messaging.system": "rabbitmq",
                "messaging.destination.name": queue,
                "messaging.message.id": sent.id,
                "provisioning.command.type": sent.type,
                "provisioning.platform": arrival.item.platform,
                "provisioning.admission": admission,
            }
            yield Part(f"admit {sent.type}", "consumer", took, sent.traceparent, sent.tracestate, facts)


class Room:
    """Whether the journal has room for more commands; counted once a second, and before it may overflow."""

    def __init__(self, journal: Admits, most: int) -> None:
        self._journal = journal
        self._most = most
        self._count = 0
        self._counted_at: float | None = None
        self._full = False

    def took(self, arrivals: int) -> None:
        self._count += arrivals

    def forget(self) -> None:
        """The journal did not answer: the next look asks it again."""
        self._counted_at = None

    async def lacking(self) -> str | None:
        now = time.monotonic()
        if self._counted_at is None or now - self._counted_at >= 1.0 or self._count >= self._most:
            self._counted_at = None
            self._count = await self._journal.waiting()
            self._counted_at = now
            self._full = self._count >= self._most * (RESUME if self._full else 1.0)
        if not self._full:
            return None
        return f"{self._count} commands wait in the journal: max_waiting is {self._most}"


def groups(held: Sequence[Held]) -> Iterator[Sequence[Held]]:
    """Runs of messages to be committed together, in order; one that came back often goes alone."""
    start = 0
    for place, one in enumerate(held):
        if one.returns >= OFTEN:
            if start < place:
                yield held[start:place]
            yield held[place : place + 1]
            start = place + 1
    if start < len(held):
        yield held[start:]
