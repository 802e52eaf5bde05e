"""What the transport says of itself on the wire, what it keeps, and what it never shows."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.integration.transport_rig import OK, Peer, both_loops, probe, serving, transport, unused_port, warm
from worker.platforms.transport import Answer, Lost, Request

SECRET = "s3cr3t-T0ken"


def answers_all(peer: Peer) -> None:
    while True:
        peer.request()
        peer.send(OK)


def secret_request(url: str) -> Request:
    headers = {"Authorization": f"Bearer {SECRET}"}
    return Request("POST", f"{url}/api/{SECRET}?key={SECRET}", headers, f"<p>{SECRET}</p>".encode(), False)


@both_loops
async def test_the_request_is_sent_as_given() -> None:
    with serving(answers_all) as server:
        http = transport(auth=("admin", "pass word"))
        url = f"{server.url}/SipPulse/a%2Fb?x=1%202&y=a+b"
        await http.send(Request("POST", url, {"Content-Type": "text/xml", "SOAPAction": '""'}, b"<e/>", True))
        await http.close()
    head, _, body = server.peers[0].received.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in lines[1:])
    assert lines[0] == b"POST /SipPulse/a%2Fb?x=1%202&y=a+b HTTP/1.1"
    assert body == b"<e/>"
    assert headers == {
        b"host": f"127.0.0.1:{server.port}".encode(),
        b"accept": b"*/*",
        b"accept-encoding": b"identity",
        b"authorization": b"basic ywrtaw46cgfzcyb3b3jk",
        b"connection": b"close",
        b"content-length": b"4",
        b"content-type": b"text/xml",
        b"soapaction": b'""',
        b"user-agent": b"provisioning-worker",
    }


@both_loops
async def test_a_request_may_bring_its_own_authorization() -> None:
    with serving(answers_all) as server:
        http = transport(auth=("admin", "x"))
        await http.send(Request("GET", server.url, {"authorization": "Bearer y"}, None, True))
        await http.close()
    assert server.count(b"Bearer y") == 1
    assert server.count(b"Basic") == 0


@both_loops
async def test_the_answer_is_given_whole_with_its_times() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 404 No\r\nX-Error-Code: 17\r\nContent-Length: 2\r\n\r\n\xff\x00")

    with serving(script) as server:
        http = transport()
        answer = await http.send(probe(server))
        await http.close()
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body) == (404, b"\xff\x00")
    assert answer.headers["x-error-code"] == answer.headers["X-Error-Code"] == "17"
    assert 0 < answer.ended - answer.began < 30


@both_loops
async def test_cookies_are_not_kept() -> None:
    def script(peer: Peer) -> None:
        while True:
            peer.request()
            peer.send(b"HTTP/1.1 200 OK\r\nSet-Cookie: JSESSIONID=1; Path=/\r\nContent-Length: 2\r\n\r\nok")

    with serving(script) as server:
        http = transport()
        await http.send(warm(server))
        await http.send(warm(server))
        await http.close()
    assert b"cookie" not in server.peers[0].received.lower()


@both_loops
async def test_proxies_of_the_environment_are_taken_only_if_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(answers_all) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port()}")
        straight = transport()
        assert isinstance(await straight.send(probe(server)), Answer)
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, server.url)
        through = transport(trust_env=True)
        await through.send(Request("GET", "http://platform.invalid/x", {}, None, True))
        await straight.close()
        await through.close()
    assert server.count(b"GET http://platform.invalid/x HTTP/1.1") == 1


@both_loops
async def test_no_secret_is_logged_whatever_happens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.DEBUG)

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        peer.request()
        peer.send(f"HTTP/1.1 {SECRET}\r\n\r\n".encode())

    with serving(script) as server:
        http = transport()
        outcomes = [
            await http.send(secret_request(server.url)),
            await http.send(secret_request(server.url)),
            await http.send(secret_request(f"http://127.0.0.1:{unused_port()}")),
            await http.send(secret_request("bad://")),
            await http.send(Request("POST", server.url, {"X": f"{SECRET}\n"}, None, True)),
        ]
        await http.close()
    await asyncio.sleep(0)
    assert [type(outcome) for outcome in outcomes] == [Answer, Lost, Lost, Lost, Lost]
    assert not any(logging.getLogger(name).isEnabledFor(logging.INFO) for name in ("httpx", "aiohttp.client"))
    assert SECRET not in caplog.text
    assert SECRET not in repr(outcomes)
    assert SECRET not in repr(secret_request(server.url))
    assert server.url not in caplog.text
