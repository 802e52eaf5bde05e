"""From a message to what the journal admits: the real reading and the real catalogue."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.amqp import command
from worker.broker.arrivals import Reader, unstorable
from worker.broker.topology import BULK, COMMANDS
from worker.domain.effect import Risk
from worker.domain.lifecycle import Priority
from worker.journal.port import Arrival, Inquiry, NewCommand, Refusal
from worker.messages.envelope import STRUCTURED, Delivery
from worker.messages.errors import Code

SUBSCRIBER = {"platform": "sippulse-br", "subscriber": {"username": "joao", "domain": "SIP.example"}}


def arrive(body: dict[str, Any] | bytes, queue: str = COMMANDS, **properties: Any) -> Arrival:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    delivery = Delivery(raw, queue, content_type=STRUCTURED, **properties)
    return Reader({"sippulse-br": "sippulse"}, 262144).arrival(delivery)


@pytest.mark.parametrize(
    ("type", "more", "risk"),
    [
        ("subscriber.get.v1", {}, Risk.NONE),
        ("subscriber.block.v1", {}, Risk.CLAIM),
        ("subscriber.remove.v1", {}, Risk.CLAIM),
        ("credit.add.v1", {"amount": "10.00"}, Risk.SENT),
        ("number.release.v1", {"number": "551130001000"}, Risk.SENT),
    ],
)
def test_rule_5_3_a_command_is_admitted_with_the_risk_of_its_effect(
    type: str, more: dict[str, Any], risk: Risk
):
    item = arrive(command(type, {**SUBSCRIBER, **more})).item
    assert isinstance(item, NewCommand)
    assert item.risk is risk
    assert item.platform == "sippulse-br"
    assert item.partition_key.startswith("sippulse-br:")
    assert not item.secret_output


def test_the_bulk_queue_admits_as_low_whatever_the_sender_wrote():
    high = command(data=SUBSCRIBER, priority="high")
    for queue, priority in ((COMMANDS, Priority.HIGH), (BULK, Priority.LOW)):
        item = arrive(high, queue).item
        assert isinstance(item, NewCommand)
        assert item.envelope.priority == priority


@pytest.mark.parametrize("own", ["provisioning.commands", "provisioning.commands.bulk", "provisioning.dead"])
def test_rule_6_1_an_answer_to_a_queue_of_the_workers_own_is_refused(own: str):
    item = arrive(command(data=SUBSCRIBER, id="c1"), reply_to=own).item
    assert isinstance(item, Refusal)
    assert (item.problem.code, item.problem.field) == (Code.INVALID_MESSAGE, "reply_to")
    assert own in item.problem.message
    assert item.known["id"] == "c1"
    assert item.reply_to is None  # the refusal does not go there either


def test_an_unreadable_message_that_names_a_queue_of_ours_gets_no_answer_there():
    item = arrive(b"{", reply_to="provisioning.commands").item
    assert isinstance(item, Refusal)
    assert item.reply_to is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", Code.INVALID_MESSAGE),
        (b"[" * 5000, Code.INVALID_MESSAGE),
        (command("no.such.v1", SUBSCRIBER), Code.UNKNOWN_COMMAND),
        (command(data={**SUBSCRIBER, "platform": "other"}), Code.UNKNOWN_PLATFORM),
        (command(data={"platform": "sippulse-br"}), Code.MISSING_FIELD),
        (command("credit.add.v1", {**SUBSCRIBER, "amount": "-1"}), Code.INVALID_FIELD),
        (b"x" * 300_000, Code.TOO_LARGE),
    ],
)
def test_bad_messages_are_refusals_with_a_code(body: Any, code: Code):
    arrival = arrive(body, reply_to="answers")
    item = arrival.item
    assert isinstance(item, Refusal)
    assert item.problem.code is code
    assert item.body == arrival.body
    assert item.reply_to == "answers"


def test_questions_and_cancellations_are_answered_at_intake():
    asked = arrive(command("command.get.v1", {"source": "/crm", "idempotencykey": "order-7"})).item
    assert isinstance(asked, Inquiry)
    assert (asked.what, asked.target_source, asked.target_key) == ("get", "/crm", "order-7")
    cancelled = arrive(command("command.cancel.v1", {"id": "c1"})).item
    assert isinstance(cancelled, Inquiry)
    assert (cancelled.what, cancelled.target_id) == ("cancel", "c1")


def test_reading_never_raises(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise RecursionError("quotes the body: hunter2")

    monkeypatch.setattr("worker.broker.arrivals.check", broken)
    item = arrive(command(data=SUBSCRIBER)).item
    assert isinstance(item, Refusal)
    assert "RecursionError" in item.problem.message
    assert "hunter2" not in item.problem.message


def test_what_cannot_be_stored_is_refused_with_what_is_known_of_it_or_without():
    arrival = arrive(command(data=SUBSCRIBER, id="c1"), reply_to="answers")
    item = unstorable(arrival, ValueError("hunter2")).item
    assert isinstance(item, Refusal)
    assert (item.known["id"], item.reply_to, item.body) == ("c1", "answers", arrival.body)
    assert "hunter2" not in item.problem.message
    bare = unstorable(arrival, ValueError(), bare=True).item
    assert isinstance(bare, Refusal)
    assert (bare.known, bare.reply_to) == ({}, None)


@pytest.mark.parametrize(
    "kind", [None, "", "sippulse", "sippulse.", ".v1", "no.such.kind.v1", 7, ["a"], {"a": 1}]
)
def test_a_type_that_is_none_or_no_text_is_refused_and_stands_in_no_routing_key(kind: Any):
    body = {
        "specversion": "1.0",
        "id": "m-1",
        "source": "/crm",
        "type": kind,
        "data": {"platform": "sippulse-br"},
    }
    if kind is None:
        del body["type"]
    item = arrive(body).item
    assert isinstance(item, Refusal)
    assert not item.named
