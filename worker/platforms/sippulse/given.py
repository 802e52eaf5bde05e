"""What the data of a portable command say, as the wire wants it. Pure; what is wrong is told by its field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any

from worker.messages.errors import Code
from worker.platforms.planning import Wrong
from worker.platforms.port import Order
from worker.platforms.sippulse.fields import (
    BY_WIRE,
    IDENTITY,
    MANDATORY,
    OURS,
    Scalar,
    flat,
    money,
    sayable,
    wire_value,
)
from worker.platforms.sippulse.records import Name

MOST_NOTE = 250  # characters of addCredit.obs
BESIDE = ("platform", "subscriber", "if_exists", "platform_fields", "cps", "keep_alive")


# Kind of calls -> the operations that block and unblock it.
KINDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "outgoing": ("blockOutgoingCalls", "activateOutgoingCalls"),
        "incoming": ("blockIncommingCalls", "activateIncommingCalls"),
        "collect": ("blockCollectCalls", "activateCollectCalls"),
        "anonymous": ("blockAnonymousCalls", "activateAnonymousCalls"),
        "private": ("blockPrivacyCalls", "activatePrivacyCalls"),
        "call_center": (
            "blockEntry0303",
            "activateEntry0303",
        ),  # 0303: what Brazilian call centers call from
    }
)


def noted(order: Order, note: Scalar) -> str:
    """What the platform keeps with a credit: the command's id comes first."""
    return f"{sayable(order.id)} {note}".strip()[:MOST_NOTE]


def name_of(data: Mapping[str, Any]) -> Name:
    subscriber = data.get("subscriber")
    if not isinstance(subscriber, Mapping):
        raise Wrong(Code.MISSING_FIELD, "subscriber with username and domain is needed", "subscriber")
    parts = {}
    for part in ("username", "domain"):
        value = str(typed(f"subscriber.{part}", "string", subscriber.get(part) or ""))
        if not value.strip():
            raise Wrong(Code.MISSING_FIELD, f"subscriber.{part} is needed", f"subscriber.{part}")
        parts[part] = value
    return Name(**parts)


def kinds_of(data: Mapping[str, Any]) -> tuple[str, ...]:
    """In the order sent, each once."""
    kinds = data.get("kinds") or ["outgoing"]
    if not isinstance(kinds, (list, tuple)):
        raise Wrong(Code.INVALID_FIELD, "kinds is a list", "kinds")
    for kind in kinds:
        if kind not in KINDS:
            raise Wrong(Code.INVALID_FIELD, f"kinds can be {', '.join(KINDS)}", "kinds")
    return tuple(dict.fromkeys(kinds))


def ordered_fields(data: Mapping[str, Any]) -> dict[str, Scalar]:
    """All that subscriber.create orders, by the platform's names."""
    found = fields_in(data, "")
    for ours in MANDATORY:
        if found.get(OURS[ours].wire) in (None, ""):
            raise Wrong(Code.MISSING_FIELD, f"{ours} is needed to create a subscriber", ours)
    return found


def fields_in(data: Mapping[str, Any], where: str) -> dict[str, Scalar]:
    """What is ordered, by the platform's names; platform_fields go over ours. `where`: before a field's name."""
    found: dict[str, Scalar] = {}
    for ours, value in flat({name: value for name, value in data.items() if name not in BESIDE}):
        path = where + ours
        if ours not in OURS:
            raise Wrong(Code.INVALID_FIELD, f"{path} is no field of a subscriber: see the schema", path)
        found[OURS[ours].wire] = typed(path, OURS[ours].type, value)
    if "lowCreditLimit" in found:
        found["lowCreditNotification"] = True  # what the limit is for; platform_fields can say otherwise
    return {**found, **platform_fields(data, where)}


def platform_fields(data: Mapping[str, Any], where: str = "") -> dict[str, Scalar]:
    path = f"{where}platform_fields"
    given = data.get("platform_fields") or {}
    if not isinstance(given, Mapping):
        raise Wrong(Code.INVALID_FIELD, f"{path} is an object of subscriberDTO's names", path)
    found = {}
    for name, value in given.items():
        place = f"{path}.{name}"
        if name in IDENTITY:
            raise Wrong(
                Code.INVALID_FIELD, f"{place} would make it another subscriber: use subscriber", place
            )
        if name not in BY_WIRE:
            known = ", ".join(BY_WIRE)
            raise Wrong(Code.INVALID_FIELD, f"{place} is no field of subscriberDTO, which has {known}", place)
        if value is not None:
            found[name] = typed(place, BY_WIRE[name].type, value)
    return found


def decimal(field: str, given: Any) -> Decimal:
    if given is None:
        raise Wrong(Code.MISSING_FIELD, f"{field} is needed", field)
    try:
        if not isinstance(given, str) or not re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", given):
            raise ValueError("it has to be a decimal string such as 12.34")
        amount = Decimal(given)
        wire_value("double", amount)
        money(amount)
    except (ValueError, InvalidOperation) as error:
        raise Wrong(Code.INVALID_FIELD, f"{field}: {error}", field) from None
    return amount


def typed(field: str, kind: str, value: Any) -> Scalar:
    try:
        return wire_value(kind, value)
    except ValueError as error:
        raise Wrong(Code.INVALID_FIELD, f"{field}: {error}", field) from None
