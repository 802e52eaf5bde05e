"""An engine, its journal and a simulated SIPPulse in one process, for tests of the rules.

The journal is a real one, on SQLite and on PostgreSQL; the platform is reached over a socket by its adapter.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from worker.domain.effect import Risk
from worker.engine.engine import Engine
from worker.journal.core import Core
from worker.journal.journal import StoredJournal
from worker.journal.opening import open_journal
from worker.journal.port import Arrival, NewCommand
from worker.journal.schema import prepare
from worker.journal.vault import Vault, new_key
from worker.messages.envelope import Envelope
from worker.platforms.build import build
from worker.platforms.port import Platform
from worker.sandbox.postgres import PrivatePostgres
from worker.settings import PlatformSettings, SippulseSettings
from worker.simulators.sippulse import Simulator, SimulatorConfig, serve
from worker.simulators.sippulse.soap import Call
from worker.telemetry import Telemetry

PLATFORM, DOMAIN, CRM = "sip-br", "pbx.example", "/crm"
SOON = 40.0  # seconds that "eventually" may take on a busy machine
FINAL = ("succeeded", "rejected", "cancelled", "expired")

# Short times, so that a test is quick; a breaker that stays out of it unless the test is about it.
QUICK: dict[str, Any] = {
    "timeout": 0.6,
    "settle": 0.8,
    "retry_first": 0.1,
    "retry_most": 0.5,
    "rate": 5000,
    "lease_margin": 3.0,
    "call_records": {"lag": 0.15},
    "breaker_after": 1000,
    "breaker_probe_first": 0.1,
    "breaker_probe_most": 0.4,
    "hold_probe_first": 0.1,
    "hold_probe_most": 0.4,
}
PATIENT: dict[str, Any] = {"timeout": 5.0, "lease_margin": 10.0}  # where nothing may be lost by slowness

RISKS = {
    "credit.add": Risk.SENT,
    "subscriber.create": Risk.SENT,
    "subscriber.get": Risk.NONE,
    "credit.get": Risk.NONE,
    "number.release": Risk.SENT,
}

NEW_SUBSCRIBER: dict[str, Any] = {
    "password": "s3cret-of-a-new-one",
    "portal_password": "p0rtal-of-a-new-one",
    "profile": "default",
    "rate_plan_id": 3,
    "email": "ana@example.com",
    "country_code": "55",
    "area_code": "11",
    "call_limit": 2,
}


async def eventually(true: Callable[[], Any], within: float = SOON, what: str = "") -> Any:
    """Wait for a fact; what it was is told when it does not come true. Takes a coroutine function too."""
    end = time.monotonic() + within
    while True:
        found = true()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        assert time.monotonic() < end, f"not within {within:g} s: {what or true}"
        await asyncio.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the platform received it. `at` is time.monotonic()."""

    at: float
    operation: str
    username: str


class Watched:
    """A simulator that also notes what came, in order, and how many requests it had at once."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.seen: list[Seen] = []
        self.inside = 0
        self.most_inside = 0
        self._received = simulator.received
        simulator.received = self._note  # type: ignore[method-assign] # the log is the test's own

    async def _note(self, request: web.Request, call: Call) -> web.Response:
        self.seen.append(Seen(time.monotonic(), call.operation, call.subject[0]))
        counts = call.operation != "listDomains"  # control reads have places of their own
        self.inside += counts
        self.most_inside = max(self.most_inside, self.inside)
        try:
            return await self._received(request, call)
        finally:
            self.inside -= counts

    def asked(self, *operations: str, user: str | None = None, since: float = 0.0) -> list[Seen]:
        """Requests of these operations (all, if none is named), in order of arrival."""
        return [
            s
            for s in self.seen
            if (not operations or s.operation in operations) and user in (None, s.username) and s.at >= since
        ]

    def writes(self, user: str, since: float = 0.0) -> list[str]:
        """Operations that change something, asked for this subscriber."""
        return [
            s.operation
            for s in self.asked(user=user, since=since)
            if not s.operation.startswith(("retrieve", "list"))
        ]


class Stand:
    """What a test of the engine stands on. One platform unless it asks for more."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.url = url
        self.core = Core(Vault([new_key()]))
        self._stack = stack
        self._sent = 0
        self.journal: StoredJournal
        self.sim: Simulator
        self.watched: Watched
        self.engine: Engine

    async def open(self) -> StoredJournal:
        """One more process's view of the journal."""
        journal = await open_journal(self.url, self.core)
        self._stack.push_async_callback(journal.close)
        return journal

    async def simulator(self, **config: Any) -> tuple[Simulator, Watched]:
        sim = await serve(0, config=SimulatorConfig.from_values(config))
        self._stack.push_async_callback(sim.close)
        return sim, Watched(sim)

    async def platform(
        self, sim: Simulator, name: str = PLATFORM, **given: Any
    ) -> tuple[Platform, PlatformSettings]:
        wanted = {**QUICK, "kind": "sippulse", "url": sim.url, "login": "admin", "password": "admin", **given}
        settings = SippulseSettings(**wanted)
        platform = await build(name, settings)
        self._stack.push_async_callback(platform.close)
        return platform, settings

    async def start(self, *, on: StoredJournal | None = None, **settings: Any) -> Engine:
        """One process's engine for the one platform."""
        return await self.start_for([await self.platform(self.sim, **settings)], on=on)

    async def start_for(
        self, platforms: Sequence[tuple[Platform, PlatformSettings]], *, on: StoredJournal | None = None
    ) -> Engine:
        self.engine = Engine(platforms, on or self.journal, Telemetry(), poll=0.1)
        await self.engine.start()
        self._stack.push_async_callback(self.engine.stop, 0.2)
        return self.engine

    def seed(self, *users: str, balance: str = "100", **fields: Any) -> None:
        for user in users:
            self.sim.platform.seed({"username": user, "domain": DOMAIN, "balance": balance, **fields})

    def order(
        self, command: str, user: str, *, id: str | None = None, platform: str = PLATFORM, **given: Any
    ) -> Arrival:
        """`given`: data of the command; attributes of the envelope begin with an underscore."""
        self._sent += 1
        name = id or f"m{self._sent}"
        attributes = {key[1:]: value for key, value in given.items() if key.startswith("_")}
        data = {key: value for key, value in given.items() if not key.startswith("_")}
        envelope = Envelope(
            id=name,
            source=CRM,
            type=f"{command}.v1",
            data={"platform": platform, "subscriber": {"username": user, "domain": DOMAIN}, **data},
            idempotency_key=name,
            **attributes,
        )
        key = f"{platform}/subscriber/{user}@{DOMAIN}"
        new = NewCommand(envelope, platform, key, RISKS.get(command, Risk.CLAIM))
        return Arrival(new, b"{}", "provisioning.commands")

    async def send(self, command: str, user: str, **given: Any) -> str:
        """Admit one order; its id."""
        arrival = self.order(command, user, **given)
        await self.admit(arrival)
        assert isinstance(arrival.item, NewCommand)
        return arrival.item.envelope.id

    async def admit(self, *arrivals: Arrival) -> None:
        assert set(await self.journal.admit(arrivals)) == {"admitted"}

    # What became of it -----------------------------------------------------------------------------

    async def row(self, name: str) -> dict[str, Any]:
        [row] = await self.journal.commands({"message_id": name}, 2)
        return row

    async def became(self, name: str, *states: str, within: float = SOON) -> dict[str, Any]:
        """The command's row once it is in one of these states."""
        end = time.monotonic() + within
        while (row := await self.row(name))["state"] not in states:
            assert time.monotonic() < end, f"{name} is not {states} within {within:g} s: {row}"
            await asyncio.sleep(0.02)
        return row

    async def ended(self, name: str, within: float = SOON) -> dict[str, Any]:
        return await self.became(name, *FINAL, within=within)

    async def all_ended(self, within: float = SOON) -> Counter[tuple[str, str]]:
        """(state, effect) of all commands once none is left to do; parked ones count as left behind."""

        async def over() -> bool:
            health = await self.journal.health()
            return health.waiting + health.running + health.in_doubt == 0

        await eventually(over, within, "commands are left to do")
        rows = await self.journal.commands({}, 5000)
        return Counter((row["state"], row["effect"]) for row in rows)

    async def shown(self, name: str) -> dict[str, Any]:
        return await self.journal.command(name)

    async def events(self, name: str) -> list[dict[str, Any]]:
        """Result events about a command, as they will be published, oldest first."""
        found = []
        for outgoing in await self.journal.unpublished(5000):
            if outgoing.table == "outbox":
                event = json.loads(outgoing.body)
                if event["data"]["command"]["id"] == name:
                    found.append({"type": event["type"].split(".")[2], **event["data"]})
        return found

    async def result(self, name: str) -> dict[str, Any]:
        """The one final result; there is never a second one."""
        [final] = [event for event in await self.events(name) if event["type"] in FINAL]
        return final

    async def records(self, name: str) -> list[str]:
        """What the audit says happened to a command."""
        return [record["what"] for record in (await self.shown(name))["records"]]

    def credited(self, name: str) -> int:
        """How often the platform applied this credit, by its own count."""
        return sum(
            found.times
            for obs, found in self.sim.platform.ledger.credits_by_obs.items()
            if obs.split(" ")[0] == name
        )


class Templates:
    """Journals whose schema is made once: a copy costs a tenth of making it anew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copies = 0
        self._made: dict[str, str] = {}

    async def sqlite(self, to: Path) -> str:
        if "sqlite" not in self._made:
            self._made["sqlite"] = str(self._folder / "template.db")
            await prepare(f"sqlite:///{self._made['sqlite']}", only_empty=True)
        await asyncio.to_thread(shutil.copyfile, self._made["sqlite"], to)
        return f"sqlite:///{to}"

    async def postgres(self, server: PrivatePostgres) -> tuple[str, str]:
        """The new database's name and address."""
        if "postgres" not in self._made:
            self._made["postgres"] = f"template_{self._folder.name.replace('-', '_')}"
            await prepare(server.create_database(self._made["postgres"]), only_empty=True)
        self._copies += 1
        name = f"{self._made['postgres']}_{self._copies}"
        connection = await asyncpg.connect(server.url("postgres"))
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._made["postgres"]}"')
        await connection.close()
        return name, server.url(name)


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    return Templates(tmp_path_factory.mktemp("journals"))


@pytest.fixture(params=["sqlite", "postgres"])
async def stand(request: pytest.FixtureRequest, tmp_path: Path, templates: Templates) -> AsyncIterator[Stand]:
    """A journal, and a simulator with nobody in it. The engine is started by the test."""
    async with AsyncExitStack() as stack:
        if request.param == "postgres":
            server: PrivatePostgres = request.getfixturevalue("postgres")
            name, url = await templates.postgres(server)
            stack.callback(server.drop_database, name)
        else:
            url = await templates.sqlite(tmp_path / "worker.db")
        made = Stand(url, stack)
        made.journal = await made.open()
        made.sim, made.watched = await made.simulator()
        yield made


# For rules in which the journal only keeps what it is given: one of the two is enough.
any_journal = pytest.mark.parametrize("stand", ["sqlite"], indirect=True)
