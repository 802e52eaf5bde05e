"""One storm from beginning to end: everything started, orders sent, things broken, all mended, and the history.

outcome = await storm(Plan(seed=7, minutes=2.0, commands=2000), say=print)
report = check(outcome.history)
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg

from tests.faults import mail
from tests.faults.arena import DATABASE, WORKERS, Arena, opened
from tests.faults.beside import beside
from tests.faults.breaks import STOP
from tests.faults.desk import KILLS, Batch
from tests.faults.history import Applied, Heard, History
from tests.faults.mail import Copies, Ear, Post
from tests.faults.nemesis import Nemesis
from tests.faults.people import People
from tests.faults.platform_breaks import STANDING
from tests.faults.workload import BULK, INTERACTIVE, Workload, write
from tests.support.amqp import eventually
from tests.support.storm import FINAL
from worker.broker.link import address
from worker.broker.topology import declare

Say = Callable[[str], None]
BALANCE = "100.00"
CONFIRMED = 60.0  # seconds after the end until RabbitMQ has taken all
QUIET = 180.0  # seconds after that until nothing is left to do
CALM = 2  # looks in a row that find nothing


@dataclass(frozen=True, slots=True)
class Plan:
    """`only`: names of faults or lanes; empty: all. `calm`: no faults at all, the platform's own neither.

    `pace`: above 1, more time between faults. `first`: faults that come in any case, before the others of their lanes.
    `quiet`: seconds after the storm until nothing may be left.
    """

    seed: int
    minutes: float = 2.0
    commands: int = 2000
    subscribers: int | None = None
    only: tuple[str, ...] = ()
    calm: bool = False
    pace: float = 1.0
    quiet: float = QUIET
    first: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return self.minutes * 60


@dataclass(slots=True)
class Outcome:
    """What came of it. `complaints`: what should not have happened and no history shows; `troubles`: of our own.

    `left_out`: faults that this machine does not allow, and why. `logged`: what workers logged as errors, how often.
    `folder`: logs and settings, which the history's `logs` are read from; whoever has it removes it.
    """

    plan: Plan
    history: History
    faults: dict[str, int]
    platform_faults: dict[str, int]
    seconds: float
    left: dict[str, int]
    exits: int
    disk: str
    complaints: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    logged: dict[str, int] = field(default_factory=dict)
    folder: Path = Path()

    def as_json(self) -> dict[str, Any]:
        names = [
            "logged",
            "faults",
            "platform_faults",
            "seconds",
            "left",
            "exits",
            "disk",
            "complaints",
            "troubles",
            "left_out",
        ]
        plan = {"seed": self.plan.seed, "minutes": self.plan.minutes, "commands": self.plan.commands}
        return {**plan, **{name: getattr(self, name) for name in names}}


async def storm(plan: Plan, say: Say = lambda text: None) -> Outcome:
    """Everything of it; nothing is left running afterwards."""
    began = time.monotonic()
    work = write(plan.seed, plan.commands, plan.seconds, plan.subscribers)
    say(
        f"seed {plan.seed}: {work.commands} commands about {len(work.subscribers)} subscribers and more; starting"
    )
    async with opened(plan.seed, work.numbers) as arena:
        return await Storm(plan, work, arena, say).run(began)


class Storm:
    """The parts of one storm while it rages."""

    def __init__(self, plan: Plan, work: Workload, arena: Arena, say: Say) -> None:
        self.plan, self.work, self.arena, self.say = plan, work, arena, say
        self.people = People(arena, plan.seed)
        self.final: set[str] = set()
        self.results = Ear(arena.rabbit.url, "results", told=(self.people.hear, self._count))
        self.audit = Ear(arena.rabbit.url, "audit")
        rows = max(6, plan.commands // 100)
        self.batch = Batch(arena, plan.seed, rows, kills=0 if plan.calm else KILLS)
        self.copies = Copies(arena.rabbit.url, self.people.orders)
        self.nemesis = Nemesis(arena, plan.seed, plan.only, plan.pace, plan.first)
        self.posts: dict[str, Post] = {}
        self.left: dict[str, int] = {}
        self.platform_faults: dict[str, int] = {}
        self.before: dict[str, Any] = {}
        self.began = 0.0
        self.phase = "starting"

    def _count(self, event: Heard) -> None:
        if event.command and event.data.get("status") in (*FINAL, "refused"):
            self.final.add(event.command)

    async def run(self, started: float) -> Outcome:
        ears = [self.results.run(), self.audit.run(), self.copies.run()]
        # Before anybody else's queue is bound to their exchanges: what RabbitMQ then confirms, the worker's has.
        await declare(address(self.arena.rabbit.url))
        async with beside(self.arena.supervise(), *ears, self._progress()) as tasks:
            await self._prepare()
            async with beside(self.batch.run()):
                await self._rage()
                await self._calm_down()
            verified = await self.arena.worker("audit", "verify", within=300)
            await self._all_heard()
            await self._stop(tasks[0])
            self.arena.take_logs_of_services()
            history = await self._history(None if verified.code == 0 else verified.out + verified.err)
        return self._outcome(history, time.monotonic() - started)

    # Before and while ----------------------------------------------------------------------------

    async def _prepare(self) -> None:
        ears = (self.results, self.audit, self.copies)
        await asyncio.wait_for(asyncio.gather(*(ear.ready.wait() for ear in ears)), 60)
        records, platform = [*self.work.subscribers, *self.batch.records], self.arena.platform
        for first in range(0, len(records), 500):
            portion = [{**one, "balance": BALANCE} for one in records[first : first + 500]]
            await platform.tell("subscribers", subscribers=portion)
        self.before = await self._records()
        await platform.tell("switches", duplicates="double")  # a second creation must not be refused by luck
        await self.arena.until_started()
        if not self.plan.calm:
            await platform.tell("faults", rules=list(STANDING), replace=True)
        self.began = time.time()
        self.posts = {queue: Post(self.arena.rabbit.url, queue, self.began) for queue in (INTERACTIVE, BULK)}

    async def _rage(self) -> None:
        self.phase = "raging"
        people = [self.people.decide(), self.people.meddle()]
        posts = [post.run() for post in self.posts.values()]
        async with beside(*posts), beside(*people) as acting:
            storm = [self._feed()] if self.plan.calm else [self._feed(), self.nemesis.rage(self.plan.seconds)]
            await asyncio.gather(*storm)
            self.phase = "mended"
            await self.arena.platform.tell("thaw")
            await self.arena.platform.heal()
            await self._confirmed()
            acting[1].cancel()
            await asyncio.gather(acting[1], return_exceptions=True)
        await self._leave()

    async def _leave(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.people.go(), 30)

    async def _feed(self) -> None:
        for one in self.work.messages:
            await asyncio.sleep(max(0.0, self.began + one.at - time.time()))
            self.people.orders.setdefault(one.event["id"], one.event)
            self.posts[one.queue].give(one)

    async def _confirmed(self) -> None:
        def all_taken() -> bool:
            return not any(post.unanswered for post in self.posts.values())

        with suppress(AssertionError):  # what is not confirmed stands so in the history
            await eventually(all_taken, CONFIRMED, 0.1)

    # Afterwards ----------------------------------------------------------------------------------

    async def _calm_down(self) -> None:
        """Until nothing is left to do, and somebody still decides what is parked."""
        self.phase = "calming down"
        async with beside(self.people.decide()):
            until, calm = time.monotonic() + self.plan.quiet, 0
            while calm < CALM and time.monotonic() < until:
                self.left = await self._patiently(self._look)
                calm = calm + 1 if not any(self.left.values()) else 0
                await asyncio.sleep(0.3)
        await self._leave()

    async def _patiently(self, look: Callable[[], Awaitable[dict[str, int]]]) -> dict[str, int]:
        try:
            return await asyncio.wait_for(look(), 30)
        except (*mail.GONE, asyncpg.PostgresError) as error:
            return {f"no answer ({type(error).__name__})": 1}

    async def _look(self) -> dict[str, int]:
        """What is left to do, by where it stands."""
        counts = await self.arena.platform.ask("counts")
        listed = {"the list": int(self.batch.code is None)}
        queues = await mail.depths(self.arena.rabbit.url)
        connection = await asyncpg.connect(self.arena.postgres.url(DATABASE), timeout=10)
        try:
            [found] = await connection.fetch(LEFT)
        finally:
            await connection.close()
        return {**found, **queues, **listed, "requests at the platform": counts["pending"]}

    async def _all_heard(self) -> None:
        """What is published is in our queues, and taken from them."""
        for _ in range(100):
            depths = await mail.depths(self.arena.rabbit.url)
            if not any(depths[name] for name in mail.OURS):
                return
            await asyncio.sleep(0.1)

    async def _stop(self, supervisor: asyncio.Task[None]) -> None:
        """The workers stop cleanly once more, with nothing to do."""
        self.phase = "stopping"
        supervisor.cancel()
        await asyncio.gather(supervisor, return_exceptions=True)
        running = [slot.process for slot in self.arena.slots if slot.process and slot.process.running]
        if len(running) < WORKERS:
            self.arena.complaints.append(f"only {len(running)} of {WORKERS} workers were running at the end")
        for process in running:
            process.terminate()
        for process in running:
            try:
                code = await process.ended(STOP)
            except AssertionError:
                self.arena.complaints.append(
                    f"{process.log_file.stem} did not end within {STOP:.0f} s at the end"
                )
                continue
            if code:
                self.arena.complaints.append(f"{process.log_file.stem} ended with {code} at the end")

    # The history -----------------------------------------------------------------------------------

    async def _history(self, audit_verify: str | None) -> History:
        platform = self.arena.platform
        log = (await platform.ask("log", secrets="1"))["log"]
        charges = (await platform.ask("charges"))["charges"]
        self.platform_faults = (await platform.ask("counts"))["faults"]
        state = await self._records()
        records = [record for post in self.posts.values() for record in post.records.values()]
        return History(
            sent=[mail.sent(record) for record in (*records, *self.copies.records.values())],
            applied=[_applied(entry) for entry in log] + [_charged(one, len(log)) for one in charges],
            heard=[*self.results.heard, *self.audit.heard],
            faults=sorted(self.nemesis.done, key=lambda fault: fault.began),
            acts=self.people.acts,
            balances_before={name: Decimal(BALANCE) for name in self.before},
            balances_after={name: Decimal(one["balance"]) for name, one in state.items() if "balance" in one},
            subscribers_before=self.before,
            subscribers_after=state,
            logs=tuple(self.arena.logs),
            audit_verify=audit_verify,
            unfinished=await self._unfinished(),
            secrets=(*self.work.secrets, *self.arena.secrets),
            key=(self.arena.folder / "worker.key").read_text().strip(),
        )

    async def _records(self) -> dict[str, Any]:
        """The platform's own, by "user@domain", passwords and what else is the subscriber's included."""
        people = (await self.arena.platform.ask("state", secrets="1"))["subscribers"]
        state = {f"{one['username']}@{one['domain']}": dict(one) for one in people}
        objects = await self.arena.platform.ask("objects")
        for table, name in (("dids", "aliasUsername"), ("locations", "contact")):
            for row in objects[table]:
                record = state.setdefault(f"{row['username']}@{row['domain']}", {})
                record[f"{table}/{row[name]}"] = record.get(f"{table}/{row[name]}", 0) + 1
        return state

    async def _unfinished(self) -> dict[str, str]:
        connection = await asyncpg.connect(self.arena.postgres.url(DATABASE), timeout=30)
        try:
            rows = await connection.fetch(UNFINISHED)
        finally:
            await connection.close()
        return {row["message_id"]: row["state"] for row in rows}

    def _outcome(self, history: History, seconds: float) -> Outcome:
        faults: dict[str, int] = {}
        for fault in history.faults:
            faults[fault.kind] = faults.get(fault.kind, 0) + 1
        arena, troubles = self.arena, list(self.nemesis.errors)
        arena.kept = True
        if unordered := [name for post in self.posts.values() for name in post.unordered]:
            troubles.append(f"RabbitMQ took later messages and not earlier ones: {unordered[:5]}")
        return Outcome(
            self.plan,
            history,
            faults,
            self.platform_faults,
            round(seconds, 1),
            {name: count for name, count in self.left.items() if count},
            arena.exits,
            arena.disk.kind,
            arena.complaints,
            troubles,
            self.nemesis.left_out(),
            _errors(self.arena.logs),
            arena.folder,
        )

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(2.0)
            if self.began:
                self.say(self._line())

    def _line(self) -> str:
        sent = sum(len(post.records) for post in self.posts.values())
        broken = "; ".join(self.nemesis.now.values())
        left = ", ".join(f"{name} {count}" for name, count in self.left.items() if count)
        return (
            f"{time.time() - self.began:5.0f} s {self.phase}: sent {sent}/{self.work.commands},"
            f" ended {len(self.final)}, faults {len(self.nemesis.done)}, acts {len(self.people.acts)}"
            + (f" | {broken}" if broken else "")
            + (f" | left: {left}" if left else "")
        )


# Those that wait for the result of their key's first have no command of their own.
UNFINISHED = """
SELECT message_id, state FROM commands WHERE finished_at IS NULL
UNION ALL SELECT message_id, 'waiting' FROM identities WHERE status IS NULL AND role = 'duplicate'
"""
LEFT = """
SELECT (SELECT count(*) FROM commands WHERE finished_at IS NULL) AS commands,
       (SELECT count(*) FROM identities WHERE status IS NULL AND role = 'duplicate') AS duplicates,
       (SELECT count(*) FROM outbox WHERE published_at IS NULL) AS outbox,
       (SELECT count(*) FROM audit WHERE published_at IS NULL) AS audit,
       (SELECT count(*) FROM lanes WHERE window_opened IS NOT NULL) AS windows,
       (SELECT count(*) FROM console_acts WHERE state = 'going') AS acts
"""


def _errors(logs: Iterable[Path]) -> dict[str, int]:
    """By event; what is told of one platform or command counts as one. Libraries complain by their own lights."""
    found: dict[str, int] = {}
    for log in logs:
        for line in log.read_text(errors="replace").splitlines():
            if '"level":"error"' in line and '"logger":"worker.' in line:
                event = str(json.loads(line)["event"])
                found[event] = found.get(event, 0) + 1
            elif line.startswith("Traceback"):
                found["Traceback"] = found.get("Traceback", 0) + 1
    return found


def _applied(entry: Mapping[str, Any]) -> Applied:
    arguments = entry["arguments"]
    named = arguments.get("obs") or (
        arguments.get("contractNumber") if "insert" in entry["operation"] else None
    )
    amount = Decimal(str(arguments["value"])) if entry["operation"] == "addCredit" else None
    return Applied(
        entry["sequence"],
        entry["operation"],
        f"{entry['username']}@{entry['domain']}",
        str(named).split(" ")[0] if named else None,
        amount,
        entry["at"],
        entry["changed"],
    )


def _charged(charge: Mapping[str, Any], after: int) -> Applied:
    price = -Decimal(charge["price"])
    return Applied(after + charge["id"], "call", charge["accountcode"], None, price, charge["at"])
