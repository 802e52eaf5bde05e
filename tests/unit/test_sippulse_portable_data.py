"""What intake takes of the portable commands that change a subscriber, and what it says of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from worker.messages import contracts
from worker.messages.catalogue import Checked, check
from worker.messages.envelope import Envelope
from worker.messages.errors import Code, Problem

PLATFORM = "sippulse-br"
WHO = {"username": "551140001000", "domain": "Voip.Example"}
SECRET = "kept-se&cret"


def answer(command: str, data: dict[str, Any]) -> Checked | Problem:
    whole = {"platform": PLATFORM, "subscriber": WHO, **data}
    return check(Envelope("a-1", "/crm", f"{command}.v1", whole), {PLATFORM: "sippulse"})


def invalid(command: str, data: dict[str, Any]) -> list[str]:
    event = {"specversion": "1.0", "id": "a", "source": "/crm", "type": f"{command}.v1"}
    return contracts.invalid({**event, "data": {"platform": PLATFORM, "subscriber": WHO, **data}})


@pytest.mark.parametrize(
    ("command", "data"),
    [
        ("subscriber.update", {"changes": {"first_name": "", "address": {"complement": ""}}}),
        ("subscriber.update", {"changes": {"area_code": "11", "email": None}}),
        ("subscriber.update", {"changes": {"cps": "3", "keep_alive": 0}}),
        ("subscriber.update", {"changes": {"platform_fields": {"rings": 20}}}),
        ("password.change", {"new_password": SECRET}),
        ("password.change", {"new_password": SECRET, "current_password": "old"}),
        ("forwarding.set", {"always": "sip:1@x", "busy": "", "no_answer": None}),
        ("number.assign", {"number": "551130001000", "monthly_fee": "9.90", "toll_free": False}),
        ("number.release", {"number": "+551130001000"}),
        ("number.list", {}),
    ],
)
def test_what_is_ordered_so_is_taken(command: str, data: dict[str, Any]) -> None:
    found = answer(command, data)
    assert isinstance(found, Checked), found
    assert found.partition_key == f"{PLATFORM}:subscriber:551140001000@voip.example"
    assert invalid(command, data) == []


@pytest.mark.parametrize(
    ("command", "data", "code", "field"),
    [
        ("subscriber.update", {}, Code.MISSING_FIELD, "changes"),
        ("subscriber.update", {"changes": {}}, Code.INVALID_FIELD, "changes"),
        ("subscriber.update", {"changes": {"email": ""}}, Code.INVALID_FIELD, "changes.email"),
        ("subscriber.update", {"changes": {"password": ""}}, Code.INVALID_FIELD, "changes.password"),
        ("subscriber.update", {"changes": {"cps": 3}}, Code.INVALID_FIELD, "changes.keep_alive"),
        ("subscriber.update", {"changes": {"keep_alive": 3}}, Code.INVALID_FIELD, "changes.keep_alive"),
        ("subscriber.update", {"changes": {"if_exists": "adopt"}}, Code.INVALID_FIELD, "changes.if_exists"),
        ("subscriber.update", {"changes": {"call_limit": SECRET}}, Code.INVALID_FIELD, "changes.call_limit"),
        ("password.change", {}, Code.MISSING_FIELD, "new_password"),
        ("password.change", {"new_password": [SECRET]}, Code.INVALID_FIELD, "new_password"),
        ("forwarding.set", {}, Code.INVALID_FIELD, "no_answer"),
        ("forwarding.set", {"busy": "sip: 1"}, Code.INVALID_FIELD, "busy"),
        ("number.assign", {}, Code.MISSING_FIELD, "number"),
        ("number.assign", {"number": 551130001000}, Code.INVALID_FIELD, "number"),
        ("number.assign", {"number": "1", "monthly_fee": 9.9}, Code.INVALID_FIELD, "monthly_fee"),
        ("number.list", {"number": "1"}, Code.INVALID_FIELD, "number"),
    ],
)
def test_what_is_wrong_is_refused_by_its_name_and_by_the_schema(
    command: str, data: dict[str, Any], code: Code, field: str
) -> None:
    found = answer(command, data)
    assert isinstance(found, Problem)
    assert (found.code, found.field) == (code, field)
    assert SECRET not in repr(found)
    assert invalid(command, data)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"email": None}, "changes"),
        ({"address": {"city": None}}, "changes"),
        ({"platform_fields": {"accountCode": "x"}}, "changes.platform_fields"),
        ({"platform_fields": {"id": 3}}, "changes.platform_fields"),
        ({"first_name": "A", "platform_fields": {"firstName": "B"}}, "changes.platform_fields"),
    ],
)
def test_what_a_schema_cannot_say_is_refused_all_the_same(changes: dict[str, Any], field: str) -> None:
    found = answer("subscriber.update", {"changes": changes})
    assert isinstance(found, Problem)
    assert (found.code, found.field) == (Code.INVALID_FIELD, field)
