"""Updates that overwrite whole records: what was ordered goes over what was read, and nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from worker.platforms.sippulse.fields import BY_WIRE, DEFAULTS, SUBSCRIBER

_MASKED = re.compile(r"[*•●x.]{3,}|<?hidden>?|\[?(masked|protected)\]?", re.IGNORECASE)


def is_masked(value: Any) -> bool:
    """It stands for a secret that the platform does not show."""
    return isinstance(value, str) and _MASKED.fullmatch(value) is not None


class Unsafe(Exception):
    """The record cannot be written back whole. The text says which field is not known."""


def record_with(record: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """All 50 fields for updateSubscriber. Raises Unsafe where one would be overwritten unseen."""
    ordered: Mapping[str, Any] = params["ordered"]
    merged = {**record, **ordered, "username": record.get("username") or ordered["username"]}
    for field in SUBSCRIBER:
        if field.wire not in ordered and _hidden(field.wire, record):
            raise Unsafe(
                f"the platform does not show {field.ours} of this subscriber, and updateSubscriber would "
                f"overwrite it: order {field.ours} too, or change the subscriber on the platform"
            )
    return {name: value for name, value in merged.items() if name in BY_WIRE and value is not None}


def _hidden(wire: str, record: Mapping[str, Any]) -> bool:
    value = record.get(wire)
    if wire in ("password", "passwordPortal"):
        return not value or _MASKED.fullmatch(str(value)) is not None
    if wire == "voiceMailPassword":
        return bool(record.get("voicemail")) and not value
    return wire in DEFAULTS and wire != "resellerId" and value is None  # the schema demands it


def services_with(record: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """All 11 fields for updateSubscriberServices; what is empty in the record stays out."""
    merged = {**record, **params["ordered"]}
    found = {
        name: merged.get(name)
        for name in ("areaCode", "callLimit", "cityCode", "countryCode", "localArea", "rpid")
    }
    found |= {"email": merged.get("emailAddress"), "username": merged["username"], "domain": merged["domain"]}
    return {name: value for name, value in {**found, **params["services"]}.items() if value is not None}
