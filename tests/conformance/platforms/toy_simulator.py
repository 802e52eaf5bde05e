"""A stateful stand-in for the toy platform, with the faults that every simulator has."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from aiohttp import web

from worker.simulators.common import server
from worker.simulators.common.counts import Counts
from worker.simulators.common.exchange import Answer
from worker.simulators.common.rest import RestCall, RestLedger, RestSimulator, answer

SECRETS = frozenset({"password", "token"})
User = dict[str, Any]


@dataclass(slots=True)
class State:
    token: str
    users: dict[str, User] = field(default_factory=dict)
    ledger: RestLedger = field(default_factory=RestLedger)


class Simulator(RestSimulator):
    def __init__(self, token: str = "toy-token") -> None:
        self.token = token
        super().__init__(seed=1)

    def begin(self) -> None:
        self.state = State(self.token)

    @property
    def counts(self) -> Counts:
        return self.state.ledger

    def apply(self, call: RestCall, via: str) -> Answer:
        if call.path["token"] != f"Bearer {self.state.token}":
            return self.refusal(call, "who are you?", 401)
        done = WHAT[call.operation](self.state, call)
        good = done.status < 300
        traces = self.counts.operations[call.operation]
        traces.applied += good
        traces.refused += not good
        if good and call.changes:
            self.state.ledger.record(call, call.object, via, SECRETS)
        return done

    def refusal(self, call: RestCall, text: str, status: int) -> Answer:
        return answer(status, {"error": text}, fault=text)

    def too_many(self, call: RestCall) -> Answer:
        return answer(429, {"error": "too many"})

    def seed(self, name: str, **more: Any) -> User:
        return self.state.users.setdefault(name, user(name, **more))


def user(name: str, **more: Any) -> User:
    return {"name": name, "password": "old-password", "blocked": False, "balance": "100.00", **more}


def _status(state: State, call: RestCall) -> Answer:
    return answer(200, {"well": True})


def _list(state: State, call: RestCall) -> Answer:
    return answer(200, list(state.users.values()))


def _create(state: State, call: RestCall) -> Answer:
    name = call.body["name"]
    if name in state.users:
        return answer(409, {"error": "it is there"})
    state.users[name] = user(**call.body)
    return answer(201, {"id": name, **state.users[name]})


def _one(state: State, call: RestCall) -> Answer:
    found = state.users.get(call.object)
    return answer(404, {"error": "nobody"}) if found is None else ONE[call.operation](state, found, call.body)


def _update(state: State, found: User, body: Any) -> Answer:
    found |= body
    return answer(200, found)


def _remove(state: State, found: User, body: Any) -> Answer:
    del state.users[found["name"]]
    return Answer(204, b"", "application/json")


def _secret(state: State, found: User, body: Any) -> Answer:
    found["password"] = body["password"]
    return Answer(204, b"", "application/json")


def _credit(state: State, found: User, body: Any) -> Answer:
    found["balance"] = str(Decimal(found["balance"]) + Decimal(body["amount"]))
    return Answer(204, b"", "application/json")


ONE: dict[str, Callable[[State, User, Any], Answer]] = {
    "users.get": lambda state, found, body: answer(200, found),
    "users.update": _update,
    "users.remove": _remove,
    "password.change": _secret,
    "credit.add": _credit,
}
WHAT: dict[str, Callable[[State, RestCall], Answer]] = {
    "status.get": _status,
    "users.list": _list,
    "users.create": _create,
    **dict.fromkeys(ONE, _one),
}
ROUTES = {
    ("GET", "/status"): "status.get",
    ("GET", "/users"): "users.list",
    ("POST", "/users"): "users.create",
    ("GET", "/users/{name}"): "users.get",
    ("PUT", "/users/{name}"): "users.update",
    ("DELETE", "/users/{name}"): "users.remove",
    ("PUT", "/users/{name}/password"): "password.change",
    ("POST", "/users/{name}/credit"): "credit.add",
}


async def _handle(simulator: Simulator, operation: str, request: web.Request) -> web.Response:
    raw = await request.read()
    body = json.loads(raw) if raw else None
    name = request.match_info.get("name") or (body or {}).get("name", "")
    path = {"token": request.headers.get("Authorization", "")}
    call = RestCall(operation, request.method != "GET", name, path=path, body=body)
    return await simulator.received(request, call)


async def serve(port: int = 0) -> Simulator:
    simulator, application = Simulator(), web.Application()
    for (method, path), operation in ROUTES.items():
        application.router.add_route(method, path, partial(_handle, simulator, operation))
    return await server.start(simulator, application, port, "127.0.0.1")
