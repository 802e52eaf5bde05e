"""Works off acts on many commands, in portions that grow while it goes well; and folds what has ended.

It runs in the console's own process, one command at a time through the journal's acts, so that each is
checked under the lock of its line: two operators on one command cannot run it twice.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import structlog

from worker.journal import console_bulk as bulk
from worker.journal.acts import ActRefused
from worker.journal.console import FOLDER, ConsoleJournal
from worker.journal.console_reader import TooWide
from worker.journal.port import JournalDown

log = structlog.get_logger(__name__)

PATIENCE = 60.0  # seconds that a portion gets to end; then the act stops and says so
LOOK = 0.25  # seconds between two looks at a portion
FOLD_EVERY = 2.0
FOLD_LEASE = 15.0
HALF = 0.5  # of a portion: when more than that failed again, the act stops


class Runner:
    """`owner`: this process, for the lease of the fold."""

    def __init__(self, journal: ConsoleJournal, owner: str) -> None:
        self._journal = journal
        self._owner = owner
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._keep(asyncio.create_task(self._fold(), name="console-fold"))

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


async def work(journal: ConsoleJournal, number: int) -> dict[str, Any]:
    """Do the act to its end, or until it stops; how it ended. The command line uses it as well."""
    act = await journal.bulk_act(number)
    assert act is not None, "an act is worked on after it was begun"
    for portion in range(1_000_000):
        size = bulk.PORTIONS[min(portion, len(bulk.PORTIONS) - 1)]
        items = await journal.journal.run(lambda tx, size=size: bulk.next_items(tx, number, size))  # type: ignore[misc]  # bound at once
        if not items:
            await journal.journal.run(lambda tx: bulk.end(tx, number, "done", act["actor"]))
            break
        if why := await _portion(journal, act, portion + 1, items):
            await journal.end_bulk(number, "worker", why)
            break
    return await journal.bulk_act(number) or act


async def _portion(
    journal: ConsoleJournal, act: dict[str, Any], portion: int, items: list[int]
) -> str | None:
    """Why the act is to stop, None where it may go on."""
    became, refused = [], 0
    for command in items:
        if not await journal.journal.run(lambda tx: bulk.beat(tx, act["id"])):
            return "it was stopped"
        result = await _one(journal, act, portion, command)
        refused += result is None
        became += [] if result is None else [result]
    if refused > HALF * len(items):
        return f"{refused} of the {len(items)} in portion {portion} were refused: see what each says"
    return await _fares(journal, act["id"], portion, became) if act["what"] == "retry" and became else None


async def _one(journal: ConsoleJournal, act: dict[str, Any], portion: int, command: int) -> int | None:
    """The number of the command to watch; None where it was refused."""
    stored = journal.journal
    does = {"retry": stored.retry, "cancel": stored.cancel, "archive": stored.archive}[act["what"]]
    became: int | None = None
    text: str | None = None
    try:
        done = await does(str(command), act["actor"], act["reason"])
        became = int(done["id"])
    except ActRefused as error:
        text = str(error)
    await stored.run(lambda tx: bulk.done_one(tx, act["id"], command, portion, became, text))
    return became


async def _fares(journal: ConsoleJournal, number: int, portion: int, became: list[int]) -> str | None:
    """Wait until the portion has ended, or enough of it failed again."""
    until = time.monotonic() + PATIENCE
    while True:
        seen = await journal.reader.read(lambda tx: bulk.fare(tx, became))
        if seen.failed > HALF * seen.count:
            return f"{seen.failed} of the {seen.count} in portion {portion} failed again"
        if seen.open == 0:
            return None
        if time.monotonic() > until:
            return (
                f"{seen.open} of the {seen.count} in portion {portion} had not ended after {PATIENCE:.0f} s"
            )
        await asyncio.sleep(LOOK)
        if not await journal.journal.run(lambda tx: bulk.beat(tx, number)):
            return "it was stopped"
