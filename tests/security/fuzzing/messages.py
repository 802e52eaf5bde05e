"""The intake parser under fire: bytes and AMQP properties in; a command, or a declared refusal, out."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.security.fuzzing.mutation import bent, estranged
from worker.broker.arrivals import Reader
from worker.broker.topology import BULK, COMMANDS
from worker.journal.port import Inquiry, NewCommand, Refusal
from worker.messages.envelope import LONGEST, STRUCTURED, Delivery, Envelope, Unreadable, read
from worker.messages.errors import Code, Problem
from worker.messages.events import View, render, result
from worker.messages.examples import DATA
from worker.messages.orders import lines

NAME = "messages"
MAX_BYTES = 262_144  # the default of intake.max_bytes
LONGEST_TEXT = 1000  # characters of a problem's sentence, whatever was sent
KINDS = {"sippulse-br": "sippulse"}
REFUSALS = frozenset(  # what intake alone may say; the others need the journal
    {
        Code.INVALID_MESSAGE,
        Code.UNKNOWN_COMMAND,
        Code.UNKNOWN_PLATFORM,
        Code.MISSING_FIELD,
        Code.INVALID_FIELD,
        Code.TOO_LARGE,
        Code.UNSUPPORTED,
        Code.NOT_ALLOWED,
    }
)
CAUGHT = re.compile(r"the message cannot be read \(\w+\)")  # the reader's last net: something did raise
UNSAYABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
READER = Reader(KINDS, MAX_BYTES)

# ---------------------------------------------------------------- a message as one text, so that it can be mutated

PROPERTIES = ("content_type", "message_id", "correlation_id", "reply_to")


def written(body: bytes, headers: Mapping[str, Any] | None = None, **properties: str) -> bytes:
    """A message as text: a line for each property and header, an empty line, the body."""
    lines_ = [f"{name}: {value}" for name, value in properties.items()]
    lines_ += [f"{_kind(value)} {name}: {_plain(value)}" for name, value in (headers or {}).items()]
    return "\n".join([*lines_, "", ""]).encode() + body


def _kind(value: Any) -> str:
    kinds = {bytes: "b", bool: "B", int: "i", float: "f", datetime: "t", Decimal: "D", list: "l", dict: "d"}
    return kinds.get(type(value), "s")


def _plain(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def delivery(data: bytes) -> Delivery:
    """The inverse of `written`, for any bytes at all."""
    head, _, body = data.partition(b"\n\n")
    properties: dict[str, Any] = {}
    headers: dict[str, Any] = {}
    for line in head.decode("utf-8", "surrogateescape").split("\n")[:100]:
        name, _, value = line.partition(": ")
        if name in PROPERTIES:
            properties[name] = value
        elif name == "timestamp":
            properties[name] = _number(value)
        elif name == "queue":
            properties[name] = BULK
        elif len(name) > 1 and name[1] == " ":
            headers[name[2:]] = _typed(name[0], value)
    return Delivery(**{"body": body, "queue": COMMANDS, "headers": headers, **properties})


def _number(text: str) -> float:
    try:
        return float(int(text[:12]))
    except ValueError:
        return 0.0


def _typed(kind: str, text: str) -> Any:
    """All the kinds of values that an AMQP table can hold."""
    match kind:
        case "b":
            return text.encode("utf-8", "surrogateescape")
        case "B":
            return text == "True"
        case "i":
            return int(_number(text)) * 7919
        case "f":
            return _number(text) / 3
        case "t":
            return datetime.fromtimestamp(_number(text) % 4e9, UTC)
        case "D":
            return Decimal(int(_number(text)))
        case "l":
            return [text]
        case "d":
            return {text: [text]}
        case "n":
            return None
        case _:
            return text


# ---------------------------------------------------------------- what is fed, and what must hold


def corpus() -> list[bytes]:
    """Real messages of every command, in both modes, and the known ways of being bad."""
    return [*_structured(), *_binary(), *_demonstration(), *_bad()]


def _event(type_: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "order-4711",
        "source": "/crm",
        "type": type_,
        "time": "2026-05-01T12:00:00Z",
        "subject": "contract 4711",
        "idempotencykey": "invoice-1",
        "correlationid": "c-1",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "notbefore": "2026-05-01T12:00:00.5+02:00",
        "expirytime": "2027-05-01T12:00:00Z",
        "dependson": "order-4710",
        "priority": "high",
        "data": dict(data),
    }


def _structured() -> Iterator[bytes]:
    for type_, data in DATA.items():
        body = json.dumps(_event(type_, data), ensure_ascii=False).encode()
        yield written(body, content_type=STRUCTURED, reply_to="crm.answers", timestamp="1777636800")


def _binary() -> Iterator[bytes]:
    prefixes = ("ce-", "cloudEvents:", "cloudEvents_", "ce_")
    for number, (type_, data) in enumerate(DATA.items()):
        event = _event(type_, data)
        headers = {f"{prefixes[number % 4]}{name}": value for name, value in event.items() if name != "data"}
        headers |= {"x-delivery-count": 3, "x-death": [1], "ce-time": datetime(2026, 5, 1, tzinfo=UTC)}
        yield written(json.dumps(event["data"]).encode(), headers, content_type="application/json")


def bend(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Every other one stays JSON: it comes past the parser, to the checks of attributes and fields."""
    if chance.random() < 0.5:
        return bent(seeds, TOKENS, chance)
    type_ = chance.choice(sorted(DATA))
    event = estranged(_event(type_, DATA[type_]), chance)
    return written(json.dumps(event).encode(), content_type=STRUCTURED)


def _demonstration() -> Iterator[bytes]:
    for line in lines():
        if "raw" in line:
            yield written(line["raw"].encode(), content_type=STRUCTURED)
        elif line["expect"]["status"] == "refused":
            yield written(json.dumps(line["message"]).encode(), content_type=STRUCTURED, queue="bulk")


def _bad() -> Iterator[bytes]:
    nested = b"[" * 40 + b"1" + b"]" * 40
    for text in (
        b'{"id": "a", "id": "b"}',
        b'{"specversion": "1.0", "id": "\\ud800", "source": "/crm", "type": "credit.get.v1", "data": {}}',
        b'{"specversion": "1.0", "id": "a\\u0000", "source": "/crm", "type": "t", "data": {"a": 1e999}}',
        b'{"id": "a", "data": ' + nested + b"}",
        b'{"id": "a", "data": {"n": NaN, "i": 99999999999999999999, "f": -1e-400}}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b'[{"id": 1}]',
        b"null",
        b'"\\',
    ):
        yield written(text, content_type=STRUCTURED)
        yield written(text, {"ce-id": b"\xff\xfe", "ce-type": 5, "CE-ID": "other"}, content_type="text/json")
    yield written(b"{}", content_type='application/cloudevents+json; charset="utf-16"')
    yield written(b"[]", content_type="application/cloudevents-batch+json")


TOKENS = (
    b'{"', b'":', b"[", b"]", b"{", b"}", b",", b'\\u0000', b"\\ud800", b"\\udc00", b"\\", b'"', b"NaN", b"-Infinity",
    b"1e999", b"99999999999999999999", b"-0", b"null", b"true", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\x00", b"\n",
    b"\n\n", b"content_type: ", b"s ce-", b"i ce-time: ", b"n ce-id: ", b"d ce-source: ", b"l cloudEvents:type: ",
    b"b ce-id: \xff", b"specversion", b"data_base64", b'"data":', b'"platform":"sippulse-br"', b'"subscriber":{}',
    b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:60Z", b"-00:00", b"\xf0\x9f\x92\xa3", b"%00", b"amount", b"1E5",
)  # fmt: skip


def check(data: bytes) -> str:
    """One case. Returns how it ended, in a word; raises AssertionError, or what escaped the parser."""
    given = delivery(data)
    seen = read(given, MAX_BYTES)
    assert isinstance(seen, (Envelope, Unreadable)), type(seen)
    if isinstance(seen, Envelope):
        _sound(seen)
    arrival = READER.arrival(given)
    item = arrival.item
    if isinstance(item, Refusal):
        _answerable(item)
        return str(item.problem.code.value)
    assert isinstance(item, (NewCommand, Inquiry)), type(item)
    _sound(item.envelope)
    return "inquiry" if isinstance(item, Inquiry) else "command"


def _sound(envelope: Envelope) -> None:
    """What is admitted can be stored and published, everywhere."""
    json.dumps(envelope.data, ensure_ascii=False, allow_nan=False).encode()
    texts = {
        "id": envelope.id,
        "source": envelope.source,
        "type": envelope.type,
        "idempotencykey": envelope.idempotency_key,
        "subject": envelope.subject,
        "dependson": envelope.depends_on,
        "correlationid": envelope.correlation_id,
        "causationid": envelope.causation_id,
        "traceparent": envelope.traceparent,
        "batchid": envelope.batch_id,
    }
    for name, text in texts.items():
        if text is not None:
            assert text, f"{name} is empty"
            assert not UNSAYABLE.search(text), f"{name} holds a control character"
            assert len(text.encode()) <= LONGEST[name], f"{name} is too long"
    for when in (envelope.not_before, envelope.expires_at):
        assert when is None or 0 <= when <= 253402300799, "a time out of range"
    assert isinstance(envelope.data, dict)


def _answerable(refusal: Refusal) -> None:
    """A declared code, a sentence fit to be read, and an event that can be published."""
    problem = refusal.problem
    assert isinstance(problem, Problem)
    assert problem.code in REFUSALS, f"not a refusal of intake: {problem.code}"
    assert not CAUGHT.fullmatch(problem.message), f"it raised inside the reader: {problem.message}"
    for text in (problem.message, problem.field or "-"):
        assert text, "an empty text"
        assert len(text) <= LONGEST_TEXT, f"a text of {len(text)} characters"
        assert not UNSAYABLE.search(text), "a control character in a text"
    for name, value in refusal.known.items():
        assert isinstance(value, str), name
        assert value, name
        assert not UNSAYABLE.search(value), name
    view = View(
        refusal.known.get("id"),
        refusal.known.get("source"),
        "unknown",
        None,
        "unknown",
        None,
        received_at=0.0,
    )
    event = render(result(view, "refused", at=0.0, effect="none", error=problem), 1, "/provisioning-worker")
    json.loads(event.body)
