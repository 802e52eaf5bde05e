"""`make bench`: commands a second, CPU a command, and latency; beside the same job without a journal.

The contestants run in turns, in the same run, against an answerer that serves canned bytes. CPU is counted per
process tree (the worker, RabbitMQ, the database, the answerer, this program) by the operating system.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika
import psutil

from tests.support.amqp import Sender, command
from tests.support.worker import Workers
from worker.sandbox.postgres import PrivatePostgres
from worker.sandbox.processes import Child, Keeper
from worker.sandbox.rabbitmq import PrivateRabbit

ROOT = Path(__file__).resolve().parents[2]
SUBSCRIBERS = 500
PACE = 40.0  # commands a second while latency is measured
KINDS: dict[str, dict[str, Any]] = {"calls.block": {}, "credit.add": {"amount": "1.00"}}


@dataclass(slots=True)
class Figures:
    """One contestant's run of one kind. Rates a second, CPU in ms a command, latency in ms."""

    rate: float
    cpu: dict[str, float]
    p50: float
    p99: float


@dataclass(slots=True)
class Answers:
    """When each command's final result came, by its id."""

    at: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def hear(self, body: bytes) -> None:
        data = json.loads(body)["data"]
        if data["status"] == "succeeded":
            self.at.setdefault(data["command"]["id"], time.perf_counter())
        else:
            self.wrong.append(f"{data['status']}: {data.get('error')}")


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and all below it, ended children included."""
    total = 0.0
    root = psutil.Process(pid)
    for each in [root, *root.children(recursive=True)]:
        try:
            t = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += t.user + t.system + (t.children_user + t.children_system if each.pid == pid else 0.0)
    return total


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Answers]:
    answers = Answers()
    connection = await aio_pika.connect(url)
    try:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1000)
        exchange = await channel.declare_exchange(
            "provisioning.results", aio_pika.ExchangeType.TOPIC, durable=True
        )
        queue = await channel.declare_queue("", exclusive=True)
        await queue.bind(exchange, "#")
        await queue.consume(lambda m: _hear(answers, m), no_ack=True)
        yield answers
    finally:
        await connection.close()


async def _hear(answers: Answers, heard: aio_pika.abc.AbstractIncomingMessage) -> None:
    answers.hear(heard.body)


def order(kind: str, number: int) -> dict[str, Any]:
    subscriber = {"username": f"u{number % SUBSCRIBERS}", "domain": "bench.example"}
    data = {"platform": "sippulse-bench", "subscriber": subscriber, **KINDS[kind]}
    return command(f"{kind}.v1", data, id=str(uuid.uuid4()))


async def until(answers: Answers, ids: set[str], within: float) -> None:
    deadline = time.monotonic() + within
    while not ids <= answers.at.keys():
        if answers.wrong or time.monotonic() > deadline:
            missing = len(ids - answers.at.keys())
            raise SystemExit(f"{missing} commands without a result; others: {answers.wrong[:3]}")
        await asyncio.sleep(0.01)


async def measure(url: str, kind: str, count: int, pids: dict[str, int]) -> Figures:
    async with listening(url) as answers, Sender(url) as sender:
        await warm_up(sender, answers, kind)
        rate, cpu = await flood(sender, answers, kind, count, pids)
        p50, p99 = await pace(sender, answers, kind)
    return Figures(rate, cpu, p50, p99)


async def warm_up(sender: Sender, answers: Answers, kind: str) -> None:
    orders = [order(kind, i) for i in range(64)]
    await sender.send_all(orders)
    await until(answers, {o["id"] for o in orders}, 60)


async def flood(
    sender: Sender, answers: Answers, kind: str, count: int, pids: dict[str, int]
) -> tuple[float, dict[str, float]]:
    orders = [order(kind, i) for i in range(count)]
    before = {name: cpu_of(pid) for name, pid in pids.items()}
    began = time.perf_counter()
    await sender.send_all(orders)
    await until(answers, {o["id"] for o in orders}, 300)
    took = max(answers.at[o["id"]] for o in orders) - began
    cpu = {name: (cpu_of(pid) - before[name]) / count * 1000 for name, pid in pids.items()}
    return count / took, cpu


async def pace(sender: Sender, answers: Answers, kind: str) -> tuple[float, float]:
    sent: dict[str, float] = {}
    for number in range(int(PACE * 5)):
        one = order(kind, number)
        sent[one["id"]] = time.perf_counter()
        await sender.send(one)
        await asyncio.sleep(max(0.0, 1 / PACE - (time.perf_counter() - sent[one["id"]])))
    await until(answers, set(sent), 60)
    times = sorted((answers.at[i] - at) * 1000 for i, at in sent.items())
    return statistics.median(times), times[int(len(times) * 0.99) - 1]


class Hall:
    """The services all contestants share."""

    def __init__(
        self, rabbit: PrivateRabbit, postgres: PrivatePostgres, folder: Path, keeper: Keeper
    ) -> None:
        self.rabbit, self.postgres, self.folder = rabbit, postgres, folder
        self._keeper = keeper
        self._answerer, self.platform = self._start_answerer()
        self.lean = self._answerer.pid

    def close(self) -> None:
        self._answerer.kill()
        self._keeper.forget(self._answerer)

    def _start_answerer(self) -> tuple[Child, str]:
        log = self.folder / "lean.log"
        child = self._keeper.spawn(
            "lean",
            [sys.executable, "-m", "worker.simulators.lean", "--port", "0"],
            env=dict(os.environ),
            cwd=ROOT,
            log=log,
        )
        return child, said(log, "listening on ").split("listening on ")[1].split()[0]

    async def plain(self, kind: str, count: int) -> Figures:
        vhost = self.rabbit.add_vhost(f"plain-{uuid.uuid4().hex[:8]}")
        log = self.folder / f"plain-{uuid.uuid4().hex[:6]}.log"
        words = [sys.executable, "-m", "tests.bench.plain", vhost, self.platform]
        child = self._keeper.spawn("plain", words, env=dict(os.environ), cwd=ROOT, log=log)
        said(log, "ready")
        await asyncio.sleep(2)  # FastStream says nothing when its consumer is there
        try:
            return await measure(vhost, kind, count, self._pids(child.pid))
        finally:
            child.kill()
            self._keeper.forget(child)

    async def worker(self, journal: str, kind: str, count: int) -> Figures:
        vhost = self.rabbit.add_vhost(f"{journal}-{uuid.uuid4().hex[:8]}")
        folder = self.folder / uuid.uuid4().hex[:8]
        url = (
            self.postgres.create_database(f"bench_{uuid.uuid4().hex[:8]}") if journal == "postgres" else None
        )
        platforms = {
            "sippulse-bench": {
                "url": self.platform,
                "rate": 1e6,
                "concurrency": 32,
                "timeout": 10,
                "settle": 120,
            }
        }
        async with Workers(folder, vhost, platforms, journal=url) as workers:
            process = await workers.start()
            return await measure(vhost, kind, count, self._pids(process.pid))

    def _pids(self, worker: int) -> dict[str, int]:
        pids = {"worker": worker, "rabbitmq": self.rabbit.pid, "postgres": self.postgres.pid}
        pids |= {"answerer": self.lean, "bench": os.getpid()}
        return {name: pid for name, pid in pids.items() if pid is not None}


def said(log: Path, words: str, within: float = 30) -> str:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines() if log.exists() else ():
            if words in line:
                return line
        time.sleep(0.05)
    raise SystemExit(f"{log.name} did not say {words!r}:\n{log.read_text() if log.exists() else ''}")


async def run(rounds: int, count: int, folder: Path) -> None:
    with PrivateRabbit() as rabbit, PrivatePostgres() as postgres:
        keeper = Keeper()
        try:
            hall = Hall(rabbit, postgres, folder, keeper)
            try:
                results = await contest(hall, rounds, count)
            finally:
                hall.close()
        finally:
            keeper.close()
    report(results, rounds, count)


async def contest(hall: Hall, rounds: int, count: int) -> dict[tuple[str, str], list[Figures]]:
    results: dict[tuple[str, str], list[Figures]] = {}
    for number in range(rounds):
        for kind in KINDS:
            for name in ("plain", "sqlite", "postgres"):
                one = await (hall.plain(kind, count) if name == "plain" else hall.worker(name, kind, count))
                results.setdefault((kind, name), []).append(one)
                print(f"round {number + 1}: {kind} {name}: {one.rate:.0f}/s", file=sys.stderr, flush=True)
    return results


def report(results: dict[tuple[str, str], list[Figures]], rounds: int, count: int) -> None:
    cpu = platform.processor() or platform.machine()
    print(
        f"\n{os.cpu_count()} processors ({cpu}), Python {platform.python_version()}, {rounds} rounds in turns,"
    )
    print(
        f"{count} commands each over {SUBSCRIBERS} subscribers; medians. CPU: seconds per 1,000 commands.\n"
    )
    print(
        "| command | journal | commands/s | CPU worker | CPU RabbitMQ | CPU PostgreSQL | CPU answerer | p50 ms | p99 ms |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for (kind, name), rows in results.items():
        mid = {part: statistics.median(r.cpu[part] for r in rows) for part in rows[0].cpu}
        figures = [statistics.median(r.rate for r in rows)]
        cells = [
            f"{figures[0]:.0f}",
            *(f"{mid.get(p, 0):.2f}" for p in ("worker", "rabbitmq", "postgres", "answerer")),
        ]
        times = [
            f"{statistics.median(r.p50 for r in rows):.1f}",
            f"{statistics.median(r.p99 for r in rows):.1f}",
        ]
        print(f"| {kind} | {'none (plain)' if name == 'plain' else name} | {' | '.join(cells + times)} |")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--commands", type=int, default=3000)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="worker-bench-") as folder:
        asyncio.run(run(words.rounds, words.commands, Path(folder)))


if __name__ == "__main__":
    main()
