"""From settings to platforms: the one place that knows which kinds there are."""

from __future__ import annotations

from worker.platforms.port import Platform
from worker.platforms.sippulse import build as build_sippulse
from worker.settings import PlatformSettings, SippulseSettings


async def build(name: str, settings: PlatformSettings) -> Platform:
    """A platform ready for use; `close()` gives its connections back. A platform that is away is no error.

    Raises ValueError with a sentence where the settings ask for what does not exist.
    """
    match settings:
        case SippulseSettings():
            return await build_sippulse(name, settings)
        case _:
            raise ValueError(f"there are no platforms of kind {settings.kind}")
