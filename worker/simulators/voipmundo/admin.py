"""What the admin API under /admin/ shows and does of a VoIPMundo; the rest is every simulator's."""

from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from aiohttp import web

from worker.simulators.common import admin as common
from worker.simulators.common.admin import Act, Body, View
from worker.simulators.common.page import faults, frame, operations, table
from worker.simulators.common.rest import masked

from .simulator import Simulator
from .state import SECRETS, Client


def mount(application: web.Application, simulator: Simulator) -> None:
    common.mount(application, simulator, render, VIEWS, ACTS)


# The page ------------------------------------------------------------------------------------------------


def render(simulator: Simulator) -> str:
    parts = [operations(simulator), faults(simulator), _credits(simulator), _clients(simulator)]
    state = simulator.state
    summary = (
        f"{len(state.clients)} clients, {sum(len(each.devices) for each in state)} lines, "
        f"{len(state.dids)} numbers, {simulator.freezer.waiting()} requests frozen, "
        f"{simulator.pending()} pending, {simulator.counts.malformed} not understood"
    )
    return frame("VoIPMundo simulator", summary, parts)


def _credits(simulator: Simulator) -> str:
    rows = [(each.id, made["note"], made["amount"]) for each in simulator.state for made in each.credits]
    return table("Credit applied", ("client", "note", "amount"), rows)


def _clients(simulator: Simulator) -> str:
    rows = (
        (each.id, each.name, "active" if each.status else "inactive", each.balance, len(each.devices))
        for each in simulator.state
    )
    return table("Clients", ("id", "name", "state", "balance", "lines"), rows)


# Views ---------------------------------------------------------------------------------------------------


def counts(simulator: Simulator, query: Mapping[str, str]) -> Body:
    state = simulator.state
    return {
        **common.traces(simulator),
        "clients": len(state.clients),
        "devices": sum(len(each.devices) for each in state),
        "numbers": len(state.dids),
        "credits": sum(len(each.credits) for each in state),
        "changes": len(state.ledger.entries),
    }


def log(simulator: Simulator, query: Mapping[str, str]) -> Body:
    """`?object=` for one."""
    ledger = simulator.state.ledger
    entries = ledger.about(query["object"]) if "object" in query else ledger.entries
    return {"log": [entry.shown() for entry in entries]}


def state(simulator: Simulator, query: Mapping[str, str]) -> Body:
    """Secrets as ***, the platform's own pair never."""
    held = simulator.state
    return {
        "switches": asdict(held.switches),
        "texts": held.texts,
        "resource": held.resource,
        **common.troubles(simulator),
        "clients": [_client(each) for each in held],
        "numbers": masked(held.dids, SECRETS),
    }


def _client(client: Client) -> Body:
    return {
        "id": client.id,
        "status": client.status,
        "kind": client.kind,
        "balance": str(client.balance),
        "fields": masked(client.fields, SECRETS),
        "devices": masked(client.devices, SECRETS),
        "credits": [{**each, "amount": str(each["amount"])} for each in client.credits],
        "calls": len(client.calls),
    }


# Acts ----------------------------------------------------------------------------------------------------


async def clients(simulator: Simulator, body: Body) -> Body:
    """{"clients": [{nome_fantasia, balance, devices, ...}]}, or {"count", "prefix", ...} for many alike."""
    if "count" in body:
        common_ = dict(body)
        count, prefix = int(common_.pop("count")), str(common_.pop("prefix", "client "))
        values: list[Any] = [{**common_, "nome_fantasia": f"{prefix}{number}"} for number in range(count)]
    else:
        values = list(body.get("clients", [body]))
    made = [simulator.state.seed(each) for each in values]
    return {"seeded": len(made), "ids": [each.id for each in made]}


async def charge(simulator: Simulator, body: Body) -> Body:
    """A call of a client's that costs `price`."""
    client = simulator.state.clients[int(body["client"])]
    facts = {name: value for name, value in body.items() if name not in ("client", "price")}
    row = simulator.state.charge(client, Decimal(str(body["price"])), **facts)
    return {"id": row["id"], "balance": str(client.balance)}


async def pair(simulator: Simulator, body: Body) -> Body:
    """What the platform accepts from now on; what is left out stays."""
    held = simulator.state
    held.token = str(body.get("token", held.token))
    held.key = str(body.get("key", held.key))
    return {}


async def switches(simulator: Simulator, body: Body) -> Body:
    """Switches by name, and `texts`: reasons by name."""
    held = simulator.state
    given = dict(body)
    texts = given.pop("texts", {})
    if unknown := sorted(set(texts) - set(held.texts)):
        raise ValueError(f"unknown text {unknown[0]!r}: we know {', '.join(sorted(held.texts))}")
    held.switches = held.switches.changed(given)
    held.texts.update(texts)
    return {"switches": asdict(held.switches), "texts": held.texts}


VIEWS: Mapping[str, View[Simulator]] = {"counts": counts, "log": log, "state": state}
ACTS: Mapping[str, Act[Simulator]] = {
    "clients": clients,
    "charge": charge,
    "pair": pair,
    "switches": switches,
}
