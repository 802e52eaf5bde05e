"""Broker, simulator and worker of our own, outside pytest."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.batches.files import MAPPING
from tests.batches.memory import most_memory
from tests.support.storm import Sippulse
from tests.support.worker import Finished, Workers
from worker.sandbox.postgres import PrivatePostgres
from worker.sandbox.rabbitmq import PrivateRabbit

PHRASE = "correct horse battery"


@dataclass(slots=True)
class Rig:
    folder: Path
    broker: str
    platform: Sippulse
    workers: Workers

    async def run(self, *words: str, within: float = 86_400.0) -> Finished:
        return await self.workers.worker(*words, within=within, WORKER_BATCH_PASSPHRASE=PHRASE)

    async def watched(self, *words: str) -> tuple[int, float]:
        """The same, what it says goes where ours goes. Its exit code, and MB of memory at its most."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "worker", "--config", str(self.workers.file), *words,
            cwd=self.workers.folder, env={**self.workers._environment(), "WORKER_BATCH_PASSPHRASE": PHRASE},
            stdin=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        most = 0.0
        try:
            ended = asyncio.create_task(process.wait())
            while not ended.done():
                most = max(most, most_memory(process.pid))
                await asyncio.wait({ended}, timeout=0.2)
            return ended.result(), most
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    @property
    def mapping(self) -> Path:
        file = self.folder / "mapping.toml"
        file.write_text(MAPPING, encoding="utf-8")
        return file


@asynccontextmanager
async def rig(journal: str, rate: float = 5000.0) -> AsyncIterator[Rig]:
    """`journal`: sqlite or postgresql."""
    with tempfile.TemporaryDirectory(prefix="batches-") as name, ExitStack() as stack:
        folder = _reachable(Path(name))
        rabbit = stack.enter_context(PrivateRabbit())
        url = None
        if journal == "postgresql":
            url = stack.enter_context(PrivatePostgres()).create_database("batches")
        platforms = {"sippulse-br": {"rate": rate, "timeout": 10.0, "lease_margin": 30.0}}
        async with Sippulse(folder / "platform") as platform:
            platforms["sippulse-br"]["url"] = platform.url  # type: ignore[assignment]  # a table of settings
            async with Workers(
                folder / "worker", rabbit.url, platforms, journal=url, settings={"worker": {"grace": 15}}
            ) as workers:
                await workers.start()
                yield Rig(folder, rabbit.url, platform, workers)


def _reachable(folder: Path) -> Path:
    """For PostgreSQL's user as well."""
    folder.chmod(0o755)
    return folder


def say(text: str) -> None:
    print(text, file=sys.stdout, flush=True)
