"""uvicorn in the worker's own event loop: a loop that hangs does not answer, and is seen."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn

from worker.console.app import build
from worker.console.health import Readiness
from worker.console.metrics import Metrics
from worker.console.office import Office

log = structlog.get_logger(__name__)

CLOSING = 2.0  # seconds that a page under way gets


class PortTaken(Exception):
    """The sentence says which address, and what to set."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the worker's: it stops in its own order."""
        yield


class Console:
    """`office`: what the pages need; without it health and metrics only."""

    def __init__(
        self, host: str, port: int, readiness: Readiness, metrics: Metrics, office: Office | None = None
    ) -> None:
        self.office = office
        self.readiness = readiness
        self.metrics = metrics
        self.url = ""
        self._host, self._port = host, port
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises PortTaken where the address cannot be had."""
        opened = _socket(self._host, self._port)
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"http://{host}:{opened.getsockname()[1]}"
        config = uvicorn.Config(
            build(self.readiness, self.metrics, self.office),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=int(CLOSING),
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[opened]), name="console")
        log.info("console.listening", url=self.url)
        if self.office is not None:
            self.office.address = self.office.address or self.url
            self.office.runner.start()
            if self.office.batches is not None:
                self.office.batches.start()

    async def stop(self) -> None:
        if self._server is None or self._serving is None:
            return
        if self.office is not None:
            self.office.closing.set()
            await self.office.runner.stop()
            if self.office.batches is not None:
                await self.office.batches.stop()
        self._server.should_exit = True
        await asyncio.wait({self._serving}, timeout=2 * CLOSING)
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)
        if self.office is not None:
            await self.office.journal.close()


def _socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        opened = socket.create_server((host, port), family=family, backlog=128)
        # Those that are accepted have it too. asyncio sets it only where the protocol was named: without it a page
        # that leaves in two writes waits 40 ms for the acknowledgement of the first.
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened
    except OSError as error:
        raise PortTaken(
            f"the console cannot listen on {host}:{port} ({error.strerror}): set console.host and"
            " console.port, 0 for any free port"
        ) from None
