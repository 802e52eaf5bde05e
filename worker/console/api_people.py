"""`/api/v1/users` and `/api/v1/tokens`: who may come in, for admins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import Field

from worker.console import acting
from worker.console.api import WRONG, Answer, Because, Key, Number, once
from worker.console.door import Desk, Ours, Somebody
from worker.console.office import MOST_PASSWORD, Office
from worker.journal.console.people import Person

router = APIRouter(prefix="/api/v1", responses=WRONG)
ROLE = Literal["viewer", "operator", "admin"]
NAME = r"^[^\x00/]+$"


class User(Because):
    name: str = Field(min_length=2, max_length=60, pattern=NAME)
    role: ROLE
    password: str | None = Field(
        default=None, max_length=MOST_PASSWORD, description="null keeps the one that is there"
    )


class Token(Because):
    name: str = Field(min_length=2, max_length=60, pattern=NAME)
    role: ROLE
    days: int = Field(ge=1, le=3650, description="that it lives")


async def _everybody(office: Office, person: Person) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    await office.allowed(person, "admin", "look at people")
    return await office.journal.everybody()


@router.get("/users", summary="Who may come in, without what they sign in with")
async def users(office: Desk, person: Somebody) -> list[Answer]:
    return [Answer(**one) for one in (await _everybody(office, person))[0]]


@router.post("/users", dependencies=[Ours], summary="Make a user, or give one another role or password")
async def put_user(office: Desk, person: Somebody, body: User, key: Key = None) -> Answer:
    """Whatever was open under the name is closed; somebody who was disabled may come in again."""

    async def work() -> Mapping[str, Any]:
        await acting.put_user(office, person, body.name, body.role, body.password or "", body.reason)
        return {"user": body.name.strip(), "done": "put"}

    return await once(office, person, key, "put user", body.model_dump(), work)  # type: ignore[return-value]  # FastAPI passes it on


@router.post("/users/{name}/disable", dependencies=[Ours], summary="Let a user in no more")
async def disable(
    office: Desk,
    person: Somebody,
    name: Annotated[str, Path(max_length=60, pattern=NAME)],
    body: Because,
    key: Key = None,
) -> Answer:
    async def work() -> Mapping[str, Any]:
        await acting.disable_user(office, person, name, body.reason)
        return {"user": name, "done": "disable"}

    return await once(office, person, key, f"disable {name}", body.model_dump(), work)  # type: ignore[return-value]  # as above


@router.get("/tokens", summary="Tokens of programs, without what they sign in with")
async def tokens(office: Desk, person: Somebody) -> list[Answer]:
    return [Answer(**one) for one in (await _everybody(office, person))[1]]


@router.post("/tokens", dependencies=[Ours], summary="Make a token for a program")
async def make_token(office: Desk, person: Somebody, body: Token, key: Key = None) -> Answer:
    """`token` is shown in this answer only, and a day long in its repetition under the same key."""

    async def work() -> Mapping[str, Any]:
        made = await acting.make_token(office, person, body.name, body.role, str(body.days), body.reason)
        return {"name": body.name.strip(), "token": made}

    return await once(office, person, key, "make token", body.model_dump(), work)  # type: ignore[return-value]  # as above


@router.post("/tokens/{number}/revoke", dependencies=[Ours], summary="End a token")
async def revoke(office: Desk, person: Somebody, number: Number, body: Because, key: Key = None) -> Answer:
    async def work() -> Mapping[str, Any]:
        await acting.revoke_token(office, person, number, body.reason)
        return {"token": number, "done": "revoke"}

    return await once(office, person, key, f"revoke {number}", body.model_dump(), work)  # type: ignore[return-value]  # as above
