"""After a 429 it is one call at a time, and more come back slowly."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from worker.domain.outcome import Busy
from worker.messages.rest.document import table
from worker.platforms.transport import Answer
from worker.platforms.voipmundo.pace import OneAtATime

OPERATION = table("voipmundo")["voipmundo.cdr.listAll.v1"]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def answer(status: int) -> Answer:
    return Answer(status, {}, b"{}", 0.0, 0.0)


def pace(most: int = 8, patience: float = 5.0) -> tuple[OneAtATime, Clock]:
    clock = Clock()
    return OneAtATime(most, 30.0, patience, clock), clock


async def entered(of: OneAtATime, stack: AsyncExitStack, *, control: bool = False) -> Any:
    return await stack.enter_async_context(of.turn(OPERATION, control=control))


def test_a_429_takes_it_down_to_one_at_once() -> None:
    of, _ = pace()
    of.heard(answer(429))
    assert of.places == 1


def test_it_comes_back_one_place_at_a_time_and_never_past_the_start() -> None:
    of, clock = pace(most=3)
    of.heard(answer(429))
    seen = []
    for _ in range(12):
        clock.now += 10
        of.heard(answer(200))
        seen.append(of.places)
    assert seen == [1, 1, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3]


def test_another_429_begins_the_waiting_anew() -> None:
    of, clock = pace()
    of.heard(answer(429))
    clock.now = 29
    of.heard(answer(429))
    clock.now = 31
    of.heard(answer(200))
    assert of.places == 1


async def test_the_others_wait_for_their_turn_in_order() -> None:
    of, _ = pace()
    of.heard(answer(429))
    order: list[int] = []

    async def one(number: int) -> None:
        async with of.turn(OPERATION, control=False) as busy:
            assert busy is None
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(one(number) for number in range(20)))
    assert order == list(range(20))


async def test_a_control_read_goes_before_those_who_wait() -> None:
    of, _ = pace()
    of.heard(answer(429))
    order: list[str] = []

    async def one(name: str, *, control: bool = False) -> None:
        async with of.turn(OPERATION, control=control):
            order.append(name)

    async with of.turn(OPERATION, control=False):
        tasks = [asyncio.create_task(one("first")), asyncio.create_task(one("second"))]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(one("control", control=True)))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order == ["control", "first", "second"]


async def test_who_waits_too_long_sends_nothing_and_leaves_no_hole() -> None:
    of, _ = pace(patience=0.01)
    of.heard(answer(429))
    async with AsyncExitStack() as stack:
        assert await entered(of, stack) is None
        assert isinstance(await entered(of, stack), Busy)
    async with AsyncExitStack() as stack:
        assert await entered(of, stack) is None


async def test_a_cancelled_wait_gives_its_place_to_the_next() -> None:
    of, _ = pace()
    of.heard(answer(429))
    async with AsyncExitStack() as stack:
        await entered(of, stack)
        waits = asyncio.create_task(entered(of, AsyncExitStack()))
        await asyncio.sleep(0)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
    async with AsyncExitStack() as stack:
        assert await asyncio.wait_for(entered(of, stack), 5) is None
