"""What intake and relay count themselves, under the names of metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from worker.console.metrics import Figure


class IntakeLike(Protocol):
    queue: str

    @property
    def delivered(self) -> int: ...
    @property
    def redelivered(self) -> int: ...
    @property
    def acked(self) -> int: ...
    @property
    def rebuilt(self) -> int: ...
    @property
    def admissions(self) -> Mapping[str, int]: ...


class RelayLike(Protocol):
    published: int
    returned: int
    sealed: int


class DeadLettersLike(Protocol):
    drained: int


def of_intake(intake: IntakeLike) -> Iterator[Figure]:
    def counted(name: str, text: str, value: float, **labels: str) -> Figure:
        return Figure(
            f"worker_intake_{name}_total", "counter", text, value, {"queue": intake.queue, **labels}
        )

    yield counted("delivered", "Messages that came", intake.delivered)
    yield counted("redelivered", "Messages that came again", intake.redelivered)
    yield counted("acked", "Messages acknowledged", intake.acked)
    yield counted("rebuilt", "Consumers that were rebuilt", intake.rebuilt)
    for result, count in sorted(intake.admissions.items()):
        yield counted("messages", "Messages by what became of them", count, result=result)


def of_relay(relay: RelayLike, active: bool) -> Iterator[Figure]:
    yield Figure("worker_relay_published_total", "counter", "Events that RabbitMQ took", relay.published, {})
    yield Figure("worker_relay_returned_total", "counter", "Events that nobody took", relay.returned, {})
    yield Figure("worker_relay_sealed_total", "counter", "Audit records sealed", relay.sealed, {})
    yield Figure("worker_relay_active", "gauge", "1: this process publishes", float(active), {})


def of_dead_letters(dead: DeadLettersLike) -> Iterator[Figure]:
    yield Figure("worker_dead_letters_total", "counter", "Dead letters quarantined", dead.drained, {})
