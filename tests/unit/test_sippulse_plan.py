"""Which operations a command becomes on SIPPulse, and which commands it never becomes one of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from worker.domain.effect import Effect
from worker.messages.errors import Code, Problem
from worker.platforms.port import Order, Step
from worker.platforms.sippulse.fields import BY_WIRE, DEFAULTS
from worker.platforms.sippulse.plan import Planner, arguments
from worker.settings import SippulseSettings

WHO = {"username": "551133330001", "domain": "pbx.example"}
NEW: dict[str, Any] = {
    "password": "Sekret&7",
    "portal_password": "Portal<8",
    "profile": "default",
    "rate_plan_id": "3",
    "email": "ana@example.com",
    "country_code": "55",
    "area_code": 11,
    "call_limit": 2,
}


def planner(has: Callable[[str], bool] = lambda _: True, **given: Any) -> Planner:
    settings = SippulseSettings(
        kind="sippulse", url="http://127.0.0.1/SipPulse", login="admin", **{"password": "pw", **given}
    )
    return Planner("sippulse-br", settings, has, lambda *_: [], lambda *_: True)


def plan(command: str, data: Mapping[str, Any] = {}, **settings: Any) -> tuple[Step, ...] | Problem:
    full = {"platform": "sippulse-br", "subscriber": WHO, **data}
    return planner(**settings).plan(Order("order-1", f"{command}.v1", full))


def steps(command: str, data: Mapping[str, Any] = {}, **settings: Any) -> tuple[Step, ...]:
    planned = plan(command, data, **settings)
    assert isinstance(planned, tuple), planned
    return planned


def problem(command: str, data: Mapping[str, Any] = {}, **settings: Any) -> Problem:
    planned = plan(command, data, **settings)
    assert isinstance(planned, Problem), planned
    return planned


@pytest.mark.parametrize(
    ("command", "endpoint", "effect", "readable"),
    [
        ("subscriber.get", "SubscriberWS.retrieveSubscriber", Effect.READ, True),
        ("subscriber.remove", "SubscriberWS.removeSubscriber", Effect.DELETE, True),
        ("subscriber.block", "SubscriberWS.blockSubscriber", Effect.SET, False),
        ("subscriber.activate", "SubscriberWS.activateSubscriber", Effect.SET, False),
        ("calls.block", "SubscriberWS.blockOutgoingCalls", Effect.SET, True),
        ("calls.unblock", "SubscriberWS.activateOutgoingCalls", Effect.SET, True),
        ("credit.get", "SubscriberWS.retrieveCredit", Effect.READ, True),
    ],
)
def test_a_plain_command_is_one_call(command: str, endpoint: str, effect: Effect, readable: bool) -> None:
    (step,) = steps(command)
    assert (step.endpoint, step.effect, step.readable) == (endpoint, effect, readable)
    assert arguments(step) == WHO


def test_planning_twice_gives_the_same_steps() -> None:
    assert steps("subscriber.create", NEW) == steps("subscriber.create", NEW)


def test_what_is_not_offered_is_refused_with_what_is() -> None:
    refused = problem("subscriber.rename")
    assert refused.code is Code.UNSUPPORTED
    assert "credit.add.v1" in refused.message


def test_an_operation_that_the_server_lacks_is_refused_before_anything_is_sent() -> None:
    refused = problem("subscriber.block", has=lambda endpoint: "block" not in endpoint)
    assert refused.code is Code.UNSUPPORTED_BY_SERVER
    assert "SubscriberWS.blockSubscriber" in refused.message


# calls -------------------------------------------------------------------------------------------


def test_each_kind_of_calls_is_a_step_of_its_own_in_the_order_sent() -> None:
    kinds = ["private", "incoming", "collect", "anonymous", "outgoing", "incoming"]
    planned = steps("calls.block", {"kinds": kinds})
    assert [(step.name, step.readable) for step in planned] == [
        ("blockPrivacyCalls", False),
        ("blockIncommingCalls", True),
        ("blockCollectCalls", True),
        ("blockAnonymousCalls", True),
        ("blockOutgoingCalls", True),
    ]
    assert [step.name for step in steps("calls.unblock", {"kinds": kinds})] == [
        "activatePrivacyCalls",
        "activateIncommingCalls",
        "activateCollectCalls",
        "activateAnonymousCalls",
        "activateOutgoingCalls",
    ]


def test_calls_of_call_centers_are_those_with_the_prefix_0303() -> None:
    names = [step.name for step in steps("calls.block", {"kinds": ["outgoing", "call_center"]})]
    assert names == ["blockOutgoingCalls", "blockEntry0303"]


# credit ------------------------------------------------------------------------------------------


def test_credit_is_noted_under_the_commands_id() -> None:
    (step,) = steps("credit.add", {"amount": "10.50", "note": "invoice 7"})
    assert step.effect is Effect.INCREMENT
    assert step.amount == Decimal("10.50")
    assert arguments(step) == {**WHO, "value": Decimal("10.50"), "obs": "order-1 invoice 7"}


def test_a_long_note_is_cut_behind_the_id() -> None:
    (step,) = steps("credit.add", {"amount": "1", "note": "n" * 1000})
    assert step.params["obs"].startswith("order-1 nnn")
    assert len(step.params["obs"]) == 250


@pytest.mark.parametrize(
    ("amount", "settings", "code"),
    [
        ("0.001", {}, Code.INVALID_FIELD),
        ("0.05", {"credit_step": "0.10"}, Code.INVALID_FIELD),
        ("0", {}, Code.INVALID_FIELD),
        ("-5", {}, Code.INVALID_FIELD),
        ("NaN", {}, Code.INVALID_FIELD),
        ("1e3", {}, Code.INVALID_FIELD),
        ("Infinity", {}, Code.INVALID_FIELD),
        (5, {}, Code.INVALID_FIELD),
        (None, {}, Code.MISSING_FIELD),
        ("99999999999999.01", {}, Code.INVALID_FIELD),
        ("999999999999999", {"credit_step": "0.000000000000001"}, None),
        ("500.01", {"limits": {"credit_max": "500.00"}}, Code.OVER_LIMIT),
        ("500.00", {"limits": {"credit_max": "500.00"}}, None),
        ("-5", {"limits": {"negative_credit": True}}, None),
        ("-501", {"limits": {"negative_credit": True, "credit_max": "500"}}, Code.OVER_LIMIT),
    ],
)
def test_an_amount_is_a_positive_decimal_no_finer_than_the_step_and_below_the_limit(
    amount: Any, settings: dict[str, Any], code: Code | None
) -> None:
    planned = plan("credit.add", {"amount": amount}, **settings)
    if code is None:
        assert isinstance(planned, tuple)
    else:
        assert isinstance(planned, Problem)
        assert (planned.code, planned.field) == (code, "amount")


# create ------------------------------------------------------------------------------------------


def test_a_new_subscriber_is_sent_with_every_mandatory_field() -> None:
    (step,) = steps("subscriber.create", NEW)
    sent = arguments(step)["subscriber"]
    assert sent.items() >= {**DEFAULTS, **WHO}.items()
    assert (
        sent.items()
        >= {
            "passwordPortal": "Portal<8",
            "emailAddress": "ana@example.com",
            "ratePlanId": 3,
            "countryCode": 55,
            "areaCode": 11,
        }.items()
    )
    assert set(sent) <= set(BY_WIRE)
    assert (step.effect, step.if_exists) == (Effect.CREATE, "reject")


def test_our_names_become_the_platforms() -> None:
    more = {
        "first_name": "Ana",
        "last_name": "Lima",
        "document": "123",
        "contract_number": "c-1",
        "address": {
            "street": "Rua A",
            "number": "7",
            "complement": "x",
            "district": "Centro",
            "city": "SP",
            "state": "SP",
            "postal_code": "01000-000",
        },
        "phone": "1133330001",
        "mobile": 11999990000,
        "voicemail": True,
        "voicemail_password": "0077",
        "reseller_id": 4,
        "caller_id": "1133330001",
        "forwarding": {"always": "sip:1@x", "busy": "sip:2@x", "no_answer": "sip:3@x"},
        "incoming_calls": False,
        "outgoing_calls": False,
        "low_credit_limit": "2.50",
    }
    (step,) = steps("subscriber.create", {**NEW, **more})
    assert (
        arguments(step)["subscriber"].items()
        >= {
            "firstName": "Ana",
            "lastName": "Lima",
            "document": "123",
            "contractNumber": "c-1",
            "address": "Rua A",
            "number": "7",
            "complement": "x",
            "quarter": "Centro",
            "city": "SP",
            "state": "SP",
            "zip": "01000-000",
            "phone": 1133330001,
            "mobile": 11999990000,
            "voicemail": True,
            "voiceMailPassword": 77,
            "resellerId": 4,
            "rpid": "1133330001",
            "callFwd": "sip:1@x",
            "fwdBusy": "sip:2@x",
            "noAnswer": "sip:3@x",
            "activeIncomingCalls": False,
            "activeOutgoingCalls": False,
            "lowCreditLimit": Decimal("2.50"),
            "lowCreditNotification": True,
        }.items()
    )


def test_platform_fields_go_over_ours_and_over_what_is_assumed() -> None:
    fields = {"callLimit": 9, "rings": 30}
    assume = {"softphoneAllowed": True, "rings": 20}
    (step,) = steps("subscriber.create", {**NEW, "platform_fields": fields}, assume=assume)
    sent = arguments(step)["subscriber"]
    assert (sent["callLimit"], sent["rings"], sent["softphoneAllowed"]) == (9, 30, True)


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"password": None}, Code.MISSING_FIELD, "password"),
        ({"email": ""}, Code.MISSING_FIELD, "email"),
        ({"country_code": "+55"}, Code.INVALID_FIELD, "country_code"),
        ({"area_code": 2**31}, Code.INVALID_FIELD, "area_code"),
        ({"call_limit": True}, Code.INVALID_FIELD, "call_limit"),
        ({"voicemail": "yes"}, Code.INVALID_FIELD, "voicemail"),
        ({"phone": "(11) 3333"}, Code.INVALID_FIELD, "phone"),
        ({"first_name": "a\x00b"}, Code.INVALID_FIELD, "first_name"),
        ({"first_name": "a\ud800b"}, Code.INVALID_FIELD, "first_name"),
        ({"low_credit_limit": "NaN"}, Code.INVALID_FIELD, "low_credit_limit"),
        ({"address": {"street": 7}}, Code.INVALID_FIELD, "address.street"),
        ({"nonsense": 1}, Code.INVALID_FIELD, "nonsense"),
        ({"if_exists": "maybe"}, Code.INVALID_FIELD, "if_exists"),
        ({"platform_fields": {"username": "x"}}, Code.INVALID_FIELD, "platform_fields.username"),
        ({"platform_fields": {"id": 1}}, Code.INVALID_FIELD, "platform_fields.id"),
        ({"platform_fields": {"colour": "red"}}, Code.INVALID_FIELD, "platform_fields.colour"),
        ({"subscriber": {"username": "", "domain": "x"}}, Code.MISSING_FIELD, "subscriber.username"),
        ({"subscriber": {"username": "u"}}, Code.MISSING_FIELD, "subscriber.domain"),
        ({"subscriber": None}, Code.MISSING_FIELD, "subscriber"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], code: Code, field: str) -> None:
    refused = problem("subscriber.create", {**NEW, **change})
    assert (refused.code, refused.field) == (code, field)


def test_no_refusal_quotes_a_secret() -> None:
    refused = problem("subscriber.create", {**NEW, "voicemail_password": "abc-secret"})
    assert "abc-secret" not in str(refused)
    (step,) = steps("subscriber.create", NEW)
    assert "Sekret" not in repr(step)


def test_rates_of_calls_are_written_after_the_subscriber_is_there() -> None:
    planned = steps("subscriber.create", {**NEW, "cps": 5}, reload_after=["subscriber.create"])
    assert [step.name for step in planned] == [
        "insertSubscriber",
        "updateSubscriberServices",
        "reloadSubscriber",
    ]
    sent = arguments(planned[1])["subscriber"]
    assert sent.items() >= {**WHO, "cps": 5, "keepAlive": 0, "email": "ana@example.com"}.items()
    assert "password" not in sent
    assert arguments(planned[2]) == WHO


def test_an_update_of_what_is_there_runs_only_after_an_adoption() -> None:
    planned = steps("subscriber.create", {**NEW, "if_exists": "update", "cps": 5, "keep_alive": 30})
    assert [(step.name, step.after_adoption) for step in planned] == [
        ("insertSubscriber", False),
        ("updateSubscriber", True),
        ("updateSubscriberServices", False),
    ]
    assert planned[0].if_exists == "update"


@pytest.mark.parametrize("if_exists", ["adopt", "update"])
def test_a_rate_that_cannot_be_read_is_not_overwritten_by_chance(if_exists: str) -> None:
    refused = problem("subscriber.create", {**NEW, "if_exists": if_exists, "cps": 5})
    assert (refused.code, refused.field) == (Code.MISSING_FIELD, "keep_alive")


# allow and deny ----------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["credit.*", "credit.add", "credit.add.v1", "*"])
def test_what_is_denied_is_not_planned(pattern: str) -> None:
    assert problem("credit.add", {"amount": "1"}, deny=[pattern]).code is Code.NOT_ALLOWED


def test_denying_one_command_leaves_the_others() -> None:
    assert steps("credit.get", deny=["credit.add"])


# update, password, forwarding --------------------------------------------------------------------


def names(planned: tuple[Step, ...]) -> list[str]:
    return [step.name for step in planned]


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({}, Code.MISSING_FIELD, "changes"),
        (None, Code.MISSING_FIELD, "changes"),
        ({"email": None}, Code.MISSING_FIELD, "changes"),
        ({"cps": 3}, Code.MISSING_FIELD, "changes.keep_alive"),
        ({"keep_alive": 3}, Code.MISSING_FIELD, "changes.cps"),
        ({"call_limit": True}, Code.INVALID_FIELD, "changes.call_limit"),
        ({"if_exists": "update", "colour": "red"}, Code.INVALID_FIELD, "changes.colour"),
        ({"platform_fields": {"username": "x"}}, Code.INVALID_FIELD, "changes.platform_fields.username"),
        (
            {"platform_fields": {"accountCode": "x"}},
            Code.INVALID_FIELD,
            "changes.platform_fields.accountCode",
        ),
        ({"platform_fields": {"colour": "red"}}, Code.INVALID_FIELD, "changes.platform_fields.colour"),
    ],
)
def test_a_change_that_cannot_be_is_named(changes: Any, code: Code, field: str) -> None:
    refused = problem("subscriber.update", {"changes": changes})
    assert (refused.code, refused.field) == (code, field)


def test_what_no_narrower_operation_writes_goes_first_and_takes_the_passwords_along() -> None:
    changes = {"password": "p-1", "rate_plan_id": 4, "address": {"city": "Rio"}}
    first, second = steps("subscriber.update", {"changes": changes})
    assert (first.name, second.name) == ("updateSubscriber", "updateSubscriberBillingInfo")
    assert arguments(first) == {"subscriber": {**WHO, "ratePlanId": 4, "password": "p-1"}}
    assert arguments(second) == {"subscriber": {**WHO, "city": "Rio"}}


def test_half_of_a_mailbox_is_no_reason_to_touch_the_other_half() -> None:
    """activateVoicemail writes both, so it is used where both were ordered."""

    def one(changes: dict[str, Any]) -> list[str]:
        return names(steps("subscriber.update", {"changes": changes}))

    assert one({"voicemail": True}) == ["updateSubscriber"]
    assert one({"voicemail_password": "1"}) == ["updateSubscriber"]
    assert one({"voicemail": False, "voicemail_password": "1"}) == ["updateSubscriber"]
    assert one({"voicemail": False}) == ["blockVoicemail"]
    assert one({"voicemail": True, "voicemail_password": "1"}) == ["activateVoicemail"]


def test_a_server_that_numbers_no_profiles_is_written_the_name() -> None:
    settings = SippulseSettings(kind="sippulse", url="http://127.0.0.1/SipPulse", login="a", password="p")
    plan = Planner("p", settings, lambda _: True, lambda *_: [], lambda _, field: field != "id").plan
    planned = plan(Order("o", "subscriber.update.v1", {"subscriber": WHO, "changes": {"profile": "gold"}}))
    assert isinstance(planned, tuple)
    assert names(planned) == ["updateSubscriber"]


def test_a_forwarding_goes_by_the_record_where_class_v_cannot_be_read() -> None:
    read = "SubscriberWS.retrieveSubscriberClassV"
    (step,) = steps("forwarding.set", {"busy": ""}, has=lambda endpoint: endpoint != read)
    assert (step.name, arguments(step)) == ("updateSubscriber", {"subscriber": {**WHO, "fwdBusy": ""}})


def test_the_password_that_there_is_is_sent_only_if_it_was_told() -> None:
    (step,) = steps("password.change", {"new_password": "n-1"})
    assert (step.effect, step.readable) == (Effect.CHANGE_SECRET, True)
    assert arguments(step) == {**WHO, "newPassword": "n-1", "confirmNewPassword": "n-1"}
    (step,) = steps("password.change", {"new_password": "n-1", "current_password": "o-1"})
    assert arguments(step)["actualPassword"] == "o-1"


# numbers -----------------------------------------------------------------------------------------

NUMBER = {"number": "551130001000"}


def test_a_number_is_given_as_the_platform_wants_it() -> None:
    (step,) = steps("number.assign", {**NUMBER, "monthly_fee": "9.90", "toll_free": True})
    assert (step.effect, step.if_exists) == (Effect.CREATE, "reject")
    assert arguments(step)["did"] == {
        **WHO,
        "accountCode": "551133330001@pbx.example",
        "aliasUsername": "551130001000",
        "monthlySubscription": Decimal("9.90"),
        "reverseBilling": True,
        "didToRuri": False,
    }


def test_what_an_earlier_step_found_is_what_the_later_ones_are_about() -> None:
    data = {"platform": "sippulse-br", "subscriber": WHO, **NUMBER}
    plan = planner(reload_after=["number.release"]).plan
    found = {"name": "listByAcc", "status": "done", "output": {"platform_id": "12"}}
    first = plan(Order("o", "number.release.v1", data))
    later = plan(Order("o", "number.release.v1", data, [found]))
    assert isinstance(first, tuple)
    assert isinstance(later, tuple)
    assert names(first) == names(later) == ["listByAcc", "deleteDid", "reloadDid"]
    assert [arguments(step) for step in later[1:]] == [{"didId": 12}, {"didId": 12}]
    assert arguments(first[1]) == {}


@pytest.mark.parametrize(
    ("command", "data", "reload"),
    [
        ("subscriber.update", {"changes": {"email": "a@b"}}, "reloadSubscriber"),
        ("password.change", {"new_password": "n"}, "reloadSubscriber"),
        ("forwarding.set", {"busy": ""}, "reloadSubscriber"),
        ("calls.block", {}, "reloadSubscriber"),
        ("number.assign", NUMBER, "reloadDid"),
        ("number.release", NUMBER, "reloadDid"),
        ("subscriber.remove", {}, None),  # there is nobody to reload
        ("number.list", {}, None),
    ],
)
def test_what_is_reloaded_after_a_command(command: str, data: dict[str, Any], reload: str | None) -> None:
    planned = names(steps(command, data, reload_after=[command]))
    assert planned[-1] == reload if reload else not [name for name in planned if name.startswith("reload")]
