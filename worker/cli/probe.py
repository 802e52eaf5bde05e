"""One look at a platform from here: reachable, signed in, what it offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.cli.stopped import resume_words

if TYPE_CHECKING:
    from worker.settings import PlatformSettings


@dataclass(frozen=True, slots=True)
class Probed:
    """`next`: what to do about it."""

    well: bool
    text: str
    next: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


async def probe(name: str, settings: PlatformSettings) -> Probed:
    """A control read, with the login of the settings."""
    from worker.domain.outcome import Busy, Done, Ill, NotSent, Refused
    from worker.platforms.build import build

    try:
        platform = await build(name, settings)
    except ValueError as error:
        return Probed(False, str(error), "put the settings right")
    try:
        outcome = await platform.control()
        facts = platform.facts()
    finally:
        await platform.close()
    match outcome:
        case Done():
            return Probed(True, "reachable, signed in", facts=facts)
        case Refused() as refused:
            text = f"it refuses the login {settings.account!r}: {refused.text}"
            return Probed(
                False,
                text,
                f"put login and password right, restart the workers, then {resume_words(name)}",
                facts,
            )
        case NotSent(why):
            return Probed(
                False, f"it cannot be reached ({why})", f"check {settings.url} and the network", facts
            )
        case Busy():
            return Probed(True, "reachable; it is busy and asks to come back later", facts=facts)
        case Ill(text):
            return Probed(False, f"it is ill: {text}", "ask those who run it", facts)
        case unclear:
            return Probed(
                False,
                f"it gave no whole answer ({unclear.why})",
                f"check {settings.url} and the platform",
                facts,
            )
