"""contracts/: the files, the code and the messages say the same."""

from __future__ import annotations

import copy
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from worker.messages import contracts, examples, orders, schemas
from worker.messages.catalogue import COMMANDS, PORTABLE, Checked, check, secret_fields
from worker.messages.catalogue import KINDS as COMMAND_KINDS
from worker.messages.envelope import Delivery, Envelope, Unreadable, read
from worker.messages.errors import ADVICE, Code, Problem
from worker.messages.events import View, render, result

CONTRACTS = Path(__file__).parents[2] / "contracts"
STRUCTURED = "application/cloudevents+json"


def test_the_contracts_are_what_the_code_says():
    assert contracts.check(CONTRACTS) == []


def test_writing_them_twice_changes_nothing(tmp_path):
    assert contracts.write(tmp_path)
    assert contracts.write(tmp_path) == []
    assert contracts.check(tmp_path) == []


def test_a_difference_is_found_in_both_directions(tmp_path):
    contracts.write(tmp_path)
    (tmp_path / "commands" / "credit.add.v1.sippulse.schema.json").unlink()
    (tmp_path / "commands" / "credit.take.v1.sippulse.schema.json").write_text("{}")
    (tmp_path / "asyncapi.yaml").write_text("asyncapi: 3.0.0\n")
    changed = tmp_path / "examples" / "credit.add.v1.json"
    changed.write_text(changed.read_text().replace('"25.00"', "25.00"))
    (tmp_path / "examples" / "provisioning.command.parked.v1.json").write_text("{")
    found = contracts.check(tmp_path)
    for beginning in (
        "commands/credit.add.v1.sippulse.schema.json is missing",
        "commands/credit.take.v1.sippulse.schema.json belongs to nothing in the code",
        "asyncapi.yaml differs from the code",
        "examples/credit.add.v1.json differs from the code",
        "examples/credit.add.v1.json: $.data.amount",
        "examples/provisioning.command.parked.v1.json is not JSON",
    ):
        assert any(line.startswith(beginning) for line in found), (beginning, found)
    assert "commands/credit.take.v1.sippulse.schema.json" in contracts.write(tmp_path)
    assert contracts.check(tmp_path) == []


def test_what_others_keep_in_the_folder_is_left_alone(tmp_path):
    other = tmp_path / "platforms" / "other" / "X.wsdl"
    other.parent.mkdir(parents=True)
    other.write_text("<x/>")
    contracts.write(tmp_path)
    assert other.read_text() == "<x/>"
    assert contracts.check(tmp_path) == []


def every_ref(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for inner in value.values() for ref in every_ref(inner)]
    return [ref for inner in value for ref in every_ref(inner)] if isinstance(value, list) else []


def followed(document: Any, pointer: str) -> Any:
    for part in pointer.removeprefix("#/").split("/"):
        document = document[part]
    return document


def test_asyncapi_leads_to_every_schema():
    document = yaml.safe_load((CONTRACTS / "asyncapi.yaml").read_text())
    files = set()
    for ref in every_ref(document):
        if ref.startswith("#/"):
            assert followed(document, ref)
        else:
            assert json.loads((CONTRACTS / ref).read_text())
            files.add(ref.removeprefix("./"))
    made = {path for path in contracts.files() if path.startswith(("commands/", "events/"))}
    assert files == made


def test_asyncapi_names_the_exchanges_and_the_operations_of_the_public_description():
    document = yaml.safe_load((CONTRACTS / "asyncapi.yaml").read_text())
    assert document["asyncapi"] == "3.0.0"
    bindings = [channel["bindings"]["amqp"] for channel in document["channels"].values()]
    exchanges = {binding["exchange"]["name"] for binding in bindings if "exchange" in binding}
    assert exchanges == {
        "provisioning.commands",
        "provisioning.commands.bulk",
        "provisioning.results",
        "provisioning.audit",
    }
    assert {operation["action"] for operation in document["operations"].values()} == {"receive", "send"}
    commands = set(document["channels"]["commands"]["messages"])
    assert commands == set(document["channels"]["bulk"]["messages"])
    assert len(commands) == sum(len(spec.models()) for spec in COMMANDS.values())
    for operation in document["operations"].values():
        assert followed(document, operation["channel"]["$ref"])


def test_schemas_lead_nowhere_outside_of_their_file():
    for name, schema in (schemas.command_files() | schemas.event_files()).items():
        for ref in every_ref(schema):
            assert ref.startswith("#/"), name
            assert followed(schema, ref), name


def test_there_is_an_example_of_each_message():
    assert set(examples.commands()) == set(COMMANDS)
    assert {f"provisioning.command.{what}.v1" for what in (*schemas.RESULTS, "page")} <= set(
        examples.results()
    )


@pytest.mark.parametrize("command_type", sorted(COMMANDS))
def test_the_example_of_a_command_is_one(command_type):
    message = examples.commands()[command_type]
    assert contracts.invalid(message) == []
    envelope = read(
        Delivery(json.dumps(message).encode(), "q", content_type=STRUCTURED, reply_to="answers"), 262144
    )
    assert isinstance(envelope, Envelope)
    kinds = {examples.PLATFORM: "sippulse", **{kind: kind for kind in COMMAND_KINDS}}
    assert isinstance(check(envelope, kinds), Checked)


@pytest.mark.parametrize("event_type", sorted(examples.results()))
def test_the_example_of_an_event_says_nothing_that_its_schema_does_not_know(event_type):
    message = examples.results()[event_type]
    schema = contracts.schema_of(event_type)
    assert contracts.invalid(message) == []
    assert set(message) <= set(schema["properties"])
    data = schema["properties"]["data"]["properties"]
    assert set(message["data"]) <= set(data)
    assert set(message["data"]["command"] or schemas.COMMAND["properties"]) == set(
        schemas.COMMAND["properties"]
    )


def test_a_result_whose_output_is_of_another_form_is_found():
    message = copy.deepcopy(examples.results()["provisioning.command.succeeded.v1"])
    message["data"]["output"]["balance_after"] = 35.0
    assert any("balance_after" in line for line in contracts.invalid(message))
    message["data"]["output"] = None
    assert contracts.invalid(message) == []


def test_a_refused_message_that_could_not_be_read_has_no_command():
    view = View(None, None, "unknown", None, "unknown", None, received_at=1.0)
    problem = Problem(Code.INVALID_MESSAGE, "it is not JSON")
    draft = result(view, "refused", at=2.0, effect="none", error=problem, refused_message="r")
    event = render(draft, 1, "/provisioning-worker")
    message = json.loads(event.body)
    message["data"]["command"] = None
    assert contracts.invalid(message) == []
    assert event.routing_key == "unknown.unknown.refused"


def test_every_code_has_its_advice_and_stands_in_the_schemas():
    assert set(ADVICE) == set(Code)
    assert schemas.ERROR["properties"]["code"]["enum"] == [code.value for code in Code]


def test_fields_that_hold_secrets_are_said_to_be_so():
    create = schemas.command_files()["subscriber.create.v1.sippulse.schema.json"]["$defs"]
    marked = {name for name, field in create["data"]["properties"].items() if field.get("writeOnly")}
    assert marked == {"password", "portal_password"}
    assert marked < secret_fields("subscriber.create.v1", "sippulse")


DATA = examples.DATA
WRONG = [
    ("credit.add.v1", {"amount": 10}),
    ("credit.add.v1", {"amount": "0.00"}),
    ("credit.add.v1", {"amount": "-1"}),
    ("credit.add.v1", {"amount": "1e3"}),
    ("credit.add.v1", {"more": 1}),
    ("credit.add.v1", {"platform": "NO"}),
    ("credit.add.v1", {"subscriber": {"username": "a b", "domain": "x"}}),
    ("credit.add.v1", {"subscriber": {"username": "a"}}),
    ("calls.block.v1", {"kinds": []}),
    ("calls.block.v1", {"kinds": ["all"]}),
    ("calls.block.v1", {"kinds": ["private", "private"]}),
    ("subscriber.create.v1", {"rate_plan_id": 1.5}),
    ("subscriber.create.v1", {"password": ""}),
    ("subscriber.create.v1", {"email": "ana"}),
    ("subscriber.create.v1", {"voicemail_password": "0123"}),
    ("subscriber.create.v1", {"if_exists": "skip"}),
    ("subscriber.create.v1", {"platform_fields": {"softphone": True}}),
    ("subscriber.create.v1", {"platform_fields": {"softphoneAllowed": "yes"}}),
    ("command.get.v1", {"id": "x"}),
]


@pytest.mark.parametrize(("command_type", "change"), WRONG)
def test_schema_and_worker_refuse_the_same(command_type, change):
    message = examples.commands()[command_type]
    message["data"] = {**message["data"], **change}
    assert contracts.invalid(message)
    envelope = Envelope("a", "/crm", command_type, message["data"])
    assert isinstance(check(envelope, {examples.PLATFORM: "sippulse", "NO": "sippulse"}), Problem)


# The orders of the demonstration ----------------------------------------------------------------------

LINES = orders.lines()
KINDS = {orders.PLATFORM: "sippulse"}
JOURNALS = {"idempotency_conflict", "id_conflict", "too_old", "unknown_dependency"}  # found there, not before


def answer(line: dict[str, Any]) -> Checked | Problem:
    body = line["raw"].encode() if "raw" in line else json.dumps(line["message"]).encode()
    envelope = read(Delivery(body, "q", content_type=STRUCTURED), 262144)
    return envelope.problem if isinstance(envelope, Unreadable) else check(envelope, KINDS)


def test_the_demonstration_sends_every_kind_of_order():
    assert len(LINES) >= 60
    sent = {line["message"]["type"] for line in LINES if "message" in line}
    assert set(PORTABLE) <= sent
    ends = Counter(line["expect"]["status"] for line in LINES)
    assert set(ends) == {"succeeded", "rejected", "refused", "cancelled", "expired"}
    assert sum(line["expect"].get("duplicate", False) for line in LINES) >= 4
    codes = {line["expect"].get("code") for line in LINES}
    assert {"idempotency_conflict", "id_conflict", "invalid_message", "not_found", "too_old"} <= codes
    assert any(line.get("binary") for line in LINES)
    assert any("raw" in line for line in LINES)


@pytest.mark.parametrize("line", LINES, ids=[f"{n}" for n in range(len(LINES))])
def test_an_order_is_read_as_its_line_expects(line):
    found = answer(line)
    expect = line["expect"]
    if expect["status"] == "refused" and expect["code"] not in JOURNALS:
        assert isinstance(found, Problem)
        assert found.code.value == expect["code"]
    else:
        assert isinstance(found, Checked), found
        assert contracts.invalid(line["message"]) == []


def test_repeated_orders_repeat_and_conflicting_ones_do_not():
    first: dict[str, Any] = {}
    keys: dict[str, Any] = {}
    for line in LINES:
        message = line.get("message")
        if message is None or line["expect"].get("code") in ("invalid_message", "invalid_field"):
            continue
        content = (message["type"], message["data"])
        key = message.get("idempotencykey", message["id"])
        before = first.get(message["id"], keys.get(key))
        if before is None:
            assert "duplicate" not in line["expect"]
        elif line["expect"].get("duplicate"):
            assert before == content
        else:
            assert before != content
            assert line["expect"]["code"] in ("id_conflict", "idempotency_conflict")
            continue
        first.setdefault(message["id"], content)
        keys.setdefault(key, content)


def test_the_balances_that_are_expected_are_the_sums_ordered_before():
    balance: dict[str, Decimal] = {}
    for line in LINES:
        message, expect = line.get("message"), line["expect"]
        if message is None or expect["status"] != "succeeded" or expect.get("duplicate"):
            continue
        name = message["data"].get("subscriber", {}).get("username", "")
        match message["type"]:
            case "subscriber.create.v1":
                balance.setdefault(name, Decimal(0))
            case "subscriber.remove.v1":
                del balance[name]
            case "credit.add.v1":
                balance[name] += Decimal(message["data"]["amount"])
            case "credit.get.v1":
                assert expect["output"]["balance"] == f"{balance[name]:.2f}"
