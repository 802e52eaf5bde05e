"""Server-sent events: "something changed", so that a page can ask for its own content anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from worker.console.door import Desk, Somebody
from worker.console.office import Office, Wrong

router = APIRouter(include_in_schema=False)

EVERY = 2.0  # seconds between two looks; the journal is asked once for all that listen
LONGEST = 3600.0  # seconds: then the browser comes again, and shows its cookie again
MOST = 100  # listeners of one process
_listening: set[object] = set()


@router.get("/live")
async def live(request: Request, office: Desk, person: Somebody) -> StreamingResponse:
    if len(_listening) >= MOST:
        raise Wrong("too many pages listen: this one is not kept up to date", 429)
    return StreamingResponse(_changes(request, office), media_type="text/event-stream")


async def _changes(request: Request, office: Office) -> AsyncIterator[str]:
    mine = object()
    _listening.add(mine)
    loop = asyncio.get_running_loop()
    until, before = loop.time() + LONGEST, ""
    try:
        yield "retry: 3000\n\n"
        while loop.time() < until and not office.closing.is_set():
            now = await _mark(office)
            yield ": still here\n\n" if now == before else f"data: {now}\n\n"
            before = now
            try:
                await asyncio.wait_for(office.closing.wait(), EVERY)
            except TimeoutError:
                continue
    finally:
        _listening.discard(mine)


async def _mark(office: Office) -> str:
    """A short text that changes when a page might."""
    seen = await office.readiness.watch.seen(max_age=EVERY)
    figures = seen.health
    ended = await office.journal.newest_mark() if figures else ""
    stops = [(p.name, p.held, p.paused_by, p.broken_since, p.lowered_rate) for p in seen.platforms]
    return f"{hash((str(figures), str(stops), str(seen.pauses), seen.error, ended)) & 0xFFFFFFFF:x}"
