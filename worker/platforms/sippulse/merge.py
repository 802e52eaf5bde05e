"""Updates that overwrite whole records: what was ordered goes over what was read, and nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.platforms.sippulse.fields import BY_WIRE, DEFAULTS, SUBSCRIBER

_MASKED = re.compile(r"[*•●x.]{3,}|<?hidden>?|\[?(masked|protected)\]?", re.IGNORECASE)

RETRIEVE_SIP, RETRIEVE_PORTAL = "SubscriberWS.retrievePassword", "SubscriberWS.retrievePasswordWEB"


def is_masked(value: Any) -> bool:
    """It stands for a secret that the platform does not show."""
    return isinstance(value, str) and _MASKED.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Trust:
    """Which of the secrets that a platform shows are the real ones: the settings' `assume`, in its words."""

    passwords: str = "as_they_look"
    retrieve_password: str = "as_it_looks"
    left_out: str = "cleared"
    customer_password: str = "unknown"

    def recorded(self, value: Any) -> Any:
        """The secret that stands in a record; None: it is not shown."""
        if value in (None, "") or self.passwords in ("empty", "masked"):
            return None
        return None if self.passwords == "as_they_look" and is_masked(value) else value

    def retrieved(self, value: Any) -> str | None:
        """The secret that a read of nothing else has answered."""
        if not isinstance(value, str) or not value or self.retrieve_password == "hidden":
            return None
        return None if self.retrieve_password == "as_it_looks" and is_masked(value) else value

    def asks(self, value: Any) -> bool:
        """Whether to ask for the secret that the record shows so: what is masked there may be so everywhere."""
        masked = self.passwords == "masked" or (self.passwords == "as_they_look" and is_masked(value))
        return self.retrieve_password == "clear" or (self.retrieve_password == "as_it_looks" and not masked)

    def signs_in(self, read: str) -> bool:
        """Whether the password that `read` is about is the one that the subscriber signs in with."""
        return {RETRIEVE_SIP: "sip", RETRIEVE_PORTAL: "portal"}.get(read) == self.customer_password

    @property
    def may_leave_out(self) -> bool:
        return self.left_out == "kept"


class Unsafe(Exception):
    """The record cannot be written back whole. The text says which field is not known."""


def record_with(record: Mapping[str, Any], ordered: Mapping[str, Any], trust: Trust) -> dict[str, Any]:
    """All 50 fields for updateSubscriber. Raises Unsafe where one would be overwritten unseen.

    `record`: its secrets are the real ones, or None.
    """
    merged = {**record, **ordered, "username": record.get("username") or ordered["username"]}
    for field in SUBSCRIBER:
        if field.wire in ordered or not _hidden(field.wire, record):
            continue
        if not (field.secret and trust.may_leave_out):
            raise Unsafe(
                f"the platform does not show {field.ours} of this subscriber, and updateSubscriber would "
                f"overwrite it: order {field.ours} too, or change the subscriber on the platform"
            )
    return {name: value for name, value in merged.items() if name in BY_WIRE and value is not None}


def _hidden(wire: str, record: Mapping[str, Any]) -> bool:
    value = record.get(wire)
    if wire in ("password", "passwordPortal"):
        return not value
    if wire == "voiceMailPassword":
        return bool(record.get("voicemail")) and not value
    return wire in DEFAULTS and wire != "resellerId" and value is None  # the schema demands it
