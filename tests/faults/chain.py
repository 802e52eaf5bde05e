"""The audit chain, from outside: recomputed from the events that were heard and the worker's key alone.

The format, as published with the events: `data` holds `number`, `previous` (the `auditmac` of the record before)
and the record; `auditmac` is HMAC-SHA-256 over `previous`, a line feed and `data` as canonical JSON (sorted names,
no white space, ASCII), under a key derived by HKDF from the last of the worker's keys. Shares no code with it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.faults.history import Heard, History
from tests.faults.story import Name, Story, first_of_each

GENESIS = "0" * 64
PURPOSE = b"provisioning-worker audit"


def derived(key: str) -> bytes:
    """HKDF-SHA-256 (RFC 5869) without salt, one block."""
    extracted = hmac.digest(b"\0" * 32, base64.urlsafe_b64decode(key), "sha256")
    return hmac.digest(extracted, PURPOSE + b"\x01", "sha256")


def mac_of(key: bytes, data: Mapping[str, Any]) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    return hmac.new(key, f"{data['previous']}\n".encode() + text, hashlib.sha256).hexdigest()


def broken(history: History, stories: Mapping[Name, Story]) -> Iterator[str]:
    """One sentence for each thing that is wrong with the chain, or with what stands in it."""
    if history.audit_verify is not None:
        yield f"`audit verify` says: {history.audit_verify}"
    heard = [event for event in history.heard if event.exchange == "audit"]
    yield from _repeated_otherwise(heard)
    records = sorted(first_of_each(heard), key=lambda one: number_of(one))
    yield from _links(records)
    if history.key is not None:
        yield from _macs(records, derived(history.key))
    yield from _untold(stories.values())


def number_of(event: Heard) -> int:
    number = event.data.get("number")
    return number if isinstance(number, int) else 0


def _repeated_otherwise(heard: Sequence[Heard]) -> Iterator[str]:
    bodies: dict[str, bytes] = {}
    for event in heard:
        if bodies.setdefault(event.event_id, event.body) != event.body:
            yield f"audit event {event.event_id} (number {number_of(event)}) came twice with other bytes"


def _links(records: Sequence[Heard]) -> Iterator[str]:
    number, mac = 0, GENESIS
    for record in records:
        found = number_of(record)
        if found == number:
            yield f"number {found} was given twice, the second time to event {record.event_id}"
            continue
        if found != number + 1:
            yield f"numbers {number + 1} to {found - 1} were never heard"
        elif record.data.get("previous") != mac:
            yield f"number {found} (event {record.event_id}) does not follow number {number}"
        number, mac = found, str(record.attributes.get("auditmac"))


def _macs(records: Sequence[Heard], key: bytes) -> Iterator[str]:
    """Over the bytes that came, not over what somebody made of them."""
    for record in records:
        try:
            event = json.loads(record.body)
            true = hmac.compare_digest(mac_of(key, event["data"]), event["auditmac"])
        except (ValueError, KeyError, TypeError):
            true = False
        if not true:
            yield f"number {number_of(record)} (event {record.event_id}) carries no true mac: it was changed"


def _untold(stories: Iterator[Story] | Any) -> Iterator[str]:
    """Each change of a command leaves its record (P8): it was admitted once, and it ended once."""
    for story in stories:
        ran = story.final is not None and not story.duplicate_of and not story.inquiry
        for what in ("admitted", "ended"):
            times = story.traces.count(what)
            if times > 1:
                yield f"{story} has {times} audit records {what!r}"
            elif ran and not times:
                yield f"{story} {story.status}, and no audit record {what!r} was heard"
