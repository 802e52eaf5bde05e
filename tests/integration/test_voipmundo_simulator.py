"""The simulated VoIPMundo, spoken to as the vendor's pages show it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import validate
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.amqp import eventually
from worker.simulators.voipmundo import Simulator, SimulatorConfig, serve

CONTRACT = Path(__file__).parents[2] / "contracts" / "platforms" / "voipmundo.openapi.yaml"
CONFIG = SimulatorConfig()
ANA: dict[str, Any] = {"nome_fantasia": "Padaria Ana", "cpf": "12345678909", "balance": "3148895.40924"}
Api = httpx.AsyncClient


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    config = SimulatorConfig(clients=({**ANA, "devices": [{"username": "1000", "password": "line-secret"}]},))
    simulator = await serve(0, config=config)
    yield simulator
    await simulator.close()


@pytest.fixture
async def api(sim: Simulator) -> AsyncIterator[Api]:
    async with httpx.AsyncClient(base_url=sim.url, timeout=10) as client:
        yield client


def at(resource: str, *more: object, pair: tuple[str, str] = (CONFIG.token, CONFIG.key)) -> str:
    return "/".join(["/api", resource, *pair, *map(str, more)])


async def said(api: Api, method: str, path: str, status: int = 200, **more: Any) -> dict[str, Any]:
    answer = await api.request(method, path, **more)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_status_change_tells_the_state_before_and_after_with_numbers(api: Api) -> None:
    found = await said(api, "POST", at("statusCustomer"), json={"id": 1, "status": 0})
    assert found == {
        "error": 0,
        "reason": "OK",
        "customer_id": 1,
        "customer_name": "Padaria Ana",
        "old_status": 1,
        "new_status": 0,
    }
    assert (await said(api, "GET", at("manageCustomers", 1)))["status"] == "0"


async def test_a_body_without_a_content_type_is_read_as_the_pages_send_it(api: Api) -> None:
    await said(api, "POST", at("statusCustomer"), content=b'{"id": 1, "status": 0}')


async def test_the_record_has_the_77_documented_fields_and_no_more(api: Api) -> None:
    found = await said(api, "GET", at("manageCustomers", 1))
    schemas = yaml.safe_load(CONTRACT.read_text())["components"]["schemas"]
    client = schemas["Client"]["properties"]
    assert set(found) == set(client)
    assert set(found["finance"]) == set(client["finance"]["properties"])
    assert set(found["users"]) == set(schemas["User"]["properties"])
    top = set(client) - {"finance", "users"}
    assert len(top) + len(found["finance"]) + len(found["users"]) == 77


async def test_a_subscribers_own_pair_shows_its_own_record_and_no_other(sim: Simulator, api: Api) -> None:
    sim.state.seed({"nome_fantasia": "Bia"})
    bia = sim.state.clients[2]
    pair = (bia.token, bia.key)
    assert (await said(api, "GET", at("manageCustomers", pair=pair)))["id"] == "2"
    assert (await said(api, "GET", at("manageCustomers", 1, pair=pair)))["error"] == 1
    assert (await said(api, "GET", at("manageCustomers"), 422))["error"] == 1, "a master has to say the id"


async def test_put_makes_a_subscriber_and_does_so_again_when_it_comes_again(sim: Simulator, api: Api) -> None:
    new = {"nome_fantasia": "Bia", "cpf": "1"}
    made = [(await said(api, "PUT", at("manageCustomers"), json=new))["customer_id"] for _ in range(2)]
    assert made == [2, 3]
    assert [each["nome_fantasia"] for each in (await said(api, "GET", at("contacts")))["data"]] == [
        "Padaria Ana",
        "Bia",
        "Bia",
    ]


async def test_lines_are_listed_in_blocks_of_clients_with_texts_only(api: Api) -> None:
    line = {"customer_id": 1, "username": "1001", "password": "another-secret"}
    await said(api, "PUT", at("manageDevices", 1), json=line)
    (block,) = (await said(api, "GET", at("listDevices", 1)))["data"]
    assert [each["username"] for each in block["data"]] == ["1000", "1001"]
    assert block["data"][0]["saldo"] == "0.00000"
    assert not [v for each in block["data"] for v in each.values() if not isinstance(v, (str, type(None)))]
    await said(api, "PUT", at("manageDevices", 2), 404, json=line)


async def test_amounts_have_a_comma_and_dots_for_thousands(sim: Simulator, api: Api) -> None:
    assert (await said(api, "GET", at("getCustomerBalance", 1)))["balance"] == "3.148.895,40924"
    digest = hashlib.md5(b"1000:line-secret").hexdigest()  # the platform's way
    sim.state.clients[1].devices[0]["saldo"] = "77.9"
    assert (await said(api, "GET", f"/api/getDeviceBalance/1000/{digest}"))["balance"] == "77,90"


async def test_calls_of_today_are_listed_with_their_totals(sim: Simulator, api: Api) -> None:
    for price in ("1.5", "2"):
        sim.state.charge(sim.state.clients[1], Decimal(price))
    found = await said(api, "GET", at("cdr", 1), params={"limit": 1, "start": 1})
    assert (found["total_records"], found["total_value"], found["records"]) == ("2", "3,50000", 1)
    assert (await said(api, "GET", at("cdr"), params={"date_ini": "1999-01-01", "date_end": "1999-01-02"}))[
        "data"
    ] == []


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("GET", "/api/manageCustomers/wrong/pair/1", None, 403),
        ("GET", at("noSuchThing", 1), None, 404),
        ("POST", at("statusCustomer"), b"{not json", 400),
        ("POST", at("statusCustomer"), b'{"status": 1}', 422),
        ("POST", at("statusCustomer"), b" " * 131_073, 413),
        ("GET", at("manageCustomers", 99), None, 200),
    ],
)
async def test_a_refusal_has_error_1_and_the_documented_code(
    api: Api, method: str, path: str, sent: bytes | None, status: int
) -> None:
    found = await said(api, method, path, status, content=sent)
    assert found["error"] == 1
    assert found["reason"]


async def test_one_request_at_a_time_turns_the_others_away(sim: Simulator, api: Api) -> None:
    await said(api, "POST", "/admin/switches", json={"simultaneous": "one"})
    sim.state.time = 0.2
    answers = await asyncio.gather(*(api.get(at("cdr")) for _ in range(5)))
    assert sorted(each.status_code for each in answers) == [200, 429, 429, 429, 429]


async def test_a_frozen_platform_applies_all_that_came_in_order(sim: Simulator, api: Api) -> None:
    sim.freezer.freeze("*")
    writes = [
        asyncio.create_task(api.post(at("statusCustomer"), json={"id": 1, "status": status}))
        for status in (0, 1, 0)
    ]
    await eventually(lambda: sim.freezer.waiting() == 3)
    assert sim.state.clients[1].status == 1
    sim.heal()
    assert [(await each).json()["new_status"] for each in writes].count(0) == 2
    assert [each.via for each in sim.state.ledger.entries] == ["frozen"] * 3


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "late", "drip", "garbage"])
async def test_a_lost_answer_is_applied_or_not_as_the_fault_says(sim: Simulator, api: Api, kind: str) -> None:
    sim.fail(
        "statusCustomer.set", kind, count=1, seconds=0.2, **({"connection": "drop"} if kind == "late" else {})
    )
    try:
        answer = await api.post(at("statusCustomer"), json={"id": 1, "status": 0})
        lost = kind != "drip" and (answer.status_code != 200 or not _is_json(answer))
    except httpx.HTTPError:
        lost = True
    assert lost == (kind != "drip")
    await eventually(lambda: not sim.pending())
    assert sim.state.clients[1].status == (1 if kind == "drop_before" else 0)


def _is_json(answer: httpx.Response) -> bool:
    try:
        answer.json()
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "status"), [("refuse", 200), ("refuse", 422), ("too_many", 429), ("busy", 503)]
)
async def test_a_refusal_on_request_changes_nothing(sim: Simulator, api: Api, kind: str, status: int) -> None:
    more = {"status": status} if kind == "refuse" else {}
    sim.fail("@changes", kind, count=1, object="1", **more)
    answer = await api.post(at("statusCustomer"), json={"id": 1, "status": 0})
    assert answer.status_code == status
    assert sim.state.clients[1].status == 1
    await said(api, "POST", at("statusCustomer"), json={"id": 1, "status": 0})


async def test_the_admin_pages_count_what_came_and_show_no_secret(sim: Simulator, api: Api) -> None:
    await said(
        api, "PUT", at("manageDevices", 1), json={"customer_id": 1, "username": "9", "password": "pw-9-x"}
    )
    await said(api, "GET", "/api/manageCustomers/wrong/pair/1", 403)
    counts = await said(api, "GET", "/admin/counts")
    assert counts["operations"]["manageDevices.create"] == {
        "received": 1,
        "applied": 1,
        "refused": 0,
        "answered": 1,
    }
    assert counts["operations"]["manageCustomers.get"]["refused"] == 1
    pages = "".join([(await api.get(f"/admin/{name}")).text for name in ("", "counts", "log", "state")])
    assert "VoIPMundo simulator" in pages
    assert not [secret for secret in ("pw-9-x", "line-secret", CONFIG.token, CONFIG.key) if secret in pages]
    assert (await said(api, "POST", "/admin/clients", json={"count": 3, "prefix": "c"}))["ids"] == [2, 3, 4]
    assert (
        "object or list"
        in (await said(api, "POST", "/admin/switches", 400, json={"users": "three"}))["error"]
    )


# Against the contract ------------------------------------------------------------------------------------


def test_the_contract_is_a_valid_openapi_3_1_document() -> None:
    document = yaml.safe_load(CONTRACT.read_text())
    assert document["openapi"].startswith("3.1")
    validate(document)


SCHEMA = schemathesis.openapi.from_path(str(CONTRACT))
CHECKS = [
    schemathesis.checks.not_a_server_error,
    response_schema_conformance,
    content_type_conformance,
    status_code_conformance,
]
OPERATIONS = [each.ok() for each in SCHEMA.get_all_operations()]
QUICK = settings(
    max_examples=6,
    deadline=None,
    phases=(Phase.generate,),
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.label)
async def test_the_simulator_answers_as_the_contract_says(sim: Simulator, operation: Any) -> None:
    answered: list[Any] = []

    def ask(case: Any) -> None:
        for name, value in (("api_token", CONFIG.token), ("api_key", CONFIG.key)):
            if name in (case.path_parameters or {}):
                case.path_parameters[name] = value
        case.call_and_validate(base_url=sim.url, checks=CHECKS)
        answered.append(case)

    await asyncio.to_thread(QUICK(given(case=operation.as_strategy())(ask)))
    assert answered
