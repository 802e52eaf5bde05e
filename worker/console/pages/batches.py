"""Batches: how they fare, and files of rows on their way to become one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from worker.console import batching
from worker.console.batching import rate_of, share_of
from worker.console.door import Desk, Ours, Somebody, from_here, marked
from worker.console.office import Office, Wrong
from worker.console.pages.render import page
from worker.journal.batches.uploads import Unfit, Upload

router = APIRouter(include_in_schema=False)
Reason = Annotated[str, Form(max_length=500)]
Short = Annotated[str, Form(max_length=100)]
Tick = Annotated[str, Form(max_length=5)]

UPLOAD = "/batches/upload"
BESIDE = 64 * 1024  # bytes of a form beside its file
AT_ONCE = 2  # files in memory on their way in
PATIENCE = 150.0  # seconds that one may take
MIMES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_incoming: set[object] = set()


def number_of(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else 0


# ---------------------------------------------------------------- looks


@router.get("/batches")
async def batches(request: Request, office: Desk, person: Somebody, before: str = "") -> Response:
    found, more = await batching.listing(office, number_of(before) or None)
    files = [one for one in await batching.uploads(office, person) if one.state != "sent"]
    most = office.batches.most if office.batches else 0
    return await page(
        request, "batches.html", batches=found, more=more, uploads=files, most=most, paged=bool(before)
    )


@router.get("/batches/{name}")
async def batch(
    request: Request, office: Desk, person: Somebody, name: str, state: str = "", after: str = ""
) -> Response:
    found = await batching.one(office, person, name)
    rows, more = await batching.rows(office, person, name, state, number_of(after))
    upload = None
    if office.batches is not None and person.may("operator"):
        upload = await office.batches.uploads.of_batch(name)
    return await page(
        request, "batch.html", b=found, rows=rows, more=more, state=state, states=batching.ROWS, upload=upload,
        paged=bool(after),
    )  # fmt: skip


@router.get("/batches/{name}/report.{form}")
async def report(office: Desk, person: Somebody, name: str, form: str) -> Response:
    kind, parts = await batching.report(office, person, name, form)
    return download(parts, f"{name}.{kind}", MIMES[kind])


def download(parts: AsyncIterator[bytes], name: str, mime: str) -> Response:
    """`name` holds letters, digits and dots only."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(parts, media_type=mime, headers=headers)


@router.post("/batches/{name}/{act}", dependencies=[Ours])
async def on_batch(
    office: Desk, person: Somebody, name: str, act: str, reason: Reason = "", rate: Short = ""
) -> Response:
    await batching.act(office, person, act, name, reason, rate_of(rate) if act == "rate" else None)
    return RedirectResponse(f"/batches/{name}", 303)


# ---------------------------------------------------------------- a file comes in


class InMemory(MultiPartParser):
    """A file of customers is never put down on a disk."""

    spool_max_size = 0  # never


@router.post(UPLOAD)
async def upload(request: Request, office: Desk, person: Somebody) -> Response:
    """Who sends it is asked before what he sends is read, and its mark where `door.our_form` would read it whole first."""
    await office.allowed(person, "operator", "upload a file")
    await from_here(request)
    if len(_incoming) >= AT_ONCE:
        raise Wrong("other files are coming in just now: try again in a minute", 429)
    mine = object()
    _incoming.add(mine)
    try:
        async with asyncio.timeout(PATIENCE):
            form = await _form(request, batching.desk(office).most)
        await marked(request, str(form.get("csrf") or ""))
        file = form.get("file")
        if not isinstance(file, UploadFile) or not file.size:
            raise Wrong("choose a file that holds something")
        number = await batching.take(office, person, file.filename or "file", _chunks(file))
    except TimeoutError:
        raise Wrong("the file did not come in in time", 408) from None
    finally:
        _incoming.discard(mine)
    return RedirectResponse(f"/uploads/{number}", 303)


async def _form(request: Request, most: int) -> FormData:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Wrong("a file comes as multipart/form-data")
    try:
        return await InMemory(
            request.headers, _bounded(request, most + BESIDE), max_files=1, max_fields=5
        ).parse()
    except MultiPartException as error:
        raise Wrong(f"the form cannot be read: {error.message}", 400) from None


async def _bounded(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    taken = 0
    async for chunk in request.stream():
        taken += len(chunk)
        if taken > most:
            raise Wrong(
                f"a file has at most {most >> 20} MB here ([console] upload_max): use `worker onboard` or `worker batch run`",
                413,
            )
        yield chunk


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(1 << 20):
        yield chunk


# ---------------------------------------------------------------- a file on its way


@router.get("/uploads/{number}")
async def one(request: Request, office: Desk, person: Somebody, number: int) -> Response:
    return await _shown(request, office, await batching.upload(office, person, number))


async def _shown(
    request: Request, office: Office, found: Upload, status: int = 200, **given: Any
) -> Response:
    """The page of a file. `given`: what was typed and is not good; `problem`: why."""
    desk = batching.desk(office)
    problem = given.pop("problem", None)
    preview = None
    if found.plan and problem is None:
        try:
            preview = await desk.preview(found)
        except Unfit as error:  # the settings may have changed since it was mapped
            problem = str(error)
    platform = given.get("platform") or found.platform or next(iter(sorted(office.kinds)), "")
    typed = {
        "platform": platform,
        "command": given.get("command", found.plan.get("command", "onboard")),
        "mapping": given.get("mapping", found.plan.get("mapping", "")),
        "batch": given.get("batch", found.plan.get("batch") or desk.batch_name(found)),
        "undoable": given.get("undoable", found.plan.get("undoable", False)),
    }
    commands = desk.commands(platform) if platform in office.kinds else []
    begun = bool(found.batch) and await batching.known(office, found.batch)
    return await page(
        request, "upload.html", status, u=found, begun=begun, typed=typed, preview=preview, problem=problem, commands=commands,
        platforms=sorted(office.kinds),
    )  # fmt: skip


@router.post("/uploads/{number}/plan", dependencies=[Ours])
async def plan(
    request: Request,
    office: Desk,
    person: Somebody,
    number: int,
    platform: Short = "",
    command: Annotated[str, Form(max_length=200)] = "onboard",
    mapping: Annotated[str, Form(max_length=70_000)] = "",
    batch: Short = "",
    undoable: Tick = "",
    guess: Tick = "",
) -> Response:
    found = await batching.upload(office, person, number)
    given: dict[str, Any] = {
        "platform": platform, "command": command.strip() or "onboard", "mapping": mapping.replace("\r\n", "\n"),
        "batch": batch.strip(), "undoable": bool(undoable),
    }  # fmt: skip
    if guess:
        given["mapping"] = await batching.mapping(office, person, number, platform, given["command"])
        return await _shown(request, office, found, **given, problem="")
    try:
        await batching.plan(office, person, number, platform, given)
    except Wrong as wrong:
        return await _shown(request, office, found, wrong.status, **given, problem=str(wrong))
    return RedirectResponse(f"/uploads/{number}", 303)


@router.post("/uploads/{number}/check", dependencies=[Ours])
async def check(
    office: Desk, person: Somebody, number: int, against: Tick = "", repeats: Tick = ""
) -> Response:
    await batching.check(office, person, number, bool(against), bool(repeats))
    return RedirectResponse(f"/uploads/{number}", 303)


@router.post("/uploads/{number}/go", dependencies=[Ours])
async def go(
    office: Desk,
    person: Somebody,
    number: int,
    reason: Reason = "",
    skip_bad: Tick = "",
    share: Short = "",
    rate: Short = "",
    repeats: Tick = "",
    resume: Tick = "",
    retry_failed: Tick = "",
    seen: Annotated[float | None, Form()] = None,
) -> Response:
    wish = {
        "skip_bad": bool(skip_bad), "max_share_bad": share_of(share), "rate": rate_of(rate), "repeats": bool(repeats),
        "resume": bool(resume), "retry_failed": bool(retry_failed),
    }  # fmt: skip
    await batching.go(office, person, number, reason, wish, seen)
    return RedirectResponse(f"/uploads/{number}", 303)


@router.post("/uploads/{number}/back", dependencies=[Ours])
async def take_back(office: Desk, person: Somebody, number: int, reason: Reason = "") -> Response:
    await batching.take_back(office, person, number, reason)
    return RedirectResponse(f"/uploads/{number}", 303)


@router.post("/uploads/{number}/drop", dependencies=[Ours])
async def drop(office: Desk, person: Somebody, number: int, reason: Reason = "") -> Response:
    await batching.drop(office, person, number, reason)
    return RedirectResponse("/batches", 303)


@router.get("/uploads/{number}/problems.csv")
async def problems(office: Desk, person: Somebody, number: int) -> Response:
    _, parts = await batching.problems(office, person, number)
    return download(parts, f"problems-{number}.csv", MIMES["csv"])
