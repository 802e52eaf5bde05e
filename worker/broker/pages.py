"""Pages of long answers, published directly: they stand in no journal, so each is confirmed before the next."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import structlog
from aiormq import Channel
from aiormq.abc import AbstractConnection

from worker.broker.link import Address, close_in_time, connect
from worker.broker.publisher import confirming, outcome, properties
from worker.journal.port import Outgoing
from worker.messages.events import Event

log = structlog.get_logger(__name__)


class PagePublisher:
    """A connection of its own, opened by the first page: pages must hold up neither results nor acks.

    What goes wrong with it, a page that is not confirmed in time included, costs the connection; the next page
    opens another.
    """

    def __init__(self, where: Address, deadline: float = 10.0) -> None:
        self._where, self._deadline = where, deadline
        self._connection: AbstractConnection | None = None
        self._channel: Channel | None = None
        self._opening = asyncio.Lock()

    async def send(self, event: Event) -> bool | None:
        """See the engine's PageSink. `deadline` seconds, the opening of a connection included."""
        channel = None
        try:
            async with asyncio.timeout(self._deadline):
                channel = await self._ready()
                taken = await self._publish(channel, event)
        except Exception as error:  # the broker is away, frozen or blocks us: the engine tries again
            log.info("pages.unsent", error=type(error).__name__)
            taken = None
        if taken is None:
            await self._give_up(channel)
        return taken

    async def close(self) -> None:
        await self._give_up(self._channel)

    async def _publish(self, channel: Channel, event: Event) -> bool | None:
        page = outgoing(event)
        sending = asyncio.create_task(
            channel.basic_publish(
                page.body,
                exchange="",
                routing_key=page.routing_key,
                properties=properties(page),
                mandatory=True,
                wait=False,
            )
        )
        try:
            await asyncio.wait({sending})
        finally:
            sending.cancel()
        return outcome(cast("asyncio.Task[object]", sending), page)

    async def _ready(self) -> Channel:
        async with self._opening:
            if self._channel is None or self._channel.is_closed:
                self._connection = await connect(self._where, "pages")
                self._channel = await confirming(self._connection)
            return self._channel

    async def _give_up(self, channel: Channel | None) -> None:
        """Only what is still in use: of two pages that fail together, the second must not close the new one."""
        if channel is not self._channel or self._connection is None:
            return
        connection, self._connection, self._channel = self._connection, None, None
        await close_in_time(connection.close(), "pages")


def outgoing(event: Event) -> Outgoing:
    return Outgoing(
        row=0,
        table="outbox",
        exchange="",
        routing_key=event.reply_to or "",
        event_id=event.id,
        type=event.type,
        body=event.body,
        correlation_id=event.correlation_id,
        created_at=time.time(),
    )
