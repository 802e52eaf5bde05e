"""Events as AMQP carries them, and what each kind of confirm says of those in flight (rule 6.4)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pamqp.frame
import pytest
from aiormq import spec
from aiormq.base import FutureStore
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from worker.broker.flights import Flights, frames
from worker.journal.port import Outgoing

MOST = 1000  # bytes of a body in a frame


def event(number: int = 1, exchange: str = "provisioning.results", **more: Any) -> Outgoing:
    facts: dict[str, Any] = {
        "row": number,
        "table": "outbox",
        "exchange": exchange,
        "routing_key": "sippulse-br.calls.succeeded",
        "event_id": f"e{number}",
        "type": "provisioning.command.succeeded.v1",
        "body": b"{}",
        "correlation_id": "größe",
        "created_at": 1_700_000_000.9,
    }
    return Outgoing(**{**facts, **more})


def in_pamqp_s_words(event: Outgoing, channel: int) -> bytes:
    properties = spec.Basic.Properties(
        message_id=event.event_id,
        correlation_id=event.correlation_id,
        content_type="application/cloudevents+json",
        message_type=event.type,
        timestamp=datetime.fromtimestamp(int(event.created_at), UTC),
        app_id="provisioning-worker",
        delivery_mode=2,
    )
    publish = spec.Basic.Publish(exchange=event.exchange, routing_key=event.routing_key, mandatory=True)
    bodies = [ContentBody(event.body[at : at + MOST]) for at in range(0, len(event.body), MOST)]
    whole = [publish, ContentHeader(body_size=len(event.body), properties=properties), *bodies]
    return b"".join(pamqp.frame.marshal(each, channel) for each in whole)


@pytest.mark.parametrize(
    "one",
    [
        event(),
        event(correlation_id=None),
        event(correlation_id="", type=""),
        event(exchange="", routing_key="replies"),
        event(body=b""),
        event(body=b"x" * MOST),
        event(body=b"x" * (2 * MOST + 1)),
        event(event_id="i" * 255, correlation_id="c" * 255),
    ],
    ids=repr,
)
def test_an_event_is_framed_as_the_library_would_frame_it(one: Outgoing):
    assert frames(one, 2, MOST) == in_pamqp_s_words(one, 2)


@pytest.fixture
async def channel() -> Flights:
    """One whose connection is nobody."""
    store = FutureStore(asyncio.get_running_loop())
    nobody = SimpleNamespace(
        loop=store.loop,
        publisher_confirms=True,
        connection_tune=SimpleNamespace(frame_max=131072),
        write_queue=asyncio.Queue(),
        is_opened=False,
        _future_store_child=store.get_child,
    )
    return Flights(cast(Any, nobody), 1, asyncio.Event())


def told(channel: Flights) -> dict[int, bool]:
    return {one.row: taken for one, taken in channel.answers()}


async def test_a_flight_leaves_in_one_write_and_keeps_its_tags(channel: Flights):
    await channel.send([event(1), event(2)])
    await channel.send([event(3)])
    assert channel.write_queue.qsize() == 2
    assert {tag: one.row for tag, one in channel.in_flight.items()} == {1: 1, 2: 2, 3: 3}


async def test_a_confirm_of_several_names_all_up_to_its_tag_and_no_other(channel: Flights):
    await channel.send([event(number) for number in range(1, 6)])
    channel.hear(spec.Basic.Ack(4))
    channel.hear(spec.Basic.Ack(2, multiple=True))
    assert told(channel) == {4: True, 1: True, 2: True}
    assert list(channel.in_flight) == [3, 5]
    assert not channel._landed.is_set()
    channel.hear(spec.Basic.Ack(5, multiple=True))
    assert told(channel) == {3: True, 5: True}
    assert channel._landed.is_set()


async def test_what_came_back_counts_as_published_once_its_confirm_has_come(channel: Flights):
    await channel.send([event(1, body=b"x" * 10), event(2)])
    back = ContentHeader(body_size=10, properties=spec.Basic.Properties(message_id="e1"))
    for frame in (spec.Basic.Return(312, "NO_ROUTE", "r", "k"), back, ContentBody(b"x" * 10)):
        await channel.frames.put((1, frame))
    assert told(channel) == {}
    await channel.frames.put((1, spec.Basic.Ack(2, multiple=True)))
    assert told(channel) == {1: False, 2: True}
    assert channel.frames.empty()


async def test_what_rabbitmq_could_not_keep_has_no_answer(channel: Flights):
    await channel.send([event(1), event(2)])
    channel.hear(spec.Basic.Nack(1))
    channel.hear(spec.Basic.Ack(2))
    assert told(channel) == {2: True}
    assert not channel.in_flight


async def test_what_cannot_be_framed_takes_no_tag_from_the_others(channel: Flights):
    await channel.send([event(1), event(2, routing_key="k" * 300), event(3)])
    assert {tag: one.row for tag, one in channel.in_flight.items()} == {1: 1, 2: 3}
    assert told(channel) == {2: False}


async def test_replies_that_may_not_be_sent_do_not_hold_up_the_rest(channel: Flights):
    await channel.send([event(1, exchange=""), event(2)])
    channel._close_exception = ChannelAccessRefused("no")
    await channel.close(channel._close_exception)
    await asyncio.wait_for(channel._landed.wait(), 5)
    assert told(channel) == {1: False}
    assert not channel.in_flight


async def test_a_channel_that_closed_knows_nothing_of_what_was_in_flight_and_takes_no_more(channel: Flights):
    await channel.send([event(1)])
    channel._close_exception = ChannelNotFoundEntity("gone")
    await channel.close(channel._close_exception)
    await asyncio.wait_for(channel._landed.wait(), 5)
    await channel.send([event(2)])
    assert told(channel) == {}
    assert not channel.in_flight
