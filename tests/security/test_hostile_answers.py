"""A platform's answer that is an attack costs that one answer: nothing is unfolded, fetched, opened or awaited.

Through the real transport, against a server of plain sockets.
"""

from __future__ import annotations

import gzip
import resource
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from lxml import etree

from tests.integration.transport_rig import Peer, serving
from tests.security.bait import Bait, laid
from worker.cli.probe import probe
from worker.domain.outcome import Done, Refused, Unclear
from worker.platforms.build import build
from worker.platforms.port import Order, Platform, Step
from worker.platforms.transport import NO_GUARD
from worker.settings import SippulseSettings

NAMESPACE = "http://service.ws.sippulse.voffice.com.br/"
WHO = {"username": "551133330001", "domain": "pbx.example"}
MIB = 1024 * 1024
MOST_MEMORY = (
    64 * MIB
)  # that a refused answer may take at its peak; the largest answer that is read has 4 MiB
MOST_CPU = 2.0  # seconds

Script = Callable[[Peer], None]


def envelope(operation: str, inner: str) -> str:
    return (
        '<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>'
        f'<n:{operation}Response xmlns:n="{NAMESPACE}">{inner}</n:{operation}Response></S:Body></S:Envelope>'
    )


def record(inner: str) -> str:
    """An answer to retrieveSubscriber, with `inner` where the first name stands."""
    name = "".join(f"<{key}>{value}</{key}>" for key, value in WHO.items())
    return envelope("retrieveSubscriber", f"<return>{name}<firstName>{inner}</firstName></return>")


def answering(body: bytes | str, head: str = "") -> Script:
    raw = body if isinstance(body, bytes) else body.encode()
    lines = f"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {len(raw)}\r\n{head}\r\n".encode()

    def script(peer: Peer) -> None:
        while True:
            peer.request()
            peer.send(lines + raw)

    return script


@asynccontextmanager
async def platform_behind(script: Script, **settings: Any) -> AsyncIterator[Platform]:
    with serving(script) as server:
        given = {
            "kind": "sippulse",
            "url": f"{server.url}/SipPulse",
            "login": "admin",
            "password": "secret-7",
        }
        platform = await build(
            "sippulse-br", SippulseSettings.model_validate(given | {"timeout": 25} | settings)
        )
        try:
            yield platform
        finally:
            await platform.close()


def only_step(platform: Platform, command: str, **data: Any) -> Step:
    steps = platform.plan(
        Order("o-1", f"{command}.v1", {"platform": "sippulse-br", "subscriber": WHO, **data})
    )
    assert isinstance(steps, tuple), steps
    return steps[0]


async def asked(script: Script, command: str = "subscriber.get", **data: Any) -> Any:
    """The outcome of a command whose call is answered so."""
    async with platform_behind(script) as platform:
        reply = await platform.call(only_step(platform, command, **data), NO_GUARD)
        assert len(reply.exchange.answer.encode()) <= 8192
        return reply.outcome


@pytest.fixture
def bait(tmp_path: Path) -> Iterator[Bait]:
    with laid(tmp_path) as one:
        yield one


@pytest.fixture
def frugal() -> Iterator[None]:
    """The test may cost so much CPU and memory, and no more. (Peaks only grow: a later test sees less.)"""
    peak, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024
    assert grown < MOST_MEMORY, f"the peak grew by {grown // MIB} MiB"
    assert time.process_time() - began < MOST_CPU + 1.0


# ---------------------------------------------------------------- entities


def laughs() -> str:
    """A lol of lols: 10^9 when it is unfolded."""
    entities = "".join(
        f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' if n else '<!ENTITY l0 "lol">' for n in range(10)
    )
    return f"<!DOCTYPE a [{entities}]>{record('&l9;')}"


def blown_up() -> str:
    """One large entity, used often: 2 GiB, with no nesting that a depth could bound."""
    return f'<!DOCTYPE a [<!ENTITY x "{"x" * 50_000}">]>{record("&x;" * 40_000)}'


def entity(system: str) -> str:
    return f'<!DOCTYPE a [<!ENTITY x SYSTEM "{system}">]>{record("&x;")}'


@pytest.mark.usefixtures("frugal")
@pytest.mark.parametrize("body", [laughs, blown_up], ids=lambda make: make.__name__)
async def test_entities_are_not_unfolded(body: Callable[[], str]) -> None:
    assert await asked(answering(body())) == Unclear("garbage")


def attacks(bait: Bait) -> tuple[dict[str, str], dict[str, str]]:
    """Those that need a document type, and those that do not."""
    file, url = bait.file.as_uri(), bait.url
    include = '<x:include xmlns:x="http://www.w3.org/2001/XInclude" parse="text" href="{}"/>'
    return {
        "a file as an entity": entity(file),
        "a page as an entity": entity(url),
        "a file by its bare name": entity(str(bait.file)),
        "a document type elsewhere": f'<!DOCTYPE a SYSTEM "{url}a.dtd">{record("x")}',
        "a document type in a file": f'<!DOCTYPE a SYSTEM "{file}">{record("x")}',
        "a parameter entity": f'<!DOCTYPE a [<!ENTITY % p SYSTEM "{url}"> %p;]>{record("x")}',
        "a parameter entity of a file": f'<!DOCTYPE a [<!ENTITY % p SYSTEM "{file}"> %p;]>{record("x")}',
    }, {
        "an inclusion of a file": record(include.format(file)),
        "an inclusion of a page": record(include.format(url)),
        "a schema elsewhere": record("x").replace(
            "<return>",
            '<return xmlns:i="http://www.w3.org/2001/XMLSchema-instance"'
            f' i:schemaLocation="{NAMESPACE} {url}a.xsd" i:noNamespaceSchemaLocation="{file}">',
        ),
        "a style sheet": f'<?xml-stylesheet href="{url}" type="text/xsl"?>{record("x")}',
        "a reference": record("x").replace("<return>", f'<return href="{url}">'),
    }


async def test_a_document_type_is_refused_and_nothing_is_fetched_or_opened(bait: Bait) -> None:
    for what, body in attacks(bait)[0].items():
        outcome = await asked(answering(body))
        assert outcome == Unclear("garbage"), what
        assert bait.touched() == [], what


async def test_what_xml_may_refer_to_is_not_fetched_either(bait: Bait) -> None:
    for what, body in attacks(bait)[1].items():
        outcome = await asked(answering(body))
        assert bait.secret not in str(outcome), what
        assert bait.touched() == [], what


def only_wsdls(body: str) -> Script:
    """Whatever else is asked for is not there."""
    raw = body.encode()

    def script(peer: Peer) -> None:
        while True:
            asked = peer.request().split(b"\r\n")[0]
            status, content = (b"200 OK", raw) if b"?wsdl" in asked else (b"404 Not Found", b"")
            peer.send(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(content), content))

    return script


async def test_the_servers_own_wsdl_opens_and_fetches_nothing_but_from_the_server(bait: Bait) -> None:
    """With wsdl = "live" the server chooses what its imports name: only the configured host is asked."""
    for where in (bait.file.as_uri(), bait.url, str(bait.file), "ftp://127.0.0.1:1/a"):
        wsdl = (
            '<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:xs="http://www.w3.org/2001/XMLSchema"'
            f' targetNamespace="{NAMESPACE}"><import namespace="urn:a" location="{where}"/><types><xs:schema>'
            f'<xs:import namespace="urn:b" schemaLocation="{where}"/></xs:schema></types></definitions>'
        )
        for body in (wsdl, f'<!DOCTYPE a [<!ENTITY x SYSTEM "{where}">]>{wsdl}'):
            async with platform_behind(only_wsdls(body), wsdl="live") as platform:
                assert all(fact["wsdl"] != "live" for fact in platform.facts().values())
            assert bait.touched() == [], where


def test_the_bait_would_have_told(bait: Bait) -> None:
    """A parser that resolves does open the file; a visit is counted."""
    parser = etree.XMLParser(resolve_entities=True, load_dtd=True)
    root = etree.fromstring(entity(bait.file.as_uri()).encode(), parser)
    assert bait.secret in etree.tostring(root, encoding="unicode", method="text")
    assert "opened" in bait.touched()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with suppress(OSError):
        opener.open(bait.url, timeout=5)
    assert "visited" in bait.touched()


# ---------------------------------------------------------------- size


def nested(levels: int) -> str:
    return record("<a>" * levels + "</a>" * levels)


@pytest.mark.usefixtures("frugal")
@pytest.mark.parametrize("levels", [300, 10_000, 500_000])
async def test_deep_nesting_is_refused(levels: int) -> None:
    assert await asked(answering(nested(levels))) == Unclear("garbage")


def whole(size: int) -> Script:
    return answering(record("x" * size))


def chunked(size: int) -> Script:
    """The size is not said beforehand."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(size // 65536):
            peer.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        peer.send(b"0\r\n\r\n")

    return script


def endless(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\n\r\n<a>")
    while True:
        peer.send(b"<b>" + b"x" * 65536 + b"</b>")


def endless_head(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\n")
    for number in range(10**9):
        peer.send(f"X-{number}: {'y' * 1000}\r\n".encode())


def endless_chunk_line(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        peer.send(b"f" * 65536)


def endless_chunk_line_later(peer: Peer) -> None:
    """Once the head was read, so that somebody waits for the body alone."""
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    time.sleep(0.3)
    while True:
        peer.send(b"f" * 65536)


def dripping(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        time.sleep(0.05)
        peer.send(b"<")


def dripping_size(peer: Peer) -> None:
    """A chunk whose size has leading zeros for ever."""
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        peer.send(b"0" * 65536)


def bomb(peer: Peer) -> None:
    answering(gzip.compress(bytes(10 * MIB)), "Content-Encoding: gzip\r\n")(peer)


@pytest.mark.usefixtures("frugal")
@pytest.mark.parametrize(
    ("script", "why"),
    [
        pytest.param(whole(10 * MIB), {"too_large"}, id="10 MiB that say so"),
        pytest.param(chunked(10 * MIB), {"too_large"}, id="10 MiB that do not"),
        pytest.param(endless, {"too_large"}, id="no end"),
        pytest.param(endless_head, {"garbage", "reset", "closed"}, id="no end of headers"),
        pytest.param(
            endless_chunk_line, {"garbage", "cut", "closed", "reset"}, id="no end of a chunk's size"
        ),
        pytest.param(
            endless_chunk_line_later,
            {"garbage", "cut", "closed", "reset"},
            id="no end of a chunk's size after the head was read",
        ),
        pytest.param(bomb, {"encoded"}, id="10 MiB that unfold from 10 KiB"),
    ],
)
async def test_an_answer_without_measure_is_given_up(script: Script, why: set[str]) -> None:
    outcome = await asked(script)
    assert isinstance(outcome, Unclear)
    assert outcome.why in why, "and not because of the deadline"


@pytest.mark.usefixtures("frugal")
@pytest.mark.parametrize("script", [dripping, dripping_size], ids=lambda script: script.__name__)
async def test_an_answer_that_never_comes_to_the_point_ends_at_the_deadline(script: Script) -> None:
    async with platform_behind(script, timeout=0.5) as platform:
        reply = await platform.call(only_step(platform, "subscriber.get"), NO_GUARD)
    assert reply.outcome == Unclear("timeout")


async def test_the_largest_answer_that_is_read_at_all_is_read_in_bounds() -> None:
    """Just below the bound, as text and as a million elements: 0.1 and 2 s of CPU, the latter in 180 MiB."""
    peak, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    size = 4 * MIB - 4096
    many = "<z/>" * (size // 4)
    assert isinstance(await asked(answering(record("x" * size))), Done)
    assert isinstance(await asked(answering(record("x").replace("</return>", many + "</return>"))), Done)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024 < 400 * MIB
    assert time.process_time() - began < 6


@pytest.mark.usefixtures("frugal")
async def test_an_element_crowded_with_attributes_is_refused() -> None:
    """Reading them costs their square: a quarter of an hour for as many as an answer can hold."""
    attributes = " ".join(f'a{number}=""' for number in range(300_000))
    crowded = record("x").replace("<return>", f"<return {attributes}>")
    assert await asked(answering(crowded)) == Unclear("garbage")


@pytest.mark.usefixtures("frugal")
@pytest.mark.parametrize("unit", ["&lt;password ", "&amp;#x25;5cu0041%26amp%3B+"])
async def test_a_refusal_as_long_as_an_answer_may_be_costs_little(unit: str) -> None:
    """Its text is searched for secrets in every dress: a beginning of it, that is."""
    text = escape(unit * (3 * MIB // len(escape(unit))))
    fault = (
        '<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body><S:Fault>'
        f'<faultcode>S:Server</faultcode><faultstring>no</faultstring><detail><n:WSException xmlns:n="{NAMESPACE}">'
        f"<faultMessage>{text}</faultMessage></n:WSException></detail></S:Fault></S:Body></S:Envelope>"
    )
    outcome = await asked(
        answering(fault), "credit.add", amount="10.00", note="x"
    )  # one call, no reading behind it
    assert isinstance(outcome, Refused)
    assert len(outcome.text) <= 500


async def test_a_wsdl_that_imports_itself_leaves_the_bundled_one() -> None:
    for where in ("DomainWS?wsdl", "http://127.0.0.1:1/SipPulse/DomainWS?wsdl"):
        wsdl = (
            f'<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" targetNamespace="{NAMESPACE}">'
            f'<import namespace="urn:a" location="{where}"/></definitions>'
        )
        async with platform_behind(only_wsdls(wsdl), wsdl="live") as platform:
            assert all(fact["wsdl"] != "live" for fact in platform.facts().values())


# ---------------------------------------------------------------- what becomes of it


async def test_an_attack_never_passes_for_an_answer_to_what_changes_something() -> None:
    """Whatever the attack, the command is in doubt: neither done nor refused."""
    credit = envelope("addCredit", "")
    for body in (laughs(), f"<!DOCTYPE a>{credit}", credit + "x" * 5 * MIB, nested(1000), "\0" + credit):
        outcome = await asked(answering(body), "credit.add", amount="10.00", note="x")
        assert isinstance(outcome, Unclear), body[:80]
        assert outcome.why in ("garbage", "too_large")
    assert isinstance(await asked(answering(credit), "credit.add", amount="10.00", note="x"), Done)


async def test_the_operator_is_told_in_a_word() -> None:
    for script, word in ((answering(laughs()), "garbage"), (whole(10 * MIB), "too_large")):
        with serving(script) as server:
            given = {"kind": "sippulse", "url": f"{server.url}/SipPulse", "login": "admin", "password": "x"}
            said = await probe("sippulse-br", SippulseSettings.model_validate(given))
        assert not said.well
        assert word in said.text


async def test_a_page_behind_the_wrong_address_is_no_attack_and_no_answer() -> None:
    """What a proxy says is HTML with a document type: it must not look like a refusal of the order."""
    outcome = await asked(answering("<!DOCTYPE html><html><body>Welcome</body></html>"))
    assert outcome == Unclear("garbage")
    assert not isinstance(outcome, Refused)
