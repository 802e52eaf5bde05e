"""RELAY: publish many events, wait for their confirms together, strike them off (rule 6.4)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from worker.broker.consumer import explained
from worker.broker.flights import Answer
from worker.broker.link import CLOSING, Address, backoff, pause
from worker.broker.publisher import Publisher
from worker.journal.port import JournalDown, JournalError, Outgoing

log = structlog.get_logger(__name__)

ROLE = "relay"
MORE = 100  # events of one turn that let us look at once for others: the journal gives them in portions


class Publishes(Protocol):
    """What the relay asks of the journal."""

    async def keep(self, role: str, owner: str, lease: float) -> bool: ...
    async def let_go(self, owner: str) -> None: ...
    async def seal(self, limit: int) -> int: ...
    async def unpublished(self, limit: int) -> list[Outgoing]: ...
    async def published(self, rows: Sequence[tuple[Outgoing, bool]]) -> None: ...


@dataclass(frozen=True, slots=True)
class RelayOptions:
    """Times in seconds."""

    limit: int = 500  # rows of each kind in one turn
    deadline: float = 10.0  # of the confirms of one flight
    poll: float = 0.5  # the slow look under the wake-up
    lease: float = 15.0  # how long another process waits before it takes over


@dataclass(frozen=True, slots=True)
class RelayHealth:
    active: bool  # False: another process publishes, this one stands by
    connected: bool
    blocked: bool  # RabbitMQ asks us to wait: a memory or disk alarm
    last_published_age: float | None  # seconds
    nobody_listens: tuple[str, ...]  # exchanges whose last event nobody took, as far as this process saw
    ill: str | None

    @property
    def well(self) -> bool:
        return self.ill is None


class Unconfirmed(Exception):
    """RabbitMQ did not answer for some events: they stay, and go out again under the same ids."""


class Relay:
    """One of these is active over all processes; the others stand by. `owner` names the process."""

    def __init__(
        self, where: Address, journal: Publishes, owner: str, options: RelayOptions | None = None
    ) -> None:
        self.published = 0
        self.returned = 0
        self.sealed = 0
        self._where = where
        self._journal = journal
        self._owner = f"{owner}/{ROLE}"  # of its own: to let go of it must not let go of other roles
        self._options = options or RelayOptions()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._publisher: Publisher | None = None
        self._active = False
        self._kept_at: float | None = None
        self._blocked = False
        self._published_at: float | None = None
        self._unheard: set[str] = set()
        self._ill: str | None = "it has not started"

    def wake(self) -> None:
        """There may be something to publish."""
        self._wake.set()

    async def start(self) -> None:
        """Begin in the background: a broker or journal that does not answer yet is waited for."""
        if self._runner is None:
            self._stopping.clear()
            self._runner = asyncio.create_task(self._run(), name="relay")

    async def stop(self) -> None:
        """Finish the turn in hand, let another process take over."""
        self._stopping.set()
        self._wake.set()
        if self._runner is not None:
            await asyncio.wait({self._runner}, timeout=self._options.deadline + CLOSING)
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
            self._runner = None

    def health(self) -> RelayHealth:
        at = self._published_at
        return RelayHealth(
            active=self._active,
            connected=self._publisher is not None and self._publisher.usable,
            blocked=self._blocked,
            last_published_age=None if at is None else time.monotonic() - at,
            nobody_listens=tuple(sorted(self._unheard)),
            ill=self._ill,
        )

    async def _run(self) -> None:
        waits = backoff()
        try:
            while not self._stopping.is_set():
                try:
                    more = await self._turn()
                    self._ill, waits = None, backoff()
                except Exception as error:  # whatever it was: the events stay and are tried again
                    await self._fell_ill(error)
                    await pause(self._stopping, next(waits))
                    continue
                if not more:
                    await self._rest()
        finally:
            await self._leave()

    async def _rest(self) -> None:
        if self._active:
            await pause(self._wake, self._options.poll)
            self._wake.clear()
        else:
            await pause(self._stopping, self._options.lease / 3)

    async def _turn(self) -> bool:
        """Publish, strike off, seal. True: there is more."""
        if not await self._keep():
            return False
        publisher = await self._connected()
        await self._strike_off(await publisher.landed(self._options.deadline))
        await self._expect_empty(publisher)
        limit = self._options.limit
        events = await self._journal.unpublished(limit)
        if events:
            answers = await publisher.publish(events, self._options.deadline)
            await self._strike_off(answers)
            await self._expect_empty(publisher)
            if len(answers) < len(events):
                raise Unconfirmed(f"RabbitMQ did not take {len(events) - len(answers)} events")
        # After publishing: no result waits for the commit that chains the audit records.
        sealed = await self._journal.seal(limit)
        self.sealed += sealed
        return sealed > 0 or len(events) >= min(limit, MORE)

    async def _keep(self) -> bool:
        """Whether we are the active one, the lease renewed in good time."""
        now = time.monotonic()
        if self._kept_at is None or now - self._kept_at > self._options.lease / 3:
            self._kept_at = None
            held = await self._journal.keep(ROLE, self._owner, self._options.lease)
            if held != self._active:
                log.info("relay.activated" if held else "relay.stood_by")
            self._active = held
            self._kept_at = now if held else None
        if not self._active:
            await self._disconnect()
        return self._active

    async def _connected(self) -> Publisher:
        if self._publisher is not None and not self._publisher.usable:
            await self._disconnect()
        if self._publisher is None:
            self._publisher = await Publisher.open(self._where)
            log.info("relay.connected")
        return self._publisher

    async def _disconnect(self) -> None:
        if self._publisher is not None:
            publisher, self._publisher = self._publisher, None
            self._blocked = False
            await publisher.close()

    async def _expect_empty(self, publisher: Publisher) -> None:
        """What is still in flight: kept while RabbitMQ blocks us, else its connection is given up.

        A blocked connection is not replaced: RabbitMQ would read what the old one sent when the alarm ends,
        and every try would be another copy.
        """
        waiting = publisher.in_flight
        self._blocked = bool(waiting) and publisher.usable and await publisher.blocked()
        if self._blocked:
            raise Unconfirmed("RabbitMQ blocks publishers: it is short of memory or disk")
        if waiting:
            await self._disconnect()
            raise Unconfirmed(f"RabbitMQ did not confirm {waiting} events in {self._options.deadline:g} s")

    async def _strike_off(self, answers: Sequence[Answer]) -> None:
        if not answers:
            return
        await self._journal.published(answers)
        self._published_at = time.monotonic()
        self.published += len(answers)
        for event, taken in answers:
            self.returned += not taken
            if event.exchange:
                self._heard(event.exchange, taken)
            elif not taken:
                log.info("relay.reply_gone", event_id=event.event_id)

    def _heard(self, exchange: str, taken: bool) -> None:
        """Say that nobody listens when it begins, not with each event."""
        if taken:
            self._unheard.discard(exchange)
        elif exchange not in self._unheard:
            self._unheard.add(exchange)
            log.warning("relay.nobody_listens", exchange=exchange)

    async def _fell_ill(self, error: Exception) -> None:
        self._ill = str(error) if isinstance(error, Unconfirmed) else explained(error)
        log.warning("relay.failed", reason=self._ill)
        if not isinstance(error, (Unconfirmed, JournalDown, JournalError)):
            await self._disconnect()

    async def _leave(self) -> None:
        await self._disconnect()
        self._active, self._ill = False, "it was stopped"
        try:
            await self._journal.let_go(self._owner)
        except Exception as error:  # the lease ends by itself
            log.info("relay.lease_left", error=type(error).__name__)
