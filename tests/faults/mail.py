"""The storm's own ends of RabbitMQ: what publishes until it is confirmed, and what hears every event.

Both speak to the broker directly, past the links that the storm cuts, and outlive its kills.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aio_pika
import aio_pika.exceptions
from aio_pika.abc import AbstractIncomingMessage

from tests.faults.history import Exchange, Heard, Sent
from tests.faults.workload import BULK, Event, Message
from tests.support.amqp import message

GONE = (aio_pika.exceptions.AMQPError, ConnectionError, TimeoutError, OSError, RuntimeError)
PATIENCE = 20.0  # seconds for the confirms of a batch; a memory alarm may hold them up as long as it lasts
MOST = 200  # messages under way at once
OURS = ("storm.results", "storm.audit", "storm.bulk")


@dataclass(slots=True)
class Record:
    """What became of one command's publishing."""

    event: Event
    queue: str
    at: float
    times: int = 0
    confirmed: bool = False


class Post:
    """Publishes to one exchange, in order; what is not confirmed is sent again from its place on.

    RabbitMQ takes a prefix of what one connection sends. A repeat therefore never overtakes its original, and
    the order of first arrivals is the order of sending.
    """

    def __init__(self, url: str, exchange: str, began: float) -> None:
        self._url, self._exchange, self._began = url, exchange, began
        self._waiting: asyncio.Queue[Message] = asyncio.Queue()
        self.records: dict[str, Record] = {}
        self.unordered: list[str] = []  # refused by the broker alone, while a later one was taken
        self.unanswered = 0

    def give(self, one: Message) -> None:
        self.unanswered += 1
        self._waiting.put_nowait(one)

    async def run(self) -> None:
        """Until cancelled."""
        left: list[Message] = []
        while True:
            with suppress(*GONE):
                async with await aio_pika.connect(self._url, timeout=5) as connection:
                    channel = await connection.channel(on_return_raises=True)
                    exchange = await channel.get_exchange(self._exchange, ensure=False)
                    while True:
                        left = left or await self._batch()
                        await self._publish(exchange, left)
            await asyncio.sleep(0.3)

    async def _batch(self) -> list[Message]:
        batch = [await self._waiting.get()]
        while len(batch) < MOST and not self._waiting.empty():
            batch.append(self._waiting.get_nowait())
        return batch

    async def _publish(self, exchange: Any, batch: list[Message]) -> None:
        """Takes what is confirmed off the front of `batch`. Raises what kept the rest from it."""
        tries = [asyncio.ensure_future(self._one(exchange, one)) for one in batch]
        answers = await asyncio.gather(*tries, return_exceptions=True)
        failed = [place for place, answer in enumerate(answers) if isinstance(answer, BaseException)]
        done = failed[0] if failed else len(batch)
        if failed and (overtaken := [n for n in range(done, len(batch)) if n not in failed]):
            self.unordered += [str(batch[n].event["id"]) for n in (*failed, *overtaken)]
        del batch[:done]
        self.unanswered -= done
        if failed:
            error = answers[done]
            raise error if isinstance(error, GONE) else ConnectionError(repr(error))

    async def _one(self, exchange: Any, one: Message) -> None:
        event = one.stamped(self._began)
        name = f"{event['id']} {json.dumps(event['data'], sort_keys=True)}"  # one id may stand for two orders
        record = self.records.setdefault(name, Record(event, one.queue, time.time()))
        record.times += 1
        await exchange.publish(_wire(event, one.binary), "storm", mandatory=True, timeout=PATIENCE)
        record.confirmed = True


def _wire(event: Event, binary: bool) -> Any:
    """Structured, or as the CloudEvents SDK writes it: attributes as headers, the data as body."""
    if not binary:
        return message(event)
    attributes = {f"cloudEvents:{name}": value for name, value in event.items() if name != "data"}
    return message(event["data"], "application/json", headers=attributes)


def sent(record: Record) -> Sent:
    event = record.event
    who = subject(event["data"])
    return Sent(
        id=event["id"],
        source=event["source"],
        type=event["type"],
        platform=event["data"].get("platform", ""),
        subscriber=f"{who['username']}@{who['domain']}" if who else "",
        idempotency_key=event.get("idempotencykey") or event["id"],
        data=event["data"],
        at=record.at,
        confirmed=record.confirmed,
        times=record.times,
        expires=_seconds(event.get("expirytime")),
        not_before=_seconds(event.get("notbefore")),
        depends_on=event.get("dependson"),
        queue=record.queue,
    )


def subject(data: dict[str, Any]) -> dict[str, str] | None:
    """The subscriber that it is about; commands of the platform's own name it without braces around."""
    return data.get("subscriber") or (data if "username" in data else None)


def _seconds(rfc3339: str | None) -> float | None:
    return None if rfc3339 is None else datetime.fromisoformat(rfc3339).timestamp()


@dataclass(slots=True)
class Ear:
    """Hears all of an exchange, over a queue that outlives every restart of the broker. `keep`: in `heard`."""

    url: str
    exchange: Exchange
    heard: list[Heard] = field(default_factory=list)
    told: Sequence[Callable[[Heard], None]] = ()
    keep: bool = True
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(*GONE):
                connection = await aio_pika.connect(self.url, timeout=5)
                try:
                    await self._listen(connection)
                finally:
                    with suppress(*GONE):
                        await connection.close()
            await asyncio.sleep(0.3)

    async def _listen(self, connection: Any) -> None:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1000)
        queue = await channel.declare_queue(f"storm.{self.exchange}", durable=True)
        name = f"provisioning.{self.exchange}"
        await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, durable=True)
        await queue.bind(name, "#")
        await queue.consume(self._hear)
        self.ready.set()
        await _lost(connection, channel)

    async def _hear(self, message: AbstractIncomingMessage) -> None:
        event = json.loads(message.body)
        data = event.pop("data")
        about = (data.get("command") or {}).get("id")
        attributes = {name: str(value) for name, value in event.items()}
        one = Heard(
            self.exchange, event["type"], event["id"], about, attributes, data, message.body, time.time()
        )
        if self.keep:
            self.heard.append(one)
        for tell in self.told:
            tell(one)
        with suppress(*GONE):
            await message.ack()


@dataclass(slots=True)
class Copies:
    """Of what a batch sends: it has no ids of ours. `records`: by id; `orders`: where the orders go as well.

    RabbitMQ confirms what all queues have taken: a list that was sent to its end has been taken by the worker's.
    """

    url: str
    orders: dict[str, Event]
    records: dict[str, Record] = field(default_factory=dict)
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(*GONE):
                connection = await aio_pika.connect(self.url, timeout=5)
                try:
                    channel = await connection.channel()
                    queue = await channel.declare_queue("storm.bulk", durable=True)
                    await channel.declare_exchange(BULK, aio_pika.ExchangeType.TOPIC, durable=True)
                    await queue.bind(BULK, "#")
                    await queue.consume(self._take)
                    self.ready.set()
                    await _lost(connection, channel)
                finally:
                    with suppress(*GONE):
                        await connection.close()
            await asyncio.sleep(0.3)

    async def _take(self, message: AbstractIncomingMessage) -> None:
        if b'"batchid"' in message.body:
            event = json.loads(message.body)
            made = Record(event, BULK, time.time(), confirmed=True)
            self.records.setdefault(event["id"], made).times += 1
            self.orders.setdefault(event["id"], event)
        with suppress(*GONE):
            await message.ack()


async def _lost(connection: Any, channel: Any) -> None:
    gone = asyncio.Event()
    connection.close_callbacks.add(lambda *_: gone.set())
    channel.close_callbacks.add(lambda *_: gone.set())
    await gone.wait()


async def depths(url: str) -> dict[str, int]:
    """Messages in the worker's queues and the storm's own that nobody holds."""
    found = {}
    theirs = ("commands", "commands.bulk", "dead")
    async with await aio_pika.connect(url, timeout=5) as connection:
        channel = await connection.channel()
        for name in (*(f"provisioning.{one}" for one in theirs), *OURS):
            queue = await channel.declare_queue(name, passive=True)
            found[name] = queue.declaration_result.message_count or 0
    return found
