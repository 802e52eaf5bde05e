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
from tests.support.amqp import eventually
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


@broken("forgetful_merge")
async def test_an_update_that_clears_what_it_did_not_name_is_seen(
    name: str, tmp_path: Path, rabbit_url: str, platform: Sippulse
) -> None:
    """The platform clears what a whole update leaves out; the next one must not be blamed for it."""
    async with rig(tmp_path, rabbit_url, platform) as stage:
        await stage.start(name)
        first = order("subscriber.update", "joao", changes={"email": "joao@sip.example"})
        last = order("subscriber.update", "joao", changes={"call_limit": 4, "incoming_calls": False})
        await stage.send(first, last)
        await stage.ended(last)
        caught(report := await verdict(stage), name, "unnamed fields changed")
        if name != WHOLE:
            assert first["id"] in str(report)
            assert "document" in str(report)


@broken("no_lease_check")
async def test_a_worker_that_goes_by_an_old_lease_writes_over_what_came_after(
    name: str, tmp_path: Path, rabbit_url: str, platform: Sippulse, postgres_url: str
) -> None:
    """It is frozen with an update in its hand; thawed when another one has made that, and the next."""
    lease: dict[str, Any] = {"timeout": 2.5, "lease_margin": 0.5}
    async with rig(tmp_path, rabbit_url, platform, postgres_url, **lease) as stage:
        other = await stage.start(name, "intake,relay", ready=False)
        frozen = await stage.start(f"{name}+freeze_sending", "engine")
        await stage.takes(other)
        orders = [
            order("subscriber.update", "joao", changes={"email": f"{word}@sip.example"})
            for word in ("first", "second")
        ]
        await stage.send(*orders)
        await stage.stopped(frozen)
        await stage.start(name, "engine")
        await stage.ended(orders[1])
        frozen.thaw()
        await eventually(
            lambda: frozen.events("claim.ended") or frozen.events("attempt.not_ours"),
            30,
            what=f"the end of what it had in its hand\n{frozen.tail()}",
        )
        caught(await verdict(stage), name, "out of order")
