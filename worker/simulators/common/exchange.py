"""One request on its way through a simulator, and what a fault does to its connection."""

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

from aiohttp import web

from .faults import Called, Fault
from .freezer import Freezer

_LOOK_EVERY = 0.05  # seconds between two looks whether a client has gone
_HTML = (
    b"<!DOCTYPE html><html><head><title>Error 500</title></head><body><h1>HTTP Status 500</h1></body></html>"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer. `fault` is empty for a success."""

    status: int
    body: bytes
    content_type: str
    fault: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class Stand(Protocol):
    """What a simulator has to offer so that its requests can be applied, or meet a fault.

    noise: a whole body that no client of this platform can read.
    """

    freezer: Freezer
    noise: Answer

    def apply(self, call: Any, via: str) -> Answer:
        """Run the call against the state at once and build its answer."""

    def answered(self, call: Any) -> None:
        """A plain answer was handed to a client that was still there."""

    def illness(self, call: Any, text: str) -> Answer:
        """How this platform says that it is ill, without having applied anything."""

    def wording(self, call: Any, text: str) -> str:
        """A fault's text, with what the platform would fill in from the request."""


class Exchange:
    """A call, its connection, and the simulator it is meant for."""

    def __init__(self, request: web.Request, call: Called, stand: Stand) -> None:
        self.call = call
        self.stand = stand
        self._request = request

    async def apply(self, via: str = "") -> Answer:
        """Run the call; while the platform is frozen, in its turn after the thaw."""
        held = self.stand.freezer.hold(self.call.name, lambda: self.stand.apply(self.call, via))
        return self.stand.apply(self.call, via) if held is None else await held

    async def apply_if(self, fault: Fault) -> Answer | None:
        return await self.apply(via=fault.kind) if fault.applies else None

    def wording(self, text: str) -> str:
        return self.stand.wording(self.call, text)

    @property
    def gone(self) -> bool:
        transport = self._request.transport
        return transport is None or transport.is_closing()

    async def until_gone(self) -> None:
        while not self.gone:  # noqa: ASYNC110 - aiohttp tells nobody that a client hung up
            await asyncio.sleep(_LOOK_EVERY)

    def respond(self, answer: Answer) -> web.Response:
        """The plain answer. It counts as answered when the client is still there to take it."""
        if not self.gone:
            self.stand.answered(self.call)
        return self.refuse(answer)

    def refuse(self, answer: Answer, headers: Mapping[str, str] | None = None) -> web.Response:
        """An answer that a fault made."""
        sent = {**answer.headers, **(headers or {})}
        return web.Response(
            status=answer.status, body=answer.body, content_type=answer.content_type, headers=sent
        )

    def end(self, how: str) -> web.Response:
        """End the connection without an answer: `reset` sends RST, `close` a plain FIN."""
        transport = self._request.transport
        if transport is not None:
            if how == "reset":
                _linger_not(transport)
            transport.abort()
        return web.Response()  # aiohttp wants one; it finds the connection gone and drops it

    def send_raw(self, data: bytes) -> None:
        transport = self._request.transport
        if transport is not None and not transport.is_closing():
            transport.write(data)

    def finish_raw(self) -> web.Response:
        transport = self._request.transport
        if transport is not None:
            transport.close()
        return web.Response()


def _linger_not(transport: asyncio.Transport) -> None:
    found = transport.get_extra_info("socket")
    if found is None:
        return
    # A duplicate, because uvloop's sockets refuse setsockopt; the option belongs to what both share.
    with socket.socket(fileno=os.dup(found.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Dice = Callable[[tuple[str, ...]], str]
Behaviour = Callable[[Exchange, Fault, Dice], Awaitable[web.Response]]

BEHAVIOURS: dict[str, Behaviour] = {}


def _behaviour(function: Behaviour) -> Behaviour:
    BEHAVIOURS[getattr(function, "__name__", "")] = function
    return function


@_behaviour
async def delay(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    await asyncio.sleep(fault.seconds)
    answer = await exchange.apply_if(fault)
    return exchange.respond(answer) if answer else exchange.end("close")


@_behaviour
async def busy(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    await exchange.apply_if(fault)
    answer = Answer(503, b"Service Unavailable", "text/plain")
    return exchange.refuse(answer, {"Retry-After": str(fault.rule.retry_after)})


@_behaviour
async def html500(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    await exchange.apply_if(fault)
    return exchange.refuse(Answer(500, _HTML, "text/html"))


async def _drop(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    await exchange.apply_if(fault)
    how = fault.rule.how
    return exchange.end(dice(("close", "reset")) if how == "either" else how)


BEHAVIOURS["drop_before"] = BEHAVIOURS["drop_after"] = _drop


@_behaviour
async def late(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    """The change lands when nobody listens any more. This task is its own: it outlives the connection."""
    if fault.rule.connection == "drop":
        exchange.end("close")
    if fault.rule.since == "hangup":
        with suppress(TimeoutError):
            async with asyncio.timeout(fault.rule.within):
                await exchange.until_gone()
    await asyncio.sleep(fault.seconds)
    await exchange.apply_if(fault)
    await exchange.until_gone()
    return exchange.end("close")


@_behaviour
async def freeze(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    pattern = "*" if fault.rule.scope == "platform" else exchange.call.name
    exchange.stand.freezer.freeze(pattern, fault.seconds)
    return exchange.respond(await exchange.apply(via=fault.kind))


@_behaviour
async def drip(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    data = _http(await _answer(exchange, fault))
    pause = fault.seconds / len(data)
    for byte in data:
        if exchange.gone:
            break
        exchange.send_raw(bytes([byte]))
        await asyncio.sleep(pause)
    return exchange.finish_raw()


@_behaviour
async def garbage(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    answer = await _answer(exchange, fault)
    variants = fault.rule.CHOICES["variant"]
    match dice(variants[1:]) if fault.rule.variant == "any" else fault.rule.variant:
        case "not_http":
            exchange.send_raw(b"\x00\x15\x03\x01 this is no HTTP \xff\xfe\r\n\r\n")
        case "truncated":
            exchange.send_raw(_http(answer)[: -len(answer.body) // 2])
        case _:
            exchange.send_raw(_http(exchange.stand.noise))
    return exchange.finish_raw()


async def _answer(exchange: Exchange, fault: Fault) -> Answer:
    return await exchange.apply_if(fault) or exchange.stand.illness(exchange.call, fault.rule.text)


def _http(answer: Answer) -> bytes:
    reason = HTTPStatus(answer.status).phrase
    head = f"HTTP/1.1 {answer.status} {reason}\r\nContent-Type: {answer.content_type};charset=utf-8\r\n"
    more = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
    length = f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n"
    return (head + more + length).encode() + answer.body
