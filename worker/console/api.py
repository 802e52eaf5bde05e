"""`/api/v1`: what the pages do, for programs. Described in `contracts/openapi.yaml`.

A program signs in with `Authorization: Bearer TOKEN`. Errors are problem details (RFC 9457). An act that is sent
again under the same `Idempotency-Key` changes nothing, and is answered as before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Header, Path, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from worker import __version__
from worker.console import acting
from worker.console.door import Desk, Ours, Somebody
from worker.console.office import NotAllowed, Office, Wrong, masked_dependents, masked_records
from worker.console.overview import STOPPED, condition_of
from worker.console.pages.orders import Filtered, wanted_by
from worker.console.pages.render import shown_to
from worker.console.waiting import window_ends
from worker.journal.commands.acts import ActRefused
from worker.journal.console.people import Person
from worker.journal.vault import KeyMissing

PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
WRONG: dict[int | str, dict[str, Any]] = {
    code: {"description": text, "content": PROBLEM}
    for code, text in {
        400: "it cannot be read",
        401: "no token, or one that has ended",
        403: "the role does not reach",
        404: "there is no such thing",
        409: "its state forbids it, or the key was used for something else",
        422: "it makes no sense; `detail` says what would",
        503: "the journal does not answer",
    }.items()
}
WRONG[400]["content"] = {**PROBLEM, "text/plain": {}}  # where even the first line cannot be read
router = APIRouter(prefix="/api/v1", responses=WRONG)
Number = Annotated[int, Path(ge=1, lt=1 << 62)]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="the same key and content again: the same answer, and nothing is done",
    ),
]
Said = Annotated[str, Field(min_length=1, max_length=500, description="why: it stands in the audit record")]


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Because(Asked):
    reason: Said


class Resolution(Because):
    applied: bool = Field(description="whether it took effect")
    run_again: bool = Field(default=False, description="where it did not: make a new command of it")
    waive_window: bool = Field(default=False, description="before the settle window has ended; for admins")


class Act(Because):
    dependents: bool = Field(
        default=False, description="of a retry: those that ended because this one did come along"
    )


class Edit(Act):
    data: dict[str, Any] = Field(description="the whole data; `***` keeps the secret that is there")


class Note(Asked):
    note: str = Field(max_length=2000)


class Bulk(Because):
    expected: int = Field(ge=0, le=10_000, description="how many the preview counted")
    last: int | None = Field(
        default=None,
        ge=0,
        lt=1 << 62,
        description="`last` of the preview: newer commands are left out; without it one more than expected is refused",
    )
    superseded: bool = Field(default=False, description="those too that a later command overtook")


class Answer(BaseModel):
    """Commands and groups as the pages show them; further fields may come."""

    model_config = ConfigDict(extra="allow")


class Page(BaseModel):
    rows: list[Answer]
    more: int | None = Field(description="pass it as `before` for the next page; null: this was the last")
    reached: float | None = Field(default=None, description="looked back to here only; seconds since 1970")


# ---------------------------------------------------------------- looks


@router.get("/commands", summary="List commands, newest first")
async def commands(office: Desk, person: Somebody, given: Filtered) -> Page:
    found = await office.journal.page(await wanted_by(office, person, given.wanted))
    rows = [Answer(**shown_to(person, row)) for row in found.rows]
    return Page(rows=rows, more=found.more, reached=found.reached)


@router.get("/commands/{number}", summary="One command with all that is known of it")
async def command(office: Desk, person: Somebody, number: Number) -> Answer:
    try:
        found = await office.journal.command(f"#{number}")
    except ActRefused:
        raise Wrong(f"there is no command {number}", 404) from None
    if found["id"] != number:
        raise Wrong(f"there is no command {number}", 404)
    window = found["window"] | {"window_ends": window_ends(found, office.settles)}
    return Answer(**shown_to(person, found | {"window": window}))


@router.get("/dependents/{number}", summary="Those that would come along with a retry")
async def dependents(office: Desk, person: Somebody, number: Number) -> list[Answer]:
    found = await office.journal.dependents(number)
    return [Answer(**one) for one in (found if person.may("operator") else masked_dependents(found))]


@router.get("/failures", summary="Failure groups, those that failed last first")
async def failures(office: Desk, person: Somebody, archived: bool = False) -> list[Answer]:
    return [Answer(**one) for one in await office.journal.groups(None, archived)]


@router.get("/platforms", summary="Platforms: held, paused, broken, slowed; what is open")
async def platforms(office: Desk, person: Somebody) -> list[Answer]:
    seen = await office.journal.standing()
    states = {one.name: one for one in await office.journal.platforms()}
    found = []
    for name in sorted(set(office.kinds) | set(states)):
        state = states.get(name)
        shown = {field: getattr(state, field, None) for field in STOPPED}
        more = {"name": name, "kind": office.kinds.get(name), "open": seen["open"].get(name, {})}
        more["condition"] = condition_of(office, name, state, seen)
        more["rate"] = office.rates.get(name)
        found.append(Answer(**more, **shown))
    return found


@router.get("/audit", summary="Audit records, newest first")
async def audit(
    office: Desk,
    person: Somebody,
    what: Annotated[str | None, Query(max_length=60, pattern=r"^[^\x00]*$")] = None,
    actor: Annotated[str | None, Query(max_length=60, pattern=r"^[^\x00]*$")] = None,
    platform: Annotated[str | None, Query(max_length=40, pattern=r"^[^\x00]*$")] = None,
    command: Annotated[int | None, Query(ge=1, lt=1 << 62, description="a command's number")] = None,
    before: Annotated[int | None, Query(ge=1, lt=1 << 62)] = None,
) -> Page:
    rows, more = await office.journal.records(
        what=what, actor=actor, platform=platform, command=command, before=before
    )
    shown = rows if person.may("operator") else masked_records(rows)
    return Page(rows=[Answer(**one) for one in shown], more=more)


@router.post("/audit/verification", dependencies=[Ours], summary="Walk the audit chain")
async def verification(office: Desk, person: Somebody) -> Answer:
    """`records`: how many were looked at; `faults`: sentences, none where the chain is whole."""
    await office.allowed(person, "operator", "audit verify")
    report = await office.journal.verify()
    faults = [str(fault) for fault in report.faults]
    return Answer.model_validate({"records": report.records, "faults": faults})


@router.get("/acts", summary="Acts on many commands, newest first")
async def acts(office: Desk, person: Somebody) -> list[Answer]:
    return [Answer(**one) for one in await office.journal.bulk_acts()]


@router.get("/acts/{number}", summary="How one act on many commands fares")
async def act(office: Desk, person: Somebody, number: Number) -> Answer:
    found = await office.journal.bulk_act(number)
    if found is None:
        raise Wrong(f"there is no act {number}", 404)
    return Answer(**found)


# ---------------------------------------------------------------- acts


PASSING = (408, 429, 503)  # nothing was done, and later it may be: the same key may try again


async def once(
    office: Office,
    person: Person,
    key: str | None,
    what: str,
    asked: Mapping[str, Any],
    work: Callable[[], Awaitable[Mapping[str, Any]]],
) -> Response:
    """Do it once for each key of a person; a repeated request gets the stored answer."""
    if key is None:
        return JSONResponse(dict(await work()))
    name = hashlib.sha256(f"{person.name}\n{person.role}\n{key}".encode()).hexdigest()
    vault = office.journal.journal.core.vault  # keyed: a PIN behind a plain hash could be guessed
    request = vault.content_mac(json.dumps([what, asked], sort_keys=True).encode())
    try:
        before = await office.journal.reserve_answer(name, request)
    except KeyMissing:
        raise Wrong(
            "it was done before; its answer is under a key that this worker was not given", 409
        ) from None
    if before is not None:
        known, status, body = before
        if known != request:
            raise Wrong("this Idempotency-Key was used for another request", 409)
        if status == 0:
            raise Wrong("the first request with this Idempotency-Key is still under way, or was cut off", 409)
        kind = "application/problem+json" if status >= 400 else "application/json"
        return Response(body, status, media_type=kind)
    try:
        status, answer = 200, dict(await work())
    except (Wrong, NotAllowed) as error:
        from worker.console.app import problem

        status = error.status if isinstance(error, Wrong) else 403
        refused = problem(status, str(error))
        if status in PASSING:
            await office.journal.forget_answer(name)
        else:
            await office.journal.keep_answer(name, status, bytes(refused.body).decode())
        return refused
    await office.journal.keep_answer(name, status, json.dumps(answer))
    return JSONResponse(answer)


@router.post("/commands/{number}/resolution", dependencies=[Ours], summary="Say what took effect (rule 8.1)")
async def resolution(
    office: Desk, person: Somebody, number: Number, body: Resolution, key: Key = None
) -> Answer:
    async def work() -> Mapping[str, Any]:
        if body.run_again and not body.applied:
            return await acting.resolve_and_run(office, person, number, body.reason, body.waive_window)
        return await acting.resolve(office, person, number, body.applied, body.reason, body.waive_window)

    return await once(office, person, key, f"resolve {number}", body.model_dump(), work)  # type: ignore[return-value]  # as above


@router.post(
    "/commands/{number}/edition", dependencies=[Ours], summary="Run an ended command with other data"
)
async def edition(office: Desk, person: Somebody, number: Number, body: Edit, key: Key = None) -> Answer:
    async def work() -> Mapping[str, Any]:
        return await acting.edit(office, person, number, json.dumps(body.data), body.reason, body.dependents)

    return await once(office, person, key, f"edit {number}", body.model_dump(), work)  # type: ignore[return-value]  # as above


@router.post("/commands/{number}/{act}", dependencies=[Ours], summary="Retry, cancel or archive one command")
async def on_command(
    office: Desk,
    person: Somebody,
    number: Number,
    act: Literal["retry", "cancel", "archive"],
    body: Act,
    key: Key = None,
) -> Answer:
    async def work() -> Mapping[str, Any]:
        return await acting.simple(office, person, act, number, body.reason, body.dependents)

    return await once(office, person, key, f"{act} {number}", body.model_dump(), work)  # type: ignore[return-value]  # FastAPI passes it on


@router.post("/platforms/{name}/{act}", dependencies=[Ours], summary="Pause a platform, or let it go on")
async def on_platform(
    office: Desk,
    person: Somebody,
    name: Annotated[str, Path(max_length=40)],
    act: Literal["pause", "resume"],
    body: Because,
    key: Key = None,
) -> Answer:
    async def work() -> Mapping[str, Any]:
        await acting.on_platform(office, person, name, act, body.reason)
        return {"platform": name, "done": act}

    return await once(office, person, key, f"{act} {name}", body.model_dump(), work)  # type: ignore[return-value]  # as above


@router.post("/failures/{number}/note", dependencies=[Ours], summary="Note what is known of a group")
async def note(office: Desk, person: Somebody, number: Number, body: Note, key: Key = None) -> Answer:
    async def work() -> Mapping[str, Any]:
        await acting.on_group(office, person, number, "note", body.note)
        return {"group": number, "done": "note"}

    return await once(office, person, key, f"group note {number}", body.model_dump(), work)  # type: ignore[return-value]  # as above


@router.post("/failures/{number}/{act}", dependencies=[Ours], summary="Archive or restore a group")
async def on_group(
    office: Desk,
    person: Somebody,
    number: Number,
    act: Literal["archive", "restore"],
    body: Because,
    key: Key = None,
) -> Answer:
    async def work() -> Mapping[str, Any]:
        await acting.on_group(office, person, number, act, body.reason)
        return {"group": number, "done": act}

    return await once(office, person, key, f"group {act} {number}", body.model_dump(), work)  # type: ignore[return-value]  # as above


What = Literal["retry", "cancel", "archive"]


@router.get("/bulk/{what}", summary="What an act on all of these would do")
async def preview(
    office: Desk, person: Somebody, what: What, given: Filtered, superseded: bool = False
) -> Answer:
    return Answer(**(await acting.preview(office, person, what, given.wanted, superseded)).shown())


@router.post("/bulk/{what}", dependencies=[Ours], summary="Begin an act on all of these, in growing portions")
async def begin(
    office: Desk, person: Somebody, what: What, given: Filtered, body: Bulk, key: Key = None
) -> Answer:
    async def work() -> Mapping[str, Any]:
        number = await acting.begin(
            office, person, what, given.wanted, body.superseded, body.reason, body.expected, body.last
        )
        return {"act": number}

    asked = {**body.model_dump(), **{name: str(value) for name, value in given.query.items()}}
    return await once(office, person, key, f"bulk {what}", asked, work)  # type: ignore[return-value]  # as above


@router.post("/acts/{number}/stop", dependencies=[Ours], summary="Stop an act on many commands")
async def stop(office: Desk, person: Somebody, number: Number, body: Because, key: Key = None) -> Answer:
    async def work() -> Mapping[str, Any]:
        await acting.stop(office, person, number, body.reason)
        return {"act": number, "done": "stop"}

    return await once(office, person, key, f"stop {number}", body.model_dump(), work)  # type: ignore[return-value]  # as above


# ---------------------------------------------------------------- its description


def document() -> dict[str, Any]:
    """OpenAPI 3.1 of the API, as `contracts/openapi.yaml` holds it."""
    from worker.console import api_batches, api_looks, api_pauses, api_people, api_quarantine

    app = FastAPI(
        title="Operator API of the provisioning worker",
        version=__version__,
        description=(__doc__ or "").strip(),
    )
    for part in (
        router,
        api_looks.router,
        api_pauses.router,
        api_people.router,
        api_quarantine.router,
        api_batches.router,
    ):
        app.include_router(part)
    made = app.openapi()
    components = made["components"]
    components["schemas"]["Problem"] = Problem.model_json_schema()
    components["schemas"].pop("HTTPValidationError", None)
    components["schemas"].pop("ValidationError", None)
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    made["security"] = [{"token": []}]
    made["info"]["license"] = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    return dict(made)
