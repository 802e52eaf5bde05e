"""Exchanges and queues: the same whoever declares them first (rule 6.2)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelAccessRefused, ChannelPreconditionFailed
from faststream.rabbit import ExchangeType, QueueType, RabbitExchange, RabbitQueue

from worker.broker.link import OPENING, Address, close_in_time, connect

log = structlog.get_logger(__name__)

COMMANDS = "provisioning.commands"
BULK = "provisioning.commands.bulk"
RESULTS = "provisioning.results"
AUDIT = "provisioning.audit"
DEAD = "provisioning.dead"

COMMAND_QUEUES = (COMMANDS, BULK)
OWN_QUEUES = frozenset({COMMANDS, BULK, DEAD})  # nobody may ask for an answer to one of these

DELIVERY_LIMIT = 100
# A dead letter has nowhere further to go, and RabbitMQ 4 drops after 20 returns where nothing is said.
# Not -1: before 4.0 that would be a limit, the smallest.
DEAD_DELIVERY_LIMIT = 1_000_000


class TopologyError(Exception):
    """RabbitMQ has one of our names with other arguments: the text says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Binding:
    queue: RabbitQueue
    exchange: str
    key: str = "#"


def exchanges() -> tuple[RabbitExchange, ...]:
    return tuple(
        RabbitExchange(name, type=ExchangeType.TOPIC, durable=True)
        for name in (COMMANDS, BULK, RESULTS, AUDIT, DEAD)
    )


def command_queue(name: str) -> RabbitQueue:
    """Quorum, one active consumer. What changed its default between 3.10 and 4 is said aloud.

    At-least-once dead-lettering only works with reject-publish; a publisher with confirms sees the refusal.
    """
    return RabbitQueue(
        name,
        queue_type=QueueType.QUORUM,
        durable=True,
        arguments={
            "x-single-active-consumer": True,
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": DEAD,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
            "x-queue-leader-locator": "client-local",
        },
    )


def dead_queue() -> RabbitQueue:
    return RabbitQueue(
        DEAD,
        queue_type=QueueType.QUORUM,
        durable=True,
        arguments={
            "x-delivery-limit": DEAD_DELIVERY_LIMIT,
            "x-overflow": "reject-publish",
            "x-queue-leader-locator": "client-local",
        },
    )


def bindings() -> tuple[Binding, ...]:
    commands = tuple(Binding(command_queue(name), name) for name in COMMAND_QUEUES)
    return (*commands, Binding(dead_queue(), DEAD))


async def declare(where: Address) -> None:
    """Declare everything; what exists already stays as it is.

    Raises TopologyError where a queue or exchange of our name has other arguments, OSError,
    TimeoutError or an aiormq error where RabbitMQ does not answer.
    """
    connection = await connect(where, "topology")
    try:
        async with asyncio.timeout(OPENING):
            await declare_on(connection)
    finally:
        await close_in_time(connection.close(), "topology")


async def declare_on(connection: AbstractConnection) -> None:
    channel = await connection.channel(publisher_confirms=False)
    for exchange in exchanges():
        await _exchange(channel, exchange)
    for binding in bindings():
        await _queue(channel, binding.queue)
        await channel.queue_bind(binding.queue.name, binding.exchange, binding.key)
    await channel.close()


async def _exchange(channel: AbstractChannel, exchange: RabbitExchange) -> None:
    try:
        await channel.exchange_declare(
            exchange.name, exchange_type=exchange.type.value, durable=exchange.durable
        )
    except (ChannelPreconditionFailed, ChannelAccessRefused) as error:
        raise _explained("exchange", exchange.name, error) from None


async def _queue(channel: AbstractChannel, queue: RabbitQueue) -> None:
    try:
        await channel.queue_declare(queue.name, durable=queue.durable, arguments=dict(queue.arguments))
    except (ChannelPreconditionFailed, ChannelAccessRefused) as error:
        raise _explained("queue", queue.name, error) from None


def _explained(what: str, name: str, error: Exception) -> TopologyError:
    said = str(error)
    if isinstance(error, ChannelAccessRefused):
        return TopologyError(
            f"RabbitMQ does not let this user declare the {what} {name} ({said}): give the user the"
            " permissions configure, write and read on provisioning.*"
        )
    remedy = "stop its senders, let it run empty, delete it" if what == "queue" else "delete it"
    return TopologyError(
        f"RabbitMQ has {'a' if what == 'queue' else 'an'} {what} {name} that was declared otherwise ({said}):"
        f" {remedy} (rabbitmqctl {'delete_queue ' + name if what == 'queue' else 'or the management page'}),"
        " and start the worker again, which declares it as it must be"
    )
