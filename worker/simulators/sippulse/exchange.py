"""One request on its way through the simulator, and what a fault does to its connection."""

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable

from aiohttp import web

from .faults import Fault
from .freezer import Freezer
from .operations import apply
from .platform import Platform
from .soap import Answer, Call, declared_fault, undeclared_fault

_LOOK_EVERY = 0.05  # seconds between two looks whether a client has gone
_HTML = (
    b"<!DOCTYPE html><html><head><title>Error 500</title></head><body><h1>HTTP Status 500</h1></body></html>"
)


class Exchange:
    """A call, its connection, and the platform it is meant for."""

    def __init__(self, request: web.Request, call: Call, platform: Platform, freezer: Freezer) -> None:
        self.call = call
        self._request = request
        self._platform = platform
        self.freezer = freezer

    async def apply(self, via: str = "") -> Answer:
        """Run the call; while the platform is frozen, in its turn after the thaw."""
        held = self.freezer.hold(self.call.name, lambda: apply(self._platform, self.call, via))
        return apply(self._platform, self.call, via) if held is None else await held

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
            self._platform.ledger.operations[self.call.operation].answered += 1
        return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)

    def refuse(self, answer: Answer, headers: dict[str, str] | None = None) -> web.Response:
        """An answer that a fault made."""
        return web.Response(
            status=answer.status, body=answer.body, content_type=answer.content_type, headers=headers
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

    def wording(self, text: str) -> str:
        return self._platform.wording(self.call, text, {})


def _linger_not(transport: asyncio.Transport) -> None:
    found = transport.get_extra_info("socket")
    if found is None:
        return
    # A duplicate, because uvloop's sockets refuse setsockopt; the option belongs to what both share.
    with socket.socket(fileno=os.dup(found.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Behaviour = Callable[[Exchange, Fault, "Dice"], Awaitable[web.Response]]
Dice = Callable[[tuple[str, ...]], str]

BEHAVIOURS: dict[str, Behaviour] = {}


def _behaviour(function: Behaviour) -> Behaviour:
    BEHAVIOURS[getattr(function, "__name__", "")] = function
    return function


async def _apply_if(exchange: Exchange, fault: Fault) -> Answer | None:
    return await exchange.apply(via=fault.kind) if fault.applies else None


@_behaviour
async def delay(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    await asyncio.sleep(fault.seconds)
    answer = await _apply_if(exchange, fault)
    return exchange.respond(answer) if answer else exchange.end("close")


@_behaviour
async def declared(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    await _apply_if(exchange, fault)
    return exchange.refuse(declared_fault(exchange.wording(fault.rule.text)))


@_behaviour
async def undeclared(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    await _apply_if(exchange, fault)
    return exchange.refuse(undeclared_fault(exchange.wording(fault.rule.text)))


@_behaviour
async def busy(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    await _apply_if(exchange, fault)
    answer = Answer(503, b"Service Unavailable", "text/plain")
    return exchange.refuse(answer, {"Retry-After": str(fault.rule.retry_after)})


@_behaviour
async def html500(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    await _apply_if(exchange, fault)
    return exchange.refuse(Answer(500, _HTML, "text/html"))


async def _drop(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    await _apply_if(exchange, fault)
    how = fault.rule.how
    return exchange.end(dice(("close", "reset")) if how == "either" else how)


BEHAVIOURS["drop_before"] = BEHAVIOURS["drop_after"] = _drop


@_behaviour
async def late(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    """The change lands when nobody listens any more. This task is its own: it outlives the connection."""
    if fault.rule.connection == "drop":
        exchange.end("close")
    if fault.rule.since == "hangup":
        await exchange.until_gone()
    await asyncio.sleep(fault.seconds)
    await _apply_if(exchange, fault)
    await exchange.until_gone()
    return exchange.end("close")


@_behaviour
async def freeze(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    pattern = "*" if fault.rule.scope == "platform" else exchange.call.name
    exchange.freezer.freeze(pattern, fault.seconds)
    return exchange.respond(await exchange.apply(via=fault.kind))


@_behaviour
async def drip(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    answer = await _apply_if(exchange, fault) or undeclared_fault(fault.rule.text)
    data = _http(answer, len(answer.body))
    pause = fault.seconds / len(data)
    for byte in data:
        if exchange.gone:
            break
        exchange.send_raw(bytes([byte]))
        await asyncio.sleep(pause)
    return exchange.finish_raw()


@_behaviour
async def garbage(exchange: Exchange, fault: Fault, dice: Dice) -> web.Response:
    answer = await _apply_if(exchange, fault) or undeclared_fault(fault.rule.text)
    variant = fault.rule.variant
    match dice(("not_http", "not_xml", "truncated")) if variant == "any" else variant:
        case "not_http":
            exchange.send_raw(b"\x00\x15\x03\x01 this is no HTTP \xff\xfe\r\n\r\n")
        case "not_xml":
            noise = Answer(200, b"<S:Envelope <<< %PDF-1.4 \x00\xff not xml")
            exchange.send_raw(_http(noise, len(noise.body)))
        case _:
            exchange.send_raw(_http(answer, len(answer.body))[: -len(answer.body) // 2])
    return exchange.finish_raw()


def _http(answer: Answer, length: int) -> bytes:
    reason = "OK" if answer.status == 200 else "Internal Server Error"
    head = f"HTTP/1.1 {answer.status} {reason}\r\nContent-Type: {answer.content_type};charset=utf-8\r\n"
    return f"{head}Content-Length: {length}\r\nConnection: close\r\n\r\n".encode() + answer.body
