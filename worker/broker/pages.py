"""Pages of long answers, published directly: they stand in no journal, so each is confirmed before the next."""

from __future__ import annotations

import asyncio
import struct
import time
from datetime import UTC, datetime
from typing import cast

import structlog
from aiormq import Channel, spec
from aiormq.abc import AbstractConnection, DeliveredMessage
from aiormq.exceptions import ChannelAccessRefused

from worker.broker.flights import APP_ID, SHORT
from worker.broker.link import Address, close_in_time, confirming, connect
from worker.journal.port import Outgoing
from worker.messages.events import CONTENT_TYPE, Event

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


def outcome(task: asyncio.Task[object], event: Outgoing) -> bool | None:
    """True: taken; False: nobody was there; None: not known, or refused, to be tried again."""
    if task.cancelled():
        return None
    error = task.exception()
    if error is None:
        return not isinstance(task.result(), DeliveredMessage)
    if isinstance(error, (ValueError, TypeError, struct.error)):
        # It cannot be put into AMQP, today or later; the event stays in the journal.
        log.error("relay.unpublishable", event_id=event.event_id, error=type(error).__name__)
        return False
    if isinstance(error, ChannelAccessRefused) and not event.exchange:
        # Replies that this user may not send are like a queue that is gone: they must not hold up the rest.
        log.error("relay.reply_refused", event_id=event.event_id)
        return False
    log.debug("relay.unconfirmed", event_id=event.event_id, error=type(error).__name__)
    return None


def properties(event: Outgoing) -> spec.Basic.Properties:
    return spec.Basic.Properties(
        message_id=event.event_id,
        correlation_id=short(event.correlation_id),
        content_type=CONTENT_TYPE,
        message_type=short(event.type),
        timestamp=datetime.fromtimestamp(int(event.created_at), UTC),
        app_id=APP_ID,
        delivery_mode=2,
    )


def short(text: str | None) -> str | None:
    """What AMQP can carry as a property; a longer one stands in the event alone."""
    return text if text is None or len(text.encode()) <= SHORT else None
