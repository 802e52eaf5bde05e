"""Works off an act on many commands, in portions that grow while it goes well; for console and command line.

One command at a time, each checked under the lock of its line: two operators on one command cannot run it twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from worker.journal.console import bulk
from worker.journal.console.access import ConsoleJournal

PATIENCE = 60.0  # seconds that a portion gets to end; then the act stops and says so
LOOK = 0.25  # seconds between two looks at a portion
HALF = 0.5  # of a portion: when more than that failed again, the act stops
STOPPED = "it was stopped"

Told = Callable[[dict[str, Any]], None]


async def work(journal: ConsoleJournal, number: int, told: Told = lambda act: None) -> dict[str, Any]:
    """Do the act to its end, or until it stops; how it ended. `told(act)` after each portion."""
    act = await journal.bulk_act(number)
    assert act is not None, "an act is worked on after it was begun"
    for portion in range(1_000_000):
        size = bulk.PORTIONS[min(portion, len(bulk.PORTIONS) - 1)]
        items = await journal.journal.run(lambda tx, size=size: bulk.next_items(tx, number, size))  # type: ignore[misc]  # bound at once
        if not items:
            await journal.journal.run(lambda tx: bulk.end(tx, number, "done", act["actor"]))
            break
        why = await _portion(journal, act, portion + 1, items)
        told(await journal.bulk_act(number) or act)
        if why:
            await journal.end_bulk(number, "worker", why)
            break
    return await journal.bulk_act(number) or act


async def _portion(
    journal: ConsoleJournal, act: dict[str, Any], portion: int, items: list[int]
) -> str | None:
    """Why the act is to stop, None where it may go on."""
    became, refused = [], 0
    for command in items:
        done = await _one(journal, act, portion, command)
        if done is None:
            return STOPPED
        refused += done.result == "refused"
        became += [] if done.became is None else [done.became]
    tried = refused + len(became)
    if refused > HALF * tried:
        return f"{refused} of the {tried} in portion {portion} were refused: see what each says"
    return await _fares(journal, act["id"], portion, became) if act["what"] == "retry" and became else None


async def _one(journal: ConsoleJournal, act: dict[str, Any], portion: int, command: int) -> bulk.Done | None:
    stored = journal.journal
    return await stored.run(lambda tx: bulk.one(tx, stored.core, act, command, portion))


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
            return STOPPED
