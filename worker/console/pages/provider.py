"""To the OpenID Connect provider, and back from it. There is nothing here unless one is configured."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from worker.console.door import Desk, let_in, origin_of, over_tls
from worker.console.office import Office
from worker.console.oidc import flow
from worker.console.oidc.provider import Provider
from worker.console.oidc.trouble import Problem, Trouble
from worker.console.pages.entry import inside
from worker.journal.port import JournalDown

router = APIRouter(include_in_schema=False)


@router.get("/sign-in/provider")
async def there(request: Request, office: Desk, next: str = "/") -> Response:
    try:
        begun = await flow.begin(office, _provider(office), inside(next))
    except Trouble as trouble:
        flow.log.warning("console.provider_sign_in_failed", problem=trouble.problem, why=str(trouble))
        return _again(trouble.problem, inside(next))
    answer = RedirectResponse(begun.address, 303)
    secure = over_tls(request)
    answer.set_cookie(
        _cookie(secure),
        begun.cookie,
        max_age=int(flow.AGE),
        httponly=True,
        samesite="lax",  # it has to come along from the provider's page
        secure=secure,
        path="/",
    )
    return answer


@router.get(flow.BACK)
async def back(request: Request, office: Desk) -> Response:
    """Always leads on: this address holds a code, which is to stand on no page."""
    cookie = _cookie(over_tls(request))
    try:
        let = await flow.finish(
            office, _provider(office), _given(request), request.cookies.get(cookie, ""), origin_of(request)
        )
    except Trouble as trouble:
        answer = _again(trouble.problem)
    except JournalDown:
        answer = _again("journal")
    else:
        answer = RedirectResponse(inside(let.next), 303)
        let_in(request, answer, let.secret)
    answer.delete_cookie(cookie, path="/", secure=over_tls(request), httponly=True, samesite="lax")
    return answer


def _provider(office: Office) -> Provider:
    assert office.provider is not None  # else these pages are not there
    return office.provider


def _given(request: Request) -> dict[str, str]:
    """What stands in the address once; a name that stands there twice is believed in neither value."""
    pairs = request.query_params.multi_items()
    names = [name for name, _ in pairs]
    return {name: value for name, value in pairs if names.count(name) == 1}


def _cookie(secure: bool) -> str:
    """Over TLS with the prefix that keeps neighbouring hosts from planting one."""
    return "__Host-worker_provider" if secure else "worker_provider"


def _again(problem: Problem, next: str = "/") -> RedirectResponse:
    return RedirectResponse(f"/sign-in?{urlencode({'problem': problem, 'next': next})}", 303)
