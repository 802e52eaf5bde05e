"""One look at a platform from here: reachable, signed in, what it offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from worker.cli.stopped import resume_words

if TYPE_CHECKING:
    from worker.domain.outcome import Outcome
    from worker.platforms.checkup import Examined
    from worker.settings import PlatformSettings


@dataclass(frozen=True, slots=True)
class Probed:
    """`next`: what to do about it. `beside`: what was looked at besides, such as its database."""

    well: bool
    text: str
    next: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    beside: Sequence[Examined] = ()


async def probe(name: str, settings: PlatformSettings) -> Probed:
    """A control read, with the login of the settings, and a look at what the platform needs besides."""
    from worker.platforms.build import build
    from worker.platforms.checkup import Examinable

    try:
        platform = await build(name, settings)
    except ValueError as error:
        return Probed(False, str(error), "put the settings right")
    try:
        outcome = await platform.control()
        beside = await platform.examine() if isinstance(platform, Examinable) else ()
        return replace(said_by(outcome, name, settings), facts=platform.facts(), beside=beside)
    finally:
        await platform.close()


def said_by(outcome: Outcome, name: str, settings: PlatformSettings) -> Probed:
    from worker.domain.outcome import Busy, Done, Ill, NotSent, Refused

    match outcome:
        case Done():
            return Probed(True, "reachable, signed in")
        case Refused() as refused:
            text = f"it refuses the login {settings.account!r}: {refused.text}"
            return Probed(
                False,
                text,
                f"put login and password right, restart the workers, then {resume_words(name)}",
            )
        case NotSent(why):
            return Probed(False, f"it cannot be reached ({why})", f"check {settings.url} and the network")
        case Busy():
            return Probed(True, "reachable; it is busy and asks to come back later")
        case Ill(text):
            return Probed(False, f"it is ill: {text}", "ask those who run it")
        case unclear:
            return Probed(
                False,
                f"it gave no whole answer ({unclear.why})",
                f"check {settings.url} and the platform",
            )
