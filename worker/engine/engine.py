"""The engine of one process: a runner and a keeper per platform, a heartbeat, and the sweeps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from worker.engine.gate import Gate
from worker.engine.keeper import Keeper
from worker.engine.line import Line
from worker.engine.pages import PageSink
from worker.engine.runner import Runner, new_owner
from worker.journal.journal import StoredJournal
from worker.journal.port import JournalDown
from worker.platforms.port import Platform
from worker.platforms.transport import boottime
from worker.settings import PlatformSettings
from worker.telemetry import Telemetry

log = structlog.get_logger()

BEAT = 1.0  # seconds between two heartbeats
BREATH = 0.05  # seconds between two that were asked for: a thousand lost answers need no thousand heartbeats
JOINING = 2 * BEAT  # seconds after which all others have learned of a process and have made room for it


class Engine:
    def __init__(
        self,
        platforms: Sequence[tuple[Platform, PlatformSettings]],
        journal: StoredJournal,
        telemetry: Telemetry,
        *,
        name: str = "",
        poll: float = 0.5,
        pages: PageSink | None = None,
    ) -> None:
        self.owner = new_owner(name)
        self._journal = journal
        self._telemetry = telemetry
        self._poll = poll
        gate = Gate()
        self.lines = {p.name: Line(p, s, journal, telemetry, pages) for p, s in platforms}
        self._runners = {
            n: Runner(line, journal, telemetry, self.owner, gate, poll) for n, line in self.lines.items()
        }
        self._keepers = {n: Keeper(line, journal, self.owner) for n, line in self.lines.items()}
        self._beat = asyncio.Event()
        self._sweep = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.last_beat: float | None = None  # loop time; None: the journal has not answered yet

    async def start(self) -> None:
        self._journal.listen(self._heard)
        await self._beat_once()
        for line in self.lines.values():
            line.joining = line.state.processes > 1
        loops = [self._heartbeats, self._sweeps, self._joins]
        loops += [runner.run for runner in self._runners.values()]
        loops += [keeper.run for keeper in self._keepers.values()]
        self._tasks = [asyncio.create_task(self._for_ever(loop)) for loop in loops]

    async def _for_ever(self, loop: Callable[[], Awaitable[None]]) -> None:
        """A loop that breaks over something nobody foresaw is begun again: a platform must not stand still."""
        while True:
            try:
                return await loop()
            except Exception as error:
                log.error("engine.loop_broke", error=type(error).__name__, exc_info=error)
                await asyncio.sleep(1)

    async def _joins(self) -> None:
        """The calls at once of all processes together stay within the platform's limit (rule 7.3)."""
        await asyncio.sleep(JOINING)
        for name, line in self.lines.items():
            line.joining = False
            self._runners[name].wake()

    def _heard(self, channel: str) -> None:
        """What a commit, here or in another process, says there is to do."""
        if channel in self._runners:
            self._runners[channel].wake()
        elif channel == "sweep":
            self._sweep.set()
        elif channel == "control":
            self._beat.set()

    async def _heartbeats(self) -> None:
        while True:
            self._beat.clear()
            try:
                await self._beat_once()
            except JournalDown as error:
                log.warning("journal.away", why=str(error))
            await asyncio.sleep(BREATH)
            await _rest(self._beat, BEAT - BREATH)

    async def _beat_once(self) -> None:
        asked = boottime()
        states = await self._journal.heartbeat(self.owner, list(self.lines))
        self.last_beat = asyncio.get_running_loop().time()
        for name, state in states.items():
            line, stopped = self.lines[name], self.lines[name].state.stopped
            line.learn(state, asked)
            self._show(line)
            if state.stopped or state.open_windows:
                self._keepers[name].wake()
            if line.joining and state.processes == 1:
                line.joining, stopped = False, True
            if stopped and not state.stopped:
                self._runners[name].wake()

    def _show(self, line: Line) -> None:
        state = line.state
        paused = state.paused_by or state.halted
        for why, value in (("held", state.held), ("paused", paused), ("broken", state.broken_since)):
            self._telemetry.stopped.labels(line.name, why).set(1 if value else 0)
        self._telemetry.open_windows.labels(line.name).set(state.open_windows)
        self._telemetry.running.labels(line.name).set(self._runners[line.name].running)

    async def _sweeps(self) -> None:
        while True:
            self._sweep.clear()
            try:
                done = await self._journal.sweep() + await self._journal.rescue()
            except JournalDown:
                done = 0
            if not done:
                await _rest(self._sweep, self._poll)

    @property
    def running(self) -> Mapping[str, int]:
        return {name: runner.running for name, runner in self._runners.items()}

    async def stop(self, grace: float) -> None:
        """SIGTERM: see P9. `grace` in seconds."""
        for runner in self._runners.values():
            runner.line.stopping = True
        await asyncio.gather(*(runner.drain(grace) for runner in self._runners.values()))
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)
        try:
            await self._journal.leave(self.owner)
        except JournalDown:
            log.warning("journal.away", why="leaving was not written; the heartbeat ends by itself")


async def _rest(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
