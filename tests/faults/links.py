"""Links between a worker and its services that can be cut, slowed, silenced and half silenced: small TCP proxies.

    async with Link("worker-1 to journal", target=5432) as link:
        connect(link.port)
        link.silence()      # bytes are taken and not handed on; new connections open, and nothing comes
        link.heal()         # what was held back arrives, as after a partition

With `hangups`, a peer that hangs up while the link is silent is noticed on the other side at once, and nothing
that was held back arrives afterwards: for a platform, whose rule is that nothing arrives long after its sender
gave it up. Without it the other side learns of it when the link heals, as from a real partition.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from worker.sandbox.ports import LOOPBACK, free_port

CHUNK = 65536
MOST_HELD = 4 * 1024 * 1024  # bytes held back in one direction before we stop reading


@dataclass(slots=True, eq=False)
class Way:
    """One direction of one connection: what was read and is not written yet."""

    source: asyncio.StreamReader
    sink: asyncio.StreamWriter
    outward: bool  # from the worker to the service
    held: deque[tuple[float, bytes]] = field(default_factory=deque)  # (when it may be written, bytes)
    size: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Link:
    """One proxy. `target`: the port of the service on the loopback interface."""

    def __init__(self, name: str, target: int, hangups: bool = False) -> None:
        self.name, self.port = name, free_port()
        self._target, self._hangups = target, hangups
        self._silent = {True: False, False: False}  # by direction: outward, inward
        self._delay = 0.0
        self._refusing = False
        self._open: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}
        self._ways: set[Way] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._open, return_exceptions=True)

    # Faults --------------------------------------------------------------------------------------

    def cut(self) -> int:
        """Reset all connections; gives how many there were."""
        for task, ends in list(self._open.items()):
            for end in ends:
                _reset(end)
            task.cancel()
        return len(self._open)

    def refuse(self) -> None:
        """Cut, and reset whoever comes, until healed."""
        self._refusing = True
        self.cut()

    def slow(self, seconds: float) -> None:
        """Every byte arrives so much later, in both directions."""
        self._delay = seconds

    def silence(self, outward: bool = True, inward: bool = True) -> None:
        """Nothing is handed on in these directions."""
        self._silent = {True: outward, False: inward}

    def heal(self) -> None:
        was_silent = any(self._silent.values())
        self._delay, self._refusing = 0.0, False
        self._silent = {True: False, False: False}
        if was_silent and self._hangups:
            self.cut()
        for way in self._ways:
            way.changed.set()

    # Connections ---------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = (writer,)
        try:
            if not self._refusing:
                await self._serve(reader, writer, task)
        except (OSError, asyncio.CancelledError):
            pass  # cut, or the service is away: to the worker it is a connection that ends
        finally:
            for end in self._open.pop(task, ()):
                _reset(end)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, task: asyncio.Task[None]
    ) -> None:
        theirs_in, theirs_out = await asyncio.open_connection(LOOPBACK, self._target)
        self._open[task] = (writer, theirs_out)
        ways = [Way(reader, theirs_out, True), Way(theirs_in, writer, False)]
        self._ways.update(ways)
        pumps = [asyncio.create_task(pump) for way in ways for pump in (self._read(way), self._write(way))]
        try:
            await asyncio.gather(*pumps)
            for end in (writer, theirs_out):  # both have ended politely: what is buffered still goes out
                end.close()
                await end.wait_closed()
        finally:
            for pump in pumps:
                pump.cancel()
            self._ways.difference_update(ways)

    async def _read(self, way: Way) -> None:
        """Take in what comes. A reset raises at once with `hangups`, else when the link is whole again."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                chunk = await way.source.read(CHUNK)
            except OSError:
                if not self._hangups:
                    await self._whole(way)
                raise
            if not chunk and self._hangups and any(self._silent.values()):
                raise ConnectionResetError("hung up while the link was silent")
            way.held.append((loop.time() + self._delay, chunk))
            way.size += len(chunk)
            way.changed.set()
            if not chunk:
                return
            while way.size > MOST_HELD:
                way.changed.clear()
                await way.changed.wait()

    async def _write(self, way: Way) -> None:
        """Hand it on when it may go; an end of the stream is handed on as one."""
        while True:
            await self._whole(way)
            if not way.held:
                way.changed.clear()
                await way.changed.wait()
                continue
            at, chunk = way.held[0]
            if (wait := at - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(wait)
                continue
            way.held.popleft()
            way.size -= len(chunk)
            way.changed.set()
            if not chunk:
                if way.sink.can_write_eof():
                    way.sink.write_eof()
                return
            way.sink.write(chunk)
            await way.sink.drain()

    async def _whole(self, way: Way) -> None:
        while self._silent[way.outward]:
            way.changed.clear()
            await way.changed.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End with RST, so that the other side does not take it for a polite end."""
    found = writer.get_extra_info("socket")
    with suppress(OSError, AttributeError, ValueError), _same(found) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _same(found: socket.socket) -> socket.socket:
    """A duplicate, because uvloop's sockets refuse setsockopt; the option belongs to what both share."""
    return socket.socket(fileno=os.dup(found.fileno()))
