"""The console's own work beside the pages: acts on many commands, the fold of what has ended, counts of refusals."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from worker.console.refusals import WINDOW, Refusals
from worker.journal.console import bulk
from worker.journal.console.access import FOLDER, ConsoleJournal
from worker.journal.console.reader import TooWide
from worker.journal.console.work import work
from worker.journal.port import JournalDown

log = structlog.get_logger(__name__)

FOLD_EVERY = 2.0
FOLD_LEASE = 15.0
LAST_WORD = 2.0  # seconds that the count of refusals gets at the end


class Runner:
    """`owner`: this process, for the lease of the fold."""

    def __init__(self, journal: ConsoleJournal, owner: str) -> None:
        self._journal = journal
        self._owner = owner
        self._tasks: set[asyncio.Task[None]] = set()
        self.refusals = Refusals(journal)

    def start(self) -> None:
        self._keep(asyncio.create_task(self._fold(), name="console-fold"))
        self._keep(asyncio.create_task(self._count(), name="console-refusals"))

    def begin(self, number: int) -> None:
        """Work on an act that the journal holds already."""
        self._keep(asyncio.create_task(self._work(number), name=f"console-act-{number}"))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """What was acted on stays so; the rest of an act is left, and said to be."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORD):
                await self.refusals.flush()

    # ------------------------------------------------------------ folding

    async def _fold(self) -> None:
        run = self._journal.journal
        while True:
            pause = FOLD_EVERY
            try:
                if await run.keep(FOLDER, self._owner, FOLD_LEASE):
                    await run.run(bulk.end_abandoned)
                    if await self._journal.fold() > 500:
                        pause = 0.1  # a backlog: without holding up anybody
            except (JournalDown, TooWide) as error:
                log.warning("console.fold_waits", why=str(error))
            except Exception as error:  # figures must not end the process, nor themselves
                log.error("console.fold_failed", error=type(error).__name__)
            await asyncio.sleep(pause)

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(WINDOW)
            try:
                await self.refusals.flush()
            except Exception as error:  # as above
                log.error("console.refusals_failed", error=type(error).__name__)

    # ------------------------------------------------------------ acts on many

    async def _work(self, number: int) -> None:
        try:
            await work(self._journal, number)
        except asyncio.CancelledError:
            with_text = "the console stopped meanwhile"
            await asyncio.shield(self._journal.end_bulk(number, "worker", with_text))
            raise
        except (JournalDown, TooWide) as error:
            log.warning("console.act_waits", act=number, why=str(error))
        except Exception as error:  # one act must not end the others
            log.error("console.act_failed", act=number, error=type(error).__name__)
