"""`/api/v1/batches` and `/api/v1/uploads`: batches, and files of rows on their way to become one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from worker.console import batching
from worker.console.api import WRONG, Answer, Asked, Because, Key, Number, Page, Said, once
from worker.console.door import Desk, Ours, Somebody, from_here, marked
from worker.console.office import Office, Wrong
from worker.console.pages.batches import MIMES, download
from worker.journal.batches.uploads import Upload
from worker.journal.console.people import Person

MORE: dict[int | str, dict[str, Any]] = {
    code: {**WRONG[404], "description": text}
    for code, text in {
        408: "the file did not come in in time",
        413: "the file is larger than [console] upload_max",
        429: "other files are coming in just now",
    }.items()
}
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
router = APIRouter(prefix="/api/v1", responses=WRONG)
Name = Annotated[str, Path(max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
State = Literal["sending", "sent", "parked", "done", "failed", "bad"]


class Rate(Because):
    rate: float = Field(ge=0, le=100_000, description="rows a second, at most; 0: no limit")


class Mapped(Asked):
    platform: str = Field(max_length=40)
    command: str = Field(
        default="onboard", max_length=200, description="`onboard`, or the command that each row becomes"
    )
    mapping: str = Field(
        default="", max_length=65_536, description="TOML, see docs/batches.md; empty: by the headers"
    )
    batch: str = Field(
        default="", max_length=100, description="its name; empty: the file's and 8 digits of its content"
    )
    undoable: bool = Field(default=False, description="keep the state before, so that it can be taken back")


class DryRun(Asked):
    against: bool = Field(default=False, description="ask the platform as well")
    repeats: bool = Field(
        default=False, description="rows that an earlier batch created or topped up are meant"
    )


class Go(Asked):
    reason: Said
    skip_bad: bool = Field(default=False, description="send the good rows although others are bad")
    max_rows: int | None = Field(default=None, ge=1, description="send nothing if there are more")
    max_share_bad: float | None = Field(default=None, ge=0, le=1, description="send nothing if more are bad")
    rate: float | None = Field(default=None, gt=0, le=100_000, description="rows a second, at most")
    repeats: bool = False
    resume: bool = Field(default=False, description="go on with a known batch although its file has changed")
    retry_failed: bool = Field(
        default=False,
        description="of one that was sent: the rows again that failed, otherwise as it was sent",
    )
    seen: float | None = Field(
        default=None,
        description="`touched_at` of the upload whose dry run you looked at: send nothing if somebody changed it since",
    )


# ---------------------------------------------------------------- batches


@router.get("/batches", summary="List batches, newest first, with their rows by state")
async def batches(
    office: Desk,
    person: Somebody,
    before: Annotated[int | None, Query(ge=1, lt=1 << 62)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Page:
    found, more = await batching.listing(office, before, limit)
    return Page(rows=[Answer(**one) for one in found], more=more)


@router.get("/batches/{name}", summary="One batch: progress, rate, time left, causes of failure")
async def batch(office: Desk, person: Somebody, name: Name) -> Answer:
    """`speed`: rows a second; `left`: seconds; both null where nobody can say. `ended`: rows."""
    return Answer(**await batching.one(office, person, name))


@router.get("/batches/{name}/rows", summary="Rows of a batch, with their commands")
async def rows(
    office: Desk,
    person: Somebody,
    name: Name,
    state: State | None = None,
    before: Annotated[int, Query(ge=0, lt=1 << 62, description="`more` of the page before")] = 0,
) -> Page:
    found, more = await batching.rows(office, person, name, state or "", before)
    return Page(rows=[Answer(**one) for one in found], more=more)


@router.get(
    "/batches/{name}/report",
    summary="A line a row, with endings and causes",
    response_class=Response,
    responses={200: {"description": "the report", "content": dict.fromkeys(MIMES.values(), BINARY)}},
)
async def report(
    office: Desk, person: Somebody, name: Name, format: Literal["csv", "xlsx"] = "csv"
) -> Response:
    kind, parts = await batching.report(office, person, name, format)
    return download(parts, f"{name}.{kind}", MIMES[kind])


@router.post("/batches/{name}/rate", dependencies=[Ours], summary="Change how fast a batch is sent")
async def rate(office: Desk, person: Somebody, name: Name, body: Rate, key: Key = None) -> Answer:
    async def work() -> Mapping[str, Any]:
        return await batching.act(office, person, "rate", name, body.reason, body.rate)

    return await once(office, person, key, f"batch rate {name}", body.model_dump(), work)  # type: ignore[return-value]  # FastAPI passes it on


# One path each: behind one with a name for the act, every other path of a batch would seem to take a POST.


@router.post("/batches/{name}/pause", dependencies=[Ours], summary="Pause a batch")
async def pause(office: Desk, person: Somebody, name: Name, body: Because, key: Key = None) -> Answer:
    return await _act(office, person, "pause", name, body, key)


@router.post("/batches/{name}/resume", dependencies=[Ours], summary="Let a paused batch go on")
async def resume(office: Desk, person: Somebody, name: Name, body: Because, key: Key = None) -> Answer:
    return await _act(office, person, "resume", name, body, key)


@router.post(
    "/batches/{name}/cancel", dependencies=[Ours], summary="Send nothing more of it, cancel what waits"
)
async def cancel(office: Desk, person: Somebody, name: Name, body: Because, key: Key = None) -> Answer:
    return await _act(office, person, "cancel", name, body, key)


async def _act(office: Office, person: Person, act: str, name: str, body: Because, key: str | None) -> Answer:
    async def work() -> Mapping[str, Any]:
        return await batching.act(office, person, act, name, body.reason)

    return await once(office, person, key, f"batch {act} {name}", body.model_dump(), work)  # type: ignore[return-value]  # as above


# ---------------------------------------------------------------- uploads


def shown(upload: Upload) -> dict[str, Any]:
    looked = {name: upload.looked.get(name) for name in ("how", "columns", "rows")}
    names = ("id", "name", "size", "sha256", "uploaded_by", "state", "text", "platform", "batch", "rows_read", "created_at", "touched_at")  # fmt: skip
    return {
        **{name: getattr(upload, name) for name in names}, "looked": looked, "plan": dict(upload.plan),
        "found": upload.found,
    }  # fmt: skip


@router.get("/uploads", summary="Files of rows on their way to become batches")
async def uploads(office: Desk, person: Somebody) -> list[Answer]:
    await office.allowed(person, "operator", "look at uploaded files")
    return [Answer(**shown(one)) for one in await batching.uploads(office, person)]


@router.post(
    "/uploads",
    summary="Upload a file of rows",
    responses=MORE,
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/octet-stream": BINARY}},
    },
)
async def upload(
    request: Request,
    office: Desk,
    person: Somebody,
    name: Annotated[
        str,
        Query(
            min_length=1, max_length=200, description="of the file, with its ending", pattern=r"^[^\x00]+$"
        ),
    ],
    key: Key = None,
) -> Answer:
    """CSV, XLSX or JSON Lines, as it is. Nothing is sent yet: say what becomes of a row, dry run, then go."""
    await from_here(request)
    if not person.token:
        await marked(request, request.headers.get("x-csrf-token", ""))
    taken = False

    async def work() -> Mapping[str, Any]:
        nonlocal taken
        taken = True
        number = await batching.take(office, person, name, request.stream())
        return shown(await batching.upload(office, person, number))

    answer = await once(office, person, key, "upload", {"name": name}, work)
    if not taken and answer.status_code == 200:
        await _same_file(request, json.loads(bytes(answer.body)))
    return answer  # type: ignore[return-value]  # as above


async def _same_file(request: Request, before: Mapping[str, Any]) -> None:
    """Raises Wrong where another file comes under the key of one that was taken; it is read no further than that one."""
    hashed, size = hashlib.sha256(), 0
    async for part in request.stream():
        hashed.update(part)
        size += len(part)
        if size > before["size"]:
            break
    if hashed.hexdigest() != before["sha256"]:
        raise Wrong("this Idempotency-Key was used for another file", 409)


@router.get("/uploads/{number}", summary="One file: how it is read, its mapping, what the dry run found")
async def one(office: Desk, person: Somebody, number: Number) -> Answer:
    return Answer(**shown(await batching.upload(office, person, number)))


@router.get("/uploads/{number}/preview", summary="The first rows as commands, without their secrets")
async def preview(office: Desk, person: Somebody, number: Number) -> list[Answer]:
    return [Answer(**row) for row in await batching.preview(office, person, number)]


@router.get("/uploads/{number}/mapping", summary="A mapping to begin with, from the columns")
async def mapping(
    office: Desk,
    person: Somebody,
    number: Number,
    platform: Annotated[str, Query(max_length=40)],
    command: Annotated[str, Query(max_length=200)] = "onboard",
) -> Answer:
    made = {"mapping": await batching.mapping(office, person, number, platform, command)}
    return Answer(**made)


@router.post("/uploads/{number}/plan", dependencies=[Ours], summary="Say what becomes of a row")
async def plan(office: Desk, person: Somebody, number: Number, body: Mapped, key: Key = None) -> Answer:
    async def work() -> Mapping[str, Any]:
        return shown(await batching.plan(office, person, number, body.platform, body.model_dump()))

    return await once(office, person, key, f"plan {number}", body.model_dump(), work)  # type: ignore[return-value]  # as above


@router.post(
    "/uploads/{number}/check", dependencies=[Ours], summary="Dry run: check everything, send nothing"
)
async def check(office: Desk, person: Somebody, number: Number, body: DryRun, key: Key = None) -> Answer:
    """It runs by itself: look at the upload until its state is `checked` or `stopped`."""

    async def work() -> Mapping[str, Any]:
        await batching.check(office, person, number, body.against, body.repeats)
        return {"upload": number, "done": "check"}

    return await once(office, person, key, f"check {number}", body.model_dump(), work)  # type: ignore[return-value]  # as above


@router.get(
    "/uploads/{number}/problems",
    summary="All that the dry run found, as CSV",
    response_class=Response,
    responses={200: {"description": "the problems", "content": {MIMES["csv"]: BINARY}}},
)
async def problems(office: Desk, person: Somebody, number: Number) -> Response:
    _, parts = await batching.problems(office, person, number)
    return download(parts, f"problems-{number}.csv", MIMES["csv"])


@router.post("/uploads/{number}/go", dependencies=[Ours], summary="Send its rows")
async def go(office: Desk, person: Somebody, number: Number, body: Go, key: Key = None) -> Answer:
    async def work() -> Mapping[str, Any]:
        wish = body.model_dump(exclude={"reason", "seen"})
        batch = await batching.go(office, person, number, body.reason, wish, body.seen)
        return {"upload": number, "batch": batch}

    return await once(office, person, key, f"go {number}", body.model_dump(), work)  # type: ignore[return-value]  # as above


@router.post(
    "/uploads/{number}/back", dependencies=[Ours], summary="Take back what was let go and has not begun"
)
async def take_back(office: Desk, person: Somebody, number: Number, body: Because, key: Key = None) -> Answer:
    async def work() -> Mapping[str, Any]:
        await batching.take_back(office, person, number, body.reason)
        return {"upload": number, "done": "back"}

    return await once(office, person, key, f"back {number}", body.model_dump(), work)  # type: ignore[return-value]  # as above


@router.post("/uploads/{number}/drop", dependencies=[Ours], summary="Drop a file")
async def drop(office: Desk, person: Somebody, number: Number, body: Because, key: Key = None) -> Answer:
    async def work() -> Mapping[str, Any]:
        await batching.drop(office, person, number, body.reason)
        return {"upload": number, "done": "drop"}

    return await once(office, person, key, f"drop {number}", body.model_dump(), work)  # type: ignore[return-value]  # as above
