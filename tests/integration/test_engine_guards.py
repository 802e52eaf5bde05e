"""Rules 7.1 to 7.3 and P5: retries, the circuit breaker, what processes share, and platforms apart."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.support.engine import PATIENT, PLATFORM, Stand, any_journal, eventually, stand, templates
from worker.domain.outcome import Ill, NotSent
from worker.engine.engine import Engine
from worker.platforms.transport import boottime

__all__ = ["stand", "templates"]


async def told(stand: Stand) -> list[str]:
    """What the audit says of the platform."""

    async def work(tx: Any) -> list[str]:
        rows = await tx.rows("SELECT record FROM audit WHERE command_id IS NULL ORDER BY id")
        return [json.loads(row["record"])["what"] for row in rows]

    return await stand.journal.run(work)


async def broken(stand: Stand) -> bool:
    return any(state.broken_since for state in await stand.journal.platforms())


def succeeded(engine: Engine) -> float:
    labels = {"platform": PLATFORM, "ending": "succeeded"}
    return engine._telemetry.registry.get_sample_value("worker_commands_ended_total", labels) or 0.0


@any_journal
async def test_rule_7_1_what_fails_for_retry_for_is_parked(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("retrieveCredit", "undeclared")
    await stand.start(**PATIENT, retry_for=1.0)
    read = await stand.send("credit.get", "ana")
    row = await stand.became(read, "parked")
    assert (row["effect"], row["problem"]["code"]) == ("none", "gave_up")
    calls = stand.watched.asked("retrieveCredit")
    assert calls[-1].at - calls[0].at >= 1.0
    assert row["attempts"] == len(calls) > 2


async def test_rule_7_1_time_with_the_platform_stopped_does_not_count(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("retrieveCredit", "undeclared")
    await stand.start(**PATIENT, retry_for=0.8)
    read = await stand.send("credit.get", "ana")
    await eventually(lambda: stand.watched.asked("retrieveCredit"))
    await stand.journal.pause(PLATFORM, "op", "maintenance")
    paused = time.monotonic()
    await eventually(lambda: time.monotonic() - paused > 1.2)
    await stand.journal.resume(PLATFORM, "op", "over")
    stopped = time.monotonic() - paused
    row = await stand.became(read, "parked")
    calls = stand.watched.asked("retrieveCredit")
    assert calls[-1].at - calls[0].at >= stopped + 0.7
    assert row["problem"]["code"] == "gave_up"


async def test_rule_7_1_a_parked_command_goes_on_when_a_person_says_so(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("retrieveCredit", "undeclared")
    await stand.start(**PATIENT, retry_for=0.5)
    read = await stand.send("credit.get", "ana")
    await stand.became(read, "parked")
    stand.sim.heal()
    await stand.journal.retry(read, "op", "the platform was repaired")
    assert (await stand.ended(read))["state"] == "succeeded"


async def test_rule_7_2_the_circuit_opens_when_the_platform_is_away_and_nothing_costs_attempts(
    stand: Stand,
) -> None:
    users = [f"u{n}" for n in range(12)]
    stand.seed(*users)
    stand.sim.fail("*", "drop_before")
    await stand.admit(*(stand.order("credit.get", user, id=user) for user in users))
    await stand.start(**PATIENT, concurrency=2, breaker_after=3)
    await eventually(lambda: broken(stand))
    await eventually(lambda: stand.engine.running[PLATFORM] == 0)
    attempts = {row["message_id"]: row["attempts"] for row in await stand.journal.commands({}, 50)}
    assert sum(attempts.values()) <= 6, "two at once, three failures in a row"

    since = time.monotonic()
    await eventually(lambda: time.monotonic() - since > 1.0)
    during = stand.watched.asked(since=since)
    assert {s.operation for s in during} == {"listDomains"}, (
        "the probe is a control read, no customer's command"
    )
    assert len(during) <= 8
    rows = await stand.journal.commands({}, 50)
    assert {row["message_id"]: row["attempts"] for row in rows} == attempts

    stand.sim.heal()
    assert await stand.all_ended() == {("succeeded", "none"): 12}
    assert not await broken(stand)
    assert [what for what in await told(stand) if what.startswith("circuit")] == [
        "circuit_opened",
        "circuit_closed",
    ]


@pytest.mark.parametrize("why", ["broken", "held"])
async def test_rule_7_2_a_heartbeat_from_before_does_not_open_a_platform_again(
    stand: Stand, why: str
) -> None:
    """It was read before this process stopped the platform, and its answer came after."""
    await stand.start(**PATIENT, breaker_after=1)
    line = stand.engine.lines[PLATFORM]
    await stand.engine.stop(0.2)
    line.stopping = False
    asked, before = boottime(), (await stand.journal.heartbeat("us", [PLATFORM]))[PLATFORM]
    if why == "held":
        await line.hold(Ill("login refused", credentials=True))
    else:
        await line._note(NotSent("timeout"))
    assert line.closed
    line.learn(before, asked)
    assert line.closed
    line.learn((await stand.journal.heartbeat("us", [PLATFORM]))[PLATFORM], boottime())
    assert line.closed


@any_journal
async def test_rule_7_2_faults_of_an_operation_do_not_open_the_circuit(stand: Stand) -> None:
    stand.seed("ana")
    for kind in ("undeclared", "html500", "garbage"):
        stand.sim.fail("retrieveCredit", kind, count=4, variant="not_xml")
    await stand.start(**PATIENT, breaker_after=3, retry_first=0.02, retry_most=0.05)
    read = await stand.send("credit.get", "ana")
    assert (await stand.ended(read))["state"] == "succeeded"
    assert len(stand.watched.asked("retrieveCredit")) == 13
    assert await told(stand) == []


@any_journal
async def test_rule_7_2_an_operation_that_never_answers_does_not_close_a_platform_that_reads(
    stand: Stand,
) -> None:
    users = [f"u{n}" for n in range(6)]
    stand.seed(*users)
    stand.sim.fail("addCredit", "drop_before", count=6)
    await stand.admit(*(stand.order("credit.add", user, amount="10.00") for user in users))
    await stand.start(concurrency=1, breaker_after=2, settle=0.6)
    assert await stand.all_ended() == {("succeeded", "applied"): 6}
    assert "circuit_opened" not in await told(stand)


async def test_rule_7_2_an_answer_in_doubt_is_not_read_while_the_circuit_is_open(stand: Stand) -> None:
    stand.seed("ana", "bob")
    await stand.start(settle=20.0, retry_most=0.2, breaker_after=4)
    stand.sim.fail("addCredit", "drop_after", count=1)
    credit = await stand.send("credit.add", "ana", amount="10.00")
    await stand.became(credit, "in_doubt")
    stand.sim.fail("*", "drop_before")
    await eventually(lambda: broken(stand))
    await eventually(lambda: stand.engine.running[PLATFORM] == 0)
    since = time.monotonic()
    await eventually(lambda: time.monotonic() - since > 0.8)
    assert {s.operation for s in stand.watched.asked(since=since)} == {"listDomains"}
    stand.sim.heal()
    assert (await stand.ended(credit))["state"] == "succeeded"
    assert stand.credited(credit) == 1


async def test_rule_7_3_processes_together_never_make_more_calls_at_once_than_allowed(stand: Stand) -> None:
    users = [f"u{n}" for n in range(60)]
    stand.seed(*users)
    stand.sim.fail("retrieveCredit", "delay", seconds=0.25)
    await stand.admit(*(stand.order("credit.get", user) for user in users))
    one = await stand.start(**PATIENT, concurrency=4)
    two = await stand.start(on=await stand.open(), **PATIENT, concurrency=4)
    assert await stand.all_ended() == {("succeeded", "none"): 60}
    assert stand.watched.most_inside <= 4
    await eventually(lambda: succeeded(one) + succeeded(two) == 60)
    assert min(succeeded(one), succeeded(two)) >= 5, "both had their share"


@any_journal
async def test_rule_7_3_processes_together_keep_to_the_rate(stand: Stand) -> None:
    users = [f"u{n}" for n in range(90)]
    stand.seed(*users)
    await stand.start(**PATIENT, rate=20)
    await stand.start(on=await stand.open(), **PATIENT, rate=20)
    await stand.admit(*(stand.order("credit.get", user) for user in users))
    assert await stand.all_ended() == {("succeeded", "none"): 90}
    calls = stand.watched.asked("retrieveCredit")
    # Each process may begin with one second's worth at once.
    assert calls[-1].at - calls[0].at >= (90 - 2 * 20) / 20 - 0.3


@any_journal
async def test_rule_7_3_a_slow_rate_does_not_use_up_the_leases(stand: Stand) -> None:
    """The turn comes before the "sent" mark, and no more is claimed than the rate serves."""
    users = [f"u{n}" for n in range(6)]
    stand.seed(*users)
    await stand.admit(*(stand.order("credit.add", user, amount="1.00") for user in users))
    await stand.start(timeout=2.0, lease_margin=0.5, rate=4, concurrency=16)
    assert await stand.all_ended() == {("succeeded", "applied"): 6}
    rows = await stand.journal.commands({}, 10)
    assert {row["attempts"] for row in rows} == {1}


async def test_promise_5_a_dead_platform_delays_only_its_own_commands(stand: Stand) -> None:
    dead, seen_dead = await stand.simulator()
    dead.freezer.freeze("*")
    stand.seed(*(f"u{n}" for n in range(40)))
    await stand.admit(*(stand.order("calls.block", f"d{n}", platform="dead") for n in range(200)))
    well = await stand.platform(stand.sim, **PATIENT)
    away = await stand.platform(dead, "dead", timeout=0.5, breaker_after=5, breaker_probe_most=1.0)
    await stand.start_for([away, well])
    await eventually(lambda: len(seen_dead.seen) > 5)
    await stand.admit(*(stand.order("calls.block", f"u{n}", id=f"well-{n}") for n in range(40)))
    for n in range(40):
        assert (await stand.ended(f"well-{n}"))["state"] == "succeeded"
    rows = await stand.journal.commands({"platform": "dead"}, 300)
    assert {row["state"] for row in rows} <= {"waiting", "running", "in_doubt"}
    ours = await stand.journal.commands({"platform": PLATFORM}, 300)
    assert max(row["finished_at"] - row["received_at"] for row in ours) < 10.0
    await stand.engine.stop(0.1)
