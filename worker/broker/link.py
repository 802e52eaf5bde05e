"""Where RabbitMQ is, and how its connections are opened and closed: with a deadline, always."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Awaitable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import aiormq
import structlog
from aiormq.abc import AbstractConnection
from faststream.security import BaseSecurity
from yarl import URL

log = structlog.get_logger(__name__)

OPENING = 15.0  # seconds that a connection may take to open, its topology included
CLOSING = 5.0  # seconds that a close may take before it is left to finish in the background

_closing: set[asyncio.Task[None]] = set()  # closes that outlived their deadline; kept from the collector


@dataclass(frozen=True, slots=True)
class Address:
    """One RabbitMQ. `url` holds its password: no repr. `heartbeat` in seconds."""

    url: str = field(repr=False)
    context: ssl.SSLContext | None = field(default=None, repr=False)
    heartbeat: float = 30.0

    def named(self, name: str) -> str:
        """The address with our heartbeat, and the name that RabbitMQ shows for the connection."""
        wanted = {"heartbeat": str(max(1, round(self.heartbeat))), "name": f"worker {name}"}
        url = URL(self.url)
        return str(url.with_query({**wanted, **dict(url.query)}))

    @property
    def security(self) -> BaseSecurity | None:
        """The same for FastStream."""
        return BaseSecurity(ssl_context=self.context) if self.context else None


def address(url: str, ca: str | None = None, heartbeat: float = 30.0) -> Address:
    """`ca`: file with the authorities that sign the certificate (amqps); reads it, so not in the loop."""
    context = None
    if url.startswith("amqps:"):
        context = ssl.create_default_context(cafile=ca)
    return Address(url, context, heartbeat)


async def connect(where: Address, name: str) -> AbstractConnection:
    """A plain connection: it does not mend itself, its owner opens another."""
    async with asyncio.timeout(OPENING):
        return await aiormq.connect(where.named(name), context=where.context)


async def confirming(connection: AbstractConnection) -> aiormq.Channel:
    """With confirms; a returned message is an answer, not an exception (pitfall 8)."""
    opened = await connection.channel(publisher_confirms=True, on_return_raises=False, timeout=OPENING)
    return cast(aiormq.Channel, opened)


async def close_in_time(closing: Awaitable[object], what: str) -> None:
    """Wait for a close for `CLOSING` seconds; what takes longer (a frozen broker) ends in the background.

    It must end: a connection that is forgotten while its heartbeats go on keeps its consumer, and with
    a single active consumer that means that nobody gets anything.
    """
    task = asyncio.ensure_future(_quietly(closing, what))
    _closing.add(task)
    task.add_done_callback(_closing.discard)
    await asyncio.wait({task}, timeout=CLOSING)


async def _quietly(closing: Awaitable[object], what: str) -> None:
    try:
        await closing
    except Exception as error:  # a connection that is gone already has nothing left to close
        log.debug("broker.close_failed", what=what, error=type(error).__name__)


def backoff(first: float = 0.2, last: float = 5.0) -> Iterator[float]:
    """Growing waits in seconds, a quarter of each left to chance so that processes do not march in step."""
    wait = first
    while True:
        yield wait * random.uniform(0.75, 1.0)  # noqa: S311 - spreads load, keeps no secret
        wait = min(wait * 2, last)


async def pause(stop: asyncio.Event, seconds: float) -> bool:
    """Wait, but no longer than until `stop`. True: it was set."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do `work`, given up when `stop` is set. True: it was done. Raises what it raises."""
    doing, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({doing, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        if not doing.done():
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)
    if doing.cancelled():
        return False
    doing.result()
    return True
