"""Nobody bound to results and audit stops nothing, is said everywhere, and is made good later (rule 6.4)."""

from __future__ import annotations

from typing import Any

import pytest_asyncio

from tests.support.amqp import Heard, Listener, command, eventually
from tests.support.stage import MODULE, Stage, about, staged

pytestmark = MODULE
stage = staged(listen=False)

EXCHANGES = ("provisioning.results", "provisioning.audit")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def answers(stage: Stage) -> list[Heard]:
    """The results of twenty commands, as their sender got them by reply_to: nobody else did."""
    await stage.platform.subscribers(["joao"], balance="1.00")
    async with Listener(stage.broker, exchange=None) as mine:
        sent = [command("calls.block.v1", about("joao")) for _ in range(19)]
        await stage.send(*sent, b"not JSON", reply_to=mine.queue)
        await mine.until(lambda heard: len(heard) == 20)
        await stage.settled()
        return list(mine.heard)


async def test_the_worker_goes_on_and_says_that_nobody_listens(stage: Stage, answers: list[Heard]) -> None:
    assert sum(one.data["status"] == "succeeded" for one in answers) == 19
    await eventually(lambda: _said(stage), 30, 0.3, "both exchanges named by /readyz and /metrics")
    assert {line["exchange"] for line in stage.worker.events("relay.nobody_listens")} == set(EXCHANGES)


async def test_doctor_says_so_too_and_what_to_do(stage: Stage, answers: list[Heard]) -> None:
    doctor = await stage.cli("doctor", code=None)
    said = doctor.out + doctor.err
    assert "nobody listens" in said
    assert "events republish" in said
    assert all(exchange in said for exchange in EXCHANGES)


async def test_what_nobody_took_comes_later_under_the_same_ids(stage: Stage, answers: list[Heard]) -> None:
    async with (
        Listener(stage.broker) as results,
        Listener(stage.broker, "provisioning.audit") as audit,
    ):
        await stage.cli("events", "republish", "--since", "1h", "--reason", "the queue was missing")
        await results.until(lambda heard: len(heard) >= 20)
        await audit.until(lambda heard: any(one.data["what"] == "republished" for one in heard))
        await stage.settled()
        assert by_id(results.heard) == by_id(answers)
        assert len(results.heard) == 20
        numbers = sorted(one.data["number"] for one in audit.heard)
        assert numbers == list(range(1, len(numbers) + 1))
        assert sum(one.data["what"] == "ended" for one in audit.heard) == 19
        assert sum(one.data["what"] == "refused" for one in audit.heard) == 1
        await eventually(lambda: _heard(stage), 30, 0.3, "no complaint any more")
        await nothing_twice(stage, results, audit)


async def _said(stage: Stage) -> bool:
    status, report = await stage.worker.get("/readyz")
    figures = await stage.figures()
    assert status == 200
    return all(
        f"nobody listens to {exchange}" in report
        and figures.get(f'worker_nobody_listens{{exchange="{exchange}"}}', 0) >= 20
        for exchange in EXCHANGES
    )


async def nothing_twice(stage: Stage, results: Listener, audit: Listener) -> None:
    """Again: nothing is left that nobody took. With --all: everything, under the same ids."""
    again = await stage.cli("events", "republish", "--json", "--reason", "once more")
    assert again.json == {"events": 0}
    ids = {one.event["id"] for one in (*results.heard, *audit.heard)}
    await stage.cli("events", "republish", "--all", "--reason", "all of it")
    await results.until(lambda heard: len(heard) >= 40)
    await audit.until(lambda heard: len(ids_of(heard, "republished")) == 3)
    assert {one.event["id"] for one in results.heard} <= ids


def ids_of(heard: list[Heard], what: str) -> set[str]:
    return {one.event["id"] for one in heard if one.data["what"] == what}


def by_id(heard: list[Heard]) -> dict[str, Any]:
    return {one.event["id"]: one.event for one in heard}


async def _heard(stage: Stage) -> bool:
    return "nobody listens" not in (await stage.worker.get("/readyz"))[1]
