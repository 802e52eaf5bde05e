"""Tasks that run beside something and end with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """An error in one of them ends the body with it, instead of being lost until the end."""
    body = asyncio.current_task()
    assert body is not None
    tasks = [asyncio.create_task(one) for one in work]
    failed: list[BaseException] = []

    def look(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            failed.append(error)
            body.cancel()

    for task in tasks:
        task.add_done_callback(look)
    try:
        yield tasks
    except asyncio.CancelledError:
        if failed:
            body.uncancel()
            raise failed[0] from None
        raise
    finally:
        for task in tasks:
            task.remove_done_callback(look)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
