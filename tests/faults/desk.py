"""People at a desk, while it storms: one acts on many commands at once over the console's API, another sends a list.

Both go on where they were cut off, as people do: the API with the same `Idempotency-Key`, the list with the same
command line.
"""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

import aiohttp

from tests.faults.arena import Arena
from tests.support.storm import DOMAIN, PLATFORM
from tests.support.worker import WorkerProcess
from worker.journal.console import people as console_people
from worker.journal.journal import StoredJournal

AMOUNT = Decimal("7.00")
KILLS = 2  # of the process that sends the list
LONG = 600.0  # seconds for a run that nobody kills: the storm ends before
DOWN = (409, 503)  # the preview is old; the journal does not answer
GONE = (aiohttp.ClientError, OSError, TimeoutError)


@dataclass(slots=True)
class Console:
    """The API of whichever worker answers."""

    arena: Arena
    token: str = field(default="", repr=False)
    keys: int = 0

    async def signed_in(self, journal: StoredJournal) -> None:
        if not self.token:
            self.token = await journal.run(
                lambda tx: console_people.make_token(tx, "storm", "operator", 1, "storm", "for the storm")
            )
            self.arena.secrets = (*self.arena.secrets, self.token)

    async def retry_many(self, chance: Random) -> bool | None:
        """What expired or was cancelled, of one type, is ordered again; asked for twice, begun once.

        None: nothing was there to be retried, or nobody answered.
        """
        kind = chance.choice(("credit.add.v1", "calls.block.v1", "calls.unblock.v1", "subscriber.update.v1"))
        state = chance.choice(("expired", "cancelled"))
        wanted = {"platform": PLATFORM, "state": state, "type": kind}
        seen = await self._ask("get", "bulk/retry", wanted)
        if not seen or not seen["count"]:
            return None
        self.keys += 1
        body = {"reason": "the storm wants it", "expected": seen["count"], "last": seen["last"]}
        first = await self._ask("post", "bulk/retry", wanted, body)
        again = await self._ask("post", "bulk/retry", wanted, body)
        if first and again and first != again:
            self.arena.complaints.append(f"one Idempotency-Key began two acts: {first}, {again}")
        return bool(first or again)

    async def _ask(
        self, method: str, path: str, wanted: Mapping[str, str], body: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": f"storm-{self.keys}"}
        for url in self._doors():
            try:
                async with (
                    aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as http,
                    http.request(
                        method, f"{url}/api/v1/{path}", params=wanted, json=body, headers=headers
                    ) as answer,
                ):
                    if answer.status == 200:
                        return dict(await answer.json())
                    if answer.status not in DOWN:
                        said = await answer.text()
                        self.arena.complaints.append(f"{method} {path} was answered {answer.status}: {said}")
                    return None
            except GONE:
                continue
        return None

    def _doors(self) -> list[str]:
        """Of the workers that listen."""
        found = [slot.process.events("console.listening") for slot in self.arena.slots if slot.process]
        return [str(events[-1]["url"]) for events in found if events]


@dataclass(slots=True)
class Batch:
    """Somebody sends a list of top-ups; the process is killed and started again until it has ended."""

    arena: Arena
    seed: int
    rows: int
    kills: int = KILLS
    starts: int = 0
    code: int | None = None  # of the run that ended by itself

    @property
    def name(self) -> str:
        return f"storm-{self.seed}"

    @property
    def records(self) -> list[dict[str, Any]]:
        """Whom the platform has to know before."""
        return [{"username": f"55117{row:07}", "domain": DOMAIN} for row in range(self.rows)]

    async def run(self) -> None:
        """Until it has ended. A list that could not be sent whole is sent again."""
        self._write()
        chance = Random(f"{self.seed}/batch")
        while self.code is None:
            code = await self._once(chance.uniform(2.0, 5.0) if self.starts < self.kills else None)
            if code in (0, 1):
                self.code = code
            await asyncio.sleep(1.0)

    def _write(self) -> None:
        with (self.arena.folder / "list.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["username", "domain", "amount"])
            writer.writerows([one["username"], one["domain"], f"{AMOUNT:f}"] for one in self.records)

    async def _once(self, killed_after: float | None) -> int | None:
        """Its exit code; None where it was killed."""
        self.starts += 1
        log = self.arena.folder / f"batch-{self.starts}.log"
        words = ["batch", "run", "list.csv", "--command", "credit.add", "--platform", PLATFORM]
        words += ["--batch", self.name, "--in-flight", "3", "--follow"]
        child = self.arena.keeper.spawn(
            f"batch-{self.starts}",
            [sys.executable, "-m", "worker", "--config", str(self.arena.operator), *words],
            env=self.arena.environment(None),
            cwd=self.arena.folder,
            log=log,
        )
        self.arena.logs.append(log)
        process = WorkerProcess(child, log, self.arena.keeper)
        try:
            code = await process.ended(killed_after or LONG)
        except AssertionError:
            return None
        finally:
            process.kill()
        if "Traceback" in log.read_text(errors="replace"):
            self.arena.complaints.append(f"{log.name} tells of an error that nobody caught")
        return code
