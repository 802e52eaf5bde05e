"""Whatever is killed, frozen or restarted, and when: nothing is lost, nothing happens twice, nobody has to act."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.support.amqp import eventually
from tests.support.storm import PLATFORM, QUICK, Order, Sippulse, Storm, create, credit, order
from tests.support.worker import WorkerProcess, Workers
from worker.sandbox.postgres import PrivatePostgres
from worker.sandbox.rabbitmq import PrivateRabbit

pytestmark = pytest.mark.timeout(900)  # 20 starts of a process are much for a busy machine
KILLS = 20
LEASE = QUICK["timeout"] + QUICK["lease_margin"]

# Also one that its second process may just be dying over: that lease has not lapsed yet.
DIED_OVER_TWICE = (
    "SELECT count(*) FROM commands WHERE finished_at IS NULL AND state <> 'parked'"
    " AND (lapsed >= 2 OR (lapsed = 1 AND owner IS NOT NULL))"
)

Query = Callable[[str], str]
Strike = Callable[["Onslaught"], Awaitable[None]]


class Onslaught:
    """500 mixed commands in as many portions as there are strikes, each of which meets work under way.

    A command that three processes in a row die over is a person's (rule 1), and rightly. Here nobody is to be
    needed, so a strike waits while there is one that two have died over (`query` counts them in the journal).
    """

    def __init__(self, workers: Workers, storm: Storm, many: int, query: Query) -> None:
        self.workers, self.storm, self.many, self.query = workers, storm, many, query
        self.chance = random.Random(23)
        self.killed = 0
        self.beside: list[asyncio.Task[None]] = []

    async def run(self, orders: list[Order], strikes: list[Strike]) -> None:
        await self.workers.start()
        await self._start(self.many - 1)
        size = -(-len(orders) // len(strikes))
        portions = [orders[start : start + size] for start in range(0, len(orders), size)]
        for portion, strike in zip(portions, strikes, strict=True):
            before = self._settled()
            await self.storm.send(portion)
            await self._under_way(before + len(portion) // 4)
            await strike(self)
        await asyncio.gather(*self.beside)

    async def _under_way(self, settled: int) -> None:
        """Some of the portion are done and some not, and none is in danger."""
        with suppress(AssertionError):  # RabbitMQ may be away, and nothing to be done: then it strikes too
            await eventually(lambda: self._settled() >= settled, 15, 0.05)
        await eventually(self._safe, 120, 0.1, "an end of what two processes have died over")

    def _settled(self) -> int:
        """By the log, for results may be late: a killed process takes the relay's role with it for a while."""
        return sum(len(one.events("attempt.settled")) for one in self.working())

    async def _safe(self) -> bool:
        return await asyncio.to_thread(self.query, DIED_OVER_TWICE) == "0"

    async def kill(self, many: int) -> None:
        """At any instant; all within one lease, so that no command is met twice."""
        for victim in self.chance.sample(self.working(), many):
            await asyncio.sleep(self.chance.uniform(0.0, 0.2))
            victim.kill()
            self.killed += 1
        await self._start(many)

    async def _start(self, many: int) -> None:
        for _ in range(many):
            await self.workers.start(ready=False)

    async def freeze(self) -> None:
        """One process for longer than a lease: others take its commands, then it goes on."""
        one = self.chance.choice(self.working())
        one.freeze()
        await asyncio.sleep(LEASE + 1.5)  # how long it stands still is what is tested
        one.thaw()

    def working(self) -> list[WorkerProcess]:
        return [one for one in self.workers.processes if one.running]


def kills(many: int) -> Strike:
    return lambda onslaught: onslaught.kill(many)


async def freeze(onslaught: Onslaught) -> None:
    await onslaught.freeze()


def restarted(service: PrivateRabbit | PrivatePostgres, then: Strike | None = None) -> Strike:
    """`then`: what happens while it is away."""

    async def strike(onslaught: Onslaught) -> None:
        onslaught.beside.append(asyncio.create_task(asyncio.to_thread(service.restart)))
        if then is not None:
            await then(onslaught)

    return strike


def mixed(old: list[str], new: list[str]) -> list[Order]:
    """Five commands each; those of one subscriber in their order, the subscribers shuffled."""
    lines = {name: _story_of_old(name) for name in old} | {name: _story_of_new(name) for name in new}
    turns = [name for name in lines for _ in range(5)]
    random.Random(29).shuffle(turns)
    return [lines[name].pop(0) for name in turns]


def _story_of_old(name: str) -> list[Order]:
    return [
        credit(name, "3.50"),
        order("subscriber.block", name),
        credit(name, "4.25"),
        order("subscriber.activate", name),
        order("calls.block", name),
    ]


def _story_of_new(name: str) -> list[Order]:
    return [
        create(name),
        credit(name, "7.00"),
        order("calls.block", name),
        order("calls.unblock", name),
        order("subscriber.remove", name),
    ]


def ask_sqlite(file: Path, query: str) -> str:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as journal:
        return str(journal.execute(query).fetchone()[0])


async def _stand(
    platform: Sippulse, broker: str, folder: Path, journal: PrivatePostgres | None, strikes: list[Strike]
) -> None:
    old = [f"5511900{number:05}" for number in range(50)]
    new = [f"5511910{number:05}" for number in range(50)]
    await platform.subscribers(old, balance="1")
    await platform.tell("switches", duplicates="double")
    await platform.lose_answers("@changes", 0.05)
    await platform.fail("*", "delay", share=0.5, seconds=0.1)
    settings = {PLATFORM: {**QUICK, "url": platform.url}}
    url, many = (journal.url(), 3) if journal else (None, 1)
    query = journal.execute if journal else partial(ask_sqlite, folder / "worker.db")
    async with Workers(folder, broker, settings, journal=url) as workers, Storm(broker) as storm:
        onslaught = Onslaught(workers, storm, many, query)
        await onslaught.run(mixed(old, new), strikes)
        await storm.until_final(120)
        account = await storm.account(platform)
        verified = await workers.worker("audit", "verify")
    print(f"\nkilled {onslaught.killed} times, {many} at once: {account}; {verified.out.strip()}")
    account.check()
    account.expect(succeeded=500)
    assert onslaught.killed == KILLS
    assert not storm.with_status("parked"), "somebody had to act"
    assert (await platform.ask("counts"))["doubles"] == 0
    assert verified.code == 0, verified.err


async def test_20_kills_a_freeze_and_a_restarted_broker_lose_and_double_nothing_on_sqlite(
    dedicated_rabbit: PrivateRabbit, platform: Sippulse, tmp_path: Path
) -> None:
    strikes = [kills(1)] * 7 + [restarted(dedicated_rabbit, kills(1))] + [kills(1)] * 12 + [freeze]
    await _stand(platform, dedicated_rabbit.url, tmp_path, None, strikes)


async def test_20_kills_a_freeze_and_restarted_services_lose_and_double_nothing_over_three_processes(
    dedicated_rabbit: PrivateRabbit, dedicated_postgres: PrivatePostgres, platform: Sippulse, tmp_path: Path
) -> None:
    strikes = [kills(3), kills(3), restarted(dedicated_rabbit, kills(3)), kills(3)]
    strikes += [restarted(dedicated_postgres), kills(3), freeze, kills(3), kills(2)]
    await _stand(platform, dedicated_rabbit.url, tmp_path, dedicated_postgres, strikes)
