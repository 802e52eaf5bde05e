"""From settings to platforms: the one place that knows which kinds there are."""

from __future__ import annotations

from worker.platforms.port import Memory, Passing, Platform
from worker.platforms.sippulse import build as build_sippulse
from worker.settings import PlatformSettings, SippulseSettings


async def build(name: str, settings: PlatformSettings, memory: Memory | None = None) -> Platform:
    """A platform ready for use; `close()` gives its connections back. A platform that is away is no error.

    `memory`: where it keeps what must outlive the process; none for those who only plan and read.

    Raises ValueError with a sentence where the settings ask for what does not exist.
    """
    memory = memory or Passing()
    match settings:
        case SippulseSettings():
            return await build_sippulse(name, settings)
        case _:
            raise ValueError(f"there are no platforms of kind {settings.kind}")
