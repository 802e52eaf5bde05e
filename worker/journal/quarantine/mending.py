"""A refused message as a person mends it: taken apart, changed, put together, and checked as intake would.

Pure: no clock, no I/O. What names the order (id, source, key) stays where it could be read: sent again under
another name, an order that did get through elsewhere would run twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.domain.redaction import MASK, is_secret_name, mask_fields, without_secrets
from worker.messages.catalogue import check
from worker.messages.envelope import PREFIXES, STRUCTURED, Delivery, Envelope, Unreadable, opened, read
from worker.messages.errors import Problem

NAMES = ("id", "source", "idempotencykey")  # what an order is known by
LARGEST = 4 * 1024 * 1024  # bytes of a body that are looked at


class NotMendable(Exception):
    """What the person wrote cannot be sent; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Parts:
    """`attributes`: of the CloudEvent; `headers`: of AMQP beside them; `text`: the body where it is no JSON, masked."""

    attributes: Mapping[str, Any]
    data: Any
    headers: Mapping[str, str]
    text: str | None = None

    def shown(self) -> Parts:
        """Without secrets: they can be kept (`***`) or replaced, not read."""
        return Parts(
            without_secrets(self.attributes),
            without_secrets(self.data),
            without_secrets(self.headers),
            self.text,
        )


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a person wants instead; None: as it was."""

    attributes: Mapping[str, Any] | None = None
    data: Any = None
    headers: Mapping[str, str] | None = None
    reply_to: str | None = None

    @property
    def empty(self) -> bool:
        return (self.attributes, self.data, self.headers, self.reply_to) == (None, None, None, None)


@dataclass(frozen=True, slots=True)
class Ready:
    """What goes out. `changed`: the names of what differs from the message as it came."""

    body: bytes
    headers: Mapping[str, str]
    content_type: str
    reply_to: str | None = None
    changed: tuple[str, ...] = ()

    def delivery(self, queue: str) -> Delivery:
        return Delivery(self.body, queue, self.headers, self.content_type, reply_to=self.reply_to)


def _is_attribute(header: str) -> bool:
    return header.lower().startswith(PREFIXES)


def as_it_came(body: bytes, headers: Mapping[str, str], reply_to: str | None = None) -> Ready:
    """Without the broker's own notes of its first life."""
    kept = {name: value for name, value in headers.items() if not name.lower().startswith("x-")}
    binary = any(_is_attribute(name) for name in kept)
    return Ready(body, kept, "application/json" if binary else STRUCTURED, reply_to)


def taken_apart(body: bytes, headers: Mapping[str, str]) -> Parts:
    """As much of it as can be read."""
    found = opened(as_it_came(body, headers).delivery(""), LARGEST)
    beside = {
        name: value
        for name, value in headers.items()
        if not _is_attribute(name) and not name.lower().startswith("x-")
    }
    readable = isinstance(found.data, dict) and bool(found.attributes)
    text = None if readable else mask_fields(body[:LARGEST].decode("utf-8", "backslashreplace"))
    return Parts(_plain(found.attributes), _plain(found.data), beside, text)


def _plain(value: Any) -> Any:
    """What stands where a flaw was has no JSON: its place is left empty."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else None


def mended(body: bytes, headers: Mapping[str, str], sheet: Sheet) -> Ready:
    """The message with what the person wants. Raises NotMendable; without any change it goes byte for byte."""
    if sheet.empty or (sheet.attributes, sheet.data, sheet.headers) == (None, None, None):
        return as_it_came(body, headers, sheet.reply_to)
    before = taken_apart(body, headers)
    attributes = (
        before.attributes if sheet.attributes is None else with_secrets(sheet.attributes, before.attributes)
    )
    data = before.data if sheet.data is None else with_secrets(sheet.data, before.data)
    beside = before.headers if sheet.headers is None else with_secrets(sheet.headers, before.headers)
    _same_order(named(body, headers), attributes)
    for part in (attributes, data, beside):
        if (name := masked_in(part)) is not None:
            raise NotMendable(f"{name}: the mask {MASK} stands for no secret here: write the secret itself")
    if any(_is_attribute(name) or name.lower().startswith("x-") for name in beside):
        raise NotMendable("headers: attributes stand above, and what begins with x- is RabbitMQ's own")
    if not isinstance(data, Mapping):
        raise NotMendable("data: the data of a command is a JSON object")
    sides = {"attributes": (before.attributes, attributes), "data": (before.data, data)}
    sides["headers"] = (before.headers, beside)
    changed = tuple(name for name, (old, new) in sides.items() if old != new)
    if not changed:
        return as_it_came(body, headers, sheet.reply_to)
    text = json.dumps({**attributes, "data": data}, ensure_ascii=False)
    return Ready(_encoded(text), _texts(beside), STRUCTURED, sheet.reply_to, changed)


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise NotMendable("it holds half of a character, which cannot be sent") from None


def _texts(headers: Mapping[str, Any]) -> dict[str, str]:
    for name, value in headers.items():
        if not isinstance(value, str) or len(name.encode()) > 200 or len(value) > 2000:
            raise NotMendable(f"headers: {name[:40]} has to be a text of at most 2000 characters")
    return dict(headers)


def named(body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
    """What the order is known by already. A name that intake cannot take was never admitted, and may be mended."""
    found = read(as_it_came(body, headers).delivery(""), LARGEST)
    if isinstance(found, Envelope):
        return {"id": found.id, "source": found.source, "idempotencykey": found.idempotency_key}
    names = {name: value for name, value in found.known.items() if name in NAMES}
    names.pop(found.problem.field or "", None)
    return {"idempotencykey": names["id"], **names} if "id" in names else names


def _same_order(before: Mapping[str, str], after: Mapping[str, Any]) -> None:
    given = {"idempotencykey": after.get("id"), **after}
    for name, old in before.items():
        if given.get(name) != old:
            raise NotMendable(
                f"{name} stays {old!r}: it is sent again as the same order; for another one send a new command"
            )


def with_secrets(new: Any, old: Any) -> Any:
    """`new` with the secrets of `old` where it holds their mask."""
    if isinstance(new, Mapping):
        before = old if isinstance(old, Mapping) else {}
        return {
            name: before[name]
            if value == MASK and is_secret_name(name) and name in before
            else with_secrets(value, before.get(name))
            for name, value in new.items()
        }
    if isinstance(new, list):
        return [with_secrets(value, was) for value, was in zip(new, _as_they_were(new, old), strict=True)]
    return new


def _as_they_were(new: list[Any], old: Any) -> list[Any]:
    """By place. None where an element may have come or moved there: its mask would stand for another one's secret."""
    if not isinstance(old, list) or len(old) != len(new):
        return [None] * len(new)
    changed = [without_secrets(one) != without_secrets(was) for one, was in zip(new, old, strict=True)]
    return [None if other and sum(changed) > 1 else was for was, other in zip(old, changed, strict=True)]


def masked_in(value: Any, name: str = "") -> str | None:
    """The name of a secret's field that still holds the mask; None where there is none."""
    if isinstance(value, Mapping):
        return next((found for key, one in value.items() if (found := masked_in(one, str(key)))), None)
    if isinstance(value, list):
        return next((found for one in value if (found := masked_in(one, name))), None)
    return name if value == MASK and is_secret_name(name) else None


def wrong_with(ready: Ready, kinds: Mapping[str, str], max_bytes: int) -> Problem | Envelope:
    """What intake would refuse it for; the command that it is, where it would not.

    `kinds`: the configured platforms, name -> kind. `max_bytes`: a larger message is refused.
    """
    found = read(ready.delivery(""), max_bytes)
    if isinstance(found, Unreadable):
        return found.problem
    checked = check(found, kinds)
    return checked if isinstance(checked, Problem) else found


__all__ = [
    "NotMendable",
    "Parts",
    "Ready",
    "Sheet",
    "as_it_came",
    "masked_in",
    "mended",
    "taken_apart",
    "with_secrets",
    "wrong_with",
]
