"""The whole thing, set up once for a file of tests: broker, journal, simulator, one worker, two listeners.

    stage = staged()          # a fixture of the module, run on both journals

    async def test_something(stage: Stage): ...

Tests of such a file run in the event loop of the module: `pytestmark = MODULE`.
"""

from __future__ import annotations

import asyncio
import io
import logging
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
import structlog
from aio_pika import Message

from tests.support.amqp import Heard, Listener, Sender, eventually, message
from tests.support.storm import Sippulse
from tests.support.worker import Finished, WorkerProcess, Workers
from worker.cli import main
from worker.sandbox.rabbitmq import PrivateRabbit

MODULE = pytest.mark.asyncio(loop_scope="module")
PLATFORM = "sippulse-br"
DOMAIN = "sip.example"
JOURNALS = ("sqlite", "postgresql")

Settings = Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class Stage:
    """What a test may reach for. `journal`: the address of PostgreSQL, None for SQLite in the folder."""

    folder: Path
    broker: str
    journal: str | None
    platform: Sippulse
    workers: Workers
    results: Listener
    audit: Listener
    worker: WorkerProcess

    async def send(self, *bodies: Any, queue: str = "provisioning.commands", **properties: Any) -> None:
        """Commands, bytes, or messages made by `message` (without `properties`); in this order, all confirmed."""
        made = [body if isinstance(body, Message) else message(body, **properties) for body in bodies]
        async with Sender(self.broker) as sender:
            await sender.send_all(made, queue)

    async def ending(self, command_id: str, *statuses: str, within: float = 60.0) -> Heard:
        """The first final result of a command (or the first event with one of `statuses`)."""
        wanted = statuses or FINAL
        found = await eventually(
            lambda: next((e for e in self.results.of(command_id) if e.data["status"] in wanted), None),
            within,
            what=f"{' or '.join(wanted)} of {command_id}; heard {[e.type for e in self.results.of(command_id)]}",
        )
        assert isinstance(found, Heard)
        return found

    async def cli(self, *words: str, code: int | None = 0, **env: str) -> Any:
        """Run a verb; `code` is what it has to end with, None for any."""
        done = await self.workers.worker(*words, within=120.0, stdin="", **env)
        assert code in (None, done.code), f"worker {' '.join(words)}: {done.code}\n{done.out}\n{done.err}"
        return done

    async def here(self, *words: str) -> Finished:
        """Run a verb in this process: as `cli`, for those who call many and need only what is said."""
        said, complained = io.StringIO(), io.StringIO()
        with _logging_kept(), redirect_stdout(said), redirect_stderr(complained):
            code = await asyncio.to_thread(main, ["--config", str(self.workers.file), *words])
        return Finished(code, said.getvalue(), complained.getvalue())

    async def settled(self, within: float = 60.0) -> None:
        """Nothing waits in the journal to be sealed or published. (The figures may be 5 s old.)"""
        left = " + ".join(
            f"(SELECT count(*) FROM {table} WHERE published_at IS NULL)" for table in ("outbox", "audit")
        )

        async def quiet() -> bool:
            return bool(await self.value(f"SELECT {left}") == 0)

        await eventually(quiet, within, 0.1, "an empty outbox")

    async def value(self, query: str) -> Any:
        """The one value that a query of the journal gives."""
        if self.journal is not None:
            connection = await asyncpg.connect(self.journal)
            try:
                return await connection.fetchval(query)
            finally:
                await connection.close()
        with closing(sqlite3.connect(self.workers.folder / "worker.db")) as file:
            return file.execute(query).fetchone()[0]

    async def figures(self) -> dict[str, float]:
        """Samples of /metrics, with their labels as they stand there; those of the journal are 5 s old at most."""
        return samples((await self.worker.get("/metrics"))[1])


@contextmanager
def _logging_kept() -> Iterator[None]:
    """A verb sets up logging for its process, which is ours here."""
    root, ours = logging.getLogger(), structlog.get_config()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers, root.level = handlers, level
        structlog.configure(**ours)


FINAL = ("succeeded", "rejected", "cancelled", "expired", "refused")


def samples(text: str) -> dict[str, float]:
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def staged(
    settings: Settings | None = None,
    journals: tuple[str, ...] = JOURNALS,
    *,
    listen: bool = True,
    **platform: Any,
) -> Callable[..., Any]:
    """A fixture of the module's scope. `settings`: tables of worker.toml; `platform`: keys of the platform's."""

    @pytest_asyncio.fixture(scope="module", loop_scope="module", params=journals)
    async def stage(
        request: pytest.FixtureRequest, rabbit: PrivateRabbit, tmp_path_factory: pytest.TempPathFactory
    ) -> AsyncIterator[Stage]:
        folder = tmp_path_factory.mktemp("stage")
        async with opened(request, rabbit, folder, settings, listen=listen, **platform) as one:
            yield one

    return stage


@asynccontextmanager
async def opened(
    request: pytest.FixtureRequest,
    rabbit: PrivateRabbit,
    folder: Path,
    settings: Settings | None = None,
    *,
    listen: bool = True,
    **platform: Any,
) -> AsyncIterator[Stage]:
    """`listen` False: nobody is bound to results and audit."""
    postgres = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    name = f"stage_{secrets.token_hex(4)}"
    broker = rabbit.add_vhost(name)
    journal = postgres.create_database(name) if postgres else None
    try:
        async with (
            Sippulse(folder / "platform") as simulator,
            Listener(broker, "provisioning.results" if listen else None) as results,
            Listener(broker, "provisioning.audit" if listen else None) as audit,
            Workers(
                folder / "worker",
                broker,
                {PLATFORM: {"url": simulator.url, **platform}},
                journal=journal,
                settings=settings,
            ) as workers,
        ):
            worker = await workers.start()
            yield Stage(folder, broker, journal, simulator, workers, results, audit, worker)
    finally:
        rabbit.remove_vhost(name)
        if postgres:
            postgres.drop_database(name)


def about(username: str, **data: Any) -> dict[str, Any]:
    """The data of a command about one subscriber."""
    return {"platform": PLATFORM, "subscriber": {"username": username, "domain": DOMAIN}, **data}
