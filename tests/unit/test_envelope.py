"""Reading messages: what a sender may write, and what each mistake is told."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings import amqp, rabbitmq
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.messages.envelope import Delivery, Envelope, Unreadable, moment, read
from worker.messages.errors import Code
from worker.messages.parsing import parse, too_deep

MOST = 262144
UNHURRIED = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
STRUCTURED = "application/cloudevents+json"
SUBSCRIBER = {"username": "551140028922", "domain": "voip.example"}
MESSAGE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "a-1",
    "source": "/crm",
    "type": "subscriber.block.v1",
    "data": {"platform": "sippulse-br", "subscriber": SUBSCRIBER},
}
ALL = MESSAGE | {
    "time": "2026-05-01T12:00:00Z",
    "subject": "customer 12",
    "idempotencykey": "order-7",
    "dependson": "a-0",
    "correlationid": "corr",
    "causationid": "cause",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "vendor=1",
    "batchid": "b-1",
    "notbefore": "2026-05-01T12:00:00.5+02:00",
    "expirytime": "2026-05-02T12:00:00Z",
    "priority": "high",
    "someextension": 7,
}


def structured(message: Any, **more: Any) -> Delivery:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return Delivery(body, "commands", **({"content_type": STRUCTURED} | more))


def binary(message: dict[str, Any], prefix: str = "ce-", **more: Any) -> Delivery:
    headers = {prefix + name: value for name, value in message.items() if name != "data"}
    body = json.dumps(message["data"]).encode()
    return Delivery(body, "commands", headers=headers, **({"content_type": "application/json"} | more))


def good(delivery: Delivery) -> Envelope:
    result = read(delivery, MOST)
    assert isinstance(result, Envelope), result
    return result


def bad(delivery: Delivery) -> Unreadable:
    result = read(delivery, MOST)
    assert isinstance(result, Unreadable), result
    return result


def test_a_command_needs_four_attributes_and_its_data():
    envelope = good(structured(MESSAGE))
    assert (envelope.id, envelope.source, envelope.type) == ("a-1", "/crm", "subscriber.block.v1")
    assert envelope.data == MESSAGE["data"]
    assert envelope.idempotency_key == "a-1"
    assert envelope.priority == 1


def test_every_attribute_is_read():
    envelope = good(structured(ALL, reply_to="answers"))
    assert envelope.idempotency_key == "order-7"
    assert envelope.depends_on == "a-0"
    assert (envelope.correlation_id, envelope.causation_id, envelope.batch_id) == ("corr", "cause", "b-1")
    assert envelope.time == datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp()
    assert envelope.not_before == datetime(2026, 5, 1, 10, 0, 0, 500000, tzinfo=UTC).timestamp()
    assert envelope.expires_at == datetime(2026, 5, 2, 12, tzinfo=UTC).timestamp()
    assert (envelope.priority, envelope.reply_to) == (0, "answers")
    assert envelope.traceparent == ALL["traceparent"]


@pytest.mark.parametrize("prefix", ["ce-", "ce_", "cloudEvents:", "cloudEvents_", "CE-"])
def test_binary_mode_says_the_same_as_structured(prefix):
    assert good(binary(ALL, prefix)) == good(structured(ALL))


def test_header_values_may_be_bytes_and_times_of_amqp():
    message = {name: value.encode() if isinstance(value, str) else value for name, value in ALL.items()}
    moment_of_amqp = datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert good(binary(message | {"time": moment_of_amqp})) == good(structured(ALL))
    assert good(binary(message | {"time": int(moment_of_amqp.timestamp() * 1000)})) == good(structured(ALL))


def test_messages_of_the_cloudevents_sdk_are_read():
    attributes = {name: value for name, value in ALL.items() if name != "data"}
    attributes |= {name: datetime.fromisoformat(ALL[name]) for name in ("time", "notbefore", "expirytime")}
    event = CloudEvent(attributes=attributes, data=ALL["data"])
    for made in (rabbitmq.to_binary(event, JSONFormat()), rabbitmq.to_structured(event, JSONFormat())):
        delivery = Delivery(made.body, "q", headers=made.headers, content_type=made.content_type)
        assert good(delivery) == good(structured(ALL))
    old = amqp.to_binary(event, JSONFormat())
    headers, media = old.application_properties, old.properties.get("content-type")
    assert good(Delivery(old.application_data, "q", headers, media)).id == "a-1"


@pytest.mark.parametrize(
    "media", [STRUCTURED + "; charset=utf-8", STRUCTURED + ';charset="UTF-8"', STRUCTURED.upper()]
)
def test_the_content_type_may_name_its_charset(media):
    assert good(structured(MESSAGE, content_type=media)).id == "a-1"


def test_a_null_attribute_is_an_absent_one():
    assert good(structured(MESSAGE | {"dependson": None, "idempotencykey": None})) == good(
        structured(MESSAGE)
    )


def test_the_brokers_timestamp_and_correlation_stand_in_for_the_senders():
    envelope = good(structured(MESSAGE, timestamp=1.5e9, correlation_id="rpc-1"))
    assert (envelope.time, envelope.correlation_id) == (1.5e9, "rpc-1")
    envelope = good(structured(ALL, timestamp=1.5e9, correlation_id="rpc-1"))
    assert (envelope.time, envelope.correlation_id) == (1777636800.0, "corr")
    assert good(structured(MESSAGE, correlation_id="\n")).correlation_id is None


def test_other_headers_are_not_taken_for_attributes():
    assert good(binary(MESSAGE | {"data": {}})).data == {}
    extra = {"x-death": [{"count": 3}], "x-delivery-count": 2}
    delivery = binary(MESSAGE)
    assert good(Delivery(delivery.body, "q", {**delivery.headers, **extra}, "application/json")).id == "a-1"


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in MESSAGE.items() if key != name}


def nested(depth: int) -> bytes:
    return json.dumps(MESSAGE)[:-2].encode() + b', "note": ' + b"[" * depth + b"]" * depth + b"}}"


WRONG: list[tuple[str, Any, str, str | None, bool]] = [
    # what, message, the sentence holds, field, the id is known
    ("empty", b"", "the body is empty", None, False),
    ("blank", b" \n", "the body is empty", None, False),
    ("not JSON", b"<command/>", "it is not JSON: Expecting value (line 1, column 1)", None, False),
    ("cut", json.dumps(MESSAGE).encode()[:-9], "it is not JSON", None, False),
    ("a list", [MESSAGE], "it is not a JSON object", None, False),
    ("not UTF-8", b'{"id": "\xe3"}', "it is not UTF-8: byte 8", None, False),
    ("UTF-16", json.dumps(MESSAGE).encode("utf-16"), "cannot be read", None, False),
    ("no id", without("id"), "the attribute id is missing", "id", False),
    ("no source", without("source"), "the attribute source is missing", "source", True),
    ("no type", without("type"), "the attribute type is missing", "type", True),
    ("no specversion", without("specversion"), "the attribute specversion is missing", "specversion", True),
    ("null id", MESSAGE | {"id": None}, "the attribute id is missing", "id", False),
    ("number as id", MESSAGE | {"id": 12}, "id has to be a text in quotes", "id", False),
    ("empty id", MESSAGE | {"id": ""}, "id is empty", "id", False),
    ("long id", MESSAGE | {"id": "x" * 256}, "id is longer than 255 bytes", "id", False),
    ("long id in bytes", MESSAGE | {"id": "ã" * 128}, "id is longer than 255 bytes", "id", False),
    ("control in id", MESSAGE | {"id": "a\nb"}, "id holds a control character", "id", False),
    ("old version", MESSAGE | {"specversion": "0.3"}, "specversion has to be 1.0", "specversion", True),
    ("blanks in source", MESSAGE | {"source": "my crm"}, "source has to be a URI reference", "source", True),
    ("empty key", MESSAGE | {"idempotencykey": ""}, "idempotencykey is empty", "idempotencykey", True),
    (
        "no zone",
        MESSAGE | {"time": "2026-05-01T12:00:00"},
        "time has to be a time with its zone",
        "time",
        True,
    ),
    ("no time", MESSAGE | {"notbefore": "tomorrow"}, "notbefore has to be a time", "notbefore", True),
    ("no day", MESSAGE | {"expirytime": "2026-02-30T00:00:00Z"}, "expirytime has to be", "expirytime", True),
    (
        "time as number",
        MESSAGE | {"expirytime": 1777636800},
        "expirytime has to be a text",
        "expirytime",
        True,
    ),
    (
        "priority",
        MESSAGE | {"priority": "urgent"},
        "priority has to be high, normal or low",
        "priority",
        True,
    ),
    ("capitals", MESSAGE | {"idempotencyKey": "k"}, "lower case letters and digits", "idempotencyKey", True),
    ("no data", without("data"), "data is missing", "data", True),
    ("null data", MESSAGE | {"data": None}, "data is missing", "data", True),
    ("data as list", MESSAGE | {"data": [1]}, "data has to be a JSON object", "data", True),
    ("data as text", MESSAGE | {"data": "{}"}, "data has to be a JSON object", "data", True),
    ("base64", without("data") | {"data_base64": "e30="}, "data_base64 is not read", "data_base64", True),
    (
        "data type",
        MESSAGE | {"datacontenttype": "text/xml"},
        "has to be application/json",
        "datacontenttype",
        True,
    ),
    ("NaN", MESSAGE | {"data": {"amount": float("nan")}}, "NaN is not a number", "amount", True),
    ("infinite", MESSAGE | {"data": {"a": [float("-inf")]}}, "-Infinity is not a number", "a[0]", True),
    (
        "1e999",
        json.dumps(MESSAGE | {"x": 1}).replace('"x": 1', '"x": 1e999').encode(),
        "too large",
        "x",
        True,
    ),
    ("huge number", MESSAGE | {"data": {"a": 10**18}}, "at most 18 digits", "a", True),
    (
        "twice",
        json.dumps(MESSAGE)[:-2].encode() + b', "platform": "x"}}',
        "stands twice",
        "platform",
        True,
    ),
    ("NUL", MESSAGE | {"data": {"s": {"u": "a\0"}}}, "holds the character \\u0000", "s.u", True),
    ("NUL in a name", MESSAGE | {"data": {"a\0": 1}}, "name holds the character", "a\\u0000", True),
    ("half character", MESSAGE | {"data": {"note": ["\ud800"]}}, "half of a character", "note[0]", True),
    ("half in an attribute", MESSAGE | {"subject": "\udc00"}, "half of a character", "subject", True),
    ("33 levels", nested(31), "note cannot be read: it is nested deeper than 32", "note", True),
    ("5,000 levels", nested(5000), "nested deeper than 32 levels", "note", True),
    ("5,000 brackets", b"[" * 5000, "nested deeper than 32 levels", None, False),
    ("5,000 objects", b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested deeper than 32 levels", "a.a", False),
]


@pytest.mark.parametrize(
    ("what", "message", "sentence", "field", "has_id"), WRONG, ids=[row[0] for row in WRONG]
)
def test_a_bad_message_is_told_what_is_wrong_with_which_field(what, message, sentence, field, has_id):
    unreadable = bad(structured(message))
    assert unreadable.problem.code is Code.INVALID_MESSAGE
    assert sentence in unreadable.problem.message
    assert unreadable.problem.field == field
    assert unreadable.known.get("id") == ("a-1" if has_id else None)
    json.dumps(unreadable.known | unreadable.problem.as_data(), ensure_ascii=False).encode()


def test_32_levels_are_read():
    assert good(structured(nested(30))).id == "a-1"
    assert good(structured(MESSAGE | {"data": {"text": "[" * 500, "t": '"[' * 50}})).id == "a-1"


def test_a_message_that_is_too_large_still_says_whose_it_is():
    for size in (MOST, 3_000_000):
        unreadable = bad(structured(MESSAGE | {"data": {"platform": "sippulse-br", "note": "x" * size}}))
        assert unreadable.problem.code is Code.TOO_LARGE
        assert str(MOST) in unreadable.problem.message
        assert unreadable.known["id"] == "a-1"
        assert unreadable.known["platform"] == "sippulse-br"
    assert bad(structured(MESSAGE | {"data": {"note": "x" * 5_000_000}})).known == {}
    assert bad(binary(MESSAGE | {"data": {"note": "x" * 5_000_000}})).known["id"] == "a-1"


def test_the_largest_message_is_read():
    room = MOST - len(json.dumps(MESSAGE | {"data": {"note": ""}}))
    assert good(structured(MESSAGE | {"data": {"note": "x" * room}})).id == "a-1"


@pytest.mark.parametrize("media", [None, "", "application/json", "text/plain"])
def test_without_content_type_and_headers_the_sender_is_told_what_is_missing(media):
    unreadable = bad(structured(MESSAGE, content_type=media))
    assert "content type has to be application/cloudevents+json" in unreadable.problem.message
    assert unreadable.problem.field == "content_type"
    assert unreadable.known["id"] == "a-1"


def test_a_batch_in_one_message_is_refused():
    batch = structured([MESSAGE, MESSAGE], content_type="application/cloudevents-batch+json")
    assert "one message holds one command" in bad(batch).problem.message


def test_another_charset_is_refused():
    delivery = structured(MESSAGE, content_type=STRUCTURED + "; charset=latin1")
    assert "another charset than utf-8" in bad(delivery).problem.message


def test_in_binary_mode_the_body_has_to_be_an_object_of_json():
    assert bad(binary(MESSAGE, content_type="text/xml")).problem.field == "datacontenttype"
    for body, sentence in (
        (b"", "empty"),
        (b"null", "it is null"),
        (b"{", "not JSON"),
        (b"[]", "a JSON object"),
    ):
        delivery = Delivery(body, "q", dict(binary(MESSAGE).headers), "application/json")
        unreadable = bad(delivery)
        assert sentence in unreadable.problem.message
        assert unreadable.known["id"] == "a-1"
    flawed = Delivery(b'{"a":NaN}', "q", dict(binary(MESSAGE).headers), "application/json")
    assert bad(flawed).problem.field == "a"


def test_headers_that_contradict_each_other_are_refused():
    delivery = binary(MESSAGE)
    both = Delivery(delivery.body, "q", {**delivery.headers, "cloudEvents:id": "other"}, "application/json")
    assert "comes in two headers that differ" in bad(both).problem.message
    same = Delivery(delivery.body, "q", {**delivery.headers, "cloudEvents:id": "a-1"}, "application/json")
    assert good(same).id == "a-1"


def test_header_bytes_that_are_no_text_are_refused():
    assert bad(binary(MESSAGE | {"subject": b"\xff"})).problem.field == "subject"


def test_a_refusal_repeats_nothing_that_may_be_secret():
    for body in (b'{"data": {"password": "s3cret" "x"}}', b'{"data": {"password": "s3cret\\ud800"}}'):
        unreadable = bad(structured(body))
        assert "s3cret" not in f"{unreadable}"
    delivery = structured(MESSAGE | {"data": {"password": "s3cret"}})
    assert "s3cret" not in f"{delivery} {good(delivery)}"


@pytest.mark.parametrize(
    "text",
    [
        "2026-05-01",
        "20260501T120000Z",
        "2026-W18-5T12:00:00Z",
        "2026-05-01T12:00Z",
        "2026-05-01T25:00:00Z",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59-12:00",
        "2026-05-01T12:00:00+0200",
        "٢٠٢٦-05-01T12:00:00Z",
    ],
)
def test_only_rfc_3339_is_a_time(text):
    assert moment(text) is None


@UNHURRIED
@given(st.binary(max_size=300))
def test_no_body_makes_the_reader_fail(body):
    for delivery in (structured(body), Delivery(body, "q", {"ce-id": "x"}), Delivery(body, "q")):
        assert isinstance(read(delivery, 200), Unreadable)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@UNHURRIED
@given(st.dictionaries(st.sampled_from([*ALL, "Odd", "x"]), JSON))
def test_no_attribute_makes_the_reader_fail(change):
    for result in (read(structured(ALL | change), MOST), read(binary(ALL | change), MOST)):
        if isinstance(result, Unreadable):
            json.dumps(result.known | result.problem.as_data(), ensure_ascii=False).encode()
        else:
            json.dumps(dict(result.data), ensure_ascii=False).encode()


@UNHURRIED
@given(JSON)
def test_what_is_read_strictly_is_what_json_says(value):
    text = json.dumps(value).encode()
    parsed = parse(text)
    if parsed.flaw is None:
        assert parsed.value == json.loads(text)
        assert "NaN" not in json.dumps(parsed.value).replace('NaN"', "")


HOSTILE = {
    "a text that never ends": b"[" * 40 + b'"' + b'\\"' * 120_000,
    "quotes": b"[" * 20 + b'"' * 200_001 + b"[" * 20,
    "brackets": b"[" * 4_000_000,
    "lists in lists": (b"[" * 30 + b"]" * 30 + b",") * 4_000,
    "escapes": b'{"a":"' + b"\\u0000" * 40_000 + b'"}',
    "digits": b'{"a":' + b"1" * 250_000 + b"}",
    "a broken number": b'{"a":1.' + b"1" * 250_000 + b"}",
    "names": b"{" + b",".join(b'"%d":1' % n for n in range(20_000)) + b"}",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_no_message_takes_the_readers_time(body):
    began = time.process_time()
    bad(structured(body))
    assert time.process_time() - began < 2


def test_depth_is_counted_outside_of_texts():
    assert not too_deep(json.dumps({"a": "[" * 100, 'b"\\': "{" * 100}).encode())
    assert too_deep(b"[" * 33)
    assert not too_deep(b"[]" * 100)
