"""Broker, simulator and worker of our own, outside pytest."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.batches.files import MAPPING
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
