"""A simulator over HTTP, for a test or for a person."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiohttp import web

from .simulator import BaseSimulator

S = TypeVar("S", bound=BaseSimulator)


async def start(
    simulator: S, application: web.Application, port: int, host: str, *, keepalive: float = 75.0
) -> S:
    """Serve it; port 0 takes a free one, idle connections stay open for `keepalive` seconds."""
    runner = web.AppRunner(application, access_log=None, keepalive_timeout=keepalive, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=1024).start()
    shown = f"[{host}]" if ":" in host else host
    simulator.started(runner, f"http://{shown}:{runner.addresses[0][1]}")
    return simulator


def run(serve: Callable[[], Awaitable[BaseSimulator]]) -> None:
    """Serve until SIGTERM or SIGINT; says `listening on URL` when ready."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(_run(serve))
    else:
        uvloop.run(_run(serve))


async def _run(serve: Callable[[], Awaitable[BaseSimulator]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    simulator = await serve()
    print(f"listening on {simulator.url} (admin: {simulator.admin_url})", flush=True)
    try:
        await stop.wait()
    finally:
        await simulator.close()
