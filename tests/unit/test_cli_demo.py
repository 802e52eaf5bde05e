"""How the demonstration judges answers: a wrong one must not look like a right one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from worker.cli.demo.answers import Answers, doubts, match
from worker.cli.demo.orders import Order, credit_ordered, load
from worker.cli.demo.report import Credit


def order(number: int, id: str | None = None, **expect: Any) -> Order:
    message = None if id is None else {"id": id, "source": "/crm", "type": "credit.get.v1", "data": {}}
    return Order(number, message, None if id else "{", False, {"status": "succeeded", **expect})


def event(id: str | None, status: str = "succeeded", event_id: str = "e", **data: Any) -> dict[str, Any]:
    command = None if id is None else {"id": id}
    return {"id": event_id, "data": {"status": status, "command": command, **data}}


def answers(*events: dict[str, Any]) -> Answers:
    heard = Answers()
    for one in events:
        heard.hear_result(one)
    return heard


def test_an_order_without_answer_is_wrong() -> None:
    [one] = match([order(1, "a")], answers())
    assert (one.answer, one.wrong) == (None, "no answer")


def test_a_parked_order_is_wrong_and_says_why() -> None:
    error = {"code": "effect_unknown", "message": "who knows"}
    [one] = match([order(1, "a")], answers(event("a", "parked", error=error)))
    assert one.wrong == "parked: effect_unknown: who knows"


def test_another_ending_code_or_output_is_wrong() -> None:
    right = event("a", output={"balance": "1.00"})
    [fine] = match([order(1, "a", output={"balance": "1.00"})], answers(right))
    assert fine.wrong is None
    [output] = match([order(1, "a", output={"balance": "2.00"})], answers(right))
    assert output.wrong == "balance is '1.00', not '2.00'"
    [ending] = match([order(1, "a", status="rejected")], answers(right))
    assert ending.wrong is not None
    refused = answers(event("a", "refused", error={"code": "too_old", "message": ""}))
    [code] = match([order(1, "a", status="refused", code="invalid_field")], refused)
    assert code.wrong == "code too_old, not invalid_field"


def test_a_duplicate_under_a_new_id_has_to_name_the_first() -> None:
    heard = answers(event("a", event_id="1"), event("b", event_id="2"))
    [_, second] = match([order(1, "a"), order(2, "b", duplicate=True)], heard)
    assert second.wrong == "it was answered as if it were new"


def test_one_id_with_other_content_has_two_answers() -> None:
    conflict = {"code": "id_conflict", "message": ""}
    heard = answers(event("a", event_id="1"), event("a", "refused", "2", error=conflict))
    both = match([order(1, "a"), order(2, "a", status="refused", code="id_conflict")], heard)
    assert [one.wrong for one in both] == [None, None]


def test_messages_without_id_get_one_refusal_each() -> None:
    refusal = event(None, "refused", "1", error={"code": "invalid_message", "message": ""})
    bad = [order(1, status="refused"), order(2, status="refused")]
    assert [one.wrong for one in match(bad, answers(refusal))] == [None, "no answer"]


def test_an_event_that_comes_twice_is_one_answer() -> None:
    refusal = event(None, "refused", "1", error={"code": "invalid_message", "message": ""})
    assert len(answers(refusal, refusal).nameless) == 1


def test_how_a_lost_answer_was_settled_is_read_from_the_audit_chain() -> None:
    heard = Answers()
    chain = [
        ("seen", "in_doubt", {"attempt": 1}),
        ("again", "in_doubt", {"attempt": 1}),
        ("left", "in_doubt", {"attempt": 1}),
        ("seen", "ended", {"attempts": 1}),
        ("again", "ended", {"attempts": 2}),
        ("left", "parked", {"attempt": 1}),
        ("open", "in_doubt", {"attempt": 1}),
    ]
    for number, (command, what, details) in enumerate(chain):
        data = {"number": number, "what": what, "command": {"id": command}, "details": details}
        heard.hear_record({"data": data})
    assert doubts(heard) == {"seen on the platform": 1, "called again": 1, "left to a person": 1, "open": 1}


def test_credit_is_equal_only_per_subscriber_and_booked_once() -> None:
    one, two = Decimal(1), Decimal(2)
    assert Credit({"a": one, "b": two}, {"a": one, "b": two}, 1).equal
    assert not Credit({"a": one, "b": two}, {"a": two, "b": one}, 1).equal
    assert not Credit({"a": one}, {"a": one}, 2).equal
    assert not Credit({"a": one}, {"a": one, "b": one}, 1).equal


def test_the_example_orders_are_enough_and_of_every_kind() -> None:
    orders = load()
    assert len(orders) >= 60
    statuses = {one.expect["status"] for one in orders}
    assert statuses == {"succeeded", "rejected", "refused", "cancelled", "expired"}
    assert any(one.binary for one in orders)
    assert any(one.message is None for one in orders)
    assert sum(credit_ordered(orders).values()) > 0
