"""What a stopped platform means for the commands that wait for it, in words for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.journal.journal import StoredJournal
    from worker.journal.port import PlatformState


def resume_words(platform: str) -> str:
    """As it can be pasted into a shell; the reason is the reader's."""
    return f'`worker platforms resume {platform} --reason "…"`'


def why_stopped(state: PlatformState) -> str | None:
    """Why its commands wait, and what lets them go on; None when it is not stopped."""
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


async def of_platform(journal: StoredJournal, platform: str) -> str | None:
    """The same, looked up by name."""
    for state in await journal.platforms():
        if state.name == platform:
            return why_stopped(state)
    return None
