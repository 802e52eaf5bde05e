"""/healthz, /readyz and /metrics of a running worker."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.amqp import Listener, Sender, command, eventually
from tests.support.worker import WorkerProcess, Workers
from worker.sandbox.postgres import PrivatePostgres
from worker.simulators.sippulse import Simulator, SimulatorConfig, serve

DOMAIN = "sip.example"
PLATFORM = "sippulse-br"
LABELS = {"platform", "endpoint", "outcome", "ending", "why", "queue", "result", "exchange", "le"}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    people = tuple({"username": f"person{n}", "domain": DOMAIN} for n in range(20))
    it = await serve(0, config=SimulatorConfig(subscribers=people))
    yield it
    await it.close()


def about(name: str) -> dict[str, Any]:
    return {"platform": PLATFORM, "subscriber": {"username": name, "domain": DOMAIN}}


async def wrong(worker: WorkerProcess) -> dict[str, str]:
    """Part -> level of what /readyz complains about."""
    status, body = await worker.get("/readyz")
    report = json.loads(body) if status else {"wrong": []}
    return {one["part"]: one["level"] for one in report["wrong"]}


async def test_a_worker_without_broker_lives_but_is_not_ready_and_says_what_is_wrong(
    tmp_path: Path, simulator: Simulator
) -> None:
    nowhere = "amqp://guest:hidden-in-url@127.0.0.1:9/"
    async with Workers(tmp_path, nowhere, {PLATFORM: simulator.url}) as workers:
        one = await workers.start(ready=False)
        await eventually(lambda: one.events("worker.started"))
        one.url = one.events("console.listening")[0]["url"]

        async def complains() -> bool:
            return (await wrong(one)).get("relay") == "error"

        await eventually(complains)
        status, body = await one.get("/readyz")
        assert status == 503
        assert {"intake provisioning.commands", "intake provisioning.commands.bulk"} <= set(await wrong(one))
        assert "RabbitMQ cannot be reached" in body
        assert "hidden-in-url" not in body + one.log()
        assert await one.get("/healthz") == (200, "ok\n")
        assert (await one.get("/metrics"))[0] == 200


async def test_nothing_else_is_open_and_every_answer_carries_the_headers(
    rabbit_url: str, tmp_path: Path, simulator: Simulator
) -> None:
    async with Workers(tmp_path, rabbit_url, {PLATFORM: simulator.url}) as workers:
        one = await workers.start()
        for path in ("/docs", "/redoc", "/openapi.json", "/admin", "/metrics/", "/readyz/x"):
            assert (await one.get(path))[0] == 404, path
        for path in ("/", "/commands", "/commands/1", "/failures", "/audit", "/people", "/live"):
            status, body = await one.get(path)  # it follows the way to the sign-in
            assert status == 200, path
            assert 'action="/sign-in"' in body, path
            assert "calls.block" not in body, path
        for path in ("/healthz", "/readyz", "/metrics", "/sign-in"):
            headers = await asyncio.to_thread(headers_of, f"{one.url}{path}")
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert "default-src 'none'" in headers["content-security-policy"]
            assert headers["cache-control"] == "no-store"
            assert "server" not in headers


def headers_of(url: str) -> dict[str, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        return {name.lower(): value for name, value in answer.headers.items()}


async def test_warnings_say_that_nobody_listens_and_who_paused_and_leave_it_ready(
    rabbit_url: str, tmp_path: Path, simulator: Simulator
) -> None:
    async with Workers(tmp_path, rabbit_url, {PLATFORM: simulator.url}) as workers:
        one = await workers.start()
        async with Sender(rabbit_url) as sender:
            await sender.send(command("calls.block.v1", about("person1")))

        async def unheard() -> bool:
            return "relay" in await wrong(one)

        await eventually(unheard)
        status, body = await one.get("/readyz")
        assert status == 200
        assert "nobody listens to provisioning.results" in body
        done = await workers.worker("platforms", "pause", PLATFORM, "--reason", "they move")
        assert done.code == 0, done.err

        async def paused() -> bool:
            return (await wrong(one)).get(f"platform {PLATFORM}") == "warning"

        await eventually(paused)
        body = (await one.get("/readyz"))[1]
        assert "paused; `worker doctor` and the console say more" in body
        for page in (body, (await one.get("/metrics"))[1]):
            assert "they move" not in page, "who is not signed in reads nobody's words"
        assert "they move" in (await workers.worker("doctor")).out
        assert (await one.get("/readyz"))[0] == 200


async def test_metrics_count_and_their_labels_are_bounded(
    rabbit_url: str, tmp_path: Path, simulator: Simulator
) -> None:
    async with Workers(tmp_path, rabbit_url, {PLATFORM: simulator.url}) as workers:
        one = await workers.start()
        async with Listener(rabbit_url) as results, Sender(rabbit_url) as sender:
            orders = [command("calls.block.v1", about(f"person{number}")) for number in range(20)]
            await sender.send_all([json.dumps(order).encode() for order in orders])
            await sender.send(b"not json")
            await results.until(lambda heard: len(heard) == 21)

        async def counted() -> bool:
            return value(await families(one), "worker_journal_waiting") == 0

        await eventually(counted)
        found = await families(one)
        assert value(found, "worker_intake_messages_total", result="admitted") == 20
        assert value(found, "worker_intake_messages_total", result="refused") == 1
        assert value(found, "worker_commands_ended_total", ending="succeeded") == 20
        assert value(found, "worker_journal_up") == 1
        assert value(found, "worker_relay_active") == 1
        text = (await one.get("/metrics"))[1]
        assert "person" not in text
        assert DOMAIN not in text
        assert {label for family in found.values() for sample in family for label in sample[0]} <= LABELS


Samples = dict[str, list[tuple[dict[str, str], float]]]


async def families(worker: WorkerProcess) -> Samples:
    """Every sample by its name: labels and value."""
    found: Samples = {}
    for family in text_string_to_metric_families((await worker.get("/metrics"))[1]):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    return sum(number for own, number in found.get(name, []) if labels.items() <= own.items())


async def test_a_database_that_is_away_makes_it_not_ready_and_its_return_ready_again(
    rabbit_url: str, tmp_path: Path, simulator: Simulator, dedicated_postgres: PrivatePostgres
) -> None:
    journal = dedicated_postgres.create_database("away")
    async with Workers(tmp_path, rabbit_url, {PLATFORM: simulator.url}, journal=journal) as workers:
        one = await workers.start()
        await asyncio.to_thread(dedicated_postgres.kill)

        async def away() -> bool:
            return (await wrong(one)).get("journal") == "error"

        await eventually(away)
        assert (await one.get("/readyz"))[0] == 503
        assert (await one.get("/healthz"))[0] == 200
        assert value(await families(one), "worker_journal_up") == 0
        await asyncio.to_thread(dedicated_postgres.start)

        async def well() -> bool:
            return (await one.get("/readyz"))[0] == 200

        await eventually(well)


async def test_a_process_that_stops_says_so_until_it_is_gone(
    rabbit_url: str, tmp_path: Path, simulator: Simulator
) -> None:
    simulator.fail("blockOutgoingCalls", "delay", seconds=1.8)
    async with Workers(tmp_path, rabbit_url, {PLATFORM: simulator.url}) as workers:
        one = await workers.start()
        async with Sender(rabbit_url) as sender:
            await sender.send(command("calls.block.v1", about("person1")))
            await eventually(lambda: simulator.platform.ledger.operations["blockOutgoingCalls"].received)
        one.terminate()
        await eventually(lambda: one.events("worker.stopping"))
        status, body = await one.get("/readyz")
        if status:  # 0: it was quicker than we are
            assert (status, "it is stopping" in body) == (503, True)
        assert await one.ended() == 0
