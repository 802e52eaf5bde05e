"""The pages of the operator's port. For now: alive, ready, metrics; nothing else is open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from worker.console.health import Readiness
from worker.console.metrics import Metrics

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def build(readiness: Readiness, metrics: Metrics) -> FastAPI:
    app = FastAPI(
        title="provisioning worker", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )

    @app.middleware("http")
    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await answer(request)
        response.headers.update(HEADERS)
        return response

    @app.get("/healthz")
    async def healthz() -> Response:
        """Alive: the event loop that does all the work has just answered. Not ready is not dead."""
        return PlainTextResponse("ok\n")

    @app.get("/readyz")
    async def readyz() -> Response:
        ready, report = await readiness.report()
        return JSONResponse(report, status_code=200 if ready else 503)

    @app.get("/metrics")
    async def exposition() -> Response:
        return Response(await metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app
