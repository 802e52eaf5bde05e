"""Signing in and out, the first admin, the language; the only pages that are open."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from worker.console.door import (
    COOKIE,
    LANGUAGE,
    Desk,
    Ours,
    Somebody,
    let_in,
    office_of,
    origin_of,
    person_of,
    same_site,
    secret_of,
)
from worker.console.office import Office, Wrong
from worker.console.oidc.trouble import PROBLEMS
from worker.console.pages.render import page
from worker.console.texts import LANGUAGES
from worker.journal.console import people

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form(max_length=300)]


def inside(path: str | None) -> str:
    """A way back that leads nowhere else."""
    good = path and path.startswith("/") and not path.startswith(("//", "/\\")) and len(path) < 2000
    return str(path) if good and "\n" not in str(path) and "\r" not in str(path) else "/"


async def door(
    request: Request, status: int = 200, next: str = "/", problem: str | None = None, name: str = ""
) -> Response:
    """The page of the sign-in."""
    office = office_of(request)
    ways = {"local": office.local, "provider": office.provider}
    return await page(request, "sign_in.html", status, next=inside(next), problem=problem, name=name, **ways)


@router.get("/sign-in")
async def sign_in_page(request: Request, next: str = "/", problem: str = "") -> Response:
    """`problem`: what went wrong at the provider, one of a closed list."""
    if await person_of(request):
        return RedirectResponse(inside(next), 303)
    text, status = PROBLEMS.get(problem, (None, 200))
    return await door(request, status, next, text)


@router.post("/sign-in")
async def sign_in(
    request: Request, office: Desk, name: Text = "", password: Text = "", next: Text = "/"
) -> Response:
    same_site(request)
    if not office.local:
        raise Wrong("names and passwords are switched off here: sign in by the provider", 403)
    try:
        secret = await office.signed_in(name.strip(), password, origin_of(request))
    except Wrong as wrong:
        return await door(request, wrong.status, next, str(wrong), name)
    if secret is None:
        return await door(request, 401, next, "the name or the password is wrong", name)
    answer = RedirectResponse(inside(next), 303)
    let_in(request, answer, secret)
    return answer


@router.post("/sign-out", dependencies=[Ours])
async def sign_out(request: Request, office: Desk, person: Somebody) -> Response:
    if secret := secret_of(request):
        await office.journal.journal.run(lambda tx: people.sign_out(tx, secret))
    there = await _way_out(office, person.name)
    answer = RedirectResponse("/sign-in", 303) if there is None else await _signed_out(request, there)
    answer.delete_cookie(COOKIE, path="/")
    return answer


async def _way_out(office: Office, name: str) -> str | None:
    """Where somebody from the provider signs out there too."""
    known = await office.journal.journal.run(lambda tx: people.user(tx, name))
    if office.provider is None or known is None or known.issuer != office.provider.settings.issuer:
        return None
    return await office.provider.way_out(f"{office.address}/sign-in")


async def _signed_out(request: Request, there: str) -> Response:
    """A page, not a redirect: what a form leads to has to be ours (form-action of the content policy)."""
    request.scope["person"] = None
    return await page(request, "signed_out.html", there=there)


@router.get("/first/{secret}")
async def first_page(request: Request, office: Desk, secret: str) -> Response:
    if not await office.is_link(secret[:500]):
        raise Wrong(
            "this link was used, or is too old: `worker console link --reason ...` makes another", 404
        )
    return await page(request, "first.html", problem=None, name="")


@router.post("/first/{secret}")
async def first(
    request: Request, office: Desk, secret: str, name: Text = "", password: Text = "", again: Text = ""
) -> Response:
    same_site(request)
    problem = name_problem(name) or ("the two passwords differ" if password != again else None)
    if problem is None:
        try:
            done = await office.use_link(secret[:500], name.strip(), password)
        except Wrong as wrong:
            problem = str(wrong)
        else:
            if not done:
                raise Wrong(
                    "this link was used, or is too old: `worker console link --reason ...` makes another", 404
                )
            return await _made(request, office, name.strip())
    return await page(request, "first.html", 422, problem=problem, name=name)


async def _made(request: Request, office: Office, name: str) -> Response:
    """Where passwords are switched off, the link itself is the way in: the last one when the provider is down."""
    answer = RedirectResponse("/sign-in" if office.local else "/", 303)
    if not office.local:
        origin = origin_of(request)
        let_in(request, answer, await office.journal.journal.run(lambda tx: people.sign_in(tx, name, origin)))
    return answer


def name_problem(name: str) -> str | None:
    name = name.strip()
    good = 1 < len(name) <= 60 and all(sign.isalnum() or sign in "._-@" for sign in name)
    return None if good else "a name has 2 to 60 letters, digits, or one of . _ - @"


@router.get("/language/{language}")
async def language(language: str, back: str = "/") -> Response:
    answer = RedirectResponse(inside(back), 303)
    if language in LANGUAGES:
        answer.set_cookie(LANGUAGE, language, max_age=365 * 86400, samesite="lax", httponly=True, path="/")
    return answer
