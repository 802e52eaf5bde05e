"""The relay against a real RabbitMQ (rule 6.4); the journal is a small one in memory."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aio_pika
import pytest

from tests.support.amqp import Listener, eventually
from tests.support.fake_journal import FakeJournal
from tests.support.nodes import Node, mortal_rabbit, node
from worker.broker.link import address
from worker.broker.publisher import MOST, MOST_BYTES, Publisher, flights
from worker.broker.relay import Relay, RelayOptions
from worker.broker.topology import AUDIT, RESULTS, declare
from worker.journal.port import Outgoing
from worker.sandbox.rabbitmq import PrivateRabbit

__all__ = ["mortal_rabbit", "node"]

QUICK = RelayOptions(deadline=3, poll=0.1, lease=1.5)


@asynccontextmanager
async def relay(
    url: str, journal: FakeJournal, owner: str = "one", options: RelayOptions = QUICK
) -> AsyncIterator[Relay]:
    it = Relay(address(url), journal, owner, options)
    await it.start()
    try:
        yield it
    finally:
        await it.stop()


def event(row: int, exchange: str = RESULTS, key: str = "sippulse-br.x.succeeded", **more: Any) -> Outgoing:
    event_id = more.pop("event_id", None) or str(uuid.uuid4())
    data = {"sequence": row, "command": {"id": f"c{row}"}}
    body = {"specversion": "1.0", "id": event_id, "source": "/w", "type": "provisioning.command.succeeded.v1"}
    return Outgoing(
        row=row,
        table="audit" if exchange == AUDIT else "outbox",
        exchange=exchange,
        routing_key=key,
        event_id=event_id,
        type=more.pop("type", "provisioning.command.succeeded.v1"),
        body=more.pop("body", None) or json.dumps({**body, "data": data}).encode(),
        correlation_id=more.pop("correlation_id", f"c{row}"),
        created_at=time.time(),
    )


def all_struck(journal: FakeJournal) -> bool:
    return len(journal.taken) == len(journal.outbox)


# ---------------------------------------------------------------- publishing


async def test_rule_6_4_events_are_published_in_order_and_struck_off_by_row(rabbit_url: str):
    journal = FakeJournal()
    journal.outbox = [event(row) for row in range(1200)]
    async with Listener(rabbit_url) as results, relay(rabbit_url, journal) as it:
        await results.until(lambda heard: len(heard) == 1200)
        await eventually(lambda: all_struck(journal))
        assert it.published == 1200
        assert it.returned == 0
        assert it.health().well
    assert [heard.data["sequence"] for heard in results.heard] == list(range(1200))
    assert all(journal.taken.values())


async def test_events_carry_the_promised_properties(rabbit_url: str):
    journal = FakeJournal()
    [sent] = journal.outbox = [event(7)]
    async with Listener(rabbit_url) as results, relay(rabbit_url, journal):
        [heard] = await results.until(lambda heard: heard)
    got = heard.message
    assert heard.routing_key == "sippulse-br.x.succeeded"
    assert heard.body == sent.body
    assert (got.message_id, got.correlation_id) == (sent.event_id, "c7")
    assert (got.content_type, got.type) == ("application/cloudevents+json", sent.type)
    assert got.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert got.app_id == "provisioning-worker"
    assert got.timestamp is not None
    assert abs(got.timestamp.timestamp() - sent.created_at) < 2


async def test_a_correlation_id_too_long_for_amqp_stands_in_the_event_alone(rabbit_url: str):
    journal = FakeJournal()
    journal.outbox = [event(0, correlation_id="ü" * 200), event(1, correlation_id="x" * 255)]
    async with Listener(rabbit_url) as results, relay(rabbit_url, journal):
        heard = await results.until(lambda heard: len(heard) == 2)
    assert [one.message.correlation_id for one in heard] == [None, "x" * 255]


async def test_an_event_that_amqp_cannot_carry_holds_up_nobody(rabbit_url: str):
    journal = FakeJournal()
    journal.outbox = [event(0), event(1, key="k" * 300), event(2, type="\ud800"), event(3)]
    async with Listener(rabbit_url) as results, relay(rabbit_url, journal):
        await results.until(lambda heard: len(heard) == 2)
        await eventually(lambda: all_struck(journal))
    assert journal.taken == {0: True, 1: False, 2: False, 3: True}


async def test_a_wake_up_is_quicker_than_the_poll(rabbit_url: str):
    journal = FakeJournal()
    async with (
        Listener(rabbit_url) as results,
        relay(rabbit_url, journal, options=replace(QUICK, poll=60, lease=600)) as it,
    ):
        await eventually(lambda: journal.asked["unpublished"] >= 1)
        journal.outbox = [event(0)]
        it.wake()
        await results.until(lambda heard: heard, within=30)


async def test_rule_6_5_what_was_written_is_sealed_before_it_is_published(rabbit_url: str):
    journal = FakeJournal()
    journal.to_seal = 1200
    async with relay(rabbit_url, journal, options=replace(QUICK, poll=60)) as it:
        await eventually(lambda: journal.to_seal == 0)
        assert journal.sealed == [500, 500, 200]  # without waiting in between
        assert it.sealed == 1200


# ---------------------------------------------------------------- nobody listens


async def test_rule_6_4_a_returned_event_stops_nothing_and_counts_as_published(rabbit_url: str):
    await declare(address(rabbit_url))
    journal = FakeJournal()
    journal.outbox = [event(row, AUDIT if row % 2 else RESULTS) for row in range(1000)]
    async with Listener(rabbit_url) as results, relay(rabbit_url, journal) as it:
        await eventually(lambda: all_struck(journal))
        await results.until(lambda heard: len(heard) == 500)
        assert journal.taken == {row: row % 2 == 0 for row in range(1000)}
        assert it.returned == 500
        assert it.health().nobody_listens == (AUDIT,)
        assert it.health().well


async def test_rule_6_4_returned_and_taken_events_of_one_burst_are_told_apart(rabbit_url: str):
    """aiormq matches a return by message id alone, and a routing key may be bound or not."""
    journal = FakeJournal()
    journal.outbox = [event(row, key="heard.x" if row % 3 else "unheard.x") for row in range(900)]
    async with Listener(rabbit_url, key="heard.#") as results, relay(rabbit_url, journal):
        await eventually(lambda: all_struck(journal))
        await results.until(lambda heard: len(heard) == 600)
    assert journal.taken == {row: row % 3 != 0 for row in range(900)}


async def test_nobody_listens_is_over_with_the_first_event_that_is_taken(rabbit_url: str):
    journal = FakeJournal()
    journal.outbox = [event(0)]
    async with relay(rabbit_url, journal) as it:
        await eventually(lambda: it.health().nobody_listens == (RESULTS,))
        async with Listener(rabbit_url) as results:
            journal.outbox.append(event(1))
            await results.until(lambda heard: heard)
            await eventually(lambda: it.health().nobody_listens == ())


async def test_rule_6_4_a_reply_to_that_is_gone_is_noted_once(rabbit_url: str):
    journal = FakeJournal()
    async with Listener(rabbit_url) as results, Listener(rabbit_url, exchange=None) as answers:
        same = str(uuid.uuid4())
        journal.outbox = [
            event(0, event_id=same),
            event(1, "", "no.such.queue", event_id=same),
            event(2, event_id="b"),
            event(3, "", answers.queue, event_id="b"),
        ]
        async with relay(rabbit_url, journal) as it:
            await eventually(lambda: all_struck(journal))
            await results.until(lambda heard: len(heard) == 2)
            await answers.until(lambda heard: len(heard) == 1)
            assert it.returned == 1
            assert it.health().nobody_listens == ()
    assert journal.taken == {0: True, 1: False, 2: True, 3: True}


async def test_a_result_repeated_under_the_same_id_is_answered_each_time(rabbit_url: str):
    journal = FakeJournal()
    journal.outbox = [
        event(row, event_id="same", key="unheard.x" if row < 3 else "heard.x") for row in range(6)
    ]
    async with Listener(rabbit_url, key="heard.#") as results, relay(rabbit_url, journal):
        await eventually(lambda: all_struck(journal))
        await results.until(lambda heard: len(heard) == 3)
    assert journal.taken == {0: False, 1: False, 2: False, 3: True, 4: True, 5: True}


def test_a_flight_has_no_id_twice_and_is_bounded():
    row = [event(0, event_id="a"), event(1, "", "q", event_id="a"), event(2, event_id="a"), event(3)]
    assert [[one.row for one in flight] for flight in flights(row)] == [[0, 1], [2, 3]]
    assert [len(flight) for flight in flights([event(n) for n in range(MOST + 1)])] == [MOST, 1]
    big = [event(n, body=b"x" * (MOST_BYTES // 2 + 1)) for n in range(3)]
    assert [len(flight) for flight in flights(big)] == [1, 1, 1]


# ---------------------------------------------------------------- the broker or the journal fails


async def test_rule_6_4_closed_connections_lose_no_event(rabbit: PrivateRabbit, rabbit_url: str):
    journal = FakeJournal()
    vhost = rabbit_url.rpartition("/")[2]
    async with Listener(rabbit_url) as results, relay(rabbit_url, journal):
        for wave in range(5):
            journal.outbox += [event(row) for row in range(wave * 400, wave * 400 + 400)]
            await eventually(lambda wave=wave: len(journal.taken) > wave * 400)
            rabbit.close_connections(vhost)
        await eventually(lambda: all_struck(journal))
        wanted = {one.event_id for one in journal.outbox}
        await results.until(lambda heard: {one.event["id"] for one in heard} == wanted)
    # What was published twice carries the same id; first sights are in order.
    first = list(dict.fromkeys(one.data["sequence"] for one in results.heard))
    assert sorted(first) == list(range(2000))


async def test_rule_6_4_a_killed_broker_loses_no_event(node: Node):
    journal = FakeJournal()
    url = node.url
    async with Listener(url) as results, relay(url, journal) as it:
        journal.outbox = [event(row) for row in range(300)]
        await eventually(lambda: all_struck(journal))
        await asyncio.to_thread(node.rabbit.kill)
        journal.outbox += [event(row) for row in range(300, 600)]
        await eventually(lambda: not it.health().well)
        await asyncio.to_thread(node.rabbit.start)
        await eventually(lambda: all_struck(journal))
        await results.until(lambda heard: len({one.event["id"] for one in heard}) == 600)
        assert it.health().well


async def test_a_deleted_exchange_is_declared_again(rabbit_url: str):
    journal = FakeJournal()
    async with relay(rabbit_url, journal) as it:
        await eventually(lambda: it.health().connected)
        async with await aio_pika.connect(rabbit_url) as connection:
            await (await connection.channel()).exchange_delete(RESULTS)
        journal.outbox = [event(0), event(1, "", "no.such.queue")]
        await eventually(lambda: all_struck(journal))
    assert journal.taken == {0: False, 1: False}


async def test_rule_6_4_during_a_memory_alarm_events_wait_and_none_is_sent_twice(
    node: Node,
):
    url = node.url
    journal = FakeJournal()
    async with Listener(url) as results, relay(url, journal, options=replace(QUICK, deadline=1.0)) as it:
        await eventually(lambda: it.health().connected)
        await asyncio.to_thread(node.rabbit.raise_memory_alarm)
        journal.outbox = [event(row) for row in range(50)]
        await eventually(lambda: it.health().blocked)
        assert "short of memory or disk" in (it.health().ill or "")
        assert results.heard == []
        await asyncio.to_thread(node.rabbit.clear_memory_alarm)
        await eventually(lambda: all_struck(journal))
        await results.until(lambda heard: len(heard) >= 50)
        await eventually(lambda: it.health().well)
        assert len(results.heard) == 50  # not one of them twice, however long the alarm


async def test_the_journal_failing_after_the_confirms_publishes_again_under_the_same_ids(rabbit_url: str):
    journal = FakeJournal()
    strikes: list[int] = []
    strike_off = journal.published

    async def failing(rows: Sequence[tuple[Outgoing, bool]]) -> None:
        strikes.append(len(rows))
        journal.down = len(strikes) == 1
        try:
            await strike_off(rows)
        finally:
            journal.down = False

    journal.published = failing  # type: ignore[method-assign]
    journal.outbox = [event(row) for row in range(20)]
    async with Listener(rabbit_url) as results, relay(rabbit_url, journal):
        await eventually(lambda: all_struck(journal))
        await results.until(lambda heard: len(heard) == 40)
    assert len({one.event["id"] for one in results.heard}) == 20


async def test_a_broker_that_does_not_answer_ends_the_wait_at_the_deadline(node: Node):
    journal = FakeJournal()
    url = node.url
    async with Listener(url) as results, relay(url, journal, options=replace(QUICK, deadline=0.5)) as it:
        await eventually(lambda: it.health().connected)
        pid = node.rabbit.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            journal.outbox = [event(row) for row in range(10)]
            await eventually(lambda: "did not confirm 10 events in 0.5 s" in (it.health().ill or ""))
        finally:
            os.kill(pid, signal.SIGCONT)
        await eventually(lambda: all_struck(journal))
        await results.until(lambda heard: len({one.event["id"] for one in heard}) == 10)


# ---------------------------------------------------------------- one active


async def test_rule_6_4_one_relay_is_active_and_another_takes_over_at_its_stop(rabbit_url: str):
    journal = FakeJournal()
    async with Listener(rabbit_url) as results:
        first = Relay(address(rabbit_url), journal, "first", QUICK)
        await first.start()
        await eventually(lambda: first.health().active)
        async with relay(rabbit_url, journal, "second") as second:
            journal.outbox = [event(row) for row in range(100)]
            await eventually(lambda: all_struck(journal))
            assert (first.published, second.published) == (100, 0)
            assert not second.health().active
            assert second.health().well
            await first.stop()
            journal.outbox += [event(row) for row in range(100, 200)]
            await eventually(lambda: all_struck(journal))
            assert second.published == 100
        await results.until(lambda heard: len(heard) == 200)


async def test_a_relay_whose_lease_was_taken_publishes_no_more(rabbit_url: str):
    journal = FakeJournal()
    async with relay(rabbit_url, journal) as it:
        await eventually(lambda: it.health().active)
        journal.holder = "somebody else"
        await eventually(lambda: not it.health().active)
        asked = journal.asked["keep"]
        journal.outbox = [event(0)]
        it.wake()
        await eventually(lambda: journal.asked["keep"] >= asked + 2)
        assert journal.taken == {}
        assert not it.health().connected


# ---------------------------------------------------------------- what it costs


@pytest.mark.parametrize("somebody_listens", [True, False])
async def test_publishing_an_event_is_cheap(rabbit_url: str, somebody_listens: bool):
    """The target is 0.15 ms of CPU an event; the bound leaves room for a machine that is slow today."""
    await declare(address(rabbit_url))
    async with await aio_pika.connect(rabbit_url) as connection:
        channel = await connection.channel()
        if somebody_listens:
            queue = await channel.declare_queue("test.cheap", durable=True)
            await queue.bind(RESULTS, "#")
        events = [event(row, body=b"x" * 900) for row in range(3000)]
        publisher = await Publisher.open(address(rabbit_url))
        began = cpu()
        answers = await publisher.publish(events, 60)
        spent = (cpu() - began) / len(events) * 1000
        await publisher.close()
    assert len(answers) == 3000
    assert all(taken is somebody_listens for _, taken in answers)
    assert spent < 1.0, f"{spent:.3f} ms of CPU an event"


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
