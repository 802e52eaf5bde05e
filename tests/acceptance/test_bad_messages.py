"""Bad input is refused with what was wrong, kept, and harms none of the good messages around it (P6)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import pytest_asyncio

from tests.support.amqp import Heard, Listener, Sender, command, depth, eventually, message
from tests.support.stage import DOMAIN, MODULE, PLATFORM, Stage, about, staged

pytestmark = MODULE
stage = staged(settings={"journal": {"dedup_window": "30d"}})

OWN, BULK = "provisioning.commands", "provisioning.commands.bulk"
LOOK = ("--reason", "a test")
Maker = Callable[[], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of bad message: the last of what `make` gives; what is before it in the list is good.

    `names`: words that the sentence has to hold. `known`: whether the refused event can name the command.
    """

    name: str
    make: Maker = field(repr=False)
    code: str = "invalid_message"
    field: str | None = None
    names: tuple[str, ...] = ()
    known: bool = True


def body(**changes: Any) -> dict[str, Any]:
    """A good read with attributes changed; `None` leaves one out."""
    made = command("subscriber.get.v1", about("bad")) | changes
    return {name: value for name, value in made.items() if value is not None}


def raw(text: str | bytes, **changes: Any) -> Maker:
    """A message of this text, HERE standing for a fresh id."""

    def make() -> Sequence[Any]:
        filled = text if isinstance(text, bytes) else text.replace("HERE", str(uuid.uuid4())).encode()
        return [message(filled, **changes)]

    return make


def sent(**changes: Any) -> Maker:
    return lambda: [message(body(**changes))]


def data(type: str = "subscriber.get.v1", **fields: Any) -> Maker:
    return lambda: [message(command(f"{type}", about("bad", **fields)))]


def credit(amount: Any) -> Maker:
    return data("credit.add.v1", amount=amount)


def text_of_credit(amount: str) -> Maker:
    """An amount as no JSON library would write it."""
    subscriber = f'{{"username":"bad","domain":"{DOMAIN}"}}'
    inner = f'{{"platform":"{PLATFORM}","subscriber":{subscriber},"amount":{amount}}}'
    return raw(f'{{"specversion":"1.0","id":"HERE","source":"/tests","type":"credit.add.v1","data":{inner}}}')


def binary(body: bytes | None = None, content_type: str = "application/json", **headers: Any) -> Maker:
    """Binary mode; a header that is None is left out."""

    def make() -> Sequence[Any]:
        attributes = {"specversion": "1.0", "id": str(uuid.uuid4()), "source": "/tests"}
        attributes |= {"type": "subscriber.get.v1", **headers}
        named = {f"ce-{name}": value for name, value in attributes.items() if value is not None}
        inner = json.dumps(about("bad")).encode() if body is None else body
        return [message(inner, content_type, headers=named)]

    return make


def changed_under_the_same_id() -> Sequence[Any]:
    first = command("subscriber.get.v1", about("good"))
    return [message(first), message({**first, "data": about("other")})]


def changed_under_the_same_key() -> Sequence[Any]:
    key = str(uuid.uuid4())
    amounts = ("1.00", "2.00")
    return [
        message(command("credit.add.v1", about("good", amount=one), idempotencykey=key)) for one in amounts
    ]


def days_ago(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def named_twice() -> Sequence[Any]:
    text = json.dumps(body()).replace('"username": "bad"', '"username": "bad", "username": "worse"')
    return [message(text.encode())]


DEEP = b"[" * 5000 + b"]" * 5000

KINDS = (
    # what cannot be read at all
    Kind("not JSON", raw("this is no JSON"), names=("not JSON", "line 1"), known=False),
    Kind("half of JSON", raw('{"specversion":"1.0","id":"HERE"'), names=("not JSON",), known=False),
    Kind("empty", raw(b""), names=("empty",), known=False),
    Kind("white space", raw(b" \n\t "), names=("empty",), known=False),
    Kind("not UTF-8", raw(b'{"id":"\xff\xfe"}'), names=("UTF-8", "byte 7"), known=False),
    Kind("UTF-16", raw(json.dumps(body()).encode("utf-16")), names=("UTF-8",), known=False),
    Kind("no object", raw("[1, 2, 3]"), names=("JSON object",), known=False),
    Kind("a text", raw('"subscriber.get.v1"'), names=("JSON object",), known=False),
    Kind("null", raw("null"), names=("JSON object",), known=False),
    Kind("nothing but brackets", raw(DEEP), names=("32 levels",), known=False),
    Kind(
        "another content type",
        lambda: [message(body(), "text/plain")],
        field="content_type",
        names=("application/cloudevents+json",),
    ),
    Kind(
        "a batch of CloudEvents",
        lambda: [message(json.dumps([body()]).encode(), "application/cloudevents-batch+json")],
        field="content_type",
        names=("one command",),
        known=False,
    ),
    Kind(
        "another character set",
        lambda: [message(body(), "application/cloudevents+json; charset=latin1")],
        field="content_type",
        names=("utf-8",),
        known=False,
    ),
    # sizes
    Kind("3 MB", sent(data=about("bad", note="x" * 3_000_000)), "too_large", names=("262144",)),
    Kind(
        "5 MB in binary mode",
        binary(b'{"note":"' + b"x" * 5_000_000 + b'"}'),
        "too_large",
        names=("262144",),
    ),
    Kind(
        "nested 5,000 deep",
        raw(
            b'{"specversion":"1.0","id":"deep","source":"/tests","type":"credit.get.v1","data":' + DEEP + b"}"
        ),
        field="data[0]",
        names=("32 levels",),
    ),
    Kind("an id of 1,000 signs", sent(id="x" * 1000), field="id", names=("255",), known=False),
    Kind("a huge integer", text_of_credit("9" * 400), field="amount", names=("18 digits",)),
    Kind("a number beyond all numbers", text_of_credit("1e999"), field="amount", names=("too large",)),
    # signs that no journal holds
    Kind(
        "\\u0000 in the data",
        data("credit.add.v1", amount="1.00", note="a\0b"),
        field="note",
        names=("\\u0000",),
    ),
    Kind("\\u0000 in the id", sent(id="a\0b"), field="id", names=("id",), known=False),
    Kind(
        "half of a character",
        data("credit.add.v1", amount="1.00", note="a\ud800b"),
        field="note",
        names=("half of a character",),
    ),
    Kind(
        "half of a character in a name",
        sent(data=about("bad") | {"a\udfff": 1}),
        names=("half of a character",),
    ),
    Kind("a line break in the subject", sent(subject="a\nb"), field="subject", names=("control",)),
    # attributes
    Kind("no id", sent(id=None), field="id", names=("id is missing",), known=False),
    Kind("an empty id", sent(id=""), field="id", names=("empty",), known=False),
    Kind("an id that is a number", sent(id=5), field="id", names=("text",), known=False),
    Kind("no source", sent(source=None), field="source", names=("source is missing",)),
    Kind("a source that is no URI", sent(source="not a uri"), field="source", names=("URI",)),
    Kind("no type", sent(type=None), field="type", names=("type is missing",)),
    Kind("no specversion", sent(specversion=None), field="specversion", names=("specversion",)),
    Kind("another version", sent(specversion="0.3"), field="specversion", names=("1.0",)),
    Kind("no data", sent(data=None), field="data", names=("data is missing",)),
    Kind("data that is a list", sent(data=[1]), field="data", names=("JSON object",)),
    Kind("data in base64", sent(data_base64="e30="), field="data_base64", names=("data_base64",)),
    Kind("data of another type", sent(datacontenttype="text/xml"), field="datacontenttype", names=("json",)),
    Kind("an attribute in capitals", sent(idempotencyKey="k"), field="idempotencyKey", names=("lower",)),
    Kind("a time without a zone", sent(time="2026-05-01T12:00:00"), field="time", names=("RFC 3339",)),
    Kind("a time that is none", sent(expirytime="tomorrow"), field="expirytime", names=("RFC 3339",)),
    Kind(
        "a thirteenth month", sent(notbefore="2026-13-01T00:00:00Z"), field="notbefore", names=("RFC 3339",)
    ),
    Kind("a time that is a number", sent(time=1714564800), field="time", names=("text",)),
    Kind("an unknown priority", sent(priority="urgent"), field="priority", names=("high, normal or low",)),
    Kind("a priority that is a number", sent(priority=1), field="priority", names=("text",)),
    # what is asked for
    Kind(
        "an unknown command",
        sent(type="subscriber.gte.v1"),
        "unknown_command",
        "type",
        ("subscriber.get.v1",),
    ),
    Kind(
        "another version of it",
        sent(type="subscriber.get.v9"),
        "unknown_command",
        "type",
        ("subscriber.get.v1",),
    ),
    Kind(
        "an unknown platform",
        sent(data=about("bad") | {"platform": "sipulse"}),
        "unknown_platform",
        "platform",
        ("sipulse", PLATFORM),
    ),
    Kind("no platform", sent(data={"subscriber": {}}), "missing_field", "platform", (PLATFORM,)),
    Kind("a platform that is a list", sent(data={"platform": []}), "invalid_field", "platform", (PLATFORM,)),
    Kind("no subscriber", sent(data={"platform": PLATFORM}), "missing_field", "subscriber", ("subscriber",)),
    Kind(
        "half a subscriber",
        sent(data={"platform": PLATFORM, "subscriber": {"username": "bad"}}),
        "missing_field",
        "subscriber.domain",
        ("subscriber.domain",),
    ),
    Kind("an unknown field", data(colour="red"), "invalid_field", "colour", ("unknown field", "subscriber")),
    Kind(
        "an unknown field inside",
        sent(data={"platform": PLATFORM, "subscriber": {"username": "b", "domain": DOMAIN, "pin": 1}}),
        "invalid_field",
        "subscriber.pin",
        ("unknown field",),
    ),
    Kind(
        "a user name that is a number",
        sent(data={"platform": PLATFORM, "subscriber": {"username": 55, "domain": DOMAIN}}),
        "invalid_field",
        "subscriber.username",
        ("text in quotes",),
    ),
    Kind("a field twice", named_twice, field="subscriber.username", names=("twice",)),
    Kind(
        "kinds that is a text", data("calls.block.v1", kinds="outgoing"), "invalid_field", "kinds", ("list",)
    ),
    Kind(
        "an unknown kind", data("calls.block.v1", kinds=["all"]), "invalid_field", "kinds[0]", ("outgoing",)
    ),
    Kind("no field at all", data("subscriber.create.v1"), "missing_field", "password", ("password",)),
    # money
    Kind("NaN", text_of_credit("NaN"), field="amount", names=("NaN",)),
    Kind("infinite", text_of_credit("-Infinity"), field="amount", names=("Infinity",)),
    Kind("negative money", credit("-5.00"), "invalid_field", "amount", ("above 0",)),
    Kind("money that is nothing", credit("0.00"), "invalid_field", "amount", ("above 0",)),
    Kind("money that is a number", credit(5.5), "invalid_field", "amount", ("quotes",)),
    Kind("money with a comma", credit("5,00"), "invalid_field", "amount", ("point",)),
    Kind("money as a power", credit("1e3"), "invalid_field", "amount", ("exponent",)),
    Kind("no money", data("credit.add.v1"), "missing_field", "amount", ("amount",)),
    # what was before
    Kind("the same id with other content", changed_under_the_same_id, "id_conflict", "id", ("id",)),
    Kind(
        "the same key with other content",
        changed_under_the_same_key,
        "idempotency_conflict",
        "idempotencykey",
        ("key",),
    ),
    Kind("too old", sent(time=days_ago(31)), "too_old", "time", ("30 days",)),
    Kind("an unknown dependency", sent(dependson="nobody"), "unknown_dependency", "dependson", ("nobody",)),
    # binary mode
    Kind("binary without a type", binary(type=None), field="type", names=("type is missing",)),
    Kind("binary with a broken body", binary(b"{"), field="data", names=("not JSON",)),
    Kind("binary with an empty body", binary(b""), field="data", names=("empty",)),
    Kind(
        "binary with XML", binary(b"<a/>", "text/xml"), field="datacontenttype", names=("application/json",)
    ),
    Kind("a header that is a list", binary(id=["a"]), field="id", names=("text",), known=False),
    Kind("a header that is a number", binary(subject=7), field="subject", names=("text",)),
    Kind(
        "a header that is no UTF-8", binary(id=bytearray(b"\xff\xfe")), field="id", names=("id",), known=False
    ),
    Kind("a header that is a table", binary(source={"a": 1}), field="source", names=("text",)),
    Kind(
        "two headers that differ",
        lambda: [
            message(
                json.dumps(about("bad")).encode(),
                "application/json",
                headers={
                    "ce-specversion": "1.0",
                    "ce-source": "/tests",
                    "ce-type": "subscriber.get.v1",
                    "ce-id": "one",
                    "cloudEvents:id": "two",
                },
            )
        ],
        field="id",
        names=("two headers",),
    ),
    # where the answer goes, and questions about commands
    Kind(
        "reply_to of the worker's own queue",
        lambda: [message(body(), reply_to=OWN)],
        field="reply_to",
        names=(OWN, "of the worker"),
    ),
    Kind(
        "a question that names nobody",
        lambda: [message(command("command.get.v1", {}))],
        "missing_field",
        "id",
        ("id",),
    ),
    Kind(
        "a question that names twice",
        lambda: [message(command("command.get.v1", {"id": "a", "source": "/b", "idempotencykey": "c"}))],
        "invalid_field",
        "idempotencykey",
        ("not by both",),
    ),
)


@dataclass(frozen=True, slots=True)
class Burst:
    """What was sent without a pause, good, bad, good, bad, … and the refusals of it, in their order."""

    good: list[str]
    refused: list[Heard]


def good() -> Any:
    return message(command("subscriber.get.v1", about("good")))


def id_of(one: aio_pika.Message) -> str:
    return str(json.loads(one.body)["id"])


async def burst(stage: Stage, kinds: Sequence[Kind], queue: str) -> Burst:
    before, fine, messages = len(refusals(stage)), [], []
    for kind in kinds:
        *first, bad = kind.make()
        around = [good(), *first]
        fine += [id_of(one) for one in around]
        messages += [*around, bad]
    last = good()
    async with Sender(stage.broker) as sender:
        await sender.send_all([*messages, last], queue)
    wanted = before + len(kinds)
    await eventually(lambda: len(refusals(stage)) >= wanted, 90, what=f"{wanted} refusals")
    return Burst([*fine, id_of(last)], refusals(stage)[before:])


def refusals(stage: Stage) -> list[Heard]:
    return [one for one in stage.results.heard if one.data["status"] == "refused"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def flood(stage: Stage) -> Burst:
    """Every kind at once, among good ones."""
    await stage.platform.subscribers(["good", "other"])
    return await burst(stage, KINDS, OWN)


async def test_a_bad_message_is_refused_with_code_and_field_and_the_good_ones_are_unharmed(
    stage: Stage, flood: Burst
) -> None:
    # One queue, one line of events: refusals come in the order in which the bad messages were sent.
    wrong = [text for kind, one in zip(KINDS, flood.refused, strict=True) if (text := unlike(kind, one))]
    assert wrong == [], "\n".join(wrong)
    for name in flood.good:
        await stage.ending(name, "succeeded")


def unlike(kind: Kind, heard: Heard) -> str | None:
    """How a refusal is not what its kind has to be."""
    data = heard.data
    error = data["error"]
    told = f"{kind.name}: {error}"
    if (error["code"], error.get("field")) != (kind.code, kind.field) and kind.field is not None:
        return f"{told}, wanted {kind.code} of {kind.field}"
    if error["code"] != kind.code or not all(word in error["message"] for word in kind.names):
        return f"{told}, wanted {kind.code} and {kind.names}"
    if kind.field and kind.field.replace("_", " ") not in error["message"].replace("_", " "):
        return f"{told} does not name the field in its sentence"
    if (data["command"] is not None) != kind.known:
        return f"{told}: its command is {data['command']}"
    if data["effect"] != "none" or not data["refused_message"] or not error["advice"]:
        return f"{told}: incomplete, {data}"
    return None


async def test_refused_messages_are_kept_and_can_be_looked_at(stage: Stage, flood: Burst) -> None:
    listed = await stage.cli("quarantine", "list", "--json", "--limit", "1000")
    kept = {row["uid"]: row for row in listed.json}
    for kind, one in zip(KINDS, flood.refused, strict=True):
        row = kept[one.data["refused_message"]]
        assert row["kept"], kind
        assert (row["code"], row["message"]) == (one.data["error"]["code"], one.data["error"]["message"])
    place = [kind.name for kind in KINDS].index("not JSON")
    shown = await stage.cli("quarantine", "show", flood.refused[place].data["refused_message"], *LOOK)
    assert "this is no JSON" in shown.out


async def test_nothing_comes_again_and_nothing_is_left_in_the_queues(stage: Stage, flood: Burst) -> None:
    for queue in (OWN, BULK, "provisioning.dead"):
        assert await depth(stage.broker, queue) == 0
    figures = await stage.figures()
    assert figures[f'worker_intake_redelivered_total{{queue="{OWN}"}}'] == 0
    assert figures["worker_dead_letters_total"] == 0
    assert (await stage.worker.get("/readyz"))[0] == 200


async def test_the_bulk_queue_refuses_and_keeps_alike(stage: Stage, flood: Burst) -> None:
    names = (
        "not JSON",
        "3 MB",
        "nested 5,000 deep",
        "\\u0000 in the data",
        "negative money",
        "an unknown field",
    )
    chosen = [kind for kind in KINDS if kind.name in names]
    heard = await burst(stage, chosen, BULK)
    wrong = [text for kind, one in zip(chosen, heard.refused, strict=True) if (text := unlike(kind, one))]
    assert wrong == [], "\n".join(wrong)
    for name in heard.good:
        await stage.ending(name, "succeeded")


async def test_a_refusal_goes_to_reply_to_as_well(stage: Stage) -> None:
    async with Listener(stage.broker, exchange=None) as answers:
        await stage.send(b"no JSON here", reply_to=answers.queue)
        [answer] = await answers.until(lambda heard: len(heard) == 1)
    assert (answer.data["status"], answer.data["command"]) == ("refused", None)
    assert answer.type == "provisioning.command.refused.v1"
    seen = [one for one in stage.results.heard if one.event["id"] == answer.event["id"]]
    assert [one.routing_key for one in seen] == ["unknown.unknown.refused"]


async def test_the_routing_key_of_a_refusal_names_platform_and_command_where_they_are_known(
    stage: Stage,
) -> None:
    bad = command("credit.add.v1", about("bad", amount="-1"))
    strange = command("credit.ad.v1", about("bad"))
    await stage.send(bad, strange)
    assert (await stage.ending(bad["id"])).routing_key == f"{PLATFORM}.credit.add.refused"
    assert (await stage.ending(strange["id"])).routing_key == "unknown.unknown.refused"


async def test_a_message_that_came_too_late_expires_and_is_not_refused(stage: Stage, flood: Burst) -> None:
    late = command("subscriber.get.v1", about("good"), expirytime=days_ago(1))
    await stage.send(late)
    ended = await stage.ending(late["id"])
    assert (ended.data["status"], ended.data["effect"]) == ("expired", "none")
    assert ended.data["error"]["code"] == "expired"


async def test_another_content_under_a_known_id_does_not_touch_the_first_answer(
    stage: Stage, flood: Burst
) -> None:
    first = command("credit.add.v1", about("good", amount="3.00"))
    await stage.send(first)
    done = await stage.ending(first["id"], "succeeded")
    await stage.send({**first, "data": about("good", amount="30.00")})
    refused = await stage.ending(first["id"], "refused")
    assert refused.data["error"]["code"] == "id_conflict"
    assert refused.data["refused_message"] not in (done.event["id"], first["id"])
    await stage.send(first)
    await eventually(lambda: sum(e.event["id"] == done.event["id"] for e in stage.results.heard) == 2)


async def test_a_refused_message_that_was_dropped_has_no_body_any_more(stage: Stage) -> None:
    before = len(refusals(stage))
    await stage.send(b"to be dropped")
    await eventually(lambda: len(refusals(stage)) > before)
    uid = refusals(stage)[-1].data["refused_message"]
    await stage.cli("quarantine", "drop", uid, *LOOK)
    shown = await stage.cli("quarantine", "show", uid, *LOOK, code=None)
    assert "to be dropped" not in shown.out + shown.err
