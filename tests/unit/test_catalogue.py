"""The commands: what each may hold, and what a mistake in it is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from worker.domain.effect import Effect
from worker.messages.catalogue import COMMANDS, PORTABLE, Checked, check, find, secret_fields
from worker.messages.commands import CALL_KINDS
from worker.messages.envelope import Envelope
from worker.messages.errors import Code, Problem
from worker.messages.sippulse.portable import DTO
from worker.messages.sippulse.portable import PORTABLE_NAMES as PORTABLE_FIELDS

WSDL = Path(__file__).parents[2] / "contracts" / "platforms" / "sippulse" / "SubscriberWS.wsdl"
KINDS = {"sippulse-br": "sippulse", "sippulse-pt": "sippulse"}
SUBSCRIBER = {"username": "551140028922", "domain": "Voip.Example"}
CREATE: dict[str, Any] = {
    "platform": "sippulse-br",
    "subscriber": SUBSCRIBER,
    "password": "s3cret-sip",
    "portal_password": "s3cret-portal",
    "profile": "basic",
    "rate_plan_id": "3",
    "email": "ana@example.com",
    "country_code": 55,
    "area_code": "11",
    "call_limit": 2,
}
EVERYTHING = CREATE | {
    "first_name": "Ana",
    "last_name": "Lüders",
    "document": "123.456.789-00",
    "contract_number": "C-1",
    "address": {
        "street": "Rua A",
        "number": "1",
        "complement": "B",
        "district": "C",
        "city": "D",
        "state": "SP",
        "postal_code": "01000-000",
    },
    "phone": "1140028922",
    "mobile": 11999998888,
    "voicemail": True,
    "voicemail_password": "4321",
    "reseller_id": 0,
    "caller_id": "551140028922",
    "forwarding": {"always": "sip:1@d", "busy": "sip:2@d", "no_answer": "sip:3@d"},
    "incoming_calls": True,
    "outgoing_calls": False,
    "low_credit_limit": "5.00",
    "cps": 2,
    "keep_alive": 1,
    "if_exists": "adopt",
    "platform_fields": {
        "softphoneAllowed": True,
        "resellerMarkup": 1.5,
        "rings": "30",
        "resellerBillingType": 0,
    },
}
ABOUT = {"platform": "sippulse-br", "subscriber": SUBSCRIBER}


def envelope(command: str, data: Any, **more: Any) -> Envelope:
    return Envelope("a-1", "/crm", f"{command}.v1", data, **more)


def checked(command: str, data: dict[str, Any]) -> Checked:
    result = check(envelope(command, data), KINDS)
    assert isinstance(result, Checked), result
    return result


def problem(command: str, data: dict[str, Any]) -> Problem:
    result = check(envelope(command, data), KINDS)
    assert isinstance(result, Problem), result
    return result


def without(data: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != name}


def test_every_command_of_the_public_table_is_there():
    wanted = (
        "subscriber.create update get remove block activate, calls.block unblock, credit.add get, "
        "password.change, number.assign release list, forwarding.set, call_records.list, command.cancel get"
    )
    types = set()
    for group in wanted.split(", "):
        first, *others = group.split()
        noun = first.split(".")[0]
        types |= {f"{first}.v1", *(f"{noun}.{verb}.v1" for verb in others)}
    assert set(PORTABLE) == types


def test_effects_are_words_of_the_domain():
    assert {spec.effect for spec in COMMANDS.values()} <= {effect.value for effect in Effect}


@pytest.mark.parametrize("data", [CREATE, EVERYTHING], ids=["least", "all"])
def test_a_subscriber_is_ordered_with_the_fields_of_the_public_table(data):
    found = checked("subscriber.create", data)
    assert (found.platform, found.kind) == ("sippulse-br", "sippulse")
    assert found.unsupported is None
    assert found.model.rate_plan_id == 3
    assert found.model.area_code == 11


@pytest.mark.parametrize(
    "command",
    [
        "subscriber.get",
        "subscriber.remove",
        "subscriber.block",
        "subscriber.activate",
        "calls.block",
        "credit.get",
    ],
)
def test_commands_about_a_subscriber_need_only_its_name(command):
    assert checked(command, ABOUT).partition_key == "sippulse-br:subscriber:551140028922@voip.example"


def test_all_commands_of_one_subscriber_stand_in_one_line_however_its_domain_is_spelt():
    keys = {
        checked(command, data).partition_key
        for command, data in (
            ("subscriber.create", EVERYTHING),
            ("credit.add", ABOUT | {"amount": "1.00"}),
            ("calls.unblock", ABOUT | {"subscriber": SUBSCRIBER | {"domain": "VOIP.EXAMPLE"}}),
        )
    }
    assert len(keys) == 1
    assert checked("credit.get", ABOUT | {"platform": "sippulse-pt"}).partition_key not in keys


def test_kinds_of_calls_are_outgoing_unless_named():
    assert checked("calls.block", ABOUT).model.kinds == ["outgoing"]
    assert checked("calls.unblock", ABOUT | {"kinds": list(CALL_KINDS)}).model.kinds == list(CALL_KINDS)


def test_a_command_is_named_by_id_or_by_source_and_key():
    for command in ("command.get", "command.cancel"):
        for data in ({"id": "a-0"}, {"source": "/other", "idempotencykey": "k"}):
            found = checked(command, data)
            assert (found.platform, found.partition_key) == (None, None)
            assert found.spec.at_intake


def test_a_command_that_a_kind_of_platform_does_not_offer_is_admitted_to_be_rejected():
    found = check(envelope("credit.add", ABOUT), {"sippulse-br": "ringme"})
    assert isinstance(found, Checked)
    assert found.unsupported is not None
    assert found.unsupported.code is Code.UNSUPPORTED
    assert found.partition_key == "sippulse-br:command:a-1"


PLATFORM_FIELDS = "platform_fields"
WRONG: list[tuple[str, Any, Code, str, str]] = [
    # command, data, code, field, what the sentence holds
    ("subscriber.creat", CREATE, Code.UNKNOWN_COMMAND, "type", "did you mean subscriber.create.v1"),
    ("", CREATE, Code.UNKNOWN_COMMAND, "type", "unknown command '.v1'"),
    ("x\ny", CREATE, Code.UNKNOWN_COMMAND, "type", "we know call_records.list.v1, calls.block.v1"),
    (
        "credit.get",
        without(ABOUT, "platform"),
        Code.MISSING_FIELD,
        "platform",
        "sippulse-br, sippulse-pt",
    ),
    ("credit.get", ABOUT | {"platform": 3}, Code.INVALID_FIELD, "platform", "name in quotes"),
    (
        "credit.get",
        ABOUT | {"platform": "sipulse"},
        Code.UNKNOWN_PLATFORM,
        "platform",
        "'sipulse': we know",
    ),
    ("credit.get", ABOUT | {"platform": ["x"]}, Code.INVALID_FIELD, "platform", "name in quotes"),
    ("credit.get", without(ABOUT, "subscriber"), Code.MISSING_FIELD, "subscriber", "whom it is about"),
    ("credit.get", ABOUT | {"subscriber": "1@x"}, Code.INVALID_FIELD, "subscriber", "a JSON object"),
    (
        "credit.get",
        ABOUT | {"subscriber": {"username": "1"}},
        Code.MISSING_FIELD,
        "subscriber.domain",
        "missing",
    ),
    (
        "credit.get",
        ABOUT | {"subscriber": {"username": "1@x", "domain": "x"}},
        Code.INVALID_FIELD,
        "subscriber.username",
        "not allowed there",
    ),
    (
        "credit.get",
        ABOUT | {"subscriber": {"username": "1", "domain": "x y"}},
        Code.INVALID_FIELD,
        "subscriber.domain",
        "not allowed there",
    ),
    (
        "credit.get",
        ABOUT | {"subscriber": SUBSCRIBER | {"client_id": 1}},
        Code.INVALID_FIELD,
        "subscriber.client_id",
        "we know domain, username",
    ),
    ("credit.get", ABOUT | {"amount": "1"}, Code.INVALID_FIELD, "amount", "is an unknown field"),
    ("credit.add", ABOUT, Code.MISSING_FIELD, "amount", "amount is missing"),
    ("credit.add", ABOUT | {"amount": 10}, Code.INVALID_FIELD, "amount", "a decimal in quotes"),
    ("credit.add", ABOUT | {"amount": 10.5}, Code.INVALID_FIELD, "amount", "a decimal in quotes"),
    ("credit.add", ABOUT | {"amount": "-5.00"}, Code.INVALID_FIELD, "amount", "above 0"),
    ("credit.add", ABOUT | {"amount": "0.00"}, Code.INVALID_FIELD, "amount", "above 0"),
    ("credit.add", ABOUT | {"amount": "NaN"}, Code.INVALID_FIELD, "amount", "above 0"),
    ("credit.add", ABOUT | {"amount": "1e3"}, Code.INVALID_FIELD, "amount", "without sign or exponent"),
    ("credit.add", ABOUT | {"amount": "10,00"}, Code.INVALID_FIELD, "amount", "with a point"),
    ("credit.add", ABOUT | {"amount": "1" * 13}, Code.INVALID_FIELD, "amount", "above 0"),
    ("credit.add", ABOUT | {"amount": "٣"}, Code.INVALID_FIELD, "amount", "above 0"),
    (
        "credit.add",
        ABOUT | {"amount": "1", "note": "x" * 181},
        Code.INVALID_FIELD,
        "note",
        "longer than 180",
    ),
    ("credit.add", ABOUT | {"amount": "1", "note": "a\tb"}, Code.INVALID_FIELD, "note", "not allowed"),
    ("calls.block", ABOUT | {"kinds": []}, Code.INVALID_FIELD, "kinds", "name at least one"),
    ("calls.block", ABOUT | {"kinds": "outgoing"}, Code.INVALID_FIELD, "kinds", "a list"),
    (
        "calls.block",
        ABOUT | {"kinds": ["all"]},
        Code.INVALID_FIELD,
        "kinds[0]",
        "'outgoing', 'incoming'",
    ),
    ("calls.block", ABOUT | {"kinds": ["private"] * 2}, Code.INVALID_FIELD, "kinds", "stands twice"),
    ("subscriber.create", without(CREATE, "password"), Code.MISSING_FIELD, "password", "SIP password"),
    ("subscriber.create", CREATE | {"password": ""}, Code.INVALID_FIELD, "password", "it is empty"),
    (
        "subscriber.create",
        CREATE | {"password": 5555},
        Code.INVALID_FIELD,
        "password",
        "a text in quotes",
    ),
    (
        "subscriber.create",
        CREATE | {"password": None},
        Code.INVALID_FIELD,
        "password",
        "a text in quotes",
    ),
    (
        "subscriber.create",
        CREATE | {"rate_plan_id": 1.0},
        Code.INVALID_FIELD,
        "rate_plan_id",
        "whole number",
    ),
    (
        "subscriber.create",
        CREATE | {"rate_plan_id": True},
        Code.INVALID_FIELD,
        "rate_plan_id",
        "whole number",
    ),
    (
        "subscriber.create",
        CREATE | {"rate_plan_id": "x"},
        Code.INVALID_FIELD,
        "rate_plan_id",
        "whole number",
    ),
    (
        "subscriber.create",
        CREATE | {"rate_plan_id": -1},
        Code.INVALID_FIELD,
        "rate_plan_id",
        "from 0 to",
    ),
    (
        "subscriber.create",
        CREATE | {"call_limit": 2**31},
        Code.INVALID_FIELD,
        "call_limit",
        "to 2147483647",
    ),
    ("subscriber.create", CREATE | {"email": "ana"}, Code.INVALID_FIELD, "email", "of another form"),
    (
        "subscriber.create",
        CREATE | {"voicemail": "yes"},
        Code.INVALID_FIELD,
        "voicemail",
        "true or false",
    ),
    (
        "subscriber.create",
        CREATE | {"voicemail_password": "0123"},
        Code.INVALID_FIELD,
        "voicemail_password",
        "without leading zeros",
    ),
    (
        "subscriber.create",
        CREATE | {"phone": "+55 11"},
        Code.INVALID_FIELD,
        "phone",
        "digits, at most 18",
    ),
    (
        "subscriber.create",
        CREATE | {"if_exists": "skip"},
        Code.INVALID_FIELD,
        "if_exists",
        "'reject', 'adopt'",
    ),
    (
        "subscriber.create",
        CREATE | {"rateplan": 1},
        Code.INVALID_FIELD,
        "rateplan",
        "did you mean rate_plan_id",
    ),
    (
        "subscriber.create",
        CREATE | {"address": {"zip": "1"}},
        Code.INVALID_FIELD,
        "address.zip",
        "we know city, complement",
    ),
    (
        "subscriber.create",
        CREATE | {PLATFORM_FIELDS: {"softphone": True}},
        Code.INVALID_FIELD,
        "platform_fields.softphone",
        "did you mean softphoneAllowed",
    ),
    (
        "subscriber.create",
        CREATE | {PLATFORM_FIELDS: {"callsOnlyByIp": "true"}},
        Code.INVALID_FIELD,
        "platform_fields.callsOnlyByIp",
        "true or false",
    ),
    (
        "subscriber.create",
        CREATE | {PLATFORM_FIELDS: {"username": "other"}},
        Code.INVALID_FIELD,
        "platform_fields",
        "username stands twice: subscriber.username",
    ),
    (
        "subscriber.create",
        EVERYTHING | {PLATFORM_FIELDS: {"zip": "1"}},
        Code.INVALID_FIELD,
        "platform_fields",
        "zip stands twice: address.postal_code",
    ),
    (
        "subscriber.create",
        CREATE | {PLATFORM_FIELDS: {"id": 1}},
        Code.INVALID_FIELD,
        "platform_fields",
        "id is",
    ),
    ("command.get", {}, Code.MISSING_FIELD, "id", "named by id"),
    ("command.get", {"source": "/a"}, Code.MISSING_FIELD, "id", "source and idempotencykey"),
    (
        "command.cancel",
        {"id": "x", "source": "/a", "idempotencykey": "k"},
        Code.INVALID_FIELD,
        "idempotencykey",
        "not by both",
    ),
    ("command.cancel", {"id": 12}, Code.INVALID_FIELD, "id", "a text in quotes"),
    ("command.cancel", {"id": "x", "platform": "y"}, Code.INVALID_FIELD, "platform", "unknown field"),
]


@pytest.mark.parametrize(("command", "data", "code", "field", "sentence"), WRONG)
def test_a_mistake_is_told_with_code_field_and_what_is_right(command, data, code, field, sentence):
    found = problem(command, data)
    assert (found.code, found.field) == (code, field)
    assert sentence in found.message
    assert field in found.message or code in (Code.UNKNOWN_COMMAND, Code.UNKNOWN_PLATFORM)
    assert found.message.isprintable()


def test_without_platforms_the_sender_is_told_so():
    found = check(envelope("credit.get", ABOUT), {})
    assert isinstance(found, Problem)
    assert "none is configured" in found.message


@pytest.mark.parametrize("name", sorted(without(CREATE, "platform")))
def test_every_field_that_is_needed_is_missed(name):
    assert problem("subscriber.create", without(CREATE, name)).field == f"{name}"


def test_optional_fields_may_be_null():
    empty = {name: None for name in EVERYTHING if name not in CREATE and name != "if_exists"}
    assert checked("subscriber.create", CREATE | empty).model.address is None


SECRET_WRONG = [
    CREATE | {"password": "s3cret\x01"},
    CREATE | {"password": "s3cret" * 100},
    CREATE | {"password": ["s3cret"]},
    CREATE | {"voicemail_password": "s3cret"},
    CREATE | {"platform_fields": {"voiceMailPassword": "s3cret"}},
    CREATE | {"platform_fields": {"passwordPortal": "s3cret"}},
    CREATE | {"rate_plan_id": "s3cret"},
    CREATE | {"if_exists": "s3cret"},
    CREATE | {"subscriber": SUBSCRIBER | {"username": "s3cret "}},
]


@pytest.mark.parametrize("data", SECRET_WRONG)
def test_a_sentence_never_quotes_what_was_sent(data):
    assert "s3cret" not in f"{problem('subscriber.create', data)}"


def test_secrets_of_a_command_do_not_print():
    data = EVERYTHING | {"platform_fields": None}
    found = checked("subscriber.create", data)
    assert "s3cret" not in f"{found!r} {found.model!r} {found.model.model_dump_json()}"
    assert "4321" not in f"{found!r} {found.model!r}"


def test_the_fields_that_hold_secrets_are_known():
    assert secret_fields("subscriber.create.v1", "sippulse") == {
        "password",
        "portal_password",
        "voicemail_password",
        "platform_fields.password",
        "platform_fields.passwordPortal",
        "platform_fields.voiceMailPassword",
    }
    changes = {f"changes.{name}" for name in secret_fields("subscriber.create.v1", "sippulse")}
    assert secret_fields("subscriber.update.v1", "sippulse") == changes
    assert secret_fields("password.change.v1", "sippulse") == {"new_password", "current_password"}
    with_secrets = {"subscriber.create.v1", "subscriber.update.v1", "password.change.v1"}
    for command in PORTABLE.keys() - with_secrets:
        assert not secret_fields(command, "sippulse")
    assert secret_fields("nothing.v1", "sippulse") == frozenset()


def test_the_platforms_own_fields_are_those_of_its_wsdl():
    space = "{http://www.w3.org/2001/XMLSchema}"
    tree = ElementTree.parse(WSDL)
    dto = next(node for node in tree.iter(f"{space}complexType") if node.get("name") == "subscriberDTO")
    wanted = {
        node.get("name"): (node.get("type") or "").partition(":")[2] for node in dto.iter(f"{space}element")
    }
    assert list(DTO) == list(wanted)
    assert len(DTO) == 50
    model = checked("subscriber.create", CREATE | {"platform_fields": {}}).model.platform_fields
    right = {"string": "a@d.example", "int": 1, "boolean": True, "double": 1.5, "long": 12}
    right |= {"domain": "d.example", "username": "551140028922"}
    for name, of_wsdl in wanted.items():
        kind = name if name in right else of_wsdl
        assert type(model).model_validate({name: right[kind]}), name
        with pytest.raises(ValueError, match=name):
            type(model).model_validate({name: [right[kind]]})


def test_portable_names_stand_for_fields_of_the_platform():
    assert set(PORTABLE_FIELDS) <= set(DTO)
    model = find("subscriber.create.v1").kinds["sippulse"]
    for portable in PORTABLE_FIELDS.values():
        assert portable.split(".")[0] in model.model_fields


def test_every_field_has_a_meaning():
    def described(model):
        for name, info in model.model_fields.items():
            assert info.description, f"{model.__name__}.{name}"

    for spec in COMMANDS.values():
        for model in spec.models().values():
            described(model)


def test_models_for_a_platform_name_their_object():
    for spec in PORTABLE.values():
        for model in spec.kinds.values():
            assert model.object_name is not None
            assert re.fullmatch(r"[a-z_.]+\.v1", spec.type)


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(COMMANDS)), st.dictionaries(st.sampled_from([*EVERYTHING, "id", "x"]), VALUES))
def test_no_data_makes_the_check_fail(command, change):
    for data in (change, EVERYTHING | change, ABOUT | change):
        result = check(Envelope("a", "/s", command, data), KINDS)
        assert isinstance(result, Checked | Problem)


def test_secret_types_are_used_for_secrets():
    found = checked("subscriber.create", EVERYTHING).model
    for name in ("password", "portal_password", "voicemail_password"):
        assert isinstance(getattr(found, name), SecretStr)
