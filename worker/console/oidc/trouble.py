"""What can go wrong on the way through a provider."""

from __future__ import annotations

from typing import Literal

Problem = Literal["down", "untrue", "refused", "state", "busy", "name", "role", "disabled", "journal"]

# What the person reads, and the status of that page.
PROBLEMS: dict[str, tuple[str, int]] = {
    "down": ("the provider does not answer: try again in a minute", 502),
    "untrue": ("what the provider answered does not hold: nobody was signed in, and the log says why", 502),
    "refused": ("the provider did not sign you in", 403),
    "state": ("this sign-in was not begun in this browser, or too long ago: begin again", 400),
    "busy": ("too many people sign in at once: wait a moment", 429),
    "name": ("the provider does not say your name: its admin can", 403),
    "role": ("your account has no role here: the provider's admin can give it one", 403),
    "disabled": ("your account was disabled here: an admin can enable it", 403),
    "journal": ("the journal does not answer: try again in a minute", 503),
}


class Trouble(Exception):
    """`problem`: of PROBLEMS. The sentence is for log and audit, and holds no secret."""

    def __init__(self, problem: Problem, why: str) -> None:
        super().__init__(why)
        self.problem: Problem = problem
