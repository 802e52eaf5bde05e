"""The admin API under /admin/: JSON for tests, and one page for people."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from aiohttp import web

from worker.simulators.common import admin as common

from . import page
from .operations.calls import new_call
from .simulator import Simulator

Body = dict[str, Any]


def mount(application: web.Application, simulator: Simulator) -> None:
    common.mount(application, simulator, page.render, VIEWS, ACTS)


# Views -------------------------------------------------------------------------------------------


def counts(simulator: Simulator, query: Mapping[str, str]) -> Body:
    platform = simulator.platform
    return {
        **common.traces(simulator),
        "clients": len(platform.clients),
        "extensions": len(platform.extensions),
        "doubles": platform.ledger.doubles,
        "tokens": platform.ledger.tokens,
        "limited": platform.ledger.limited,
        "limits": simulator.limits(),
    }


def log(simulator: Simulator, query: Mapping[str, str]) -> Body:
    wanted = query.get("operation")
    return {
        "log": [each for each in simulator.platform.ledger.entries if wanted in (None, each["operation"])]
    }


def state(simulator: Simulator, query: Mapping[str, str]) -> Body:
    """Secrets are not shown: phones' passwords only as `has_password`."""
    platform = simulator.platform
    return {
        "switches": asdict(platform.switches),
        **common.troubles(simulator),
        "user_blocked": platform.user_blocked,
        "clients": [
            {**each.record, "blocked": each.blocked, "foreign": each.foreign}
            for each in platform.clients.values()
        ],
        "extensions": [
            {**each.record, "has_password": bool(each.phone.get("password"))}
            for each in platform.extensions.values()
        ],
        "tables": {
            name: [{key: value for key, value in row.items() if key not in SECRET} for row in rows.values()]
            for name, rows in platform.tables.items()
        },
    }


SECRET = ("password", "app_secret")


# Acts --------------------------------------------------------------------------------------------


async def clients(simulator: Simulator, body: Body) -> Body:
    """{"clients": [{id, name, …, blocked, foreign}]} or one of them."""
    values = body.get("clients", [body])
    return {"seeded": [simulator.platform.seed_client(each).record["id"] for each in values]}


async def extensions(simulator: Simulator, body: Body) -> Body:
    """{"extensions": [{client_id, name, status, password, …}]} or one of them."""
    values = body.get("extensions", [body])
    return {"seeded": [simulator.platform.seed_extension(each).record["id"] for each in values]}


async def rows(simulator: Simulator, body: Body) -> Body:
    """{"table", "row"}: an external number, a recording, … with its id and client_id."""
    row = dict(body["row"])
    row.setdefault("id", simulator.platform.next_id())
    simulator.platform.tables[body["table"]][row["id"]] = row
    return {"id": row["id"]}


async def calls(simulator: Simulator, body: Body) -> Body:
    """{"client_id", "count", "extension_id"}: so many calls, a minute apart from 2026-05-01 00:00:00 on."""
    platform, client = simulator.platform, int(body.get("client_id", next(iter(simulator.platform.clients))))
    more = {name: value for name, value in body.items() if name not in ("client_id", "count", "extension_id")}
    platform.calls += [
        new_call(client, body.get("extension_id"), number, **more) for number in range(int(body["count"]))
    ]
    return {"calls": len(platform.calls)}


async def application(simulator: Simulator, body: Body) -> Body:
    """What the platform accepts from now on; what is left out stays. Tokens that were given end."""
    platform = simulator.platform
    for name in ("app_id", "app_secret", "username", "password"):
        setattr(platform, name, str(body.get(name, getattr(platform, name))))
    platform.tokens.clear()
    return {"app_id": platform.app_id}


async def tokens(simulator: Simulator, body: Body) -> Body:
    """End all tokens, before their time."""
    ended = len(simulator.platform.tokens)
    simulator.platform.tokens.clear()
    return {"ended": ended}


async def block(simulator: Simulator, body: Body) -> Body:
    """{"user": true}: our user is blocked; {"client_id", "blocked"}: a client is."""
    platform = simulator.platform
    if "user" in body:
        platform.user_blocked = bool(body["user"])
    if "client_id" in body:
        platform.clients[int(body["client_id"])].blocked = bool(body.get("blocked", True))
    return {"user": platform.user_blocked}


async def hour(simulator: Simulator, body: Body) -> Body:
    """{"limit", "remaining", "seconds"}: the count of calls from now on."""
    found = simulator.platform.hour
    found.limit = int(body.get("limit", found.limit))
    found.seconds = float(body.get("seconds", found.seconds))
    found.ends = time.monotonic() + found.seconds
    found.used = found.limit - int(body.get("remaining", found.limit))
    return dict(found.headers())


async def switches(simulator: Simulator, body: Body) -> Body:
    platform = simulator.platform
    platform.switches = platform.switches.changed(body)
    return {"switches": asdict(platform.switches)}


VIEWS = {"counts": counts, "log": log, "state": state}
ACTS = {
    "clients": clients,
    "extensions": extensions,
    "rows": rows,
    "calls": calls,
    "application": application,
    "tokens": tokens,
    "block": block,
    "hour": hour,
    "switches": switches,
}
