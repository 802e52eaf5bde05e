"""CloudEvents 1.0 as they travel over RabbitMQ: reading them, in structured and in binary mode."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from worker.messages.errors import Code, Problem
from worker.messages.parsing import Parsed, parse, shown


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


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message that is no command, and what could be read of it, under the names of the attributes.

    `known` holds only texts that may stand in an event: `id`, `source`, `type`, `idempotencykey`, `subject`,
    `correlationid`, `causationid`, `batchid`, `traceparent`, `tracestate`, and `platform` from the data.
    Without `id` the refused event has `command` null.
    """

    problem: Problem
    known: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opened:
    """The attributes and data of a message, not yet checked. `problem` is what stopped the reading."""

    attributes: Mapping[str, Any]
    data: Any
    problem: Problem | None = None


# In bytes of UTF-8. 255 is what AMQP allows in message_id and correlation_id, where ids travel again.
LONGEST = {
    "id": 255,
    "source": 255,
    "type": 255,
    "idempotencykey": 255,
    "dependson": 255,
    "correlationid": 255,
    "causationid": 255,
    "batchid": 255,
    "subject": 1024,
    "traceparent": 255,
    "tracestate": 1024,
    "specversion": 16,
    "time": 64,
    "notbefore": 64,
    "expirytime": 64,
    "priority": 16,
    "datacontenttype": 255,
}
REQUIRED = ("specversion", "id", "source", "type")
TIMES = ("time", "notbefore", "expirytime")
PRIORITIES = {"high": 0, "normal": 1, "low": 2}
PASSED_ON = (
    "id",
    "source",
    "type",
    "idempotencykey",
    "subject",
    "correlationid",
    "causationid",
    "batchid",
    "traceparent",
    "tracestate",
)
STRUCTURED = "application/cloudevents+json"
PREFIXES = ("ce-", "ce_", "cloudevents:", "cloudevents_")
LAST_SECOND = 253402300799.0  # 9999-12-31T23:59:59Z
LARGEST_READ = 4 * 1024 * 1024  # of a message that is too large: up to here its id is looked for, in bytes

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NAME = re.compile(r"[a-z0-9]+|data_base64")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,12})?(Z|[+-]\d\d:\d\d)")
_URI_REFERENCE = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_JSON_TYPE = re.compile(r"[\w.+-]+/(json|[\w.+-]+\+json)", re.IGNORECASE)


def read(delivery: Delivery, max_bytes: int) -> Envelope | Unreadable:
    """The command that a message holds, or what is wrong with it. Never raises for what a sender wrote."""
    opened = _open(delivery, max_bytes)
    times: dict[str, float] = {}
    problem = opened.problem or _check(opened, times)
    if problem is not None:
        return Unreadable(problem, known(opened))
    return _envelope(opened, times, delivery)


def known(opened: Opened) -> dict[str, str]:
    """What of a message may be repeated to its sender, whatever else is wrong with it."""
    found = {
        name: value
        for name in PASSED_ON
        if isinstance(value := opened.attributes.get(name), str) and _check_text(name, value) is None
    }
    platform = opened.data.get("platform") if isinstance(opened.data, dict) else None
    if isinstance(platform, str) and is_platform_name(platform):
        found["platform"] = platform
    return found


def is_platform_name(text: str) -> bool:
    """Of the form that a configured instance's name has; no other stands in an event."""
    return re.fullmatch(r"[a-z0-9-]{1,40}", text) is not None


def opened(delivery: Delivery, max_bytes: int) -> Opened:
    """Attributes and data as they stand in the message, and what stopped the reading; nothing is checked."""
    return _open(delivery, max_bytes)


def _open(delivery: Delivery, max_bytes: int) -> Opened:
    too_large = None
    if len(delivery.body) > max_bytes:
        size = len(delivery.body)
        too_large = Problem(Code.TOO_LARGE, f"the message has {size} bytes: at most {max_bytes} are read")
    media, _, parameters = (delivery.content_type or "").partition(";")
    opened = _dispatch(delivery, media.strip().lower(), parameters, too_large)
    return opened if too_large is None else Opened(opened.attributes, opened.data, too_large)


def _dispatch(delivery: Delivery, media: str, parameters: str, too_large: Problem | None) -> Opened:
    if too_large and len(delivery.body) > LARGEST_READ:
        return Opened(_from_headers(delivery.headers)[0], None)
    charset = re.search(r'charset="?([^";\s]+)', parameters, re.IGNORECASE)
    if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        return Opened(
            {}, None, _bad("the content type (content_type) names another charset than utf-8", "content_type")
        )
    if media == STRUCTURED:
        return _structured(delivery.body)
    headers, problem = _from_headers(delivery.headers)
    if headers or problem:
        return _binary(delivery.body, media, headers, problem)
    return _neither(delivery.body, media)


def _structured(body: bytes) -> Opened:
    parsed = parse(body)
    if not isinstance(parsed.value, dict):
        why = parsed.flaw or "it is not a JSON object with the attributes of a CloudEvent"
        return Opened({}, None, _bad(f"the body cannot be read: {why}"))
    attributes = {name: value for name, value in parsed.value.items() if value is not None}
    data = attributes.pop("data", None)
    return Opened(attributes, data, _flawed(parsed))


def _binary(body: bytes, media: str, headers: dict[str, Any], problem: Problem | None) -> Opened:
    if media and not _JSON_TYPE.fullmatch(media):
        why = "the content type of the data (datacontenttype) has to be application/json"
        return Opened(headers, None, problem or _bad(why, "datacontenttype"))
    parsed = parse(body)
    if parsed.value is None:
        why = parsed.flaw or "it is null: the data has to be a JSON object"
        return Opened(headers, None, problem or _bad(f"the data cannot be read: {why}", "data"))
    return Opened(headers, parsed.value, problem or _flawed(Parsed(None, parsed.flaw, parsed.path or "data")))


def _neither(body: bytes, media: str) -> Opened:
    """A body that says of itself what it is gets its id into the refusal, so that the sender can find it."""
    why = f"the content type has to be {STRUCTURED}, or the attributes have to stand in ce- headers"
    if media.startswith("application/cloudevents-batch"):
        why = f"one message holds one command: send each with the content type {STRUCTURED}"
    parsed = parse(body)
    attributes = parsed.value if isinstance(parsed.value, dict) else {}
    return Opened(attributes, attributes.get("data"), _bad(why, "content_type"))


def _from_headers(headers: Mapping[str, Any]) -> tuple[dict[str, Any], Problem | None]:
    attributes: dict[str, Any] = {}
    problem = None
    for header, value in headers.items():
        low = header.lower()
        name = next((low[len(prefix) :] for prefix in PREFIXES if low.startswith(prefix)), None)
        if name is None or value is None:
            continue
        text = _header_text(name, value)
        if name in attributes and attributes[name] != text:
            problem = problem or _bad(f"the attribute {shown(name)} comes in two headers that differ", name)
        attributes[name] = text
    return attributes, problem


def _header_text(name: str, value: Any) -> Any:
    """A header's value as structured mode would write it. Times may come as AMQP's own kinds of time."""
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    if name in TIMES and isinstance(value, datetime) and value.tzinfo is not None:
        return value.isoformat()
    if name in TIMES and isinstance(value, int) and not isinstance(value, bool):
        return _from_milliseconds(value)
    return value


def _from_milliseconds(value: int) -> Any:
    """The SDKs' AMQP 1.0 binding writes times as milliseconds since the epoch."""
    if not 0 <= value <= LAST_SECOND * 1000:
        return value
    return datetime.fromtimestamp(value / 1000, UTC).isoformat()


def _flawed(parsed: Parsed) -> Problem | None:
    if parsed.flaw is None:
        return None
    # A field of the data is named by its path in the data, as everywhere in `error.field`.
    path = parsed.path.removeprefix("data.") if parsed.path else None
    return _bad(f"{path or 'the message'} cannot be read: {parsed.flaw}", path)


def _bad(message: str, name: str | None = None) -> Problem:
    return Problem(Code.INVALID_MESSAGE, message, name)


def _check(opened: Opened, times: dict[str, float]) -> Problem | None:
    """The first thing wrong with the attributes; `times` gets those that were read, in seconds."""
    attributes = opened.attributes
    for name in REQUIRED:
        if name not in attributes:
            return _bad(f"the attribute {name} is missing", name)
    for name, value in attributes.items():
        if name in LONGEST:
            problem = _check_text(name, value)
        elif not _NAME.fullmatch(name):
            clean = shown(name)
            problem = _bad(f"names of attributes are lower case letters and digits, not {clean!r}", clean)
        else:
            continue
        if problem:
            return problem
    return _check_values(attributes, times) or _check_data(opened)


def _check_text(name: str, value: Any) -> Problem | None:
    if not isinstance(value, str):
        return _bad(f"{name} has to be a text in quotes", name)
    if not value:
        return _bad(f"{name} is empty: leave it out or give it a value", name)
    if _CONTROL.search(value):
        return _bad(f"{name} holds a control character or half of a character", name)
    longest = LONGEST[name]
    if len(value) > longest or (not value.isascii() and len(value.encode()) > longest):
        return _bad(f"{name} is longer than {longest} bytes", name)
    return None


def _check_values(attributes: Mapping[str, Any], times: dict[str, float]) -> Problem | None:
    if attributes["specversion"] != "1.0":
        return _bad("specversion has to be 1.0", "specversion")
    if not _URI_REFERENCE.fullmatch(attributes["source"]):
        return _bad("source has to be a URI reference such as /crm or https://crm.example", "source")
    if attributes.get("priority", "normal") not in PRIORITIES:
        return _bad("priority has to be high, normal or low", "priority")
    if not _JSON_TYPE.fullmatch(attributes.get("datacontenttype", "application/json").partition(";")[0]):
        return _bad("datacontenttype has to be application/json", "datacontenttype")
    for name in TIMES:
        if name in attributes:
            if (seconds := moment(attributes[name])) is None:
                why = f"{name} has to be a time with its zone (RFC 3339), e.g. 2026-05-01T12:00:00Z"
                return _bad(why, name)
            times[name] = seconds
    return None


def _check_data(opened: Opened) -> Problem | None:
    if "data_base64" in opened.attributes:
        return _bad("data has to be a JSON object: data_base64 is not read", "data_base64")
    if opened.data is None:
        return _bad("data is missing: the command's fields stand there", "data")
    if not isinstance(opened.data, dict):
        return _bad("data has to be a JSON object", "data")
    return None


def moment(text: str) -> float | None:
    """An RFC 3339 time as seconds since the epoch; None if it is none, or not of the years 1970 to 9999."""
    upper = text.upper()
    if not _TIME.fullmatch(upper):
        return None
    try:
        seconds = datetime.fromisoformat(upper).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds <= LAST_SECOND else None


def _envelope(opened: Opened, times: dict[str, float], delivery: Delivery) -> Envelope:
    get = opened.attributes.get
    return Envelope(
        id=opened.attributes["id"],
        source=opened.attributes["source"],
        type=opened.attributes["type"],
        data=opened.data,
        time=times.get("time", delivery.timestamp),
        subject=get("subject"),
        idempotency_key=get("idempotencykey") or opened.attributes["id"],
        depends_on=get("dependson"),
        correlation_id=get("correlationid") or _property(delivery.correlation_id),
        causation_id=get("causationid"),
        traceparent=get("traceparent"),
        tracestate=get("tracestate"),
        batch_id=get("batchid"),
        not_before=times.get("notbefore"),
        expires_at=times.get("expirytime"),
        priority=PRIORITIES[get("priority", "normal")],
        reply_to=delivery.reply_to or None,
    )


def _property(value: str | None) -> str | None:
    """An AMQP property that callers match answers by; one that cannot stand in an event is left out."""
    return value if value and _check_text("correlationid", value) is None else None
