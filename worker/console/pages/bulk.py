"""One act on many commands: its preview, its going on, its stop."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from worker.console import acting
from worker.console.door import Desk, Ours, Somebody
from worker.console.office import Wrong
from worker.console.pages.orders import Filtered
from worker.console.pages.render import page
from worker.journal.console.lists import Wanted

router = APIRouter(include_in_schema=False)
SIGNED = 900.0  # seconds that a preview can be acted on


@router.get("/bulk/{what}")
async def preview(
    request: Request, office: Desk, person: Somebody, what: str, given: Filtered, superseded: str = ""
) -> Response:
    """What it would do; going needs a reason, and takes exactly the filter that was shown."""
    seen = await acting.preview(office, person, what, given.wanted, bool(superseded))
    signed = office.sealed(
        "bulk", [what, asdict(given.wanted), bool(superseded), len(seen.numbers), seen.last]
    )
    return await page(
        request, "bulk_preview.html", seen=seen, what=what, query=given.query, signed=signed,
        superseded=bool(superseded),
    )  # fmt: skip


@router.post("/bulk/go", dependencies=[Ours])
async def go(
    request: Request,
    office: Desk,
    person: Somebody,
    signed: Annotated[str, Form(max_length=4000)] = "",
    reason: Annotated[str, Form(max_length=500)] = "",
) -> Response:
    found: Any = office.opened("bulk", signed, SIGNED)
    if not isinstance(found, list) or len(found) != 5:  # the version before signed four
        raise Wrong("this preview is too old: look at a new one")
    what, wanted, superseded, count, last = found
    number = await acting.begin(office, person, what, Wanted(**wanted), superseded, reason, count, last)
    return RedirectResponse(f"/acts/{number}", 303)


@router.get("/acts")
async def acts(request: Request, office: Desk, person: Somebody) -> Response:
    return await page(request, "acts.html", acts=await office.journal.bulk_acts())


@router.get("/acts/{number}")
async def act(request: Request, office: Desk, person: Somebody, number: int) -> Response:
    found = await office.journal.bulk_act(min(number, 1 << 62))
    if found is None:
        raise Wrong(f"there is no act {number}", 404)
    items = await office.journal.bulk_items(number)
    return await page(request, "act.html", act=found, items=items)


@router.post("/acts/{number}/stop", dependencies=[Ours])
async def stop(
    request: Request,
    office: Desk,
    person: Somebody,
    number: int,
    reason: Annotated[str, Form(max_length=500)] = "",
) -> Response:
    await acting.stop(office, person, number, reason)
    return RedirectResponse(f"/acts/{number}", 303)
