"""HTTP for all platform adapters: one deadline, one sending, and an honest word on how far it got."""

from worker.platforms.port import Guard, LeaseLost
from worker.platforms.transport.client import Transport
from worker.platforms.transport.values import NO_GUARD, Answer, Lost, Phase, Request, boottime

__all__ = [
    "NO_GUARD",
    "Answer",
    "Guard",
    "LeaseLost",
    "Lost",
    "Phase",
    "Request",
    "Transport",
    "boottime",
]
