"""Exchanges and queues on a real RabbitMQ (rule 6.2)."""

from __future__ import annotations

import asyncio

import aio_pika
import pytest

from tests.support.amqp import Sender, command, depth
from worker.broker.link import address
from worker.broker.topology import DEAD, OWN_QUEUES, TopologyError, command_queue, declare
from worker.sandbox.rabbitmq import PrivateRabbit


async def test_declaring_again_and_at_the_same_time_changes_nothing(rabbit_url: str):
    where = address(rabbit_url)
    await asyncio.gather(*(declare(where) for _ in range(4)))
    await declare(where)
    async with Sender(rabbit_url) as sender:
        await sender.send(command())
        await sender.send(command(), "provisioning.commands.bulk")
    assert await depth(rabbit_url, "provisioning.commands") == 1
    assert await depth(rabbit_url, "provisioning.commands.bulk") == 1


async def test_rule_6_2_command_queues_are_what_the_rule_says(rabbit: PrivateRabbit, rabbit_url: str):
    await declare(address(rabbit_url))
    vhost = rabbit_url.rpartition("/")[2]
    listed = rabbit.ctl("list_queues", "-p", vhost, "name", "type", "durable", "arguments")
    [line] = [line for line in listed.splitlines() if line.startswith("provisioning.commands\t")]
    for fact in (
        "quorum",
        "true",
        '"x-single-active-consumer",true',
        '"x-delivery-limit",100',
        '"x-dead-letter-exchange","provisioning.dead"',
        '"x-dead-letter-strategy","at-least-once"',
        '"x-overflow","reject-publish"',
    ):
        assert fact in line


async def test_rule_6_2_exchanges_are_durable_topics_without_arguments(
    rabbit: PrivateRabbit, rabbit_url: str
):
    await declare(address(rabbit_url))
    vhost = rabbit_url.rpartition("/")[2]
    listed = rabbit.ctl("list_exchanges", "-p", vhost, "name", "type", "durable", "arguments")
    ours = sorted(line for line in listed.splitlines() if line.startswith("provisioning."))
    names = ("audit", "commands", "commands.bulk", "dead", "results")
    assert ours == [f"provisioning.{name}\ttopic\ttrue\t[]" for name in names]


async def test_what_the_delivery_limit_ends_is_kept_as_a_dead_letter(rabbit_url: str):
    await declare(address(rabbit_url))
    async with Sender(rabbit_url) as sender, await aio_pika.connect(rabbit_url) as connection:
        await sender.send(command())
        channel = await connection.channel()
        queue = await channel.declare_queue("provisioning.commands", passive=True)

        async def give_back(got: aio_pika.abc.AbstractIncomingMessage) -> None:
            await got.nack(requeue=True)

        await queue.consume(give_back)
        dead = await channel.declare_queue(DEAD, passive=True)
        letter = None
        async with asyncio.timeout(30):
            while letter is None:
                letter = await dead.get(fail=False)
        assert letter.headers["x-first-death-reason"] == "delivery_limit"
        await letter.ack()


async def test_a_queue_declared_otherwise_stops_the_start_with_a_sentence(rabbit_url: str):
    async with await aio_pika.connect(rabbit_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("provisioning.commands", durable=True)
    with pytest.raises(TopologyError) as caught:
        await declare(address(rabbit_url))
    said = str(caught.value)
    assert "queue provisioning.commands" in said
    assert "rabbitmqctl delete_queue provisioning.commands" in said
    assert "inequivalent arg" in said


async def test_an_exchange_declared_otherwise_stops_the_start_with_a_sentence(rabbit_url: str):
    async with await aio_pika.connect(rabbit_url) as connection:
        channel = await connection.channel()
        await channel.declare_exchange("provisioning.results", aio_pika.ExchangeType.FANOUT, durable=True)
    with pytest.raises(TopologyError, match=r"exchange provisioning\.results"):
        await declare(address(rabbit_url))


def test_the_address_never_shows_its_password():
    where = address("amqp://worker:s3cr3t@127.0.0.1:1/")
    assert "s3cr3t" not in repr(where)


def test_every_queue_that_the_worker_reads_is_known_as_its_own():
    assert {"provisioning.commands", "provisioning.commands.bulk", "provisioning.dead"} == OWN_QUEUES


def test_a_full_queue_refuses_rather_than_drops():
    assert command_queue("q").arguments["x-overflow"] == "reject-publish"
