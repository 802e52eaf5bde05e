"""What the broker gave up on is drained into quarantine, and said in health (rule 6.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from worker.broker.arrivals import known
from worker.broker.consumer import Ack, Consumer, ConsumerHealth, Options
from worker.broker.link import Address
from worker.broker.session import Held
from worker.broker.topology import DEAD, dead_queue
from worker.journal.port import JournalDown, JournalError, Refusal
from worker.messages.envelope import Delivery, Unreadable, read
from worker.messages.errors import Code, Problem

log = structlog.get_logger(__name__)


class Quarantines(Protocol):
    async def quarantine_dead(self, arrivals: Sequence[Refusal]) -> None: ...


@dataclass(frozen=True, slots=True)
class DeadHealth:
    consumer: ConsumerHealth
    drained: int  # since the process began

    @property
    def said(self) -> str | None:
        """For people: dead letters mean that something kills intake, or that somebody rejects messages."""
        if not self.drained:
            return None
        return f"RabbitMQ dead-lettered {self.drained} messages: see `worker quarantine list`"


class DeadLetters:
    """Drains `provisioning.dead`: committed before it is acknowledged, never retried by itself."""

    def __init__(
        self, where: Address, journal: Quarantines, max_bytes: int, options: Options | None = None
    ) -> None:
        self.drained = 0
        self._journal = journal
        self._max_bytes = max_bytes
        self._consumer = Consumer(where, dead_queue(), self, options or Options())

    async def start(self) -> None:
        await self._consumer.start()

    async def stop(self) -> None:
        await self._consumer.stop()

    def health(self) -> DeadHealth:
        return DeadHealth(self._consumer.health(), self.drained)

    async def hindrance(self) -> str | None:
        return None

    async def take(self, held: Sequence[Held], ack: Ack) -> None:
        try:
            await self._keep(held, ack, bare=False)
        except (JournalDown, JournalError):
            raise
        except Exception:  # the data of one of them: each alone, and nothing of it but its body if need be
            for one in held:
                await self._keep_one(one, ack)

    async def _keep(self, held: Sequence[Held], ack: Ack, bare: bool) -> None:
        await self._journal.quarantine_dead([self._letter(one.delivery, bare) for one in held])
        self.drained += len(held)
        log.warning("dead.quarantined", messages=len(held), of=sorted(origins(held)))
        await ack(held[-1])

    async def _keep_one(self, one: Held, ack: Ack) -> None:
        try:
            await self._keep([one], ack, bare=False)
        except (JournalDown, JournalError):
            raise
        except Exception:
            await self._keep([one], ack, bare=True)

    def _letter(self, delivery: Delivery, bare: bool) -> Refusal:
        queue, reason = death(delivery.headers)
        problem = Problem(
            Code.INVALID_MESSAGE,
            f"RabbitMQ took the message out of {queue} ({reason}): look at it, then send or drop it",
        )
        headers = {} if bare else delivery.headers
        return Refusal(problem, {} if bare else self._known(delivery), delivery.body, queue, headers)

    def _known(self, delivery: Delivery) -> Mapping[str, Any]:
        envelope = read(delivery, self._max_bytes)
        return envelope.known if isinstance(envelope, Unreadable) else known(envelope)


def death(headers: Mapping[str, Any]) -> tuple[str, str]:
    """The queue that a dead letter came from and why: `delivery_limit`, `rejected`, `expired`, `maxlen`."""
    deaths = headers.get("x-death")
    first = deaths[0] if isinstance(deaths, list) and deaths else {}
    if not isinstance(first, dict):
        first = {}
    queue = first.get("queue") or headers.get("x-first-death-queue") or DEAD
    reason = first.get("reason") or headers.get("x-first-death-reason") or "unknown reason"
    return str(queue), str(reason)


def origins(held: Sequence[Held]) -> set[str]:
    return {death(one.delivery.headers)[0] for one in held}
