"""CloudEvents 1.0 as they travel over RabbitMQ: reading them, in structured and in binary mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as the broker handed it over."""

    body: bytes = field(repr=False)
    queue: str
    headers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    content_type: str | None = None
    message_id: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    timestamp: float | None = None  # of AMQP, seconds since the epoch
    redelivered: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """A command as it came, its attributes checked. Times are seconds since the epoch."""

    id: str
    source: str
    type: str
    data: Mapping[str, Any] = field(repr=False)
    time: float | None = None  # `time`, else the AMQP timestamp
    subject: str | None = None
    idempotency_key: str = ""  # never empty once read: defaults to id
    depends_on: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    batch_id: str | None = None
    not_before: float | None = None
    expires_at: float | None = None
    priority: int = 1  # domain.lifecycle.Priority
    reply_to: str | None = None
