"""What RabbitMQ gives up on is drained into quarantine (rule 6.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import aio_pika

from tests.support.amqp import Sender, command, depth, eventually, message
from tests.support.fake_journal import FakeJournal, Unstorable
from worker.broker.consumer import Options
from worker.broker.dead import DeadLetters, death
from worker.broker.link import address
from worker.broker.topology import COMMANDS, DEAD, declare
from worker.journal.port import Refusal
from worker.messages.errors import Code

QUICK = Options(prefetch=100, look=0.1, check=0.5, stall=3)


@asynccontextmanager
async def draining(url: str, journal: FakeJournal) -> AsyncIterator[DeadLetters]:
    letters = DeadLetters(address(url), journal, 262144, QUICK)
    await letters.start()
    try:
        yield letters
    finally:
        await letters.stop()


async def rejected(url: str, *bodies: object) -> None:
    """Somebody else consumes the command queue and rejects what comes."""
    await declare(address(url))
    async with Sender(url) as sender, await aio_pika.connect(url) as connection:
        await sender.send_all(bodies)
        queue = await (await connection.channel()).get_queue(COMMANDS)

        async def reject(got: aio_pika.abc.AbstractIncomingMessage) -> None:
            await got.reject(requeue=False)

        await queue.consume(reject)

        async def all_dead() -> bool:
            return await depth(url, DEAD) >= len(bodies)

        await eventually(all_dead)


async def test_rule_6_3_dead_letters_are_quarantined_and_health_says_so(rabbit_url: str):
    await rejected(rabbit_url, command(id="c1"), message(b"{not json"))
    journal = FakeJournal()
    async with draining(rabbit_url, journal) as letters:
        await eventually(lambda: len(journal.dead) == 2)
        assert letters.health().drained == 2
        assert "dead-lettered 2 messages" in (letters.health().said or "")
        assert letters.health().consumer.well
    readable, unreadable = journal.dead
    assert readable.known["id"] == "c1"
    assert readable.known["platform"] == "sippulse-br"
    assert b'"c1"' in readable.body
    assert readable.queue == COMMANDS
    assert readable.problem.code is Code.INVALID_MESSAGE
    assert "(rejected)" in readable.problem.message
    assert unreadable.known == {}
    assert unreadable.body == b"{not json"
    assert await depth(rabbit_url, DEAD) == 0


async def test_rule_6_3_a_dead_letter_is_acked_only_after_its_commit(rabbit_url: str):
    await rejected(rabbit_url, command(id="c1"))
    journal = FakeJournal()
    journal.down = True
    letters = DeadLetters(address(rabbit_url), journal, 262144, replace(QUICK, grace=0.2))
    await letters.start()
    await eventually(lambda: journal.asked["quarantine_dead"] >= 2)
    assert letters.health().drained == 0
    await letters.stop()
    assert await depth(rabbit_url, DEAD) == 1
    journal.down = False
    async with draining(rabbit_url, journal):
        await eventually(lambda: len(journal.dead) == 1)
    assert await depth(rabbit_url, DEAD) == 0


async def test_a_dead_letter_whose_headers_cannot_be_stored_is_kept_bare(rabbit_url: str):
    await rejected(rabbit_url, command(id="c1"), command(id="c2"), command(id="c3"))

    class Picky(FakeJournal):
        async def quarantine_dead(self, arrivals: list[Refusal]) -> None:  # type: ignore[override]
            if any(refusal.known.get("id") == "c2" for refusal in arrivals):
                raise Unstorable
            await super().quarantine_dead(arrivals)

    journal = Picky()
    async with draining(rabbit_url, journal) as letters:
        await eventually(lambda: letters.drained == 3)
    assert [refusal.known.get("id") for refusal in journal.dead] == ["c1", None, "c3"]


def test_why_a_message_died_is_read_from_its_headers():
    deaths = [{"queue": COMMANDS, "reason": "delivery_limit"}]
    assert death({"x-death": deaths}) == (COMMANDS, "delivery_limit")
    assert death({"x-first-death-queue": "q", "x-first-death-reason": "expired"}) == ("q", "expired")
    assert death({"x-death": "nonsense"}) == (DEAD, "unknown reason")
