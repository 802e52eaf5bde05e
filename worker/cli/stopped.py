"""What a stopped platform means for the commands that wait for it, in words for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.journal.journal import StoredJournal
    from worker.journal.port import PlatformState, Scope


def resume_words(platform: str) -> str:
    """As it can be pasted into a shell; the reason is the reader's."""
    return f'`worker platforms resume {platform} --reason "…"`'


def resume_words_of(scope: Scope, name: str) -> str:
    what = "--all" if scope == "everything" else f"--{scope} {name.removesuffix('.v1')}"
    return f'`worker platforms resume {what} --reason "…"`'


def why_stopped(state: PlatformState) -> str | None:
    """Why its commands wait, and what lets them go on; None when it is not stopped."""
    if state.halted:
        return f"{state.halted.words()}; {resume_words_of('everything', '')} lets it go on"
    if state.paused_by:
        why = f": {state.paused_reason}" if state.paused_reason else ""
        return f"platform {state.name} is paused by {state.paused_by}{why}; {resume_words(state.name)} lets it go on"
    if state.held:
        text = f": {state.held_text}" if state.held_text else ""
        return (
            f"platform {state.name} is held, {state.held}{text}; it goes on when a read succeeds,"
            f" at once with {resume_words(state.name)}"
        )
    if state.broken_since:
        return f"platform {state.name} does not answer; it is probed, and goes on by itself when it answers"
    return None


async def of_command(journal: StoredJournal, found: Mapping[str, Any]) -> str | None:
    """The same for a command that has not ended: of its platform, or of what a person has paused besides."""
    for state in await journal.platforms():
        if state.name == found["platform"] and (why := why_stopped(state)):
            return why
    for one in await journal.pauses():
        if found["state"] == "waiting" and one.holds(found["type"], found["source"], found["batch_id"]):
            return f"{one.words()}; {resume_words_of(one.scope, one.name)} lets it go on"
    return None
