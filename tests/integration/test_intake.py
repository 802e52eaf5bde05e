"""Intake against a real RabbitMQ (rules 4.3, 6.1, 6.3); the journal is a small one in memory."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aio_pika
import pytest

from tests.support.amqp import Sender, command, depth, eventually, message
from tests.support.fake_journal import FakeJournal
from tests.support.nodes import Node, mortal_rabbit, node
from worker.broker.consumer import Options
from worker.broker.intake import Intake, groups
from worker.broker.link import Address, address
from worker.broker.session import Held
from worker.broker.topology import BULK, COMMANDS, declare
from worker.domain.effect import Risk
from worker.journal.port import Arrival, NewCommand, Refusal
from worker.messages.envelope import Delivery, Envelope, read
from worker.messages.errors import Code
from worker.sandbox.rabbitmq import PrivateRabbit

__all__ = ["mortal_rabbit", "node"]

QUICK = Options(prefetch=100, hold=600, look=0.1, check=0.5, stall=3, grace=10)


class PlainReader:
    """Takes everything that is a CloudEvent for a command; what a command may be is tested elsewhere."""

    def arrival(self, delivery: Delivery) -> Arrival:
        envelope = read(delivery, 262144)
        item: NewCommand | Refusal
        if isinstance(envelope, Envelope):
            item = NewCommand(envelope, "sippulse-br", "key", Risk.CLAIM)
        else:
            item = Refusal(
                envelope.problem, envelope.known, delivery.body, delivery.queue, reply_to=delivery.reply_to
            )
        return Arrival(item, delivery.body, delivery.queue, delivery.headers)


@asynccontextmanager
async def intake(
    url: str | Address, journal: FakeJournal, queue: str = COMMANDS, options: Options = QUICK, **more: Any
) -> AsyncIterator[Intake]:
    where = url if isinstance(url, Address) else address(url)
    one = Intake(where, queue, journal, PlainReader(), options=options, **more)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


def numbered(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [command(id=f"c{number}") for number in range(start, start + count)]


def ids(count: int) -> list[str]:
    return [f"c{number}" for number in range(count)]


async def fill(url: str, bodies: list[Any], queue: str = COMMANDS) -> None:
    await declare(address(url))
    async with Sender(url) as sender:
        await sender.send_all(bodies, queue)


async def consuming(one: Intake) -> None:
    await eventually(lambda: one.health().consumer.consuming, what="the intake consumes")


# ---------------------------------------------------------------- order and acknowledgement


async def test_rule_4_3_a_queue_that_was_full_before_the_start_arrives_in_order(rabbit_url: str):
    await fill(rabbit_url, numbered(1500))
    journal = FakeJournal()
    async with intake(rabbit_url, journal):
        await eventually(lambda: len(journal.order) == 1500)
    assert journal.order == ids(1500)


async def test_rule_6_1_all_that_has_come_goes_in_one_commit_and_is_acked_once(rabbit_url: str):
    await fill(rabbit_url, numbered(300))
    journal = FakeJournal()
    journal.gate.clear()
    async with intake(rabbit_url, journal) as one:
        await eventually(lambda: one.delivered >= 100)  # the prefetch: no more comes unacked
        journal.gate.set()
        await eventually(lambda: one.acked == 300)
        assert sum(journal.commits[:2]) == 100  # the first few, then all that came while they were committed
    assert journal.order == ids(300)
    assert await depth(rabbit_url, COMMANDS) == 0


async def test_rule_6_1_nothing_is_acked_before_its_commit(rabbit_url: str):
    await fill(rabbit_url, numbered(5))
    journal = FakeJournal()
    journal.gate.clear()
    one = Intake(address(rabbit_url), COMMANDS, journal, PlainReader(), options=replace(QUICK, grace=0.2))
    await one.start()
    await journal.in_commit.wait()
    await eventually(lambda: one.delivered == 5)
    assert one.acked == 0
    await one.stop()  # the commit hangs: the messages go back
    assert one.acked == 0
    assert await depth(rabbit_url, COMMANDS) == 5


async def test_the_commit_in_hand_is_finished_and_acked_at_a_stop(rabbit_url: str):
    await fill(rabbit_url, numbered(3))
    journal = FakeJournal()
    journal.gate.clear()
    one = Intake(address(rabbit_url), COMMANDS, journal, PlainReader(), options=QUICK)
    await one.start()
    await eventually(lambda: one.delivered == 3)
    await journal.in_commit.wait()
    stopping = asyncio.create_task(one.stop())
    await eventually(lambda: not one.health().consumer.consuming)
    journal.gate.set()
    await stopping
    left = await depth(rabbit_url, COMMANDS)
    assert len(journal.order) + left == 3
    assert one.acked == len(journal.order) >= 1


async def test_rule_6_1_at_a_stop_the_rest_goes_back_in_order_and_nothing_is_nacked_or_cancelled(
    rabbit_url: str,
):
    await fill(rabbit_url, numbered(250))
    journal = FakeJournal()
    journal.extra_waiting = 10
    stuck = FakeJournal()
    stuck.gate.clear()
    first = Intake(address(rabbit_url), COMMANDS, stuck, PlainReader(), options=replace(QUICK, grace=0.1))
    await first.start()
    await eventually(lambda: first.delivered == 100)
    async with intake(rabbit_url, journal) as stand_by:
        await consuming(stand_by)
        assert journal.order == []  # one active consumer
        await first.stop()
        await eventually(lambda: len(journal.order) == 250)
    assert journal.order == ids(250)


async def test_rule_6_1_each_queue_has_a_connection_of_its_own(rabbit: PrivateRabbit, rabbit_url: str):
    journal = FakeJournal()
    async with intake(rabbit_url, journal) as first, intake(rabbit_url, journal, BULK) as second:
        await consuming(first)
        await consuming(second)
        vhost = rabbit_url.rpartition("/")[2]
        consumers = rabbit.ctl("list_consumers", "-p", vhost, "queue_name", "prefetch_count").splitlines()
        assert sorted(line for line in consumers if line.startswith("provisioning")) == [
            "provisioning.commands\t100",
            "provisioning.commands.bulk\t100",
        ]
        connections = rabbit.ctl("list_connections", "vhost").splitlines()
        assert connections.count(vhost) == 2


async def test_a_reply_address_gets_nothing_from_intake_itself(rabbit_url: str):
    """FastStream would answer by itself, with an empty message (pitfall 24)."""
    async with await aio_pika.connect(rabbit_url) as connection:
        channel = await connection.channel()
        answers = await channel.declare_queue("test.answers", durable=True)
        await fill(rabbit_url, [message(command(id="c0"), reply_to="test.answers")])
        journal = FakeJournal()
        async with intake(rabbit_url, journal) as one:
            await eventually(lambda: one.acked == 1)
        assert await answers.get(fail=False) is None


# ---------------------------------------------------------------- the journal fails, or is full


async def test_rule_6_1_it_consumes_only_while_the_journal_answers(rabbit_url: str):
    await fill(rabbit_url, numbered(5))
    journal = FakeJournal()
    journal.down = True
    async with intake(rabbit_url, journal) as one:
        await eventually(lambda: journal.asked["waiting"] >= 2)
        assert one.delivered == 0
        assert "journal" in (one.health().consumer.ill or "")
        journal.down = False
        await eventually(lambda: journal.order == ids(5))
        assert one.health().well


async def test_rule_6_1_while_the_journal_fails_one_prefetch_is_held_and_then_admitted(rabbit_url: str):
    await fill(rabbit_url, numbered(50))
    journal = FakeJournal()
    async with intake(rabbit_url, journal) as one:
        await eventually(lambda: len(journal.order) == 50)
        journal.down = True
        await fill(rabbit_url, numbered(300, start=50))
        await eventually(lambda: one.health().consumer.held == 100)
        assert not one.health().well
        assert one.acked == 50
        journal.down = False
        await eventually(lambda: one.acked == 350)
        assert one.redelivered == 0
        assert one.rebuilt == 0
    assert journal.order == ids(350)


async def test_rule_6_1_before_the_acknowledgement_timeout_all_goes_back_in_order(rabbit_url: str):
    journal = FakeJournal()
    async with intake(rabbit_url, journal, options=replace(QUICK, hold=1.0)) as one:
        await consuming(one)
        journal.down = True
        await fill(rabbit_url, numbered(250))
        await eventually(lambda: one.delivered == 100)
        await eventually(lambda: not one.health().consumer.connected)
        await eventually(lambda: depth_is(rabbit_url, 250))
        journal.down = False
        await eventually(lambda: len(journal.order) == 250)
        assert one.rebuilt == 1
        assert one.redelivered == 100
    assert journal.order == ids(250)


async def depth_is(url: str, expected: int) -> bool:
    return await depth(url, COMMANDS) == expected


async def test_rule_6_1_p10_a_full_journal_pauses_intake_until_it_has_room(rabbit_url: str):
    await fill(rabbit_url, numbered(700))
    journal = FakeJournal()
    async with intake(rabbit_url, journal, max_waiting=200) as one:
        await eventually(lambda: one.health().consumer.paused)
        await eventually(lambda: one.health().consumer.held == 100)
        assert 200 <= len(journal.order) <= 299  # at most one batch beyond
        assert "max_waiting is 200" in (one.health().consumer.paused or "")
        assert one.health().well
        asked = journal.asked["waiting"]
        journal.extra_waiting = 195 - len(journal.order)  # below the limit, not below 95 % of it
        await eventually(lambda: journal.asked["waiting"] >= asked + 2)
        assert one.health().consumer.paused
        journal.extra_waiting = -10_000
        await eventually(lambda: len(journal.order) == 700)
        assert one.rebuilt == 0
    assert journal.order == ids(700)


async def test_a_paused_intake_gives_back_what_it_holds_and_takes_up_again(rabbit_url: str):
    journal = FakeJournal()
    async with intake(rabbit_url, journal, options=replace(QUICK, hold=1.5), max_waiting=20) as one:
        await consuming(one)
        await fill(rabbit_url, numbered(250))
        await eventually(lambda: not one.health().consumer.connected)
        await eventually(lambda: depth_is(rabbit_url, 250 - len(journal.order)))
        assert one.health().consumer.paused
        assert one.health().well
        journal.extra_waiting = -10_000
        await eventually(lambda: journal.order == ids(250))


# ---------------------------------------------------------------- connections and channels go


async def test_rule_6_1_closed_connections_are_survived_in_order(rabbit: PrivateRabbit, rabbit_url: str):
    journal = FakeJournal()
    vhost = rabbit_url.rpartition("/")[2]
    async with intake(rabbit_url, journal) as one:
        await consuming(one)
        for wave in range(5):
            await fill(rabbit_url, numbered(300, start=wave * 300))
            await eventually(lambda wave=wave: len(journal.order) > wave * 300)
            rabbit.close_connections(vhost)
        await eventually(lambda: len(journal.order) == 1500)
        await eventually(lambda: one.health().consumer.consuming)
        assert one.rebuilt >= 1
    assert journal.order == ids(1500)
    assert await depth(rabbit_url, COMMANDS) == 0


async def test_rule_6_1_an_ack_goes_to_the_channel_that_delivered_or_nowhere(
    rabbit: PrivateRabbit, rabbit_url: str
):
    """The connection goes while a commit is under way; the same tags then name other messages."""
    await fill(rabbit_url, numbered(150))
    journal = FakeJournal()
    journal.gate.clear()
    async with intake(rabbit_url, journal) as one:
        await eventually(lambda: one.delivered == 100)
        rabbit.close_connections(rabbit_url.rpartition("/")[2])
        await eventually(lambda: not one.health().consumer.consuming)
        journal.gate.set()
        await eventually(lambda: one.acked == 150)
    assert journal.order == ids(150)
    assert one.redelivered >= 100
    assert one.delivered == one.acked + 100


async def test_rule_6_1_a_closed_channel_is_survived(rabbit_url: str):
    """An acknowledgement that RabbitMQ does not know closes the channel, as a timeout of the broker does."""
    journal = FakeJournal()
    async with intake(rabbit_url, journal) as one:
        await consuming(one)
        session = one._consumer._session
        assert session is not None
        assert session._channel is not None
        await session._channel.basic_ack(4711)
        await eventually(lambda: one.rebuilt == 1)
        await fill(rabbit_url, numbered(3))
        await eventually(lambda: journal.order == ids(3))


async def test_a_deleted_queue_is_declared_again_and_consumed(rabbit_url: str):
    journal = FakeJournal()
    async with intake(rabbit_url, journal) as one:
        await consuming(one)
        async with await aio_pika.connect(rabbit_url) as connection:
            channel = await connection.channel()
            await channel.queue_delete(COMMANDS)
        await eventually(lambda: one.rebuilt >= 1)
        await consuming(one)
        await fill(rabbit_url, numbered(2))
        await eventually(lambda: journal.order == ids(2))


async def test_a_restarted_and_a_killed_broker_are_survived(node: Node):
    journal = FakeJournal()
    url = node.url
    async with intake(url, journal) as one:
        await consuming(one)
        await fill(url, numbered(200))
        await eventually(lambda: len(journal.order) == 200)
        await asyncio.to_thread(node.rabbit.restart)
        await fill(url, numbered(200, start=200))
        await eventually(lambda: len(journal.order) == 400)
        await asyncio.to_thread(node.rabbit.kill)
        await eventually(lambda: not one.health().well)
        await asyncio.to_thread(node.rabbit.start)
        await fill(url, numbered(200, start=400))
        await eventually(lambda: len(journal.order) == 600)
        assert one.health().well
    assert journal.order == ids(600)


async def test_rule_6_4_a_memory_alarm_does_not_hold_acknowledgements(node: Node):
    url = node.url
    await fill(url, numbered(300))
    await asyncio.to_thread(node.rabbit.raise_memory_alarm)
    try:
        journal = FakeJournal()
        async with intake(url, journal) as one:
            await eventually(lambda: one.acked == 300)
            await eventually(lambda: one.health().consumer.ready == 0)
            assert one.health().well
    finally:
        await asyncio.to_thread(node.rabbit.clear_memory_alarm)


async def test_a_broker_that_is_not_there_yet_is_waited_for(node: Node):
    await asyncio.to_thread(node.rabbit.kill)
    journal = FakeJournal()
    async with intake(node.url, journal) as one:
        await eventually(lambda: "cannot be reached" in (one.health().consumer.ill or ""))
        assert node.rabbit.password not in str(one.health())
        await asyncio.to_thread(node.rabbit.start)
        await fill(node.url, numbered(3))
        await eventually(lambda: journal.order == ids(3))


async def test_a_frozen_broker_that_thaws_has_one_consumer_of_ours_that_works(
    node: Node,
):
    """A forgotten connection whose heartbeats go on would stay the active consumer, and get everything."""
    journal = FakeJournal()
    url = node.url
    pid = node.rabbit.pid
    assert pid is not None
    async with intake(url, journal) as one:
        await consuming(one)
        os.kill(pid, signal.SIGSTOP)
        try:
            await eventually(lambda: one.rebuilt == 1)
            await eventually(lambda: not one.health().consumer.connected)
        finally:
            os.kill(pid, signal.SIGCONT)
        await fill(url, numbered(300))
        await eventually(lambda: len(journal.order) == 300)
        await eventually(lambda: one.health().well)
        consumers = await asyncio.to_thread(node.rabbit.ctl, "list_consumers", "-p", node.vhost, "queue_name")
        assert consumers.splitlines().count(COMMANDS) == 1
    assert journal.order == ids(300)


async def test_a_stop_does_not_wait_for_a_journal_that_hangs(rabbit: PrivateRabbit, rabbit_url: str):
    await fill(rabbit_url, numbered(3))
    journal = FakeJournal()
    journal.gate.clear()
    one = Intake(address(rabbit_url), COMMANDS, journal, PlainReader(), options=replace(QUICK, grace=0.2))
    await one.start()
    await journal.in_commit.wait()
    rabbit.close_connections(rabbit_url.rpartition("/")[2])
    await eventually(lambda: one.rebuilt == 1)
    async with asyncio.timeout(20):
        await one.stop()
    assert one.acked == 0


async def test_stopping_does_not_wait_for_a_broker_that_is_gone(node: Node):
    journal = FakeJournal()
    one = Intake(address(node.url), COMMANDS, journal, PlainReader(), options=QUICK)
    await one.start()
    await consuming(one)
    await asyncio.to_thread(node.rabbit.kill)
    began = time.monotonic()
    await one.stop()
    assert time.monotonic() - began < 20


# ---------------------------------------------------------------- deliveries cease


async def test_health_sees_that_messages_are_ready_and_none_is_delivered(rabbit_url: str):
    """A consumer that RabbitMQ counts and that gets nothing (pitfall 25): rebuilt, not believed."""
    journal = FakeJournal()
    async with intake(rabbit_url, journal, options=replace(QUICK, stall=1.0)) as one:
        await consuming(one)
        session = one._consumer._session
        assert session is not None
        session._note = lambda message: None  # type: ignore[method-assign] # deliveries no longer arrive
        assert session._channel is not None
        tag = next(iter(session._channel.consumers))
        await session._channel.basic_cancel(tag)  # RabbitMQ forgets the consumer, and we do not know it
        await fill(rabbit_url, numbered(3))
        await eventually(lambda: journal.order == ids(3))
        assert one.rebuilt == 1


async def test_a_stand_by_that_gets_nothing_is_well(rabbit_url: str):
    stuck, idle = FakeJournal(), FakeJournal()
    stuck.gate.clear()
    options = replace(QUICK, stall=0.5, check=0.2, grace=0.1)
    async with intake(rabbit_url, stuck, options=options) as active:
        await fill(rabbit_url, numbered(150))
        await eventually(lambda: active.delivered == 100)
        async with intake(rabbit_url, idle, options=options) as stand_by:
            await eventually(lambda: (stand_by.health().consumer.ready or 0) == 50)
            until = time.monotonic() + 1.0  # twice the time after which an active one would be rebuilt
            await eventually(lambda: time.monotonic() > until)
            assert stand_by.health().well
            assert stand_by.rebuilt == 0


async def test_health_says_how_long_ago_the_last_delivery_was(rabbit_url: str):
    journal = FakeJournal()
    async with intake(rabbit_url, journal) as one:
        await consuming(one)
        assert one.health().consumer.last_delivery_age is None
        await fill(rabbit_url, numbered(1))
        await eventually(lambda: journal.order)
        age = one.health().consumer.last_delivery_age
        assert age is not None
        assert age < 60


# ---------------------------------------------------------------- bad data


def poisoned(*names: str) -> Callable[[Arrival], bool]:
    return lambda arrival: isinstance(arrival.item, NewCommand) and arrival.item.envelope.id in names


async def test_rule_6_3_a_batch_that_fails_on_its_data_is_split_until_the_culprit_is_alone(rabbit_url: str):
    await fill(rabbit_url, numbered(90))
    journal = FakeJournal()
    journal.poison = poisoned("c17", "c18", "c60")
    async with intake(rabbit_url, journal) as one:
        await eventually(lambda: one.acked == 90)
        assert one.refused == 3
        assert one.admitted == 87
    assert journal.order == [name for name in ids(90) if name not in ("c17", "c18", "c60")]
    assert [refusal.known["id"] for refusal in journal.refusals] == ["c17", "c18", "c60"]
    for refusal in journal.refusals:
        assert refusal.problem.code is Code.INVALID_MESSAGE
        assert b'"id"' in refusal.body


async def test_rule_6_3_a_message_of_which_not_even_the_id_can_be_stored_is_quarantined_bare(rabbit_url: str):
    await fill(rabbit_url, numbered(3))
    journal = FakeJournal()
    journal.poison = lambda arrival: (
        b'"c1"' in arrival.body and not (isinstance(arrival.item, Refusal) and not arrival.item.known)
    )
    async with intake(rabbit_url, journal) as one:
        await eventually(lambda: one.acked == 3)
    assert journal.order == ["c0", "c2"]
    [refusal] = journal.refusals
    assert refusal.known == {}


async def test_rule_6_3_the_journal_failing_in_the_middle_of_a_split_loses_nothing(rabbit_url: str):
    await fill(rabbit_url, numbered(60))
    journal = FakeJournal()
    fails = iter([False, True, True])

    def poison(arrival: Arrival) -> bool:
        bad = isinstance(arrival.item, NewCommand) and arrival.item.envelope.id == "c40"
        if bad and next(fails, False):
            journal.down = True
        return bad

    journal.poison = poison
    async with intake(rabbit_url, journal) as one:
        await eventually(lambda: journal.down)
        journal.down = False
        await eventually(lambda: one.acked == 60 or journal.down)
        journal.down = False
        await eventually(lambda: one.acked == 60)
    assert journal.order == [name for name in ids(60) if name != "c40"]


async def test_rule_6_3_messages_that_came_back_three_times_are_admitted_one_by_one(
    rabbit: PrivateRabbit, rabbit_url: str
):
    await fill(rabbit_url, numbered(20))
    stuck = FakeJournal()
    stuck.gate.clear()
    for _ in range(3):
        one = Intake(address(rabbit_url), COMMANDS, stuck, PlainReader(), options=replace(QUICK, grace=0.05))
        await one.start()
        await eventually(lambda one=one: one.delivered == 20)
        await one.stop()
    journal = FakeJournal()
    async with intake(rabbit_url, journal) as last:
        await eventually(lambda: last.acked == 20)
    assert journal.commits == [1] * 20
    assert journal.order == ids(20)


def test_rule_6_3_only_what_came_back_often_goes_alone():
    def one(tag: int, returns: int) -> Held:
        return Held(tag, Delivery(b"", COMMANDS), 0.0, returns)

    held = [one(1, 0), one(2, 2), one(3, 3), one(4, 7), one(5, 0)]
    assert [[each.tag for each in group] for group in groups(held)] == [[1, 2], [3], [4], [5]]


async def test_unreadable_messages_among_good_ones_harm_nobody(rabbit_url: str):
    bodies: list[Any] = numbered(40)
    bodies[10:10] = [message(b"{"), message(b""), message(b'{"a": "\xff"}'), message(b"[" * 100_000)]
    bodies[30:30] = [message(b"x" * 3_000_000), message(b"{}", content_type="text/plain")]
    await fill(rabbit_url, bodies)
    journal = FakeJournal()
    async with intake(rabbit_url, journal) as one:
        await eventually(lambda: one.acked == 46)
        assert one.refused == 6
    assert journal.order == ids(40)


async def test_reading_a_full_prefetch_leaves_the_event_loop_its_turns(rabbit_url: str):
    big = {"platform": "sippulse-br", "filler": ["x" * 20] * 8000}
    await fill(rabbit_url, [command(id=f"c{number}", data=big) for number in range(60)])
    journal = FakeJournal()
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            began = time.thread_time()  # CPU: what a busy machine takes away is not ours
            await asyncio.sleep(0.001)
            longest = max(longest, time.thread_time() - began)

    async with intake(rabbit_url, journal) as one:
        beating = asyncio.create_task(beat())
        await eventually(lambda: one.acked == 60)
        beating.cancel()
    assert longest < 0.2


@pytest.mark.parametrize("queue", [COMMANDS, BULK])
async def test_each_message_knows_its_queue(rabbit_url: str, queue: str):
    await fill(rabbit_url, [message(b"{", reply_to="somewhere")], queue)
    journal = FakeJournal()
    async with intake(rabbit_url, journal, queue):
        await eventually(lambda: journal.refusals)
    [refusal] = journal.refusals
    assert refusal.queue == queue
    assert refusal.reply_to == "somewhere"
