"""Keeps one queue consumed: opens sessions, watches them, holds what cannot be taken yet (rule 6.1)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from faststream.rabbit import RabbitQueue

from worker.broker.link import Address, backoff, pause, unless
from worker.broker.session import Counts, Held, Probe, Session
from worker.broker.topology import TopologyError
from worker.journal.port import JournalDown, JournalError

log = structlog.get_logger(__name__)

STAND_BY = 10  # times `stall`, after which a session that never got anything is rebuilt
LASTED = 10.0  # seconds after which a session that ends is not taken for the same trouble again

Ack = Callable[[Held], Awaitable[None]]


class Taker(Protocol):
    """What is done with the messages."""

    async def hindrance(self) -> str | None:
        """Why nothing may be taken now; None: it may. May raise JournalDown."""

    async def take(self, held: Sequence[Held], ack: Ack) -> None:
        """Commit in order, `ack` what is committed by naming the last of it. May raise JournalDown."""


@dataclass(frozen=True, slots=True)
class Options:
    """Times in seconds."""

    prefetch: int = 500  # the same in every process: returned messages then keep their order
    hold: float = 600.0  # longest that a message is held; below the broker's acknowledgement timeout (1800)
    look: float = 1.0  # how often a hindrance is looked at again
    check: float = 5.0  # how often an idle queue is looked at
    stall: float = 30.0  # messages ready and none delivered for so long: the session is rebuilt
    grace: float = 10.0  # how long a stop waits for a commit under way


@dataclass(frozen=True, slots=True)
class ConsumerHealth:
    queue: str
    connected: bool
    consuming: bool
    last_delivery_age: float | None  # seconds; None: nothing since the session began
    ready: int | None  # messages in the queue that nobody holds, when last looked at
    held: int
    paused: str | None  # why it rests, though nothing is broken
    ill: str | None  # what is wrong

    @property
    def well(self) -> bool:
        return self.ill is None


class Consumer:
    def __init__(self, where: Address, queue: RabbitQueue, taker: Taker, options: Options) -> None:
        self.counts = Counts()
        self.rebuilt = 0
        self._where = where
        self._queue = queue
        self._taker = taker
        self._options = options
        self._stopping = asyncio.Event()
        self._session: Session | None = None
        self._runner: asyncio.Task[None] | None = None
        self._probe: Probe | None = None
        self._paused: str | None = None
        self._ill: str | None = "it has not started"
        self._log = log.bind(queue=queue.name)

    async def start(self) -> None:
        """Begin in the background: a broker or journal that does not answer yet is waited for."""
        if self._runner is None:
            self._stopping.clear()
            self._ill = "it has not connected yet"
            self._runner = asyncio.create_task(self._run(), name=f"consumer {self._queue.name}")

    async def stop(self) -> None:
        """Finish the commit in hand, give the rest back to the queue."""
        self._stopping.set()
        if self._session is not None:
            self._session.end("stopping")
        if self._runner is not None:
            await self._runner
            self._runner = None

    def health(self) -> ConsumerHealth:
        session, probe = self._session, self._probe
        age = time.monotonic() - session.last_delivery if session and session.delivered else None
        return ConsumerHealth(
            queue=self._queue.name,
            connected=session is not None,
            consuming=session is not None and not session.ended.is_set(),
            last_delivery_age=age,
            ready=probe.ready if probe else None,
            held=len(session.held) if session else 0,
            paused=self._paused,
            ill=self._ill,
        )

    async def _run(self) -> None:
        waits = backoff()
        while not self._stopping.is_set():
            try:
                if not await self._may_take():
                    self._ill = None
                    await pause(self._stopping, self._options.look)
                    continue
                began = time.monotonic()
                await self._one_session()
                if time.monotonic() - began > LASTED:
                    waits = backoff()
            except Exception as error:  # whatever it was: a queue without a consumer is worse
                self._fell_ill(error)
            await pause(self._stopping, next(waits))
        self._ill = "it was stopped"

    async def _may_take(self) -> bool:
        """Consuming begins, and goes on, only while the journal answers and has room."""
        before, self._paused = self._paused, await self._taker.hindrance()
        if self._paused != before:
            event = "consumer.paused" if self._paused else "consumer.resumed"
            self._log.info(event, reason=self._paused or before)
        return self._paused is None

    def _fell_ill(self, error: Exception) -> None:
        self._ill = explained(error)
        self._log.warning("consumer.failed", reason=self._ill)

    async def _one_session(self) -> None:
        session = Session(self._where, self._queue, self._options.prefetch, self.counts)
        try:
            if not await unless(self._stopping, session.open()):
                return
            self._session, self._ill, self._probe = session, None, None
            self._log.info("consumer.started", prefetch=self._options.prefetch)
            await self._serve(session)
        finally:
            await session.close()
            self._session = None

    async def _serve(self, session: Session) -> None:
        working = asyncio.create_task(self._work(session))
        watching = asyncio.create_task(self._watch(session))
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await session.ended.wait()
            self._say_why(session)
            if not session.lost:
                await asyncio.wait({working}, timeout=self._options.grace)
            await session.close()
            # The next session begins only when this one's commit has ended: nothing overtakes it.
            await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({working}, timeout=self._options.grace)
        finally:
            for task in (working, watching, stopped):
                task.cancel()
            await asyncio.gather(working, watching, stopped, return_exceptions=True)

    def _say_why(self, session: Session) -> None:
        if self._stopping.is_set():
            self._log.info("consumer.stopped", held=len(session.held))
            return
        self.rebuilt += 1
        self._ill = None if self._paused or session.rests else self._ill or session.why
        say = self._log.info if session.rests else self._log.warning
        say("consumer.ended", reason=session.why, held=len(session.held), lost=session.lost)

    async def _work(self, session: Session) -> None:
        waits = backoff()
        while held := await session.arrived():
            try:
                if not await self._may_take():
                    await self._again(session, self._options.look)
                    continue
                await self._taker.take(held, session.ack)
                self._ill, waits = None, backoff()
            except Exception as error:  # mostly JournalDown; what is held stays held
                self._fell_ill(error)
                await self._again(session, next(waits))

    async def _again(self, session: Session, seconds: float) -> None:
        await pause(session.ended, seconds)
        session.again()

    async def _watch(self, session: Session) -> None:
        """Ends a session that holds messages for too long, or that deliveries have ceased to reach."""
        looked = time.monotonic()
        while not await pause(session.ended, min(self._options.look, self._options.check)):
            now = time.monotonic()
            if session.held and now - session.held[0].at > self._options.hold:
                session.end("messages were held for too long: they go back to the queue")
            elif now - max(looked, session.last_delivery) >= self._options.check:
                looked = now
                await self._look(session)

    async def _look(self, session: Session) -> None:
        try:
            self._probe = probe = await session.probe()
        except Exception as error:
            session.end(f"RabbitMQ did not say how the queue is: {explained(error)}")
            return
        quiet = time.monotonic() - session.last_delivery
        if probe.consumers == 0:
            session.end("the consumer is gone")
        elif probe.ready == 0 or session.held:
            return
        elif session.delivered and quiet > self._options.stall:
            session.end("messages are ready, and none was delivered")
        elif not session.delivered and quiet > self._options.stall * STAND_BY:
            # RabbitMQ does not tell a stand-by from the active consumer: whoever got something is active,
            # anybody else may rightly get nothing. To line up anew costs nothing, and mends what was not right.
            session.rests = True
            session.end("another process consumes: lining up anew")


def explained(error: BaseException) -> str:
    """A sentence for health and logs: never the text of an error that may quote a message."""
    if isinstance(error, (JournalDown, JournalError, TopologyError)):
        return str(error) or f"{type(error).__name__}: the journal does not answer"
    if isinstance(error, TimeoutError):
        return "RabbitMQ did not answer in time"
    if isinstance(error, (OSError, ConnectionError)):
        return f"RabbitMQ cannot be reached ({type(error).__name__}: {error})"
    return f"{type(error).__name__}"
