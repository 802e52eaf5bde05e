"""A channel on which a whole flight of events leaves in one write and is answered event by event."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache

import pamqp.frame
import structlog
from aiormq import Channel, spec
from aiormq.abc import AbstractConnection, ChannelFrame
from aiormq.exceptions import ChannelAccessRefused
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from worker.broker.link import OPENING
from worker.journal.port import Outgoing
from worker.messages.events import CONTENT_TYPE

log = structlog.get_logger(__name__)

APP_ID = "provisioning-worker"
SHORT = 255  # bytes that AMQP's short texts hold
HEADER, BODY, END = 2, 3, b"\xce"  # kinds of frames, and what ends each
BASIC, PERSISTENT = 60, b"\x02"
# A bit for each property that is there; they follow in this order (AMQP 0-9-1, 4.2.6.1 and the class Basic).
KIND, MODE, CORRELATION, ID, TIMESTAMP, TYPE, APP = (1 << bit for bit in (15, 12, 10, 7, 6, 5, 3))

Answer = tuple[Outgoing, bool]  # the bool: somebody took it


class Inbox(asyncio.Queue[tuple[int, object]]):
    """What RabbitMQ sends on a channel. Most of it needs no waking of the channel's reader."""

    def __init__(self, hear: Callable[[object], bool]) -> None:
        super().__init__()
        self._hear = hear

    async def put(self, item: tuple[int, object]) -> None:
        if not self._hear(item[1]):
            await super().put(item)


class Flights(Channel):
    """With confirms; a returned message is an answer, not an exception (pitfall 8).

    aiormq's `basic_publish` keeps a task, futures and a lock for each message and hands it to the writer alone:
    half of what an event cost. This one hands over a flight at once and keeps a delivery tag for each event.
    Everything else about the channel, its end above all, stays aiormq's.
    """

    def __init__(self, connection: AbstractConnection, number: int, landed: asyncio.Event) -> None:
        """`number`: one that no other channel of the connection has. `landed`: set when nothing is in flight."""
        super().__init__(connection, number, publisher_confirms=True, on_return_raises=False)
        self.in_flight: dict[int, Outgoing] = {}  # by delivery tag, which grow
        self._answers: list[Answer] = []
        self._returned: set[str] = set()
        self._landed = landed
        self.frames = Inbox(self.hear)  # the reader has not run yet
        self._closing.add_done_callback(self._lost)

    @classmethod
    async def on(cls, connection: AbstractConnection, number: int, landed: asyncio.Event) -> Flights:
        channel = cls(connection, number, landed)
        connection.channels[number] = channel
        await channel.open(timeout=OPENING)
        return channel

    async def send(self, events: Sequence[Outgoing]) -> None:
        """None may have the id of another one in flight: a returned message is known by its id alone."""
        framed = [(event, frames) for event in events if (frames := self._frames(event)) is not None]
        if not framed or self.is_closed:
            return
        await self.write_queue.put(ChannelFrame(b"".join(frames for _, frames in framed), False))
        if not self.is_closed:  # else nobody would end their flight
            # No await since they were handed over: no confirm can be there before its tag is known.
            self.in_flight |= enumerate((event for event, _ in framed), start=self.delivery_tag + 1)
            self.delivery_tag += len(framed)

    def answers(self) -> list[Answer]:
        """Those that came since this was asked last."""
        answers, self._answers = self._answers, []
        return answers

    def _frames(self, event: Outgoing) -> bytes | None:
        try:
            return frames(event, self.number, self.max_content_size)
        except (ValueError, TypeError, struct.error) as error:
            # It cannot be put into AMQP, today or later; the event stays in the journal.
            log.error("relay.unpublishable", event_id=event.event_id, error=type(error).__name__)
            self._answers.append((event, False))
            return None

    def hear(self, frame: object) -> bool:
        """Take it in at once; False: it is for the channel's own reader. This channel consumes nothing: content is
        that of a returned message, nobody was there. Its confirm follows and says that RabbitMQ is done with it.
        """
        match frame:
            case spec.Basic.Ack() | spec.Basic.Nack():
                self._confirmed(frame)
            case ContentHeader():
                self._returned.add(str(frame.properties.message_id))
            case spec.Basic.Return() | ContentBody():
                pass
            case _:
                return False
        return True

    def _confirmed(self, frame: spec.Basic.Ack | spec.Basic.Nack) -> None:
        last = frame.delivery_tag or 0
        for tag in [tag for tag in self.in_flight if tag <= last] if frame.multiple else [last]:
            if (event := self.in_flight.pop(tag, None)) is not None:
                self._answer(event, isinstance(frame, spec.Basic.Ack))
        self._say_landed()

    def _answer(self, event: Outgoing, has_it: bool) -> None:
        returned = event.event_id in self._returned
        self._returned.discard(event.event_id)
        if has_it:
            self._answers.append((event, not returned))
        else:
            log.debug("relay.unconfirmed", event_id=event.event_id, error="nack")

    def _lost(self, _: object) -> None:
        """It has closed. What had no answer is to be published again, or can never be."""
        refused = isinstance(self._close_exception, ChannelAccessRefused)
        for event in self.in_flight.values():
            if refused and not event.exchange:
                # Replies that this user may not send are like a queue that is gone: they must not hold up the rest.
                log.error("relay.reply_refused", event_id=event.event_id)
                self._answers.append((event, False))
            else:
                log.debug("relay.unconfirmed", event_id=event.event_id, error="closed")
        self.in_flight.clear()
        self._say_landed()

    def _say_landed(self) -> None:
        if not self.in_flight:
            self._landed.set()


def frames(event: Outgoing, channel: int, most: int) -> bytes:
    """The event as AMQP carries it; `most` bytes of its body in a frame. Raises ValueError and the like if it cannot."""
    header, body = properties(event), event.body
    step = most if most > 0 else max(len(body), 1)  # RabbitMQ may set no limit
    size = struct.pack(">HHQ", BASIC, 0, len(body))
    return b"".join(
        (
            method(channel, event.exchange, event.routing_key),
            frame(HEADER, channel, size + header),
            *(frame(BODY, channel, body[at : at + step]) for at in range(0, len(body), step)),
        )
    )


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + END


@lru_cache(maxsize=1024)
def method(channel: int, exchange: str, routing_key: str) -> bytes:
    """The frame that says where to; there are few such places."""
    publish = spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=True)
    return pamqp.frame.marshal(publish, channel)


def properties(event: Outgoing) -> bytes:
    """Which there are, and then each."""
    correlation, kind = short(event.correlation_id), short(event.type)
    flags = KIND | MODE | ID | TIMESTAMP | APP | (CORRELATION if correlation else 0) | (TYPE if kind else 0)
    return b"".join(
        (
            struct.pack(">H", flags),
            short(CONTENT_TYPE),
            PERSISTENT,
            correlation,
            short_or_fail(event.event_id),
            struct.pack(">Q", int(event.created_at)),
            kind,
            short(APP_ID),
        )
    )


def short(text: str | None) -> bytes:
    """As a property; nothing for one that is too long for it: it stands in the event alone."""
    raw = (text or "").encode()
    return bytes((len(raw),)) + raw if 0 < len(raw) <= SHORT else b""


def short_or_fail(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">B", len(raw)) + raw
