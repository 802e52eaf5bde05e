"""Native commands against the simulator: servers of other versions, safe updates, and what must not leak."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession, web

from worker.domain.evidence import Reading
from worker.domain.outcome import Done, NotSent, Refused, Unclear
from worker.messages.errors import Code, Problem
from worker.messages.sippulse.operations import SERVICES
from worker.platforms.build import build
from worker.platforms.port import Order, Platform, Reply, Step
from worker.platforms.transport import NO_GUARD
from worker.settings import SippulseSettings
from worker.simulators.sippulse import Simulator, SimulatorConfig, serve

PASSWORD = "Sek<ret&7"
WHO = {"username": "551133330001", "domain": "pbx.example"}
NOBODY = {"username": "551133339999", "domain": "pbx.example"}
ACCOUNT = "551133330001@pbx.example"

Start = Callable[..., Awaitable[tuple[Simulator, Platform]]]
Respell = Callable[[str], str]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """A simulator with one subscriber, and a platform that talks to it, perhaps as to another version of it."""
    async with contextlib.AsyncExitStack() as stack:

        async def begin(
            simulator: dict[str, Any] | None = None, respell: Respell | None = None, **given: Any
        ) -> tuple[Simulator, Platform]:
            usual = {
                "subscribers": [
                    {**WHO, "balance": "5", "password": "pw-first", "passwordPortal": "pw-portal"}
                ]
            }
            config = SimulatorConfig.from_values({"password": PASSWORD, **usual, **(simulator or {})})
            sim = await serve(0, config=config)
            stack.push_async_callback(sim.close)
            url = sim.url if respell is None else await stack.enter_async_context(other_version(sim, respell))
            settings = {"kind": "sippulse", "url": url, "login": "admin", "password": PASSWORD, **given}
            settings.setdefault("allow", ["sippulse.*"])
            platform = await build("sippulse-br", SippulseSettings(**settings))
            stack.push_async_callback(platform.close)
            return sim, platform

        yield begin


@contextlib.asynccontextmanager
async def other_version(sim: Simulator, respell: Respell) -> AsyncIterator[str]:
    """In front of the simulator: its WSDLs respelled, and requests that are so spelled spelled back."""

    async def answer(request: web.Request) -> web.Response:
        service = request.match_info["service"]
        behind = next((known for known in sorted(SPELLED_BACK) if respell(known) == service), "")
        if not behind:
            return web.Response(status=404)
        url = f"{sim.url}/{behind}"
        async with ClientSession() as session:
            if request.method == "GET":
                async with session.get(f"{url}?wsdl") as found:
                    text = respell(await found.text())
                    return web.Response(body=text.encode(), status=found.status, content_type="text/xml")
            body = (await request.read()).decode()
            for name in RESPELLED:
                body = re.sub(rf"(?<=[:</]){respell(name)}(?=[\s>/])", name, body)
            async with session.post(url, data=body.encode()) as found:
                text = await found.text()
                for name in RESPELLED:
                    text = re.sub(rf"(?<=[:</]){name}(?=[\s>/]|Response)", respell(name), text)
                return web.Response(body=text.encode(), status=found.status, content_type="text/xml")

    application = web.Application()
    application.router.add_route("*", "/SipPulse/{service}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/SipPulse"
    finally:
        await runner.cleanup()


SPELLED_BACK = {spelled[0] for spelled in SERVICES.values()}
RESPELLED = ("lisAddresses", "deletetWhiteList", "descripion", "idRatePlan", "voiceMailPassword", "prepaId")
CORRECTED = {
    "WhiteListWS": "WhitelistWS",
    "lisAddresses": "listAddresses",
    "deletetWhiteList": "deleteWhiteList",
    "descripion": "description",
    "idRatePlan": "id",
    "voiceMailPassword": "voicemailPassword",
    "prepaId": "prepaid",
}


def corrected(text: str) -> str:
    """As a later version might spell it that had its slips put right."""
    for name, right in CORRECTED.items():
        text = re.sub(rf"\b{name}(?=\b|Response|Port)", right, text)
    return text


def order(operation: str, data: dict[str, Any]) -> Order:
    return Order("order-1", f"sippulse.{operation}.v1", {"platform": "sippulse-br", **data})


def only(platform: Platform, operation: str, data: dict[str, Any]) -> Step:
    planned = platform.plan(order(operation, data))
    assert not isinstance(planned, Problem), planned
    (step,) = planned
    return step


async def run(platform: Platform, operation: str, data: dict[str, Any]) -> Reply:
    return await platform.call(only(platform, operation, data), NO_GUARD)


async def outcome(platform: Platform, operation: str, data: dict[str, Any]) -> Any:
    return (await run(platform, operation, data)).outcome


def subscriber(sim: Simulator) -> Any:
    found = sim.subscriber(**WHO)
    assert found is not None
    return found


# Servers of other versions -----------------------------------------------------------------------


async def test_a_server_that_spells_otherwise_is_served_by_its_own_names(start: Start) -> None:
    sim, platform = await start(respell=corrected, wsdl="live")
    facts = platform.facts()
    assert {each["wsdl"] for each in facts.values()} == {"live"}
    assert facts["RateWS"]["spelled"] == {"listRatesByParams.descripion": "description"}
    assert facts["RatePlanWS"]["spelled"]["removeRatePlan.idRatePlan"] == "id"
    assert facts["AddressWS"]["spelled"].get("listAddresses") is None
    assert not any(each["lacks"] for each in facts.values())

    entry = {"userWhiteList": {**WHO, "prefix": "5511"}}
    made = await outcome(platform, "WhitelistWS.insertWhiteList", entry)
    number = made.output["platform_id"]
    gone = await outcome(platform, "WhitelistWS.deleteWhiteList", {"whiteListId": number, "look_in": WHO})
    assert isinstance(gone, Done)
    assert not list(sim.platform.objects["whitelist"])
    assert await outcome(platform, "AddressWS.listAddresses", WHO) == Done({"address": []})
    rates = await outcome(platform, "RateWS.listRatesByParams", {"domain": "d", "descripion": "SP"})
    assert rates == Done({"rate": []})
    changed = await outcome(
        platform, "SubscriberWS.updateSubscriber", {"subscriber": {**WHO, "voiceMailPassword": "4321"}}
    )
    assert changed == Done()
    assert subscriber(sim).dto["voiceMailPassword"] == 4321
    plan = {"name": "n", "domain": "d", "rateId": 1, "prepaId": True, "txConnection": 60, "cadency": 60}
    made = await outcome(platform, "RatePlanWS.insertRatePlan", {"ratePlan": plan})
    (kept,) = sim.platform.objects["rateplans"]
    assert kept["prepaId"] is True
    data = {"idRatePlan": made.output["platform_id"], "look_in": {"domain": "d"}}
    assert isinstance(await outcome(platform, "RatePlanWS.removeRatePlan", data), Done)


async def test_a_service_that_the_server_does_not_have_is_not_offered(start: Start) -> None:
    sim, platform = await start(respell=lambda text: text.replace("ResellerWS", "GoneWS"), wsdl="live")
    facts = platform.facts()
    assert facts["ResellerWS"]["wsdl"].startswith("not on this server: ")
    assert len(facts["ResellerWS"]["lacks"]) == 5
    refused = platform.plan(order("ResellerWS.listByDomain", {"domain": "d"}))
    assert isinstance(refused, Problem)
    assert refused.code is Code.UNSUPPORTED_BY_SERVER
    assert facts["DidWS"]["wsdl"] == "live"
    assert sim.platform.ledger.operations["listByDomain"].received == 0


async def test_a_server_without_any_wsdl_is_taken_as_the_bundled_ones_say(start: Start) -> None:
    """A wrong path must not make every operation `unsupported_by_server`."""
    _, platform = await start(respell=lambda text: text + "x" if len(text) < 20 else text, wsdl="live")
    facts = platform.facts()
    assert all(each["wsdl"].startswith("not live: ") for each in facts.values())
    only(platform, "ResellerWS.listByDomain", {"domain": "d"})


async def test_four_operations_are_offered_only_to_those_who_say_so(start: Start) -> None:
    _, platform = await start()
    refused = platform.plan(order("SubscriberWS.activateTopologyHiding", WHO))
    assert isinstance(refused, Problem)
    assert refused.code is Code.UNSUPPORTED_BY_SERVER
    assert len(platform.facts()["SubscriberWS"]["lacks"]) == 4
    sim, platform = await start(assume={"all_documented_operations": True})
    assert await outcome(platform, "SubscriberWS.activateTopologyHiding", WHO) == Done()
    assert subscriber(sim).topology_hiding
    _, platform = await start(wsdl="live")
    assert await outcome(platform, "SubscriberWS.activateTopologyHiding", WHO) == Done()


async def test_a_service_is_read_when_it_is_first_called_and_once(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker.platforms.sippulse import services

    loaded: list[str] = []
    bundled = services.bundled

    async def counting(name: str, *more: Any) -> Any:
        loaded.append(name)
        return await bundled(name, *more)

    _, platform = await start()
    monkeypatch.setattr(services, "bundled", counting)
    await asyncio.gather(*(outcome(platform, "DidWS.listByAcc", {"accountCode": "a"}) for _ in range(8)))
    assert loaded == ["DidWS"]


# Updates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("omitted", ["clear", "keep"])
async def test_an_update_changes_what_was_named_and_nothing_else(start: Start, omitted: str) -> None:
    existing = {**WHO, "password": "p", "passwordPortal": "q", "firstName": "Ana", "rings": 25, "voicemail": True,
                "voiceMailPassword": 99, "activeOutgoingCalls": False, "callFwd": "sip:1@x"}  # fmt: skip
    sim, platform = await start({"subscribers": [existing], "switches": {"omitted": omitted}})
    before = dict(subscriber(sim).dto)
    for operation, field, value in (
        ("updateSubscriber", "callLimit", 9),
        ("updateSubscriberBillingInfo", "city", "Santos"),
        ("updateSubscriberServices", "rpid", "1133330001"),
        ("updateSubscriberClassV", "fwdBusy", "sip:2@x"),
    ):
        more = {"cps": 3, "keepAlive": 1} if operation == "updateSubscriberServices" else {}
        data = {"subscriber": {**WHO, field: value, **more}}
        step = only(platform, f"SubscriberWS.{operation}", data)
        assert (await platform.call(step, NO_GUARD)).outcome == Done()
        before[field] = value
        assert subscriber(sim).dto == before, operation
        seen = await platform.look(step, None)
        assert isinstance(seen, Reading)
        assert seen.matches is not bool(more), "cps and keepAlive are shown nowhere"
    assert subscriber(sim).services == {"cps": 3, "keepAlive": 1}


@pytest.mark.parametrize("passwords", ["empty", "masked"])
async def test_a_pin_that_is_not_shown_is_not_overwritten(start: Start, passwords: str) -> None:
    sim, platform = await start({"switches": {"passwords": passwords}})
    subscriber(sim).class_v["pinCode"] = "4711"
    refused = await outcome(
        platform, "SubscriberWS.updateSubscriberClassV", {"subscriber": {**WHO, "callFwd": "a"}}
    )
    assert isinstance(refused, Refused)
    assert (refused.code, refused.certain) == (Code.CANNOT_UPDATE_SAFELY, True)
    assert "pinCode" in refused.text
    both = {"subscriber": {**WHO, "callFwd": "a", "pinCode": "4712"}}
    assert await outcome(platform, "SubscriberWS.updateSubscriberClassV", both) == Done()
    assert subscriber(sim).class_v["pinCode"] == "4712"


async def test_an_update_whose_record_cannot_be_read_first_is_not_sent(start: Start) -> None:
    sim, platform = await start()
    sim.fail("retrieveDailyQuota", "drop_before")
    reply = await run(
        platform, "SubscriberWS.updateDailyQuota", {"dailyQuotaDTO": {**WHO, "dailyQuota": True}}
    )
    assert isinstance(reply.outcome, NotSent)
    assert sim.platform.ledger.operations["updateDailyQuota"].received == 0


async def test_a_changed_password_is_read_back(start: Start) -> None:
    _, platform = await start()
    data = {"subscriber": {**WHO, "password": "brand-new"}}
    step = only(platform, "SubscriberWS.updateSubscriber", data)
    assert (await platform.look(step, None)) == Reading(present=True, matches=False)
    assert (await platform.call(step, NO_GUARD)).outcome == Done()
    assert (await platform.look(step, None)) == Reading(present=True, matches=True)


# Nobody, and nothing -------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", ["fault", "empty"])
@pytest.mark.parametrize(
    "operation",
    ["retrieveSubscriber", "retrieveCredit", "retrievePassword", "retrieveDailyQuota", "blockSoftphone"],
)
async def test_a_command_for_nobody_is_refused_for_certain(start: Start, absent: str, operation: str) -> None:
    _, platform = await start({"switches": {"absent": absent}})
    refused = await outcome(platform, f"SubscriberWS.{operation}", NOBODY)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.certain) == (Code.NOT_FOUND, True)


@pytest.mark.parametrize("absent", ["fault", "empty"])
async def test_a_group_that_is_not_there_is_told_from_a_platform_that_refuses(
    start: Start, absent: str
) -> None:
    sim, platform = await start({"switches": {"absent": absent}}, settle=3600)
    data = {"accountManager": ACCOUNT, "managerProfile": "default", "account": ["1@x", "2@x"]}
    step = only(platform, "AccountGroupWS.addAccountGroup", data)
    assert (await platform.look(step, None)) == Reading(present=False)
    sim.fail("retrieveAccountGroup", "declared", text="database is down")
    assert isinstance(await platform.look(step, None), Refused)
    sim.heal()
    assert isinstance((await platform.call(step, NO_GUARD)).outcome, Done)
    assert (await platform.look(step, None)) == Reading(present=True, matches=True)
    gone = only(platform, "AccountGroupWS.removeAccountGroup", {**data, "account": ["1@x"]})
    assert isinstance((await platform.call(gone, NO_GUARD)).outcome, Done)
    assert (await platform.look(gone, None)) == Reading(present=False)
    assert (await platform.look(step, None)) == Reading(present=False), "not all of them any more"


async def test_rates_that_are_there_in_part_are_neither_there_nor_not(start: Start) -> None:
    sim, platform = await start()
    rates = [
        {"domain": "d", "name": "n", "prefix": prefix, "rateId": 1, "rateValue": "0.1"}
        for prefix in ("1", "2")
    ]
    step = only(platform, "RateWS.insertRates", {"rate": rates})
    sim.platform.objects["rates"].add({**rates[0], "rateValue": 0.1})
    seen = await platform.look(step, None)
    assert isinstance(seen, Reading)
    assert (seen.present, seen.matches) == (True, False)
    assert seen.differences == ("1 of 2 are not there",)


async def test_an_entry_that_is_otherwise_names_the_fields(start: Start) -> None:
    sim, platform = await start()
    did = {**WHO, "accountCode": ACCOUNT, "aliasUsername": "551130001000", "monthlySubscription": "9.90"}
    sim.platform.objects["dids"].add(
        {**did, "monthlySubscription": 8, "didToRuri": False, "reverseBilling": True}
    )
    seen = await platform.look(only(platform, "DidWS.insertDid", {"did": did}), None)
    assert isinstance(seen, Reading)
    assert (seen.present, seen.matches, seen.differences) == (True, False, ("monthlySubscription",))


async def test_a_customer_signs_in_without_the_administrator(start: Start) -> None:
    sim, platform = await start()
    data = {**WHO, "password": "pw-portal"}
    assert await outcome(platform, "CustomerWS.retrieveCustomerCredit", data) == Done({"return": "5.00"})
    reply = await run(platform, "CustomerWS.authenticate", data)
    assert isinstance(reply.outcome, Done)
    assert reply.outcome.output["return"]["passwordPortal"] == "***"
    assert "<login>" not in reply.exchange.request
    wrong = await outcome(platform, "CustomerWS.authenticate", {**WHO, "password": "wrong"})
    assert isinstance(wrong, Refused)
    change = {**WHO, "actualPassword": "pw-portal", "newPassword": "pw-2", "confirmNewPassword": "pw-2"}
    step = only(platform, "CustomerWS.changeCustomerPassword", change)
    assert (await platform.look(step, None)) == Reading(matches=False, old_secret_works=True)
    assert (await platform.call(step, NO_GUARD)).outcome == Done()
    assert (await platform.look(step, None)) == Reading(matches=True)
    sim.platform.password = "changed"  # the worker's own: whatever is refused now may be refused for that
    assert (await platform.look(step, None)) == Reading(matches=True)
    sim.fail("authenticate", "declared", text="no")
    assert isinstance(await platform.look(step, None), Refused)


@pytest.mark.parametrize("passwords", ["empty", "masked"])
async def test_a_password_that_is_not_read_back_is_neither_old_nor_new(start: Start, passwords: str) -> None:
    _, platform = await start({"switches": {"passwords": passwords}})
    change = {**WHO, "actualPassword": "pw-first", "newPassword": "***", "confirmNewPassword": "***"}
    step = only(platform, "SubscriberWS.changePassword", change)
    assert (await platform.look(step, None)) == Reading(matches=False, old_secret_works=False)


# Answers, and what must not leak ---------------------------------------------------------------------


async def test_answers_are_told_under_their_own_names_with_secrets_masked(start: Start) -> None:
    sim, platform = await start()
    got = await outcome(platform, "SubscriberWS.retrieveSubscriber", WHO)
    assert got.output["return"]["accountCode"] == ACCOUNT
    assert got.output["return"]["password"] == "***"
    assert await outcome(platform, "SubscriberWS.retrieveCredit", WHO) == Done({"return": "5.00"})
    secret = await outcome(platform, "SubscriberWS.retrievePassword", WHO)
    assert secret == Done({"return": "pw-first"}), "the engine gives it only to reply_to"
    numbers = await outcome(platform, "DidWS.listAvailablesNumbers", {"domain": "d"})
    assert numbers.output["did"] == list(sim.platform.numbers)
    names = (await outcome(platform, "DomainWS.listDomains", {})).output["domain"]
    assert {"domain": "pbx.example", "name": "pbx.example"} in names


async def test_no_secret_is_in_what_is_kept_of_a_call(start: Start) -> None:
    _, platform = await start({"texts": {"wrong_password": "{login}:{password} may not set {secret}"}})
    change = {
        **WHO,
        "actualPassword": "wrong-old-1",
        "newPassword": "new-secret-2",
        "confirmNewPassword": "new-secret-2",
    }
    reseller = {
        "domain": "d",
        "name": "n",
        "manager": "m",
        "email": "e@x",
        "username": "u",
        "password": "reseller-secret-3",
    }
    replies = [
        await run(platform, "SubscriberWS.changePassword", change),
        await run(platform, "ResellerWS.insertReseller", {"reseller": reseller}),
        await run(platform, "CustomerWS.authenticate", {**WHO, "password": "pw-portal"}),
        await run(
            platform,
            "SubscriberWS.updateSubscriberClassV",
            {"subscriber": {**WHO, "pinCode": "pin-secret-4"}},
        ),
        await run(platform, "SubscriberWS.removeSubscriber", WHO),
    ]
    assert isinstance(replies[0].outcome, Refused)
    kept = repr([(dataclasses.astuple(reply.exchange), reply.outcome, reply.before) for reply in replies])
    for secret in (
        PASSWORD,
        "wrong-old-1",
        "new-secret-2",
        "reseller-secret-3",
        "pw-portal",
        "pin-secret-4",
        "pw-first",
    ):
        assert secret not in kept, secret


async def test_a_removal_is_looked_for_first_and_says_what_it_removed(start: Start) -> None:
    sim, platform = await start()
    number = sim.platform.objects["whitelist"].add({**WHO, "prefix": "5511"})["id"]
    data = {"whiteListId": number, "look_in": WHO}
    reply = await run(platform, "WhitelistWS.deleteWhiteList", data)
    assert isinstance(reply.outcome, Done)
    assert reply.outcome.output["removed"] == {**WHO, "id": number, "prefix": "5511"}
    assert reply.before == Reading(present=True, record=reply.outcome.output["removed"])
    again = await outcome(platform, "WhitelistWS.deleteWhiteList", data)
    assert isinstance(again, Refused)
    assert again.code is Code.NOT_FOUND
    assert sim.platform.ledger.operations["deletetWhiteList"].received == 1


async def test_a_read_that_hangs_ends_with_the_calls_deadline(start: Start) -> None:
    sim, platform = await start(timeout=0.3)
    sim.fail("listByAcc", "late", seconds=30)
    assert await outcome(platform, "DidWS.listByAcc", {"accountCode": "a"}) == Unclear("timeout")


# What `worker platforms check` says ------------------------------------------------------------------


async def test_the_check_asks_the_server_also_where_the_worker_goes_by_the_bundled_wsdls(
    start: Start,
) -> None:
    from worker.cli.platforms import _check, _offered
    from worker.settings import Settings

    sim, _ = await start()
    async with other_version(sim, lambda text: corrected(text).replace('removeRate"', 'dropRate"')) as url:
        given = {"kind": "sippulse", "url": url, "login": "admin", "password": PASSWORD}
        (report,) = await _check(Settings(platforms={"sippulse-br": given}), ["sippulse-br"])
    assert report["well"]
    assert 'consider wsdl = "live"' in report["said"]
    said = {service: _offered(facts) for service, facts in report["facts"].items()}
    assert said["RateWS"] == (
        "live; 5 operations; lacks removeRate; besides dropRate; listRatesByParams.descripion is description"
    )
    assert said["WhitelistWS"] == "live; 3 operations"
    assert said["HuntGroupWS"] == (
        "live; 4 operations; insertHuntGroups is insertHuntGroup, updateHuntGroups is updateHuntGroup"
    )
