"""Group commit: all that waits goes into the next one; nobody waits for a window, or for another's fault."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from worker.journal.batching import Batcher
from worker.journal.port import JournalDown


class Commits:
    """Doubles numbers, one commit at a time, when `gate` lets it."""

    def __init__(self, most: int = 500) -> None:
        self.batches: list[list[int]] = []
        self.begun: asyncio.Queue[None] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()
        self.down = False
        self.batcher = Batcher[int, int](self.flush, most)

    async def flush(self, asks: Sequence[int]) -> list[int]:
        self.batches.append(list(asks))
        self.begun.put_nowait(None)
        await self.gate.wait()
        if self.down:
            raise JournalDown("away")
        if -1 in asks:
            raise ValueError("-1 cannot be stored")
        return [2 * ask for ask in asks]

    async def entered(self) -> None:
        await asyncio.wait_for(self.begun.get(), 10)


async def test_one_that_asks_alone_waits_for_nobody() -> None:
    commits = Commits()
    assert await commits.batcher.submit(1) == 2
    assert await commits.batcher.submit(2) == 4
    assert commits.batches == [[1], [2]]


async def test_what_is_asked_during_a_commit_shares_the_next() -> None:
    commits = Commits()
    commits.gate.clear()
    first = asyncio.create_task(commits.batcher.submit(0))
    await commits.entered()
    others = [asyncio.create_task(commits.batcher.submit(n)) for n in range(1, 6)]
    await asyncio.sleep(0)
    commits.gate.set()
    assert await asyncio.gather(first, *others) == [0, 2, 4, 6, 8, 10]
    assert commits.batches == [[0], [1, 2, 3, 4, 5]]


async def test_asks_of_one_turn_of_the_loop_share_a_commit() -> None:
    commits = Commits()
    assert await asyncio.gather(*(commits.batcher.submit(n) for n in range(4))) == [0, 2, 4, 6]
    assert commits.batches == [[0, 1, 2, 3]]


async def test_a_commit_has_a_most() -> None:
    commits = Commits(most=3)
    assert await asyncio.gather(*(commits.batcher.submit(n) for n in range(7))) == [2 * n for n in range(7)]
    assert commits.batches == [[0, 1, 2], [3, 4, 5], [6]]


async def test_a_caller_that_is_cancelled_does_not_take_the_others_with_it() -> None:
    commits = Commits()
    commits.gate.clear()
    tasks = [asyncio.create_task(commits.batcher.submit(n)) for n in range(3)]
    await commits.entered()
    tasks[1].cancel()
    await asyncio.sleep(0)
    commits.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert (answers[0], tasks[1].cancelled(), answers[2]) == (0, True, 4)
    assert await commits.batcher.submit(5) == 10


async def test_a_journal_that_is_down_is_told_to_all_and_asked_once() -> None:
    commits = Commits()
    commits.down = True
    answers = await asyncio.gather(*(commits.batcher.submit(n) for n in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [JournalDown] * 3
    assert len(commits.batches) == 1
    commits.down = False
    assert await commits.batcher.submit(1) == 2


async def test_one_whose_data_break_the_commit_fails_alone() -> None:
    commits = Commits()
    answers = await asyncio.gather(*(commits.batcher.submit(n) for n in (1, -1, 3)), return_exceptions=True)
    assert answers[0] == 2
    assert isinstance(answers[1], ValueError)
    assert answers[2] == 6


async def test_nobody_waits_for_ever_when_the_work_is_cut_off() -> None:
    commits = Commits()
    commits.gate.clear()
    first = asyncio.create_task(commits.batcher.submit(1))
    await commits.entered()
    second = asyncio.create_task(commits.batcher.submit(2))
    await asyncio.sleep(0)
    running = commits.batcher._task
    assert running is not None
    running.cancel()
    async with asyncio.timeout(10):
        answers = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(answer) for answer in answers] == [asyncio.CancelledError] * 2
