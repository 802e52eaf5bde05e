"""The simulator over HTTP: SOAP under /SipPulse, the admin API and page under /admin."""

import asyncio
from functools import partial

from aiohttp import web

from worker.simulators.common import server

from . import admin, soap, wsdl
from .config import SimulatorConfig
from .simulator import Simulator

MAX_BODY = 2 * 1024 * 1024  # bytes


def application(simulator: Simulator) -> web.Application:
    built = web.Application(client_max_size=MAX_BODY)
    pages = Pages(simulator)
    built.router.add_get("/SipPulse/{service}", pages.get_wsdl)
    built.router.add_post("/SipPulse/{service}", pages.post)
    admin.mount(built, simulator)
    return built


class Pages:
    """What is under /SipPulse."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator

    async def get_wsdl(self, request: web.Request) -> web.Response:
        service = request.match_info["service"]
        if service not in wsdl.SERVICES or "wsdl" not in {name.lower() for name in request.query}:
            return web.Response(status=404, text=f"we have {', '.join(wsdl.SERVICES)}, each with ?wsdl\n")
        if held := self.simulator.freezer.hold(f"{service}.?wsdl", lambda: None):
            await held
        address = f"{self.simulator.url}/{service}"
        body = await asyncio.to_thread(wsdl.text, service, address)
        return web.Response(body=body, content_type="text/xml")

    async def post(self, request: web.Request) -> web.Response:
        service = request.match_info["service"]
        schema = self.simulator.platform.schemas.get(service)
        if schema is None:
            return web.Response(status=404, text=f"we have {', '.join(wsdl.SERVICES)}\n")
        body = await request.read()
        try:
            call = soap.parse(service, schema, body)
        except soap.Malformed as error:
            self.simulator.platform.ledger.malformed += 1
            answer = soap.undeclared_fault(str(error), "S:Client")
            return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)
        return await self.simulator.received(request, call)


async def serve(port: int, host: str = "127.0.0.1", *, config: SimulatorConfig | None = None) -> Simulator:
    """Start a simulator; port 0 takes a free one. Give it back with `await simulator.close()`."""
    simulator = Simulator(config or SimulatorConfig())
    keepalive = simulator.config.keepalive
    return await server.start(simulator, application(simulator), port, host, keepalive=keepalive)


def run(port: int, host: str = "127.0.0.1", *, config: SimulatorConfig | None = None) -> None:
    """Serve until SIGTERM or SIGINT; says `listening on URL` when ready."""
    server.run(partial(serve, port, host, config=config))
