"""From an order to a request, and from a read to what it proves: REST platforms without a network."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.effect import Effect
from worker.domain.evidence import Reading
from worker.messages.errors import Code, Problem
from worker.messages.rest.document import read
from worker.platforms.planning import Wrong, amount_of, check_allowed, covers, read_of
from worker.platforms.port import Order
from worker.platforms.rest.looks import alike, asked, at, hidden, reading_of, rows_in
from worker.platforms.rest.platform import control_read
from worker.platforms.rest.steps import Planner, RestStep, offered, step_of
from worker.platforms.rest.wire import build
from worker.settings import PlatformSettings

FILE = """
openapi: 3.1.0
info: { title: Shop, version: "1" }
paths:
  /api/users/{key}/{id}:
    parameters:
      - { name: key, in: path, required: true, x-credential: true, schema: { type: string, format: password } }
      - { name: id, in: path, required: true, schema: { type: string } }
    get:
      operationId: shop.users.get.v1
      x-effect: read
      parameters: [{ name: "more[]", in: query, x-name: more, schema: { type: array, items: { type: string } } }]
      responses: { "200": { content: { application/json: { schema: { $ref: "#/components/schemas/User" } } } } }
    post:
      operationId: shop.users.update.v1
      x-effect: set
      x-check: { read: shop.users.get.v1 }
      requestBody: { content: { application/json: { schema: { $ref: "#/components/schemas/User" } } } }
      responses: { "200": { description: changed } }
    delete:
      operationId: shop.users.remove.v1
      x-effect: delete
      x-undocumented: true
      x-source: a forum
      x-denied: it cannot be undone
      x-check: { read: shop.users.get.v1 }
      responses: { "204": { description: gone } }
  /api/users/{key}:
    parameters:
      - { name: key, in: path, required: true, x-credential: true, schema: { type: string, format: password } }
    get:
      operationId: shop.users.list.v1
      x-effect: read
      x-undocumented: true
      responses: { "200": { content: { application/json: { schema: { type: object } } } } }
    put:
      operationId: shop.users.create.v1
      x-effect: create
      x-check: { read: shop.users.list.v1, rows: data.users, same: { name: name }, shows: { plan: plan, status: { const: 1 } }, id: number }
      requestBody: { content: { application/json: { schema: { $ref: "#/components/schemas/User" } } } }
      responses: { "201": { description: made } }
  /api/credit/{key}:
    post:
      operationId: shop.credit.add.v1
      x-effect: increment
      x-amount: amount
      parameters:
        - { name: key, in: path, required: true, x-credential: true, schema: { type: string, format: password } }
      requestBody: { content: { application/json: { schema: { type: object, properties: { amount: { type: string, format: decimal } } } } } }
      responses: { "200": { description: booked } }
components:
  schemas:
    User:
      type: object
      properties:
        name: { type: string }
        plan: { type: integer }
        fee: { type: number }
        note: { type: [string, "null"] }
        password: { type: string, format: password }
        phones: { type: array, items: { type: object, properties: { pin: { type: string, format: password } } } }
"""
OPS = read(FILE, "shop")
KEY = "k3y-of-the-worker"
SETTINGS = PlatformSettings(kind="shop", url="http://shop.example", deny=("*.purge",))


def wire(operation: str, **data: Any) -> Any:
    return build("http://shop.example/", OPS[f"shop.{operation}.v1"], data, {"key": KEY})


def test_a_request_is_what_the_file_says() -> None:
    made = wire("users.update", id="ana@x", plan=3, note=None)
    assert (made.method, made.url) == ("POST", f"http://shop.example/api/users/{KEY}/ana@x")
    assert made.body == b'{"plan":3,"note":null}'
    assert made.headers == {"Content-Type": "application/json"}
    assert wire("users.get", id="7", more=["a b", "c&d"]).url.endswith("/7?more%5B%5D=a%20b&more%5B%5D=c%26d")
    assert wire("users.get", id="7").body is None


def test_what_is_shown_of_a_request_has_no_secret_and_neither_has_its_repr() -> None:
    made = wire("users.update", id="7", password="hunter2", phones=[{"pin": "4711"}])
    assert made.shown == "/api/users/***/7"
    assert set(made.secrets) == {KEY, "hunter2", "4711"}
    for secret in made.secrets:
        assert secret not in repr(made)


@given(st.text(min_size=1, max_size=30))
def test_no_name_leads_to_another_address(name: str) -> None:
    try:
        made = wire("users.get", id=name)
    except Wrong:
        assert name in (".", "..")
        return
    parts = urlsplit(made.url)
    assert (parts.netloc, parts.query, parts.fragment) == ("shop.example", "", "")
    assert parts.path.count("/") == 4
    assert unquote(parts.path.rpartition("/")[2]) == name


def test_data_are_typed_by_the_file() -> None:
    step = step_of(
        OPS["shop.users.update.v1"], {"id": 7, "plan": "3", "fee": "1.50", "note": None, "name": None}
    )
    assert step.params == {"id": "7", "plan": 3, "fee": 1.5, "note": None}
    assert (step.name, step.endpoint, step.effect, step.readable) == (
        "users.update",
        "users.update",
        Effect.SET,
        True,
    )
    with pytest.raises(Wrong, match="plan is not of type integer"):
        step_of(OPS["shop.users.update.v1"], {"id": 7, "plan": "x"})
    with pytest.raises(Wrong, match="id is needed"):
        step_of(OPS["shop.users.update.v1"], {"plan": 3})


# Planning ---------------------------------------------------------------------------------------------


def plan(type_: str, settings: PlatformSettings = SETTINGS, **data: Any) -> Any:
    planner = Planner(
        "shop-1", settings, offered(OPS, undocumented=False), {"subscriber.get": lambda order: ()}
    )
    return planner.plan(Order("order", type_, data))


@pytest.mark.parametrize(
    ("type_", "code", "sentence"),
    [
        ("shop.users.remove.v1", Code.NOT_ALLOWED, "it cannot be undone: name it in allow of shop-1"),
        ("shop.users.list.v1", Code.UNDOCUMENTED_DISABLED, "undocumented = true in the settings of shop-1"),
        ("shop.credit.add.v1", Code.UNSUPPORTED, "no read of this platform could settle a lost answer"),
        ("subscriber.create.v1", Code.UNSUPPORTED, "it offers subscriber.get.v1"),
        ("shop.users.get.v1", Code.MISSING_FIELD, "id is needed"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_sent(type_: str, code: Code, sentence: str) -> None:
    problem = plan(type_, **({"amount": "5.00"} if "credit" in type_ else {}))
    assert isinstance(problem, Problem)
    assert problem.code is code
    assert sentence in problem.message


def test_allow_and_deny_go_by_patterns() -> None:
    allowing = SETTINGS.model_copy(update={"allow": ("shop.users.*",)})
    problem = plan("shop.users.remove.v1", allowing, id="7")
    assert isinstance(problem, Problem)
    assert problem.code is Code.UNDOCUMENTED_DISABLED  # allowed, and yet in no document
    check_allowed("shop-1", SETTINGS, "shop.users.list.v1")
    with pytest.raises(Wrong, match="denied on shop-1"):
        check_allowed("shop-1", SETTINGS, "shop.users.purge.v1")
    assert covers("credit.*", "credit.add.v1")


def test_a_check_that_may_not_be_read_is_none() -> None:
    assert offered(OPS, undocumented=False)["shop.users.create.v1"].check is None
    assert offered(OPS, undocumented=True)["shop.users.create.v1"].check is not None
    assert offered(OPS, undocumented=False)["shop.users.update.v1"].check is not None


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (None, Code.MISSING_FIELD),
        ("1e3", Code.INVALID_FIELD),
        ("0", Code.INVALID_FIELD),
        ("-1", Code.INVALID_FIELD),
        ("0.001", Code.INVALID_FIELD),
        ("500.01", Code.OVER_LIMIT),
    ],
)
def test_an_amount_keeps_to_the_limits(given: Any, code: Code) -> None:
    settings = PlatformSettings(kind="shop", url="http://shop.example", limits={"credit_max": "500.00"})
    assert amount_of("shop-1", settings, "500.00") == Decimal(500)
    with pytest.raises(Wrong) as caught:
        amount_of("shop-1", settings, given)
    assert caught.value.problem.code is code


def test_a_control_read_is_an_operation_with_arguments() -> None:
    assert read_of("cdr.list?limit=1&date=") == ("cdr.list", {"limit": "1", "date": ""})
    operation, data = control_read("shop-1", OPS, "users.get?id=7")
    assert (operation.type, data) == ("shop.users.get.v1", {"id": "7"})
    assert control_read("shop-1", OPS, "shop.users.get.v1?id=7") == (operation, data)
    for wrong in ("users.create", "users.get", "nothing"):
        with pytest.raises(ValueError, match=r"platforms\.shop-1: control_read"):
            control_read("shop-1", OPS, wrong)


# What a read shows ------------------------------------------------------------------------------------


def create(**data: Any) -> RestStep:
    return step_of(OPS["shop.users.create.v1"], data)


def seen(step: RestStep, *rows: dict[str, Any]) -> Reading:
    assert step.check is not None
    return reading_of(step, step.check, OPS["shop.users.get.v1"], rows)


def test_the_rows_are_found_wherever_the_file_says_that_they_are() -> None:
    answer = {"data": [{"users": [{"name": "ana"}, 7]}, {"users": None}, {"users": [{"name": "eva"}]}]}
    assert [row["name"] for row in rows_in(answer, "data.users")] == ["ana", "eva"]
    assert list(rows_in([{"name": "ana"}], "")) == [{"name": "ana"}]
    assert list(rows_in({"x": 1}, "data")) == []
    assert at({"a": {"b": 1}}, "a.b") == 1


def test_a_created_object_is_ours_if_it_agrees_in_what_was_sent() -> None:
    step = create(name="ana", plan=3, password="hunter2")
    found = seen(step, {"number": 12, "name": "ana", "plan": "3", "status": 1, "password": "hunter2"})
    assert (found.present, found.matches, found.platform_id) == (True, True, "12")
    assert "hunter2" not in repr(found)
    other = seen(step, {"number": 12, "name": "ana", "plan": 4, "status": 0})
    assert (other.matches, other.differences) == (False, ("plan", "status"))
    assert seen(step) == Reading(present=False)


def test_who_says_no_name_is_not_looked_for_among_those_without_one() -> None:
    assert create(plan=3).check is None
    assert not create(plan=3).readable
    assert create(name="ana").readable


def test_two_of_one_name_are_left_to_a_person() -> None:
    row = {"number": 12, "name": "ana", "plan": 3, "status": 1}
    found = seen(create(name="ana", plan=3), row, {**row, "number": 13})
    assert (found.matches, found.differences) == (False, ("there are 2 of them",))


def test_a_change_shows_in_every_field_that_was_sent_and_that_the_read_has() -> None:
    step = step_of(OPS["shop.users.update.v1"], {"id": "7", "plan": 3, "note": None, "password": "hunter2"})
    assert seen(step, {"plan": 3, "note": None}).matches is True
    assert seen(step, {"plan": 3, "note": "old"}).matches is False
    assert seen(step).matches is False  # it is not there, so nothing was changed


def test_the_reads_arguments_come_from_the_command() -> None:
    step = step_of(OPS["shop.users.update.v1"], {"id": "7", "plan": 3})
    assert step.check is not None
    assert asked(OPS["shop.users.get.v1"], step.check, step.params) == {"id": "7"}


@pytest.mark.parametrize(
    ("found", "wanted", "same"),
    [
        (3, "3", True),
        ("1.0", 1, True),
        (True, 1, True),
        ("0", False, True),
        ("0011", "11", False),
        (None, "", True),
        (0, None, False),
        ({"a": 1, "b": 2}, {"a": "1"}, True),
        ([1, "2"], ["1", 2], True),
        ([1], [1, 2], False),
        ("a", "A", False),
        ("NaN", "nan", False),
    ],
)
def test_what_stands_in_quotes_may_be_the_same(found: Any, wanted: Any, same: bool) -> None:
    assert alike(found, wanted) is same


def test_secrets_in_a_record_are_hidden_at_any_depth() -> None:
    row = {"pin_of": "4711", "phones": [{"pin_of": "1"}], "password": "x", "none": None}
    assert hidden(row, frozenset({"pin_of"})) == {
        "pin_of": "***",
        "phones": [{"pin_of": "***"}],
        "password": "***",
        "none": None,
    }
