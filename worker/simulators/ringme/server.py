"""The simulator over HTTP: the client API under /api/ver1.0, tokens at /oauth/token, the rest under /admin."""

import json
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from aiohttp import web

from worker.simulators.common import server as common

from . import admin
from .calls import Call
from .config import SimulatorConfig
from .operations import OPERATIONS, Operation
from .simulator import Simulator
from .wire import refused

MAX_BODY = 2 * 1024 * 1024  # bytes
API = "/api/ver1.0"
TOKEN = "/oauth/token"


def application(simulator: Simulator) -> web.Application:
    built = web.Application(client_max_size=MAX_BODY)
    for operation in OPERATIONS.values():
        path = operation.path if operation.path == TOKEN else API + operation.path
        built.router.add_route(operation.method, path, _handler(simulator, operation))
    admin.mount(built, simulator)
    built.router.add_route("*", "/{tail:.*}", _nowhere)
    return built


def _handler(
    simulator: Simulator, operation: Operation
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        try:
            body = _body(operation, raw)
        except ValueError:
            simulator.platform.ledger.malformed += 1
            answer = refused(400, "bad_request", "The body is no JSON", simulator.limits())
            return web.Response(
                status=400, body=answer.body, content_type=answer.content_type, headers=answer.headers
            )
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        call = Call(
            operation.name,
            operation.changes,
            dict(request.match_info),
            dict(request.query),
            body,
            token if scheme == "Bearer" else None,
        )
        return await simulator.received(request, call)

    return handle


def _body(operation: Operation, raw: bytes) -> object:
    if operation.path == TOKEN:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True))
    return json.loads(raw) if raw else None


async def _nowhere(request: web.Request) -> web.Response:
    answer = refused(404, "not_found", "No such resource")
    return web.Response(status=404, body=answer.body, content_type=answer.content_type)


async def serve(port: int, host: str = "127.0.0.1", *, config: SimulatorConfig | None = None) -> Simulator:
    """Start a simulator; port 0 takes a free one. Give it back with `await simulator.close()`."""
    simulator = Simulator(config or SimulatorConfig())
    return await common.start(
        simulator, application(simulator), port, host, keepalive=simulator.config.keepalive
    )


def run(port: int, host: str = "127.0.0.1", *, config: SimulatorConfig | None = None) -> None:
    """Serve until SIGTERM or SIGINT; says `listening on URL` when ready."""
    common.run(lambda: serve(port, host, config=config))
