"""Overview, failure groups, platforms, audit."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from worker.console import acting
from worker.console import overview as overviews
from worker.console.charts import bars, spark
from worker.console.door import Desk, Ours, Somebody
from worker.console.office import Wrong, masked_records
from worker.console.pages.render import page

router = APIRouter(include_in_schema=False)
WHERE = {
    "commands": "/commands?state=parked",
    "platform ": "/platforms",
    "pauses": "/platforms",
    "dead letters": "/quarantine",
}
_COMMAND_LINE = re.compile(r"(; | \()`worker [^`]*`( lets it go on|\))")
Reason = Annotated[str, Form(max_length=500)]


@router.get("/")
async def overview(request: Request, office: Desk, person: Somebody) -> Response:
    seen = await overviews.overview(office, person)
    lines = [one | {"hour": bars(one["hour"]), "day": bars(one["day"])} for one in seen["platforms"]]
    return await page(
        request,
        "overview.html",
        platforms=lines,
        oldest=seen["oldest"],
        ready=seen["ready"],
        wrong=[pointed(one) for one in seen["wrong"]],
        groups=seen["groups"],
    )


def pointed(complaint: dict[str, Any]) -> dict[str, Any]:
    """With the page where something can be done, instead of the command line that would do it."""
    href = next((page for part, page in WHERE.items() if complaint["part"].startswith(part)), None)
    return complaint | {"href": href, "text": _COMMAND_LINE.sub("", complaint["text"])}


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
    seen = await office.journal.standing()
    rows = [
        {
            "name": name,
            "kind": office.kinds.get(name),
            "state": states.get(name),
            "open": seen["open"].get(name, {}),
            "condition": overviews.condition_of(office, name, states.get(name), seen),
        }
        for name in sorted(set(office.kinds) | set(states))
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
