"""The way into the bulk queue: many messages at once, each confirmed, over a connection that is made again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from aiormq import Channel, spec
from aiormq.abc import AbstractConnection, DeliveredMessage
from aiormq.exceptions import AMQPError, ChannelNotFoundEntity

from worker.messages.envelope import STRUCTURED

EXCHANGE = "provisioning.commands.bulk"
APP_ID = "provisioning-worker"
PATIENCE = 120.0  # seconds that RabbitMQ may be away, or refuse, before the run gives up
CONFIRM = 30.0  # seconds for the confirms of one flight
FLIGHT = 300  # messages in flight


class BulkGone(Exception):
    """RabbitMQ does not take messages; the sentence says why. What was not confirmed may have arrived."""


@dataclass(frozen=True, slots=True)
class Message:
    id: str
    type: str
    key: str  # routing key: the platform
    body: bytes = field(repr=False)


class Bulk:
    """`connect` opens a connection to RabbitMQ; it is called again whenever one is lost."""

    def __init__(
        self, connect: Callable[[], Awaitable[AbstractConnection]], patience: float = PATIENCE
    ) -> None:
        self._connect = connect
        self._patience = patience
        self._connection: AbstractConnection | None = None
        self._channel: Channel | None = None

    async def publish(self, messages: Sequence[Message]) -> None:
        """Returns when RabbitMQ has them all. Raises BulkGone. The order is kept: a dependent comes later."""
        for start in range(0, len(messages), FLIGHT):
            await self._flight(messages[start : start + FLIGHT])

    async def _flight(self, messages: Sequence[Message]) -> None:
        """Again as a whole until all are confirmed: a message that comes twice is the same message."""
        until = asyncio.get_running_loop().time() + self._patience
        wait = 0.2
        while True:
            try:
                await self._try(messages)
                return
            except ChannelNotFoundEntity:
                await self.close()
                raise BulkGone(
                    f"RabbitMQ has no exchange {EXCHANGE}: start `worker run`, which declares it"
                ) from None
            except (AMQPError, OSError, TimeoutError, asyncio.InvalidStateError) as error:
                await self.close()
                if asyncio.get_running_loop().time() > until:
                    raise BulkGone(f"RabbitMQ does not take messages ({type(error).__name__})") from None
            await asyncio.sleep(wait)
            wait = min(wait * 2, 5.0)

    async def _try(self, messages: Sequence[Message]) -> None:
        channel = await self._opened()
        async with asyncio.timeout(CONFIRM):
            answers = await asyncio.gather(
                *(self._send(channel, one) for one in messages), return_exceptions=True
            )
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            if isinstance(answer, DeliveredMessage):
                raise BulkGone(f"{EXCHANGE}: no queue takes it; start `worker run`, which declares it")

    async def _send(self, channel: Channel, one: Message) -> Any:
        return await channel.basic_publish(
            one.body,
            exchange=EXCHANGE,
            routing_key=one.key,
            properties=spec.Basic.Properties(
                message_id=one.id,
                content_type=STRUCTURED,
                message_type=one.type,
                timestamp=datetime.now(UTC),
                app_id=APP_ID,
                delivery_mode=2,
            ),
            mandatory=True,
            wait=False,
        )

    async def _opened(self) -> Channel:
        if self._channel is None or self._channel.is_closed:
            await self.close()
            self._connection = await self._connect()
            opened = await self._connection.channel(publisher_confirms=True, on_return_raises=False)
            self._channel = cast(Channel, opened)
        return self._channel

    async def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(Exception):  # it is being given up
                await asyncio.wait_for(connection.close(), 5.0)
