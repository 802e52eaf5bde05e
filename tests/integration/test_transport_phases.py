"""How far a request had come when it was lost: found by what the server saw, on both loops."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.transport_rig import (
    LOOPS,
    OK,
    PATIENCE,
    PROBE,
    Peer,
    both_loops,
    hold_the_loop,
    probe,
    serving,
    transport,
    unanswered_port,
    unused_port,
    warm,
)
from worker.platforms.transport import Answer, LeaseLost, Lost, Phase, Request

SHORT = 0.3  # seconds: a deadline that is meant to pass


def says_nothing(peer: Peer) -> None:
    peer.request()


def answers_all(peer: Peer) -> None:
    while True:
        peer.request()
        peer.send(OK)


def to(url: str, **fields: object) -> Request:
    return Request(**({"method": "POST", "url": url, "headers": {}, "body": b"x", "fresh": True} | fields))  # type: ignore[arg-type]  # test data


class Notes:
    """A guard that writes down when it was asked, and whether the loop turned before the first byte."""

    def __init__(self, *, lease: bool = True) -> None:
        self.lease = lease
        self.asked: list[str] = []
        self.turned = False

    def before_first_byte(self) -> None:
        self.asked.append("before")
        if not self.lease:
            raise LeaseLost
        self.turned = False
        asyncio.get_running_loop().call_soon(self.turn)

    def turn(self) -> None:
        self.turned = True

    def wrote(self) -> None:
        self.asked.append("wrote")
        assert not self.turned


# Not sent


@both_loops
async def test_nobody_listens() -> None:
    http = transport()
    outcome = await http.send(to(f"http://127.0.0.1:{unused_port()}/"))
    await http.close()
    assert isinstance(outcome, Lost)
    assert (outcome.phase, outcome.why, outcome.sent) == (Phase.CONNECTING, "refused", False)


@both_loops
async def test_the_name_is_not_known() -> None:
    http = transport()
    outcome = await http.send(to("http://no-such-host.invalid/"))
    await http.close()
    assert isinstance(outcome, Lost)
    assert (outcome.phase, outcome.sent) == (Phase.CONNECTING, False)
    assert outcome.why in ("dns", "timeout")  # where the resolver itself does not answer


@both_loops
async def test_the_connection_is_not_accepted_in_time() -> None:
    http = transport(timeout=SHORT)
    with unanswered_port() as port:
        outcome = await http.send(to(f"http://127.0.0.1:{port}/"))
    await http.close()
    assert isinstance(outcome, Lost)
    assert (outcome.phase, outcome.why, outcome.sent) == (Phase.CONNECTING, "timeout", False)


@both_loops
async def test_no_place_is_free_in_time() -> None:
    with serving(answers_all) as server:
        http = transport(limit=1, timeout=SHORT)
        async with http._places:  # as a call would hold it that began just before
            outcome = await http.send(probe(server))
        await http.close()
    assert isinstance(outcome, Lost)
    assert (outcome.phase, outcome.why, outcome.sent) == (Phase.WAITING, "timeout", False)
    assert server.count() == 0


@both_loops
async def test_no_more_than_the_limit_are_under_way_at_once() -> None:
    now, most, lock = 0, 0, threading.Lock()

    def script(peer: Peer) -> None:
        nonlocal now, most
        while True:
            peer.request()
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.01)
            with lock:
                now -= 1
            peer.send(OK)

    with serving(script) as server:
        http = transport(limit=3, timeout=PATIENCE)
        outcomes = await asyncio.gather(*(http.send(probe(server, fresh=i % 2 == 0)) for i in range(20)))
        await http.close()
    assert all(isinstance(outcome, Answer) for outcome in outcomes)
    assert server.count() == 20
    assert most <= 3


@pytest.mark.parametrize("body", [b"x" * 100, None], ids=["body", "no_body"])
@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "reused"])
@both_loops
async def test_a_lost_lease_stops_the_first_byte(fresh: bool, body: bytes | None) -> None:
    guard = Notes(lease=False)
    with serving(answers_all) as server:
        http = transport()
        await http.send(warm(server))
        outcome = await http.send(probe(server, "DELETE", fresh=fresh, body=body), guard)
        after = await http.send(probe(server))
        await http.close()
    assert isinstance(outcome, Lost)
    assert (outcome.phase, outcome.why, outcome.sent) == (Phase.CONNECTED, "lease_lost", False)
    assert guard.asked == ["before"]
    assert isinstance(after, Answer)
    assert server.count() == 1


@both_loops
async def test_a_guard_that_fails_stops_the_first_byte() -> None:
    class Broken(Notes):
        def before_first_byte(self) -> None:
            raise KeyError("secret")

    with serving(answers_all) as server:
        http = transport()
        outcomes = [await http.send(probe(server, method), Broken()) for method in ("POST", "GET")]
        await http.close()
    assert [(lost.why, lost.sent) for lost in outcomes if isinstance(lost, Lost)] == [
        ("unexpected", False)
    ] * 2
    assert server.count() == 0


@both_loops
async def test_what_cannot_be_a_request_is_not_sent() -> None:
    http = transport()
    for request in (
        to("ftp://127.0.0.1/"),
        to("http:///nowhere"),
        to("http://[::1/"),
        to(f"http://127.0.0.1:{unused_port()}/", headers={"X": "a\r\nInjected: b"}),
    ):
        outcome = await http.send(request)
        assert isinstance(outcome, Lost)
        assert (outcome.why, outcome.sent) in (("invalid_request", False), ("refused", False))
    with pytest.raises(ValueError, match="expect, host"):
        await http.send(to("http://127.0.0.1/", headers={"Expect": "100-continue", "Host": "x"}))
    await http.close()


@both_loops
async def test_a_header_cannot_carry_another_one() -> None:
    with serving(answers_all) as server:
        http = transport()
        outcome = await http.send(to(server.url, headers={"X-Probe": "a\r\nInjected: b"}))
        await http.close()
    assert isinstance(outcome, Lost)
    assert (outcome.why, outcome.sent) == ("invalid_request", False)
    assert server.count() == 0


# The guard


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "reused"])
@both_loops
async def test_the_guard_is_asked_once_with_no_turn_of_the_loop_before_the_first_byte(
    fresh: bool, method: str
) -> None:
    guard = Notes()
    with serving(answers_all) as server:
        http = transport()
        await http.send(warm(server))
        assert isinstance(await http.send(probe(server, method, fresh=fresh), guard), Answer)
        await http.close()
    assert guard.asked == ["before", "wrote"]


@both_loops
async def test_the_first_byte_is_noted_before_the_rest_has_gone() -> None:
    """A body larger than the sockets hold, to a server that does not read."""
    done = threading.Event()
    guard = Notes()
    with serving(lambda _: assert_set(done)) as server:
        http = transport(timeout=1.0)
        outcome = await http.send(probe(server, body=b"x" * 16 * 1024 * 1024), guard)
        await http.close()
        done.set()
    assert isinstance(outcome, Lost)
    assert (outcome.phase, outcome.why, outcome.sent) == (Phase.WRITING, "timeout", True)
    assert guard.asked == ["before", "wrote"]
    assert [peer.end for peer in server.peers] == ["reset"]
    assert len(server.peers[0].received) < 16 * 1024 * 1024, "the rest went on after the call was lost"


def assert_set(event: threading.Event) -> None:
    assert event.wait(PATIENCE)


# The deadline


def drips_a_body(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    drip(peer, b"x")


def drips_a_head(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\n")
    drip(peer, b"X-A: b\r\n")


def drips_continues(peer: Peer) -> None:
    peer.request()
    drip(peer, b"HTTP/1.1 100 Continue\r\n\r\n")


def drip(peer: Peer, what: bytes) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        peer.send(what)
        time.sleep(0.02)


@pytest.mark.parametrize("script", [drips_a_body, drips_a_head, drips_continues, says_nothing])
@both_loops
async def test_rule_2_3_one_deadline_covers_all_and_nobody_can_drip_past_it(script: object) -> None:
    with serving(script) as server:  # type: ignore[arg-type]  # one of the scripts above
        http = transport(timeout=SHORT)
        outcome = await http.send(probe(server))
        await http.close()
        assert isinstance(outcome, Lost)
        assert (outcome.why, outcome.sent) == ("timeout", True)
        assert outcome.phase == (Phase.READING if script is drips_a_body else Phase.SENT)
        assert SHORT * 0.9 < outcome.ended - outcome.began < SHORT + 5
    assert server.count() == 1


# The size


def answers_without_end(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        peer.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")


def claims_to_be_large(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx")


@pytest.mark.parametrize("script", [answers_without_end, claims_to_be_large])
@both_loops
async def test_an_answer_that_is_too_large_is_not_read_to_its_end(script: object) -> None:
    with serving(script) as server:  # type: ignore[arg-type]  # one of the scripts above
        http = transport(max_answer=100_000)
        outcome = await http.send(probe(server))
        await http.close()
    assert isinstance(outcome, Lost)
    assert (outcome.phase, outcome.why) == (Phase.READING, "too_large")
    assert [peer.end for peer in server.peers] == ["reset"]


@both_loops
async def test_an_answer_of_just_the_greatest_size_is_whole() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000)

    with serving(script) as server:
        http = transport(max_answer=300_000)
        outcome = await http.send(probe(server))
        await http.close()
    assert isinstance(outcome, Answer)
    assert len(outcome.body) == 300_000


# The reset


def answers_garbage(peer: Peer) -> None:
    peer.request()
    peer.send(b"garbage\r\n\r\n")


@pytest.mark.parametrize("script", [says_nothing, answers_garbage, drips_a_body])
@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "reused"])
@both_loops
async def test_after_a_lost_answer_the_connection_is_reset(fresh: bool, script: object) -> None:
    with serving(script) as server:  # type: ignore[arg-type]  # one of the scripts above
        http = transport(timeout=SHORT)
        assert isinstance(await http.send(probe(server, fresh=fresh)), Lost)
        await eventually(lambda: [peer.end for peer in server.peers] == ["reset"])
        await http.close()
    assert [peer.end for peer in server.peers] == ["reset"]


@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "reused"])
@both_loops
async def test_after_a_whole_answer_the_connection_is_closed_politely(fresh: bool) -> None:
    with serving(answers_all) as server:
        http = transport()
        assert isinstance(await http.send(probe(server, fresh=fresh)), Answer)
        if fresh:
            await eventually(lambda: [peer.end for peer in server.peers] == ["fin"])
        await http.close()
    assert [peer.end for peer in server.peers] == ["fin"]


@both_loops
async def test_a_cancelled_call_is_reset_and_the_cancellation_passes_through() -> None:
    with serving(says_nothing) as server:
        http = transport()
        task = asyncio.create_task(http.send(probe(server)))
        await eventually(lambda: server.count() == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: [peer.end for peer in server.peers] == ["reset"])
        await http.close()


async def test_a_call_cancelled_when_its_answer_is_whole_leaves_the_connection_to_others() -> None:
    """The connection may have gone to another call by then: a reset would lose that one's answer."""
    half, go, whole = threading.Event(), threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        while True:
            peer.request()
            peer.send(OK[:-1])
            half.set()
            assert_set(go)
            peer.send(OK[-1:])
            whole.set()

    with serving(script) as server:
        http = transport(keepalive=PATIENCE)
        task = asyncio.create_task(http.send(probe(server, fresh=False)))
        await eventually(half.is_set)
        for _ in range(20):  # turns of the loop: it reads the half that is there
            await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0, task.cancel)  # asyncio's loop serves timers after sockets
        go.set()
        hold_the_loop(whole.is_set)
        with pytest.raises(asyncio.CancelledError):
            await task
        after = await http.send(probe(server, fresh=False))
        await http.close()
    assert isinstance(after, Answer)
    assert [(peer.received.count(PROBE), peer.end) for peer in server.peers] == [(2, "fin")]


@both_loops
async def test_bursts_of_cancelled_calls_do_not_wedge_the_places() -> None:
    with serving(answers_all) as server:
        http = transport(limit=10)
        for burst in range(300):
            tasks = [asyncio.create_task(http.send(probe(server, fresh=i % 2 == 0))) for i in range(10)]
            for _ in range(burst % 12):  # cancelled at a different point each time
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        after = await asyncio.gather(*(http.send(probe(server, fresh=i % 2 == 0)) for i in range(20)))
        await http.close()
    assert all(isinstance(outcome, Answer) for outcome in after)
    assert {peer.end for peer in server.peers} <= {"fin", "reset"}


@both_loops
async def test_closing_loses_the_calls_under_way_and_refuses_later_ones() -> None:
    with serving(says_nothing) as server:
        http = transport()
        task = asyncio.create_task(http.send(probe(server)))
        await eventually(lambda: server.count() == 1)
        await http.close()
        under_way, later = await task, await http.send(probe(server))
    assert isinstance(under_way, Lost)
    assert under_way.sent
    assert isinstance(later, Lost)
    assert (later.why, later.sent) == ("transport_closed", False)


# TLS


class Certificates:
    """A server's own certificate, signed by nobody else."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False
        )
        certificate = builder.sign(key, hashes.SHA256())
        self.file, self.key_file = folder / "cert.pem", folder / "key.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    def server(self, *, ask: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key_file)
        if ask:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.file)
        return context

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.file))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def by_name(request: Request) -> Request:
    return to(request.url.replace("127.0.0.1", "localhost"), headers=request.headers, fresh=request.fresh)


@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "reused"])
@both_loops
async def test_a_trusted_server_answers_over_tls(certificates: Certificates, fresh: bool) -> None:
    with serving(answers_all, certificates.server()) as server:
        http = transport(verify=certificates.client())
        outcomes = [await http.send(by_name(probe(server, fresh=fresh))) for _ in range(3)]
        await http.close()
    assert [type(outcome) for outcome in outcomes] == [Answer] * 3
    assert len(server.peers) == (3 if fresh else 1)
    assert server.count() == 3


@both_loops
async def test_a_server_with_an_unknown_certificate_gets_nothing(certificates: Certificates) -> None:
    with serving(answers_all, certificates.server()) as server:
        stranger, other_name = transport(verify=None), transport(verify=certificates.client())
        outcomes = await stranger.send(by_name(probe(server))), await other_name.send(probe(server))
        await stranger.close()
        await other_name.close()
    for outcome in outcomes:
        assert isinstance(outcome, Lost)
        assert (outcome.phase, outcome.why, outcome.sent) == (Phase.CONNECTING, "tls", False)
    assert server.count() == 0


@both_loops
async def test_a_handshake_that_stalls_meets_the_deadline(certificates: Certificates) -> None:
    with serving(lambda peer: peer.await_end()) as server:
        http = transport(verify=certificates.client(), timeout=SHORT)
        outcome = await http.send(to(f"https://localhost:{server.port}/"))
        await http.close()
    assert isinstance(outcome, Lost)
    assert (outcome.phase, outcome.why, outcome.sent) == (Phase.CONNECTING, "timeout", False)


@both_loops
async def test_a_refusal_by_tls_after_the_request_had_gone_counts_as_sent(certificates: Certificates) -> None:
    """TLS 1.3: the client is done with its handshake, and writes, before the server has judged it."""
    wrote = threading.Event()
    context = certificates.server(ask=True)

    def script(peer: Peer) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        peer.more()
        incoming.write(peer.received)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        peer.send(outgoing.read())
        assert wrote.wait(PATIENCE)
        have = len(peer.received)
        while True:
            peer.more()
            incoming.write(peer.received[have:])
            have = len(peer.received)
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                peer.send(outgoing.read())
                return

    class Tells(Notes):
        def wrote(self) -> None:
            wrote.set()

    with serving(script) as server:
        http = transport(verify=certificates.client())
        outcome = await http.send(to(f"https://localhost:{server.port}/"), Tells())
        await http.close()
    assert isinstance(outcome, Lost)
    assert outcome.sent
    assert outcome.why in ("tls", "reset", "closed")


@both_loops
async def test_a_lost_answer_over_tls_is_reset_too(certificates: Certificates) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.await_reset()

    with serving(script, certificates.server()) as server:
        http = transport(verify=certificates.client(), timeout=1.0)
        assert isinstance(await http.send(by_name(probe(server))), Lost)
        await eventually(lambda: [peer.end for peer in server.peers] == ["reset"])
        await http.close()


# Any place to stop, any beginning of an answer


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    loop_name=st.sampled_from(sorted(LOOPS)),
    fresh=st.booleans(),
    method=st.sampled_from(["POST", "PUT", "DELETE", "GET"]),
    reads=st.integers(0, 400),
    says=st.integers(0, len(OK) + 5),
    reset=st.booleans(),
)
def test_wherever_the_server_stops_the_phase_is_true(
    loop_name: str, fresh: bool, method: str, reads: int, says: int, reset: bool
) -> None:
    def script(peer: Peer) -> None:
        while len(peer.received) < reads:
            peer.more()
        peer.send((OK + b"extra")[:says])
        peer.reset() if reset else peer.close()

    async def run() -> Answer | Lost:
        http = transport(timeout=SHORT)  # a request shorter than `reads` waits for it
        try:
            return await http.send(probe(server, method, fresh=fresh))
        finally:
            await http.close()

    with (
        serving(script) as server,
        asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner,
    ):
        outcome = runner.run(run())
    assert server.count() <= 1
    if isinstance(outcome, Lost):
        assert outcome.sent or not any(peer.received for peer in server.peers)
    else:
        assert outcome.body == b"ok"
        assert says >= len(OK)


async def eventually(fact: object) -> None:
    deadline = time.monotonic() + PATIENCE
    while not fact():  # type: ignore[operator]  # a callable without arguments
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
