"""`/api/v1/quarantine`: refused messages, and what is done with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import Field

from worker.console import mending
from worker.console.api import WRONG, Answer, Because, Key, once
from worker.console.door import Desk, Ours, Somebody
from worker.journal.quarantine.mending import Sheet

router = APIRouter(prefix="/api/v1", responses=WRONG)
Uid = Annotated[
    str, Path(min_length=4, max_length=36, description="as the list shows it; its beginning is enough")
]
MASKS = "the whole of it; `***` keeps the secret that is there; left out: as it was"


class Mended(Because):
    attributes: dict[str, Any] | None = Field(default=None, description=f"of the CloudEvent, {MASKS}")
    data: dict[str, Any] | None = Field(default=None, description=f"of the command, {MASKS}")
    headers: dict[str, str] | None = Field(default=None, description=f"of AMQP beside them, {MASKS}")
    reply_to: str | None = Field(
        default=None, max_length=255, description="the queue that gets the answer too"
    )


@router.get("/quarantine", summary="Refused messages, without their bodies")
async def quarantine(
    office: Desk, person: Somebody, state: Literal["kept", "sent", "dropped"] = "kept"
) -> list[Answer]:
    return [Answer(**one) for one in await office.journal.quarantined(state, 200)]


@router.post("/quarantine/{uid}/look", dependencies=[Ours], summary="Look at one; that is recorded")
async def look(office: Desk, person: Somebody, uid: Uid, body: Because) -> Answer:
    """`wrong`: why it would be refused today, null where it would not; `text`: a body that cannot be read whole."""
    found = await mending.look(office, person, uid, body.reason)
    parts = found.parts
    wrong = found.wrong and {"code": found.wrong.code.value, "message": found.wrong.message}
    shown = {
        "attributes": parts and dict(parts.attributes),
        "data": parts and parts.data,
        "headers": parts and dict(parts.headers),
        "text": parts and parts.text,
        "wrong": wrong,
    }
    return Answer(**{**found.record, **shown})


@router.post("/quarantine/{uid}/send", dependencies=[Ours], summary="Send one again, as it came or mended")
async def send(office: Desk, person: Somebody, uid: Uid, body: Mended, key: Key = None) -> Answer:
    """Under the same id and key. What is changed is checked first."""

    async def work() -> Mapping[str, Any]:
        sheet = Sheet(body.attributes, body.data, body.headers, body.reply_to)
        return await mending.send(office, person, uid, sheet, body.reason)

    return await once(office, person, key, f"send {uid}", body.model_dump(), work)  # type: ignore[return-value]  # FastAPI passes it on


@router.post(
    "/quarantine/{uid}/drop", dependencies=[Ours], summary="Delete the body of one; its record stays"
)
async def drop(office: Desk, person: Somebody, uid: Uid, body: Because, key: Key = None) -> Answer:
    async def work() -> Mapping[str, Any]:
        return await mending.drop(office, person, uid, body.reason)

    return await once(office, person, key, f"drop {uid}", body.model_dump(), work)  # type: ignore[return-value]  # as above
