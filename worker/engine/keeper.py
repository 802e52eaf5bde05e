"""One series of control reads per platform, by one process for all: it closes settle windows, probes an
open circuit and a held login (rules 2.4, 3.2, 7.2). Without any of these it reads nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from worker.domain.outcome import Busy, Done
from worker.engine.line import Line
from worker.journal.journal import StoredJournal
from worker.journal.port import JournalDown

log = structlog.get_logger()

LEASE = 5.0  # seconds a process keeps the role between its rounds


class Keeper:
    def __init__(self, line: Line, journal: StoredJournal, owner: str) -> None:
        self._line = line
        self._journal = journal
        self._owner = owner
        self._wake = asyncio.Event()
        self._probes = 0  # in a row that failed while the platform was held or broken
        self._not_before = float("-inf")  # loop time, where the platform said so
        self._last = float("-inf")  # loop time of the last read

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        while True:
            self._wake.clear()
            pause = LEASE / 3
            try:
                pause = min(pause, await self._round())
            except JournalDown as error:
                log.warning("journal.away", platform=self._line.name, why=str(error))
            try:
                async with asyncio.timeout(max(pause, 0.01)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _round(self) -> float:
        """Seconds until the next round is wanted."""
        if (every := self._every()) is None:
            return LEASE
        if not await self._journal.keep(f"keeper:{self._line.name}", self._owner, max(LEASE, 2 * every)):
            return LEASE / 3
        rest = max(self._last + every, self._not_before) - asyncio.get_running_loop().time()
        if rest > 0:
            return rest
        await self._read()
        return self._every() or LEASE

    def _every(self) -> float | None:
        """Seconds between two reads; None: there is nothing to read for."""
        state, settings = self._line.state, self._line.settings
        if state.held:
            return min(settings.hold_probe_first * 2.0**self._probes, settings.hold_probe_most)
        if state.broken_since:
            return min(settings.breaker_probe_first * 2.0**self._probes, settings.breaker_probe_most)
        self._probes = 0
        return settings.settle / 10 if state.open_windows else None

    async def _read(self) -> None:
        began = await self._journal.now()
        outcome = await self._line.control()
        self._last = asyncio.get_running_loop().time()
        name, state = self._line.name, self._line.state
        if isinstance(outcome, Busy):
            self._not_before = self._last + outcome.after
        if not isinstance(outcome, Done):
            self._probes = min(self._probes + 1, 20) if state.held or state.broken_since else 0
            return
        self._probes = 0
        still_open = await self._journal.control_answered(name, began, self._line.settings.settle)
        if state.held and await self._journal.release(name, "worker", "a control read succeeded"):
            log.info("platform.released", platform=name)
        if state.broken_since:
            await self._journal.close_circuit(name)
            log.info("circuit.closed", platform=name)
        if self._line.state is state:  # else a heartbeat knows more than we do
            self._line.state = replace(state, open_windows=still_open)
