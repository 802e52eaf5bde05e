"""Overview, failure groups, platforms, audit."""

from __future__ import annotations

import re
import time
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from worker.console import acting
from worker.console.charts import bars, spark
from worker.console.door import Desk, Ours, Somebody
from worker.console.office import Wrong, masked_records
from worker.console.pages.render import key_for, page

router = APIRouter(include_in_schema=False)
WHERE = {
    "commands": "/commands?state=parked",
    "platform ": "/platforms",
    "pauses": "/platforms",
    "dead letters": "/quarantine",
}
SEVERITY = ("held", "broken", "slow", "paused", "well")  # what needs a look stands first
FAILED_LATELY = 86_400.0  # seconds
_COMMAND_LINE = re.compile(r"(; | \()`worker [^`]*`( lets it go on|\))")
Reason = Annotated[str, Form(max_length=500)]


@router.get("/")
async def overview(request: Request, office: Desk, person: Somebody) -> Response:
    seen = await office.journal.overview()
    ready, report = await office.readiness.report()
    states = {one.name: one for one in (await office.readiness.watch.seen(max_age=2.0)).platforms}
    lines = [
        _platform(name, office.kinds.get(name), states.get(name), seen)
        for name in sorted(set(office.kinds) | set(seen["open"]) | set(seen["hour"]))
    ]
    oldest = seen["oldest"]
    if oldest:
        oldest = dict(oldest) | {"partition_key": key_for(person, oldest["partition_key"])}
    newest = [
        one for one in await office.journal.groups(limit=4) if time.time() - one["last_at"] < FAILED_LATELY
    ]
    return await page(
        request,
        "overview.html",
        platforms=sorted(lines, key=lambda one: SEVERITY.index(one["condition"])),
        oldest=oldest,
        ready=ready,
        wrong=[pointed(one) for one in report["wrong"]],
        groups=newest,
    )


def pointed(complaint: dict[str, Any]) -> dict[str, Any]:
    """With the page where something can be done, instead of the command line that would do it."""
    href = next((page for part, page in WHERE.items() if complaint["part"].startswith(part)), None)
    return complaint | {"href": href, "text": _COMMAND_LINE.sub("", complaint["text"])}


def _platform(name: str, kind: str | None, state: Any, seen: dict[str, Any]) -> dict[str, Any]:
    hour, day = seen["hour"].get(name, []), seen["day"].get(name, [])
    last = hour[-5:]
    succeeded, failed = sum(one["succeeded"] for one in hour), sum(one["failed"] for one in hour)
    newest = next((one for one in reversed(hour) if one["p50"] is not None), None)
    return {
        "name": name,
        "kind": kind,
        "state": state,
        "open": {"waiting": 0, "running": 0, "in_doubt": 0, "parked": 0, "failing": 0}
        | seen["open"].get(name, {}),
        "rate": sum(one["succeeded"] + one["failed"] for one in last) / 5 if last else 0.0,
        "share": None if succeeded + failed == 0 else 100 * succeeded / (succeeded + failed),
        "p50": newest["p50"] if newest else None,
        "p99": newest["p99"] if newest else None,
        "condition": condition(state, seen["open"].get(name, {})),
        "most": max((one["succeeded"] + one["failed"] for one in hour), default=0),
        "hour": bars(hour),
        "day": bars(day),
    }


def condition(state: Any, open_: dict[str, int]) -> str:
    """One word for the eye: paused, held, broken, slow (what is tried fails), well."""
    if state is not None and (state.paused_by or state.halted):
        return "paused"
    if state is not None and state.held:
        return "held"
    if state is not None and state.broken_since:
        return "broken"
    return "slow" if open_.get("failing") else "well"


# ---------------------------------------------------------------- failure groups


@router.get("/failures")
async def failures(
    request: Request, office: Desk, person: Somebody, platform: str = "", archived: str = ""
) -> Response:
    groups = await office.journal.groups(platform[:40] or None, bool(archived))
    for one in groups:
        one["spark"] = spark(one["trend"])
    return await page(
        request,
        "failures.html",
        groups=groups,
        archived=bool(archived),
        platform=platform[:40],
        platforms=sorted(office.kinds),
    )


@router.post("/failures/{number}/{act}", dependencies=[Ours])
async def on_group(
    request: Request,
    office: Desk,
    person: Somebody,
    number: int,
    act: str,
    note: Annotated[str, Form(max_length=2000)] = "",
    reason: Reason = "",
) -> Response:
    await acting.on_group(office, person, number, act, note if act == "note" else reason)
    return RedirectResponse("/failures?archived=1" if act == "restore" else "/failures", 303)


# ---------------------------------------------------------------- platforms


@router.get("/platforms")
async def platforms(request: Request, office: Desk, person: Somebody) -> Response:
    states = {one.name: one for one in await office.journal.platforms()}
    open_ = (await office.journal.overview())["open"]
    names = sorted(set(office.kinds) | set(states))
    rows = [
        {
            "name": name,
            "kind": office.kinds.get(name),
            "state": states.get(name),
            "open": open_.get(name, {}),
            "condition": condition(states.get(name), open_.get(name, {})),
        }
        for name in names
    ]
    return await page(request, "platforms.html", rows=rows, rates=office.rates)


@router.post("/platforms/{name}/{act}", dependencies=[Ours])
async def on_platform(
    request: Request, office: Desk, person: Somebody, name: str, act: str, reason: Reason = ""
) -> Response:
    await acting.on_platform(office, person, name, act, reason)
    return RedirectResponse("/platforms", 303)


# ---------------------------------------------------------------- audit


@router.get("/audit")
async def audit(
    request: Request,
    office: Desk,
    person: Somebody,
    what: str = "",
    actor: str = "",
    platform: str = "",
    command: str = "",
    before: str = "",
) -> Response:
    about = int(command) if command.isascii() and command.isdecimal() and len(command) < 18 else None
    if command and about is None:
        raise Wrong("a command is named by its number here")
    number = int(before) if before.isascii() and before.isdecimal() and len(before) < 18 else None
    rows, more = await office.journal.records(
        what=what[:60] or None,
        actor=actor[:60] or None,
        platform=platform[:40] or None,
        command=about,
        before=number,
    )
    query = {"what": what[:60], "actor": actor[:60], "platform": platform[:40], "command": command[:18]}
    shown = rows if person.may("operator") else masked_records(rows)
    return await page(request, "audit.html", rows=shown, more=more, query=query, report=None)


@router.post("/audit/verify", dependencies=[Ours])
async def verify(request: Request, office: Desk, person: Somebody) -> Response:
    await office.allowed(person, "operator", "audit verify")
    report = await office.journal.verify()
    rows, more = await office.journal.records()
    query = {"what": "", "actor": "", "platform": "", "command": ""}
    return await page(request, "audit.html", rows=rows, more=more, query=query, report=report)


# ---------------------------------------------------------------- people


@router.get("/people")
async def people_page(request: Request, office: Desk, person: Somebody) -> Response:
    await office.allowed(person, "admin", "look at people")
    users, tokens = await office.journal.everybody()
    return await page(request, "people.html", users=users, tokens=tokens, made=None)


@router.post("/people/user", dependencies=[Ours])
async def put_user(
    request: Request,
    office: Desk,
    person: Somebody,
    name: Annotated[str, Form(max_length=60)] = "",
    role: Annotated[str, Form(max_length=20)] = "",
    password: Annotated[str, Form(max_length=300)] = "",
    reason: Reason = "",
) -> Response:
    await acting.put_user(office, person, name, role, password, reason)
    return RedirectResponse("/people", 303)


@router.post("/people/user/{name}/disable", dependencies=[Ours])
async def disable(
    request: Request, office: Desk, person: Somebody, name: str, reason: Reason = ""
) -> Response:
    await acting.disable_user(office, person, name, reason)
    return RedirectResponse("/people", 303)


@router.post("/people/token", dependencies=[Ours])
async def make_token(
    request: Request,
    office: Desk,
    person: Somebody,
    name: Annotated[str, Form(max_length=60)] = "",
    role: Annotated[str, Form(max_length=20)] = "",
    days: Annotated[str, Form(max_length=5)] = "",
    reason: Reason = "",
) -> Response:
    made = await acting.make_token(office, person, name, role, days, reason)
    users, tokens = await office.journal.everybody()
    return await page(request, "people.html", users=users, tokens=tokens, made=made)


@router.post("/people/token/{number}/revoke", dependencies=[Ours])
async def revoke(
    request: Request, office: Desk, person: Somebody, number: int, reason: Reason = ""
) -> Response:
    await acting.revoke_token(office, person, number, reason)
    return RedirectResponse("/people", 303)
