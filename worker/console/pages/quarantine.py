"""Quarantine: what was refused, looked at on the record, mended and sent again, or dropped."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from worker.console import mending
from worker.console.door import Desk, Ours, Somebody
from worker.console.office import Wrong
from worker.console.pages.render import page
from worker.journal.quarantine.resending import Looked

router = APIRouter(include_in_schema=False)
Reason = Annotated[str, Form(max_length=500)]
Text = Annotated[str, Form(max_length=400_000)]


@router.get("/quarantine")
async def quarantine(request: Request, office: Desk, person: Somebody, state: str = "kept") -> Response:
    if state not in ("kept", "sent", "dropped"):
        raise Wrong("state is kept, sent or dropped")
    rows = await office.journal.quarantined(state, 200)
    return await page(request, "quarantine.html", rows=rows, state=state)


@router.post("/quarantine/{uid}/look", dependencies=[Ours])
async def look(request: Request, office: Desk, person: Somebody, uid: str, reason: Reason = "") -> Response:
    """Looking is an act: its reason stands in the audit record."""
    found = await mending.look(office, person, uid, reason)
    return await page(
        request,
        "quarantined.html",
        record=found.record,
        wrong=found.wrong,
        kept=found.body is not None,
        text=found.parts.text if found.parts else None,
        fields=_fields(found),
        problem=None,
    )


def _fields(found: Looked) -> dict[str, str]:
    if found.parts is None:
        return {}
    parts = {
        "attributes": found.parts.attributes,
        "data": found.parts.data or {},
        "headers": found.parts.headers,
    }
    return {name: _pretty(value) for name, value in parts.items()} | {"reply_to": ""}


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


@router.post("/quarantine/{uid}/send", dependencies=[Ours])
async def send(
    request: Request,
    office: Desk,
    person: Somebody,
    uid: str,
    attributes: Text = "",
    data: Text = "",
    headers: Text = "",
    reply_to: Annotated[str, Form(max_length=255)] = "",
    reason: Reason = "",
) -> Response:
    """What is wrong is shown above the form, which keeps what was written."""
    try:
        sheet = mending.read_sheet(attributes, data, headers, reply_to)
        await mending.send(office, person, uid, sheet, reason)
    except Wrong as wrong:
        fields = {"attributes": attributes, "data": data, "headers": headers, "reply_to": reply_to}
        return await page(
            request, "quarantined.html", wrong.status, record={"uid": uid[:40]}, wrong=None, kept=True, text=None,
            fields=fields, problem=str(wrong),
        )  # fmt: skip
    return RedirectResponse("/quarantine?state=sent", 303)


@router.post("/quarantine/{uid}/drop", dependencies=[Ours])
async def drop(request: Request, office: Desk, person: Somebody, uid: str, reason: Reason = "") -> Response:
    await mending.drop(office, person, uid, reason)
    return RedirectResponse("/quarantine", 303)
