"""What a call does to the platform, which decides what may follow a lost answer (rules 3)."""

from __future__ import annotations

from enum import StrEnum


class Effect(StrEnum):
    READ = "read"  # changes nothing: call again
    SET = "set"  # the same call twice leaves the same state
    CREATE = "create"  # a second one may make a second object
    DELETE = "delete"  # a second one may remove what came after
    INCREMENT = "increment"  # a second one books the money twice
    CHANGE_SECRET = "change_secret"

    @property
    def needs_evidence(self) -> bool:
        """The state before the call must be known to tell afterwards whether it took effect."""
        return self in (Effect.CREATE, Effect.INCREMENT)

    @property
    def needs_fresh_connection(self) -> bool:
        """A stale connection must not be taken for a lost answer (rule 2.2)."""
        return self not in (Effect.READ, Effect.SET)


class Risk(StrEnum):
    """From which commit on a call may have gone out: what rescue asks of a lapsed lease (rule 5.3)."""

    NONE = "none"  # a read: never
    CLAIM = "claim"  # from the claim on: it needs no separate "sent"
    SENT = "sent"  # from the "sent" commit on


def risk_of(effect: Effect) -> Risk:
    if effect is Effect.READ:
        return Risk.NONE
    return Risk.SENT if effect.needs_evidence else Risk.CLAIM
