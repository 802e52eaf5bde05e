"""Requests that take effect after we have given them up must not undo what was ordered later."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.amqp import eventually
from tests.support.storm import (
    DOMAIN,
    LATE,
    PLATFORM,
    QUICK,
    Sippulse,
    Storm,
    create,
    credit,
    order,
)
from tests.support.worker import Workers

EACH = 10  # subscribers of each story


def tuned(platform: Sippulse) -> dict[str, dict[str, object]]:
    return {PLATFORM: {**QUICK, "url": platform.url}}


async def _late_once(platform: Sippulse, operation: str, names: list[str], since: str) -> None:
    """The first such call for each of these is given no answer, and lands after the client gave up."""
    seconds = LATE if since == "received" else 0.8
    common = {"operation": operation, "kind": "late", "count": 1, "since": since, "seconds": seconds}
    await platform.tell("faults", rules=[{**common, "username": name, "domain": DOMAIN} for name in names])


async def test_rule_3_1_a_late_block_does_not_cut_off_who_was_unblocked_meanwhile(
    journal: str | None, rabbit_url: str, platform: Sippulse, storm: Storm, tmp_path: Path
) -> None:
    names = [f"5511610{number:05}" for number in range(2 * EACH)]
    silent = [f"5511620{number:05}" for number in range(EACH)]  # no read shows whether these are blocked
    await platform.subscribers([*names, *silent])
    await _late_once(platform, "blockOutgoingCalls", names[:EACH], "received")
    await _late_once(platform, "blockOutgoingCalls", names[EACH:], "hangup")
    await _late_once(platform, "blockSubscriber", silent, "received")
    async with Workers(tmp_path, rabbit_url, tuned(platform), journal=journal) as workers:
        await workers.start()
        await storm.send(order("calls.block", name) for name in names)
        await storm.send(order("subscriber.block", name) for name in silent)
        await storm.send(order("calls.unblock", name) for name in names)
        await storm.send(order("subscriber.activate", name) for name in silent)
        await storm.until_final(60)
        account = await storm.account(platform)
    print(f"\nlate blocks: {account}")
    account.check()
    account.expect(succeeded=6 * EACH)
    assert account.faults == {"late": 3 * EACH}
    for name in (*names, *silent):
        found = await platform.subscriber(name)
        assert found is not None
        assert (found["activeOutgoingCalls"], found["active"]) == (True, True), name


async def test_rule_3_1_a_late_remove_does_not_take_the_subscriber_that_was_created_again(
    journal: str | None, rabbit_url: str, platform: Sippulse, storm: Storm, tmp_path: Path
) -> None:
    names = [f"5511630{number:05}" for number in range(2 * EACH)]
    await platform.subscribers(names, contractNumber="the former holder")
    await platform.tell("switches", duplicates="double")  # nobody knows whether the platform refuses a second
    await _late_once(platform, "removeSubscriber", names[:EACH], "received")
    await _late_once(platform, "removeSubscriber", names[EACH:], "hangup")
    async with Workers(tmp_path, rabbit_url, tuned(platform), journal=journal) as workers:
        await workers.start()
        await storm.send(order("subscriber.remove", name) for name in names)
        await storm.send(create(name) for name in names)
        await storm.until_final(60)
        account = await storm.account(platform)
    print(f"\nlate removals: {account}")
    account.check()
    account.expect(succeeded=4 * EACH)
    assert account.faults == {"late": 2 * EACH}
    for name in names:
        found = await platform.subscriber(name)
        assert found is not None, f"{name} was created, and is gone"
        assert found["contractNumber"] == f"C-{name}"
    assert (await platform.ask("counts"))["doubles"] == 0


async def test_rule_3_2_a_platform_frozen_for_longer_than_settle_applies_what_was_queued_once(
    journal: str | None, rabbit_url: str, platform: Sippulse, storm: Storm, tmp_path: Path
) -> None:
    names = [f"5511640{number:05}" for number in range(3 * EACH)]
    topped, blocked, new = names[:EACH], names[EACH : 2 * EACH], names[2 * EACH :]
    await platform.subscribers([*topped, *blocked], balance="5")
    await platform.tell("switches", duplicates="double")
    orders = [credit(name, "4.50") for name in topped]
    orders += [order("calls.block", name) for name in blocked]
    orders += [create(name) for name in new]
    async with Workers(tmp_path, rabbit_url, tuned(platform), journal=journal) as workers:
        await workers.start()
        await storm.send([order("calls.unblock", topped[0])])  # the connection is warm
        await storm.until_final(30)
        for operation in ("addCredit", "blockOutgoingCalls", "insertSubscriber"):
            await platform.tell(
                "freeze", operation=operation
            )  # what changes something is taken in, and waits
        await storm.send(orders)
        await eventually(lambda: _waiting(platform), 30, 0.1, "requests in the platform's queue")
        await platform.tell("freeze")  # and now nothing answers at all
        await asyncio.sleep(2 * QUICK["settle"])  # how long it stands still is what is tested
        await platform.tell("thaw")
        await storm.until_final(60)
        account = await storm.account(platform)
    print(f"\nfrozen: {account}")
    account.check()
    account.expect(succeeded=3 * EACH + 1)
    assert (await platform.ask("counts"))["doubles"] == 0


async def _waiting(platform: Sippulse) -> bool:
    return bool((await platform.ask("counts"))["frozen"] >= 5)
