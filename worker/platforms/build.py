"""From settings to platforms: which kinds there are, and who builds them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from worker.messages import catalogue
from worker.messages.rest import document
from worker.platforms.port import Memory, Passing, Platform
from worker.settings import PlatformSettings
from worker.settings import platforms as settings_of

Build = Callable[[str, Any, Memory], Awaitable[Platform]]

# Another kind is one line here, one in worker/settings/platforms.py, one in worker/messages/catalogue.py. Here:
# the package with its `build(name, settings, memory)`, which is imported when a platform of the kind is built.
BUILDERS: dict[str, str | Build] = {
    "sippulse": "worker.platforms.sippulse",
    "voipmundo": "worker.platforms.voipmundo",
    "ringme": "worker.platforms.ringme",
}


async def build(name: str, settings: PlatformSettings, memory: Memory | None = None) -> Platform:
    """A platform ready for use; `close()` gives its connections back. A platform that is away is no error.

    `memory`: where it keeps what must outlive the process; none for those who only plan and read.

    Raises ValueError with a sentence where the settings ask for what does not exist.
    """
    builder = BUILDERS.get(settings.kind)
    if builder is None:
        known = ", ".join(sorted(BUILDERS))
        raise ValueError(f"there are no platforms of kind {settings.kind}: we know {known}")
    made: Build = import_module(builder).build if isinstance(builder, str) else builder
    return await made(name, settings, memory or Passing())


def register(
    kind: str,
    settings: type[PlatformSettings],
    models: Mapping[str, catalogue.CommandModel],
    builder: Build,
    openapi: Path | None = None,
) -> None:
    """Add a kind of platform that does not come with the worker, before the settings are read.

    `models`: its portable commands. `openapi`: the file with its operations, for native commands.
    """
    settings_of.add_kind(kind, settings)
    catalogue.add_kind(kind, models)
    BUILDERS[kind] = builder
    if openapi is not None:
        document.add_file(kind, openapi)


def unregister(kind: str) -> None:
    """Take a registered kind away again: settings, commands and contracts are then as if it had never been."""
    settings_of.remove_kind(kind)
    catalogue.remove_kind(kind)
    del BUILDERS[kind]
    document.remove_file(kind)
