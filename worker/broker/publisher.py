"""Publishing many events at once and learning of each whether RabbitMQ has it, and whether somebody took it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress

from aiormq.abc import AbstractConnection

from worker.broker.flights import Answer, Flights
from worker.broker.link import Address, close_in_time, connect
from worker.broker.topology import declare
from worker.journal.port import Outgoing

MOST = 500  # events in flight
MOST_BYTES = 4 * 1024 * 1024  # in flight: they wait in our memory


class Publisher:
    """One connection. It is used until something goes wrong with it, then closed and replaced.

    It speaks to aiormq and not through aio-pika or FastStream: a good part of a command's CPU goes into its three
    events. Two channels, because a returned message is told by its id alone, and the answer to `reply_to` has the
    id of the event that everybody gets.
    """

    def __init__(
        self, connection: AbstractConnection, events: Flights, replies: Flights, landed: asyncio.Event
    ) -> None:
        self._connection = connection
        self._events = events
        self._replies = replies
        self._landed = landed

    @classmethod
    async def open(cls, where: Address) -> Publisher:
        """Declares what is missing first. Raises TopologyError, or that RabbitMQ does not answer."""
        await declare(where)
        connection, landed = await connect(where, "relay"), asyncio.Event()
        try:
            events, replies = [await Flights.on(connection, number, landed) for number in (1, 2)]
        except BaseException:
            await close_in_time(connection.close(), "relay")
            raise
        return cls(connection, events, replies, landed)

    @property
    def usable(self) -> bool:
        return not (self._connection.is_closed or self._events.is_closed or self._replies.is_closed)

    @property
    def in_flight(self) -> int:
        """Events that were sent and not answered; more than none only while RabbitMQ blocks us."""
        return len(self._events.in_flight) + len(self._replies.in_flight)

    async def blocked(self) -> bool:
        """Whether RabbitMQ has told us to wait (a memory or disk alarm)."""
        try:
            await asyncio.wait_for(self._connection.ready(), 0.01)
        except TimeoutError:
            return True
        return False

    async def publish(self, events: Sequence[Outgoing], deadline: float) -> list[Answer]:
        """Publish in order, all confirms awaited together, `deadline` seconds for each flight.

        Returns the events that RabbitMQ has; the others are to be published again under the same ids.
        """
        answers: list[Answer] = []
        for flight in flights(events):
            await self._events.send([event for event in flight if event.exchange])
            await self._replies.send([event for event in flight if not event.exchange])
            answers += await self.landed(deadline)
            if self.in_flight or not self.usable:
                break
        return answers

    async def landed(self, deadline: float) -> list[Answer]:
        """Answers to what is in flight; what has none after `deadline` seconds stays in flight."""
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                while self.in_flight:
                    self._landed.clear()
                    await self._landed.wait()
        return [*self._events.answers(), *self._replies.answers()]

    async def close(self) -> None:
        await close_in_time(self._connection.close(), "relay")


def flights(events: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Bounded in number and bytes; no id twice on one channel, for a return names nothing but the id."""
    flight: list[Outgoing] = []
    seen: set[tuple[bool, str]] = set()
    size = 0
    for event in events:
        name = (bool(event.exchange), event.event_id)
        if flight and (len(flight) >= MOST or size + len(event.body) > MOST_BYTES or name in seen):
            yield flight
            flight, seen, size = [], set(), 0
        flight.append(event)
        seen.add(name)
        size += len(event.body)
    if flight:
        yield flight
