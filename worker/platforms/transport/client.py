"""The transport: `send()` gives an Answer or a Lost, and raises nothing for what the network does."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import logging
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Mapping
from typing import cast

import aiohttp
import httpx
import structlog
from aiohttp.http_exceptions import HttpProcessingError
from httpx_aiohttp import AiohttpTransport

from worker.platforms.port import Guard
from worker.platforms.transport.values import NO_GUARD, Answer, Lost, Phase, Request
from worker.platforms.transport.wire import CALL, Call, NotWritten, Stale, check_aiohttp, open_pool

log = structlog.get_logger(__name__)

MAX_ANSWER = 4 * 1024 * 1024  # bytes
OURS = frozenset({"connection", "content-length", "expect", "host", "transfer-encoding"})
TALKATIVE = (
    "httpx",
    "httpcore",
    "aiohttp.client",
    "aiohttp.internal",
)  # they log whole URLs, which hold tokens

# The first class here that an error, or anything that caused it, belongs to gives the word. A word explains;
# it never decides: that is for the phase alone.
WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "dns"),
    (aiohttp.ClientConnectorDNSError, "dns"),
    (ssl.SSLError, "tls"),
    (ssl.CertificateError, "tls"),
    (ConnectionRefusedError, "refused"),
    (aiohttp.ServerDisconnectedError, "closed"),
    (aiohttp.ClientPayloadError, "cut"),
    (HttpProcessingError, "garbage"),
    (aiohttp.ClientResponseError, "garbage"),
    (aiohttp.ClientConnectorError, "unreachable"),
    (aiohttp.ClientOSError, "reset"),
    (ConnectionError, "reset"),
    (TimeoutError, "timeout"),
    (OSError, "unreachable"),
    (aiohttp.ClientConnectionError, "closed"),
    (aiohttp.InvalidURL, "invalid_request"),
    (httpx.InvalidURL, "invalid_request"),
    (httpx.UnsupportedProtocol, "invalid_request"),
    (ValueError, "invalid_request"),
)


class Unusable(Exception):
    """An answer that began and will not be taken. Its text is a word that is safe to log."""


class Transport:
    """HTTP/1.1 to one platform, for one event loop.

    timeout    seconds for the whole call: waiting for a place, DNS, connecting, TLS, writing, reading
    keepalive  seconds a connection may rest and be used again (by requests that are not `fresh`); 0: never
    limit      calls at once; the others wait for a place, in order
    max_answer bytes of an answer's body, above which it is given up (`too_large`)
    verify     the TLS settings; None: the system's certificates, host name checked
    auth       user and password for HTTP Basic, unless a request brings an Authorization of its own
    trust_env  take proxies (and logins from ~/.netrc) from the environment

    Redirects are answers like any other. Cookies are forgotten. Content-Encoding is refused.
    """

    def __init__(
        self,
        *,
        timeout: float,
        keepalive: float,
        limit: int,
        max_answer: int = MAX_ANSWER,
        verify: ssl.SSLContext | None = None,
        auth: tuple[str, str] | None = None,
        trust_env: bool = False,
    ) -> None:
        check_aiohttp()
        self._timeout, self._keepalive, self._max_answer = timeout, keepalive, max_answer
        self._context = verify or ssl.create_default_context()
        self._trust_env = trust_env
        self._places = asyncio.Semaphore(limit)
        self._pools: dict[bool, AiohttpTransport] = {}
        self._closed = False
        self._defaults = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "provisioning-worker"}
        if auth is not None:
            self._defaults["Authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()
        # Building them is a good part of what a call costs, and they are the same for most calls.
        self._head = functools.lru_cache(maxsize=16)(self._headers)
        for name in TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)

    async def send(self, request: Request, guard: Guard = NO_GUARD) -> Answer | Lost:
        """Send once, at most. A cancellation passes through: whether the request arrived is then unknown.

        `guard.before_first_byte` is called with the connection open and no await before the first byte; if it
        raises LeaseLost nothing is written: Lost(CONNECTED, "lease_lost"). `guard.wrote` follows that byte.
        Raises ValueError for a header that only the transport may set.
        """
        headers = self._head(tuple(request.headers.items()))
        call, began = Call(guard), time.monotonic()
        try:
            async with asyncio.timeout(self._timeout), self._places:
                status, answered, body = await self._exchange(call, request, headers)
        except Exception as error:
            return Lost(call.phase, word_of(error), began, time.monotonic())
        return Answer(status, answered, body, began, time.monotonic())

    async def close(self) -> None:
        """End all connections; calls under way are lost, later ones refused (`transport_closed`)."""
        self._closed = True
        pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            await pool.aclose()

    def _headers(self, own: tuple[tuple[str, str], ...]) -> httpx.Headers:
        names = {name.lower() for name, _ in own}
        if wrong := OURS & names:
            raise ValueError(
                f"the transport itself sets {', '.join(sorted(wrong))}: leave it out of the headers"
            )
        return httpx.Headers({k: v for k, v in self._defaults.items() if k.lower() not in names} | dict(own))

    async def _exchange(
        self, call: Call, request: Request, headers: httpx.Headers
    ) -> tuple[int, Mapping[str, str], bytes]:
        if not request.fresh and self._keepalive > 0:
            with contextlib.suppress(Stale):  # nothing was written: a new connection may have it
                return await self._over(call, request, headers, fresh=False)
        return await self._over(call, request, headers, fresh=True)

    async def _over(
        self, call: Call, request: Request, headers: httpx.Headers, *, fresh: bool
    ) -> tuple[int, Mapping[str, str], bytes]:
        pool = self._pool(fresh)
        call.phase = Phase.CONNECTING
        token = CALL.set(call)
        try:
            asked = httpx.Request(request.method, parsed(request.url), content=request.body)
            asked.headers = headers  # aiohttp itself adds Host and Content-Length
            answer = await pool.handle_async_request(asked)
            assert call.response is not None
            body = await self._body(call, answer, call.response.headers)
            return answer.status_code, call.response.headers, body
        except Stale:
            raise
        except BaseException:
            call.abandon()
            raise
        finally:
            CALL.reset(token)
            call.forget()

    async def _body(self, call: Call, answer: httpx.Response, headers: Mapping[str, str]) -> bytes:
        check_head(answer.status_code, headers, self._max_answer)
        parts, size = [], 0
        stream = cast(AsyncGenerator[bytes, None], aiter(cast(httpx.AsyncByteStream, answer.stream)))
        async with contextlib.aclosing(stream):
            async for part in stream:
                parts.append(part)
                size += len(part)
                if size > self._max_answer:
                    raise Unusable("too_large")
        if unframed(headers) and was_reset(call):
            raise Unusable("cut")
        return b"".join(parts)

    def _pool(self, fresh: bool) -> AiohttpTransport:
        if self._closed:
            raise NotWritten("transport_closed")
        pool = self._pools.get(fresh)
        if pool is None:  # not before the loop runs
            pool = open_pool(self._context, keepalive=self._keepalive, fresh=fresh, trust_env=self._trust_env)
            self._pools[fresh] = pool
        return pool


@functools.lru_cache(maxsize=64)
def parsed(url: str) -> httpx.URL:
    """Parsing is a good part of what a call costs; most platforms have a handful of URLs."""
    return httpx.URL(url)


def check_head(status: int, headers: Mapping[str, str], most: int) -> None:
    """Refuse, by raising Unusable, what need not or must not be read."""
    if status < 200:
        raise Unusable("garbage")  # a switch of protocols that nobody asked for
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Unusable("encoded")  # a few bytes could unfold into gigabytes
    length = headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > most:
        raise Unusable("too_large")


def unframed(headers: Mapping[str, str]) -> bool:
    """True if only the end of the connection tells where the answer ends."""
    return "Content-Length" not in headers and "Transfer-Encoding" not in headers


def was_reset(call: Call) -> bool:
    """True if the connection was broken off; aiohttp takes that for the end of an unframed answer."""
    return call.protocol is not None and isinstance(call.protocol.exception(), aiohttp.ClientOSError)


def word_of(error: BaseException) -> str:
    """The word for an error, safe to log: never its text, which may quote URLs and headers."""
    if isinstance(error, NotWritten | Unusable):
        return str(error)
    causes = chain_of(error)
    for kind, word in WORDS:
        if any(isinstance(cause, kind) for cause in causes):
            return word
    log.error("transport.unexpected", error=type(error).__name__, where=where_of(error))
    return "unexpected"


def chain_of(error: BaseException) -> list[BaseException]:
    """The error and what caused it."""
    causes = [error]
    while (cause := causes[-1].__cause__) is not None and cause not in causes:
        causes.append(cause)
    return causes


def where_of(error: BaseException) -> str:
    """File and line of the innermost frame."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
