"""What the journal's sentences need of a database: a transaction, a clock, locks, numbers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Unstorable(Exception):
    """The data broke the commit: one message among those that shared it cannot be stored (rule 6.3)."""


class Row(Protocol):
    def __getitem__(self, name: str, /) -> Any: ...


class Tx(Protocol):
    """One open transaction. SQL is written for PostgreSQL (`$1`, `FOR UPDATE`); `= ANY($1)` is a set of
    numbers, `= ANY($1::text[])` one of texts."""

    now: float  # by the database's clock, when the transaction began

    async def rows(self, sql: str, *args: Any) -> Sequence[Row]: ...

    async def run(self, sql: str, *args: Any) -> int:
        """Rows that were changed."""

    async def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None: ...

    async def numbers(self, count: int, lock: str) -> list[int]:
        """Growing numbers from the one sequence that ids and arrival numbers come from.

        Taken after waiting for the lock of that name, which is held to the end of the transaction.
        """

    async def lock(self, name: str) -> None:
        """Wait for the lock of that name; held to the end of the transaction."""

    async def try_lock(self, name: str) -> bool: ...

    def wake(self, channel: str) -> None:
        """Tell every process, when the commit has succeeded, that there is work (one signal a commit)."""


class Driver(Protocol):
    async def transact(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run `work` and commit. Repeats it after a deadlock; raises JournalDown when the database is away."""

    def listen(self, heard: Callable[[str], None]) -> None:
        """Call `heard(channel)` for what other processes (and this one) woke."""

    def held(self, name: str) -> AbstractAsyncContextManager[bool]:
        """Hold the lock of that name while the block runs; False: somebody else does. Whoever is killed lets go."""

    async def close(self) -> None: ...
