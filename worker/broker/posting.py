"""One message to a command queue, for an operator's act: with a confirm, and taken by a queue."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiormq import spec
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import AMQPError

from worker.broker.link import Address, close_in_time, confirming, connect
from worker.broker.topology import COMMAND_QUEUES, COMMANDS
from worker.journal.quarantine.resending import Unsent


class CommandPost:
    """Opens a connection for each message: acts of people are few, and none is held for them."""

    def __init__(self, where: Address, deadline: float = 30.0) -> None:
        """`deadline`: seconds that opening, publishing and its confirm may take in all."""
        self._where, self._deadline = where, deadline

    async def send(
        self, queue: str, body: bytes, headers: Mapping[str, str], content_type: str, reply_to: str | None
    ) -> str:
        """See `resending.Post`."""
        wanted = queue if queue in COMMAND_QUEUES else COMMANDS
        properties = spec.Basic.Properties(
            headers=dict(headers), content_type=content_type, delivery_mode=2, reply_to=reply_to
        )
        try:
            async with asyncio.timeout(self._deadline):
                await self._publish(wanted, body, properties)
        except TimeoutError:
            raise Unsent(
                "RabbitMQ did not confirm in time: it may have the message; sent again it runs once, under the same id"
            ) from None
        except (AMQPError, OSError) as error:
            raise Unsent(
                f"RabbitMQ did not take the message ({type(error).__name__}); send it again once it answers"
            ) from None
        return wanted

    async def _publish(self, queue: str, body: bytes, properties: spec.Basic.Properties) -> None:
        connection = await connect(self._where, "operator")
        try:
            channel = await confirming(connection)
            answer = await channel.basic_publish(
                body, exchange="", routing_key=queue, properties=properties, mandatory=True
            )
        finally:
            await close_in_time(connection.close(), "operator")
        if isinstance(answer, DeliveredMessage):
            raise Unsent(f"{queue}: no queue takes it; start `worker run`, which declares it")
