"""What is old goes, hourly."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Protocol

import structlog

from worker.journal.port import JournalDown, JournalError

log = structlog.get_logger(__name__)

HOUR = 3600.0


class Purges(Protocol):
    """What the hourly purge asks of the journal."""

    async def keep(self, role: str, owner: str, lease: float) -> bool: ...
    async def purge(self) -> Mapping[str, int]: ...


async def purges(journal: Purges, owner: str, every: float = HOUR) -> None:
    """What is old goes, once in `every` seconds, by one process for all."""
    while True:
        await asyncio.sleep(every * random.uniform(0.9, 1.0))  # noqa: S311 - processes must not march in step
        try:
            if await journal.keep("purge", owner, 1.5 * every):
                gone = await journal.purge()
                log.info("journal.purged", **gone)
        except (JournalDown, JournalError) as error:
            log.warning("journal.away", why=str(error))
        except Exception as error:  # housekeeping must not end the worker, nor itself
            log.error("purge.failed", error=type(error).__name__)
