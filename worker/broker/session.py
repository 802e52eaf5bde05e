"""One consumer of one queue, from its connection to its close; never mended, always rebuilt (rule 6.1)."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

import structlog
from aio_pika import IncomingMessage, RobustChannel
from aiormq.abc import AbstractChannel
from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

from worker.broker.link import OPENING, Address, close_in_time
from worker.broker.topology import declare
from worker.messages.envelope import Delivery

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """One message that was delivered and is not acknowledged yet."""

    tag: int
    delivery: Delivery
    at: float  # monotonic
    returns: int  # how often it went back to the queue before


@dataclass(slots=True)
class Counts:
    """Since the process began, over all sessions of a queue."""

    delivered: int = 0
    redelivered: int = 0
    acked: int = 0


@dataclass(frozen=True, slots=True)
class Probe:
    """What RabbitMQ says of the queue."""

    ready: int  # messages that nobody holds
    consumers: int  # of all processes


class Session:
    """A RabbitBroker of its own for one queue.

    FastStream and aio-pika would mend a lost channel behind our back; delivery tags begin anew there. So the
    first loss of whatever kind ends the session: nothing is noted or acknowledged afterwards.
    """

    def __init__(self, where: Address, queue: RabbitQueue, prefetch: int, counts: Counts) -> None:
        self.queue = queue.name
        self.held: deque[Held] = deque()
        self.ended = asyncio.Event()
        self.why = ""
        self.lost = False  # it ended by itself
        self.rests = False  # it ended, and nothing is wrong
        self.delivered = 0  # also the last tag: they are counted from 1 on each channel
        self.last_delivery = time.monotonic()
        self._counts = counts
        self._closed = False
        self._arrived = asyncio.Event()
        self._where = where
        self._limits = Channel(prefetch_count=prefetch, publisher_confirms=False)
        self._channel: AbstractChannel | None = None
        self._broker = self._build(where, queue)

    def _build(self, where: Address, queue: RabbitQueue) -> RabbitBroker:
        broker = RabbitBroker(
            where.named(self.queue),
            security=where.security,
            timeout=OPENING,
            graceful_timeout=None,
            default_channel=Channel(publisher_confirms=False),
            logger=None,
            apply_types=False,
        )
        subscriber = broker.subscriber(
            queue, channel=self._limits, no_reply=True, ack_policy=AckPolicy.MANUAL
        )
        subscriber(_nothing_left)
        # FastStream declares, consumes and closes. What it does with each message (scopes, middlewares, parsers)
        # is left out: it costs more CPU than all the rest of intake, and starts handlers out of order. Noting is
        # one step without an await, in a task a message, and these start in the order of delivery (rule 4.3);
        # `_note` looks at the tags to be sure.
        subscriber.consume = self._hear  # type: ignore[method-assign]
        return broker

    async def _hear(self, msg: IncomingMessage) -> None:
        self._note(msg)

    async def open(self) -> None:
        """Declare what is missing and consume. Raises whatever the client raises; then `close` it."""
        await declare(self._where)
        async with asyncio.timeout(OPENING):
            await self._broker.start()
            self._watch(await self._underlay(self._limits))

    async def _underlay(self, limits: Channel | None) -> AbstractChannel:
        channel: RobustChannel = await self._broker.config.channel_manager.get_channel(limits)
        return await channel.get_underlay_channel()

    def _watch(self, channel: AbstractChannel) -> None:
        if self._channel is None:
            self._channel = channel
        elif self._channel is not channel:
            self._lose("the channel was replaced")
        channel.closing.add_done_callback(lambda _: self._lose("the channel was closed"))
        channel.on_consumer_cancel_callbacks.add(lambda _: self._lose("the broker cancelled the consumer"))

    def _note(self, message: IncomingMessage) -> None:
        if self.ended.is_set():
            return
        channel, tag = message.channel, message.delivery_tag
        if self._channel is None:
            self._channel = channel
        if channel is not self._channel or tag != self.delivered + 1:
            # An acknowledgement names all up to a tag: one that we did not see would be lost with it.
            self._lose("deliveries were missed")
            return
        self.delivered += 1
        self._counts.delivered += 1
        self._counts.redelivered += bool(message.redelivered)
        self.last_delivery = time.monotonic()
        self.held.append(held(message, self.queue, self.last_delivery))
        self._arrived.set()

    def end(self, why: str) -> None:
        """Take no more. What is being committed may still be acknowledged, until `close`."""
        if not self.ended.is_set():
            self.why = why
            self.ended.set()
            self._arrived.set()

    def _lose(self, why: str) -> None:
        if not self.ended.is_set():
            self.lost = True
            self.end(why)

    async def arrived(self) -> list[Held]:
        """All that is held, in order, as soon as it is more than what was there last time; [] at the end."""
        await self._arrived.wait()
        self._arrived.clear()
        return [] if self.ended.is_set() else list(self.held)

    def again(self) -> None:
        """What is held is to be looked at again, though nothing new came."""
        self._arrived.set()

    async def ack(self, upto: Held) -> None:
        """Acknowledge it and all before it, on the channel that delivered it, or not at all.

        Not at all is no harm: what was committed and comes again is known by its identity.
        """
        before = len(self.held)
        while self.held and self.held[0].tag <= upto.tag:
            self.held.popleft()
        if self.lost or self._channel is None or self._channel.is_closed:
            return
        try:
            await self._channel.basic_ack(upto.tag, multiple=True, wait=False)
            self._counts.acked += before - len(self.held)
        except Exception as error:  # the channel closed meanwhile
            log.debug("intake.ack_dropped", queue=self.queue, error=type(error).__name__)

    async def probe(self, timeout: float = 10.0) -> Probe:
        """Ask RabbitMQ about the queue, on another channel than the consumer's."""
        async with asyncio.timeout(timeout):
            channel = await self._underlay(None)
            answer = await channel.queue_declare(self.queue, passive=True)
        return Probe(answer.message_count or 0, answer.consumer_count or 0)

    async def close(self) -> None:
        """Close the queue's own channel first: RabbitMQ takes back what is held, in order. Never a cancel."""
        self.end("closed")
        if self._closed:
            return
        self._closed = True
        await close_in_time(self._shut(), self.queue)

    async def _shut(self) -> None:
        try:
            if self._channel is not None:
                channel = await self._broker.config.channel_manager.get_channel(self._limits)
                await channel.close()
        finally:
            await self._broker.stop()


def held(message: IncomingMessage, queue: str, at: float) -> Held:
    headers = message.headers or {}
    returns = headers.get("x-delivery-count", 0)
    delivery = Delivery(
        body=message.body,
        queue=queue,
        headers=headers,
        content_type=message.content_type,
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to or None,
        timestamp=message.timestamp.timestamp() if message.timestamp else None,
        redelivered=bool(message.redelivered),
    )
    return Held(message.delivery_tag or 0, delivery, at, returns if isinstance(returns, int) else 0)


async def _nothing_left() -> None:
    """FastStream consumes only for a handler; it is never called."""
