"""A command whose processes died twice runs alone in its process, and holds up nobody by waiting (rules 1, P5)."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

from tests.support.engine import eventually
from worker.domain.lifecycle import State
from worker.engine.gate import Gate
from worker.engine.lease import LeaseGuard
from worker.engine.line import Line
from worker.journal.port import Claim
from worker.messages.events import View
from worker.settings import SippulseSettings
from worker.telemetry import Telemetry


class Visit:
    """Somebody who comes in, says so, and leaves when told."""

    def __init__(self, gate: Gate, *, alone: bool = False, patience: float = 30.0) -> None:
        self.let_in: bool | None = None
        self._leave = asyncio.Event()
        self.task = asyncio.create_task(self._stay(gate, alone, patience))

    async def _stay(self, gate: Gate, alone: bool, patience: float) -> None:
        with gate.place(alone=alone, patience=patience) as place:
            self.let_in = False if place is None else await place.close()
            if self.let_in:
                await self._leave.wait()

    async def leave(self) -> None:
        self._leave.set()
        await self.task


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_rule_1_the_others_are_inside_together() -> None:
    gate = Gate()
    visits = [Visit(gate) for _ in range(5)]
    await turns()
    assert all(visit.let_in for visit in visits)
    assert not gate.closed
    for visit in visits:
        await visit.leave()


async def test_rule_1_who_is_alone_waits_for_those_inside_and_lets_nobody_in() -> None:
    gate = Gate()
    before = [Visit(gate), Visit(gate)]
    await turns()
    alone = Visit(gate, alone=True)
    await turns()
    after = Visit(gate)
    await turns()
    assert (alone.let_in, after.let_in) == (None, False)
    assert gate.closed, "nothing more is claimed meanwhile"
    for visit in before:
        await visit.leave()
    await turns()
    assert alone.let_in
    assert gate.closed
    await alone.leave()
    assert not gate.closed


async def test_rule_1_of_two_that_want_to_be_alone_the_second_is_told_at_once() -> None:
    gate = Gate()
    one, two = Visit(gate, alone=True), Visit(gate, alone=True)
    await turns()
    assert (one.let_in, two.let_in) == (True, False)
    await one.leave()
    three = Visit(gate, alone=True)
    await turns()
    assert three.let_in
    await three.leave()


async def test_rule_1_who_cannot_be_alone_in_time_is_told_and_the_gate_opens_again() -> None:
    gate = Gate()
    inside = Visit(gate)
    await turns()
    alone = Visit(gate, alone=True, patience=0.01)
    await alone.task
    assert alone.let_in is False
    assert not gate.closed
    await inside.leave()


async def test_one_that_is_cancelled_inside_or_before_does_not_keep_the_gate() -> None:
    gate = Gate()
    shared, waits = Visit(gate), Visit(gate, alone=True)
    await turns()
    assert gate.closed
    waits.task.cancel()
    await turns()
    assert not gate.closed
    alone = Visit(gate, alone=True)
    await turns()
    shared.task.cancel()
    await turns()
    assert alone.let_in
    alone.task.cancel()
    await turns()
    assert not gate.closed
    last = Visit(gate, alone=True)
    await turns()
    assert last.let_in
    await last.leave()


# ---------------------------------------------------------------- turns by the rate, minutes away


SETTINGS = {"kind": "sippulse", "url": "http://127.0.0.1:1/S", "login": "a", "password": "b", "rate": 1.0}
VIEW = View("m1", "/crm", "credit.add.v1", "m1", "sip", "sip/subscriber/ana@pbx")
CLAIM = Claim(1, 1, "us", 1, 1e9, 0.0, State.RUNNING, VIEW, {})


class Slow:
    """A platform whose rate an operator has lowered to a call in a hundred seconds, and whose last turn is taken."""

    name, kind = "sip", "sippulse"

    def __init__(self, gate: Gate) -> None:
        itself: Any = self
        journal: Any = self
        self.renewed: list[int] = []
        self.gate = gate
        self.line = Line(itself, SippulseSettings.model_validate(SETTINGS), journal, Telemetry())
        self.line._rate.per_second = 0.01
        self.line._rate._tokens = 0.0

    def waits(self, number: int, *, alone: bool = False) -> asyncio.Task[Any]:
        return asyncio.create_task(self._waits(replace(CLAIM, id=number), alone))

    async def _waits(self, claim: Claim, alone: bool) -> Any:
        guard = self.line.guards[claim.id, claim.fence] = LeaseGuard(math.inf)
        with self.gate.place(alone=alone, patience=30.0) as guard.place:
            return await self.line.turn(claim)

    async def renew(self, claim: Claim) -> bool:
        self.renewed.append(claim.id)
        return True

    def turns_come(self) -> None:
        self.line._rate.per_second = 1000.0


async def test_p5_who_waits_for_a_turn_on_one_platform_gives_way_to_the_one_that_has_to_run_alone() -> None:
    gate = Gate()
    waiting = Slow(gate).waits(1)
    await turns()
    alone = Visit(gate, alone=True)
    await turns()
    assert alone.let_in, "it does not wait for a turn that is minutes away"
    back = await waiting
    assert (back.counted, back.failing) == (False, False)
    await alone.leave()


async def test_p5_one_that_has_to_run_alone_waits_for_its_turn_with_the_gate_open() -> None:
    gate = Gate()
    slow = Slow(gate)
    waiting = slow.waits(1, alone=True)
    await turns()
    other = Visit(gate)
    await turns()
    assert other.let_in, "the other platforms go on"
    slow.turns_come()
    await eventually(lambda: gate.closed)
    assert not waiting.done(), "it waits for those inside"
    assert slow.renewed == [1], "what it waits for the others does not come off its lease"
    await other.leave()
    assert await waiting is None
    assert slow.renewed == [1, 1]


async def test_rule_1_one_that_has_to_run_alone_gives_way_to_another_while_its_turn_is_far() -> None:
    """It would have its lease lapse with the other one's, and be parked for nothing."""
    gate = Gate()
    waiting = Slow(gate).waits(1, alone=True)
    await turns()
    killer = Visit(gate, alone=True)
    await turns()
    assert killer.let_in
    assert (await waiting).counted is False
    await killer.leave()


async def test_p5_one_that_cannot_be_alone_leaves_the_others_far_more_time_than_it_takes_from_them() -> None:
    gate = Gate()
    inside = Visit(gate)
    await turns()
    slow = Slow(gate)
    slow.turns_come()
    slow.line._rate._tokens = 5.0
    claim = replace(CLAIM, id=7)
    guard = slow.line.guards[7, 1] = LeaseGuard(math.inf)
    with gate.place(alone=True, patience=0.01) as guard.place:
        back = await slow.line.turn(claim)
    assert back is not None
    assert back.after >= 30 * 0.01
    assert not gate.closed
    await inside.leave()
