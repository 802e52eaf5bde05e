"""Group commit: what is asked for while a commit runs goes into the next one. No fixed window."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

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
        finally:
            self._task = None

    async def _answer(self, batch: list[tuple[Ask, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._flush([ask for ask, _ in batch])
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # the asker may be gone: then nobody is to be told
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)
