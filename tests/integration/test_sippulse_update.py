"""subscriber.update, password.change and forwarding.set on SIPPulse: nothing changes that was not named."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from worker.domain.evidence import Reading
from worker.domain.outcome import Done, NotSent, Refused
from worker.messages.errors import Code, Problem
from worker.platforms.build import build
from worker.platforms.port import Order, Platform, Reply, Step
from worker.platforms.sippulse.fields import SUBSCRIBER
from worker.platforms.sippulse.plan import Planner
from worker.platforms.transport import NO_GUARD
from worker.settings import SippulseSettings
from worker.simulators.sippulse import Simulator, SimulatorConfig, serve

WHO = {"username": "551133330001", "domain": "pbx.example"}
NOBODY = {"username": "551133339999", "domain": "pbx.example"}
# Every field of the record has a value of its own, so that one which is lost or moved shows.
FULL: dict[str, Any] = {
    **WHO,
    "activeIncomingCalls": True,
    "activeOutgoingCalls": True,
    "addServiceHeader": True,
    "address": "Rua A",
    "areaCode": 11,
    "blockAnonymousCalls": True,
    "blockCollectCalls": True,
    "blockEntry0303": True,
    "callFwd": "sip:1@pbx.example",
    "callLimit": 2,
    "callsOnlyByIp": True,
    "city": "Santos",
    "cityCode": "13",
    "complement": "fundos",
    "contractNumber": "C-1",
    "copyPassertedRpid": True,
    "countryCode": 55,
    "document": "123",
    "emailAddress": "ana@pbx.example",
    "firstName": "Ana",
    "fwdBusy": "sip:2@pbx.example",
    "lastName": "Lima",
    "localArea": "SP",
    "lowCreditLimit": "2.5",
    "lowCreditNotification": False,
    "mobile": 11999990000,
    "noAnswer": "sip:3@pbx.example",
    "number": "7",
    "password": "sip-old-secret",
    "passwordPortal": "portal-old-secret",
    "phone": 1133330000,
    "profile": "default",
    "quarter": "Centro",
    "ratePlanId": 3,
    "resellerBillingType": 1,
    "resellerId": 4,
    "resellerMarkup": "1.25",
    "resellerRatePlanId": 9,
    "rings": 25,
    "rpid": "1133330001",
    "softphoneAllowed": True,
    "state": "SP",
    "validateSource0303": True,
    "voiceMailPassword": 4321,
    "voicemail": True,
    "zip": "01000-000",
}
CLASS_V = {"callGroup": "sales", "pickupGroup": "1", "pinCode": "9876", "bossSecretary": "boss"}
SERVICES = {"cps": 5, "keepAlive": 30}

Start = Callable[..., Awaitable[tuple[Simulator, Platform]]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """A simulator with one subscriber of whom everything is known, and a platform that talks to it."""
    async with contextlib.AsyncExitStack() as stack:

        async def begin(switches: Mapping[str, str] = {}, **given: Any) -> tuple[Simulator, Platform]:
            values = {"switches": switches, "subscribers": [FULL]}
            sim = await serve(0, config=SimulatorConfig.from_values(values))
            stack.push_async_callback(sim.close)
            subscriber(sim).class_v.update(CLASS_V)
            subscriber(sim).services.update(SERVICES)
            settings = {"kind": "sippulse", "url": sim.url, "login": "admin", "password": "admin", **given}
            platform = await build("sippulse-br", SippulseSettings(**settings))
            stack.push_async_callback(platform.close)
            return sim, platform

        yield begin


def subscriber(sim: Simulator) -> Any:
    found = sim.subscriber(**WHO)
    assert found is not None
    return found


def whole(sim: Simulator) -> dict[str, Any]:
    """All that the platform keeps of the subscriber: the 50 fields of the record, and what stands beside it."""
    one = subscriber(sim)
    assert len(one.dto) == 50
    return {**one.dto, "services": dict(one.services), "active": one.active, **one.class_v}


def planned(platform: Platform, command: str, who: Mapping[str, str] = WHO, **data: Any) -> tuple[Step, ...]:
    body = {"platform": "sippulse-br", "subscriber": who, **data}
    steps = platform.plan(Order("order-1", f"{command}.v1", body))
    assert not isinstance(steps, Problem), steps
    return steps


async def run(platform: Platform, command: str, *args: Any, **data: Any) -> Reply:
    """Its steps, one after the other, up to one that is not done; the last reply."""
    reply = None
    for step in planned(platform, command, *args, **data):
        reply = await platform.call(step, NO_GUARD)
        if not isinstance(reply.outcome, Done):
            break
    assert reply is not None
    return reply


async def changed(sim: Simulator, platform: Platform, command: str, **data: Any) -> dict[str, Any]:
    """What is otherwise than before, by the platform's names."""
    before = whole(sim)
    reply = await run(platform, command, **data)
    assert isinstance(reply.outcome, Done), reply.outcome
    after = whole(sim)
    return {name: after[name] for name in before if (after[name] or None) != (before[name] or None)}


def refused(reply: Reply) -> Refused:
    assert isinstance(reply.outcome, Refused), reply.outcome
    assert reply.outcome.certain
    return reply.outcome


# Nothing unnamed changes ---------------------------------------------------------------------------

CHANGES: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    ({"password": "sip-new"}, "changePassword", {"password": "sip-new"}),
    ({"portal_password": "portal-new"}, "changePasswordWEB", {"passwordPortal": "portal-new"}),
    ({"profile": "business"}, "changeProfile", {"profile": "business"}),
    ({"rate_plan_id": 8}, "updateSubscriber", {"ratePlanId": 8}),
    ({"email": "eva@pbx.example"}, "updateSubscriber", {"emailAddress": "eva@pbx.example"}),
    ({"country_code": 54}, "updateSubscriber", {"countryCode": 54}),
    ({"area_code": "21"}, "updateSubscriber", {"areaCode": 21}),
    ({"call_limit": 9}, "updateSubscriber", {"callLimit": 9}),
    ({"first_name": "Eva"}, "updateSubscriberBillingInfo", {"firstName": "Eva"}),
    ({"last_name": ""}, "updateSubscriberBillingInfo", {"lastName": ""}),
    ({"document": "456"}, "updateSubscriberBillingInfo", {"document": "456"}),
    ({"contract_number": "C-2"}, "updateSubscriberBillingInfo", {"contractNumber": "C-2"}),
    ({"address": {"street": "Rua B"}}, "updateSubscriberBillingInfo", {"address": "Rua B"}),
    ({"address": {"number": "8"}}, "updateSubscriberBillingInfo", {"number": "8"}),
    ({"address": {"complement": ""}}, "updateSubscriberBillingInfo", {"complement": ""}),
    ({"address": {"district": "Sul"}}, "updateSubscriberBillingInfo", {"quarter": "Sul"}),
    ({"address": {"city": "Rio"}}, "updateSubscriberBillingInfo", {"city": "Rio"}),
    ({"address": {"state": "RJ"}}, "updateSubscriberBillingInfo", {"state": "RJ"}),
    ({"address": {"postal_code": "2"}}, "updateSubscriberBillingInfo", {"zip": "2"}),
    ({"phone": "1144440000"}, "updateSubscriberBillingInfo", {"phone": 1144440000}),
    ({"mobile": "11988880000"}, "updateSubscriberBillingInfo", {"mobile": 11988880000}),
    ({"voicemail": False}, "blockVoicemail", {"voicemail": False}),
    ({"voicemail_password": "77"}, "updateSubscriber", {"voiceMailPassword": 77}),
    (
        {"voicemail": True, "voicemail_password": "88"},
        "activateVoicemail",
        {"voiceMailPassword": 88},
    ),
    ({"reseller_id": 0}, "updateSubscriber", {"resellerId": 0}),
    ({"caller_id": "1199"}, "updateSubscriber", {"rpid": "1199"}),
    ({"forwarding": {"always": ""}}, "updateSubscriberClassV", {"callFwd": ""}),
    ({"forwarding": {"busy": "sip:8@x"}}, "updateSubscriberClassV", {"fwdBusy": "sip:8@x"}),
    ({"forwarding": {"no_answer": "sip:9@x"}}, "updateSubscriberClassV", {"noAnswer": "sip:9@x"}),
    ({"incoming_calls": False}, "blockIncommingCalls", {"activeIncomingCalls": False}),
    ({"outgoing_calls": False}, "blockOutgoingCalls", {"activeOutgoingCalls": False}),
    (
        {"low_credit_limit": "7.50"},
        "activateLowCreditNotification",
        {"lowCreditLimit": Decimal("7.5"), "lowCreditNotification": True},
    ),
    (
        {"cps": 7, "keep_alive": 20},
        "updateSubscriberServices",
        {"services": {"cps": 7, "keepAlive": 20}},
    ),
    ({"platform_fields": {"rings": 40}}, "updateSubscriber", {"rings": 40}),
    ({"platform_fields": {"cityCode": "11"}}, "updateSubscriber", {"cityCode": "11"}),
    ({"platform_fields": {"blockCollectCalls": False}}, "activateCollectCalls", {"blockCollectCalls": False}),
    ({"platform_fields": {"blockAnonymousCalls": False}}, "activateAnonymousCalls", {"blockAnonymousCalls": False}),
    ({"platform_fields": {"blockEntry0303": False}}, "activateEntry0303", {"blockEntry0303": False}),
    ({"platform_fields": {"validateSource0303": False}}, "disableValidateSource0303", {"validateSource0303": False}),
    ({"platform_fields": {"callsOnlyByIp": False}}, "blockCallsOnlyByIp", {"callsOnlyByIp": False}),
    ({"platform_fields": {"softphoneAllowed": False}}, "blockSoftphone", {"softphoneAllowed": False}),
    ({"platform_fields": {"lowCreditNotification": True}}, "updateSubscriber", {"lowCreditNotification": True}),
    ({"platform_fields": {"addServiceHeader": False}}, "updateSubscriber", {"addServiceHeader": False}),
    ({"platform_fields": {"resellerMarkup": 2.5}}, "updateSubscriber", {"resellerMarkup": Decimal("2.5")}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "operation", "expected"), CHANGES, ids=[str(each[0]) for each in CHANGES]
)
async def test_a_change_is_made_by_the_narrowest_operation_and_nothing_else_changes(
    start: Start, changes: dict[str, Any], operation: str, expected: dict[str, Any]
) -> None:
    sim, platform = await start()
    (step,) = planned(platform, "subscriber.update", changes=changes)
    assert step.name == operation
    assert await changed(sim, platform, "subscriber.update", changes=changes) == expected


async def test_every_field_can_be_changed_at_once_and_the_rest_goes_first(start: Start) -> None:
    """What overwrites more than was ordered may have to be refused: then nothing has been done yet."""
    sim, platform = await start()
    changes: dict[str, Any] = {}
    for each, _, _ in CHANGES:
        for name, value in each.items():
            changes[name] = {**changes.get(name, {}), **value} if isinstance(value, dict) else value
    changes["voicemail"] = True
    names = [step.name for step in planned(platform, "subscriber.update", changes=changes)]
    assert names[:4] == [
        "updateSubscriber",
        "updateSubscriberClassV",
        "updateSubscriberServices",
        "updateSubscriberBillingInfo",
    ]
    assert "changePassword" not in names, "updateSubscriber writes the password in any case"
    found = await changed(sim, platform, "subscriber.update", changes=changes)
    untouched = {field.wire for field in SUBSCRIBER} - found.keys()
    # Not ordered: who it is; and what only makes sense beside another value of the same field.
    assert untouched == {
        "accountCode", "copyPassertedRpid", "domain", "id", "localArea", "resellerBillingType",
        "resellerRatePlanId", "username", "voicemail",
    }  # fmt: skip
    assert {name: found.get(name, value) for name, value in CLASS_V.items()} == CLASS_V


async def test_what_was_changed_is_told_by_the_names_that_were_sent(start: Start) -> None:
    _, platform = await start()
    changes = {
        "address": {"city": "Rio", "state": None},
        "low_credit_limit": "1.00",
        "platform_fields": {"rings": 9},
        "cps": 1,
        "keep_alive": 2,
        "email": "eva@pbx.example",
    }
    told = [step.promises["changed"] for step in planned(platform, "subscriber.update", changes=changes)]
    assert told == [
        ["platform_fields.rings"],
        ["email", "cps", "keep_alive"],
        ["address.city"],
        ["low_credit_limit"],
    ]


def test_a_server_that_lacks_the_narrow_operations_is_written_the_whole_record() -> None:
    """As far as it can be: the two rates stand in no record."""
    has = {
        "SubscriberWS.updateSubscriber",
        "SubscriberWS.retrieveSubscriber",
        "SubscriberWS.retrievePassword",
    }
    settings = SippulseSettings(
        kind="sippulse", url="http://127.0.0.1/SipPulse", login="admin", password="admin"
    )
    plan = Planner("sippulse-br", settings, has.__contains__, lambda *_: [], lambda *_: True).plan
    changes = {
        "first_name": "Eva",
        "outgoing_calls": False,
        "profile": "business",
        "forwarding": {"busy": ""},
    }
    order = Order("o", "subscriber.update.v1", {"subscriber": WHO, "changes": changes})
    steps = plan(order)
    assert isinstance(steps, tuple)
    assert [step.name for step in steps] == ["updateSubscriber"]
    refused = plan(
        Order("o", "subscriber.update.v1", {"subscriber": WHO, "changes": {"cps": 1, "keep_alive": 1}})
    )
    assert isinstance(refused, Problem)
    assert refused.code is Code.UNSUPPORTED_BY_SERVER


# What is not shown -----------------------------------------------------------------------------------

RATE = {"rate_plan_id": 8}


async def test_a_masked_password_is_never_written_back(start: Start) -> None:
    sim, platform = await start({"passwords": "masked"})
    before = whole(sim)
    why = refused(await run(platform, "subscriber.update", changes=RATE))
    assert why.code is Code.CANNOT_UPDATE_SAFELY
    assert "password" in why.text
    assert whole(sim) == before
    assert "updateSubscriber" not in [
        call for call, each in sim.platform.ledger.operations.items() if each.received
    ]


async def test_a_password_that_comes_back_empty_is_asked_for_by_itself(start: Start) -> None:
    sim, platform = await start({"passwords": "empty", "password_reads": "returned"})
    subscriber(sim).dto |= {"voicemail": False, "voiceMailPassword": None}  # no read asks for that one
    assert await changed(sim, platform, "subscriber.update", changes=RATE) == {"ratePlanId": 8}
    asked = sim.platform.ledger.operations
    assert (asked["retrievePassword"].received, asked["retrievePasswordWEB"].received) == (1, 1)


async def test_a_mailbox_whose_password_nobody_shows_is_not_overwritten(start: Start) -> None:
    sim, platform = await start({"passwords": "empty", "password_reads": "returned"})
    why = refused(await run(platform, "subscriber.update", changes=RATE))
    assert why.code is Code.CANNOT_UPDATE_SAFELY
    assert "voicemail_password" in why.text
    found = await changed(sim, platform, "subscriber.update", changes={**RATE, "voicemail_password": "4321"})
    assert found == {"ratePlanId": 8}


@pytest.mark.parametrize("left_out", ["cleared", "kept"])
async def test_passwords_that_nobody_shows_may_be_left_out_only_where_that_keeps_them(
    start: Start, left_out: str
) -> None:
    sim, platform = await start({"passwords": "empty", "omitted": "keep"}, assume={"left_out": left_out})
    reply = await run(platform, "subscriber.update", changes=RATE)
    if left_out == "cleared":
        assert refused(reply).code is Code.CANNOT_UPDATE_SAFELY
        assert whole(sim)["ratePlanId"] == 3
    else:
        assert reply.outcome == Done()
        assert (whole(sim)["ratePlanId"], whole(sim)["password"]) == (8, "sip-old-secret")


async def test_what_needs_no_password_is_changed_though_none_is_shown(start: Start) -> None:
    sim, platform = await start({"passwords": "masked"})
    changes = {"first_name": "Eva", "outgoing_calls": False, "profile": "business"}
    found = await changed(sim, platform, "subscriber.update", changes=changes)
    assert found == {"firstName": "Eva", "activeOutgoingCalls": False, "profile": "business"}


async def test_who_orders_what_is_hidden_may_write_the_record(start: Start) -> None:
    sim, platform = await start({"passwords": "masked"})
    changes = {**RATE, "password": "p-new", "portal_password": "w-new", "voicemail_password": "5"}
    found = await changed(sim, platform, "subscriber.update", changes=changes)
    assert found == {"ratePlanId": 8, "password": "p-new", "passwordPortal": "w-new", "voiceMailPassword": 5}


async def test_a_hidden_pin_is_not_overwritten_by_a_forwarding(start: Start) -> None:
    sim, platform = await start({"passwords": "masked"})
    why = refused(await run(platform, "forwarding.set", busy="sip:8@x"))
    assert why.code is Code.CANNOT_UPDATE_SAFELY
    assert "sippulse.SubscriberWS.updateSubscriberClassV with pinCode" in why.text
    assert subscriber(sim).class_v["pinCode"] == "9876"


# password.change --------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", [None, "sip-old-secret"])
async def test_a_password_is_changed_whether_or_not_the_sender_knows_the_old_one(
    start: Start, old: str | None
) -> None:
    sim, platform = await start()
    data = {"new_password": "n-1", "current_password": old}
    assert await changed(sim, platform, "password.change", **data) == {"password": "n-1"}


async def test_a_wrong_old_password_is_the_platforms_to_refuse(start: Start) -> None:
    sim, platform = await start()
    reply = await run(platform, "password.change", new_password="n-1", current_password="not-it")
    assert isinstance(reply.outcome, Refused)
    assert whole(sim)["password"] == "sip-old-secret"


async def test_a_password_that_is_there_already_is_not_sent_again(start: Start) -> None:
    sim, platform = await start()
    assert (await run(platform, "password.change", new_password="sip-old-secret")).outcome == Done()
    assert sim.platform.ledger.operations["changePassword"].received == 0


@pytest.mark.parametrize("passwords", ["empty", "masked"])
async def test_a_password_that_is_not_shown_has_to_be_told(start: Start, passwords: str) -> None:
    sim, platform = await start({"passwords": passwords})
    why = refused(await run(platform, "password.change", new_password="n-1"))
    assert why.code is Code.CANNOT_UPDATE_SAFELY
    assert "current_password" in why.text
    told = {"new_password": "n-1", "current_password": "sip-old-secret"}
    assert await changed(sim, platform, "password.change", **told) == {"password": "n-1"}


@pytest.mark.parametrize(
    ("old", "there", "seen"),
    [
        ("sip-old-secret", "n-1", (True, False)),
        ("sip-old-secret", "sip-old-secret", (False, True)),
        ("sip-old-secret", "somebody-elses", (False, False)),
        (None, "n-1", (True, False)),
        (None, "somebody-elses", (False, True)),
    ],
)
async def test_what_is_read_after_a_lost_password_change(
    start: Start, old: str | None, there: str, seen: tuple[bool, bool]
) -> None:
    """Who did not say which password is replaced meant whichever there is: it may be replaced again."""
    sim, platform = await start()
    subscriber(sim).dto["password"] = there
    (step,) = planned(platform, "password.change", new_password="n-1", current_password=old)
    reading = await platform.look(step, None)
    assert isinstance(reading, Reading)
    assert (reading.matches, reading.old_secret_works) == seen


async def test_a_password_is_never_seen_where_an_attempt_is_kept(start: Start) -> None:
    sim, platform = await start()
    sim.fail("changePassword", "declared", count=1, text="no {secret} for you, sip-old-secret")
    (step,) = planned(platform, "password.change", new_password="n-1-secret")
    assert "n-1-secret" not in repr(step)
    reply = await platform.call(step, NO_GUARD)
    for secret in ("n-1-secret", "sip-old-secret"):
        assert secret not in repr(reply)


# Refusals and nobody ----------------------------------------------------------------------------------

ABOUT_NOBODY: list[tuple[str, dict[str, Any]]] = [
    ("subscriber.update", {"changes": RATE}),
    ("subscriber.update", {"changes": {"first_name": "Eva"}}),
    ("subscriber.update", {"changes": {"outgoing_calls": False}}),
    ("subscriber.update", {"changes": {"profile": "business"}}),
    ("subscriber.update", {"changes": {"password": "n-1"}}),
    ("password.change", {"new_password": "n-1"}),
    ("password.change", {"new_password": "n-1", "current_password": "o"}),
    ("forwarding.set", {"busy": "sip:8@x"}),
    ("number.assign", {"number": "551130001000"}),
    ("number.release", {"number": "551130001000"}),
    ("number.list", {}),
]


@pytest.mark.parametrize("absent", ["fault", "empty"])
@pytest.mark.parametrize(("command", "data"), ABOUT_NOBODY)
async def test_what_is_about_nobody_is_not_found(
    start: Start, absent: str, command: str, data: dict[str, Any]
) -> None:
    _, platform = await start({"absent": absent})
    assert refused(await run(platform, command, NOBODY, **data)).code is Code.NOT_FOUND


async def test_a_profile_that_does_not_exist_is_told_with_those_that_do(start: Start) -> None:
    _, platform = await start()
    why = refused(await run(platform, "subscriber.update", changes={"profile": "gold"}))
    assert why.code is Code.NOT_FOUND
    assert "business, default, residential" in why.text


@pytest.mark.parametrize(
    ("command", "data", "read"),
    [
        ("subscriber.update", {"changes": RATE}, "retrieveSubscriber"),
        ("subscriber.update", {"changes": {"profile": "business"}}, "listProfilesByDomain"),
        ("password.change", {"new_password": "n-1"}, "retrievePassword"),
        ("forwarding.set", {"busy": "sip:8@x"}, "retrieveSubscriberClassV"),
        ("number.assign", {"number": "551130001000"}, "listAvailablesNumbers"),
    ],
)
async def test_a_lost_read_before_the_call_means_that_nothing_was_sent(
    start: Start, command: str, data: dict[str, Any], read: str
) -> None:
    sim, platform = await start()
    sim.fail(read, "drop_before", count=1)
    assert isinstance((await run(platform, command, **data)).outcome, NotSent)


# forwarding.set ---------------------------------------------------------------------------------------


async def test_forwardings_are_set_and_ended_one_by_one(start: Start) -> None:
    sim, platform = await start()
    found = await changed(sim, platform, "forwarding.set", always="sip:7@pbx.example", no_answer="")
    assert found == {"callFwd": "sip:7@pbx.example", "noAnswer": ""}
    again = await changed(sim, platform, "forwarding.set", busy="")
    assert again == {"fwdBusy": ""}
