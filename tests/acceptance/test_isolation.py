"""A dead platform delays its own commands and nobody else's, and costs no memory (P5, P10)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.support.amqp import eventually
from tests.support.storm import PLATFORM, QUICK, Order, Sippulse, Storm, order
from tests.support.worker import WorkerProcess, Workers
from worker.sandbox.ports import free_port

pytestmark = pytest.mark.timeout(900)  # 20,000 commands are much for a busy machine

DEAD = "sippulse-dead"
BACKLOG = 20_000
LINES = 1_000  # subscribers among whom the backlog is shared
MOST_MEMORY = 250 * 1024 * 1024  # bytes
SLOWEST = 1.0  # seconds
ROUNDS = 10  # of 100 commands: the backlog is there in each, what else the machine has to do is not


async def test_p5_p10_20000_commands_for_a_dead_platform_neither_delay_a_well_one_nor_fill_the_memory(
    journal: str | None, rabbit_url: str, platform: Sippulse, tmp_path: Path
) -> None:
    port = free_port()  # nobody listens there yet: connection refused
    names = [f"5511300{number:05}" for number in range(LINES)]
    well = [f"5511310{number:05}" for number in range(100 * ROUNDS)]
    await platform.subscribers(well)
    settings = {
        PLATFORM: {**QUICK, "url": platform.url},
        DEAD: {**QUICK, "url": f"http://127.0.0.1:{port}/SipPulse", "concurrency": 32},
    }
    later = {"events": {"notify_after": 3600}}  # else 20,000 `delayed` events: another test's matter
    async with (
        Workers(tmp_path, rabbit_url, settings, journal=journal, settings=later) as workers,
        Storm(rabbit_url, f"{DEAD}.#") as dead,
        Storm(rabbit_url, f"{PLATFORM}.#") as quick,
    ):
        worker = await workers.start()
        async with _memory(worker.pid) as memory:
            began = time.monotonic()
            await dead.send(backlog(names))
            await eventually(lambda: _waiting(worker), 300, 0.5, f"{BACKLOG} waiting in the journal")
            taken = time.monotonic()
            tails: list[float] = []
            while not tails or (tails[-1] >= SLOWEST and len(tails) < ROUNDS):
                tails.append(await _slowest(quick, well[100 * len(tails) :][:100]))
            async with Sippulse(tmp_path, port) as back:
                await back.subscribers(names)
                returned = time.monotonic()
                await dead.until_final(600)
                over = time.monotonic()
                account = await dead.account(back)
    print(f"\nbacklog of a dead platform: {account}")
    print(f"taken in within {taken - began:.1f} s, done within {over - returned:.1f} s of its return")
    print(f"well one: p99 of 100 {tails} s; worker at most {max(memory) / 2**20:.0f} MB")
    account.check()
    account.expect(succeeded=BACKLOG)
    assert tails[-1] < SLOWEST, "the backlog holds up the others"
    assert max(memory) < MOST_MEMORY


async def _slowest(storm: Storm, names: list[str]) -> float:
    """Send one after another; the 99th of 100, from the sending to the result, in seconds."""
    orders = [order("calls.block", name) for name in names]
    for one in orders:
        await storm.send([one])
    await storm.until_final(60)
    return round(storm.seconds([one["id"] for one in orders])[98], 3)


async def _waiting(worker: WorkerProcess) -> bool:
    _, metrics = await worker.get("/metrics")
    return f"\nworker_journal_waiting {BACKLOG:.1f}\n" in metrics


def backlog(names: list[str]) -> list[Order]:
    """Blocked and unblocked in turn: which one came last shows on the platform."""
    kinds = ("calls.block", "calls.unblock")
    rounds = BACKLOG // len(names)
    return [order(kinds[turn % 2], name, platform=DEAD) for turn in range(rounds) for name in names]


@asynccontextmanager
async def _memory(pid: int) -> AsyncIterator[list[int]]:
    """What a process holds, in bytes, looked at all the time."""
    seen: list[int] = []

    async def look() -> None:
        process = psutil.Process(pid)
        while True:
            seen.append(process.memory_info().rss)
            await asyncio.sleep(0.25)

    task = asyncio.create_task(look())
    try:
        yield seen
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
