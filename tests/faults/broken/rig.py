"""One worker, whole or broken, between the real RabbitMQ, a real journal and the simulator; and its history.

async with rig(folder, broker, platform, journal) as stage:
    worker = await stage.start("retry_unclear_credit")
    await stage.send(order)
    await stage.quiet()
    report = check(await stage.history())
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg
import psutil

from tests.faults.history import Applied, Exchange, Heard, History, Sent
from tests.faults.mail import subject
from tests.support import amqp
from tests.support.amqp import Listener, Sender, eventually
from tests.support.storm import DOMAIN, FINAL, PLATFORM, Order, Sippulse
from tests.support.worker import START, WorkerProcess, Workers

LAUNCH = "tests.faults.broken.launch"
COMMANDS = "provisioning.commands"
ROLES = "intake,engine,relay"
SETTINGS: Mapping[str, Any] = {
    "timeout": 1.0,
    "lease_margin": 4.0,
    "settle": 2.0,
    "retry_first": 0.1,
    "retry_most": 0.5,
    "call_records": {"lag": 0.1},
}
# As whole as an update needs it, which writes back all of it.
RECORD = {
    "password": "sip-password",
    "passwordPortal": "portal-password",
    "profile": "residential",
    "ratePlanId": 3,
    "document": "52998224725",
}
LEFT = (
    "SELECT (SELECT count(*) FROM commands WHERE finished_at IS NULL AND state <> 'parked')"
    " + (SELECT count(*) FROM outbox WHERE published_at IS NULL)"
    " + (SELECT count(*) FROM audit WHERE published_at IS NULL)"
    " + (SELECT count(*) FROM lanes WHERE window_opened IS NOT NULL)"
)
MARK = b"the end, so far"
UNFINISHED = "SELECT message_id, state FROM commands WHERE finished_at IS NULL"


class Ear(Listener):
    """Knows when each event came."""

    def __init__(self, url: str, exchange: Exchange) -> None:
        super().__init__(url, f"provisioning.{exchange}")
        self.name: Exchange = exchange
        self.times: list[float] = []
        self.marks = 0

    async def _hear(self, message: Any) -> None:
        if message.body == MARK:
            self.marks += 1
            await message.ack()
            return
        self.times.append(time.time())
        await super()._hear(message)

    async def caught_up(self) -> None:
        """All that RabbitMQ has put into our queue so far has been heard."""
        wanted = self.marks + 1
        async with await aio_pika.connect(self._url) as connection:
            channel = await connection.channel()
            await channel.default_exchange.publish(aio_pika.Message(MARK), self.queue)
        await eventually(lambda: self.marks >= wanted, 30, what="the end of our own queue")

    @property
    def events(self) -> list[Heard]:
        return [self._event(one, at) for one, at in zip(self.heard, self.times, strict=False)]

    def _event(self, one: amqp.Heard, at: float) -> Heard:
        command = (one.data.get("command") or {}).get("id")
        attributes = {name: str(value) for name, value in one.event.items() if name != "data"}
        return Heard(self.name, one.type, one.event["id"], command, attributes, one.data, one.body, at)


@dataclass(slots=True)
class Stage:
    """`journal`: the address of PostgreSQL, None for SQLite in the folder."""

    broker: str
    journal: str | None
    platform: Sippulse
    workers: Workers
    results: Ear
    audit: Ear
    sent: list[Sent] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)  # records of the platform

    async def start(self, broken: str, roles: str = ROLES, *, ready: bool = True) -> WorkerProcess:
        """`broken`: what `launch` takes."""
        workers = self.workers
        words = [sys.executable, "-m", LAUNCH, broken, "--config", str(workers.file), "run", "--roles", roles]
        log = workers.folder / f"worker-{len(workers.processes) + 1}.log"
        child = workers._keeper.spawn(
            log.stem, words, env=workers._environment(), cwd=workers.folder, log=log
        )
        process = WorkerProcess(child, log, workers._keeper)
        workers.processes.append(process)
        if ready:
            await workers.until_ready(process)
        if ready and "intake" in roles:
            await self.takes(process)
        return process

    async def takes(self, process: WorkerProcess) -> None:
        """Its queues are there, and it consumes."""
        queues = [COMMANDS, f"{COMMANDS}.bulk"]

        def both() -> bool:
            started = {one["queue"] for one in process.events("consumer.started")}
            return started >= set(queues)

        await eventually(both, START, 0.05, f"a consumer of {queues}\n{process.tail()}")

    async def stopped(self, process: WorkerProcess) -> None:
        """It was frozen at the moment that its patch names."""
        await eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, 30, 0.02)

    async def died(self, process: WorkerProcess) -> None:
        """It was killed at the moment that its patch names."""
        assert await process.ended() == -9, process.tail()
        process.kill()  # its number may soon be somebody else's: the keeper forgets it

    async def send(self, *orders: Order) -> None:
        for one in orders:
            who = subject(one["data"])
            subscriber = f"{who['username']}@{who['domain']}" if who else ""
            self.sent.append(
                Sent(
                    one["id"],
                    one["source"],
                    one["type"],
                    one["data"].get("platform", ""),
                    subscriber,
                    str(one.get("idempotencykey") or one["id"]),
                    one["data"],
                    time.time(),
                )
            )
        async with Sender(self.broker) as sender:
            await sender.send_all([amqp.message(one) for one in orders])

    async def ended(self, order: Order, within: float = 60.0) -> None:
        await eventually(
            lambda: any(one.data["status"] in FINAL for one in self.results.of(order["id"])),
            within,
            what=f"a final result of {order['type']} {order['id']}\n{self.workers.processes[-1].tail()}",
        )

    async def received(self, operation: str, times: int = 1, within: float = 30.0) -> None:
        """The platform has got so many requests."""

        async def there() -> bool:
            counts = (await self.platform.ask("counts"))["operations"]
            return bool(counts.get(operation, {}).get("received", 0) >= times)

        await eventually(there, within, 0.02, f"{times} × {operation}")

    async def quiet(self, within: float = 60.0) -> None:
        """Nothing is left to do, to publish or to land."""

        async def done() -> bool:
            [[left]] = await self.ask(LEFT)
            return bool(left == 0)

        await eventually(done, within, 0.1, f"an end\n{self.workers.processes[-1].tail()}")
        await self.platform.settled()
        for ear in (self.results, self.audit):
            await ear.caught_up()

    async def ask(self, query: str) -> list[tuple[Any, ...]]:
        if self.journal is not None:
            connection = await asyncpg.connect(self.journal)
            try:
                return [tuple(row) for row in await connection.fetch(query)]
            finally:
                await connection.close()
        with closing(sqlite3.connect(self.workers.folder / "worker.db", timeout=30)) as file:
            return list(file.execute(query))

    async def history(self) -> History:
        return History(
            sent=self.sent,
            applied=[applied(entry) for entry in (await self.platform.ask("log", secrets="1"))["log"]],
            heard=[*self.results.events, *self.audit.events],
            subscribers_before=self.before,
            subscribers_after=await records(self.platform),
            logs=tuple(process.log_file for process in self.workers.processes),
            unfinished=dict(await self.ask(UNFINISHED)),
            key=(self.workers.folder / "worker.key").read_text().strip(),
        )


async def records(platform: Sippulse) -> dict[str, Any]:
    state = (await platform.ask("state", secrets="1"))["subscribers"]
    return {f"{one['username']}@{one['domain']}": one for one in state}


def applied(entry: Mapping[str, Any]) -> Applied:
    """From the simulator's log."""
    arguments, credit = entry["arguments"], entry["operation"] == "addCredit"
    return Applied(
        entry["sequence"],
        entry["operation"],
        f"{entry['username']}@{entry['domain']}",
        str(arguments.get("obs", "")).partition(" ")[0] if credit else None,
        Decimal(str(arguments["value"])) if credit else None,
        entry["at"],
        entry.get("changed"),
    )


@asynccontextmanager
async def rig(
    folder: Path, broker: str, platform: Sippulse, journal: str | None = None, **settings: Any
) -> AsyncIterator[Stage]:
    """`platform` is reset and has one subscriber, joao; `settings` are of the worker's platform."""
    await platform.tell("reset")
    await platform.subscribers(["joao", "ana"], balance="50", **RECORD)
    await platform.tell("switches", duplicates="double")
    table = {PLATFORM: {"url": platform.url, **SETTINGS, **settings}}
    async with (
        Ear(broker, "results") as results,
        Ear(broker, "audit") as audit,
        Workers(folder, broker, table, journal=journal) as workers,
    ):
        yield Stage(broker, journal, platform, workers, results, audit, before=await records(platform))


__all__ = ["DOMAIN", "Stage", "rig"]
