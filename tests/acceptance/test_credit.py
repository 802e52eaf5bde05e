"""Money: whatever becomes of the answers, each top-up is on the platform once, or a person is asked."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from itertools import combinations
from pathlib import Path

from tests.support.storm import DOMAIN, PLATFORM, QUICK, Sippulse, Storm, credit, username_of
from tests.support.worker import Workers


async def test_500_top_ups_with_lost_answers_and_double_deliveries_are_each_booked_once(
    journal: str | None, rabbit_url: str, platform: Sippulse, storm: Storm, tmp_path: Path
) -> None:
    names = [f"5511400{number:05}" for number in range(125)]
    await platform.subscribers(names, balance="3.21")
    await platform.lie("addCredit", 0.02)
    await platform.lose_answers("addCredit", 0.3)
    await platform.fail("retrieveCredit", "lost", share=0.05, seconds=1.5)
    await platform.fail("listDomains", "drop_before", share=0.05)
    chance = random.Random(7)
    orders = [credit(name, f"{chance.randint(100, 9999) / 100:.2f}") for name in names * 4]
    async with Workers(
        tmp_path, rabbit_url, {PLATFORM: {**QUICK, "url": platform.url}}, journal=journal
    ) as w:
        worker = await w.start()
        await storm.send(orders, twice=0.1)
        await storm.until_final()
        account = await storm.account(platform)
        doubts = {one["command"] for one in worker.events("attempt.settled") if one["decision"] == "Doubt"}
    print(f"\ntop-ups: {account}; in doubt {len(doubts)}")
    account.check()
    account.expect(succeeded=500)
    assert len(doubts) > 50, "the faults did not strike"
    await _balances_are_what_was_ordered(platform, storm)


async def _balances_are_what_was_ordered(platform: Sippulse, storm: Storm) -> None:
    ordered: dict[str, Decimal] = defaultdict(Decimal)
    for sent in storm.sent.values():
        ordered[username_of(sent)] += Decimal(sent["data"]["amount"])
    accounts = (await platform.ask("credits"))["by_subscriber"]
    for name, amount in ordered.items():
        assert Decimal(accounts[f"{name}@{DOMAIN}"]["balance"]) == Decimal("3.21") + amount


async def test_with_calls_eating_credit_and_no_call_records_it_parks_rather_than_guess(
    journal: str | None, rabbit_url: str, platform: Sippulse, storm: Storm, tmp_path: Path
) -> None:
    """The one exception that is promised: calls that cost exactly the amount. The test counts those."""
    names = [f"5511500{number:05}" for number in range(200)]
    await platform.subscribers(names, balance="20")
    await platform.lose_answers("addCredit", 0.4)
    # A single call of 0.30 may look like a top-up of 0.30 that never was, or hide one; none looks like 7.77.
    await platform.tell("traffic", rate=60, prices=["0.05", "0.12", "0.30"], seed=3)
    orders = [credit(name, "0.30" if number % 2 else "7.77") for number, name in enumerate(names)]
    async with Workers(
        tmp_path, rabbit_url, {PLATFORM: {**QUICK, "url": platform.url}}, journal=journal
    ) as w:
        await w.start()
        await storm.send(orders, twice=0.1)
        await storm.until("succeeded", "rejected", "parked")
        await platform.tell("traffic", rate=0)
        account = await storm.account(platform)
    parked = [one for name, one in storm.with_status("parked").items() if name not in storm.ended()]
    wrong = [*account.doubled, *account.missing, *account.unsaid]
    excused = [name for name in wrong if await _calls_cost_exactly(platform, storm, name)]
    print(f"\nno call records: {account}; parked {len(parked)}, wrong by calls of the amount {len(excused)}")
    assert wrong == excused, account
    assert len(parked) + account.endings["succeeded"] == 200
    assert parked, "nothing had to be parked: the calls did not strike"
    for one in parked:
        error = one.data["error"]
        assert (one.data["effect"], error["code"]) == ("unknown", "effect_unknown"), one.event
        assert error["message"], "a person has to be told what was seen"
    assert any("the balance moved by" in one.data["error"]["message"] for one in parked)


async def _calls_cost_exactly(platform: Sippulse, storm: Storm, command: str) -> bool:
    """Some choice among the calls made while the command was under way has the price of the top-up."""
    sent, [ended] = storm.sent[command], storm.ended()[command].values()
    account = f"{username_of(sent)}@{DOMAIN}"
    charges = (await platform.ask("charges", accountcode=account))["charges"]
    begun, over = (
        datetime.fromisoformat(ended.data[name]).timestamp() for name in ("started_at", "finished_at")
    )
    prices = [Decimal(charge["price"]) for charge in charges if begun <= charge["at"] <= over]
    return any(
        sum(some) == Decimal(sent["data"]["amount"])
        for size in range(1, len(prices) + 1)
        for some in combinations(prices, size)
    )
