"""Whether a claim still holds, at the last moment before the first byte (rule 5.2)."""

from __future__ import annotations

from worker.engine.gate import Place
from worker.platforms.port import LeaseLost
from worker.platforms.transport import boottime


class LeaseGuard:
    """Counts on a clock that goes on during a freeze. `until` was reckoned from before the claim was asked for."""

    def __init__(self, until: float) -> None:
        self.began = boottime()  # the attempt
        self.until = until
        self.sent = False  # the first byte of a call that changes something went out
        self.place: Place | None = None  # among the attempts of this process
        self.late = False  # it went out after the lease had ended: a freeze in the last instant

    def renew(self, until: float) -> None:
        self.until = until

    def before_first_byte(self) -> None:
        if boottime() >= self.until:
            raise LeaseLost

    def wrote(self) -> None:
        self.sent = True
        self.late = self.late or boottime() >= self.until
