"""Rate, breaker, control reads, shares, leases and due times: what stands between an attempt and a platform."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

import pytest

from worker.domain.effect import Effect
from worker.domain.outcome import Busy, Done, Exchange, Ill, NotSent, Outcome, Refused, Unclear
from worker.engine import guards
from worker.engine import lease as lease_module
from worker.engine.alarm import Alarm
from worker.engine.guards import Breaker, ControlRead, Rate, share, transport_failure
from worker.engine.lease import LeaseGuard
from worker.engine.line import Line
from worker.messages.errors import Code
from worker.platforms.port import LeaseLost, Reply, Step
from worker.settings import SippulseSettings
from worker.telemetry import Telemetry


@pytest.mark.parametrize(
    "why",
    ["timeout", "refused", "reset", "closed", "dns", "tls", "unreachable", "cut", "read before: timeout"],
)
def test_rule_7_2_transport_failures_and_timeouts_count(why: str) -> None:
    assert transport_failure(NotSent(why))
    assert transport_failure(Unclear(why))


@pytest.mark.parametrize(
    "outcome",
    [
        *map(Unclear, ("server_fault", "garbage", "redirect", "too_large", "encoded")),
        *map(NotSent, ("lease_lost", "read before: server_fault", "the refusal could not be checked")),
        Done(),
        Busy(5.0),
        Ill("everything is refused"),
        Refused(Code.PLATFORM_REFUSED, "no"),
    ],
)
def test_rule_7_2_what_a_platform_answers_never_opens_the_circuit(outcome: Outcome) -> None:
    breaker = Breaker(1)
    assert not breaker.note(outcome)


def test_rule_7_2_only_failures_in_a_row_open_the_circuit() -> None:
    breaker = Breaker(3)
    lost = Unclear("timeout")
    assert [breaker.note(o) for o in (lost, lost, Done(), lost, lost, lost)] == [False] * 5 + [True]


async def test_rule_7_3_the_rate_lets_one_seconds_worth_through_at_once_and_then_the_rest_in_turn() -> None:
    rate = Rate(50.0)
    began = time.monotonic()
    await asyncio.gather(*(rate.take() for _ in range(70)))
    assert 0.35 <= time.monotonic() - began < 5.0


async def test_rule_4_2_an_urgent_one_does_not_stand_behind_a_batch_that_waits_for_the_rate() -> None:
    rate, served = Rate(20.0), list[str]()

    async def call(name: str, priority: int) -> None:
        await rate.take(priority)
        served.append(name)

    await asyncio.gather(*(rate.take() for _ in range(20)))  # the burst
    batch = [asyncio.create_task(call(f"row {n}", 2)) for n in range(16)]
    await asyncio.sleep(0)
    await asyncio.gather(call("urgent", 0), *batch)
    assert served == ["urgent", *(f"row {n}" for n in range(16))]


async def test_rule_4_2_nobody_starves_behind_an_endless_row_of_urgent_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guards, "HEAD_START", 0.1)
    rate, served = Rate(100.0), asyncio.Event()

    async def patient() -> None:
        await rate.take(2)
        served.set()

    async def urgent() -> None:
        while not served.is_set():
            await rate.take(0)

    async with asyncio.timeout(30), asyncio.TaskGroup() as all_of_them:
        for _ in range(300):
            all_of_them.create_task(urgent())
        all_of_them.create_task(patient())


async def test_rule_7_3_who_waits_by_a_slow_rate_does_not_wait_for_it_after_it_was_raised() -> None:
    rate = Rate(0.01)
    waiting = asyncio.create_task(rate.take())  # a hundred seconds away
    await asyncio.sleep(0)
    rate.per_second = 100.0
    async with asyncio.timeout(10):
        await waiting


async def test_rule_7_3_a_rate_that_was_lowered_keeps_nothing_of_the_old_burst() -> None:
    rate = Rate(1000.0)
    rate.per_second = 2.0
    await rate.take()
    began = time.monotonic()
    await asyncio.gather(*(rate.take() for _ in range(3)))
    assert time.monotonic() - began >= 0.4


async def test_one_that_leaves_the_line_costs_no_call() -> None:
    rate = Rate(20.0)
    await asyncio.gather(*(rate.take() for _ in range(20)))
    gone = [asyncio.create_task(rate.take()) for _ in range(200)]
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    async with asyncio.timeout(5):  # two hundred calls would take ten seconds
        await rate.take()


@pytest.mark.parametrize("processes", [1, 2, 3, 5, 16, 17])
def test_rule_7_3_the_shares_of_all_processes_make_up_the_whole(processes: int) -> None:
    shares = [share(16, processes, rank) for rank in range(processes)]
    assert sum(shares) == 16
    assert max(shares) - min(shares) <= 1


async def test_rule_2_4_a_control_read_serves_those_who_asked_before_it_began_and_nobody_else() -> None:
    running: list[asyncio.Event] = []

    async def read() -> Outcome:
        running.append(asyncio.Event())
        await running[-1].wait()
        return Done({"number": len(running)})

    control = ControlRead(read)
    first = [asyncio.create_task(control.begun_now()) for _ in range(5)]
    await until(lambda: len(running) == 1)
    second = [asyncio.create_task(control.begun_now()) for _ in range(5)]
    await until(lambda: all(not task.done() for task in second))
    running[0].set()
    assert [await task for task in first] == [Done({"number": 1})] * 5
    await until(lambda: len(running) == 2)
    third = asyncio.create_task(control.begun_now())
    running[1].set()
    assert {(await task).output["number"] for task in second} == {2}  # type: ignore[union-attr] # it is Done
    await until(lambda: len(running) == 3)
    running[2].set()
    assert await third == Done({"number": 3})


async def test_rule_2_4_a_refusal_that_is_cancelled_does_not_take_the_control_read_with_it() -> None:
    go = asyncio.Event()

    async def read() -> Outcome:
        await go.wait()
        return Done()

    control = ControlRead(read)
    gone, stays = (asyncio.create_task(control.begun_now()) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    go.set()
    assert await stays == Done()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - turns of the loop are what is waited for
            await asyncio.sleep(0)


# The lease ---------------------------------------------------------------------------------------------


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(lease_module, "boottime", lambda: self.now)


def test_rule_5_2_nothing_is_written_after_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, guard = Clock(monkeypatch), LeaseGuard(110.0)
    guard.before_first_byte()
    clock.now = 110.0
    with pytest.raises(LeaseLost):
        guard.before_first_byte()
    assert (guard.sent, guard.late) == (False, False)
    guard.renew(120.0)
    guard.before_first_byte()


def test_rule_5_2_a_byte_that_went_out_late_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, guard = Clock(monkeypatch), LeaseGuard(110.0)
    guard.before_first_byte()
    clock.now = 111.0
    guard.wrote()
    assert (guard.sent, guard.late) == (True, True)


# Due times ----------------------------------------------------------------------------------------------


def test_what_falls_due_rings_at_its_time_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("worker.engine.alarm.time.monotonic", lambda: now[0])
    alarm = Alarm()
    assert alarm.rings_in() == math.inf
    for seconds in (5.0, 1.0, 1.001, 300.0):
        alarm.set(seconds)
    assert 1.0 <= alarm.rings_in() <= 1.02
    now[0] += 1.03
    assert alarm.rings_in() == 0.0
    assert 3.9 <= alarm.rings_in() <= 4.0, "the later one is not forgotten"
    now[0] += 100
    assert alarm.rings_in() == 0.0
    assert alarm.rings_in() == math.inf, "five minutes is the slow poll's"


def test_however_many_commands_wait_the_due_times_stay_few() -> None:
    alarm = Alarm()
    for n in range(20_000):
        alarm.set(n / 400)
    assert len(alarm._times) <= 60 / 0.02 + 2


# Quick tries --------------------------------------------------------------------------------------------


class Replies:
    """A platform of one operation: gives its replies in order, the last one again and again."""

    name, kind = "sip", "sippulse"

    def __init__(self, *replies: Outcome, ms: float = 1.0) -> None:
        self.left, self.calls, self.ms = list(replies), 0, ms

    async def call(self, step: Step, guard: object) -> Reply:
        self.calls += 1
        outcome = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        return Reply(outcome, Exchange(step.endpoint, self.ms))


async def called(platform: Replies) -> Outcome:
    settings = SippulseSettings(kind="sippulse", url="http://127.0.0.1:1/S", login="a", password="b")  # type: ignore[arg-type] # as a file gives it
    line = Line(platform, settings, None, Telemetry())  # type: ignore[arg-type] # neither is asked for anything else
    line.guards[1, 1] = LeaseGuard(math.inf)
    claim: Any = type("C", (), {"id": 1, "fence": 1})
    return (await line.call(Step("s", "S.s", Effect.INCREMENT, {}), claim)).outcome


async def test_rule_7_1_quick_tries_within_the_attempt_are_for_what_was_not_sent() -> None:
    platform = Replies(NotSent("refused"), NotSent("refused"), Done())
    assert (await called(platform), platform.calls) == (Done(), 3)
    platform = Replies(NotSent("refused"))
    assert (await called(platform), platform.calls) == (NotSent("refused"), 3)


@pytest.mark.parametrize("outcome", [Unclear("timeout"), Unclear("reset"), Busy(1.0), NotSent("lease_lost")])
async def test_rule_7_1_nothing_else_is_tried_twice_within_an_attempt(outcome: Outcome) -> None:
    platform = Replies(outcome, Done())
    assert (await called(platform), platform.calls) == (outcome, 1)


async def test_rule_7_1_what_took_long_to_fail_is_not_tried_again_under_the_same_lease() -> None:
    platform = Replies(NotSent("timeout"), Done(), ms=9000.0)
    assert (await called(platform), platform.calls) == (NotSent("timeout"), 1)
