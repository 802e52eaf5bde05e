"""What the checker, or the work on it, found in the worker: each once more, so that it stays mended."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.broken.rig import Stage, rig
from tests.faults.checker import check
from tests.support.stage import MODULE
from tests.support.storm import PLATFORM, Sippulse, credit, order

pytestmark = MODULE


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sippulse]:
    async with Sippulse(tmp_path_factory.mktemp("platform")) as simulator:
        yield simulator


async def clean(stage: Stage) -> None:
    await stage.quiet()
    report = check(await stage.history())
    assert report.passed, report.render()


async def test_a_block_that_no_read_shows_does_not_expire_over_its_lost_answer(
    tmp_path: Path, rabbit_url: str, platform: Sippulse
) -> None:
    """Its expirytime passes in the settle window; the customer is blocked, and the result must not deny it."""
    expiry, settle = 6.0, 8.0  # seconds: the call goes out long before the one, and the window ends after it
    async with rig(tmp_path, rabbit_url, platform, settle=settle) as stage:
        await stage.start("nothing")
        await platform.fail("blockSubscriber", "drop_after", how="close", count=1)
        block = order("subscriber.block", "joao")
        block["expirytime"] = datetime.fromtimestamp(time.time() + expiry, UTC).isoformat()
        await stage.send(block)
        await stage.ended(block)
        assert [one.data["status"] for one in stage.results.of(block["id"])] == ["succeeded"]
        await clean(stage)


async def test_a_block_whose_repeat_is_refused_is_left_to_a_person(
    tmp_path: Path, rabbit_url: str, platform: Sippulse
) -> None:
    async with rig(tmp_path, rabbit_url, platform) as stage:
        await stage.start("nothing")
        await platform.fail("blockSubscriber", "drop_after", how="close", count=1)
        await platform.fail("blockSubscriber", "declared", text="not today")
        await stage.send(block := order("subscriber.block", "joao"))
        await stage.results.until(lambda heard: "parked" in [one.data["status"] for one in heard])
        assert [one.data["effect"] for one in stage.results.of(block["id"])] == ["unknown"]
        await clean(stage)


async def test_a_connection_that_the_platform_closed_is_called_so(
    tmp_path: Path, rabbit_url: str, platform: Sippulse
) -> None:
    """Under uvloop, which the worker runs on: a word that the breaker knows."""
    async with rig(tmp_path, rabbit_url, platform) as stage:
        await stage.start("nothing")
        await platform.fail("addCredit", "drop_after", how="close", count=1)
        await stage.send(one := credit("joao"))
        await stage.ended(one)
        doubts = [one.event["data"] for one in stage.audit.heard if one.event["data"]["what"] == "in_doubt"]
        assert [doubt["command"]["platform"] for doubt in doubts] == [PLATFORM]
        assert "closed" in doubts[0]["details"]["why"]
        await clean(stage)
