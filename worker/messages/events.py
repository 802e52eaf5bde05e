"""Events that the worker publishes: built here, stored as bytes, never changed afterwards."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from worker.messages.errors import Problem

CONTENT_TYPE = "application/cloudevents+json"
UNKNOWN = "unknown"
MASK = "***"


def rfc3339(seconds: float | None) -> str | None:
    """Seconds since the epoch as RFC 3339 in UTC with microseconds."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class View:
    """What every event says of its command. Times are seconds since the epoch."""

    id: str | None
    source: str | None
    type: str
    idempotency_key: str | None
    platform: str
    partition_key: str | None
    subject: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    batch_id: str | None = None
    reply_to: str | None = None
    received_at: float | None = None
    started_at: float | None = None
    attempts: int = 0
    retry_of: str | None = None
    original: Mapping[str, str] | None = None  # the sender's {id, idempotencykey} of a retried command

    def command(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "idempotencykey": self.idempotency_key,
            "platform": self.platform,
            "partitionkey": self.partition_key,
            "subject": self.subject,
            "correlationid": self.correlation_id,
            "batchid": self.batch_id,
        }


@dataclass(frozen=True, slots=True)
class Draft:
    """A result event that lacks its `sequence`, which the journal counts while it holds the row."""

    view: View
    what: str  # succeeded, rejected, cancelled, expired, parked, delayed, refused
    data: Mapping[str, Any] = field(repr=False)
    secret_output: Mapping[str, Any] | None = field(default=None, repr=False)
    time: float = 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """One event, ready for the outbox. `body` is what everybody may read."""

    id: str
    type: str
    routing_key: str
    body: bytes = field(repr=False)
    reply_to: str | None = None
    reply_body: bytes | None = field(default=None, repr=False)  # None: the same as `body`
    correlation_id: str | None = None


def result(
    view: View,
    what: str,
    *,
    at: float,
    effect: str,
    output: Mapping[str, Any] | None = None,
    error: Problem | None = None,
    steps: Sequence[Mapping[str, Any]] = (),
    finished: bool = True,
    secret_output: Mapping[str, Any] | None = None,
    **more: Any,
) -> Draft:
    """A result of `view`; `more` are fields that stand only where they apply (duplicate_of, ...)."""
    data: dict[str, Any] = {
        "command": view.command(),
        "status": what,
        "effect": effect,
        "attempts": view.attempts,
        "received_at": rfc3339(view.received_at),
        "started_at": rfc3339(view.started_at),
        "finished_at": rfc3339(at) if finished else None,
        "output": None if output is None else dict(output),
        "error": error.as_data() if error else None,
        "steps": [dict(step) for step in steps],
    }
    extras = {"retry_of": view.retry_of, "original": view.original, **more}
    data |= {name: value for name, value in extras.items() if value is not None}
    return Draft(view, what, data, secret_output, at)


def routing_key(view: View, what: str) -> str:
    """`<platform>.<command>.<ending>`, e.g. sippulse-br.subscriber.create.succeeded."""
    return f"{view.platform}.{view.type.removesuffix('.v1')}.{what}"


def render(draft: Draft, sequence: int, source: str, event_id: str | None = None) -> Event:
    view = draft.view
    envelope = _envelope(view, event_id or str(uuid.uuid4()), source, draft)
    data = {**draft.data, "sequence": sequence}
    body = dump({**envelope, "data": data})
    secret = None
    if draft.secret_output is not None and view.reply_to:
        secret = dump({**envelope, "data": {**data, "output": dict(draft.secret_output)}})
    return Event(
        id=envelope["id"],
        type=envelope["type"],
        routing_key=routing_key(view, draft.what),
        body=body,
        reply_to=view.reply_to,
        reply_body=secret,
        correlation_id=view.correlation_id or view.id,
    )


def _envelope(view: View, event_id: str, source: str, draft: Draft) -> dict[str, Any]:
    optional = {
        "subject": view.subject,
        "correlationid": view.correlation_id,
        "causationid": view.causation_id,
        "traceparent": view.traceparent,
        "tracestate": view.tracestate,
        "batchid": view.batch_id,
    }
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": f"provisioning.command.{draft.what}.v1",
        "time": rfc3339(draft.time),
        "datacontenttype": "application/json",
        **{name: value for name, value in optional.items() if value is not None},
    }


PAGES = uuid.UUID("5f0a8f5e-9a39-5f0b-8a30-3f1d0a5f6c11")  # the namespace that ids of pages come from


def page(view: View, source: str, number: int, rows: Sequence[bytes], *, last: bool) -> Event:
    """One page of a long answer; `rows` are JSON objects as bytes, `number` counts from 1.

    Its id comes from command, number and content, so that a page sent again after a crash is the same event;
    one whose content has changed meanwhile is another event with the same number.
    """
    content = b"[" + b",".join(rows) + b"]"
    name = canonical([view.source, view.id, number, last, hashlib.sha256(content).hexdigest()])
    draft = Draft(view, "page", {}, time=time.time())
    envelope = _envelope(view, str(uuid.uuid5(PAGES, name.decode())), source, draft)
    data = {"command": view.command(), "page": number, "rows": orjson.Fragment(content), "last": last}
    return Event(
        id=envelope["id"],
        type=envelope["type"],
        routing_key="",
        body=dump({**envelope, "data": data}),
        reply_to=view.reply_to,
        correlation_id=view.correlation_id or view.id,
    )


def dump(value: Any) -> bytes:
    """Compact JSON. Raises UnicodeError for half a character, which no database stores."""
    try:
        return orjson.dumps(value)
    except TypeError:  # half a character, or a number beyond 64 bits
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def canonical(value: Any) -> bytes:
    """Canonical JSON: sorted names, no white space. The bytes that MACs are taken over."""
    return json.dumps(
        value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()


@dataclass(frozen=True, slots=True)
class AuditDraft:
    """One change of a command or one act of a person, not yet numbered and chained (rule 6.5)."""

    what: str  # admitted, ended, parked, in_doubt, resolved, retried, paused, ...
    platform: str
    actor: str  # "worker", "sender", or the user's name
    reason: str | None = None
    command: Mapping[str, Any] | None = None  # View.command()
    details: Mapping[str, Any] = field(default_factory=dict)


def audit_record(draft: AuditDraft, at: float) -> dict[str, Any]:
    return {
        "what": draft.what,
        "platform": draft.platform,
        "actor": draft.actor,
        "reason": draft.reason,
        "command": None if draft.command is None else dict(draft.command),
        "details": dict(draft.details),
        "at": rfc3339(at),
    }


def audit_event(
    record: Mapping[str, Any], number: int, previous: str, mac: str, event_id: str, source: str
) -> bytes:
    """The exact bytes that are published: `data` is what the chain's MAC is taken over."""
    return dump(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": source,
            "type": f"provisioning.audit.{record['what']}.v1",
            "time": record["at"],
            "datacontenttype": "application/json",
            "auditmac": mac,
            "data": audit_data(record, number, previous),
        }
    )


def audit_data(record: Mapping[str, Any], number: int, previous: str) -> dict[str, Any]:
    return {**record, "number": number, "previous": previous}
