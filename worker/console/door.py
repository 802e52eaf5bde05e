"""Who stands before a page: cookie or token, and whether a form is really ours."""

from __future__ import annotations

import hmac
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response

from worker.console.office import NotSignedIn, Office, Wrong
from worker.journal.console.people import LONGEST, Person, hashed

COOKIE = "worker_session"
LANGUAGE = "worker_language"
BY_ITSELF = "x-by-itself"  # the header of a page that asks for itself anew, with nobody at it


def office_of(request: Request) -> Office:
    office: Office = request.app.state.office
    return office


def secret_of(request: Request) -> str | None:
    """The session's secret from a cookie that we signed."""
    text = request.cookies.get(COOKIE)
    if not text or len(text) > 500:
        return None
    found = office_of(request).opened("session", text, LONGEST)
    return found if isinstance(found, str) else None


async def person_of(request: Request) -> Person | None:
    if "person" in request.scope:
        return request.scope["person"]  # type: ignore[no-any-return]  # ours, from below
    person = await _asked(request)
    request.scope["person"] = person
    return person


async def _asked(request: Request) -> Person | None:
    office = office_of(request)
    given = request.headers.get("authorization", "")
    if given and request.url.path.startswith("/api/"):
        scheme, _, token = given.partition(" ")
        if scheme.lower() != "bearer" or not 10 < len(token) < 200:
            return None
        return await office.person_of_token(token)
    secret = secret_of(request)
    if secret is None:
        return None
    alone = request.url.path == "/live" or BY_ITSELF in request.headers
    return await office.person_of_session(secret, touch=not alone)


async def somebody(request: Request) -> Person:
    person = await person_of(request)
    if person is None:
        raise NotSignedIn
    return person


Somebody = Annotated[Person, Depends(somebody)]
Desk = Annotated[Office, Depends(office_of)]


# ---------------------------------------------------------------- forms


def form_mark(request: Request) -> str:
    """What every form of a session carries: another site cannot know it."""
    secret = secret_of(request)
    return "" if secret is None else office_of(request).sealed("form", hashed(secret))


async def our_form(request: Request) -> None:
    """Raises Wrong for a request that changes something and does not come from our own page (CSRF)."""
    await from_here(request)
    person = await person_of(request)
    if person is None or person.token:
        return
    await marked(
        request, request.headers.get("x-csrf-token") or str((await request.form()).get("csrf") or "")
    )


async def marked(request: Request, given: str) -> None:
    """Raises Wrong, having written it down, where `given` is not the mark of this session's forms."""
    known = office_of(request).opened("form", given, LONGEST) if given else None
    if not isinstance(known, str) or not hmac.compare_digest(known, hashed(secret_of(request) or "")):
        await _refused(request, "this form is not from your own session: load the page again")


async def from_here(request: Request) -> None:
    """As `same_site`; of somebody who is signed in it is written down."""
    try:
        same_site(request)
    except Wrong as wrong:
        await _refused(request, str(wrong))


async def _refused(request: Request, why: str) -> NoReturn:
    person = await person_of(request)
    if person is not None:
        form = request.url.path[:200]
        await office_of(request).runner.refusals.of(person, "send a form", why, form=form)
    raise Wrong(why, 403)


def same_site(request: Request) -> None:
    """Browsers say where a request comes from. Raises Wrong."""
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise Wrong("this request comes from another site", 403)
    origin = request.headers.get("origin")
    if origin and origin != "null" and urlsplit(origin).netloc != request.headers.get("host"):
        raise Wrong("this request comes from another site", 403)


Ours = Depends(our_form)


def let_in(request: Request, response: Response, secret: str) -> None:
    office = office_of(request)
    response.set_cookie(
        COOKIE,
        office.sealed("session", secret),
        httponly=True,
        samesite="lax",
        secure=over_tls(request),
        max_age=int(LONGEST),
        path="/",
    )


def over_tls(request: Request) -> bool:
    return office_of(request).address.startswith("https:") or request.url.scheme == "https"


def origin_of(request: Request) -> str:
    return request.client.host if request.client else "unknown"
