"""One point on one journal: two processes die there, a third, which nobody touched, brings everything to its end.

The first process meets one command of every effect, the second meets them again beside another one of each.
So after two deaths there are commands that one process died over, and commands that two died over.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from tests.faults.points.nursery import Life, Nursery
from tests.faults.points.orders import BALANCE, EFFECTS, OLD, Traces, traces
from tests.support import stage as support
from tests.support.amqp import Heard, Listener, Sender, eventually, message
from tests.support.storm import FINAL, PLATFORM, Order, Sippulse, username_of
from tests.support.worker import Finished, Workers
from worker.sandbox.postgres import PrivatePostgres
from worker.sandbox.rabbitmq import PrivateRabbit

ROLES = "intake,engine,relay"
STARTS = 2  # processes that start at once: as many as a small machine has cores
NOBODY: Any = None  # a stage for tests has one worker; here they come one after the other
DEATHS = 2  # in a row; a third one would park the command (rule 1)
ONLY = {  # effects that have the point; else all
    "evidence": ("delete", "create", "increment", "change_secret", "create_in_steps", "update_in_steps"),
    "stepped": ("create_in_steps", "update_in_steps"),
}
AT_INTAKE = ("received", "admitting", "admitted")
AT_RELAY = ("settled", "confirmed", "sealing")

# A lease must outlast the wait of the first command at a point for the last one, whose window comes between; and
# a window wants two control reads within a third of it, however busy the machine is.
SETTINGS: Mapping[str, Any] = {
    "timeout": 10.0,
    "lease_margin": 8.0,
    "settle": 4.0,
    "rate": 5000.0,
    "concurrency": 64,
    "retry_first": 0.5,
    "retry_most": 2.0,
    "call_records": {"lag": 0.2},
}
LONG = 180.0  # seconds that are waited for anything, on a busy machine
TABLES: Mapping[str, Mapping[str, Any]] = {
    "worker": {"poll": 1.0},
    "events": {"notify_after": 600},
    "journal": {"connections": 4},
}

COMMANDS = "SELECT message_id, state, lapsed, sent_at FROM commands"
UNPUBLISHED = (
    "SELECT c.message_id FROM outbox o JOIN commands c ON c.id = o.command_id WHERE o.published_at IS NULL"
)
UNSEALED = (
    "SELECT c.message_id, a.what FROM audit a JOIN commands c ON c.id = a.command_id WHERE a.number IS NULL"
)
LEFT = (
    "SELECT (SELECT count(*) FROM commands WHERE finished_at IS NULL) AS commands,"
    " (SELECT count(*) FROM commands WHERE owner IS NOT NULL) AS claims,"
    " (SELECT count(*) FROM outbox WHERE published_at IS NULL) AS results,"
    " (SELECT count(*) FROM audit WHERE published_at IS NULL) AS audit,"
    " (SELECT count(*) FROM lanes WHERE window_opened IS NOT NULL) AS windows"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the journal, the platform and the listeners show while no process lives."""

    code: int  # how the process ended
    pid: int
    last_words: Mapping[str, Any]  # of the report
    commands: Mapping[str, Mapping[str, Any]]  # by id: state, lapsed, sent_at
    unpublished: frozenset[str]
    unsealed: frozenset[tuple[str, str]]
    applied: Mapping[str, tuple[str, ...]]  # subscriber -> operations
    heard: frozenset[str]  # ids of commands whose final result was out


@dataclass(slots=True)
class Line:
    """One command, and what came of it."""

    effect: str
    deaths: int
    order: Order
    results: list[Heard] = field(default_factory=list)
    traces: Traces | None = None

    @property
    def id(self) -> str:
        return str(self.order["id"])

    @property
    def username(self) -> str:
        return username_of(self.order)


@dataclass(slots=True)
class Outcome:
    """All facts of one point; the test cases judge them. `error`: why there are not all of them."""

    point: str
    lines: dict[tuple[str, int], Line]
    seen: list[Seen] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    verified: Finished | None = None
    log: str = ""
    error: BaseException | None = None


def cases_of(point: str) -> list[tuple[str, int]]:
    """Effect and number of deaths: between two steps a process dies over a command once for each such place."""
    wanted = [(name, deaths) for name in ONLY.get(point, tuple(EFFECTS)) for deaths in range(1, DEATHS + 1)]
    if point != "stepped":
        return wanted
    return [(name, deaths) for name, deaths in wanted if deaths < len(EFFECTS[name].operations)]


def lines_of(point: str, number: int) -> dict[tuple[str, int], Line]:
    """`number` keeps the subscribers of the points apart: they share one platform."""
    made = {}
    for place, (name, deaths) in enumerate(cases_of(point)):
        username = f"5511{number:03}{place:02}{deaths:02}"
        made[name, deaths] = Line(name, deaths, EFFECTS[name].make(username))
    return made


def dies_in(line: Line) -> int:
    """The place of the step over which its process dies; orders that are no effect of the table have one step."""
    return EFFECTS[line.effect].dies_in if line.effect in EFFECTS else 0


class Stage:
    """The places of one point: a virtual host, a journal, a folder."""

    def __init__(
        self, outcome: Outcome, whole: support.Stage, nursery: Nursery, turn: asyncio.Semaphore
    ) -> None:
        self.outcome = outcome
        self.whole = whole
        self._nursery = nursery
        self._turn = turn  # of the processes that start at once
        self._lives: list[Life] = []
        self._report = whole.folder / "report.jsonl"

    @property
    def point(self) -> str:
        return self.outcome.point

    def lines(self, deaths: int) -> list[Line]:
        return [line for line in self.outcome.lines.values() if line.deaths == deaths]

    # ------------------------------------------------------------ what happens

    async def play(self) -> None:
        await self._subscribers()
        twice, once = self.lines(2), self.lines(1)
        await self.die(twice, fresh=twice, later=twice)
        if self.point in AT_INTAKE + AT_RELAY:
            await self._send(once)
            await self.die([*twice, *once], fresh=once)
        else:
            await self.die([*twice, *once], fresh=[*twice, *once], first=twice, later=once)
        await self._recover()

    async def _subscribers(self) -> None:
        lines = self.outcome.lines.values()
        there = [line.username for line in lines if EFFECTS[line.effect].exists_before]
        await self.whole.platform.subscribers(there, balance=BALANCE, password=OLD)

    async def _send(self, lines: Sequence[Line]) -> None:
        async with Sender(self.whole.broker) as sender:
            await sender.send_all([message(line.order) for line in lines])

    async def die(
        self,
        lines: Sequence[Line],
        *,
        fresh: Sequence[Line],
        first: Sequence[Line] = (),
        later: Sequence[Line] = (),
    ) -> None:
        """One life, which ends when `lines` are at the point. `later` are sent when `first` have come there."""
        self._report = self.whole.folder / f"report-{len(self.outcome.seen) + 1}.jsonl"
        async with self._turn:
            life = self._bear(lines, [line.id for line in fresh])
            await eventually(lambda: life.consumes() or life.ended, LONG, 0.1, f"a start\n{life.tail()}")
        if later:
            await self._until_there(first, life)
            await self._send(later)
        code = await life.end(LONG)
        self.outcome.seen.append(await self._look(code, life))

    async def _until_there(self, lines: Sequence[Line], life: Life) -> None:
        wanted = {line.id for line in lines}
        try:
            await eventually(lambda: life.ended or wanted <= self._arrived(), LONG, 0.1)
        except AssertionError:
            missing = [line.effect for line in lines if line.id not in self._arrived()]
            raise AssertionError(f"{missing} did not come to {self.point}\n{life.tail()}") from None

    def _bear(self, lines: Sequence[Line], fresh: Sequence[str]) -> Life:
        folder, number = self.whole.workers.folder, len(self.outcome.seen) + 1
        plan = folder / f"plan-{number}.json"
        words = {
            "point": self.point,
            "commands": [line.id for line in lines],
            "fresh": fresh,
            "steps": {line.id: dies_in(line) for line in lines},
            "report": str(self._report),
        }
        plan.write_text(json.dumps(words))
        return self._born(str(plan), folder / f"life-{number}.log")

    def _born(self, plan: str, log: Path) -> Life:
        words = ["--config", str(self.whole.workers.file), "run", "--roles", ROLES]
        life = self._nursery.bear([plan, *words], self.whole.workers.folder, log)
        self._lives.append(life)
        return life

    def end(self) -> None:
        """Whoever still lives."""
        for life in self._lives:
            life.kill()

    def _said(self) -> list[dict[str, Any]]:
        text = self._report.read_text() if self._report.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def _arrived(self) -> set[str]:
        return {said["at"] for said in self._said() if "at" in said}

    async def _recover(self) -> None:
        """A process that nobody touched goes on with what the others left."""
        worker = await self.untouched()
        with suppress(AssertionError):  # what is left is a fact like the others: the cases say whose it is
            await eventually(self._all_ended, LONG, 0.25)
        for line in self.outcome.lines.values():
            line.results = [one for one in self.whole.results.of(line.id) if one.data["status"] in FINAL]
            line.traces = await traces(self.whole.platform, line.username)
        self.outcome.left = await self.left()
        self.outcome.verified = await self.verify()
        self.outcome.log = worker.tail()

    async def untouched(self) -> Life:
        async with self._turn:
            life = self._born("-", self.whole.workers.folder / "fresh.log")
            await eventually(life.consumes, LONG, 0.1, f"a start\n{life.tail()}")
        return life

    async def _all_ended(self) -> bool:
        return all(map(self.has_final, self.outcome.lines.values())) and not any((await self.left()).values())

    async def left(self) -> dict[str, int]:
        """What is not done with in the journal, by name."""
        [row] = await self.rows(LEFT)
        return dict(row)

    def has_final(self, line: Line) -> bool:
        """And, where it was published and not struck off, once more: it may be on its way to us still."""
        heard = sum(one.data["status"] in FINAL for one in self.whole.results.of(line.id))
        return heard > (line.deaths if self.outcome.point == "confirmed" else 0)

    # ------------------------------------------------------------ what can be seen from outside

    async def _look(self, code: int, life: Life) -> Seen:
        said = [one for one in self._said() if "died" in one]
        lines = self.outcome.lines.values()
        return Seen(
            code=code,
            pid=life.pid,
            last_words=said[-1] if said else {},
            commands={row["message_id"]: dict(row) for row in await self.rows(COMMANDS)},
            unpublished=frozenset(row[0] for row in await self.rows(UNPUBLISHED)),
            unsealed=frozenset((row[0], row[1]) for row in await self.rows(UNSEALED)),
            applied=await self._applied(),
            heard=frozenset(line.id for line in lines if self.has_final(line)),
        )

    async def _applied(self) -> dict[str, tuple[str, ...]]:
        ours = {line.username for line in self.outcome.lines.values()}
        log = (await self.whole.platform.ask("log"))["log"]
        found: dict[str, tuple[str, ...]] = dict.fromkeys(ours, ())
        for one in log:
            if one["username"] in ours:
                found[one["username"]] += (one["operation"],)
        return found

    async def rows(self, query: str) -> Sequence[Any]:
        """Straight from the database; none before there is a journal."""
        if self.whole.journal is not None:
            connection = await asyncpg.connect(self.whole.journal)
            try:
                return list(await connection.fetch(query))
            finally:
                await connection.close()
        file = self.whole.workers.folder / "worker.db"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as journal:
            journal.row_factory = sqlite3.Row
            return journal.execute(query).fetchall()

    async def verify(self) -> Finished:
        """The chain in the journal against the events that were published of it."""
        collected = self.whole.folder / "audit.jsonl"
        collected.write_bytes(b"".join(one.body + b"\n" for one in self.whole.audit.heard))
        return await self.verb("audit", "verify", "--collected", str(collected))

    async def verb(self, *words: str) -> Finished:
        """A verb of the command line, with this stage's settings."""
        async with ONE_VERB:
            return await self.whole.here(*words)


ONE_VERB = asyncio.Lock()  # verbs that run in this process share its standard output


@dataclass(slots=True)
class Theatre:
    """What all stages of a module share: services, the platform, the mother of those who die."""

    folder: Path
    rabbit: PrivateRabbit
    postgres: PrivatePostgres | None  # None: SQLite
    platform: Sippulse
    nursery: Nursery
    turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(STARTS))

    @asynccontextmanager
    async def stage(self, outcome: Outcome, **platform: Any) -> AsyncIterator[Stage]:
        """Places of its own for one point. `platform`: other settings of the platform's than `SETTINGS`."""
        name = f"points_{outcome.point}_{secrets.token_hex(3)}"
        broker = self.rabbit.add_vhost(name)
        journal = await asyncio.to_thread(self.postgres.create_database, name) if self.postgres else None
        settings = {PLATFORM: {"url": self.platform.url, **SETTINGS, **platform}}
        folder = self.folder / name
        try:
            async with (
                Listener(broker) as results,
                Listener(broker, "provisioning.audit") as audit,
                Workers(folder, broker, settings, journal=journal, settings=TABLES) as workers,
            ):
                whole = support.Stage(folder, broker, journal, self.platform, workers, results, audit, NOBODY)
                stage = Stage(outcome, whole, self.nursery, self.turn)
                try:
                    yield stage
                finally:
                    stage.end()
        finally:
            self.rabbit.remove_vhost(name)
            if self.postgres:
                await asyncio.to_thread(self.postgres.drop_database, name)


@asynccontextmanager
async def theatre(
    folder: Path, rabbit: PrivateRabbit, postgres: PrivatePostgres | None
) -> AsyncIterator[Theatre]:
    with Nursery(folder) as nursery:
        async with Sippulse(folder / "platform") as platform:
            await platform.tell("switches", duplicates="double")
            yield Theatre(folder, rabbit, postgres, platform, nursery)
