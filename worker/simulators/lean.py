"""A platform that answers any SOAP POST with canned bytes: what is left to measure is the worker.

`python -m worker.simulators.lean --port 8082`. It reads no more than HTTP/1.1 framing (Content-Length,
keep-alive) and the operation's name, keeps no state, and costs some 20 microseconds of CPU a request.
"""

import argparse
import asyncio
import contextlib
import re
import signal
from collections.abc import Mapping
from typing import cast

NAMESPACE = "http://service.ws.sippulse.voffice.com.br/"
BALANCE = "100.0"

# What stands inside <operationResponse>; empty for every operation that is not named.
CANNED: Mapping[str, str] = {
    "retrieveCredit": f"<return>{BALANCE}</return>",
    "listDomains": "<domain><domain>lean.example</domain><name>lean.example</name></domain>",
    "insertSubscriber": "<subscriberId>1</subscriberId>",
}

_MAX = 4 * 1024 * 1024  # bytes buffered for one connection
_LENGTH = re.compile(rb"\r\nContent-Length:[ \t]*(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nConnection:[ \t]*close", re.IGNORECASE)
_OPERATION = re.compile(rb"<(?:[\w.-]+:)?Body\b[^>]*>\s*<(?:[\w.-]+:)?([\w.-]+)")
_CLOSING = b"\r\nConnection: close\r\n\r\n"
_CANNOT_READ = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


class LeanAnswerer:
    """A running one. `requests` counts the answers given since the start."""

    def __init__(self) -> None:
        self.requests = 0
        self.url = ""
        self._answers: dict[bytes, bytes] = {}
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Transport] = set()

    async def start(self, port: int, host: str) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self, self._connections), host, port, backlog=1024
        )
        self.url = f"http://{host}:{self._server.sockets[0].getsockname()[1]}/SipPulse"

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for transport in list(self._connections):
            transport.abort()
        await self._server.wait_closed()

    def answer(self, request: bytes) -> bytes:
        """The whole HTTP answer to a request's body."""
        self.requests += 1
        found = _OPERATION.search(request)
        if found is None:
            return _CANNOT_READ
        name = found[1]
        if name not in self._answers:
            self._answers[name] = _canned(name.decode())
        return self._answers[name]


class _Connection(asyncio.Protocol):
    def __init__(self, answerer: LeanAnswerer, connections: set[asyncio.Transport]) -> None:
        self._answerer = answerer
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._connections.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._one():
            pass

    def _one(self) -> bool:
        """Answer the next whole request in the buffer; False when there is none."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return self._refuse() if len(self._buffer) > _MAX else False
        head = self._buffer[:end]
        length = _LENGTH.search(head)
        if length is None or int(length[1]) > _MAX:
            return self._refuse()
        start, stop = end + 4, end + 4 + int(length[1])
        if len(self._buffer) < stop:
            return False
        body, self._buffer = self._buffer[start:stop], self._buffer[stop:]
        answer = self._answerer.answer(body)
        return self._write(answer, close=answer is _CANNOT_READ or _CLOSE.search(head) is not None)

    def _refuse(self) -> bool:
        """No Content-Length (a GET, a chunked body), or too much of it."""
        return self._write(_CANNOT_READ, close=True)

    def _write(self, answer: bytes, close: bool) -> bool:
        if self._transport is None or self._transport.is_closing():
            return False
        # Said as well as done: a client's pool would hand out a connection that is about to end.
        self._transport.write(answer.replace(b"\r\n\r\n", _CLOSING, 1) if close else answer)
        if close:
            self._transport.close()
            return False
        return True


def _canned(operation: str) -> bytes:
    wrapper = f"{operation}Response"
    body = (
        "<?xml version='1.0' encoding='UTF-8'?>"
        '<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>'
        f'<ns2:{wrapper} xmlns:ns2="{NAMESPACE}">{CANNED.get(operation, "")}</ns2:{wrapper}>'
        "</S:Body></S:Envelope>"
    ).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/xml;charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def serve(port: int, host: str = "127.0.0.1") -> LeanAnswerer:
    """Start one; port 0 takes a free one. Give it back with `await answerer.close()`."""
    answerer = LeanAnswerer()
    await answerer.start(port, host)
    return answerer


def run(port: int, host: str = "127.0.0.1") -> None:
    """Serve until SIGTERM or SIGINT; says `listening on URL` when ready."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(_run(port, host))
    else:
        uvloop.run(_run(port, host))


async def _run(port: int, host: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    answerer = await serve(port, host)
    print(f"listening on {answerer.url}", flush=True)
    try:
        await stop.wait()
    finally:
        await answerer.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m worker.simulators.lean", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    given = parser.parse_args()
    run(given.port, given.host)


if __name__ == "__main__":
    main()
