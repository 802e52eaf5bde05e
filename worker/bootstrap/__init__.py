"""Builds every real thing once, hands it down, and closes in reverse order."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from worker import __version__
from worker.bootstrap.parts import Worker, broker_address
from worker.bootstrap.purging import Purges, purges
from worker.bootstrap.roles import open_console, open_engine, open_intake, open_relay
from worker.bootstrap.stored import (
    NoKeyYet,
    StartError,
    core,
    journal_url,
    key_file,
    keys,
    open_stored_journal,
    patiently,
)
from worker.journal.backups import marks
from worker.journal.journal import StoredJournal
from worker.settings import Settings
from worker.telemetry import Telemetry

if TYPE_CHECKING:  # loaded only where there is a collector
    from worker.tracing import Tracer

log = structlog.get_logger(__name__)

ROLES = ("intake", "engine", "relay", "console")
HELD_BY = "start --held"


def check_roles(roles: Sequence[str]) -> frozenset[str]:
    """Raises StartError for a role that there is not."""
    unknown = [role for role in roles if role not in ROLES]
    if unknown or not roles:
        named = f"unknown role {unknown[0]!r}" if unknown else "no role given"
        raise StartError(f"{named}: we know {', '.join(ROLES)}")
    return frozenset(roles)


@asynccontextmanager
async def open_worker(
    settings: Settings, roles: Sequence[str] = ROLES, held: bool = False
) -> AsyncIterator[Worker]:
    """The running worker; it stops cleanly at the end (P9).

    Raises StartError, JournalError (also for a journal that is a copy), or JournalDown when the database does not
    answer for a minute.
    """
    chosen = check_roles(roles)
    async with AsyncExitStack() as stack:
        journal = await patiently(settings)
        stack.push_async_callback(journal.close)
        await marks.check(journal)
        owner = _owner(settings)
        worker = Worker(settings, chosen, owner, journal, Telemetry(tracer=_tracer(settings, owner, stack)))
        if held:
            await hold_all(journal, settings.platforms)
        _say_what_runs_nowhere(settings, chosen)
        # Closed from the bottom up: intake first, then the engine drains, then the relay publishes what that
        # left; the console answers until the end.
        if "console" in chosen:
            await open_console(worker, stack)
        if "relay" in chosen:
            await open_relay(worker, stack)
        if "engine" in chosen:
            await open_engine(worker, stack)
        if "intake" in chosen:
            await open_intake(worker, stack)
        worker.phase = "running"
        try:
            yield worker
        finally:
            worker.phase = "stopping"


def _tracer(settings: Settings, owner: str, stack: AsyncExitStack) -> Tracer | None:
    """None: there is no collector, and nothing that speaks to one is loaded."""
    if settings.tracing.endpoint is None:
        return None
    from worker.tracing import Tracer

    secret = settings.tracing.authorization
    authorization = secret.get_secret_value() if secret else None
    tracer = Tracer(str(settings.tracing.endpoint), authorization, settings.tracing.service, owner)
    stack.push_async_callback(asyncio.to_thread, tracer.close)
    return tracer


def _owner(settings: Settings) -> str:
    from worker.engine.runner import new_owner

    return new_owner(settings.worker.name)


def _say_what_runs_nowhere(settings: Settings, roles: frozenset[str]) -> None:
    missing = sorted({"intake", "engine", "relay"} - roles)
    if settings.sqlite_path and missing:
        log.warning(
            "roles.missing",
            roles=missing,
            why="a SQLite journal serves one process: nobody can run these beside it",
        )


async def hold_all(journal: StoredJournal, platforms: Iterable[str]) -> None:
    """Pause every platform that nobody has paused yet."""
    paused = {state.name for state in await journal.platforms() if state.paused_by}
    for name in platforms:
        if name not in paused:
            await journal.pause(name, HELD_BY, "the worker was started with --held")
            log.warning("platform.paused", platform=name, by=HELD_BY)


async def run(settings: Settings, roles: Sequence[str] = ROLES, held: bool = False) -> None:
    """Run until SIGTERM or SIGINT, then stop cleanly; a second signal ends the process at once."""
    stop = asyncio.Event()
    this = asyncio.current_task()
    signalled: list[int] = []
    running = False

    def on_signal(number: int) -> None:
        if signalled:
            log.error("worker.killed", signal=signal.Signals(number).name)
            os._exit(128 + number)
        signalled.append(number)
        log.info("worker.stopping", signal=signal.Signals(number).name)
        stop.set()
        if not running and this is not None:
            this.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    try:
        async with open_worker(settings, roles, held) as worker:
            running = True
            _say_started(worker)
            _spare_the_collector()
            await stop.wait()
    except asyncio.CancelledError:
        if not signalled:
            raise
    log.info("worker.stopped")


def _spare_the_collector() -> None:
    """What was loaded by now lives as long as the process; a command leaves few cycles behind.

    Looking through all of it every 700 objects cost 7 % of a command's CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _say_started(worker: Worker) -> None:
    settings = worker.settings
    log.info(
        "worker.started",
        version=__version__,
        owner=worker.owner,
        roles=sorted(worker.roles),
        broker=settings.broker.shown,
        journal=settings.journal.shown,
        platforms=settings.kinds,
        console=worker.console.url if worker.console else None,
    )


__all__ = [
    "HELD_BY",
    "ROLES",
    "NoKeyYet",
    "Purges",
    "StartError",
    "Worker",
    "broker_address",
    "check_roles",
    "core",
    "hold_all",
    "journal_url",
    "key_file",
    "keys",
    "open_stored_journal",
    "open_worker",
    "purges",
    "run",
]
