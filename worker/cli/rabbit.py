"""Publishing from the command line: with a confirm, and to somebody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from worker.cli.context import UNREACHABLE, Fault, reason

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractConnection
    from aio_pika.message import Message

    from worker.settings import Settings

OPENING = 10.0  # seconds
CONFIRM = 30.0  # seconds that RabbitMQ may take to confirm


@asynccontextmanager
async def connection_of(settings: Settings) -> AsyncIterator[AbstractConnection]:
    """Raises Fault when RabbitMQ does not let us in."""
    import aio_pika

    from worker.bootstrap import broker_address

    where = broker_address(settings)
    try:
        connection = await aio_pika.connect(
            where.named("command line"), ssl_context=where.context, timeout=OPENING
        )
    except Exception as error:
        raise Fault(
            f"RabbitMQ at {settings.broker.shown} cannot be reached ({reason(error)}): see broker.url",
            UNREACHABLE,
        ) from None
    try:
        yield connection
    finally:
        await connection.close()


async def publish(channel: AbstractChannel, exchange: str, key: str, message: Message) -> None:
    """Returns when RabbitMQ has it and a queue took it. The channel raises for what is returned."""
    from aio_pika.exceptions import AMQPError, DeliveryError

    try:
        target = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
        await target.publish(message, key, mandatory=True, timeout=CONFIRM)
    except DeliveryError:
        raise Fault(f"{exchange or key}: no queue takes it; start `worker run`, which declares it") from None
    except TimeoutError:
        raise Fault(
            "RabbitMQ did not confirm in time: it may have the message; send it again under the same id",
            UNREACHABLE,
        ) from None
    except (AMQPError, ConnectionError) as error:
        if "NOT_FOUND" in str(error):
            raise Fault(
                f"RabbitMQ has no exchange {exchange}: start `worker run`, which declares it"
            ) from None
        raise Fault(f"RabbitMQ did not take the message ({reason(error)})", UNREACHABLE) from None
