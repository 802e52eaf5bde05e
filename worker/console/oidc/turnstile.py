"""How many are on their way in, and who failed lately."""

from __future__ import annotations

from dataclasses import dataclass, field

from worker.console.oidc.trouble import Trouble

MOST_AT_ONCE = 50
MOST_FAILURES = 20  # from one address within WINDOW; each leaves an audit record, further ones are counted
WINDOW = 60.0  # seconds
MOST_ADDRESSES = 10_000


@dataclass(slots=True)
class Turnstile:
    """Nobody who is not signed in can fill the audit chain or the memory."""

    inside: int = 0
    failed: dict[str, list[float]] = field(default_factory=dict)

    def check(self, origin: str, now: float) -> None:
        recent = [at for at in self.failed.pop(origin, ()) if now - at < WINDOW]
        if recent:
            self.failed[origin] = recent
        if self.inside >= MOST_AT_ONCE or len(recent) >= MOST_FAILURES:
            raise Trouble("busy", "too many sign-ins at once, or too many that failed")

    def count(self, origin: str, now: float) -> None:
        if len(self.failed) >= MOST_ADDRESSES:
            self.failed.clear()
        self.failed.setdefault(origin, []).append(now)
