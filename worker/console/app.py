"""The operator's port: health for everybody, pages and API for who is signed in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.console.health import Readiness
from worker.console.metrics import Metrics
from worker.console.office import NotAllowed, NotSignedIn, Office, Wrong
from worker.journal.console.reader import TooWide
from worker.journal.port import JournalDown

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
MOST = 1024 * 1024  # bytes of a request's body
UPLOADS = ("/batches/upload", "/api/v1/uploads")
NAMES = {401: "not signed in", 403: "not allowed", 404: "not found", 405: "not possible", 409: "too late"}


def build(readiness: Readiness, metrics: Metrics, office: Office | None = None) -> FastAPI:
    """Without `office` health and metrics only."""
    app = FastAPI(
        title="provisioning worker", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )

    @app.middleware("http")
    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await answer(request)
        response.headers.update(HEADERS)
        return response

    app.add_middleware(Bounded)
    _health(app, readiness, metrics)
    if office is not None:
        app.state.office = office
        _pages(app)
        if office.provider is not None:
            from worker.console.pages import provider

            app.include_router(provider.router)
    return app


class Bounded:
    """Ends a body at MOST bytes: else one of any length would be in memory before anybody asks who sent it.

    A file that is uploaded has its own bound: who sends it is asked before it is read.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MOST:
                raise HTTPException(413, f"what was sent is longer than {MOST // 1024} KiB")
            return message

        own = scope["type"] != "http" or scope["path"] in UPLOADS
        await self._app(scope, receive if own else bounded, send)


def _health(app: FastAPI, readiness: Readiness, metrics: Metrics) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        """Alive: the event loop that does all the work has just answered. Not ready is not dead."""
        return PlainTextResponse("ok\n")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        ready, report = await readiness.report(public=True)
        return JSONResponse(report, status_code=200 if ready else 503)

    @app.get("/metrics", include_in_schema=False)
    async def exposition() -> Response:
        return Response(await metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _pages(app: FastAPI) -> None:
    from worker.console import api, api_batches, api_looks, api_pauses, api_people, api_quarantine, live
    from worker.console.pages import batches, boards, bulk, entry, orders, pauses, quarantine

    # Those first whose paths another one's pattern would take.
    for part in (pauses, entry, boards, bulk, orders, quarantine, batches, live):
        app.include_router(part.router)
    for described in (api_looks, api_pauses, api_people, api_quarantine, api_batches, api):
        app.include_router(described.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    for error in (
        NotSignedIn,
        NotAllowed,
        Wrong,
        TooWide,
        JournalDown,
        RequestValidationError,
        HTTPException,
    ):
        app.add_exception_handler(error, _explained)
    app.add_exception_handler(Exception, _broken)


async def _broken(request: Request, error: Exception) -> Response:
    """What nobody thought of; the log has its trace. It answers outside of what sets the headers."""
    try:
        answer = await _explained(request, error)
    except Exception as again:  # the page itself may be what is broken
        answer = PlainTextResponse(f"{_status(again)[1]}\n", 500)
    answer.headers.update(HEADERS)
    return answer


async def _explained(request: Request, error: Exception) -> Response:
    """A clear page, or for programs problem details."""
    status, text = _status(error)
    if request.url.path.startswith("/api/"):
        answer = problem(status, text)
        if status == 405:
            answer.headers["Allow"] = _methods(request)
        return answer
    if isinstance(error, NotSignedIn):
        back = request.url.path if request.method == "GET" else "/"
        if request.method == "GET" and request.url.query:
            back += f"?{request.url.query}"
        return RedirectResponse(f"/sign-in?next={quote(back, safe='')}", 303)
    from worker.console.pages.render import page

    try:
        return await page(request, "wrong.html", status, problem=text, status=status)
    except (JournalDown, TooWide):
        return PlainTextResponse(f"{text}\n", status)


def _methods(request: Request) -> str:
    """Of all routes with this path: the framework names those of the first one only."""
    from worker.console import api, api_batches, api_looks, api_pauses, api_people, api_quarantine

    found: set[str] = set()
    for route in (
        *api.router.routes,
        *api_looks.router.routes,
        *api_people.router.routes,
        *api_pauses.router.routes,
        *api_quarantine.router.routes,
        *api_batches.router.routes,
    ):
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return ", ".join(sorted(found - {"HEAD"}))


def _status(error: Exception) -> tuple[int, str]:
    match error:
        case NotSignedIn():
            return 401, "sign in, or give a token that is still good"
        case NotAllowed():
            return 403, str(error)
        case Wrong():
            return error.status, str(error)
        case TooWide():
            return 422, str(error)
        case JournalDown():
            return (
                503,
                "the journal does not answer: whether something was changed is not known, look before you repeat it",
            )
        case RequestValidationError():
            return 422, _first_of(error)
        case HTTPException():
            return error.status_code, "there is no such page" if error.status_code == 404 else str(
                error.detail
            )
        case _:
            return (
                500,
                "something went wrong here, and the log says what: whether something was changed is not known,"
                " look before you repeat it",
            )


def _first_of(error: RequestValidationError) -> str:
    """Which field, and what is wrong with it; what was sent is not repeated."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first.get("loc", ())[1:]) or "the request"
    return f"{where}: {str(first.get('msg', 'it makes no sense'))[:200]}"


def problem(status: int, text: str) -> JSONResponse:
    """RFC 9457."""
    body = {
        "type": "about:blank",
        "title": NAMES.get(status, "not possible"),
        "status": status,
        "detail": text,
    }
    answer = JSONResponse(body, status, media_type="application/problem+json")
    if status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer
