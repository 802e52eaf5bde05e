"""Native commands of SIPPulse: what intake takes, whom it concerns, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import zeep

from worker.domain.effect import Effect
from worker.messages import contracts, examples, schemas
from worker.messages.catalogue import Checked, check, secret_fields
from worker.messages.envelope import Envelope
from worker.messages.errors import Code, Problem
from worker.messages.sippulse.operations import OPERATIONS, SERVICES
from worker.messages.sippulse.shapes import Field, type_of
from worker.platforms.port import Order
from worker.platforms.sippulse.fields import SUBSCRIBER
from worker.platforms.sippulse.native import NativePlanner, NativeStep
from worker.platforms.sippulse.plan import Planner
from worker.settings import SippulseSettings

PLATFORM = "sippulse-br"
WSDLS = Path(__file__).parents[2] / "contracts" / "platforms" / "sippulse"
WHO = {"username": "551140001000", "domain": "Voip.Example"}
ACCOUNT = "551140001000@Voip.Example"
RATE = {"domain": "voip.example", "name": "SP", "prefix": "5511", "rateId": 3, "rateValue": "0.12"}


def answer(operation: str, data: dict[str, Any], reply_to: str | None = None) -> Checked | Problem:
    envelope = Envelope(
        "a-1", "/crm", f"sippulse.{operation}.v1", {"platform": PLATFORM, **data}, reply_to=reply_to
    )
    return check(envelope, {PLATFORM: "sippulse"})


def taken(operation: str, data: dict[str, Any]) -> Checked:
    found = answer(operation, data)
    assert isinstance(found, Checked), found
    return found


def refused(operation: str, data: dict[str, Any]) -> Problem:
    found = answer(operation, data)
    assert isinstance(found, Problem), found
    return found


# What intake takes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "data", "code", "field"),
    [
        ("SubscriberWS.blockSoftphone", {"username": "1"}, Code.MISSING_FIELD, "domain"),
        ("SubscriberWS.blockSoftphone", {**WHO, "subscriber": WHO}, Code.INVALID_FIELD, "subscriber"),
        ("SubscriberWS.blockSoftphone", {**WHO, "principal": {}}, Code.INVALID_FIELD, "principal"),
        ("SubscriberWS.changeProfile", {**WHO, "newProfileId": "one"}, Code.INVALID_FIELD, "newProfileId"),
        ("SubscriberWS.activateVoicemail", {**WHO, "voicemailPassword": "012"}, Code.INVALID_FIELD, "voicemailPassword"),
        ("SubscriberWS.updateSubscriber", {"subscriber": {**WHO, "rigns": 3}}, Code.INVALID_FIELD, "subscriber.rigns"),
        ("SubscriberWS.updateSubscriber", {"subscriber": {**WHO, "voicemail": "yes"}}, Code.INVALID_FIELD, "subscriber.voicemail"),
        ("SubscriberWS.insertSubscriber", {"subscriber": WHO}, Code.MISSING_FIELD, "subscriber.areaCode"),
        ("SubscriberWS.addCredit", {**WHO, "value": 10.5}, Code.INVALID_FIELD, "value"),
        ("SubscriberWS.addCredit", {**WHO, "value": "1e3"}, Code.INVALID_FIELD, "value"),
        ("DidWS.deleteDid", {"didId": 1, "look_in": {}}, Code.MISSING_FIELD, "look_in.accountCode"),
        ("DidWS.deleteDid", {"didId": 2**31}, Code.INVALID_FIELD, "didId"),
        ("RateWS.insertRates", {"rate": []}, Code.INVALID_FIELD, "rate"),
        ("RateWS.insertRates", {"rate": [{**RATE, "rateId": 4}, RATE]}, Code.INVALID_FIELD, "rate"),
        ("RateWS.insertRates", {"rate": [{**RATE, "prefix": None}]}, Code.INVALID_FIELD, "rate[0].prefix"),
        ("RateWS.insertRates", {"rate": [{**RATE, "rateValue": "x"}]}, Code.INVALID_FIELD, "rate[0].rateValue"),
        ("SubscriberWS.changePassword", {**WHO, "actualPassword": "a", "newPassword": "b", "confirmNewPassword": "c"}, Code.INVALID_FIELD, "confirmNewPassword"),
        ("HuntGroupWS.updateHuntGroups", {"huntGroup": {"id": 1, "domain": "d", "method": "parallel"}}, Code.INVALID_FIELD, "huntGroup.method"),
        ("AddressWS.updateAddresses", {"address": {**WHO, "id": 1, "port": 65536}}, Code.INVALID_FIELD, "address.port"),
        ("RatePlanWS.updateRatePlan", {"ratePlan": {"id": 1, "domain": "d", "cadency": 0}}, Code.INVALID_FIELD, "ratePlan.cadency"),
        ("AccountGroupWS.addAccountGroup", {"accountManager": "m", "managerProfile": "p"}, Code.MISSING_FIELD, "account"),
        ("RateWS.listRatesByParams", {"domain": "d", "descripion": "a", "description": "b"}, Code.INVALID_FIELD, "description"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_refused_by_its_name(
    operation: str, data: dict[str, Any], code: Code, field: str
) -> None:
    problem = refused(operation, data)
    assert (problem.code, problem.field) == (code, field)
    event = {"specversion": "1.0", "id": "a", "source": "/crm", "type": f"sippulse.{operation}.v1"}
    # That two are alike, a schema cannot say.
    unsayable = len(data.get("rate", ())) == 2 or field == "confirmNewPassword"
    assert unsayable or contracts.invalid({**event, "data": {"platform": PLATFORM, **data}})


def test_an_operation_that_nobody_knows_is_refused_with_those_that_are_near() -> None:
    problem = refused("SubscriberWS.activateVoiceMail", WHO)
    assert problem.code is Code.UNKNOWN_COMMAND
    assert "sippulse.SubscriberWS.activateVoicemail.v1" in problem.message


@pytest.mark.parametrize(
    ("operation", "data"),
    [
        ("RateWS.listRatesByParams", {"domain": "d.example", "description": "a"}),
        ("RatePlanWS.removeRatePlan", {"id": 3}),
        ("RatePlanWS.updateRatePlan", {"ratePlan": {"id": 3, "domain": "d", "prepaid": True, "rateid": 2}}),
        ("SubscriberWS.updateSubscriber", {"subscriber": {**WHO, "voicemailPassword": 12}}),
        ("AddressWS.updateAddresses", {"address": {**WHO, "id": 1, "IpAdress": "192.0.2.1"}}),
    ],
)
def test_the_names_of_the_documents_are_taken_too(operation: str, data: dict[str, Any]) -> None:
    taken(operation, data)
    event = {"specversion": "1.0", "id": "a", "source": "/crm", "type": f"sippulse.{operation}.v1"}
    assert contracts.invalid({**event, "data": {"platform": PLATFORM, **data}}) == []


def test_an_answer_that_is_a_secret_needs_somewhere_to_go() -> None:
    problem = refused("SubscriberWS.retrievePassword", WHO)
    assert (problem.code, problem.field) == (Code.INVALID_MESSAGE, "reply_to")
    assert isinstance(answer("SubscriberWS.retrievePassword", WHO, reply_to="mine"), Checked)


def test_secrets_of_native_commands_are_known_as_such() -> None:
    assert secret_fields("sippulse.SubscriberWS.insertSubscriber.v1", "sippulse") == {
        "subscriber.password",
        "subscriber.passwordPortal",
        "subscriber.voiceMailPassword",
    }
    for operation, field in (
        ("SubscriberWS.activateVoicemail", "voicemailPassword"),
        ("SubscriberWS.updateSubscriberClassV", "subscriber.pinCode"),
        ("ResellerWS.insertReseller", "reseller.password"),
        ("CustomerWS.authenticate", "password"),
        ("CustomerWS.changeCustomerPassword", "newPassword"),
    ):
        assert field in secret_fields(f"sippulse.{operation}.v1", "sippulse"), operation


# Order -------------------------------------------------------------------------------------------------

THE_SUBSCRIBERS = f"{PLATFORM}:subscriber:551140001000@voip.example"


@pytest.mark.parametrize(
    ("operation", "data", "key"),
    [
        ("SubscriberWS.blockSoftphone", WHO, THE_SUBSCRIBERS),
        ("SubscriberWS.updateSubscriberClassV", {"subscriber": WHO}, THE_SUBSCRIBERS),
        ("SubscriberWS.updateDailyQuota", {"dailyQuotaDTO": WHO}, THE_SUBSCRIBERS),
        ("DidWS.insertDid", {"did": {**WHO, "accountCode": ACCOUNT, "aliasUsername": "1"}}, THE_SUBSCRIBERS),
        ("DidWS.listByAcc", {"accountCode": ACCOUNT}, THE_SUBSCRIBERS),
        ("AccountGroupWS.retrieveAccountGroup", {"accountManager": ACCOUNT}, THE_SUBSCRIBERS),
        ("CustomerWS.authenticate", {**WHO, "password": "p"}, THE_SUBSCRIBERS),
        ("ReloadModulesWS.reloadSubscriber", WHO, THE_SUBSCRIBERS),
        ("DidWS.deleteDid", {"didId": "12"}, f"{PLATFORM}:did:12"),
        ("ReloadModulesWS.reloadDid", {"didId": 12}, f"{PLATFORM}:did:12"),
        ("RatePlanWS.updateRatePlan", {"ratePlan": {"id": 3, "domain": "D"}}, f"{PLATFORM}:rate-plan:3"),
        ("RatePlanWS.removeRatePlan", {"idRatePlan": 3}, f"{PLATFORM}:rate-plan:3"),
        ("RateWS.insertRates", {"rate": [RATE]}, f"{PLATFORM}:rates:voip.example"),
        ("HuntGroupWS.removeHuntGroup", {"domain": "D.x", "id": 7}, f"{PLATFORM}:hunt-group:7"),
        ("ResellerWS.addResellerCredit", {"resellerName": "N", "domain": "D.X", "value": "1"}, f"{PLATFORM}:reseller:N@d.x"),
        ("DomainWS.listDomains", {}, f"{PLATFORM}:domains"),
    ],
)  # fmt: skip
def test_a_native_command_waits_its_turn_with_those_about_the_same_object(
    operation: str, data: dict[str, Any], key: str
) -> None:
    assert taken(operation, data).partition_key == key


def test_every_native_command_has_a_place_in_line() -> None:
    for command_type, message in examples.commands().items():
        if command_type.startswith("sippulse."):
            envelope = Envelope("a", "/crm", command_type, message["data"], reply_to="mine")
            found = check(envelope, {PLATFORM: "sippulse"})
            assert isinstance(found, Checked), (command_type, found)
            assert found.partition_key is not None
            assert "None" not in found.partition_key


# Schemas and WSDLs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
def test_schemas_and_wsdls_have_the_same_parameters(service: str) -> None:
    """Both come from the catalogue; zeep, which knows nothing of it, reads the WSDL."""
    client: Any = zeep.Client(str(WSDLS / f"{SERVICES[service][0]}.wsdl"))  # type: ignore[no-untyped-call] # it has no types
    (binding,) = client.wsdl.bindings.values()
    for operation in OPERATIONS.values():
        if operation.service != service:
            continue
        wire = dict(binding.get(operation.spelled[0]).input.body.type.elements)
        file = schemas.command_file(operation.type, "sippulse")
        whole = schemas.command_files()[file]["$defs"]
        said = set(whole["data"]["properties"]) - {"platform", "look_in"}
        others = {other for field in operation.parameters for other in field.others}
        assert said - others == set(wire) - {"principal"}, operation.endpoint
        assert ("principal" in wire) is operation.principal
        for field in operation.parameters:
            assert_alike(field, wire[field.name], whole)


def assert_alike(field: Field, element: Any, definitions: dict[str, Any]) -> None:
    assert element.type.name == field.type
    assert element.accepts_multiple is field.many
    if not field.simple:
        inner = dict(element.type.elements)
        assert list(inner) == [each.name for each in field.fields]
        assert {each.name for each in field.fields if each.primitive} == {
            name for name, each in inner.items() if each.min_occurs
        }
        others = {other for each in field.fields for other in each.others}
        assert set(definitions[field.type]["properties"]) - others == set(inner)


def test_the_portable_commands_know_the_same_record() -> None:
    portable = {field.wire: (field.type, field.secret) for field in SUBSCRIBER}
    native = {field.name: (field.type, field.secret) for field in type_of("subscriberDTO")}
    assert portable == native


# What becomes of it --------------------------------------------------------------------------------------


def planner(lacks: tuple[str, ...] = (), silent: tuple[str, ...] = (), **given: Any) -> NativePlanner:
    settings = SippulseSettings(
        kind="sippulse", url="http://127.0.0.1/SipPulse", login="admin", **{"password": "pw", **given}
    )

    def has(endpoint: str) -> bool:
        return endpoint not in lacks

    plain = Planner(PLATFORM, settings, has, lambda *_: [], lambda _endpoint, name: name not in silent)
    return NativePlanner(plain)


def plan(operation: str, data: dict[str, Any], **given: Any) -> NativeStep | Problem:
    planned = planner(**given).plan(
        Order("order-1", f"sippulse.{operation}.v1", {"platform": PLATFORM, **data})
    )
    if isinstance(planned, Problem):
        return planned
    (step,) = planned
    assert isinstance(step, NativeStep)
    return step


def step(operation: str, data: dict[str, Any], **given: Any) -> NativeStep:
    found = plan(operation, data, **given)
    assert isinstance(found, NativeStep), found
    return found


def problem(operation: str, data: dict[str, Any], **given: Any) -> Problem:
    found = plan(operation, data, **given)
    assert isinstance(found, Problem), found
    return found


def test_an_operation_that_the_server_lacks_is_rejected_before_anything_is_sent() -> None:
    found = problem("DidWS.deleteDid", {"didId": 1}, lacks=("DidWS.deleteDid",))
    assert found.code is Code.UNSUPPORTED_BY_SERVER
    assert "DidWS.deleteDid" in found.message


@pytest.mark.parametrize(
    ("operation", "data"),
    [
        ("SubscriberWS.retrievePassword", WHO),
        ("RateWS.removeAllRatesByRateId", {"domain": "d", "rateId": 1}),
        ("ResellerWS.deleteReseller", {"resellerId": 1}),
    ],
)
def test_what_is_dangerous_has_to_be_allowed_first(operation: str, data: dict[str, Any]) -> None:
    assert problem(operation, data).code is Code.NOT_ALLOWED
    for pattern in ("sippulse.*", f"sippulse.{operation}", f"sippulse.{operation}.v1"):
        step(operation, data, allow=[pattern])
    assert problem(operation, data, allow=["sippulse.*"], deny=["*WS.*"]).code is Code.NOT_ALLOWED


def test_a_credit_is_within_the_platforms_limits_and_bears_the_commands_id() -> None:
    found = step("SubscriberWS.addCredit", {**WHO, "value": "10.50", "obs": "voucher"})
    assert found.effect is Effect.INCREMENT
    assert found.params["obs"] == "order-1 voucher"
    assert found.params["value"] == found.amount
    over = problem("SubscriberWS.addCredit", {**WHO, "value": "10.50"}, limits={"credit_max": "10"})
    assert (over.code, over.field) == (Code.OVER_LIMIT, "value")
    assert problem("SubscriberWS.addCredit", {**WHO, "value": "-1.00"}).field == "value"
    step("SubscriberWS.addCredit", {**WHO, "value": "-1.00"}, limits={"negative_credit": True})


def test_a_credit_that_could_not_be_settled_is_not_booked() -> None:
    data = {"resellerName": "north", "domain": "d", "value": "1.00"}
    for lacking in ("ResellerWS.retrieveResellerCredit", "ResellerWS.listByDomain"):
        assert (
            problem("ResellerWS.addResellerCredit", data, lacks=(lacking,)).code is Code.UNSUPPORTED_BY_SERVER
        )


def test_a_removal_is_readable_where_the_sender_says_in_which_list() -> None:
    assert not step("DidWS.deleteDid", {"didId": 1}).readable
    assert step("DidWS.deleteDid", {"didId": 1, "look_in": {"accountCode": ACCOUNT}}).readable
    assert step("HuntGroupWS.removeHuntGroup", {"domain": "d", "id": 1}).readable


def test_a_list_that_does_not_have_the_field_proves_nothing() -> None:
    data = {**WHO, "contact": "sip:1@192.0.2.1"}
    assert step("UserLocationWS.addUserLocation", data).readable
    assert not step("UserLocationWS.addUserLocation", data, silent=("contact",)).readable
    assert not step(
        "UserLocationWS.addUserLocation", data, lacks=("UserLocationWS.listUserLocations",)
    ).readable


def test_a_new_subscriber_gets_the_documented_defaults_and_an_update_gets_none() -> None:
    new = {**WHO, "password": "p", "passwordPortal": "q", "profile": "x", "ratePlanId": "3",
           "emailAddress": "a@b.c", "countryCode": 55, "areaCode": 11, "callLimit": 2}  # fmt: skip
    sent = step("SubscriberWS.insertSubscriber", {"subscriber": new}).params["subscriber"]
    assert (sent["activeOutgoingCalls"], sent["ratePlanId"], sent["resellerId"]) == (True, 3, 0)
    update = step("SubscriberWS.updateSubscriber", {"subscriber": {**WHO, "rings": 9}})
    assert update.params == {"subscriber": {**WHO, "rings": 9}}


def test_planning_twice_gives_the_same_step() -> None:
    data = {**WHO, "value": "10.50"}
    assert step("SubscriberWS.addCredit", data) == step("SubscriberWS.addCredit", data)


def test_a_step_does_not_print_its_secrets() -> None:
    data = {**WHO, "actualPassword": "s3cret-1", "newPassword": "s3cret-2", "confirmNewPassword": "s3cret-2"}
    assert "s3cret" not in repr(step("SubscriberWS.changePassword", data))
