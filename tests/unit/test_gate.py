"""A command whose processes died twice runs alone in its process (rules 1)."""

from __future__ import annotations

import asyncio

from worker.engine.gate import Gate


class Visit:
    """Somebody who comes in, says so, and leaves when told."""

    def __init__(self, gate: Gate, *, alone: bool = False, patience: float = 30.0) -> None:
        self.let_in: bool | None = None
        self._leave = asyncio.Event()
        self.task = asyncio.create_task(self._stay(gate, alone, patience))

    async def _stay(self, gate: Gate, alone: bool, patience: float) -> None:
        async with gate.enter(alone=alone, patience=patience) as inside:
            self.let_in = inside
            if inside:
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
    assert (alone.let_in, after.let_in) == (None, None)
    assert gate.closed, "nothing more is claimed meanwhile"
    for visit in before:
        await visit.leave()
    await turns()
    assert (alone.let_in, after.let_in) == (True, None)
    await alone.leave()
    await turns()
    assert after.let_in
    await after.leave()
    assert not gate.closed


async def test_rule_1_two_that_want_to_be_alone_are_so_one_after_the_other() -> None:
    gate = Gate()
    one, two = Visit(gate, alone=True), Visit(gate, alone=True)
    await turns()
    assert (one.let_in, two.let_in) == (True, None)
    await one.leave()
    await turns()
    assert two.let_in
    await two.leave()


async def test_rule_1_who_cannot_be_alone_in_time_is_told_and_the_gate_opens_again() -> None:
    gate = Gate()
    inside = Visit(gate)
    await turns()
    alone = Visit(gate, alone=True, patience=0.01)
    await alone.task
    assert alone.let_in is False
    assert not gate.closed
    await inside.leave()


async def test_one_that_is_cancelled_inside_does_not_keep_the_gate() -> None:
    gate = Gate()
    shared, alone = Visit(gate), Visit(gate, alone=True)
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
