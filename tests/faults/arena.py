"""What a storm rages over: the real services, three worker processes, and links between them that can be broken."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.disk import Disk
from tests.faults.links import Link
from tests.support.amqp import eventually
from tests.support.storm import PLATFORM, QUICK, ROOT, Sippulse
from tests.support.worker import PLATFORM as TESTED
from tests.support.worker import Finished, WorkerProcess, toml
from worker.sandbox.ports import answers
from worker.sandbox.postgres import PrivatePostgres
from worker.sandbox.processes import Keeper, ServiceError
from worker.sandbox.rabbitmq import PrivateRabbit

WORKERS = 3
DATABASE = "journal"
START = 120.0  # seconds until the workers run: a machine may be busy
TIMEOUT, LEASE, SETTLE = QUICK["timeout"], QUICK["timeout"] + QUICK["lease_margin"], QUICK["settle"]
UP = 5  # tries to start a service that was broken
FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
SKEWED = 3  # the worker whose clock can be set, where libfaketime is installed

# Everything as quick as the rules let it be; what concerns one platform is in `storm.QUICK`.
TABLES: Mapping[str, Mapping[str, Any]] = {
    "worker": {"grace": 10, "poll": 0.5},
    "console": {"port": 0},
    "events": {"notify_after": 30},
}
HASTE = {"heartbeat": 5, "publish_timeout": 5}


@dataclass(slots=True)
class Slot:
    """One worker's place: its links, its settings, and the process that runs in it now."""

    number: int
    links: Mapping[str, Link]
    file: Path
    process: WorkerProcess | None = None
    starts: int = 0
    held: bool = False  # a fault has its hands on the process: nobody else starts or judges it

    @property
    def name(self) -> str:
        return f"worker-{self.number}"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.running


@dataclass(slots=True)
class Arena:
    """All of it, running. `complaints`: what should not happen and is not the checker's to find."""

    folder: Path
    rabbit: PrivateRabbit
    postgres: PrivatePostgres
    platform: Sippulse
    disk: Disk
    slots: list[Slot]
    keeper: Keeper = field(repr=False)
    logs: list[Path] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    exits: int = 0  # processes that ended by themselves, and were started again
    secrets: tuple[str, ...] = field(default=(), repr=False)
    kept: bool = False

    @property
    def operator(self) -> Path:
        """Settings without links, for people."""
        return self.folder / "worker.toml"

    def start(self, slot: Slot) -> None:
        slot.starts += 1
        log = self.folder / f"{slot.name}-{slot.starts}.log"
        words = [sys.executable, "-m", "worker", "--config", str(slot.file), "run"]
        child = self.keeper.spawn(
            f"{slot.name}-{slot.starts}", words, env=self.environment(slot), cwd=self.folder, log=log
        )
        slot.process = WorkerProcess(child, log, self.keeper)
        self.logs.append(log)

    async def supervise(self) -> None:
        """Start again what has ended, as every supervisor would. Until cancelled."""
        while True:
            for slot in self.slots:
                if not slot.held and not slot.running:
                    self._note_exit(slot)
                    self.start(slot)
            await asyncio.sleep(0.5)

    def _note_exit(self, slot: Slot) -> None:
        if slot.process is not None:
            self.exits += 1
            self.keeper.forget(slot.process.child)

    async def until_started(self, within: float = START) -> None:
        def started() -> bool:
            return all(
                slot.process is not None and slot.process.events("worker.started") for slot in self.slots
            )

        await eventually(started, within, 0.1, "three running workers")

    async def worker(self, *words: str, within: float = 60.0) -> Finished:
        """A verb of the command line, with the operator's settings."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "worker", "--config", str(self.operator), *words),
            cwd=self.folder,
            env=self.environment(None),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(within):
                out, err = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        return Finished(process.returncode or 0, out.decode(), err.decode())

    def environment(self, slot: Slot | None) -> dict[str, str]:
        """Of a worker in this slot, or of an operator."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
        ours = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        if slot is not None and slot.number == SKEWED and FAKETIME is not None:
            ours |= {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(self.clock),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # a clock that somebody sets, not a machine that stood still
            }
        return {**kept, **ours}

    @property
    def clock(self) -> Path:
        """What is written into it is added to the clock of one worker: `+3600` is an hour."""
        return self.folder / "clock"

    def take_logs_of_services(self) -> None:
        for service in (self.rabbit.folder, self.postgres.folder):
            shutil.copytree(service / "log", self.folder / "services", dirs_exist_ok=True)
        self.logs += sorted(one for one in (self.folder / "services").rglob("*") if one.is_file())

    def close(self) -> None:
        for slot in self.slots:
            if slot.process is not None:
                slot.process.kill()
        self.keeper.close()


class Platform(Sippulse):
    """The simulator with a seed and a password of the storm's own."""

    def __init__(self, folder: Path, seed: int, password: str, numbers: Sequence[str]) -> None:
        super().__init__(folder)
        self._config = folder / "simulator.json"
        config = {"seed": seed, "password": password, "numbers": list(numbers)}
        self._config.write_text(json.dumps(config))

    async def start(self) -> None:
        import aiohttp

        words = [sys.executable, "-m", "worker.simulators.sippulse", "--port", str(self.port)]
        kept = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        self._child = self._keeper.spawn(
            "simulator",
            [*words, "--config", str(self._config)],
            env={**os.environ, **kept},
            cwd=ROOT,
            log=self.folder / "simulator.log",
        )
        await eventually(lambda: answers(self.port), 60, 0.1, "the simulator")
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60))


@asynccontextmanager
async def opened(seed: int, numbers: Sequence[str] = (), **tables: Mapping[str, Any]) -> AsyncIterator[Arena]:
    """Everything started, and no worker yet. `numbers`: that the platform may give; `tables`: settings over ours.

    The folder with logs and settings goes as well, unless somebody has set `arena.kept`.
    """
    folder = Path(tempfile.mkdtemp(prefix="provisioning-storm-"))
    password = f"kennwort{os.urandom(8).hex()}"
    arena: Arena | None = None
    async with AsyncExitStack() as stack:
        stack.callback(lambda: None if arena and arena.kept else shutil.rmtree(folder, ignore_errors=True))
        rabbit = PrivateRabbit()
        stack.callback(rabbit.stop)
        disk = Disk(lambda: postgres.pid)
        stack.callback(disk.remove)
        postgres = PrivatePostgres(disk.folder)
        stack.callback(postgres.stop)
        await asyncio.gather(asyncio.to_thread(rabbit.start), asyncio.to_thread(postgres.start))
        await asyncio.to_thread(postgres.create_database, DATABASE)
        platform = await stack.enter_async_context(Platform(folder, seed, password, numbers))
        arena = Arena(folder, rabbit, postgres, platform, disk, [], Keeper())
        arena.secrets = (password, rabbit.password, postgres.password)
        stack.callback(arena.close)
        await _furnish(arena, stack, password, tables)
        yield arena


async def _furnish(
    arena: Arena, stack: AsyncExitStack, password: str, tables: Mapping[str, Mapping[str, Any]]
) -> None:
    ports = {"broker": arena.rabbit.port, "journal": arena.postgres.port, "platform": arena.platform.port}
    arena.operator.write_text(toml(_settings(arena, ports, password, tables)))
    arena.clock.write_text("+0\n")
    for number in range(1, WORKERS + 1):
        links = {
            name: await stack.enter_async_context(
                Link(f"worker-{number} to {name}", port, name == "platform")
            )
            for name, port in ports.items()
        }
        file = arena.folder / f"worker-{number}.toml"
        through = {name: link.port for name, link in links.items()}
        file.write_text(toml(_settings(arena, through, password, tables)))
        arena.slots.append(Slot(number, links, file))


def _settings(
    arena: Arena, ports: Mapping[str, int], password: str, tables: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    settings: dict[str, Any] = {name: dict(table) for name, table in TABLES.items()}
    for name, table in tables.items():
        settings.setdefault(name, {}).update(table)
    broker = arena.rabbit.url.replace(f":{arena.rabbit.port}/", f":{ports['broker']}/")
    journal = arena.postgres.url(DATABASE).replace(f":{arena.postgres.port}/", f":{ports['journal']}/")
    settings["broker"] = {**HASTE, **settings.get("broker", {}), "url": broker}
    settings["journal"] = {**settings.get("journal", {}), "url": journal}
    url = f"http://127.0.0.1:{ports['platform']}/SipPulse"
    own = {"url": url, "password": password, "limits": {"credit_max": "500.00"}}
    settings["platforms"] = {PLATFORM: {**TESTED, **QUICK, **own}}
    return settings


async def in_thread(work: Any, *words: Any) -> None:
    """What blocks, with the failures that a storm has to live with."""
    with suppress(ServiceError):
        await asyncio.to_thread(work, *words)


async def until_up(start: Any) -> None:
    """On a busy machine a service may take longer to start than it is given: once more, then."""
    for _ in range(UP):
        try:
            await asyncio.to_thread(start)
        except ServiceError:
            continue
        return
