"""The people of a storm: one decides what is parked, by what the platform really did; others meddle.

They act as the product lets them: through the verbs of the journal that its command line is made of, and now and
then through the command line itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any

from tests.faults.arena import Arena
from tests.faults.calls import calls_of
from tests.faults.desk import Console
from tests.faults.history import Act, Heard
from tests.faults.workload import Event
from tests.support.storm import DOMAIN, PLATFORM
from worker.bootstrap import open_stored_journal
from worker.journal.commands.acts import ActRefused
from worker.journal.journal import StoredJournal
from worker.journal.port import JournalDown, JournalError
from worker.settings import load

ACTOR = "storm"
AWAY = (JournalDown, JournalError, OSError, TimeoutError)


@dataclass(slots=True)
class People:
    """`acts` is what they did. Their journal is opened past all links, and again when the database was away."""

    arena: Arena
    seed: int
    acts: list[Act] = field(default_factory=list)
    waiting: dict[str, Heard] = field(default_factory=dict)  # parked commands that nobody has decided yet
    ended: list[Heard] = field(default_factory=list)  # without effect: may be tried again by hand
    orders: dict[str, Event] = field(default_factory=dict)  # id -> what was sent under it, the first
    paused: bool = False
    _console: Console | None = None
    _journal: StoredJournal | None = None

    def hear(self, event: Heard) -> None:
        """Called with every result."""
        if event.command is None:
            return
        if event.type == "provisioning.command.parked.v1":
            self.waiting.setdefault(event.command, event)
        elif event.data.get("status") in ("succeeded", "rejected", "cancelled", "expired"):
            self.waiting.pop(event.command, None)
            if event.data["effect"] == "none" and "duplicate_of" not in event.data:
                self.ended.append(event)

    async def decide(self) -> None:
        """Decide what is parked. Until cancelled."""
        while True:
            for command, event in list(self.waiting.items()):
                try:
                    await self._settle(command, event)
                except AWAY:
                    await self._lose()
            await asyncio.sleep(0.5)

    async def meddle(self, every: float = 6.0) -> None:
        """Now and then somebody does something. Until cancelled."""
        chance = Random(f"{self.seed}/people")
        while True:
            await asyncio.sleep(chance.expovariate(1 / every))
            try:
                await chance.choice(ACTS)(self, chance)
            except AWAY:
                await self._lose()

    async def go(self) -> None:
        """Nothing stays paused behind them, and they leave."""
        if self.paused:
            await self._resume()
        await self._lose()

    async def _lose(self) -> None:
        """The next act opens the journal anew."""
        journal, self._journal = self._journal, None
        if journal is not None:
            with suppress(*AWAY):
                await journal.close()

    async def journal(self) -> StoredJournal:
        if self._journal is None:
            self._journal = await open_stored_journal(load(self.arena.operator, {}))
        return self._journal

    # What is parked ------------------------------------------------------------------------------

    async def _settle(self, command: str, event: Heard) -> None:
        journal = await self.journal()
        try:
            now = await journal.command(command)
            if now["state"] not in ("parked", "in_doubt"):
                self.waiting.pop(command, None)
            elif now["effect"] == "unknown":
                applied = await self._took_effect(now, event)
                await journal.resolve(command, applied, ACTOR, "seen on the platform")
                self._did("resolve", command)
            else:
                await journal.retry(command, ACTOR, "it may go on")
                self._did("retry", command)
        except ActRefused:
            return  # its window has not ended, or somebody else was first: look again later

    async def _took_effect(self, now: Mapping[str, Any], event: Heard) -> bool:
        """By the platform's own log. Only this command's calls went out for its key since it was begun."""
        order = self._order(now, event)
        calls = calls_of(now["type"], order["data"] if order else {}, adopted=False)
        if any(call.operation == "addCredit" for call in calls):
            by_obs = (await self.arena.platform.ask("credits"))["by_obs"]
            return any(obs.split(" ")[0] == now["message_id"] for obs in by_obs)
        username = now["partition_key"].rpartition(":")[2].partition("@")[0]
        entries = (await self.arena.platform.ask("log", username=username, domain=DOMAIN))["log"]
        began = datetime.fromisoformat(event.data["started_at"]).timestamp()
        done = {step["name"] for step in event.data.get("steps", ()) if step["status"] == "done"}
        names = {call.operation for call in calls} - done
        return any(entry["operation"] in names and entry["at"] >= began for entry in entries)

    def _order(self, now: Mapping[str, Any], event: Heard) -> Event | None:
        """What was sent; an operator's retry has another id than that."""
        original = event.data.get("original") or {}
        return self.orders.get(now["message_id"]) or self.orders.get(str(original.get("id")))

    def _did(self, verb: str, command: str, ok: bool = True) -> None:
        self.acts.append(Act(verb, command, time.time(), ok))

    # What is not their business --------------------------------------------------------------------

    async def _retry(self, chance: Random) -> None:
        """What ended without effect is ordered again, by the command line."""
        if not self.ended:
            return
        event = self.ended.pop(chance.randrange(len(self.ended)))
        await self._by_hand("retry", str(event.command))

    async def _cancel(self, chance: Random) -> None:
        journal = await self.journal()
        rows = await journal.commands({"state": "waiting", "platform": PLATFORM}, 50)
        if rows:
            row = chance.choice(rows)
            try:
                await journal.cancel(str(row["id"]), ACTOR, "changed our mind")
            except ActRefused:
                return
            self._did("cancel", row["message_id"])

    async def _by_hand(self, verb: str, command: str) -> None:
        with suppress(TimeoutError):
            done = await self.arena.worker("commands", verb, command, "--reason", "the storm wants it")
            self._did(verb, command, done.code == 0)

    async def _pause(self, chance: Random) -> None:
        self.paused = True
        journal = await self.journal()
        await journal.pause(PLATFORM, ACTOR, "maintenance")
        self._did("pause", "")
        await asyncio.sleep(chance.uniform(0.5, 2.0))
        await self._resume()

    async def _resume(self) -> None:
        while self.paused:
            try:
                journal = await self.journal()
                await journal.resume(PLATFORM, ACTOR, "maintenance is over")
                self.paused = False
                self._did("resume", "")
            except AWAY:
                await self._lose()
                await asyncio.sleep(0.5)

    async def _retry_many(self, chance: Random) -> None:
        """Over the console's API, with a token."""
        if self._console is None:
            self._console = Console(self.arena)
        await self._console.signed_in(await self.journal())
        done = await self._console.retry_many(chance)
        if done is not None:
            self._did("retry many", "", done)

    async def _republish(self, chance: Random) -> None:
        journal = await self.journal()
        await journal.republish(time.time() - 10.0, False, ACTOR, "somebody lost them")
        self._did("republish", "")


ACTS: tuple[Callable[[People, Random], Awaitable[None]], ...] = (
    *(People._retry, People._retry_many, People._retry_many),
    *(People._cancel, People._pause, People._republish),
)
