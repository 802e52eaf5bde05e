"""Small helpers around a read: its deadline, and what it means that one was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from worker.domain.outcome import NotSent, Unclear
from worker.platforms.port import Unread

T = TypeVar("T")


def not_sent(unread: Unread) -> Unread:
    """A read that came before the call was lost: nothing that changes anything went out. The word stays, for
    the breaker tells faults from a lost connection by it."""
    return NotSent(unread.why) if isinstance(unread, Unclear) else unread


async def within(seconds: float, read: Awaitable[T]) -> T | Unclear:
    try:
        async with asyncio.timeout(seconds):
            return await read
    except TimeoutError:
        return Unclear("timeout")
