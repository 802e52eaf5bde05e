"""Commands about one subscriber take effect in the order sent, whoever works on them."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from tests.support.storm import PLATFORM, QUICK, Order, Sippulse, Storm, credit, order
from tests.support.worker import Workers

SETS = ("calls.block", "subscriber.block", "calls.unblock", "subscriber.activate")


async def test_50_subscribers_with_20_commands_each_over_three_processes_keep_their_order(
    postgres_url: str, rabbit_url: str, platform: Sippulse, storm: Storm, tmp_path: Path
) -> None:
    names = [f"5511800{number:05}" for number in range(50)]
    await platform.subscribers(names, balance="100")
    await platform.lose_answers("@changes", 0.1)
    await platform.fail("@reads", "lost", share=0.02, seconds=1.5)
    await platform.fail("*", "delay", share=0.2, seconds=0.05)
    settings = {PLATFORM: {**QUICK, "url": platform.url}}
    async with Workers(tmp_path, rabbit_url, settings, journal=postgres_url) as workers:
        first = await workers.start()  # which makes key and schema
        processes = [first, *await asyncio.gather(workers.start(), workers.start())]
        await storm.send(mixed(names))
        await storm.until_final(180)
        account = await storm.account(platform)
        shares = [len(process.events("attempt.settled")) for process in processes]
    print(f"\norder: {account}; attempts of each process {shares}")
    account.check()
    account.expect(succeeded=1000)
    assert all(share > 50 for share in shares), "not all three worked"
    assert sum(account.faults.values()) > 100, "the faults did not strike"


def mixed(names: list[str]) -> list[Order]:
    """20 commands each, shuffled between the subscribers; a line of one says at each place which it has to be."""
    chance = random.Random(11)
    lines = {name: [_one(name, number) for number in range(20)] for name in names}
    turns = [name for name in names for _ in range(20)]
    chance.shuffle(turns)
    return [lines[name].pop(0) for name in turns]


def _one(name: str, number: int) -> Order:
    """Every other one is money, known by its `obs`; between them sets, none of which comes twice running."""
    return credit(name, "1.00") if number % 2 else order(SETS[number // 2 % len(SETS)], name)
