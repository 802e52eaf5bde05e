"""A worker that breaks a promise is caught by the checker; the whole one, under the same fault, is found clean.

Each fault is brought about at one certain moment, so that neither verdict is a matter of luck.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.faults.broken.rig import Stage, rig
from tests.faults.checker import check
from tests.faults.report import Report
from tests.support.stage import MODULE
from tests.support.storm import Sippulse, credit, order

pytestmark = MODULE


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sippulse]:
    async with Sippulse(tmp_path_factory.mktemp("platform")) as simulator:
        yield simulator


WHOLE = "nothing"


def broken(*names: str) -> pytest.MarkDecorator:
    """The test runs with a worker that is broken in each of these ways, and with the whole one."""
    return pytest.mark.parametrize("name", [*names, WHOLE])


async def verdict(stage: Stage) -> Report:
    await stage.quiet()
    report = check(await stage.history())
    print(f"\n{report.render()}")
    return report


def caught(report: Report, name: str, heading: str) -> None:
    """The broken worker under this heading (it may break other promises with it), the whole one under none."""
    if name == WHOLE:
        assert report.passed, report.render()
    else:
        assert heading in report.found, report.render()


@broken("ack_before_commit")
async def test_a_worker_that_acknowledges_too_early_loses_commands(
    name: str, tmp_path: Path, rabbit_url: str, platform: Sippulse
) -> None:
    """It is killed while its first commands are about to be written."""
    async with rig(tmp_path, rabbit_url, platform) as stage:
        dying = await stage.start(f"{name}+die_admitting")
        await stage.send(credit("joao"), order("calls.block", "joao"))
        await stage.died(dying)
        await stage.start(WHOLE)
        await stage.send(last := credit("ana"))  # behind whatever RabbitMQ still has
        await stage.ended(last)
        caught(await verdict(stage), name, "lost")


@broken("retry_unclear_credit", "not_sent_by_class")
async def test_a_worker_that_sends_a_lost_credit_again_books_it_twice(
    name: str, tmp_path: Path, rabbit_url: str, platform: Sippulse
) -> None:
    """The platform books the money and closes the connection without an answer: to httpx-aiohttp a ConnectTimeout."""
    async with rig(tmp_path, rabbit_url, platform) as stage:
        await stage.start(name)
        await platform.fail("addCredit", "drop_after", how="close", count=1)
        await stage.send(one := credit("joao"))
        await stage.ended(one)
        caught(await verdict(stage), name, "effects doubled")


@broken("no_fencing")
async def test_a_worker_without_fencing_disturbs_who_took_its_command_over(
    name: str, tmp_path: Path, rabbit_url: str, platform: Sippulse, postgres_url: str
) -> None:
    """It is frozen beyond its lease while it reads before the call, and thawed while another one's call is under way."""
    lease: dict[str, Any] = {"timeout": 2.5, "lease_margin": 0.5}
    async with rig(tmp_path, rabbit_url, platform, postgres_url, **lease) as stage:
        other = await stage.start(name, "intake,relay", ready=False)
        frozen = await stage.start(name, "engine")
        await stage.takes(other)
        await platform.fail("retrieveCredit", "delay", seconds=1.0, count=1)
        await platform.fail("addCredit", "delay", seconds=2.0, count=1)
        await stage.send(one := credit("joao"))
        await stage.received("retrieveCredit")
        frozen.freeze()
        await stage.start(name, "engine")
        await stage.received("addCredit")
        frozen.thaw()
        await stage.ended(one)
        caught(await verdict(stage), name, "effects doubled")


@broken("key_released_early")
async def test_a_worker_that_lets_the_key_go_early_cuts_a_customer_off(
    name: str, tmp_path: Path, rabbit_url: str, platform: Sippulse
) -> None:
    """A block whose answer is lost lands late: behind the repeat, and behind what was ordered next."""
    async with rig(tmp_path, rabbit_url, platform) as stage:
        await stage.start(name)
        await platform.fail("blockSubscriber", "late", seconds=2.5, count=1)
        await stage.send(order("subscriber.block", "joao"), last := order("subscriber.activate", "joao"))
        await stage.ended(last)
        caught(await verdict(stage), name, "out of order")


@broken("forgetful_relay")
async def test_a_relay_that_strikes_off_first_forgets_results(
    name: str, tmp_path: Path, rabbit_url: str, platform: Sippulse
) -> None:
    """It is killed while its first results are about to be published."""
    async with rig(tmp_path, rabbit_url, platform) as stage:
        dying = await stage.start(f"{name}+die_publishing")
        await stage.send(credit("joao"))
        await stage.died(dying)
        await stage.start(WHOLE)
        caught(await verdict(stage), name, "missing or double final results")
