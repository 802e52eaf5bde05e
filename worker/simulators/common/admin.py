"""The admin API under /admin/: JSON for tests, one page for people, and the acts every simulator has."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from decimal import InvalidOperation
from typing import Any, TypeVar

from aiohttp import web

from .faults import Standing
from .freezer import Freeze
from .simulator import BaseSimulator

S = TypeVar("S", bound=BaseSimulator)
Body = dict[str, Any]
View = Callable[[S, Mapping[str, str]], Body]
Act = Callable[[S, Body], Awaitable[Body]]


def mount(
    application: web.Application,
    simulator: S,
    render: Callable[[S], str],
    views: Mapping[str, View[S]],
    acts: Mapping[str, Act[S]],
) -> None:
    """GET /admin/ shows the page, GET /admin/{view} a view, POST /admin/{act} acts; ACTS are always there."""
    router = application.router
    router.add_get("/admin/", _page(simulator, render))
    router.add_get("/admin", _page(simulator, render))
    for name, view in views.items():
        router.add_get(f"/admin/{name}", _get(simulator, view))
    for name, act in {**ACTS, **acts}.items():
        router.add_post(f"/admin/{name}", _post(simulator, act))


def _page(simulator: S, render: Callable[[S], str]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=render(simulator), content_type="text/html")

    return handler


def _get(simulator: S, view: View[S]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response(view(simulator, request.query))

    return handler


def _post(simulator: S, act: Act[S]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.read() or b"{}")
            if not isinstance(body, dict):
                raise ValueError("the body is a JSON object")
            return web.json_response(await act(simulator, body))
        except (ValueError, TypeError, InvalidOperation) as error:
            return web.json_response({"error": str(error)}, status=400)
        except KeyError as error:
            return web.json_response({"error": f"missing or unknown: {error.args[0]}"}, status=400)

    return handler


def traces(simulator: BaseSimulator) -> Body:
    """What came and what became of it: part of every simulator's counts."""
    return {
        "operations": {name: asdict(each) for name, each in sorted(simulator.counts.operations.items())},
        "faults": dict(simulator.counts.faults),
        "malformed": simulator.counts.malformed,
        "pending": simulator.pending(),
        "frozen": simulator.freezer.waiting(),
    }


def troubles(simulator: BaseSimulator) -> Body:
    """What is asked to go wrong: part of every simulator's state."""
    return {
        "faults": [rule(standing) for standing in simulator.faults.standing],
        "freezes": [freeze_(each) for each in simulator.freezer.freezes],
    }


def rule(standing: Standing) -> Body:
    return {"number": standing.number, "hits": standing.hits, "spent": standing.spent} | asdict(standing.rule)


def freeze_(freeze: Freeze) -> Body:
    return {"operation": freeze.pattern, "seconds": freeze.seconds, "waiting": len(freeze.queue)}


async def faults(simulator: BaseSimulator, body: Body) -> Body:
    """One rule, or {"rules": [...], "replace": true}. Nothing changes when one of them is wrong."""
    values = body.get("rules", [body]) if body.keys() & {"rules", "replace"} else [body]
    rules = [simulator.rule.from_values(each) for each in values if each != {"replace": True}]
    if body.get("replace"):
        simulator.faults.clear()
    for each in rules:
        simulator.faults.add(each)
    return {"faults": [rule(standing) for standing in simulator.faults.standing]}


async def reset(simulator: BaseSimulator, body: Body) -> Body:
    await simulator.reset()
    return {}


async def freeze(simulator: BaseSimulator, body: Body) -> Body:
    seconds = body.get("seconds")
    simulator.freezer.freeze(
        str(body.get("operation", "*")), seconds=None if seconds is None else float(seconds)
    )
    return {"freezes": [freeze_(each) for each in simulator.freezer.freezes]}


async def thaw(simulator: BaseSimulator, body: Body) -> Body:
    return {"applied": simulator.freezer.thaw(body.get("operation"))}


ACTS: Mapping[str, Act[Any]] = {"faults": faults, "reset": reset, "freeze": freeze, "thaw": thaw}
