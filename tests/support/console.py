"""The console over a journal, without a port: requests go straight into the application.

async with Front(place.url, journal) as front:
    ana = await front.person("ana", "operator")
    answer = await ana.get("/commands")
    answer = await ana.act("/commands/1/retry", reason="again")
"""

from __future__ import annotations

import re
from types import TracebackType
from typing import Any, Self

import httpx

from worker.console.app import build
from worker.console.health import JournalWatch, Readiness
from worker.console.metrics import Metrics
from worker.console.office import Office
from worker.console.oidc.provider import Provider
from worker.console.runner import Runner
from worker.journal.console import people
from worker.journal.console.access import ConsoleJournal
from worker.journal.journal import StoredJournal
from worker.onboarding.desk import Desk
from worker.onboarding.workshop import Means
from worker.telemetry import Telemetry

PASSWORD = "a password that is long enough"
HERE = "http://console.test"


class Front:
    def __init__(
        self,
        url: str,
        journal: StoredJournal,
        kinds: dict[str, str] | None = None,
        provider: Provider | None = None,
        local: bool = True,
    ) -> None:
        watch = JournalWatch(journal)
        self.kinds = kinds or {"sip-br": "sippulse"}
        self.stored = journal
        self.journal = ConsoleJournal(journal, url)
        readiness = Readiness(watch, ["console"], self.kinds)
        runner = Runner(self.journal, "test")
        self.office = Office(self.journal, readiness, self.kinds, runner, HERE)
        self.office.provider, self.office.local = provider, local
        self.office.batches = Desk(
            journal, Means("test", self.kinds, {}, _nothing, _nowhere, 262_144, 2_000_000)
        )
        self.app = build(readiness, Metrics(Telemetry().registry, watch), self.office)
        self._clients: list[httpx.AsyncClient] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.office.closing.set()
        for client in self._clients:
            await client.aclose()
        await self.office.runner.stop()
        if self.office.batches is not None:
            await self.office.batches.stop()
        await self.journal.close()

    def client(self, **headers: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url=HERE, headers=headers)
        self._clients.append(client)
        return client

    async def user(self, name: str, role: people.Role) -> None:
        hash = await self.office.hashed(PASSWORD)
        await self.stored.run(lambda tx: people.put_user(tx, name, role, hash, "test", "for a test"))

    async def person(self, name: str, role: people.Role) -> Browser:
        """A user of that role, signed in."""
        await self.user(name, role)
        client = self.client()
        answer = await client.post("/sign-in", data={"name": name, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        return Browser(client)

    async def token(self, name: str, role: people.Role) -> httpx.AsyncClient:
        """A program of that role."""
        secret = await self.stored.run(lambda tx: people.make_token(tx, name, role, 1, "test", "for a test"))
        return self.client(authorization=f"Bearer {secret}")


async def _nothing(name: str) -> Any:
    raise ValueError(f"there is no platform {name} in these tests")


def _nowhere() -> Any:
    raise AssertionError("there is no RabbitMQ in these tests")


class Browser:
    """A session; forms carry its mark."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path)

    async def mark(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', (await self.client.get("/scheduled")).text)
        assert found is not None
        return found[1]

    async def act(self, path: str, **fields: Any) -> httpx.Response:
        return await self.client.post(path, data={"csrf": await self.mark(), **fields})


def said(answer: httpx.Response) -> str:
    """What a page complains about."""
    found = re.findall(r'role="alert"[^>]*>([^<]*)<', answer.text)
    return " ".join(found)
