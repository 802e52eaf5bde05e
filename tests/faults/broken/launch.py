"""Run a worker that is broken on purpose, to see whether the checker catches it.

    python -m tests.faults.broken.launch retry_unclear_credit --config worker.toml run --roles intake,engine,relay
    python -m tests.faults.broken.launch ack_before_commit+die_admitting --config worker.toml run

What follows the names are the worker's own words. One promise is broken from here, in the worker's own process; no
setting of the product does it. `nothing` breaks nothing, so that the whole worker can meet the same fault: a
`die_…` or `freeze_…` is no break but a fault, SIGKILL or SIGSTOP at that moment.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from worker.broker.intake import Intake
from worker.broker.publisher import Publisher
from worker.broker.session import Held
from worker.broker.topology import RESULTS
from worker.cli import main as worker
from worker.domain import decide as decisions
from worker.domain.decide import Again, Decision
from worker.domain.effect import Effect
from worker.domain.outcome import Outcome, Unclear
from worker.engine import attempt
from worker.engine.lease import LeaseGuard
from worker.journal.commands import claims, sweeps
from worker.journal.driver import Tx
from worker.journal.journal import StoredJournal
from worker.journal.port import Outgoing
from worker.platforms.sippulse import native_calls
from worker.platforms.transport.client import Transport
from worker.platforms.transport.values import Phase
from worker.platforms.transport.wire import Call

# ---------------------------------------------------------------- breaks


def nothing() -> None:
    """The worker as it is."""


def ack_before_commit() -> None:
    """RabbitMQ may forget what no journal knows yet (P1)."""
    take = Intake.take

    async def patched(self: Intake, held: Sequence[Held], ack: Any) -> None:
        session = ack.__self__
        await ack(held[-1])
        await session._channel.queue_declare(self.queue, passive=True)  # by its answer the ack has arrived
        await take(self, held, _no_ack)

    Intake.take = patched  # type: ignore[method-assign]  # that is what breaks it


async def _no_ack(upto: Held) -> None:
    pass


def retry_unclear_credit() -> None:
    """A top-up whose answer was lost is simply sent again (P2)."""
    decide = decisions.decide

    def patched(outcome: Outcome, effect: Effect, *rest: Any) -> Decision:
        if isinstance(outcome, Unclear) and effect is Effect.INCREMENT:
            return Again(0.0, outcome.why)
        return decide(outcome, effect, *rest)

    setattr(attempt, "decide", patched)  # noqa: B010 - the name that it was imported under


NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def not_sent_by_class() -> None:
    """Whether a request went out is told by the exception's class (rule 2.1)."""
    exchange = Transport._exchange

    async def patched(self: Transport, call: Call, *rest: Any) -> Any:
        try:
            return await exchange(self, call, *rest)
        except Exception as error:
            told = (error, error.__context__)  # what went wrong while the connection was put away may hide it
            if any(isinstance(one, NOT_SENT) for one in told):
                call.phase = Phase.CONNECTING
            raise

    setattr(Transport, "_exchange", patched)  # noqa: B010 - a method of a class


def no_fencing() -> None:
    """Whoever once claimed a command may write how it went, whosever it is by now (rules 5.1, 5.4)."""
    claims._still_ours = lambda claim, row: True


def key_released_early() -> None:
    """After a lost answer the next call goes out at once: there is no settle window (rule 3.1)."""

    async def patched(tx: Tx, windows: Sequence[tuple[int, int, float]]) -> None:
        closed = [(command,) for _, command, _ in windows]
        await tx.many("UPDATE commands SET window_closed = true WHERE id = $1", closed)

    for module in (claims, sweeps):
        setattr(module, "open_windows", patched)  # noqa: B010 - the name that it was imported under


def forgetful_relay() -> None:
    """Events are struck off before RabbitMQ has them (P1, rule 6.4)."""
    unpublished = StoredJournal.unpublished

    async def patched(self: StoredJournal, limit: int) -> list[Outgoing]:
        events = await unpublished(self, limit)
        await self.published([(event, True) for event in events])
        return events

    StoredJournal.unpublished = patched  # type: ignore[method-assign]  # that is what breaks it


def forgetful_merge() -> None:
    """What an update reads and was not ordered to change is not written back whole (updates of whole records)."""
    merge = native_calls.record_with

    def patched(*given: Any) -> dict[str, Any]:
        return {name: value for name, value in merge(*given).items() if name != "document"}

    native_calls.record_with = patched


def no_lease_check() -> None:
    """The first byte goes out whenever it is its turn, whosever the command is by then (rule 5.2)."""
    LeaseGuard.before_first_byte = lambda self: None  # type: ignore[method-assign]  # that is what breaks it
    LeaseGuard.wrote = lambda self: setattr(self, "sent", True)  # type: ignore[method-assign]  # as above


# ---------------------------------------------------------------- faults that are best met from inside


def die_admitting() -> None:
    """When the first messages are about to be written into the journal."""

    async def patched(self: StoredJournal, arrivals: Sequence[Any]) -> Any:
        _die()

    StoredJournal.admit = patched  # type: ignore[method-assign]  # the end of it


def die_publishing() -> None:
    """When the first results are about to be published."""
    publish = Publisher.publish

    async def patched(self: Publisher, events: Sequence[Outgoing], deadline: float) -> Any:
        if any(event.exchange == RESULTS for event in events):
            _die()
        return await publish(self, events, deadline)

    Publisher.publish = patched  # type: ignore[method-assign]  # the end of it


def freeze_sending() -> None:
    """SIGSTOP between the decision to call and the first byte of the first call; somebody else thaws it."""
    check, frozen = LeaseGuard.before_first_byte, []

    def patched(self: LeaseGuard) -> None:
        if not frozen:
            frozen.append(self)
            os.kill(os.getpid(), signal.SIGSTOP)
        check(self)

    LeaseGuard.before_first_byte = patched  # type: ignore[method-assign]  # the stop of it


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


PATCHES: dict[str, Callable[[], None]] = {
    patch.__name__: patch
    for patch in (
        nothing,
        ack_before_commit,
        retry_unclear_credit,
        not_sent_by_class,
        no_fencing,
        key_released_early,
        forgetful_relay,
        forgetful_merge,
        no_lease_check,
        die_admitting,
        die_publishing,
        freeze_sending,
    )
}


def main(words: Sequence[str]) -> int:
    """The names of patches, joined by +, then the words for the worker."""
    for name in words[0].split("+"):
        PATCHES[name]()
    return worker(words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
