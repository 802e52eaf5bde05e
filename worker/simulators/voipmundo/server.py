"""The simulator over HTTP: the API under /api, the admin API and page under /admin."""

import json
from functools import partial
from typing import Any

from aiohttp import web

from worker.simulators.common import server
from worker.simulators.common.exchange import Answer
from worker.simulators.common.rest import RestCall

from . import admin
from .config import SimulatorConfig
from .operations import OPERATIONS, refused
from .simulator import Simulator

MAX_BODY = 128 * 1024  # bytes, documented

# Resource -> HTTP method -> operation without an id in the address, and with one.
ROUTES: dict[str, dict[str, tuple[str, str]]] = {
    "manageCustomers": {
        "GET": ("manageCustomers.getOwn", "manageCustomers.get"),
        "PUT": ("manageCustomers.create", ""),
        "POST": ("", "manageCustomers.update"),
        "DELETE": ("", "manageCustomers.remove"),
    },
    "statusCustomer": {"POST": ("statusCustomer.set", "")},
    "manageDevices": {"PUT": ("", "manageDevices.create")},  # the literal 1 at the end
    "listDevices": {"GET": ("", "listDevices.list")},
    "manageDID": {"PUT": ("manageDID.create", "")},
    "cdr": {"GET": ("cdr.listAll", "cdr.list")},
    "getCustomerBalance": {"GET": ("", "getCustomerBalance.get")},
    "manageCredit": {"POST": ("manageCredit.add", ""), "GET": ("", "manageCredit.list")},
    "listCustomers": {"GET": ("listCustomers.list", "listCustomers.listOf")},
    "contacts": {"GET": ("contacts.list", "")},
    "listDevicesRegistered": {"GET": ("listDevicesRegistered.listAll", "listDevicesRegistered.list")},
    "onlineCalls": {
        "GET": ("onlineCalls.listAll", "onlineCalls.list"),
        "DELETE": ("", "onlineCalls.hangUp"),
    },
    "click2Call": {"POST": ("click2Call.start", "")},
    "cdrDid": {"GET": ("", "cdrDid.list")},
    "recording": {"GET": ("", "recording.list")},
    **{
        name: {"GET": (f"{name}.get", "")}
        for name in (
            "cdrDisconnection",
            "cdrSipcodes",
            "profitCustomers",
            "profitGateways",
            "onlineCallsAgreggate",
        )
    },
}


def application(simulator: Simulator) -> web.Application:
    built = web.Application(client_max_size=4 * MAX_BODY)
    for path in ("/api/{resource}/{token}/{key}", "/api/{resource}/{token}/{key}/{id}"):
        built.router.add_route("*", path, partial(handle, simulator))
    built.router.add_route("*", "/api/{tail:.*}", partial(unknown, simulator))
    admin.mount(built, simulator)
    return built


async def unknown(simulator: Simulator, request: web.Request) -> web.Response:
    simulator.counts.malformed += 1
    return _sent(refused(simulator.state.texts["no_such_option"], 404))


async def handle(simulator: Simulator, request: web.Request) -> web.Response:
    raw = await request.read()
    if len(raw) > MAX_BODY:
        simulator.counts.malformed += 1
        return _sent(refused(simulator.state.texts["too_large"], 413))
    operation = _operation(simulator, request)
    if operation is None:
        return await unknown(simulator, request)
    try:
        body = json.loads(raw) if raw.strip() else None
    except ValueError:
        simulator.counts.malformed += 1
        return _sent(refused(simulator.state.texts["unreadable"], 400))
    return await simulator.received(request, _call(simulator, operation, request, body))


def _operation(simulator: Simulator, request: web.Request) -> str | None:
    place = request.match_info
    if place["resource"] == "getDeviceBalance" and request.method == "GET" and "id" not in place:
        return "getDeviceBalance.get"
    resource = place["resource"]
    if resource in ("manageCustomers", simulator.state.resource) and request.method == "GET":
        if resource != simulator.state.resource:
            return None
        resource = "manageCustomers"
    found = ROUTES.get(resource, {}).get(request.method)
    if found is None or (resource == "manageDevices" and place.get("id") != "1"):
        return None
    return found["id" in place] or None


def _call(simulator: Simulator, operation: str, request: web.Request, body: Any) -> RestCall:
    path = dict(request.match_info)
    if operation == "getDeviceBalance.get":
        path = {"username": path["token"], "digest": path["key"]}
    values = body if isinstance(body, dict) else {}
    about = values.get("customer_id", values.get("id", values.get(simulator.state.credit.customer, "")))
    if operation != "manageDevices.create":
        about = path.get("id", about)
    return RestCall(
        operation, OPERATIONS[operation].changes, str(about), path=path, query=dict(request.query), body=body
    )


def _sent(answer: Answer) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)


async def serve(port: int, host: str = "127.0.0.1", *, config: SimulatorConfig | None = None) -> Simulator:
    """Start a simulator; port 0 takes a free one. Give it back with `await simulator.close()`."""
    simulator = Simulator(config or SimulatorConfig())
    keepalive = simulator.config.keepalive
    return await server.start(simulator, application(simulator), port, host, keepalive=keepalive)


def run(port: int, host: str = "127.0.0.1", *, config: SimulatorConfig | None = None) -> None:
    """Serve until SIGTERM or SIGINT; says `listening on URL` when ready."""
    server.run(partial(serve, port, host, config=config))
