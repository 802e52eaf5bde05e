"""From a delivered message to what the journal admits. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from worker.broker.topology import BULK, OWN_QUEUES
from worker.domain.effect import Effect, Risk, risk_of
from worker.domain.lifecycle import Priority
from worker.journal.port import Arrival, Inquiry, NewCommand, Refusal
from worker.messages.catalogue import COMMANDS, Checked, check
from worker.messages.envelope import Delivery, Envelope, Unreadable, is_platform_name, read
from worker.messages.errors import Code, Problem

CANCEL = "command.cancel.v1"


class Reader:
    """Reads and checks messages.

    `kinds`: the configured platforms, name -> kind. `max_bytes`: a larger message is refused.
    """

    def __init__(self, kinds: Mapping[str, str], max_bytes: int) -> None:
        self._kinds = dict(kinds)
        self._max_bytes = max_bytes

    def arrival(self, delivery: Delivery) -> Arrival:
        """Never raises: a message that breaks the reading is a refused message."""
        try:
            item = self._item(delivery)
            if isinstance(item, Refusal):
                item = replace(item, named=self._names_ours(item.known))
        except Exception as error:
            item = refusal(delivery, _unexpected(error), {}, named=False)
        return Arrival(item, delivery.body, delivery.queue, delivery.headers)

    def _names_ours(self, known: Mapping[str, Any]) -> bool:
        return known.get("platform") in self._kinds and known.get("type", "") in COMMANDS

    def _item(self, delivery: Delivery) -> NewCommand | Refusal | Inquiry:
        envelope = read(delivery, self._max_bytes)
        if isinstance(envelope, Unreadable):
            return refusal(delivery, envelope.problem, envelope.known)
        if envelope.reply_to in OWN_QUEUES:
            return refusal(delivery, _own_queue(envelope.reply_to), known(envelope), reply=False)
        checked = check(envelope, self._kinds)
        if isinstance(checked, Problem):
            return refusal(delivery, checked, known(envelope))
        return command(delivery, checked)


def command(delivery: Delivery, checked: Checked) -> NewCommand | Inquiry:
    envelope, spec = checked.envelope, checked.spec
    if checked.platform is None or checked.partition_key is None:  # answered at intake
        return inquiry(envelope)
    if delivery.queue == BULK:
        envelope = replace(envelope, priority=int(Priority.LOW))
    # Whatever is planned in place of the read is marked before it goes out: until then nobody who dies leaves a doubt.
    risk = Risk.SENT if spec.reads_first else risk_of(Effect(spec.effect))
    return NewCommand(envelope, checked.platform, checked.partition_key, risk, spec.secret_output)


def inquiry(envelope: Envelope) -> Inquiry:
    """`id` names a command of the sender's own source; `source` and `idempotencykey` one of any."""
    data = envelope.data
    return Inquiry(
        envelope,
        "cancel" if envelope.type == CANCEL else "get",
        target_id=data.get("id"),
        target_source=data.get("source"),
        target_key=data.get("idempotencykey"),
    )


def refusal(
    delivery: Delivery, problem: Problem, known: Mapping[str, Any], reply: bool = True, named: bool = True
) -> Refusal:
    to = delivery.reply_to if reply and delivery.reply_to not in OWN_QUEUES else None
    return Refusal(problem, known, delivery.body, delivery.queue, delivery.headers, reply_to=to, named=named)


def known(envelope: Envelope) -> dict[str, str]:
    """The attributes of a command that was read, under their names in the message."""
    platform = envelope.data.get("platform")
    found = {
        "id": envelope.id,
        "source": envelope.source,
        "type": envelope.type,
        "idempotencykey": envelope.idempotency_key,
        "subject": envelope.subject,
        "correlationid": envelope.correlation_id,
        "causationid": envelope.causation_id,
        "traceparent": envelope.traceparent,
        "tracestate": envelope.tracestate,
        "batchid": envelope.batch_id,
        "platform": platform if isinstance(platform, str) and is_platform_name(platform) else None,
    }
    return {name: value for name, value in found.items() if value}


def unstorable(arrival: Arrival, error: Exception, bare: bool = False) -> Arrival:
    """The refusal of a message whose data broke its commit. `bare`: even what is known of it does."""
    problem = Problem(
        Code.INVALID_MESSAGE,
        f"the message cannot be stored ({type(error).__name__}): it holds something that the journal refuses",
    )
    item = arrival.item
    attributes: Mapping[str, Any] = {}
    reply_to = None
    if not bare:
        attributes = item.known if isinstance(item, Refusal) else known(item.envelope)
        reply_to = item.reply_to if isinstance(item, Refusal) else item.envelope.reply_to
    headers = {} if bare else arrival.headers
    return replace(
        arrival,
        item=Refusal(
            problem,
            attributes,
            arrival.body,
            arrival.queue,
            headers,
            reply_to=reply_to,
            named=item.named if isinstance(item, Refusal) else True,
        ),
        headers=headers,
    )


def _unexpected(error: Exception) -> Problem:
    return Problem(Code.INVALID_MESSAGE, f"the message cannot be read ({type(error).__name__})")


def _own_queue(name: str | None) -> Problem:
    return Problem(
        Code.INVALID_MESSAGE,
        f"reply_to names {name}, a queue of the worker: name a queue of your own, or leave it out",
        "reply_to",
    )
