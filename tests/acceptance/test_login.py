"""A password that was changed on the platform stops the platform's commands; it does not reject them."""

from __future__ import annotations

from pathlib import Path

from tests.support.amqp import eventually
from tests.support.storm import PLATFORM, QUICK, Order, Sippulse, Storm, create, credit, order
from tests.support.worker import WorkerProcess, Workers


async def test_rule_2_4_a_changed_password_rejects_none_of_300_waiting_commands(
    journal: str | None, rabbit_url: str, platform: Sippulse, storm: Storm, tmp_path: Path
) -> None:
    names = [f"5511700{number:05}" for number in range(75)]
    await platform.subscribers(names, balance="1")
    await platform.tell("switches", duplicates="double")
    # Slow enough that most of them still wait when the password changes, and some calls are under way.
    await platform.tell("faults", operation="@changes", kind="delay", seconds=0.1)
    orders = [one for number, name in enumerate(names) for one in story(name, number)]
    async with Workers(
        tmp_path, rabbit_url, {PLATFORM: {**QUICK, "url": platform.url}}, journal=journal
    ) as workers:
        worker = await workers.start()
        await storm.send(orders)
        waiting: list[int] = []
        for change in range(4):
            await eventually(
                lambda: len(storm.ended()) >= 330 - min([310, *waiting]), 60, 0.02, "more results"
            )
            await _wrong(platform, worker)
            if change == 0:  # the other times it is put right at once, with refused calls still under way
                await eventually(lambda: _refused_logins(platform, 5), 60, 0.2, "refused control reads")
            waiting.append(300 - len(storm.ended()))
            await platform.tell("principal", password="admin")
        await platform.heal()
        await storm.until_final(90)
        account = await storm.account(platform)
    print(f"\nlogin: {account}; {waiting} waited while it was wrong")
    account.check()
    account.expect(succeeded=300)
    assert min(waiting) >= 50, "many had to be waiting"
    assert account.retried == 0, "an attempt was spent on a login that was refused"


async def _wrong(platform: Sippulse, worker: WorkerProcess) -> None:
    """Somebody changes the password, and the worker notices."""

    def held() -> int:
        return len(worker.events("platform.held"))

    before = held()
    await platform.tell("principal", password="changed by somebody")
    await eventually(lambda: held() > before, 60, 0.01, "a held platform")


def story(name: str, number: int) -> list[Order]:
    return [
        credit(name, "2.50"),
        order("calls.block", name),
        create(f"{name}9") if number % 2 else order("subscriber.block", name),
        order("calls.unblock", name),
    ]


async def _refused_logins(platform: Sippulse, times: int) -> bool:
    operations = (await platform.ask("counts"))["operations"]
    return bool(operations.get("listDomains", {}).get("refused", 0) >= times)
