"""Acts of the page Platforms that are about more, or less, than a pause of one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response

from worker.console import stopping
from worker.console.door import Desk, Ours, Somebody
from worker.console.office import Wrong

router = APIRouter(include_in_schema=False)
Reason = Annotated[str, Form(max_length=500)]
Scope = Annotated[str, Form(max_length=20)]
Name = Annotated[str, Form(max_length=400)]


@router.post("/pauses", dependencies=[Ours])
async def pause(
    office: Desk, person: Somebody, scope: Scope = "", name: Name = "", reason: Reason = ""
) -> Response:
    await stopping.pause(office, person, scope, name, reason)
    return RedirectResponse("/platforms", 303)


@router.post("/pauses/end", dependencies=[Ours])
async def resume(
    office: Desk, person: Somebody, scope: Scope = "", name: Name = "", reason: Reason = ""
) -> Response:
    await stopping.resume(office, person, scope, name, reason)
    return RedirectResponse("/platforms", 303)


@router.post("/platforms/{platform}/rate", dependencies=[Ours])
async def rate(
    office: Desk,
    person: Somebody,
    platform: str,
    per_second: Annotated[str, Form(max_length=20)] = "",
    reason: Reason = "",
) -> Response:
    """Without a figure: as the settings say."""
    if per_second.strip():
        await stopping.lower(office, person, platform, _figure(per_second), reason)
    else:
        await stopping.restore(office, person, platform, reason)
    return RedirectResponse("/platforms", 303)


def _figure(text: str) -> float:
    """As people write it, with a comma or a point."""
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        raise Wrong("a rate is a number: calls a second") from None
