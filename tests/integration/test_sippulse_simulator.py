"""The SIPPulse simulator over real sockets: it does what it is asked for, and counts it rightly."""

import asyncio
import contextlib
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any
from xml.sax.saxutils import escape

import httpx
import pytest
import zeep

from worker.simulators import lean
from worker.simulators.sippulse import Simulator, SimulatorConfig, serve
from worker.simulators.sippulse.config import CHOICES
from worker.simulators.sippulse.wsdl import NAMESPACE

LOGIN = {"login": "admin", "password": "Sekret&7"}
USER, DOMAIN = "551133330001", "pbx.example"
NEVER, ONCE = (0, Decimal(0)), (1, Decimal(1))  # what `credit` gives of a note with one unit
NUMBERS = ("lowCreditLimit", "resellerBillingType", "resellerMarkup")
FLAGS = (
    "activeIncomingCalls",
    "activeOutgoingCalls",
    "addServiceHeader",
    "blockAnonymousCalls",
    "blockEntry0303",
    "callsOnlyByIp",
    "copyPassertedRpid",
    "lowCreditNotification",
    "softphoneAllowed",
    "validateSource0303",
    "voicemail",
)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    usual = {"username": USER, "domain": DOMAIN, "balance": "5"}
    config = SimulatorConfig.from_values({**LOGIN, "subscribers": [usual]})
    simulator = await serve(0, config=config)
    yield simulator
    await simulator.close()


@pytest.fixture
async def admin(sim: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=sim.admin_url, timeout=30, verify=False) as client:
        yield client


async def eventually(fact: Callable[[], bool], what: str = "the fact", within: float = 20) -> None:
    end = time.monotonic() + within
    while not fact():
        assert time.monotonic() < end, f"{what} did not come about within {within} s"
        await asyncio.sleep(0.01)


def envelope(operation: str, inner: str = "", principal: dict[str, str] = LOGIN, **fields: object) -> bytes:
    """A request; keyword arguments are its children, and the usual subscriber is meant."""
    named = {"username": USER, "domain": DOMAIN, **fields}
    children = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in named.items())
    login = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in principal.items())
    children = f"{inner or children}<principal>{login}</principal>"
    return (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Header/><e:Body>'
        f'<s:{operation} xmlns:s="{NAMESPACE}">{children}</s:{operation}>'
        "</e:Body></e:Envelope>"
    ).encode()


async def ask(sim: Simulator, operation: str, timeout: float = 30, **fields: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=timeout, verify=False) as client:
        return await client.post(f"{sim.url}/SubscriberWS", content=envelope(operation, **fields))


async def wire(sim: Simulator, body: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request over a socket of our own, to see what really comes back."""
    port = int(sim.origin.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /SipPulse/SubscriberWS HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    return reader, writer


async def send_and_hang_up(sim: Simulator, operation: str, **fields: Any) -> None:
    """A client that loses patience once its request has been read whole."""
    before = received(sim, operation)
    _, writer = await wire(sim, envelope(operation, **fields))
    await eventually(lambda: received(sim, operation) == before + 1, "the request's arrival")
    writer.transport.abort()


def received(sim: Simulator, operation: str) -> int:
    return sim.platform.ledger.operations[operation].received


def applied(sim: Simulator, operation: str) -> int:
    return sim.platform.ledger.operations[operation].applied


def answered(sim: Simulator, operation: str) -> int:
    return sim.platform.ledger.operations[operation].answered


def value(answer: httpx.Response, name: str) -> str:
    found = re.search(f"<{name}>(.*?)</{name}>", answer.text)
    assert found, answer.text
    return found[1]


# The plain path ----------------------------------------------------------------------------------


def zeep_client(url: str) -> Any:
    return zeep.Client(url)  # type: ignore[no-untyped-call] # zeep has no types


def whole_life(url: str) -> None:
    """What a zeep client does in a subscriber's life, against the WSDLs that the simulator serves."""
    service = zeep_client(f"{url}/SubscriberWS?wsdl").service
    who = {"username": "551144440002", "domain": "New.Example"}
    flags = dict.fromkeys(FLAGS, False) | dict.fromkeys(NUMBERS, 0) | {"activeOutgoingCalls": True}
    ordered = {**flags, **who, "profile": "basic", "password": "p<&>ässwörd", "phone": 551144440002}
    number = service.insertSubscriber(subscriber=ordered, principal=LOGIN)
    kept = service.retrieveSubscriber(**who, principal=LOGIN)
    assert (kept.id, kept.password, kept.phone) == (number, "p<&>ässwörd", 551144440002)
    assert (kept.domain, kept.accountCode, kept.firstName) == (
        "new.example",
        "551144440002@new.example",
        None,
    )
    with pytest.raises(zeep.exceptions.Fault, match="already exists") as refusal:
        service.insertSubscriber(subscriber=ordered, principal=LOGIN)
    assert refusal.value.detail[0].tag == "{" + NAMESPACE + "}WSException"
    assert service.addCredit(**who, value=10.10, obs="order-1", principal=LOGIN) is None
    assert service.retrieveCredit(**who, principal=LOGIN) == 10.10
    service.blockOutgoingCalls(**who, principal=LOGIN)
    assert service.retrieveSubscriber(**who, principal=LOGIN).activeOutgoingCalls is False
    service.changePassword(
        **who, actualPassword="p<&>ässwörd", newPassword="n", confirmNewPassword="n", principal=LOGIN
    )
    assert service.retrievePassword(**who, principal=LOGIN) == "n"
    services = {**who, "email": "a@b.example", "callLimit": 7, "cps": 2, "keepAlive": 1}
    service.updateSubscriberServices(subscriber=services, principal=LOGIN)
    changed = service.retrieveSubscriber(**who, principal=LOGIN)
    assert (changed.emailAddress, changed.callLimit) == ("a@b.example", 7)
    zeep_client(f"{url}/ReloadModulesWS?wsdl").service.reloadSubscriber(**who, principal=LOGIN)
    domains = zeep_client(f"{url}/DomainWS?wsdl").service.listDomains(principal=LOGIN)
    assert "new.example" in [each.name for each in domains]
    service.removeSubscriber(**who, principal=LOGIN)
    with pytest.raises(zeep.exceptions.Fault, match="not found"):
        service.retrieveSubscriber(**who, principal=LOGIN)


async def test_a_subscriber_lives_through_zeep_from_insert_to_remove(
    sim: Simulator, admin: httpx.AsyncClient
) -> None:
    await asyncio.to_thread(whole_life, sim.url)
    log = (await admin.get("log", params={"username": "551144440002", "domain": "new.example"})).json()["log"]
    assert [entry["operation"] for entry in log] == [
        "insertSubscriber",
        "addCredit",
        "blockOutgoingCalls",
        "changePassword",
        "updateSubscriberServices",
        "reloadSubscriber",
        "removeSubscriber",
    ]
    assert log[1]["arguments"] == {"value": "10.1", "obs": "order-1"}
    assert log[3]["arguments"]["newPassword"] == "***"
    numbers = [entry["sequence"] for entry in log]
    assert numbers == sorted(numbers)


async def test_each_pair_of_operations_sets_its_own_flag(sim: Simulator) -> None:
    pairs = {
        ("blockOutgoingCalls", "activateOutgoingCalls"): ("activeOutgoingCalls", False, True),
        ("blockIncommingCalls", "activateIncommingCalls"): ("activeIncomingCalls", False, True),
        ("blockCollectCalls", "activateCollectCalls"): ("blockCollectCalls", True, False),
        ("blockAnonymousCalls", "activateAnonymousCalls"): ("blockAnonymousCalls", True, False),
    }
    for operations, (flag, *states) in pairs.items():
        for operation, state in zip(operations, states, strict=True):
            assert (await ask(sim, operation)).status_code == 200
            assert subscriber(sim).dto[flag] is state
    await ask(sim, "blockSubscriber")
    assert not subscriber(sim).active
    await ask(sim, "activateSubscriber")
    assert subscriber(sim).active


def subscriber(sim: Simulator) -> Any:
    found = sim.subscriber(USER, DOMAIN)
    assert found is not None
    return found


async def test_credit_is_counted_by_note_and_by_subscriber(sim: Simulator, admin: httpx.AsyncClient) -> None:
    for amount, note in (("10.10", "a"), ("0.20", "b"), ("0.20", "b")):
        await ask(sim, "addCredit", value=amount, obs=note)
    assert value(await ask(sim, "retrieveCredit"), "return") == "15.50"
    credits_ = (await admin.get("credits")).json()
    name = f"{USER}@{DOMAIN}"
    assert credits_["by_obs"]["b"] == {"times": 2, "sum": "0.40", "subscriber": name}
    assert credits_["by_subscriber"][name]["sum"] == "10.50"
    assert sim.credit("b") == (2, Decimal("0.40"))
    assert sim.credit("never") == NEVER


async def test_calls_eat_credit_and_leave_a_record(sim: Simulator, admin: httpx.AsyncClient) -> None:
    made = await admin.post("charge", json={"username": USER, "domain": DOMAIN, "price": "1.25"})
    assert made.json()["id"] == 1
    assert value(await ask(sim, "retrieveCredit"), "return") == "3.75"
    await admin.post("traffic", json={"rate": 500, "prices": ["0.01"], "seed": 4})
    await eventually(lambda: len(sim.platform.ledger.charges) > 20, "traffic")
    await admin.post("traffic", json={"rate": 0})
    charges = (await admin.get("charges", params={"accountcode": f"{USER}@{DOMAIN}"})).json()["charges"]
    spent = sum(Decimal(each["price"]) for each in charges)
    assert subscriber(sim).balance == Decimal(5) - spent


async def test_a_call_has_its_row_after_the_delay(sim: Simulator, admin: httpx.AsyncClient) -> None:
    about = {"username": USER, "domain": DOMAIN, "price": "1"}
    await admin.post("charge", json=about)
    for delay, rated in ((3600, False), (0, True)):
        await admin.post("switches", json={"cdr_delay": delay})
        assert [each["rated"] for each in (await admin.get("charges")).json()["charges"]] == [rated]


async def test_many_subscribers_are_seeded_at_once(sim: Simulator, admin: httpx.AsyncClient) -> None:
    many = {"count": 500, "prefix": "77", "domain": "bulk.example", "balance": "1", "firstName": "Ana"}
    assert (await admin.post("subscribers", json=many)).json() == {"seeded": 500, "subscribers": 501}
    one = (await admin.get("state", params={"username": "77499", "domain": "bulk.example"})).json()
    assert [each["firstName"] for each in one["subscribers"]] == ["Ana"]
    assert (await admin.get("counts")).json()["operations"] == {}


# What nobody knows of the real platform ----------------------------------------------------------


async def test_an_absent_subscriber_is_a_fault_or_an_empty_reply(
    sim: Simulator, admin: httpx.AsyncClient
) -> None:
    assert (await ask(sim, "retrieveSubscriber", username="nobody")).status_code == 500
    await admin.post("switches", json={"absent": "empty"})
    answer = await ask(sim, "retrieveSubscriber", username="nobody")
    assert answer.status_code == 200
    assert "<return>" not in answer.text
    assert (await ask(sim, "blockSubscriber", username="nobody")).status_code == 500
    await admin.post("switches", json={"absent_writes": "silent"})
    assert (await ask(sim, "blockSubscriber", username="nobody")).status_code == 200
    assert not sim.platform.ledger.entries


async def test_an_absent_subscriber_may_be_a_fault_of_the_stack_or_a_record_of_nobody(
    sim: Simulator, admin: httpx.AsyncClient
) -> None:
    await admin.post("switches", json={"absent": "undeclared"})
    answer = await ask(sim, "retrieveCredit", username="nobody")
    assert (answer.status_code, "WSException" in answer.text) == (500, False)
    await admin.post("switches", json={"absent": "record"})
    answer = await ask(sim, "retrieveSubscriber", username="nobody")
    assert (answer.status_code, "<username>" in answer.text) == (200, False)
    assert value(answer, "activeOutgoingCalls") == "false"
    assert value(await ask(sim, "retrieveCredit", username="nobody"), "return") == "0"
    assert (await ask(sim, "retrieveSubscriberClassV", username="nobody")).status_code == 200
    assert (await ask(sim, "retrieveDailyQuota", username="nobody")).status_code == 200


async def test_a_second_insert_may_make_a_double_which_is_counted(
    sim: Simulator, admin: httpx.AsyncClient
) -> None:
    fields = f"<username>{USER}</username><domain>{DOMAIN}</domain><profile>p</profile><password>x</password>"
    inner = f"<subscriber>{fields}</subscriber>"
    assert (await ask(sim, "insertSubscriber", inner=inner)).status_code == 500
    await admin.post("switches", json={"duplicates": "double"})
    assert value(await ask(sim, "insertSubscriber", inner=inner), "subscriberId") == "2"
    counts = (await admin.get("counts")).json()
    assert (counts["doubles"], counts["subscribers"]) == (1, 2)


async def test_passwords_are_read_back_whole_masked_or_not_at_all(
    sim: Simulator, admin: httpx.AsyncClient
) -> None:
    subscriber(sim).dto.update(password="p1", voiceMailPassword=1234)
    assert value(await ask(sim, "retrieveSubscriber"), "password") == "p1"
    await admin.post("switches", json={"passwords": "masked"})
    masked = await ask(sim, "retrieveSubscriber")
    assert value(masked, "password") == "***"
    assert "1234" not in masked.text
    await admin.post("switches", json={"passwords": "empty"})
    assert "password>" not in (await ask(sim, "retrieveSubscriber")).text
    assert "<return>" not in (await ask(sim, "retrievePassword")).text


async def test_a_password_may_be_read_back_by_its_own_operation_alone(
    sim: Simulator, admin: httpx.AsyncClient
) -> None:
    subscriber(sim).dto["password"] = "p1"
    await admin.post("switches", json={"passwords": "empty", "password_reads": "returned"})
    assert "password>" not in (await ask(sim, "retrieveSubscriber")).text
    assert value(await ask(sim, "retrievePassword"), "return") == "p1"
    await admin.post("switches", json={"passwords": "returned", "password_reads": "masked"})
    assert value(await ask(sim, "retrievePassword"), "return") == "***"


async def test_a_state_that_is_reached_may_be_refused(sim: Simulator, admin: httpx.AsyncClient) -> None:
    assert (await ask(sim, "activateSubscriber")).status_code == 200
    await admin.post("switches", json={"reached": "refuse"})
    assert (await ask(sim, "activateSubscriber")).status_code == 500
    for answer in (200, 500):
        assert (await ask(sim, "blockOutgoingCalls")).status_code == answer
        assert (await ask(sim, "blockSubscriber")).status_code == answer


async def test_a_balance_may_be_kept_in_cents(sim: Simulator, admin: httpx.AsyncClient) -> None:
    before = subscriber(sim).balance
    for rounding, moved in (("exact", "0.014"), ("cents", "0.01")):
        await admin.post("switches", json={"rounding": rounding})
        await ask(sim, "addCredit", value="0.014", obs="x")
        assert subscriber(sim).balance - before == Decimal(moved)
        sim.platform.charge(USER, DOMAIN, Decimal("0.014"))
        assert subscriber(sim).balance == before
    assert [each.price for each in sim.platform.ledger.charges] == [Decimal("0.014")] * 2


async def test_switches_are_turned_while_it_runs_and_stand_on_the_page(
    sim: Simulator, admin: httpx.AsyncClient
) -> None:
    for name, values in CHOICES.items():
        for each in values:
            answer = await admin.post("switches", json={name: each})
            assert answer.json()["switches"][name] == each
            assert f"<option selected>{each}</option>" in (await admin.get("")).text
    assert (await admin.post("switches", json={"cdr_delay": 2.5})).json()["switches"]["cdr_delay"] == 2.5
    assert "value='2.5'" in (await admin.get("")).text
    for wrong in ({"cdr_delay": -1}, {"cdr_delay": "soon"}, {"absent": "maybe"}, {"unheard": "of"}):
        answer = await admin.post("switches", json=wrong)
        assert answer.status_code == 400
        assert next(iter(wrong)) in answer.json()["error"]


async def test_a_wrong_principal_is_a_declared_fault_which_may_echo_the_password(
    sim: Simulator, admin: httpx.AsyncClient
) -> None:
    wrong = {"login": "admin", "password": "gu<ess"}
    answer = await ask(sim, "blockSubscriber", principal=wrong)
    assert answer.status_code == 500
    assert value(answer, "faultMessage") == "Authentication failed"
    await admin.post("switches", json={"texts": {"wrong_principal": "no {login} with {password}"}})
    echoed = await ask(sim, "blockSubscriber", principal=wrong)
    assert value(echoed, "faultMessage") == "no admin with gu&lt;ess"
    await admin.post("principal", json={"password": "gu<ess"})
    assert (await ask(sim, "blockSubscriber", principal=wrong)).status_code == 200
    assert (await ask(sim, "blockSubscriber")).status_code == 500


# Bad requests ------------------------------------------------------------------------------------


async def test_entities_are_never_expanded(sim: Simulator) -> None:
    doctype = b'<!DOCTYPE e:Envelope [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    body = doctype + envelope("addCredit", value="1", obs="OBS").replace(b"OBS", b"&x;")
    async with httpx.AsyncClient(timeout=30, verify=False) as client:
        answer = await client.post(f"{sim.url}/SubscriberWS", content=body)
    assert answer.status_code == 500
    assert "DTD is not supported" in answer.text
    assert "root:" not in answer.text
    assert applied(sim, "addCredit") == 0


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "parsing error"),
        (b"<a>", "parsing error"),
        (b"<a/>", "Not a SOAP 1.1 envelope"),
        (envelope("dropAllTables"), "Cannot find dispatch method"),
        (envelope("addCredit", value="much", obs="a"), "value is no xs:double"),
    ],
)
async def test_what_the_stack_cannot_dispatch_is_an_undeclared_fault(
    sim: Simulator, body: bytes, sentence: str
) -> None:
    async with httpx.AsyncClient(timeout=30, verify=False) as client:
        answer = await client.post(f"{sim.url}/SubscriberWS", content=body)
    assert answer.status_code == 500
    assert sentence in answer.text
    assert "WSException" not in answer.text


async def test_a_request_over_two_mebibytes_is_refused(sim: Simulator) -> None:
    async with httpx.AsyncClient(timeout=30, verify=False) as client:
        answer = await client.post(f"{sim.url}/SubscriberWS", content=b"x" * (2 * 1024 * 1024 + 1))
    assert answer.status_code == 413


# Faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_dropped_before_applying_nothing_happened(sim: Simulator, how: str) -> None:
    sim.fail("addCredit", "drop_before", count=1, how=how)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await ask(sim, "addCredit", value=1, obs="a")
    assert sim.credit("a") == NEVER
    await ask(sim, "addCredit", value=1, obs="a")
    assert sim.credit("a") == ONCE


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_dropped_after_applying_the_change_is_made_and_the_answer_lost(
    sim: Simulator, how: str
) -> None:
    sim.fail("addCredit", "drop_after", count=1, how=how)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await ask(sim, "addCredit", value=1, obs="a")
    assert sim.credit("a") == ONCE
    assert (applied(sim, "addCredit"), answered(sim, "addCredit")) == (1, 0)


async def test_reset_is_seen_as_a_reset_on_the_wire(sim: Simulator) -> None:
    sim.fail("blockSubscriber", "drop_after", how="reset")
    reader, writer = await wire(sim, envelope("blockSubscriber"))
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_a_late_change_lands_after_the_client_has_left(sim: Simulator) -> None:
    sim.fail("blockOutgoingCalls", "late", seconds=1, since="hangup")
    await send_and_hang_up(sim, "blockOutgoingCalls")
    assert subscriber(sim).dto["activeOutgoingCalls"] is True
    await ask(sim, "activateOutgoingCalls")
    await eventually(lambda: subscriber(sim).dto["activeOutgoingCalls"] is False, "the late change")
    await eventually(lambda: sim.pending() == 0, "the end of what was late")
    assert [entry.via for entry in sim.platform.ledger.entries] == ["", "late"]


async def test_a_late_change_does_not_wait_for_ever_for_a_client_that_is_frozen(sim: Simulator) -> None:
    sim.fail("blockSubscriber", "late", seconds=0, since="hangup", within=0.2)
    _, writer = await wire(sim, envelope("blockSubscriber"))
    await eventually(lambda: applied(sim, "blockSubscriber") == 1, "the late change")
    assert sim.pending() == 1
    writer.transport.abort()


async def test_a_late_change_may_come_with_a_dropped_connection(sim: Simulator) -> None:
    sim.fail("blockSubscriber", "late", seconds=0.1, connection="drop")
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await ask(sim, "blockSubscriber")
    await eventually(lambda: applied(sim, "blockSubscriber") == 1, "the late change")


async def test_a_hanging_late_answer_never_comes(sim: Simulator) -> None:
    sim.fail("blockSubscriber", "late", seconds=0)
    reader, writer = await wire(sim, envelope("blockSubscriber"))
    await eventually(lambda: applied(sim, "blockSubscriber") == 1, "the late change")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.2)
    assert sim.pending() == 1
    writer.transport.abort()
    await eventually(lambda: sim.pending() == 0, "the end of the exchange")


async def test_a_frozen_platform_applies_all_that_was_queued_in_order(
    sim: Simulator, admin: httpx.AsyncClient
) -> None:
    await admin.post("freeze", json={})
    operations = ["blockOutgoingCalls", "activateOutgoingCalls", "blockSubscriber", "blockVoicemail"]
    for operation in operations:
        await send_and_hang_up(sim, operation)
    patient = asyncio.create_task(ask(sim, "retrieveCredit"))
    await eventually(lambda: received(sim, "retrieveCredit") == 1, "the patient request")
    assert not sim.platform.ledger.entries
    assert (await admin.get("counts")).json()["frozen"] == 5
    assert (await admin.post("thaw")).json() == {"applied": 5}
    assert [entry.operation for entry in sim.platform.ledger.entries] == operations
    assert value(await patient, "return") == "5"
    assert (await ask(sim, "retrieveCredit")).status_code == 200


async def test_a_freeze_of_one_operation_stops_no_other(sim: Simulator) -> None:
    sim.freezer.freeze("addCredit")
    frozen = asyncio.create_task(ask(sim, "addCredit", value=1, obs="a"))
    await eventually(lambda: received(sim, "addCredit") == 1, "the request")
    assert (await ask(sim, "retrieveCredit")).status_code == 200
    assert sim.credit("a") == NEVER
    sim.heal()
    assert (await frozen).status_code == 200
    assert sim.credit("a") == ONCE


@pytest.mark.parametrize("scope", ["platform", "operation"])
async def test_a_freeze_begun_by_a_request_ends_by_itself(sim: Simulator, scope: str) -> None:
    sim.fail("addCredit", "freeze", seconds=0.3, scope=scope, count=1)
    first, second = (asyncio.create_task(ask(sim, "addCredit", value=1, obs=obs)) for obs in "ab")
    assert (await first).status_code == (await second).status_code == 200
    assert (sim.credit("a"), sim.credit("b")) == (ONCE, ONCE)
    assert {entry.via for entry in sim.platform.ledger.entries} <= {"freeze", "frozen", ""}
    assert not sim.freezer.freezes


async def test_a_delayed_change_is_made_although_the_client_has_gone(sim: Simulator) -> None:
    sim.fail("blockSubscriber", "delay", seconds=0.2)
    await send_and_hang_up(sim, "blockSubscriber")
    await eventually(lambda: not subscriber(sim).active, "the delayed change")


async def test_a_delayed_answer_comes_to_who_waits(sim: Simulator) -> None:
    sim.fail("retrieveCredit", "delay", seconds=0.2)
    start = time.monotonic()
    assert value(await ask(sim, "retrieveCredit"), "return") == "5"
    assert time.monotonic() - start >= 0.2


async def test_a_dripping_answer_takes_its_time_and_never_pauses(sim: Simulator) -> None:
    sim.fail("addCredit", "drip", seconds=1)
    start = time.monotonic()
    reader, writer = await wire(sim, envelope("addCredit", value=1, obs="a"))
    pieces = [await reader.read(1000)]
    while pieces[-1]:
        pieces.append(await reader.read(1000))
    writer.close()
    assert time.monotonic() - start >= 1
    assert len(pieces) > 10
    assert b"".join(pieces).endswith(b"</S:Envelope>")
    assert sim.credit("a") == ONCE


@pytest.mark.parametrize("variant", ["not_http", "not_xml", "truncated"])
async def test_garbage_comes_after_the_change_was_made(sim: Simulator, variant: str) -> None:
    sim.fail("addCredit", "garbage", variant=variant)
    reader, writer = await wire(sim, envelope("addCredit", value=1, obs="a"))
    raw = await reader.read()
    writer.close()
    assert sim.credit("a") == ONCE
    assert raw.startswith(b"HTTP/1.1 200") == (variant != "not_http")
    assert b"</S:Envelope>" not in raw


async def test_a_declared_fault_is_an_answer_that_changes_nothing(sim: Simulator) -> None:
    sim.fail("addCredit", "declared", text="not {username} with {password}")
    answer = await ask(sim, "addCredit", value=1, obs="a")
    assert answer.status_code == 500
    assert value(answer, "faultMessage") == f"not {USER} with Sekret&amp;7"
    assert sim.credit("a") == NEVER


async def test_an_undeclared_fault_has_no_detail_and_may_hide_a_change(sim: Simulator) -> None:
    sim.fail("addCredit", "undeclared", count=1)
    sim.fail("addCredit", "undeclared", applied=True)
    for _ in range(2):
        answer = await ask(sim, "addCredit", value=1, obs="a")
        assert answer.status_code == 500
        assert "<faultstring>" in answer.text
        assert "WSException" not in answer.text
    assert sim.credit("a") == ONCE


async def test_busy_says_when_to_come_back(sim: Simulator) -> None:
    sim.fail("addCredit", "busy", retry_after=7)
    answer = await ask(sim, "addCredit", value=1, obs="a")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert sim.credit("a") == NEVER


async def test_an_error_page_is_html(sim: Simulator) -> None:
    sim.fail("addCredit", "html500")
    answer = await ask(sim, "addCredit", value=1, obs="a")
    assert answer.status_code == 500
    assert answer.headers["Content-Type"].startswith("text/html")
    assert sim.credit("a") == NEVER


async def test_what_was_lost_every_way_is_counted_rightly(sim: Simulator, admin: httpx.AsyncClient) -> None:
    """The sum over all notes is the balance, whatever became of the answers."""
    rule = {"operation": "addCredit", "kind": "lost", "share": 0.5, "seconds": 0.1, "connection": "drop"}
    await admin.post("faults", json=rule)

    async def order(number: int) -> None:
        with contextlib.suppress(httpx.HTTPError):
            await ask(sim, "addCredit", value="0.10", obs=f"n{number}")

    for start in range(0, 60, 20):
        await asyncio.gather(*(order(number) for number in range(start, start + 20)))
    await eventually(lambda: sim.pending() == 0, "the end of what was late")
    counts = (await admin.get("counts")).json()
    traces, ledger = counts["operations"]["addCredit"], sim.platform.ledger
    assert traces["received"] == 60
    assert len(counts["faults"]) > 3
    assert (
        sum(each.times for each in ledger.credits_by_obs.values()) == traces["applied"] == counts["credits"]
    )
    assert all(each.times == 1 for each in ledger.credits_by_obs.values())
    assert subscriber(sim).balance == Decimal(5) + Decimal("0.10") * traces["applied"]


# Admin -------------------------------------------------------------------------------------------


async def test_rules_are_shown_replaced_and_refused_with_a_sentence(
    sim: Simulator, admin: httpx.AsyncClient
) -> None:
    await admin.post("faults", json={"operation": "block*", "kind": "busy", "count": 3})
    bad = await admin.post("faults", json={"rules": [{"kind": "late"}, {"kind": "drip", "share": 2}]})
    assert bad.status_code == 400
    assert "share is a probability" in bad.json()["error"]
    shown = (await admin.get("state")).json()["faults"]
    assert [(each["kind"], each["count"]) for each in shown] == [("busy", 3)]
    assert (await admin.post("faults", json={"rules": [], "replace": True})).json() == {"faults": []}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("switches", {"absent": "maybe"}),
        ("switches", {"texts": {"nothing": "x"}}),
        ("subscribers", {"username": "1"}),
        ("subscribers", {"username": "1", "domain": "d", "colour": "red"}),
        ("charge", {"username": "1"}),
        ("traffic", {"speed": 3}),
        ("faults", []),
    ],
)
async def test_a_wrong_admin_request_is_answered_with_a_sentence(
    admin: httpx.AsyncClient, path: str, body: object
) -> None:
    answer = await admin.post(path, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_reset_comes_back_to_the_beginning_and_nothing_late_lands(
    sim: Simulator, admin: httpx.AsyncClient
) -> None:
    await admin.post("principal", json={"password": "other"})
    await admin.post("principal", json=LOGIN)
    sim.fail("blockSubscriber", "late", seconds=30, since="hangup")
    await send_and_hang_up(sim, "blockSubscriber")
    await admin.post("freeze", json={})
    await admin.post("reset")
    assert sim.pending() == 0
    assert (await ask(sim, "retrieveCredit")).status_code == 200
    assert subscriber(sim).active
    assert (await admin.get("counts")).json()["operations"]["retrieveCredit"]["received"] == 1


async def test_the_page_shows_what_happened_and_no_secret(sim: Simulator, admin: httpx.AsyncClient) -> None:
    subscriber(sim).dto["password"] = "hidden-1"
    await ask(sim, "addCredit", value="2", obs="<script>alert(1)</script>")
    sim.fail("addCredit", "late")
    page = await admin.get("")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "&lt;script&gt;" in page.text
    assert "<script>" not in page.text
    assert f"{USER}@{DOMAIN}" in page.text
    state = await admin.get("state")
    for secret in ("hidden-1", "Sekret"):
        assert secret not in page.text
        assert secret not in state.text


# On its own --------------------------------------------------------------------------------------


async def listening(module: str, *arguments: str) -> tuple[asyncio.subprocess.Process, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        "--port",
        "0",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
    assert line.startswith("listening on http://127.0.0.1:")
    return process, line.split()[2]


async def test_standing_alone_it_says_where_it_listens_and_ends_at_sigterm(tmp_path: Any) -> None:
    config = tmp_path / "simulator.toml"
    config.write_text(
        'password = "Sekret&7"\n'
        f'[[subscribers]]\nusername = "{USER}"\ndomain = "{DOMAIN}"\n'
        '[[faults]]\noperation = "addCredit"\nkind = "drop_after"\nhow = "reset"\n'
    )
    process, url = await listening("worker.simulators.sippulse", "--config", str(config))
    async with httpx.AsyncClient(timeout=30, verify=False) as client:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await client.post(f"{url}/SubscriberWS", content=envelope("addCredit", value=1, obs="a"))
        credits_ = await client.get(url.replace("SipPulse", "admin/credits"))
        assert credits_.json()["by_obs"]["a"]["times"] == 1
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_the_lean_answerer_answers_each_operation_over_kept_and_closed_connections() -> None:
    answerer = await lean.serve(0)
    async with httpx.AsyncClient(timeout=30, verify=False) as client:
        for headers in ({}, {"Connection": "close"}, {}):
            for operation, inner in (("addCredit", ""), ("retrieveCredit", "<return>100.0</return>")):
                answer = await client.post(
                    f"{answerer.url}/SubscriberWS", content=envelope(operation), headers=headers
                )
                assert f">{inner}</ns2:{operation}Response>" in answer.text
        assert (await client.get(answerer.url)).status_code == 400
    assert answerer.requests == 6
    await answerer.close()
