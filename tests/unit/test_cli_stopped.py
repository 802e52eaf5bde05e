"""What is said of a platform that takes no commands now: what a reader does next has to be true."""

from __future__ import annotations

from worker.cli.stopped import why_stopped
from worker.journal.port import PlatformState


def test_a_paused_platform_waits_for_a_person_and_the_hint_can_be_pasted() -> None:
    said = why_stopped(PlatformState("one", paused_by="ana", paused_reason="they move"))
    assert said == (
        'platform one is paused by ana: they move; `worker platforms resume one --reason "…"` lets it go on'
    )


def test_a_held_and_a_broken_platform_go_on_when_they_answer() -> None:
    held = why_stopped(PlatformState("one", held="credentials_refused", held_text="wrong password"))
    assert held is not None
    assert "credentials_refused: wrong password; it goes on when a read succeeds" in held
    broken = why_stopped(PlatformState("one", broken_since=1.0))
    assert broken is not None
    assert "does not answer" in broken


def test_nothing_is_said_of_a_platform_that_is_not_stopped() -> None:
    assert why_stopped(PlatformState("one")) is None
