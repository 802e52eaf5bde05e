"""Group commit: what is asked for while a commit runs goes into the next one. No fixed window."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from worker.journal.port import JournalDown

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")


class Batcher(Generic[Ask, Answer]):
    def __init__(
        self, flush: Callable[[Sequence[Ask]], Awaitable[Sequence[Answer]]], most: int = 500
    ) -> None:
        self._flush = flush
        self._most = most
        self._asked: list[tuple[Ask, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None

    async def submit(self, ask: Ask) -> Answer:
        """The answer to this one ask. A caller that is cancelled does not take the batch with it."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked.append((ask, future))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await asyncio.shield(future)

    async def _run(self) -> None:
        try:
            while self._asked:
                batch, self._asked = self._asked[: self._most], self._asked[self._most :]
                await self._answer(batch)
        except BaseException:  # the loop ends: whoever waits must not wait for ever
            for _, future in self._asked:
                future.cancel()
            self._asked = []
            raise
        finally:
            self._task = None

    async def _answer(self, batch: list[tuple[Ask, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._flush([ask for ask, _ in batch])
        except JournalDown as error:
            _fail(batch, error)
        except Exception as error:
            await self._apart(batch, error)
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

    async def _apart(self, batch: list[tuple[Ask, asyncio.Future[Answer]]], error: Exception) -> None:
        """One ask's data fails the commit of all: each gets a commit of its own, and the culprit its error."""
        if len(batch) == 1:
            _fail(batch, error)
            return
        for one in batch:
            await self._answer([one])


def _fail(batch: list[tuple[Ask, asyncio.Future[Answer]]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
            future.exception()  # the asker may be gone: then nobody is to be told
