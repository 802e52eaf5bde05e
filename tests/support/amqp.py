"""Sending commands and hearing events, as any other program would: plain aio-pika, no code of the worker."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

STRUCTURED = "application/cloudevents+json"


async def eventually(
    check: Callable[[], Any], within: float = 60.0, every: float = 0.02, what: str = ""
) -> Any:
    """The first true answer of `check`, which may be a coroutine function. Fails after `within` seconds."""
    until = time.monotonic() + within
    while True:
        answer = check()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return answer
        if time.monotonic() > until:
            raise AssertionError(f"not within {within:.0f} s: {what or check}")
        await asyncio.sleep(every)


def command(
    type: str = "subscriber.block.v1",
    data: Mapping[str, Any] | None = None,
    *,
    id: str | None = None,
    source: str = "/tests",
    **attributes: Any,
) -> dict[str, Any]:
    """A command as a CloudEvent in structured mode; `attributes` are further ones, e.g. priority="high"."""
    if data is None:
        data = {"platform": "sippulse-br", "subscriber": {"username": "joao", "domain": "sip.example"}}
    return {
        "specversion": "1.0",
        "id": id or str(uuid.uuid4()),
        "source": source,
        "type": type,
        "data": data,
        **attributes,
    }


def message(body: Mapping[str, Any] | bytes, content_type: str = STRUCTURED, **properties: Any) -> Any:
    """An AMQP message, persistent; `properties` are aio_pika.Message's: reply_to, headers, message_id ..."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return aio_pika.Message(
        raw, content_type=content_type, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, **properties
    )


class Sender:
    """`async with Sender(url) as sender: await sender.send(command(...))`: returns once RabbitMQ has it."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> Self:
        self._connection = await aio_pika.connect(self._url)
        self._channel = await self._connection.channel(on_return_raises=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.close()

    async def send(
        self, body: Mapping[str, Any] | bytes, queue: str = "provisioning.commands", **properties: Any
    ) -> None:
        await self.send_all([message(body, **properties)], queue)

    async def send_all(self, messages: Iterable[Any], queue: str = "provisioning.commands") -> None:
        """Messages made by `message`, or bodies; their order is kept, their confirms are awaited together."""
        ready = [one if isinstance(one, aio_pika.Message) else message(one) for one in messages]
        exchange = await self._channel.get_exchange(queue, ensure=False)
        await asyncio.gather(*(exchange.publish(one, "test", mandatory=True, timeout=60) for one in ready))


async def declare_like_the_worker(url: str, exchange: str) -> None:
    """An exchange of the worker's, for tests that listen before it has started."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_exchange(exchange, aio_pika.ExchangeType.TOPIC, durable=True)


@dataclass(frozen=True, slots=True)
class Heard:
    """One event as it came."""

    routing_key: str
    event: dict[str, Any]
    body: bytes = field(repr=False)
    message: AbstractIncomingMessage = field(repr=False)

    @property
    def type(self) -> str:
        return str(self.event["type"])

    @property
    def data(self) -> dict[str, Any]:
        return dict(self.event["data"])


class Listener:
    """Collects the events of one exchange (`results` by default), or of a queue of its own for `reply_to`.

    `async with Listener(url) as results: ... await results.until(lambda heard: len(heard) == 3)`
    """

    def __init__(self, url: str, exchange: str | None = "provisioning.results", key: str = "#") -> None:
        self.heard: list[Heard] = []
        self.queue = f"test.{uuid.uuid4().hex}"
        self._url = url
        self._exchange = exchange
        self._key = key

    async def __aenter__(self) -> Self:
        self._connection = await aio_pika.connect_robust(self._url)
        channel = await self._connection.channel()
        await channel.set_qos(prefetch_count=1000)
        # Durable: it outlives a broker that is restarted in the middle of a test.
        queue = await channel.declare_queue(self.queue, durable=True)
        if self._exchange is not None:
            await channel.declare_exchange(self._exchange, aio_pika.ExchangeType.TOPIC, durable=True)
            await queue.bind(self._exchange, self._key)
        await queue.consume(self._hear)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.close()

    async def _hear(self, message: AbstractIncomingMessage) -> None:
        self.heard.append(Heard(message.routing_key or "", json.loads(message.body), message.body, message))
        await message.ack()

    def of(self, command_id: str) -> list[Heard]:
        """The events about one command."""
        return [one for one in self.heard if (one.data.get("command") or {}).get("id") == command_id]

    async def until(self, enough: Callable[[list[Heard]], Any], within: float = 60.0) -> list[Heard]:
        await eventually(lambda: enough(self.heard), within, what=f"{len(self.heard)} events heard so far")
        return self.heard


async def depth(url: str, queue: str) -> int:
    """Messages of a queue that nobody holds."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        declared = await channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0
