"""The simulated RingMe: what it keeps, what it refuses, and that it answers as the OpenAPI file says."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import validate
from schemathesis.checks import CHECKS

from tests.support.amqp import eventually
from worker.simulators.ringme import Simulator, SimulatorConfig, serve

FILE = Path(__file__).parents[2] / "contracts" / "platforms" / "ringme.openapi.yaml"
APP = {"grant_type": "client_credentials", "client_id": "app", "client_secret": "app-secret"}
DAY = {"start_datetime": "2026-05-01 00:00:00", "end_datetime": "2026-05-02 00:00:00"}


class Caller:
    """A program of a customer's: it asks for a token and calls."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession) -> None:
        self.simulator, self._session, self.token = simulator, session, ""
        self.headers: dict[str, str] = {}

    async def sign_in(self, **form: str) -> tuple[int, Any]:
        async with self._session.post(f"{self.simulator.origin}/oauth/token", data={**APP, **form}) as answer:
            said = await answer.json()
            self.token = said.get("access_token", "")
            return answer.status, said

    async def __call__(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
        url = f"{self.simulator.origin}/api/ver1.0{path}"
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self._session.request(method, url, json=body, params=query, headers=headers) as answer:
            self.headers = dict(answer.headers)
            return answer.status, await answer.json() if await answer.read() else None

    async def admin(self, what: str, **body: Any) -> Any:
        async with self._session.post(f"{self.simulator.admin_url}{what}", json=body) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


Start = Callable[..., Awaitable[Caller]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    opened: list[Simulator] = []
    async with aiohttp.ClientSession(trust_env=False) as session:
        session._retry_connection = False  # else it sends a PUT that was dropped a second time

        async def begin(**config: Any) -> Caller:
            simulator = await serve(0, config=SimulatorConfig.from_values(config))
            opened.append(simulator)
            caller = Caller(simulator, session)
            await caller.sign_in()
            return caller

        yield begin
    for each in opened:
        await each.close()


async def test_a_token_is_needed_and_ends(start: Start) -> None:
    call = await start()
    assert (await call("GET", "/user/"))[0] == 200
    call.simulator.platform.tokens[call.token] = time.monotonic()  # its time has come
    assert await call("GET", "/user/") == (401, {"status": "unauthorized", "message": call_text(401)})
    status, said = await call.sign_in(client_secret="wrong")
    assert (status, said["status"]) == (401, "invalid_client")


def call_text(status: int) -> str:
    return {401: "The access token is missing, wrong or has expired"}[status]


async def test_the_password_grant_gives_a_refresh_token_too(start: Start) -> None:
    call = await start(username="ana", password="pw")
    status, said = await call.sign_in(grant_type="password", username="ana", password="pw")
    assert status == 200
    assert set(said) == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
    assert (await call.sign_in(grant_type="password", username="ana", password="no"))[0] == 400


async def test_both_paths_show_and_change_one_record(start: Start) -> None:
    call = await start()
    status, changed = await call("PUT", "/client/12/client/", {"timezone": "UTC"})
    assert (status, changed["timezone"], len(changed)) == (200, "UTC", 28)
    assert await call("GET", "/client/client_info/12/") == (200, changed)
    assert (await call("GET", "/client/@me/client/"))[1] == changed


@pytest.mark.parametrize("put", ["partial", "replace"])
async def test_a_put_keeps_or_clears_what_it_leaves_out(start: Start, put: str) -> None:
    call = await start(switches={"put": put})
    _, changed = await call("PUT", "/client/12/client/", {"geo_list": "RU"})
    assert changed["dial_rule_id"] == (19 if put == "partial" else None)


async def test_an_internal_number_lives_and_dies(start: Start) -> None:
    call = await start()
    status, made = await call("POST", "/client/12/extension/", {"name": "101", "type": "phone"})
    assert (status, made["name"], made["status"]) == (201, "0001*101", "blocked")
    assert (await call("POST", "/client/12/extension/", {"name": "101"}))[0] == 400
    path = f"/client/12/extension/{made['id']}"
    assert (await call("PUT", path, {"status": "active"}))[1]["status"] == "active"
    assert (await call("PUT", f"/extension/{made['id']}/phone/", {"password": "x"}))[0] == 200
    assert "password" not in (await call("GET", f"/extension/{made['id']}/phone/"))[1]
    assert await call("DELETE", path) == (204, None)
    assert (await call("GET", path))[0] == 404


async def test_the_list_of_internal_numbers_has_pages(start: Start) -> None:
    call = await start(page_size=2, extensions=[{"name": f"0001*{n}"} for n in range(101, 106)])
    pages = [(await call("GET", "/client/12/extension/", page=number))[1] for number in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [2, 2, 1, 0]


async def test_the_hourly_count_is_told_and_kept(start: Start) -> None:
    call = await start()
    await call.admin("hour", limit=3, seconds=60)
    for left in ("2", "1", "0"):
        assert (await call("GET", "/user/"))[0] == 200
        assert call.headers["X-RateLimit-Remaining"] == left
    assert (await call("GET", "/user/"))[1]["status"] == "rate_limit_exceeded"
    assert 0 < int(call.headers["X-RateLimit-Reset"]) <= 61
    await call.admin("hour", remaining=3)
    assert (await call("GET", "/user/"))[0] == 200


async def test_a_blocked_user_and_somebody_elses_client_are_told_apart(start: Start) -> None:
    call = await start(clients=[{"id": 12}, {"id": 13, "foreign": True}])
    assert (await call("GET", "/client/13/client/"))[1]["status"] == "access_denied"
    assert (await call("GET", "/client/14/client/"))[1]["status"] == "client_not_found"
    await call.admin("block", user=True)
    assert (await call("GET", "/client/12/client/"))[1]["status"] == "user_blocked"


async def test_calls_come_page_by_page(start: Start) -> None:
    call = await start()
    await call.admin("calls", client_id=12, count=25)
    _, first = await call("GET", "/client/12/call_history/", **DAY, per_page=10, order="asc")
    _, last = await call("GET", "/client/12/call_history/", **DAY, per_page=10, page=3, order="asc")
    assert (len(first["call_history"]), len(last["call_history"])) == (10, 5)
    uuid = first["call_history"][0]["call_uuid"]
    assert (await call("GET", f"/client/12/call_history/{uuid}"))[1] == first["call_history"][0]


@pytest.mark.parametrize(
    ("kind", "applied"), [("drop_before", 0), ("drop_after", 1), ("html500", 0), ("garbage", 1)]
)
async def test_a_lost_answer_leaves_what_the_fault_says(start: Start, kind: str, applied: int) -> None:
    call = await start()
    call.simulator.fail("client.update", kind)
    with contextlib.suppress(aiohttp.ClientError, ValueError):
        status, _ = await call("PUT", "/client/12/client/", {"timezone": "UTC"})
        assert status != 200
    assert len(call.simulator.platform.ledger.entries) == applied
    assert call.simulator.platform.clients[12].record["timezone"] == ("UTC" if applied else "Europe/Moscow")


async def test_what_was_frozen_is_applied_after_the_thaw(start: Start) -> None:
    call = await start()
    await call.admin("freeze")
    change = asyncio.create_task(call("PUT", "/client/12/client/", {"timezone": "UTC"}))
    await eventually(lambda: call.simulator.freezer.waiting() == 1)
    assert call.simulator.platform.clients[12].record["timezone"] == "Europe/Moscow"
    await call.admin("thaw")
    assert (await change)[1]["timezone"] == "UTC"


async def test_the_admin_page_counts_and_shows_no_secret(start: Start) -> None:
    call = await start(extensions=[{"name": "0001*101", "password": "s3cret-of-101"}])
    await call("GET", "/user/")
    async with call._session.get(call.simulator.admin_url) as answer:
        page = await answer.text()
    assert "user.me" in page
    assert "0001*101" in page
    for path in ("state", "counts", "log"):
        async with call._session.get(call.simulator.admin_url + path) as answer:
            page += await answer.text()
    for secret in ("s3cret-of-101", "app-secret", call.token):
        assert secret not in page


def test_the_openapi_file_is_valid() -> None:
    validate(yaml.safe_load(FILE.read_text(encoding="utf-8")))


CONFORMING = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
]
THERE = ("client_id", "extension_id", "dial_rule_id")  # the simulator has number 1 of each


async def test_it_answers_as_the_openapi_file_says(start: Start) -> None:
    """Whatever is asked, good or bad, the answer is one that the file describes."""
    call = await start(
        extensions=[{"id": 1, "name": "0001*1"}], clients=[{"id": id_} for id_ in (1, 2, 3)], page_size=5
    )
    await call.admin("calls", client_id=1, count=3, extension_id=1)
    await call.admin("rows", table="dids", row={"id": 1, "name": "74950000000", "client_id": 1})
    await call.admin("rows", table="dial_rules", row={"id": 1, "client_id": 1, "dial_rules": []})
    statuses = await asyncio.to_thread(ask_everything, call)
    assert statuses.keys() >= {200, 201, 204, 400, 404}


def ask_everything(call: Caller) -> Counter[int]:
    """Every operation with made-up data, every other time about what is there; the statuses answered."""
    schema = schemathesis.openapi.from_path(FILE)
    url, headers = f"{call.simulator.origin}/api/ver1.0", {"Authorization": f"Bearer {call.token}"}
    checks = CHECKS.get_by_names(CONFORMING)
    answered: Counter[int] = Counter()
    few = settings(
        max_examples=8,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )

    def ask(case: schemathesis.Case) -> None:
        if answered.total() % 2:
            case.path_parameters |= dict.fromkeys(case.path_parameters.keys() & set(THERE), 1)
        answered[case.call_and_validate(base_url=url, headers=headers, checks=checks).status_code] += 1

    for found in schema.get_all_operations():
        few(given(case=found.ok().as_strategy())(ask))()
    return answered
