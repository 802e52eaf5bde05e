"""What an answer means: one table, and each of its rows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.domain.outcome import Busy, Ill, NotSent, Refused, Unclear
from worker.domain.redaction import Masker
from worker.messages.errors import Code
from worker.platforms.refusals import Refusals, retry_after
from worker.platforms.sippulse import soap
from worker.platforms.sippulse.answers import Answered, meaning
from worker.platforms.sippulse.fields import DEFAULTS
from worker.platforms.sippulse.services import NAMESPACE, NEEDED, Service, Unusable, bundled
from worker.platforms.sippulse.soap import Fault, Garbage, Operation, Result, Unbuildable
from worker.platforms.transport import Answer, Lost, Phase

ENVELOPE = '<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>{}</S:Body></S:Envelope>'


@pytest.fixture(scope="module")
def services() -> Mapping[str, Service]:
    return {name: asyncio.run(bundled(name)) for name in NEEDED}


@pytest.fixture
def credit(services: Mapping[str, Service]) -> Operation:
    return services["SubscriberWS"].operations["retrievecredit"]


@pytest.fixture
def record(services: Mapping[str, Service]) -> Operation:
    return services["SubscriberWS"].operations["retrievesubscriber"]


def reply(operation: str, inner: str = "") -> bytes:
    body = f'<n:{operation}Response xmlns:n="{NAMESPACE}">{inner}</n:{operation}Response>'
    return ENVELOPE.format(body).encode()


def fault(text: str, *, declared: bool = True) -> bytes:
    detail = f'<detail><n:WSException xmlns:n="{NAMESPACE}"><faultMessage>{text}</faultMessage></n:WSException></detail>'
    return ENVELOPE.format(
        f"<S:Fault><faultcode>S:Server</faultcode><faultstring>{text}</faultstring>"
        f"{detail if declared else ''}</S:Fault>"
    ).encode()


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, 0.0, 0.1)


GOOD = reply("retrieveCredit", "<return>12.34</return>")


@pytest.mark.parametrize(
    ("sent", "means"),
    [
        (Lost(Phase.WAITING, "timeout"), NotSent("timeout")),
        (Lost(Phase.CONNECTED, "lease_lost"), NotSent("lease_lost")),
        (Lost(Phase.WRITING, "reset"), Unclear("reset")),
        (Lost(Phase.READING, "timeout"), Unclear("timeout")),
        (answer(200, GOOD), Answered(12.34)),
        (answer(200, b"<html>"), Unclear("garbage")),
        (answer(200, b""), Unclear("garbage")),
        (answer(202, b""), Unclear("garbage")),
        (answer(200, reply("addCredit")), Unclear("garbage")),
        (answer(500, GOOD), Unclear("server_fault")),
        (answer(500, fault("no", declared=False)), Unclear("server_fault")),
        (answer(200, fault("no", declared=False)), Unclear("server_fault")),
        (answer(500, b"<html>oops</html>"), Unclear("server_fault")),
        (answer(502), Unclear("server_fault")),
        (answer(503), Unclear("server_fault")),
        (answer(503, fault("no")), Unclear("server_fault")),
        (answer(503, Retry_After="7"), Busy(7.0)),
        (answer(429, Retry_After="86400"), Busy(3600.0)),
        (answer(429, Retry_After="0"), Busy(1.0)),
        (answer(429), Busy(5.0)),
        (answer(401), Refused(Code.CREDENTIALS_REFUSED, "HTTP 401", "401")),
        (answer(403, fault("no")), Refused(Code.CREDENTIALS_REFUSED, "HTTP 403", "403")),
        (answer(404, b"not here"), Refused(Code.PLATFORM_REFUSED, "HTTP 404", "404")),
        (answer(408), Unclear("timeout")),
        (answer(302, Location="https://other/"), Unclear("redirect")),
        (answer(500, fault("no such thing")), Refused(Code.PLATFORM_REFUSED, "no such thing")),
        (answer(200, fault("no such thing")), Refused(Code.PLATFORM_REFUSED, "no such thing")),
    ],
)
def test_an_answer_means(credit: Operation, sent: Answer | Lost, means: Any) -> None:
    assert meaning(sent, credit, Refusals({}), Masker()) == means


def test_a_fault_is_certain_only_when_the_table_knows_its_text(credit: Operation) -> None:
    table = Refusals({"not found": "not_found", "(try|come) again": "busy", "database": "ill"})
    said = {
        "Subscriber X NOT FOUND": Refused(Code.NOT_FOUND, "Subscriber X NOT FOUND", certain=True),
        "please try again": Busy(5.0),
        "the DATABASE is down": Ill("the DATABASE is down"),
        "something else": Refused(Code.PLATFORM_REFUSED, "something else"),
        "": Refused(Code.PLATFORM_REFUSED, "(the platform gave no text)"),
    }
    for text, means in said.items():
        assert meaning(answer(500, fault(text)), credit, table, Masker()) == means


def test_a_meaning_that_does_not_exist_stops_the_start() -> None:
    with pytest.raises(ValueError, match="already_exists"):
        Refusals({"duplicate": "already_there"})


def test_a_fault_text_leaves_masked_and_short(credit: Operation) -> None:
    text = "login with Sekret&amp;7 failed " + "x" * 2000
    means = meaning(answer(500, fault(text)), credit, Refusals({}), Masker(["Sekret&7"]))
    assert isinstance(means, Refused)
    assert means.text.startswith("login with *** failed")
    assert len(means.text) == 500


def test_retry_after_may_be_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 90 < (retry_after(soon) or 0) <= 100
    assert retry_after("Thu, 01 Jan 1970 00:00:00 GMT") == 1.0
    assert retry_after("soon") is None
    assert retry_after(None) is None


# Reading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<a/>",
        b"\xff\xfe nonsense",
        GOOD[:-9],
        GOOD + b"<more/>",
        b"<!DOCTYPE x>" + GOOD,
        b'<!DOCTYPE x [<!ENTITY e "12">]>' + GOOD.replace(b"12.34", b"&e;"),
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>' + GOOD.replace(b"12.34", b"&e;"),
        ('<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x>' + GOOD.decode()).encode("utf-16"),
        GOOD.replace(b"12.34", b"12,34"),
        GOOD.replace(b"12.34", b"NaN"),
        GOOD.replace(b"12.34", b"<x>12</x>"),
        GOOD.replace(b"<return>", b"<return>1</return><return>"),
        ENVELOPE.format("").encode(),
        ENVELOPE.format("<a/><b/>").encode(),
        GOOD.replace(b"schemas.xmlsoap.org/soap/envelope", b"www.w3.org/2003/05/soap-envelope"),
        b"<a>" * 100_000,
    ],
)
def test_what_is_not_the_operations_reply_is_garbage(credit: Operation, body: bytes) -> None:
    with pytest.raises(Garbage):
        credit.read(body)


def test_a_flag_that_is_no_boolean_is_garbage_not_false(record: Operation) -> None:
    with pytest.raises(Garbage, match="activeOutgoingCalls"):
        record.read(
            reply("retrieveSubscriber", "<return><activeOutgoingCalls>yes</activeOutgoingCalls></return>")
        )


def test_what_a_newer_server_adds_or_puts_elsewhere_is_no_matter(record: Operation) -> None:
    inner = "<new>1</new><username>u</username><more><a/></more><activeOutgoingCalls>1</activeOutgoingCalls>"
    read = record.read(reply("retrieveSubscriber", f"<x/><return>{inner}</return>"))
    assert isinstance(read, Result)
    assert (read.value["username"], read.value["activeOutgoingCalls"]) == ("u", True)


def test_nothing_and_an_empty_record_read_as_nothing(record: Operation) -> None:
    for inner in ("", "<return/>"):
        read = record.read(reply("retrieveSubscriber", inner))
        assert isinstance(read, Result)
        assert read.value is None


def test_a_fault_of_another_namespace_is_not_the_declared_one(credit: Operation) -> None:
    read = credit.read(fault("no").replace(NAMESPACE.encode(), b"urn:other"))
    assert read == Fault(declared=False, text="no")


# Building ----------------------------------------------------------------------------------------


def test_a_message_that_does_not_fit_the_wsdl_is_not_built(services: Mapping[str, Service]) -> None:
    insert = services["SubscriberWS"].operations["insertsubscriber"]
    with pytest.raises(Unbuildable, match=r"no subscriber\.colour"):
        insert.build({"subscriber": {"colour": "secret-red"}})
    with pytest.raises(Unbuildable, match="activeIncomingCalls") as error:
        insert.build({"subscriber": {"password": "secret-red"}})
    assert "secret-red" not in str(error.value)


def test_names_are_sent_as_the_server_spells_them(services: Mapping[str, Service]) -> None:
    credit = services["SubscriberWS"].operations["addcredit"]
    sent = credit.build({"USERNAME": "u&<", "Domain": "d"})
    assert b"<username>u&amp;&lt;</username><domain>d</domain>" in sent
    assert soap.parse(sent) is not None


@settings(deadline=None)  # a busy machine is no fault
@given(st.text(min_size=1, max_size=40), st.decimals(allow_nan=False, allow_infinity=False))
def test_a_filled_form_is_what_zeep_would_have_built(
    services: Mapping[str, Service], said: str, value: Decimal
) -> None:
    credit = services["SubscriberWS"].operations["addcredit"]
    principal = {"login": "admin", "password": said}
    arguments = {"username": "u", "domain": "d", "value": value, "obs": said, "principal": principal}
    try:
        by_zeep = credit._built(arguments)
    except Unbuildable:
        with pytest.raises(Unbuildable):
            credit.build(arguments)
    else:
        assert credit.build(arguments) == by_zeep


def test_a_record_with_flags_is_built_as_zeep_builds_it(services: Mapping[str, Service]) -> None:
    insert = services["SubscriberWS"].operations["insertsubscriber"]
    arguments = {"subscriber": {**DEFAULTS, "username": "u", "voicemail": True, "firstName": ""}}
    assert insert.build(arguments) == insert._built(arguments)
    assert b"<voicemail>true</voicemail>" in insert.build(arguments)
    assert b"<activeOutgoingCalls>false<" in insert.build(
        {"subscriber": {**DEFAULTS, "activeOutgoingCalls": False}}
    )


def test_another_namespace_may_be_set() -> None:
    domains = asyncio.run(bundled("DomainWS", "urn:other")).operations["listdomains"]
    assert b'xmlns:ns0="urn:other"' in domains.build({"principal": {"login": "a", "password": "b"}})
    there = reply("listDomains", "<domain><name>a</name></domain>").replace(NAMESPACE.encode(), b"urn:other")
    assert domains.read(there) == Result([{"domain": None, "name": "a"}])


def test_a_service_that_does_not_come_along_is_named() -> None:
    with pytest.raises(Unusable, match="SubscriberWS"):
        asyncio.run(bundled("NoWS"))
