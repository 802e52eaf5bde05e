"""Every act of the API takes an Idempotency-Key: the same request again is answered from memory, and does nothing."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conformance.support import Place, admit, bad, change, order, select
from tests.conformance.test_console_journal import five
from tests.conformance.test_console_quarantine import BODY, Box
from tests.integration.test_console_uploads import FILE, batch
from tests.support.console import PASSWORD, Front
from worker.console.api import document
from worker.journal.batches.uploads import Uploads
from worker.journal.quarantine.resending import Unsent

WHY = {"reason": "for a test"}
BLOCK = {"scope": "command", "name": "calls.block.v1", **WHY}
CREDIT = {
    "platform": "sip-br",
    "subscriber": {"username": "bea", "domain": "example.org"},
    "amount": "5.00",
}
# These change nothing: a second look is one more look, and is recorded as such.
LOOKS = {"/audit/verification", "/quarantine/{uid}/look"}


@dataclass
class Scene:
    """A journal with five commands, a batch, an upload and a refused message, and who acts on them."""

    front: Front
    client: httpx.AsyncClient
    known: dict[str, str] = field(default_factory=dict)

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        sent = {"content": body} if isinstance(body, bytes) else {"json": body}
        return await self.client.post(f"/api/v1{path}", headers=headers, **sent)

    async def did(self, path: str, body: Any = None) -> None:
        answer = await self.post(path, body)
        assert answer.status_code == 200, answer.text


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    place = Place(f"sqlite:///{tmp_path}/worker.db")
    journal = await place.open()
    await five(journal)
    await admit(journal, bad("m-9", body=BODY), order("m-6", "sip-br:subscriber:eva@example.org"))
    await change(journal, "UPDATE lanes SET window_opened = NULL, window_command = NULL")
    await batch(journal)
    async with Front(place.url, journal) as front:
        front.office.post = Box()
        await front.journal.fold()
        it = Scene(front, await front.token("crm", "admin"))
        for row in await select(journal, "SELECT id, message_id FROM commands"):
            it.known[row["message_id"]] = str(row["id"])
        it.known["uid"] = (await front.journal.quarantined("kept", 1))[0]["uid"]
        it.known["group"] = str((await front.journal.groups())[0]["id"])
        yield it
    await place.close()


async def nothing(scene: Scene) -> None:
    """The scene is as it has to be."""


async def paused(scene: Scene) -> None:
    await scene.did("/platforms/sip-br/pause", WHY)


async def stopped(scene: Scene) -> None:
    await scene.did("/pauses", BLOCK)


async def archived(scene: Scene) -> None:
    await scene.did(f"/failures/{scene.known['group']}/archive", WHY)


async def batch_paused(scene: Scene) -> None:
    await scene.did("/batches/spring/pause", WHY)


async def acting(scene: Scene) -> None:
    """An act on many that nobody works on yet."""
    await change(
        scene.front.stored,
        "INSERT INTO console_acts (what, wanted, actor, reason, state, total, began_at, beat_at)"
        " VALUES ('retry', '{}', 'ana', 'x', 'going', 3, $1, $1)",
        time.time(),
    )


async def uploaded(scene: Scene) -> None:
    await scene.did("/uploads?name=list.csv", FILE)


async def mapped(scene: Scene) -> None:
    await uploaded(scene)
    await scene.did("/uploads/1/plan", MAPPED)


async def checked(scene: Scene) -> None:
    await mapped(scene)
    await scene.did("/uploads/1/check", {})
    figures = {"good": 2, "bad": 0, "commands": 2}  # as whoever works on it writes down
    assert await Uploads(scene.front.stored).ended(1, "checking", "checked", found=figures)


async def gone(scene: Scene) -> None:
    await checked(scene)
    await scene.did("/uploads/1/go", WHY)


async def otto(scene: Scene) -> None:
    await scene.front.user("otto", "viewer")


async def wall(scene: Scene) -> None:
    """A token beside the one that acts."""
    await scene.front.token("wall", "viewer")


@dataclass(frozen=True)
class Case:
    """`path`: of the description, and what fills its names."""

    path: str
    body: Any
    before: Callable[[Scene], Awaitable[None]] = nothing
    fills: dict[str, str] = field(default_factory=dict)
    query: str = ""

    def __str__(self) -> str:
        return self.path.format_map({**{name: f"<{name}>" for name in NAMES}, **self.fills})


NAMES = ("number", "act", "name", "what", "uid")
MAPPED = {"platform": "sip-br", "command": "calls.block", "batch": "b"}


def on(message: str, act: str | None = None) -> dict[str, str]:
    return {"number": message} if act is None else {"number": message, "act": act}


CASES = [
    Case("/commands/{number}/resolution", WHY | {"applied": True}, fills=on("m-4")),
    Case("/commands/{number}/resolution", WHY | {"applied": False, "run_again": True}, fills=on("m-4")),
    Case("/commands/{number}/edition", WHY | {"data": CREDIT}, fills=on("m-2")),
    Case("/commands/{number}/{act}", WHY, fills=on("m-2", "retry")),
    Case("/commands/{number}/{act}", WHY, fills=on("m-6", "cancel")),
    Case("/commands/{number}/{act}", WHY, fills=on("m-1", "archive")),
    Case("/platforms/{name}/{act}", WHY, fills={"name": "sip-br", "act": "pause"}),
    Case("/platforms/{name}/{act}", WHY, paused, {"name": "sip-br", "act": "resume"}),
    Case("/platforms/{name}/rate", WHY | {"per_second": 2}, fills={"name": "sip-br"}),
    Case("/failures/{number}/note", {"note": "they know"}, fills=on("group")),
    Case("/failures/{number}/{act}", WHY, fills=on("group", "archive")),
    Case("/failures/{number}/{act}", WHY, archived, on("group", "restore")),
    Case("/bulk/{what}", WHY | {"expected": 1}, fills={"what": "archive"}, query="?state=rejected"),
    Case("/acts/{number}/stop", WHY, acting, on("1")),
    Case("/pauses", BLOCK),
    Case("/pauses/end", BLOCK, stopped),
    Case("/quarantine/{uid}/send", WHY, fills={"uid": "uid"}),
    Case("/quarantine/{uid}/drop", WHY, fills={"uid": "uid"}),
    Case("/batches/{name}/rate", WHY | {"rate": 5}, fills={"name": "spring"}),
    Case("/batches/{name}/pause", WHY, fills={"name": "spring"}),
    Case("/batches/{name}/resume", WHY, batch_paused, {"name": "spring"}),
    Case("/batches/{name}/cancel", WHY, fills={"name": "spring"}),
    Case("/uploads", FILE, query="?name=list.csv"),
    Case("/uploads/{number}/plan", MAPPED, uploaded, on("1")),
    Case("/uploads/{number}/check", {}, mapped, on("1")),
    Case("/uploads/{number}/go", WHY, checked, on("1")),
    Case("/uploads/{number}/back", WHY, gone, on("1")),
    Case("/uploads/{number}/drop", WHY, uploaded, on("1")),
    Case("/users", WHY | {"name": "otto", "role": "viewer", "password": PASSWORD}),
    Case("/users/{name}/disable", WHY, otto, {"name": "otto"}),
    Case("/tokens", WHY | {"name": "wall", "role": "viewer", "days": 3}),
    Case("/tokens/{number}/revoke", WHY, wall, on("2")),
]


def acts() -> dict[str, list[str]]:
    """Path -> the headers that its POST takes, of every operation that is described."""
    return {
        path.removeprefix("/api/v1"): [
            one["name"] for one in does["post"].get("parameters", ()) if one["in"] == "header"
        ]
        for path, does in document()["paths"].items()
        if "post" in does
    }


def test_every_act_takes_a_key_and_is_tried_here() -> None:
    takes = {path for path, headers in acts().items() if "Idempotency-Key" in headers}
    assert set(acts()) - takes == LOOKS
    assert {case.path for case in CASES} == takes


async def state_of(scene: Scene) -> dict[str, Any]:
    """What any act leaves behind: a record in the chain, or a row."""
    tables = (
        "audit",
        "commands",
        "console_acts",
        "uploads",
        "pauses",
        "batches",
        "quarantine",
        "outbox",
        "console_users",
        "console_tokens",
    )
    counts = {
        name: (await select(scene.front.stored, f"SELECT count(*) AS n FROM {name}"))[0]["n"]
        for name in tables
    }
    return counts | {"sent": len(scene.front.office.post.sent)}  # type: ignore[union-attr]  # it is the box


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_an_act_is_done_once_however_often_its_request_comes(case: Case, scene: Scene) -> None:
    await case.before(scene)
    fills = {name: scene.known.get(value, value) for name, value in case.fills.items()}
    path = case.path.format_map(fills) + case.query
    before = await state_of(scene)
    first = await scene.post(path, case.body, **{"Idempotency-Key": "once"})
    assert first.status_code == 200, first.text
    if case.path.startswith("/bulk/"):
        await scene.front.office.runner.stop()  # it would go on with the act meanwhile
    done = await state_of(scene)
    if case.path not in ("/uploads", "/uploads/{number}/plan", "/uploads/{number}/check"):
        assert done["audit"] > before["audit"], "it was written down"
    second = await scene.post(path, case.body, **{"Idempotency-Key": "once"})
    assert (second.status_code, second.json()) == (200, first.json())
    assert await state_of(scene) == done, "nothing was done again"
    other = b"username,domain\neva,sip.example\n" if isinstance(case.body, bytes) else None
    changed = await scene.post(path, other or {**case.body, **another(case)}, **{"Idempotency-Key": "once"})
    assert changed.status_code == 409, changed.text
    assert await state_of(scene) == done


def another(case: Case) -> dict[str, Any]:
    """What makes another request of it."""
    if "reason" in case.body:
        return {"reason": "another one"}
    return (
        {"note": "they do not"}
        if "note" in case.body
        else {"repeats": True}
        if not case.body
        else {"batch": "c"}
    )


async def test_what_failed_for_the_moment_may_be_tried_again_under_its_key(scene: Scene) -> None:
    class Away(Box):
        async def send(self, *message: Any, **more: Any) -> None:
            raise Unsent("RabbitMQ did not take the message")

    path, key = f"/quarantine/{scene.known['uid']}/send", {"Idempotency-Key": "once"}
    box, scene.front.office.post = scene.front.office.post, Away()
    assert (await scene.post(path, WHY, **key)).status_code == 503
    scene.front.office.post = box
    assert (await scene.post(path, WHY, **key)).status_code == 200
    assert (await scene.post(path, WHY, **key)).json()["state"] == "sent"
    assert (await state_of(scene))["sent"] == 1
