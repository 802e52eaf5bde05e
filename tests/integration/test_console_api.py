"""`/api/v1`: by its description (schemathesis), by role, and once for each key."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.browser.town import town
from tests.conformance.support import Place, change, select, states
from tests.conformance.test_console_journal import KEPT, five
from tests.support.amqp import eventually
from tests.support.console import Front
from worker.console.api import document
from worker.journal.console import people
from worker.journal.vault import Vault, new_key

schema = schemathesis.openapi.from_dict(document())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address and an operator's token of a console in a thread of its own."""
    found: dict[str, Any] = {}
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def serve() -> None:
        found["stop"] = asyncio.Event()
        async with town(tmp_path_factory.mktemp("api")) as (console, _, journal):
            found["url"] = console.url
            found["token"] = await journal.run(
                lambda tx: people.make_token(tx, "fuzz", "operator", 1, "test", "for a test")
            )
            ready.set()
            await found["stop"].wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(60), "the console has not started"
    yield found["url"], found["token"]
    loop.call_soon_threadsafe(found["stop"].set)
    thread.join(60)


@schema.parametrize()
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_operation_does_what_its_description_says(case: Any, server: tuple[str, str]) -> None:
    url, token = server
    case.call_and_validate(
        base_url=url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
        # Filters that contradict each other fit their schema one by one, and are refused all the same; names
        # that are none are refused where they would widen an act, and passed over elsewhere.
        excluded_checks=[positive_data_acceptance, negative_data_rejection],
    )


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    place = Place(f"sqlite:///{tmp_path}/worker.db")
    journal = await place.open()
    for name in KEPT:
        await change(journal, f"DELETE FROM {name}")
    await five(journal)
    async with Front(place.url, journal) as it:
        yield it
    await place.close()


async def test_errors_are_problem_details(front: Front) -> None:
    stranger = front.client()
    answer = await stranger.get("/api/v1/commands")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 401
    operator = await front.token("dash", "operator")
    for path, status in (
        ("/api/v1/commands/99999", 404),
        ("/api/v1/commands?state=asleep", 422),
        ("/api/v1/nothing", 404),
        ("/api/v1/acts/1", 404),
    ):
        answer = await operator.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), (
            path
        )
        assert answer.json()["detail"]
    forged = front.client(authorization="Bearer pw_" + "x" * 43)
    assert (await forged.get("/api/v1/commands")).status_code == 401
    assert (await operator.get("/commands")).status_code == 303, "a token opens no page"


async def test_a_token_may_what_its_role_may(front: Front) -> None:
    viewer, operator = await front.token("see", "viewer"), await front.token("act", "operator")
    [row] = (await viewer.get("/api/v1/commands?state=parked")).json()["rows"]
    assert "@" not in row["partition_key"]
    path = f"/api/v1/commands/{row['id']}/retry"
    assert (await viewer.post(path, json={"reason": "x"})).status_code == 403
    assert (await operator.post(path, json={"reason": ""})).status_code == 422
    assert (await operator.post(path, json={"reason": "x"})).json()["state"] == "waiting"
    [record] = await select(front.stored, "SELECT record FROM audit WHERE what = 'retried'")
    assert '"actor":"token act"' in record["record"]


async def test_an_act_under_one_key_is_done_once(front: Front) -> None:
    operator = await front.token("act", "operator")
    [row] = (await operator.get("/api/v1/commands?state=rejected")).json()["rows"]
    path, key = f"/api/v1/commands/{row['id']}/retry", {"Idempotency-Key": "once-1"}
    first = await operator.post(path, json={"reason": "x"}, headers=key)
    second = await operator.post(path, json={"reason": "x"}, headers=key)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()
    assert len(await states(front.stored)) == 6
    other = await operator.post(path, json={"reason": "y"}, headers=key)
    assert other.status_code == 409
    again = await operator.post(path, json={"reason": "x"}, headers={"Idempotency-Key": "once-2"})
    assert again.status_code == 409, "the command made by the first one holds the key"


async def test_what_is_kept_of_an_act_under_a_key_shows_nothing_of_it(front: Front) -> None:
    operator, key = await front.token("act", "operator"), {"Idempotency-Key": "note-1"}
    [row] = (await operator.get("/api/v1/commands?state=rejected")).json()["rows"]
    path, asked = f"/api/v1/commands/{row['id']}/archive", {"reason": "the PIN is 4711"}
    first = await operator.post(path, json=asked, headers=key)
    assert first.status_code == 200
    [kept] = await select(front.stored, "SELECT request, body FROM console_answers")
    assert "archived" in first.text
    assert "archived" not in kept["body"]
    plain = json.dumps([f"archive {row['id']}", asked | {"dependents": False}], sort_keys=True)
    assert kept["request"] != hashlib.sha256(plain.encode()).hexdigest(), "a PIN could be tried out"
    again = await operator.post(path, json=asked, headers=key)
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await operator.post(path, json={"reason": "another"}, headers=key)).status_code == 409
    await change(front.stored, f"UPDATE console_answers SET body = '{Vault([new_key()]).seal('x')}'")
    gone = await operator.post(path, json=asked, headers=key)
    assert (gone.status_code, "not given" in gone.json()["detail"]) == (409, True)


async def test_a_bulk_act_wants_the_count_of_its_preview(front: Front) -> None:
    operator = await front.token("act", "operator")
    seen = (await operator.get("/api/v1/bulk/archive?state=rejected")).json()
    assert (seen["count"], seen["unknown"]) == (1, 0)
    body = {"reason": "known", "expected": seen["count"]}
    begun = (await operator.post("/api/v1/bulk/archive?state=rejected", json=body)).json()

    async def act() -> Any:
        return (await operator.get(f"/api/v1/acts/{begun['act']}")).json()

    async def ended() -> bool:
        return bool((await act())["state"] != "going")

    await eventually(ended)
    assert ((await act())["state"], (await act())["acted"]) == ("done", 1)
    assert (await operator.get("/api/v1/commands?state=rejected")).json()["rows"] == []
    assert (await operator.get("/api/v1/bulk/archive")).status_code == 422
