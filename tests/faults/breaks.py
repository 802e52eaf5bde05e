"""Everything that a storm can break: one small class each, with `begin` and `end`; `KINDS` is the table."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress

from tests.faults.arena import DATABASE, FAKETIME, LEASE, SKEWED, Arena, Slot, in_thread, until_up
from tests.faults.breaking import Break
from tests.faults.links import Link
from tests.faults.platform_breaks import Calls, FreezeChanges, FreezePlatform, LostPassword, Outage
from worker.sandbox.processes import ServiceError, children_of

STOP = 40.0  # seconds for a clean stop: grace 10, what is flushed, and a busy machine


# ---------------------------------------------------------------- workers


class OnWorker(Break):
    lane = "workers"
    slot: Slot

    def draw(self) -> None:
        self.slot = self.chance.choice(self.arena.slots)
        self.target = self.slot.name


class Kill(OnWorker):
    """SIGKILL."""

    share = 4

    async def begin(self) -> None:
        if self.slot.process is not None:
            self.slot.held = True
            self.slot.process.kill()

    async def end(self) -> None:
        self.arena.start(self.slot)
        self.slot.held = False


class KillAll(Break):
    """SIGKILL for all of them at once."""

    lane, share = "workers", 1

    def draw(self) -> None:
        self.target, self.seconds = "all workers", self.chance.uniform(0.0, 1.0)

    async def begin(self) -> None:
        for slot in self.arena.slots:
            slot.held = True
            if slot.process is not None:
                slot.process.kill()

    async def end(self) -> None:
        for slot in self.arena.slots:
            self.arena.start(slot)
            slot.held = False


class Stop(OnWorker):
    """SIGTERM: a clean stop in the middle of work, in time and with exit code 0."""

    share = 2

    async def begin(self) -> None:
        process = self.slot.process
        if process is None or not process.running:
            return
        self.slot.held = True
        started = bool(process.events("worker.started"))
        process.terminate()
        with suppress(AssertionError):
            code = await process.ended(STOP)
            if code != 0 and started:
                self.arena.complaints.append(f"{process.log_file.stem} ended with {code} after SIGTERM")
        if process.running:
            self.arena.complaints.append(f"{process.log_file.stem} had not ended {STOP:.0f} s after SIGTERM")
            process.kill()
        self.arena.keeper.forget(process.child)

    async def end(self) -> None:
        if not self.slot.running:
            self.arena.start(self.slot)
        self.slot.held = False


class Freeze(OnWorker):
    """SIGSTOP for longer than a lease, then SIGCONT: it goes on as if nothing had happened."""

    share = 2

    def draw(self) -> None:
        OnWorker.draw(self)
        self.seconds = LEASE + self.chance.uniform(0.5, 3.0)

    async def begin(self) -> None:
        self.slot.held = True
        if self.slot.process is not None:
            self.slot.process.freeze()

    async def end(self) -> None:
        if self.slot.process is not None:
            self.slot.process.thaw()
        self.slot.held = False


class Blink(Freeze):
    """SIGSTOP for less than a lease."""

    share = 1

    def draw(self) -> None:
        OnWorker.draw(self)
        self.seconds = self.chance.uniform(0.5, LEASE - 1.0)


# ---------------------------------------------------------------- RabbitMQ


class OnBroker(Break):
    lane, target = "broker", "rabbitmq"

    def draw(self) -> None:
        self.target = "rabbitmq"


class RestartBroker(OnBroker):
    """A clean stop and a start."""

    async def begin(self) -> None:
        await in_thread(self.arena.rabbit.restart)

    async def end(self) -> None:
        await until_up(self.arena.rabbit.start)


class KillBroker(RestartBroker):
    """SIGKILL, and a start on the same data."""

    async def begin(self) -> None:
        await in_thread(self.arena.rabbit.kill)


class CloseConnections(OnBroker):
    """Every connection is closed from the server's side, as an operator does it."""

    async def begin(self) -> None:
        await in_thread(self.arena.rabbit.close_connections, None, "closed by the storm")


class CloseChannels(OnBroker):
    """Every channel is closed from the server's side with an error, as after an acknowledgement timeout."""

    share = 2

    async def begin(self) -> None:
        await in_thread(self.arena.rabbit.evaluate, CLOSE_CHANNELS)


# What a channel process tells its connection when it gives up; the client gets channel.close with 406.
CLOSE_CHANNELS = """
[C ! {channel_exit, N, rabbit_misc:amqp_error(precondition_failed, "closed by the storm", [], none)}
 || C <- rabbit_networking:connections_local(), N <- lists:seq(1, 3)], ok.
"""


class FreezeBroker(OnBroker):
    """SIGSTOP for some seconds, as when its disk stalls; then it goes on."""

    def draw(self) -> None:
        self.target, self.seconds = "rabbitmq", self.chance.uniform(1.0, 8.0)

    async def begin(self) -> None:
        _signal(self.arena.rabbit.pid, signal.SIGSTOP)

    async def end(self) -> None:
        _signal(self.arena.rabbit.pid, signal.SIGCONT)


class MemoryAlarm(OnBroker):
    """Publishers are blocked; what consumes goes on."""

    def draw(self) -> None:
        self.target, self.seconds = "rabbitmq", self.chance.uniform(2.0, 8.0)

    async def begin(self) -> None:
        await in_thread(self.arena.rabbit.raise_memory_alarm)

    async def end(self) -> None:
        await in_thread(self.arena.rabbit.clear_memory_alarm)


# ---------------------------------------------------------------- PostgreSQL


class OnDatabase(Break):
    lane = "database"

    def draw(self) -> None:
        self.target = "postgresql"


class RestartDatabase(OnDatabase):
    """A clean stop that cuts sessions, and a start."""

    async def begin(self) -> None:
        await in_thread(self.arena.postgres.restart)

    async def end(self) -> None:
        await until_up(self.arena.postgres.start)


class KillDatabase(RestartDatabase):
    """SIGKILL for all its processes; the start recovers."""

    async def begin(self) -> None:
        await in_thread(self.arena.postgres.kill)


class EndSessions(OnDatabase):
    """Every session of the journal is ended by an administrator."""

    async def begin(self) -> None:
        await in_thread(
            self.arena.postgres.execute,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'journal'",
        )


class FreezeDatabase(OnDatabase):
    """SIGSTOP for some seconds, as when its disk stalls; then it goes on, also with what nobody waits for."""

    def draw(self) -> None:
        self.target, self.seconds = "postgresql", self.chance.uniform(1.0, 8.0)

    async def begin(self) -> None:
        _signal(self.arena.postgres.pid, signal.SIGSTOP)

    async def end(self) -> None:
        _signal(self.arena.postgres.pid, signal.SIGCONT)


class LockTables(OnDatabase):
    """Somebody else holds the journal's tables, as some backups and migrations do."""

    def draw(self) -> None:
        self.target, self.seconds = "postgresql", self.chance.uniform(1.0, 6.0)

    async def begin(self) -> None:
        held = f"BEGIN; LOCK TABLE commands, lanes, outbox; SELECT pg_sleep({self.seconds:.1f}); COMMIT"
        await in_thread(self.arena.postgres.execute, held, DATABASE)
        self.seconds = 0.0  # it was held meanwhile


class FullDisk(OnDatabase):
    """The journal's disk is full. A server that stops over it is started again once there is space."""

    @classmethod
    def why_not(cls, arena: Arena) -> str:
        return arena.disk.why_never_full

    def draw(self) -> None:
        self.target, self.seconds = "disk of the journal", self.chance.uniform(2.0, 6.0)

    async def begin(self) -> None:
        await asyncio.to_thread(self.arena.disk.fill)

    async def end(self) -> None:
        await asyncio.to_thread(self.arena.disk.free)
        if not await asyncio.to_thread(self._accepts):
            await in_thread(self.arena.postgres.kill)
            await until_up(self.arena.postgres.start)

    def _accepts(self) -> bool:
        """Recovering after a panic counts as well, if it ends."""
        for _ in range(20):
            if self.arena.postgres.pid is None:
                return False
            with suppress(ServiceError):
                return self.arena.postgres.execute("SELECT 1") == "1"
            time.sleep(0.5)
        return False


def _signal(pid: int | None, number: signal.Signals) -> None:
    """To a service and the processes below it."""
    for each in (pid, *children_of(pid)) if pid else ():
        with suppress(ProcessLookupError):
            os.kill(each, number)


# ---------------------------------------------------------------- links


class OnLink(Break):
    """One worker's link to one service, or all workers' links to it."""

    lane = "links"
    links: list[Link]

    def draw(self) -> None:
        service = self.chance.choice(("broker", "journal", "platform"))
        slots = self.arena.slots if self.chance.random() < 0.25 else [self.chance.choice(self.arena.slots)]
        self.links = [slot.links[service] for slot in slots]
        who = "all workers" if len(slots) > 1 else slots[0].name
        self.target = f"{who} to {service}"
        self._last()

    def _last(self) -> None:
        self.seconds = self.chance.uniform(1.0, 8.0)

    async def begin(self) -> None:
        for link in self.links:
            self.strike(link)

    def strike(self, link: Link) -> None:
        raise NotImplementedError

    async def end(self) -> None:
        for link in self.links:
            link.heal()


class CutLink(OnLink):
    """Connections are reset; new ones are possible at once."""

    share = 2

    def _last(self) -> None:
        self.seconds = 0.0

    def strike(self, link: Link) -> None:
        link.cut()


class RefuseLink(OnLink):
    """Connections are reset, and so is every new one."""

    def strike(self, link: Link) -> None:
        link.refuse()


class SlowLink(OnLink):
    """Every byte comes a good part of a call's deadline later."""

    def strike(self, link: Link) -> None:
        link.slow(0.3)


class SilentLink(OnLink):
    """Nothing comes through, and nobody is told; afterwards all of it does."""

    share = 2

    def strike(self, link: Link) -> None:
        link.silence()


class DeafLink(OnLink):
    """What the worker says arrives; no answer does."""

    def strike(self, link: Link) -> None:
        link.silence(outward=False)


class MuteLink(OnLink):
    """Nothing that the worker says arrives, until later."""

    def strike(self, link: Link) -> None:
        link.silence(inward=False)


# ---------------------------------------------------------------- the clock


class SkewClock(Break):
    """One worker's clock is set: forwards, backwards, by seconds or by days."""

    lane = "clock"

    @classmethod
    def why_not(cls, arena: Arena) -> str:
        return "" if FAKETIME else "libfaketime is not installed"

    def draw(self) -> None:
        by = self.chance.choice((-86400, -3600, -30, -3, 3, 30, 3600, 86400 * 30))
        self.target, self.seconds = f"worker-{SKEWED} by {by:+} s", self.chance.uniform(5.0, 15.0)

    async def begin(self) -> None:
        self.arena.clock.write_text(self.target.split()[2] + "\n")

    async def end(self) -> None:
        self.arena.clock.write_text("+0\n")


KINDS: tuple[type[Break], ...] = (
    *(Kill, KillAll, Stop, Freeze, Blink),
    *(RestartBroker, KillBroker, FreezeBroker, CloseConnections, CloseChannels, MemoryAlarm),
    *(RestartDatabase, KillDatabase, FreezeDatabase, EndSessions, LockTables, FullDisk),
    *(CutLink, RefuseLink, SlowLink, SilentLink, DeafLink, MuteLink),
    *(FreezePlatform, FreezeChanges, Outage, LostPassword, Calls),
    SkewClock,
)
