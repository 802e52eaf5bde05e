"""What everything that a storm breaks has in common."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from tests.faults.arena import Arena


@dataclass(slots=True)
class Break:
    """One thing that goes wrong. `target` is told in the report; `seconds` is how long it lasts."""

    arena: Arena
    chance: Random
    target: str = ""
    seconds: float = 0.0
    lane: ClassVar[str]
    share: ClassVar[int] = 1  # cards in the deck

    @classmethod
    def why_not(cls, arena: Arena) -> str:
        """Why it cannot be done here; "" where it can."""
        return ""

    def draw(self) -> None:
        """Choose target and length. All that is random about it is chosen here."""

    async def begin(self) -> None:
        raise NotImplementedError

    async def end(self) -> None:
        """Mend it; also called when the storm ends before its time."""
