"""`make soak MINUTES=60`: a steady load on three workers, and whether anything grows that should not.

Sampled: of each worker memory, open files, and connections; the journal's size; latency from publishing to the
final result. The platform makes its usual faults, nothing else is broken. What is old is purged once a minute, as
`worker journal purge` does it, and kept for a twelfth of the run, so that the journal has to come to rest as well.

A series is **flat** when the median of its last quarter is not above the median of its second quarter by more than
a tenth and the slack that stands beside it in `SERIES`. The first quarter, in which pools fill and the journal
reaches what it keeps, does not count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from statistics import median

import asyncpg
import psutil

from tests.faults.arena import DATABASE, Arena, opened
from tests.faults.beside import beside
from tests.faults.disk import own_mounts
from tests.faults.graph import Chart, draw
from tests.faults.history import Heard
from tests.faults.mail import Ear, Post
from tests.faults.people import People
from tests.faults.platform_breaks import STANDING
from tests.faults.workload import BULK, INTERACTIVE, SOURCES, Event, Message
from tests.support.amqp import command
from tests.support.storm import DOMAIN, FINAL, PLATFORM
from worker.journal.port import JournalDown

ROOT = Path(__file__).resolve().parents[2]
GRAPH = ROOT / "docs" / "images" / "soak.svg"
SUBSCRIBERS = 200
MIB = 1024 * 1024
SHARE = 0.1  # by which the last quarter may be above the second


@dataclass(frozen=True, slots=True)
class Series:
    """What is sampled. `slack`, in its unit: growth that is no growth, beside the tenth."""

    title: str
    unit: str
    slack: float


SERIES = {
    "memory": Series("Memory of each worker", "MiB", 5.0),
    "files": Series("Open files of each worker", "", 5.0),
    "connections": Series("Connections of each worker", "", 4.0),
    "journal": Series("Size of the journal", "MiB", 8.0),
    "p50": Series("Latency, median", "ms", 50.0),
    "p99": Series("Latency, 99 of 100", "ms", 500.0),
}


@dataclass(slots=True)
class Samples:
    """By series and line ("worker-1", or "" where there is one): (minutes, value)."""

    points: dict[str, dict[str, list[tuple[float, float]]]] = field(default_factory=dict)

    def add(self, series: str, line: str, minutes: float, value: float) -> None:
        self.points.setdefault(series, {}).setdefault(line, []).append((minutes, value))

    def verdict(self, minutes: float) -> dict[str, Verdict]:
        found = {}
        for name, series in SERIES.items():
            for line, points in self.points.get(name, {}).items():
                found[f"{name} {line}".strip()] = judge(points, minutes, series)
        return found


@dataclass(frozen=True, slots=True)
class Verdict:
    """Medians of the second and the last quarter."""

    before: float
    after: float
    unit: str
    flat: bool

    def __str__(self) -> str:
        word = "flat" if self.flat else "NOT FLAT"
        return f"{self.before:10.1f} -> {self.after:10.1f} {self.unit:4} {word}"


def judge(points: list[tuple[float, float]], minutes: float, series: Series) -> Verdict:
    second = [value for at, value in points if minutes / 4 <= at < minutes / 2]
    last = [value for at, value in points if minutes * 3 / 4 <= at <= minutes]
    if not second or not last:
        return Verdict(0.0, 0.0, series.unit, False)
    before, after = median(second), median(last)
    return Verdict(before, after, series.unit, after <= before * (1 + SHARE) + series.slack)


class Soak:
    """`rate`: commands a second, one interval like the other."""

    def __init__(self, arena: Arena, minutes: float, rate: float) -> None:
        self.arena, self.minutes, self.rate = arena, minutes, rate
        self.samples = Samples()
        self.people = People(arena, 1)
        self.chance = Random("soak")
        self.given: dict[str, float] = {}  # command -> when it was handed over
        self.took: list[float] = []  # ms, since the last sample
        self.ended = self.sent = 0
        self.began = 0.0
        self.posts: dict[str, Post] = {}

    async def run(self) -> None:
        ear = Ear(self.arena.rabbit.url, "results", told=(self.people.hear, self._hear), keep=False)
        async with beside(ear.run(), self.arena.supervise()):
            await asyncio.wait_for(ear.ready.wait(), 60)
            await self._prepare()
            posts = [post.run() for post in self.posts.values()]
            async with beside(*posts, self.people.decide(), self._sample(), self._purge()):
                await self._load()
                await asyncio.sleep(1)
        await self.people.go()

    async def _prepare(self) -> None:
        platform = self.arena.platform
        self.names = [f"55118{number:07}" for number in range(SUBSCRIBERS)]
        await platform.subscribers(self.names, balance="100.00")
        await self.arena.until_started()
        await platform.tell("faults", rules=list(STANDING), replace=True)
        self.began = time.time()
        self.posts = {queue: Post(self.arena.rabbit.url, queue, self.began) for queue in (INTERACTIVE, BULK)}

    async def _load(self) -> None:
        while (now := time.time() - self.began) < self.minutes * 60:
            while self.sent < now * self.rate:
                self._send(now)
            await asyncio.sleep(0.5 / self.rate)

    def _send(self, now: float) -> None:
        self.sent += 1
        queue = INTERACTIVE if self.sent % 4 else BULK
        event = self._order(queue)
        self.given[event["id"]] = time.monotonic()
        self.posts[queue].give(Message(now, queue, event))

    def _order(self, queue: str) -> Event:
        data: Event = {
            "platform": PLATFORM,
            "subscriber": {"username": self.chance.choice(self.names), "domain": DOMAIN},
        }
        kind = self.chance.choice(("credit.add", "calls.block", "calls.unblock", "credit.get"))
        data |= {"amount": "1.00"} if kind == "credit.add" else {}
        return command(f"{kind}.v1", data, id=f"soak-{self.sent:07}", source=SOURCES[queue])

    def _hear(self, event: Heard) -> None:
        if event.data.get("status") not in FINAL or event.command not in self.given:
            return
        self.ended += 1
        self.took.append((time.monotonic() - self.given.pop(event.command)) * 1000)

    async def _purge(self) -> None:
        while True:
            await asyncio.sleep(min(60.0, self.minutes * 60 / 20))
            try:
                await (await self.people.journal()).purge()
            except JournalDown as error:  # as a timer of an operator's would: the next one takes what is left
                say(f"the purge is put off: {error}")

    # Sampling --------------------------------------------------------------------------------------

    async def _sample(self) -> None:
        every = max(2.0, self.minutes * 60 / 360)
        while True:
            await asyncio.sleep(every)
            for post in self.posts.values():
                post.records.clear()  # nobody asks for them here, and we must not grow either
            minutes = (time.time() - self.began) / 60
            await self._of_workers(minutes)
            with suppress(OSError, TimeoutError, asyncpg.PostgresError):  # one point less
                await self._of_journal(minutes)
            self._of_latency(minutes)
            if int(minutes * 60 / every) % 10 == 0:
                say(f"{minutes:6.1f} min: sent {self.sent}, ended {self.ended}, open {len(self.given)}")

    async def _of_workers(self, minutes: float) -> None:
        for slot in self.arena.slots:
            if slot.process is None:
                continue
            with suppress(psutil.Error):
                one = psutil.Process(slot.process.pid)
                self.samples.add("memory", slot.name, minutes, one.memory_info().rss / MIB)
                self.samples.add("files", slot.name, minutes, one.num_fds())
                self.samples.add("connections", slot.name, minutes, len(one.net_connections("tcp")))

    async def _of_journal(self, minutes: float) -> None:
        connection = await asyncpg.connect(self.arena.postgres.url(DATABASE), timeout=10)
        try:
            size = await connection.fetchval("SELECT pg_database_size(current_database())")
        finally:
            await connection.close()
        self.samples.add("journal", "", minutes, size / MIB)

    def _of_latency(self, minutes: float) -> None:
        took, self.took = sorted(self.took), []
        if took:
            self.samples.add("p50", "", minutes, took[len(took) // 2])
            self.samples.add("p99", "", minutes, took[min(len(took) - 1, int(len(took) * 0.99))])


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def soak(minutes: float, rate: float) -> Soak:
    keep = f"{max(20, round(minutes * 5))}s"
    short = {"retention": keep, "dedup_window": keep}
    async with opened(1, journal=short, events={"retention": keep}, worker={"poll": 1.0}) as arena:
        one = Soak(arena, minutes, rate)
        await one.run()
        return one


def charts(samples: Samples) -> list[Chart]:
    return [Chart(each.title, each.unit, samples.points.get(name, {})) for name, each in SERIES.items()]


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.faults.soak", description=(__doc__ or "").splitlines()[0]
    )
    put = parser.add_argument
    put("--minutes", type=float, default=60.0, help="how long (default: 60)")
    put("--rate", type=float, default=20.0, help="commands a second (default: 20)")
    put(
        "--graph", type=Path, default=GRAPH, help=f"where the graph goes (default: {GRAPH.relative_to(ROOT)})"
    )
    put("--json", action="store_true", help="verdicts and samples as one JSON object")
    given = parser.parse_args()
    own_mounts()
    done = asyncio.run(soak(given.minutes, given.rate))
    verdicts = done.samples.verdict(given.minutes)
    subtitle = f"{done.ended:,} commands in {given.minutes:g} minutes, {given.rate:g} a second, three workers"
    given.graph.write_text(draw("Soak", subtitle, charts(done.samples)))
    flat = all(one.flat for one in verdicts.values()) and bool(verdicts)
    if given.json:
        told = {name: asdict(one) for name, one in verdicts.items()}
        print(
            json.dumps({"flat": flat, "ended": done.ended, "verdicts": told, "samples": done.samples.points})
        )
    else:
        print(f"{subtitle}; {len(done.given)} had not ended when it stopped")
        print("medians of the second and the last quarter:")
        print("\n".join(f"  {name:22} {one}" for name, one in verdicts.items()))
        print(f"{'FLAT' if flat else 'NOT FLAT'}; the graph is {given.graph}")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
