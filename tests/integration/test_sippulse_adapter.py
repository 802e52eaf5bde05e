"""The SIPPulse adapter against the simulator: every outcome, and what readings prove."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

import pytest
from aiohttp import ClientSession, web

from worker.domain.evidence import Reading
from worker.domain.outcome import Busy, Done, Ill, NotSent, Refused, Unclear
from worker.messages.errors import Code, Problem
from worker.platforms.build import build
from worker.platforms.port import LeaseLost, Order, Platform, Reply, Step
from worker.platforms.sippulse.services import folder
from worker.platforms.transport import NO_GUARD
from worker.settings import SippulseSettings
from worker.simulators.sippulse import Simulator, SimulatorConfig, serve

PASSWORD = "Sek<ret&7 ü"
USER, DOMAIN = "551133330001", "pbx.example"
WHO = {"username": USER, "domain": DOMAIN}
NOBODY = {"username": "551133339999", "domain": DOMAIN}
NEW: dict[str, Any] = {
    "password": "Sub<scriber&1",
    "portal_password": "Por\"tal'2",
    "profile": "default",
    "rate_plan_id": 3,
    "email": "ana@example.com",
    "country_code": "55",
    "area_code": "11",
    "call_limit": 2,
    "address": {"street": "Rua A", "postal_code": "01000-000"},
    "voicemail_password": "90817",
}

Start = Callable[..., Awaitable[tuple[Simulator, Platform]]]


class Counting:
    """A guard that counts, and may find its lease lost."""

    def __init__(self, *, lost: bool = False) -> None:
        self.asked, self.written, self._lost = 0, 0, lost

    def before_first_byte(self) -> None:
        self.asked += 1
        if self._lost:
            raise LeaseLost

    def wrote(self) -> None:
        self.written += 1


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a simulator with one subscriber, and a platform that talks to it."""
    async with contextlib.AsyncExitStack() as stack:

        async def begin(simulator: dict[str, Any] | None = None, **given: Any) -> tuple[Simulator, Platform]:
            usual = {"subscribers": [{**WHO, "balance": "5", "password": "pw-of-the-first"}]}
            config = SimulatorConfig.from_values({"password": PASSWORD, **usual, **(simulator or {})})
            sim = await serve(0, config=config)
            stack.push_async_callback(sim.close)
            settings = {"kind": "sippulse", "url": sim.url, "login": "admin", "password": PASSWORD, **given}
            platform = await build("sippulse-br", SippulseSettings(**settings))
            stack.push_async_callback(platform.close)
            return sim, platform

        yield begin


def order(command: str, subscriber: dict[str, str] = WHO, **data: Any) -> Order:
    return Order("order-1", f"{command}.v1", {"platform": "sippulse-br", "subscriber": subscriber, **data})


def planned(platform: Platform, command: str, *args: Any, **data: Any) -> tuple[Step, ...]:
    steps = platform.plan(order(command, *args, **data))
    assert not isinstance(steps, Problem), steps
    return steps


def only(platform: Platform, command: str, *args: Any, **data: Any) -> Step:
    (step,) = planned(platform, command, *args, **data)
    return step


async def run(platform: Platform, command: str, *args: Any, **data: Any) -> list[Reply]:
    return [await platform.call(step, NO_GUARD) for step in planned(platform, command, *args, **data)]


async def outcome(platform: Platform, command: str, *args: Any, **data: Any) -> Any:
    return (await run(platform, command, *args, **data))[-1].outcome


async def reading(platform: Platform, step: Step) -> Reading:
    seen = await platform.look(step, None)
    assert isinstance(seen, Reading), seen
    return seen


def received(sim: Simulator, operation: str) -> int:
    return sim.platform.ledger.operations[operation].received


# The plain path ----------------------------------------------------------------------------------


async def test_credit_is_added_once_under_the_orders_id(start: Start) -> None:
    sim, platform = await start()
    step, guard = only(platform, "credit.add", amount="10.50", note="invoice & co"), Counting()
    before = await reading(platform, step)
    reply = await platform.call(step, guard)
    assert reply.outcome == Done({"amount": "10.50"})
    assert (guard.asked, guard.written) == (1, 1)
    assert sim.credit("order-1 invoice & co") == (1, Decimal("10.50"))
    after = await reading(platform, step)
    assert (str(before.balance), str(after.balance)) == ("5.00", "15.50")
    assert await outcome(platform, "credit.get") == Done({"balance": "15.50"})


async def test_a_balance_is_read_without_the_dust_of_binary_fractions(start: Start) -> None:
    sim, platform = await start()
    for _ in range(3):
        await run(platform, "credit.add", amount="0.10")
    subscriber = sim.subscriber(USER, DOMAIN)
    assert subscriber is not None
    subscriber.balance = Decimal(repr(0.1 + 0.2))
    assert await outcome(platform, "credit.get") == Done({"balance": "0.30"})


async def test_calls_are_blocked_and_unblocked_kind_by_kind(start: Start) -> None:
    sim, platform = await start()
    kinds = ["outgoing", "incoming", "collect", "anonymous", "private", "call_center"]
    for command, blocked in (("calls.block", True), ("calls.unblock", False)):
        for kind, step in zip(kinds, planned(platform, command, kinds=kinds), strict=True):
            assert step.promises == {"kinds": [kind]}
            if step.readable:
                assert not (await reading(platform, step)).matches
            assert (await platform.call(step, NO_GUARD)).outcome == Done()
            if step.readable:
                assert (await reading(platform, step)).matches
        subscriber = sim.subscriber(USER, DOMAIN)
        assert subscriber is not None
        shown = subscriber.dto
        assert shown["activeOutgoingCalls"] is shown["activeIncomingCalls"] is not blocked
        assert shown["blockCollectCalls"] is shown["blockAnonymousCalls"] is blocked


async def test_a_subscriber_is_blocked_and_activated(start: Start) -> None:
    sim, platform = await start()
    assert await outcome(platform, "subscriber.block") == Done()
    assert not sim.subscriber(USER, DOMAIN).active  # type: ignore[union-attr]  # it is there
    assert await outcome(platform, "subscriber.activate") == Done()
    assert sim.subscriber(USER, DOMAIN).active  # type: ignore[union-attr]  # it is there


async def test_a_subscriber_is_created_read_and_removed(start: Start) -> None:
    sim, platform = await start(reload_after=["subscriber.create"])
    create = planned(platform, "subscriber.create", NOBODY, **NEW, cps=5, keep_alive=30)
    assert await reading(platform, create[0]) == Reading(present=False)
    replies = [await platform.call(step, NO_GUARD) for step in create]
    assert replies[0].outcome == Done({"platform_id": "2", "adopted": False, "differences": []})
    assert [reply.outcome for reply in replies[1:]] == [Done(), Done()]
    there = sim.subscriber(**NOBODY)
    assert there is not None
    assert there.dto["password"] == NEW["password"]
    assert there.services == {"cps": 5, "keepAlive": 30}
    assert there.reloads == 1

    seen = await reading(platform, create[0])
    assert (seen.present, seen.matches, seen.platform_id) == (True, True, "2")
    assert seen.differences == ("city_code", "local_area")
    assert "password" not in str(seen.record)

    got = (await outcome(platform, "subscriber.get", NOBODY)).output["subscriber"]
    assert got["address"] == NEW["address"]
    assert (got["password"], got["portal_password"], got["voicemail_password"]) == ("***", "***", "***")
    assert (got["country_code"], got["email"]) == (55, "ana@example.com")

    removed = await outcome(platform, "subscriber.remove", NOBODY)
    assert removed.output["removed"]["email"] == "ana@example.com"
    assert "password" not in str(removed.output)
    assert sim.subscriber(**NOBODY) is None
    assert (await reading(platform, only(platform, "subscriber.remove", NOBODY))).present is False


async def test_an_existing_record_that_differs_names_the_fields(start: Start) -> None:
    _, platform = await start(
        {"subscribers": [{**WHO, "emailAddress": "ana@example.com", "address": "Rua B"}]}
    )
    create = only(platform, "subscriber.create", **NEW)
    seen = await reading(platform, create)
    assert (seen.present, seen.matches) == (True, False)
    assert set(seen.differences) == {
        "profile",
        "rate_plan_id",
        "country_code",
        "area_code",
        "call_limit",
        "address.street",
        "address.postal_code",
    }


async def test_an_update_keeps_what_was_not_ordered(start: Start) -> None:
    existing = {**WHO, "firstName": "Ana", "cityCode": "11", "activeOutgoingCalls": False, "rings": 25}
    sim, platform = await start({"subscribers": [existing]})
    steps = planned(platform, "subscriber.create", **NEW, if_exists="update", cps=1, keep_alive=2)
    for step in steps[1:]:
        assert (await platform.call(step, NO_GUARD)).outcome == Done()
    dto = sim.subscriber(USER, DOMAIN).dto  # type: ignore[union-attr]  # it is there
    assert (dto["firstName"], dto["cityCode"], dto["rings"]) == ("Ana", "11", 25)
    assert dto["activeOutgoingCalls"] is False
    assert (dto["emailAddress"], dto["password"], dto["address"]) == (
        "ana@example.com",
        NEW["password"],
        "Rua A",
    )


@pytest.mark.parametrize("passwords", ["empty", "masked"])
async def test_a_password_that_is_not_shown_is_not_overwritten(start: Start, passwords: str) -> None:
    existing = {**WHO, "voicemail": True, "voiceMailPassword": 777}
    sim, platform = await start({"subscribers": [existing], "switches": {"passwords": passwords}})
    data = {name: value for name, value in NEW.items() if name != "voicemail_password"}
    update = planned(platform, "subscriber.create", **data, if_exists="update")[1]
    reply = await platform.call(update, NO_GUARD)
    assert isinstance(reply.outcome, Refused)
    assert (reply.outcome.code, reply.outcome.certain) == (Code.CANNOT_UPDATE_SAFELY, True)
    assert "voicemail_password" in reply.outcome.text
    assert received(sim, "updateSubscriber") == 0


# Nobody of that name -----------------------------------------------------------------------------

COMMANDS = ["subscriber.get", "subscriber.remove", "subscriber.block", "calls.block", "credit.get"]


@pytest.mark.parametrize("absent", ["fault", "empty"])
@pytest.mark.parametrize("command", COMMANDS)
async def test_a_command_for_nobody_is_refused_for_certain(start: Start, absent: str, command: str) -> None:
    sim, platform = await start({"switches": {"absent": absent}})
    refused = await outcome(platform, command, NOBODY)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.certain) == (Code.NOT_FOUND, True)
    assert NOBODY["username"] in refused.text
    assert received(sim, "removeSubscriber") == 0


@pytest.mark.parametrize("absent", ["fault", "empty"])
async def test_credit_for_nobody_has_no_evidence(start: Start, absent: str) -> None:
    _, platform = await start({"switches": {"absent": absent}})
    seen = await platform.look(only(platform, "credit.add", NOBODY, amount="1"), None)
    assert isinstance(seen, Refused)
    assert (seen.code, seen.certain) == (Code.NOT_FOUND, True)


async def test_how_absent_looks_is_asked_once_a_domain(start: Start) -> None:
    sim, platform = await start({"switches": {"absent": "empty"}})
    for number in range(5):
        step = only(platform, "subscriber.create", {"username": f"new{number}", "domain": DOMAIN}, **NEW)
        assert (await reading(platform, step)).present is False
    assert received(sim, "retrieveSubscriber") == 6


@pytest.mark.parametrize("absent", ["fault", "empty"])
async def test_a_set_had_no_effect_on_nobody(start: Start, absent: str) -> None:
    _, platform = await start({"switches": {"absent": absent}})
    seen = await reading(platform, only(platform, "calls.block", NOBODY))
    assert seen == Reading(present=False, matches=False)


async def test_one_control_read_serves_many_who_ask_at_once(start: Start) -> None:
    sim, platform = await start()
    names = [{"username": f"nobody{number}", "domain": DOMAIN} for number in range(30)]
    steps = [only(platform, "subscriber.create", name, **NEW) for name in names]
    seen = await asyncio.gather(*(platform.look(step, None) for step in steps))
    assert set(map(repr, seen)) == {repr(Reading(present=False))}
    assert received(sim, "listDomains") < 30


async def test_a_platform_may_keep_names_in_its_own_case(start: Start) -> None:
    sim, platform = await start()
    subscriber = sim.subscriber(USER, DOMAIN)
    assert subscriber is not None
    subscriber.dto["domain"] = "PBX.Example"
    assert isinstance(await outcome(platform, "subscriber.get", {**WHO, "domain": "Pbx.example"}), Done)


async def test_a_platform_that_faults_without_declaring_it_is_believed_only_if_told(start: Start) -> None:
    for assume, means in (({}, Unclear("server_fault")), ({"absent_is_undeclared_fault": True}, None)):
        sim, platform = await start(assume=assume)
        sim.fail("retrieveSubscriber", "undeclared", text="NullPointerException")
        seen = await platform.look(only(platform, "subscriber.create", NOBODY, **NEW), None)
        assert seen == (means or Reading(present=False))


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_wrong_login_is_not_taken_for_an_absent_subscriber(start: Start, command: str) -> None:
    sim, platform = await start()
    await outcome(platform, "subscriber.get", NOBODY)  # how absent looks is known
    sim.platform.password = "changed"
    refused = await outcome(platform, command, NOBODY)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.certain) == (Code.PLATFORM_REFUSED, False)
    assert isinstance(await platform.control(), Refused)
    sim.platform.password = PASSWORD
    assert await platform.control() == Done()


async def test_a_fault_that_every_name_gets_is_not_absence_at_once(start: Start) -> None:
    """A database that is down, say: the control read still works, and a create must not run twice for it."""
    sim, platform = await start(settle=3600)
    step = only(platform, "subscriber.create", NOBODY, **NEW)
    assert (await reading(platform, step)).present is False
    sim.fail("retrieveSubscriber", "declared", text="database is down")
    seen = await platform.look(step, None)
    assert isinstance(seen, Refused)
    assert (seen.code, seen.certain) == (Code.PLATFORM_REFUSED, False)
    sim.heal()
    assert (await reading(platform, step)).present is False


async def test_another_way_to_say_absent_is_believed_when_it_lasts(start: Start) -> None:
    sim, platform = await start(settle=0.01)
    step = only(platform, "subscriber.create", NOBODY, **NEW)
    assert (await reading(platform, step)).present is False
    sim.platform.texts["unknown_subscriber"] = "Assinante {username}@{domain} inexistente"
    assert isinstance(await platform.look(step, None), Refused)
    for _ in range(1000):
        if isinstance(await platform.look(step, None), Reading):
            return
    pytest.fail("the new way was never believed")


async def test_a_refusal_about_one_name_is_not_absence(start: Start) -> None:
    sim, platform = await start()
    step = only(platform, "subscriber.create", NOBODY, **NEW)
    assert (await reading(platform, step)).present is False
    sim.fail("retrieveSubscriber", "declared", text="you may not see this one", username=NOBODY["username"])
    assert isinstance(await platform.look(step, None), Refused)


# What an answer means ----------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["credit.add", "calls.block", "subscriber.remove"])
@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("drop_before", {"how": "close"}),
        ("drop_before", {"how": "reset"}),
        ("drop_after", {"how": "close"}),
        ("drop_after", {"how": "reset"}),
        ("late", {"connection": "hang", "seconds": 0.1}),
        ("late", {"connection": "drop", "seconds": 0.1}),
        ("drip", {"seconds": 30}),
        ("garbage", {"variant": "not_http"}),
        ("garbage", {"variant": "not_xml"}),
        ("garbage", {"variant": "truncated"}),
        ("undeclared", {}),
        ("html500", {}),
    ],
)
async def test_a_lost_answer_is_unclear_and_sent_once(
    start: Start, command: str, kind: str, rule: dict[str, Any]
) -> None:
    sim, platform = await start(timeout=2)
    data = {"amount": "1"} if command == "credit.add" else {}
    sim.fail("@changes", kind, **rule)
    step, guard = only(platform, command, **data), Counting()
    reply = await platform.call(step, guard)
    assert isinstance(reply.outcome, Unclear), reply
    assert (guard.asked, guard.written) == (1, 1)
    assert received(sim, step.name) == 1
    assert reply.exchange.endpoint == step.endpoint
    assert reply.exchange.ms > 0
    assert step.name in reply.exchange.request


async def test_nothing_goes_out_when_the_lease_is_lost(start: Start) -> None:
    sim, platform = await start()
    for command, data in (("credit.add", {"amount": "1"}), ("calls.block", {}), ("subscriber.remove", {})):
        step = only(platform, command, **data)
        reply = await platform.call(step, Counting(lost=True))
        assert reply.outcome == NotSent("lease_lost")
        assert received(sim, step.name) == 0


async def test_a_platform_that_is_away_got_nothing(start: Start) -> None:
    sim, platform = await start()
    steps = [only(platform, command) for command in ("calls.block", "subscriber.remove", "subscriber.get")]
    await sim.close()
    for step in steps:
        assert isinstance((await platform.call(step, NO_GUARD)).outcome, NotSent)
    assert isinstance(await platform.look(steps[1], None), NotSent)
    assert isinstance(await platform.control(), NotSent)


async def test_a_removal_whose_record_cannot_be_read_first_is_not_sent(start: Start) -> None:
    sim, platform = await start()
    sim.fail("retrieveSubscriber", "drop_before")
    guard = Counting()
    reply = await platform.call(only(platform, "subscriber.remove"), guard)
    assert isinstance(reply.outcome, NotSent)
    assert guard.asked == 0
    assert received(sim, "removeSubscriber") == 0


async def test_a_busy_platform_says_when(start: Start) -> None:
    sim, platform = await start()
    sim.fail("*", "busy", retry_after=7)
    assert await outcome(platform, "credit.add", amount="1") == Busy(7.0)
    assert await platform.look(only(platform, "credit.add", amount="1"), None) == Busy(7.0)
    assert await platform.control() == Busy(7.0)


async def test_a_declared_fault_is_certain_only_if_the_table_knows_it(start: Start) -> None:
    refusals = {"limit .* reached": "over_limit", "overload": "busy", "maintenance": "ill"}
    sim, platform = await start(refusals=refusals)
    for text, means in (
        ("Limit of credit reached", Refused(Code.OVER_LIMIT, "Limit of credit reached", certain=True)),
        ("overloaded", Busy(5.0)),
        ("in maintenance", Ill("in maintenance")),
        ("no", Refused(Code.PLATFORM_REFUSED, "no")),
    ):
        sim.heal()
        sim.fail("addCredit", "declared", text=text)
        assert await outcome(platform, "credit.add", amount="1") == means


async def test_a_fault_on_a_subscriber_that_is_there_stays_uncertain(start: Start) -> None:
    sim, platform = await start()
    sim.fail("blockOutgoingCalls", "declared", text="not now")
    assert await outcome(platform, "calls.block") == Refused(Code.PLATFORM_REFUSED, "not now")


@pytest.mark.parametrize(("status", "means"), [
    (401, Refused(Code.CREDENTIALS_REFUSED, "HTTP 401", "401")),
    (403, Refused(Code.CREDENTIALS_REFUSED, "HTTP 403", "403")),
    (404, Refused(Code.PLATFORM_REFUSED, "HTTP 404", "404")),
    (302, Unclear("redirect")),
    (500, Unclear("server_fault")),
    (503, Unclear("server_fault")),
])  # fmt: skip
async def test_a_bare_status_says_what_it_can(status: int, means: Any) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    async with _served(application) as url, _platform(url) as platform:
        assert await outcome(platform, "credit.add", amount="1") == means
        assert await platform.control() == means


@contextlib.asynccontextmanager
async def _served(application: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/SipPulse"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _platform(url: str, **given: Any) -> AsyncIterator[Platform]:
    settings = {"kind": "sippulse", "url": url, "login": "admin", "password": PASSWORD, **given}
    platform = await build("sippulse-br", SippulseSettings(**settings))
    try:
        yield platform
    finally:
        await platform.close()


async def test_login_and_password_go_as_http_basic_only_if_asked() -> None:
    seen: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response(status=500)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    async with _served(application) as url:
        for basic in (False, True):
            async with _platform(url, http_basic=basic) as platform:
                await platform.control()
    assert seen == [None, "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()]


# Secrets -----------------------------------------------------------------------------------------


async def test_no_secret_is_in_what_is_kept_of_a_call_even_if_the_platform_echoes_it(start: Start) -> None:
    secrets = [
        PASSWORD,
        NEW["password"],
        NEW["portal_password"],
        NEW["voicemail_password"],
        "pw-of-the-first",
    ]
    sim, platform = await start({"texts": {"duplicate": "{login}:{password} may not insert {secret}"}})
    replies = [
        *await run(platform, "subscriber.create", **NEW),
        *await run(platform, "subscriber.create", NOBODY, **NEW),
        *await run(platform, "subscriber.get"),
        *await run(platform, "subscriber.remove", NOBODY),
    ]
    assert isinstance(replies[0].outcome, Refused)
    assert replies[0].outcome.text == "admin:*** may not insert ***"
    kept = repr([(dataclasses.astuple(reply.exchange), reply.outcome) for reply in replies])
    kept += repr((platform, sim.url, planned(platform, "subscriber.create", **NEW)))
    for secret in secrets:
        for form in (secret, escape(secret), quote_plus(secret), base64.b64encode(secret.encode()).decode()):
            assert form not in kept


# The server's own WSDLs --------------------------------------------------------------------------


async def test_the_servers_own_wsdl_decides_what_is_offered(start: Start) -> None:
    _, platform = await start(wsdl="live")
    facts = platform.facts()
    assert len(facts) == 15
    assert {each["wsdl"] for each in facts.values()} == {"live"}
    assert facts["SubscriberWS"]["lacks"] == []
    assert await outcome(platform, "credit.add", amount="1") == Done({"amount": "1.00"})


async def test_each_live_wsdl_is_fetched_once_however_many_calls_follow(start: Start) -> None:
    sim, _ = await start()
    fetched: Counter[str] = Counter()
    calls: Counter[str] = Counter()

    async def answer(request: web.Request) -> web.Response:
        service = request.match_info["service"]
        if request.method == "GET":
            fetched[request.path_qs.removeprefix("/SipPulse/")] += 1
            return web.Response(body=wsdl_text(service).encode(), content_type="text/xml")
        calls[service] += 1
        async with session.post(f"{sim.url}/{service}", data=await request.read()) as heard:
            return web.Response(status=heard.status, body=await heard.read(), content_type="text/xml")

    application = web.Application()
    application.router.add_route("*", "/SipPulse/{service}", answer)
    async with (
        ClientSession() as session,
        _served(application) as url,
        _platform(url, wsdl="live") as platform,
    ):
        for command, data in (
            ("credit.add", {"amount": "1"}),
            ("credit.get", {}),
            ("subscriber.get", {}),
            ("calls.block", {}),
            ("calls.unblock", {}),
            ("number.list", {}),
            ("subscriber.block", {}),
            ("subscriber.update", {"changes": {"first_name": "Bia"}}),
        ):
            assert isinstance(await outcome(platform, command, **data), Done), command
        assert await platform.control() == Done()
    assert calls.keys() >= {"SubscriberWS", "DidWS", "DomainWS"}
    assert calls.total() >= 9
    assert len(fetched) == 15
    assert set(fetched.values()) == {1}, fetched
    assert all(each.endswith("?wsdl") for each in fetched)


def wsdl_text(service: str) -> str:
    return (folder() / f"{service}.wsdl").read_text(encoding="utf-8")


async def test_what_a_servers_wsdl_lacks_is_said_and_refused() -> None:
    async def answer(request: web.Request) -> web.Response:
        text = wsdl_text(request.match_info["service"])
        text = text.replace("addCredit", "addCREDIT").replace("blockSubscriber", "blockClient")
        return web.Response(body=text.encode(), content_type="text/xml")

    application = web.Application()
    application.router.add_get("/SipPulse/{service}", answer)
    async with _served(application) as url, _platform(url, wsdl="live") as platform:
        facts = platform.facts()["SubscriberWS"]
        assert facts["spelled"] == {"addCredit": "addCREDIT"}
        assert facts["lacks"] == ["blockSubscriber"]
        assert facts["besides"] == ["blockClient"]
        refused = platform.plan(order("subscriber.block"))
        assert isinstance(refused, Problem)
        assert refused.code is Code.UNSUPPORTED_BY_SERVER
        reply = await platform.call(only(platform, "credit.add", amount="1"), NO_GUARD)
        assert "addCREDIT" in reply.exchange.request


async def test_a_schema_that_lies_in_a_document_of_its_own_is_fetched_from_our_server() -> None:
    """JAX-WS servers write their inner address into the import."""
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        text = wsdl_text(request.match_info["service"])
        start, end = text.index("<xs:schema"), text.index("</xs:schema>") + len("</xs:schema>")
        if "xsd" in request.query:
            schema = text[start:end].replace(
                "<xs:schema",
                '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" '
                'xmlns:tns="http://service.ws.sippulse.voffice.com.br/"',
            )
            return web.Response(body=schema.encode(), content_type="text/xml")
        service = request.match_info["service"]
        importing = (
            '<xs:schema><xs:import namespace="http://service.ws.sippulse.voffice.com.br/" '
            f'schemaLocation="http://10.0.0.1:8080/SipPulse/{service}?xsd=1"/></xs:schema>'
        )
        return web.Response(body=(text[:start] + importing + text[end:]).encode(), content_type="text/xml")

    application = web.Application()
    application.router.add_get("/SipPulse/{service}", answer)
    async with _served(application) as url, _platform(url, wsdl="live") as platform:
        assert {each["wsdl"] for each in platform.facts().values()} == {"live"}
        assert platform.facts()["SubscriberWS"]["lacks"] == []
    assert "/SipPulse/DomainWS?xsd=1" in asked


@pytest.mark.parametrize("body", [
    b"", b"<html/>", b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/hostname'>]><x>&e;</x>", b"<a>" * 1000,
])  # fmt: skip
async def test_a_wsdl_that_cannot_be_had_leaves_the_bundled_one(body: bytes) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body)

    application = web.Application()
    application.router.add_get("/SipPulse/{service}", answer)
    async with _served(application) as url, _platform(url, wsdl="live") as platform:
        facts = platform.facts()["SubscriberWS"]
        assert facts["wsdl"].startswith("not live: ")
        assert "addCredit" in facts["operations"]


async def test_a_server_that_was_away_at_the_start_shows_its_wsdls_later(start: Start) -> None:
    sim, _ = await start()
    sim.freezer.freeze("*", 3600)
    async with _platform(sim.url, wsdl="live", timeout=0.3) as platform:
        assert platform.facts()["DomainWS"]["wsdl"].startswith("not live: ")
        sim.freezer.thaw()
        for _ in range(20):  # a busy machine may be too slow for some of them within the timeout
            await platform.control()
            if {each["wsdl"] for each in platform.facts().values()} == {"live"}:
                break
        assert {each["wsdl"] for each in platform.facts().values()} == {"live"}


# Settings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"control_read": "DomainWS.listDomain"}, "listDomains"),
        ({"control_read": "NoWS.list"}, "NoWS"),
        ({"refusals": {"x": "nonsense"}}, "nonsense"),
    ],
)
async def test_a_setting_that_names_nothing_stops_the_start(given: dict[str, Any], said: str) -> None:
    settings = {"kind": "sippulse", "url": "http://127.0.0.1:9/x", "login": "a", "password": "p", **given}
    with pytest.raises(ValueError, match=said):
        await build("sippulse-br", SippulseSettings(**settings))


async def test_another_control_read_may_be_set(start: Start) -> None:
    sim, platform = await start(control_read="ReloadModulesWS.reloadAddress")
    assert await platform.control() == Done()
    assert received(sim, "reloadAddress") == 1
    assert received(sim, "listDomains") == 0


@pytest.mark.parametrize(("command", "connections"), [("calls.block", 1), ("credit.add", 3)])
async def test_what_must_not_be_lost_to_a_stale_connection_goes_over_a_fresh_one(
    command: str, connections: int
) -> None:
    peers = set()

    async def answer(request: web.Request) -> web.Response:
        peers.add((request.transport or pytest.fail("no transport")).get_extra_info("peername"))
        return web.Response(status=500)

    application = web.Application()
    application.router.add_post("/SipPulse/{service}", answer)
    async with _served(application) as url, _platform(url, keepalive=60) as platform:
        for _ in range(3):
            await outcome(platform, command, **({"amount": "1"} if command == "credit.add" else {}))
    assert len(peers) == connections
