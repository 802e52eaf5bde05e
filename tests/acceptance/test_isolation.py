"""A dead platform delays its own commands and nobody else's, and costs no memory (P5, P10)."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.amqp import eventually
from tests.support.stage import samples
from tests.support.storm import DOMAIN, PLATFORM, QUICK, Order, Sippulse, Storm, order
from tests.support.worker import WorkerProcess, Workers
from worker.sandbox.ports import free_ports

pytestmark = pytest.mark.timeout(900)  # 20,000 commands are much for a busy machine

DEAD = "sippulse-dead"  # connection refused
SILENT = "sippulse-silent"  # takes the connection and the request, and never answers
BACKLOG = {DEAD: 20_000, SILENT: 1_000}
DEEP = 20  # commands of the backlog for one subscriber
MOST_MEMORY = 250 * 1024 * 1024  # bytes
SLOWEST = 1.0  # seconds
ROUNDS = 5  # of 100 commands each, all with the whole backlog there


async def test_p5_p10_20000_commands_for_a_dead_platform_neither_delay_a_well_one_nor_fill_the_memory(
    journal: str | None, rabbit_url: str, platform: Sippulse, tmp_path: Path
) -> None:
    """With the product's own times for `delayed`: another 21,000 events, in the midst of it."""
    ports = dict(zip(BACKLOG, free_ports(2), strict=True))
    names = {
        name: [f"5511{port}{n:04}" for n in range(BACKLOG[name] // DEEP)] for name, port in ports.items()
    }
    well = [f"5511310{number:05}" for number in range(100 * (ROUNDS + 1))]
    await platform.subscribers(well)
    settings = {PLATFORM: {**QUICK, "url": platform.url}} | {
        # A window that a busy machine does not interrupt: what was asked of the silent one is in doubt.
        name: {**QUICK, "url": f"http://127.0.0.1:{port}/SipPulse", "concurrency": 32, "settle": 8.0}
        for name, port in ports.items()
    }
    async with (
        Workers(tmp_path, rabbit_url, settings, journal=journal) as workers,
        Storm(rabbit_url, f"{DEAD}.#") as dead,
        Storm(rabbit_url, f"{SILENT}.#") as silent,
        Storm(rabbit_url, f"{PLATFORM}.#") as quick,
    ):
        worker = await workers.start()
        async with _memory(worker.pid) as memory:
            async with _silence(ports[SILENT]) as asked:
                began = time.monotonic()
                await silent.send(backlog(SILENT, names[SILENT]))
                await dead.send(backlog(DEAD, names[DEAD]))
                await eventually(lambda: _taken_in(worker), 300, 0.5, f"{BACKLOG} in the journal")
                taken = time.monotonic()
                tails = [await _slowest(quick, well[100 * n :][:100]) for n in range(ROUNDS)]
                await eventually(
                    lambda: dead.with_status("delayed"), 120, 0.05, "commands said to be delayed"
                )
                tails.append(await _slowest(quick, well[100 * ROUNDS :]))
            assert asked, "nothing was sent to the silent one: it was not what this is about"
            async with AsyncExitStack() as stack:
                returned = time.monotonic()
                # Each knows its subscribers from its first answer on.
                back = {
                    name: await stack.enter_async_context(Sippulse(tmp_path, port, known(names[name])))
                    for name, port in ports.items()
                }
                await dead.until_final(600)
                await silent.until_final(600)
                over = time.monotonic()
                accounts = {DEAD: await dead.account(back[DEAD]), SILENT: await silent.account(back[SILENT])}
    print(f"\nbacklog of dead platforms: { {name: str(account) for name, account in accounts.items()} }")
    print(f"taken in within {taken - began:.1f} s, done within {over - returned:.1f} s of their return")
    print(f"well one: p99 of 100 {tails} s; worker at most {max(memory) / 2**20:.0f} MB")
    for name, account in accounts.items():
        account.check()
        account.expect(succeeded=BACKLOG[name])
    assert tails[0] < SLOWEST, "the backlog holds up the others"
    assert statistics.median(tails) < SLOWEST
    assert max(memory) < MOST_MEMORY


async def _slowest(storm: Storm, names: list[str]) -> float:
    """Send one after another; the 99th of 100, from the sending to the result, in seconds."""
    orders = [order("calls.block", name) for name in names]
    for one in orders:
        await storm.send([one])
    await storm.until_final(60)
    return round(storm.seconds([one["id"] for one in orders])[98], 3)


async def _taken_in(worker: WorkerProcess) -> bool:
    """In the journal, whatever was tried of it."""
    figures = samples((await worker.get("/metrics"))[1])
    open_ones = sum(figures[f"worker_journal_{state}"] for state in ("waiting", "running", "in_doubt"))
    return open_ones == sum(BACKLOG.values())


def known(names: list[str]) -> dict[str, Any]:
    """Configuration of a simulator that has these subscribers."""
    return {"subscribers": [{"username": name, "domain": DOMAIN} for name in names]}


def backlog(platform: str, names: list[str]) -> list[Order]:
    """Blocked and unblocked in turn: which one came last shows on the platform."""
    kinds = ("calls.block", "calls.unblock")
    return [order(kinds[turn % 2], name, platform=platform) for turn in range(DEEP) for name in names]


@asynccontextmanager
async def _silence(port: int) -> AsyncIterator[list[bytes]]:
    """Reads what it is asked, and says nothing; what it was asked."""
    asked: list[bytes] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while heard := await reader.read(65536):
                asked.append(heard)
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", port)
    try:
        yield asked
    finally:
        server.close()


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
