"""Each role, opened into a stack that closes it again. A role imports what it needs and nothing else."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from worker.bootstrap.parts import Worker, broker_address
from worker.bootstrap.purging import purges
from worker.bootstrap.stored import StartError, journal_url
from worker.journal.journal import StoredJournal
from worker.journal.port import JournalDown
from worker.settings import PlatformSettings

if TYPE_CHECKING:  # each is imported by the role that needs it
    from worker.broker.dead import DeadLetters
    from worker.broker.intake import Intake
    from worker.broker.relay import Relay
    from worker.console.health import Readiness
    from worker.console.office import Office
    from worker.console.server import Console
    from worker.onboarding.desk import Desk
    from worker.platforms.port import Platform

FLUSH = 5.0  # seconds that a stop gives the relay to publish what the last calls left


async def open_console(worker: Worker, stack: AsyncExitStack) -> None:
    from worker.console.health import Complaint, JournalWatch, Readiness
    from worker.console.metrics import Metrics
    from worker.console.server import Console, PortTaken

    watch = JournalWatch(worker.journal)
    readiness = Readiness(watch, worker.roles, worker.settings.platforms)
    metrics = Metrics(worker.telemetry.registry, watch)
    stopping = Complaint("worker", "error", "it is stopping")
    starting = Complaint("worker", "error", "it is starting")
    state = {"starting": starting, "running": None, "stopping": stopping}
    readiness.parts.append(lambda: [one for one in (state[worker.phase],) if one])
    place = worker.settings.console
    worker.console = Console(place.host, place.port, readiness, metrics, _office(worker, readiness))
    try:
        await worker.console.start()
    except PortTaken as error:
        raise StartError(str(error)) from None
    stack.push_async_callback(worker.console.stop)
    await _show_first_link(worker.console)


def _office(worker: Worker, readiness: Readiness) -> Office:
    """What pages and API work with; a reader of the journal beside the loops."""
    from worker.broker.posting import CommandPost
    from worker.console.office import Office
    from worker.console.runner import Runner
    from worker.journal.console.access import ConsoleJournal

    settings = worker.settings
    journal = ConsoleJournal(worker.journal, journal_url(settings))
    office = Office(
        journal,
        readiness,
        settings.kinds,
        Runner(journal, worker.owner),
        settings.console.address.rstrip("/"),
        post=CommandPost(broker_address(settings)),
        settles={name: platform.settle for name, platform in settings.platforms.items()},
        timeouts={name: platform.timeout for name, platform in settings.platforms.items()},
        max_bytes=settings.intake.max_bytes,
        rates={name: platform.rate for name, platform in settings.platforms.items()},
        local=settings.console.local_sign_in,
    )
    if settings.console.oidc.issuer:
        from worker.console.oidc.provider import Provider

        office.provider = Provider(settings.console.oidc)
    if settings.console.upload_max:
        office.batches = _desk(worker)
    return office


def _desk(worker: Worker) -> Desk:
    """Takes in files of rows and sends them; its connection to RabbitMQ and its platforms are made when needed."""
    from worker.broker.link import connect
    from worker.onboarding.desk import Desk
    from worker.onboarding.publishing import Bulk
    from worker.onboarding.workshop import Means
    from worker.platforms.build import build

    settings = worker.settings
    where = broker_address(settings)
    means = Means(
        owner=worker.owner,
        kinds=settings.kinds,
        limits={name: (one.rate, one.concurrency) for name, one in settings.platforms.items()},
        build=lambda name: build(name, settings.platforms[name]),
        bulk=lambda: Bulk(lambda: connect(where, "batch")),
        most_message=settings.intake.max_bytes,
        most_file=settings.console.upload_max,
    )
    return Desk(worker.journal, means)


async def _show_first_link(console: Console) -> None:
    """To the terminal, not to the logs: whoever has it becomes the first admin."""
    if console.office is not None and (link := await console.office.first_link()):
        print(
            f"The console has no admin yet. Make the first one here, once: {link}",
            file=sys.stderr,
            flush=True,
        )


async def open_relay(worker: Worker, stack: AsyncExitStack) -> None:
    from worker.broker.relay import Relay, RelayOptions
    from worker.console.figures import of_relay as figures
    from worker.console.health import of_relay

    settings = worker.settings
    options = RelayOptions(deadline=settings.broker.publish_timeout)
    relay = worker.relay = Relay(broker_address(settings), worker.journal, worker.owner, options)
    worker.journal.listen(lambda channel: relay.wake() if channel == "relay" else None)
    if worker.console:
        worker.console.readiness.parts.append(lambda: of_relay(relay.health().ill, relay.health().blocked))
        worker.console.metrics.parts.append(lambda: figures(relay, relay.health().active))
    await relay.start()
    stack.push_async_callback(_stop_relay, relay)
    stack.push_async_callback(_flush, relay, worker.journal)


async def _stop_relay(relay: Relay) -> None:
    """A RabbitMQ that does not confirm must not use up the time that the engine's calls may need."""
    await asyncio.wait({asyncio.create_task(relay.stop())}, timeout=FLUSH)


async def _flush(relay: Relay, journal: StoredJournal) -> None:
    """What the last calls left is published before we go, if that is quick; if not, it is in the journal."""
    loop = asyncio.get_running_loop()
    until = loop.time() + FLUSH
    try:
        while loop.time() < until and relay.health().active and relay.health().well:
            health = await journal.health()
            if not health.unpublished and not health.unsealed:
                return
            relay.wake()
            await asyncio.sleep(0.02)
    except JournalDown:
        return


async def open_engine(worker: Worker, stack: AsyncExitStack) -> None:
    from worker.broker.pages import PagePublisher
    from worker.console.health import of_engine
    from worker.engine.engine import Engine

    settings, loop = worker.settings, asyncio.get_running_loop()
    journal = worker.journal
    platforms = [
        (await _platform(name, one, journal, stack), one) for name, one in settings.platforms.items()
    ]
    pages = PagePublisher(broker_address(settings), settings.broker.publish_timeout)
    stack.push_async_callback(pages.close)
    engine = worker.engine = Engine(
        platforms,
        worker.journal,
        worker.telemetry,
        name=settings.worker.name,
        poll=settings.worker.poll,
        pages=pages,
    )
    if worker.console:
        worker.console.readiness.parts.append(lambda: of_engine(engine.last_beat, loop.time()))
    stack.push_async_callback(engine.stop, settings.worker.grace)
    await engine.start()
    purging = asyncio.create_task(purges(worker.journal, engine.owner), name="purge")
    stack.push_async_callback(_cancelled, purging)


async def _platform(
    name: str, settings: PlatformSettings, journal: StoredJournal, stack: AsyncExitStack
) -> Platform:
    from worker.journal.memory import JournalMemory
    from worker.platforms.build import build

    try:
        platform = await build(name, settings, JournalMemory(journal, name))
    except ValueError as error:
        raise StartError(str(error)) from None
    stack.push_async_callback(platform.close)
    return platform


async def open_intake(worker: Worker, stack: AsyncExitStack) -> None:
    from worker.broker.arrivals import Reader
    from worker.broker.consumer import Options
    from worker.broker.dead import DeadLetters
    from worker.broker.intake import Intake
    from worker.broker.topology import COMMAND_QUEUES

    settings, where = worker.settings, broker_address(worker.settings)
    options = Options(prefetch=settings.broker.prefetch, hold=settings.broker.hold)
    reader = Reader(settings.kinds, settings.intake.max_bytes)
    most = settings.journal.max_waiting
    worker.intakes = [
        Intake(
            where,
            queue,
            worker.journal,
            reader,
            max_waiting=most,
            options=options,
            tracer=worker.telemetry.tracer,
        )
        for queue in COMMAND_QUEUES
    ]
    worker.dead = DeadLetters(where, worker.journal, settings.intake.max_bytes, options)
    _show_intake(worker, worker.dead)
    parts: tuple[Intake | DeadLetters, ...] = (*worker.intakes, worker.dead)
    for part in parts:
        await part.start()
    stack.push_async_callback(_stop_all, parts)


def _show_intake(worker: Worker, dead: DeadLetters) -> None:
    from worker.console.figures import of_dead_letters as letters
    from worker.console.figures import of_intake
    from worker.console.health import of_consumer, of_dead_letters

    if worker.console is None:
        return
    parts, metrics = worker.console.readiness.parts, worker.console.metrics.parts
    parts.append(
        lambda: [bad for one in worker.intakes for bad in of_consumer("intake", one.health().consumer)]
    )
    parts.append(lambda: of_dead_letters(dead.health().consumer, dead.health().said))
    metrics.append(lambda: [figure for one in worker.intakes for figure in of_intake(one)])
    metrics.append(lambda: letters(dead))


async def _stop_all(parts: Iterable[Intake | DeadLetters]) -> None:
    await asyncio.gather(*(part.stop() for part in parts), return_exceptions=True)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
