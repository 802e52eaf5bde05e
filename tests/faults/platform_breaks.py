"""What a storm does to the platform, and the faults that the platform has all the time."""

from __future__ import annotations

from typing import Any

from tests.faults.arena import SETTLE
from tests.faults.breaking import Break


class OnPlatform(Break):
    lane = "platform"

    def draw(self) -> None:
        self.target = "sippulse"


class FreezePlatform(OnPlatform):
    """It answers nobody for longer than `settle`; what came meanwhile is applied, in order, afterwards."""

    def draw(self) -> None:
        self.target, self.seconds = "sippulse", SETTLE + self.chance.uniform(0.5, 4.0)

    async def begin(self) -> None:
        await self.arena.platform.tell("freeze")

    async def end(self) -> None:
        await self.arena.platform.tell("thaw")


class FreezeChanges(FreezePlatform):
    """Its reads answer; what changes something is taken in, and applied later, inside `settle`."""

    def draw(self) -> None:
        self.target = "sippulse " + self.chance.choice(
            ("addCredit", "insertSubscriber", "block*", "activate*")
        )
        self.seconds = self.chance.uniform(0.3, 1.0)

    async def begin(self) -> None:
        await self.arena.platform.tell("freeze", operation=self.target.removeprefix("sippulse "))

    async def end(self) -> None:
        await self.arena.platform.tell("thaw", operation=self.target.removeprefix("sippulse "))


class Outage(OnPlatform):
    """It answers everything with an error, and does nothing."""

    def draw(self) -> None:
        self.target, self.seconds = "sippulse", self.chance.uniform(1.0, 4.0)

    async def begin(self) -> None:
        await self.arena.platform.tell("faults", rules=[{"kind": self._kind()}, *STANDING], replace=True)

    def _kind(self) -> str:
        return self.chance.choice(("html500", "undeclared", "busy", "drop_before"))

    async def end(self) -> None:
        await self.arena.platform.tell("faults", rules=list(STANDING), replace=True)


class LostPassword(Outage):
    """Somebody changes the platform's password, and changes it back."""

    async def begin(self) -> None:
        await self.arena.platform.tell("principal", password="not-what-the-worker-knows")

    async def end(self) -> None:
        await self.arena.platform.tell("principal", password=self.arena.secrets[0])


class Calls(OnPlatform):
    """Subscribers make calls, so that their balance moves by itself; nobody tells the worker what they cost."""

    def draw(self) -> None:
        self.target, self.seconds = "sippulse", self.chance.uniform(5.0, 15.0)

    async def begin(self) -> None:
        seed = self.chance.randrange(1000)
        await self.arena.platform.tell("traffic", rate=40.0, prices=["0.07", "0.11"], seed=seed)

    async def end(self) -> None:
        await self.arena.platform.tell("traffic", rate=0.0)


# Faults that the platform has all the time. What is late lands after the deadline and well inside `settle`.
_CHANGES: list[dict[str, Any]] = [
    {"kind": "late", "since": "hangup", "within": 1.2, "seconds": 0.6, "share": 0.005},
    {"kind": "late", "connection": "drop", "seconds": 0.8, "share": 0.005},
    {"kind": "undeclared", "applied": True, "share": 0.004},
    {"kind": "html500", "applied": True, "share": 0.004},
    {"kind": "lost", "seconds": 1.6, "share": 0.025},
    {"kind": "busy", "share": 0.005},
    {"kind": "declared", "text": "no reason given", "share": 0.003},
    {"kind": "delay", "seconds": 0.1, "share": 0.15},
]
_LIES = [  # done, but said to be refused: only where a reading can show it
    {"kind": "declared", "text": "internal error", "applied": True, "share": 0.004},
    {"kind": "busy", "applied": True, "share": 0.004},
]
STANDING: tuple[dict[str, Any], ...] = (
    *({"operation": ["addCredit", "insertSubscriber"], **rule} for rule in _LIES),
    *({"operation": "@changes", **rule} for rule in _CHANGES),
    {"operation": "@reads", "mix": {"html500": 1, "drop_before": 1, "garbage": 1, "busy": 1}, "share": 0.01},
    {"operation": "@reads", "kind": "delay", "seconds": 0.1, "share": 0.1},
)
