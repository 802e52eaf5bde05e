"""A server of plain sockets and threads that counts every byte it gets; a way to run a test on both loops.

Threads, so that the server is the same whichever loop is under test.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop

from worker.platforms.transport import Request, Transport

PATIENCE = 30.0  # seconds: how long either side waits for what should come at once
PROBE = b"x-probe"  # stands once in each request whose sendings are counted
WARM = b"x-warm"  # in one that only opens a connection to be used again
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test once on asyncio's loop and once on uvloop's."""

    @functools.wraps(test)
    def on_a_loop(loop_name: str, **arguments: Any) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
            runner.run(test(**arguments))

    del on_a_loop.__wrapped__  # pytest would see a coroutine function
    named = inspect.signature(test).parameters.values()
    loop = inspect.Parameter("loop_name", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    on_a_loop.__signature__ = inspect.Signature([loop, *named])  # type: ignore[attr-defined]  # for fixtures
    each_loop: Callable[..., Callable[..., None]] = pytest.mark.parametrize("loop_name", sorted(LOOPS))
    return each_loop(on_a_loop)


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.port: int = sock.getpeername()[1]
        self.received = b""
        self.taken = 0  # bytes of `received` already seen as requests
        self.end: str | None = None  # how the client ended it: "fin" or "reset"

    def head(self) -> bytes:
        """The head of the next request; EOFError if none comes."""
        while (at := self.received.find(b"\r\n\r\n", self.taken)) < 0:
            self.more()
        head = self.received[self.taken : at + 4]
        self.taken = at + 4
        return head

    def request(self) -> bytes:
        """The next request, whole."""
        head = self.head()
        sizes = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        end = self.taken + (int(sizes[0]) if sizes else 0)
        while len(self.received) < end:
            self.more()
        body = self.received[self.taken : end]
        self.taken = end
        return head + body

    def more(self) -> None:
        if self.end is not None:
            raise EOFError
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            self.end = "reset"
            raise EOFError from None
        if not data:
            self.end = "fin"
            raise EOFError
        self.received += data

    def await_end(self) -> None:
        """Take all that still comes."""
        with contextlib.suppress(EOFError):
            while True:
                self.more()

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except ConnectionError:  # told once: a later recv() would take it for a polite end
            self.end = "reset"
            raise

    def await_reset(self) -> None:
        """Until the kernel has seen a reset, whatever TLS said before it."""
        poll = select.poll()
        poll.register(self.sock.fileno(), 0)  # errors are always told
        if poll.poll(PATIENCE * 1000)[0][1] & select.POLLERR:
            self.end = "reset"

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Server:
    """Runs `script` for each connection; it may return early, the rest is taken and counted."""

    def __init__(self, script: Callable[[Peer], None], tls: ssl.SSLContext | None = None) -> None:
        self.script, self.tls = script, tls
        self.peers: list[Peer] = []
        self.stopping = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self.listener.getsockname()[1]
        self.threads: list[threading.Thread] = []
        self.acceptor = threading.Thread(target=self.accept, daemon=True)
        self.acceptor.start()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def accept(self) -> None:
        self.listener.settimeout(0.01)
        while True:
            stopping = self.stopping.is_set()
            try:
                sock, _ = self.listener.accept()
            except TimeoutError:
                if stopping:  # and nothing was left to accept
                    return
                continue
            thread = threading.Thread(target=self.serve, args=(sock,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def serve(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        with contextlib.suppress(OSError, EOFError):
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
            peer = Peer(sock)
            self.peers.append(peer)
            with contextlib.suppress(OSError, EOFError):
                self.script(peer)
            peer.await_end()
        sock.close()

    def stop(self) -> None:
        """After the client has closed: take all that it had sent, on every connection it had opened."""
        self.stopping.set()
        self.acceptor.join(PATIENCE)
        for thread in self.threads:
            thread.join(PATIENCE)
        self.listener.close()
        assert not any(thread.is_alive() for thread in self.threads)

    def count(self, mark: bytes = PROBE) -> int:
        """How many requests with this mark have arrived, on all connections together."""
        return sum(peer.received.count(mark) for peer in self.peers)

    def probe_bytes(self) -> int:
        """Bytes that arrived and do not belong to the warming."""
        return sum(len(peer.received) - peer_warm(peer) for peer in self.peers)


def peer_warm(peer: Peer) -> int:
    at = peer.received.find(PROBE)
    if at < 0:
        at = len(peer.received)
    start = peer.received.rfind(b"\r\n\r\n", 0, at)
    return start + 4 if WARM in peer.received[:at] and start >= 0 else 0


@contextlib.contextmanager
def serving(script: Callable[[Peer], None], tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A running server; at the end it has counted all that came."""
    server = Server(script, tls)
    try:
        yield server
    finally:
        server.stop()


def transport(**settings: Any) -> Transport:
    """One that trusts no certificate, for reading the system's takes long; `verify=None` does that."""
    usual: dict[str, Any] = {
        "timeout": 10.0,
        "keepalive": 5.0,
        "limit": 10,
        "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    }
    return Transport(**(usual | settings))


def probe(server: Server, method: str = "POST", *, fresh: bool = True, body: bytes | None = None) -> Request:
    if body is None and method in ("POST", "PUT"):
        body = b"<order/>" * 20
    return Request(method, f"{server.url}/Service", {PROBE.decode(): "1"}, body, fresh)


def warm(server: Server) -> Request:
    return Request("POST", f"{server.url}/Service", {WARM.decode(): "1"}, b"warm", False)


def hold_the_loop(until: Callable[[], bool]) -> None:
    """Block the thread, the loop with it: what arrives meanwhile stays in the kernel."""
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def unused_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def unanswered_port() -> Iterator[int]:
    """A port whose queue of connections is full: further ones are left without an answer."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])
