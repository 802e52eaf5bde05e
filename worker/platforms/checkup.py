"""What a platform needs beside itself, such as a database, looked at before a command needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Examined:
    """One thing that was looked at. `next`: what to do about it. The texts hold no secret."""

    part: str  # e.g. call records
    level: Literal["well", "advice", "broken"]
    text: str
    next: str = ""


@runtime_checkable
class Examinable(Protocol):
    """A platform that has such things."""

    async def examine(self) -> Sequence[Examined]:
        """Only reads. Never fails: what cannot be read is what it says."""
