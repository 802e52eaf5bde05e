"""The states of a command (rules 1)."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class State(StrEnum):
    WAITING = (
        "waiting"  # due at a time or behind another; in: intake, settle, operator; out: engine, operator
    )
    RUNNING = "running"  # claimed under a lease; in: engine; out: engine, rescue
    IN_DOUBT = "in_doubt"  # a call may have had an effect; in: engine, rescue; out: engine, operator
    PARKED = "parked"  # a person must decide; in: engine; out: operator
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        return self in FINAL


FINAL = frozenset({State.SUCCEEDED, State.REJECTED, State.CANCELLED, State.EXPIRED})


# Statuses of steps: the worker saw that it is done, or a person said so (rule 8.1).
DONE, RESOLVED = "done", "resolved"
UNNAMED = "the step in doubt"  # the name of a resolved one until a worker has planned its command again


class EffectSeen(StrEnum):
    """What a command did to the platform, as its result says it."""

    NONE = "none"
    APPLIED = "applied"  # also where only some steps were
    UNKNOWN = "unknown"  # only in `parked` and `delayed`


class Priority(IntEnum):
    """Among commands that are due; the smaller goes first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2
