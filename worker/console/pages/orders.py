"""Commands: lists, one, and what a person does to it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from worker.console import acting
from worker.console.door import Desk, Ours, Somebody
from worker.console.office import Office, Wrong
from worker.console.pages.render import page, shown_to
from worker.console.waiting import behind, waits, window_ends, window_open
from worker.domain.evidence import money, reading_from
from worker.journal.commands.acts import ActRefused
from worker.journal.console.lists import FAILED, OPEN, Wanted, moment_of, whole_type
from worker.journal.console.people import Person

router = APIRouter(include_in_schema=False)
STATES = ("waiting", "running", "in_doubt", "parked", "succeeded", "rejected", "cancelled", "expired")

KNOWN = {
    "state", "platform", "type", "about", "source", "batch", "code", "group", "since", "until", "q", "archived",
    "before", "superseded", "scheduled",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filters:
    """What stands in the address, so that a list can be sent to a colleague. `query`: every name, empty where not given."""

    query: Mapping[str, Any]
    wanted: Wanted


def filters(
    request: Request,
    state: Annotated[str, Query(max_length=20)] = "",
    platform: Annotated[str, Query(max_length=40)] = "",
    type: Annotated[str, Query(max_length=200)] = "",
    about: Annotated[str, Query(max_length=500)] = "",
    source: Annotated[str, Query(max_length=300)] = "",
    batch: Annotated[str, Query(max_length=300)] = "",
    code: Annotated[str, Query(max_length=60)] = "",
    group: Annotated[str, Query(max_length=18)] = "",
    since: Annotated[str, Query(max_length=40)] = "",
    until: Annotated[str, Query(max_length=40)] = "",
    q: Annotated[str, Query(max_length=300)] = "",
    archived: Annotated[str, Query(max_length=5)] = "",
    scheduled: Annotated[str, Query(max_length=5)] = "",
    before: Annotated[str, Query(max_length=19)] = "",
) -> Filters:
    """Raises Wrong for filters that make no sense."""
    if unknown := set(request.query_params) - KNOWN:
        # A misspelt filter that is passed over would make an act on many one on many more.
        raise Wrong(f"there is no filter {sorted(unknown)[0][:40]!r}: we know {', '.join(sorted(KNOWN))}")
    if state and state not in STATES:
        raise Wrong(f"state is one of {', '.join(STATES)}")
    query = {
        "state": state, "platform": platform, "type": type, "about": about, "source": source, "batch": batch,
        "code": code, "group": group, "since": since, "until": until, "q": q.strip(), "archived": archived,
        "scheduled": scheduled,
    }  # fmt: skip
    for name, value in query.items():
        if "\0" in value:
            raise Wrong(f"{name} holds a character that no command has")
    wanted = Wanted(
        state=state or None,
        platform=platform or None,
        type=_type(type),
        about=about or None,
        source=source or None,
        batch=batch or None,
        code=code or None,
        group=_number("group", group),
        since=_time("since", since),
        until=_time("until", until),
        text=q.strip() or None,
        archived=bool(archived),
        scheduled=bool(scheduled),
        before=_number("before", before),
    )
    if wanted.since and wanted.until and wanted.since > wanted.until:
        raise Wrong("the period ends before it begins")
    return Filters(query, wanted)


Filtered = Annotated[Filters, Depends(filters)]


def _type(type: str) -> str | None:
    return whole_type(type) if type else None


def _number(name: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdecimal():
        raise Wrong(f"{name} is a number")
    return min(int(text), (1 << 62) - 1)


def _time(name: str, text: str) -> float | None:
    """A browser's `2026-11-22T05:30`, or RFC 3339; without a zone it is UTC."""
    if not text:
        return None
    try:
        return moment_of(text)
    except ValueError:
        raise Wrong(f"{name} is a time, as 2026-11-22T05:30 in UTC") from None


async def wanted_by(office: Office, person: Person, wanted: Wanted) -> Wanted:
    """What they may look for. Who sees no names finds none: names are numbers, and numbers can be tried out.

    Not even a whole one, therefore. Raises NotAllowed for the filter that is nothing but a name.
    """
    if wanted.about is not None:
        await office.allowed(person, "operator", "filter by subscriber")
    return wanted if person.may("operator") else replace(wanted, names=False)


@router.get("/commands")
async def commands(request: Request, office: Desk, person: Somebody, given: Filtered) -> Response:
    found = await office.journal.page(await wanted_by(office, person, given.wanted))
    kinds = await office.journal.kinds()
    return await page(
        request,
        "commands.html",
        title="Commands",
        rows=[shown_to(person, row) for row in found.rows],
        more=found.more,
        reached=found.reached,
        query=given.query,
        paged=bool(given.wanted.before),
        states=STATES,
        platforms=sorted({platform for platform, _ in kinds} | set(office.kinds)),
        types=sorted({type for _, type in kinds}),
    )


@router.get("/scheduled")
async def scheduled(request: Request, office: Desk, person: Somebody, before: str = "") -> Response:
    found = await office.journal.page(Wanted(scheduled=True, before=_number("before", before)))
    rows = [shown_to(person, row) for row in found.rows]
    return await page(request, "scheduled.html", rows=rows, more=found.more)


@router.get("/in-doubt")
async def in_doubt(request: Request, office: Desk, person: Somebody) -> Response:
    """Those in doubt, and those parked because nobody could tell; each with its evidence."""
    rows = []
    for state in ("parked", "in_doubt"):
        found = await office.journal.page(Wanted(state=state, limit=100))
        rows += [row["id"] for row in found.rows if row["effect"] == "unknown"]
    whole = [shown_to(person, await office.journal.command(f"#{number}")) for number in rows[:20]]
    says = {row["id"]: await evidence(office, person, row) for row in whole}
    return await page(
        request,
        "in_doubt.html",
        commands=whole,
        total=len(rows),
        settles=_settles(whole),
        says=says,
        ends={row["id"]: window_ends(row, office.settles) for row in whole},
    )


async def evidence(office: Office, person: Person, row: Mapping[str, Any]) -> dict[str, Any]:
    """What was ordered, what two balances say, and what was read: what a person decides by."""
    return {
        "data": _without_place(await _ordered(office, person, row)),
        "credit": credit(row),
        "readings": distinct(row["readings"]),
    }


async def _ordered(office: Office, person: Person, row: Mapping[str, Any]) -> dict[str, Any]:
    """What the sender asked for, without secrets; nothing for who may not see personal data."""
    return await acting.data_without_secrets(office, row["id"]) if person.may("operator") else {}


def _without_place(data: Mapping[str, Any]) -> dict[str, Any]:
    """About whom and where it is stands above already."""
    return {name: value for name, value in data.items() if name not in ("platform", "subscriber")}


def credit(row: Mapping[str, Any]) -> dict[str, str] | None:
    """The arithmetic of two balances, so that nobody has to do it at night; None where it was not read twice."""
    read = [one["reading"] for one in row["readings"] if isinstance(one["reading"], Mapping)]
    figures = [reading_from(one) for one in read if one.get("balance") is not None]
    if len(figures) < 2:
        return None
    before, now = figures[0].balance or Decimal(0), figures[-1].balance or Decimal(0)
    calls = sum(figures[-1].calls, Decimal(0))
    moved = now - before
    named = {"before": before, "now": now, "moved": moved, "calls": calls, "left": moved + calls}
    return {name: money(value) for name, value in named.items()}


def _settles(rows: list[dict[str, Any]]) -> dict[int, bool]:
    """Whose own settle window is open."""
    return {row["id"]: window_open(row) for row in rows}


@router.get("/commands/{number}")
async def command(request: Request, office: Desk, person: Somebody, number: int) -> Response:
    found = await _found(office, number)
    return await page(
        request,
        "command.html",
        c=shown_to(person, found),
        window_open=window_open(found),
        ends=window_ends(found, office.settles),
        behind=behind(found),
        acts=acts_for(found),
        timeline=timeline(shown_to(person, found)),
        data=await _ordered(office, person, found),
        kind=office.kinds.get(found["platform"]),
    )


async def _found(office: Desk, number: int) -> dict[str, Any]:
    if number >= 1 << 62:
        raise Wrong(f"there is no command {number}", 404)
    try:
        return await office.journal.command(f"#{number}")
    except ActRefused:
        raise Wrong(f"there is no command {number}", 404) from None


def acts_for(row: Mapping[str, Any]) -> list[str]:
    """The buttons that fit its state."""
    state, unknown = row["state"], row["effect"] == "unknown"
    if state in ("in_doubt", "parked") and unknown:
        return ["resolve"]
    if state == "parked":
        return ["retry", "cancel"]
    if state == "waiting" and not unknown:
        return ["cancel"]
    if state in FAILED:
        return ["retry", "edit", *([] if row["archived"] else ["archive"])]
    if state == "succeeded":
        return [] if row["archived"] else ["archive"]
    return []


def timeline(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All that happened, in its order: `what`, `at`, and the thing itself."""
    events: list[dict[str, Any]] = [{"what": "arrived", "at": row["received_at"], "it": row}]
    events += [{"what": "waited", "at": one["at"], "it": one} for one in waits(row)]
    events += [{"what": "attempt", "at": one["at"], "it": one} for one in row["attempts_made"]]
    events += [{"what": "reading", "at": one["at"], "it": one} for one in distinct(row["readings"])]
    events += [
        {"what": "event", "at": one["published_at"], "it": one}
        for one in row["events"]
        if one["published_at"] is not None
    ]
    if row["finished_at"] is not None:
        events.append({"what": "ended", "at": row["finished_at"], "it": row})
    return sorted(events, key=lambda one: one["at"])


def distinct(readings: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Equal ones that follow each other as one, with how many `times` and `until` when: a window is read often."""
    made: list[dict[str, Any]] = []
    for one in readings:
        if made and all(made[-1][name] == one[name] for name in ("step", "kind", "reading")):
            made[-1] |= {"times": made[-1]["times"] + 1, "until": one["at"]}
        else:
            made.append({**one, "times": 1, "until": one["at"]})
    return made


# ---------------------------------------------------------------- acts

Reason = Annotated[str, Form(max_length=500)]


@router.post("/commands/{number}/{act}", dependencies=[Ours])
async def do(
    request: Request,
    office: Desk,
    person: Somebody,
    number: int,
    act: str,
    reason: Reason = "",
    dependents: Annotated[str, Form(max_length=5)] = "",
    applied: Annotated[str, Form(max_length=5)] = "",
    waive: Annotated[str, Form(max_length=5)] = "",
) -> Response:
    if act == "resolve":
        if applied not in ("yes", "no"):
            raise Wrong("say which: it took effect, or it did not")
        if applied == "yes":
            done = await acting.resolve(office, person, number, True, reason, bool(waive))
        else:
            done = await acting.resolve_and_run(office, person, number, reason, bool(waive))
    elif act in ("retry", "cancel", "archive"):
        along = bool(dependents) and act == "retry"  # one form has all the buttons
        done = await acting.simple(office, person, act, number, reason, along)
    else:
        raise Wrong(f"there is no act {act[:40]!r}", 404)
    return RedirectResponse(f"/commands/{done['id']}", 303)


@router.get("/commands/{number}/edit")
async def edit_page(request: Request, office: Desk, person: Somebody, number: int) -> Response:
    await office.allowed(person, "operator", "edit", command=number)
    found = await _found(office, number)
    data = await acting.data_without_secrets(office, number)
    return await page(
        request, "edit.html", c=found, text=json.dumps(data, ensure_ascii=False, indent=2), problem=None
    )


@router.post("/commands/{number}/edit/send", dependencies=[Ours])
async def edit(
    request: Request,
    office: Desk,
    person: Somebody,
    number: int,
    text: Annotated[str, Form(max_length=100_000)] = "",
    dependents: Annotated[str, Form(max_length=5)] = "",
    reason: Reason = "",
) -> Response:
    try:
        done = await acting.edit(office, person, number, text, reason, bool(dependents))
    except Wrong as wrong:
        found = await _found(office, number)
        return await page(request, "edit.html", wrong.status, c=found, text=text, problem=str(wrong))
    return RedirectResponse(f"/commands/{done['id']}", 303)


__all__ = ["OPEN", "filters", "router"]
