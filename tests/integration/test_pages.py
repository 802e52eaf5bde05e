"""Pages of a long answer, published to a real RabbitMQ."""

from __future__ import annotations

import asyncio
import json
import os
import signal

from tests.support.amqp import Listener, eventually
from tests.support.nodes import Node, mortal_rabbit, node
from worker.broker.link import address
from worker.broker.pages import PagePublisher
from worker.messages.events import View, page

__all__ = ["mortal_rabbit", "node"]


def made(reply_to: str, number: int = 1, rows: int = 1):
    view = View("order-1", "/crm", "call_records.list.v1", "k", "sip-br", "sip-br:x", reply_to=reply_to)
    return page(view, "/worker", number, [b'{"id":1}'] * rows, last=False)


async def test_a_page_reaches_the_queue_in_reply_to_and_is_confirmed(rabbit_url: str):
    pages = PagePublisher(address(rabbit_url))
    async with Listener(rabbit_url, exchange=None) as inbox:
        assert await asyncio.gather(*(pages.send(made(inbox.queue, n)) for n in range(1, 21))) == [True] * 20
        await inbox.until(lambda heard: len(heard) == 20)
    first = min(inbox.heard, key=lambda one: one.data["page"])
    assert first.type == first.message.type == "provisioning.command.page.v1"
    assert first.message.message_id == first.event["id"]
    assert first.message.correlation_id == "order-1"
    assert json.loads(first.body)["data"]["rows"] == [{"id": 1}]
    await pages.close()


async def test_a_page_for_a_queue_that_is_gone_is_taken_by_nobody(rabbit_url: str):
    pages = PagePublisher(address(rabbit_url))
    assert await pages.send(made("there.is.no.such.queue")) is False
    await pages.close()


async def test_a_page_goes_out_once_rabbitmq_is_back_over_a_new_connection(node: Node):
    pages = PagePublisher(address(node.url), deadline=3.0)
    async with Listener(node.url, exchange=None) as inbox:
        assert await pages.send(made(inbox.queue, 1))
        await asyncio.to_thread(node.rabbit.kill)
        assert await pages.send(made(inbox.queue, 2)) is None
        await asyncio.to_thread(node.rabbit.start)

        async def again() -> bool:
            return bool(await pages.send(made(inbox.queue, 2)))

        await eventually(again, what="a page after the restart")
        await inbox.until(lambda heard: {one.data["page"] for one in heard} >= {1, 2})
    await pages.close()


async def test_a_frozen_rabbitmq_costs_a_page_its_deadline_and_no_more(node: Node):
    pages = PagePublisher(address(node.url), deadline=0.5)
    assert await pages.send(made("there.is.no.such.queue")) is False
    assert node.rabbit.pid
    os.kill(node.rabbit.pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(20):
            assert await pages.send(made("there.is.no.such.queue")) is None
    finally:
        os.kill(node.rabbit.pid, signal.SIGCONT)
    await pages.close()
