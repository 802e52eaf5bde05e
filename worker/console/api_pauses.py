"""`/api/v1/pauses` and the rate of a platform: what people stop and slow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from worker.console import stopping
from worker.console.api import WRONG, Answer, Because, Key, once
from worker.console.door import Desk, Ours, Somebody
from worker.journal.port import Scope

router = APIRouter(prefix="/api/v1", responses=WRONG)
NAME = "a command's type, a source, or a batch; of everything it is empty"


class About(Because):
    scope: Scope
    name: str = Field(default="", max_length=300, description=NAME)


class Rate(Because):
    per_second: float | None = Field(
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="calls a second, all processes together, below that of the settings; null: as the settings say",
    )


@router.get("/pauses", summary="What is paused besides single platforms, the oldest first")
async def pauses(office: Desk, person: Somebody) -> list[Answer]:
    return [Answer(**asdict(one)) for one in await office.journal.journal.pauses()]


@router.post(
    "/pauses", dependencies=[Ours], summary="Pause everything, a command, what a source sends, or a batch"
)
async def pause(office: Desk, person: Somebody, body: About, key: Key = None) -> Answer:
    """What is paused begins nothing; what had begun is cleared up. A batch is not sent any further either."""

    async def work() -> Mapping[str, object]:
        scope, name = await stopping.pause(office, person, body.scope, body.name, body.reason)
        return {"scope": scope, "name": name, "done": "pause"}

    return await once(office, person, key, "pause", body.model_dump(), work)  # type: ignore[return-value]  # FastAPI passes it on


@router.post("/pauses/end", dependencies=[Ours], summary="Let it go on")
async def resume(office: Desk, person: Somebody, body: About, key: Key = None) -> Answer:
    async def work() -> Mapping[str, object]:
        scope, name = await stopping.resume(office, person, body.scope, body.name, body.reason)
        return {"scope": scope, "name": name, "done": "resume"}

    return await once(office, person, key, "resume", body.model_dump(), work)  # type: ignore[return-value]  # as above


@router.post(
    "/platforms/{name}/rate", dependencies=[Ours], summary="Lower a platform's rate of calls, or restore it"
)
async def rate(
    office: Desk, person: Somebody, name: Annotated[str, Path(max_length=40)], body: Rate, key: Key = None
) -> Answer:
    async def work() -> Mapping[str, object]:
        if body.per_second is None:
            await stopping.restore(office, person, name, body.reason)
        else:
            await stopping.lower(office, person, name, body.per_second, body.reason)
        return {"platform": name, "rate": body.per_second, "done": "rate"}

    return await once(office, person, key, f"rate {name}", body.model_dump(), work)  # type: ignore[return-value]  # as above
