"""The side of aiohttp: a gate in front of the first byte, and a reset instead of a polite close.

Written against aiohttp 3.14. A body is written by a task of its own (Python 3.11: one turn of the loop after
`send()`; from 3.12 inside it), a request without one inside `send()`. So the gate stands in both places, each
time with no await between it and the write.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import select
import socket
import ssl
import struct
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from httpx_aiohttp import AiohttpTransport

from worker.platforms.port import Guard, LeaseLost
from worker.platforms.transport.values import Phase

RESET, POLITE = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)  # struct linger: on or off, seconds


class NotWritten(Exception):
    """The gate stayed shut. Its text is a word that is safe to log."""


class Stale(NotWritten):
    """The connection had ended, or held bytes nobody had asked for, before ours were written."""

    def __init__(self) -> None:
        super().__init__("stale")


@dataclass(slots=True, eq=False)
class Call:
    """One sending: its phase, and the connection for as long as that is its own."""

    guard: Guard
    phase: Phase = Phase.WAITING
    over: bool = False
    noted: bool = False
    wire: asyncio.Transport | None = None
    protocol: ResponseHandler | None = None
    response: aiohttp.ClientResponse | None = None

    def reach(self, phase: Phase) -> None:
        self.phase = max(self.phase, phase)

    def connected(self, connection: Connection) -> None:
        if self.phase < Phase.WRITING:  # else it is a repeat, which the gate will refuse
            self.wire, self.protocol = connection.transport, connection.protocol
            self.phase = Phase.CONNECTED

    def open_gate(self, connection: Connection) -> None:
        """Raise NotWritten, or let the caller write its first byte without another await."""
        if self.over or self.phase >= Phase.WRITING:
            raise NotWritten("repeat")  # opens once: whoever wants to send again, does not
        wire, protocol = connection.transport, connection.protocol
        if wire is None or protocol is None or wire.is_closing() or protocol.should_close or unread(wire):
            raise Stale
        linger(wire, RESET)  # from here on every way to lose it, a killed process too, resets the connection
        try:
            self.guard.before_first_byte()
        except LeaseLost:
            raise NotWritten("lease_lost") from None
        self.phase = Phase.WRITING

    def first_byte(self, *_: int) -> None:
        """The first byte was handed over; later calls say nothing new."""
        if not self.noted:
            self.noted = True
            self.guard.wrote()

    def whole(self) -> None:
        """The whole answer has come: the connection goes back to the pool and is no longer ours to reset."""
        if self.wire is not None:
            linger(self.wire, POLITE)
        self.wire = None

    def abandon(self) -> None:
        """Reset the connection (unless the answer is whole) and let nothing more be written."""
        self.over = True
        if self.response is not None:
            self.response.close()
        if self.wire is not None:
            linger(self.wire, RESET)
            self.wire.abort()  # also drops what still waits in the write buffer
            self.wire = None

    def forget(self) -> None:
        """Callbacks of the connection keep the context it was opened in, and this call with it: hold little."""
        self.protocol = self.response = None


CALL: ContextVar[Call] = ContextVar("platforms.transport.call")


class GatedRequest(aiohttp.ClientRequest):
    """A request that passes the gate immediately before its first byte, and at most once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._call = CALL.get()  # this sending's own; first, for aiohttp's constructor may raise
        super().__init__(*args, **kwargs)

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        call = self._call
        call.connected(conn)
        if self._written_by_task(conn):
            return await super().send(conn)
        call.open_gate(conn)
        response = await super().send(conn)
        call.first_byte()
        call.reach(Phase.SENT)
        return response

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        call, protocol = self._call, conn.protocol
        try:
            call.open_gate(conn)
        except Exception as shut:  # this is a task of its own: the reader has to hear of it
            if protocol is not None:
                protocol.set_exception(shut)
            return
        writer.on_body_write = call.first_byte  # before it waits for a full socket to drain
        await super().write_bytes(writer, conn, content_length)
        call.first_byte()
        if protocol is not None and protocol.exception() is None:
            call.reach(Phase.SENT)

    def _written_by_task(self, conn: Connection) -> bool:
        """The condition under which ClientRequest.send() leaves the writing to `write_bytes`."""
        assert conn.protocol is not None
        return bool(self._body or self._continue is not None or conn.protocol.writing_paused)


class WatchedResponse(aiohttp.ClientResponse):
    """Tells its call when the head and when the end of the answer has come."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        call = CALL.get()
        call.response = self
        await super().start(connection)
        if call.phase < Phase.WRITING:
            raise Stale  # an answer to somebody else: on Python 3.11 it can come before the writer's turn
        call.reach(Phase.READING)
        self.content.on_eof(
            call.whole
        )  # in the turn that releases the connection, before the socket is closed
        return self


class TellingHandler(ResponseHandler):
    """Tells the reader of a body that the parser has given it up.

    aiohttp 3.14 tells only who waits for a head: a chunk's size that never ends, say, which comes after the head
    was read, would leave the body's reader waiting for the deadline, on a connection that is closed.
    """

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        payload, cause = self._payload, () if exc_cause is None else (exc_cause,)
        super().set_exception(exc, *cause)
        if isinstance(exc, HttpProcessingError) and payload is not None and not told(payload):
            payload.set_exception(exc, *cause)


def told(payload: aiohttp.StreamReader) -> bool:
    """It has failed already, or is whole: what comes behind a whole answer is not its fault."""
    return payload.is_eof() or payload.exception() is not None


def open_pool(context: ssl.SSLContext, *, keepalive: float, fresh: bool, trust_env: bool) -> AiohttpTransport:
    """httpx's transport over a session of ours; one request a connection if `fresh`.

    The number of connections is bounded by the caller's places: aiohttp's own queue for them is not used.
    """
    if fresh:  # aiohttp says "Connection: close" itself
        connector = aiohttp.TCPConnector(ssl=context, limit=0, force_close=True)
    else:
        connector = aiohttp.TCPConnector(ssl=context, limit=0, keepalive_timeout=keepalive)
    handler: Callable[..., ResponseHandler] = TellingHandler
    connector._factory = functools.partial(handler, loop=asyncio.get_running_loop())
    session = aiohttp.ClientSession(
        connector=connector,
        request_class=GatedRequest,
        response_class=WatchedResponse,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=trust_env,
        timeout=aiohttp.ClientTimeout(),  # none of its own: the deadline is ours
    )
    session._retry_connection = False
    return AiohttpTransport(client=session, verify=context)


def check_aiohttp() -> None:
    """Raise RuntimeError where the silent second sending of idempotent methods cannot be switched off."""
    if "_retry_connection" not in aiohttp.ClientSession.ATTRS:
        raise RuntimeError(
            f"aiohttp {aiohttp.__version__} has no ClientSession._retry_connection, and repeats requests by"
            " itself. Install the version of the lock file."
        )


def linger(wire: asyncio.BaseTransport, how: bytes) -> None:
    """Choose what closing the socket says: RESET (RST, unsent bytes dropped) or POLITE (FIN)."""
    peer = wire.get_extra_info("socket")
    if peer is not None:
        with contextlib.suppress(OSError, ValueError):  # already closed; ValueError is uvloop's word for it
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, how)


def unread(wire: asyncio.BaseTransport) -> bool:
    """True if the kernel holds bytes, an end or a reset which the loop has not read yet.

    Whatever came before our first byte is not the answer to it. Not asked under TLS, where the peer may send
    session tickets at any time.
    """
    peer = wire.get_extra_info("socket")
    if peer is None or wire.get_extra_info("ssl_object") is not None:
        return False
    poll = select.poll()
    poll.register(peer.fileno(), select.POLLIN)  # POLLHUP and POLLERR are always told
    return bool(poll.poll(0))
