"""What a command waits for, and until when: for pages and API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHORT = 1.0  # seconds: a shorter wait between two tries is not worth a line


def window_open(row: Mapping[str, Any]) -> bool:
    """Whether the settle window of this command is open, or that of its line before its own has ended."""
    window = row["window"]
    ours = window["window_command"] == row["id"]
    return window["window_opened"] is not None and (ours or in_doubt_too(row))


def in_doubt_too(row: Mapping[str, Any]) -> bool:
    """Of unknown effect although another one of its line holds the window: after a restore several may be."""
    return row["effect"] == "unknown" and not row["window_closed"]


def window_ends(row: Mapping[str, Any], settles: Mapping[str, float]) -> float | None:
    """When its settle window ends if the platform keeps answering (rule 3.2), in seconds since the epoch.

    None: it is not open, no reading was answered yet, or this process does not know the platform.
    """
    first, settle = row["window"]["window_first"], settles.get(row["platform"])
    if not window_open(row) or first is None or settle is None:
        return None
    return float(first) + settle


def behind(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The command at the head of its object's line, where that is another one."""
    if row["finished_at"] is not None or row["arrival"] is None or not row["line"]:
        return None
    head: Mapping[str, Any] = row["line"][0]
    return None if head["id"] == row["id"] else head


def waits(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The gaps between arrival, tries and end: `at` where each begins, and its `seconds`."""
    found = []
    since = row["received_at"]
    tries = sorted(row["attempts_made"], key=lambda one: one["at"])
    for at, ended in [(one["at"], one["at"] + (one["ms"] or 0) / 1000) for one in tries]:
        if at - since >= SHORT:
            found.append({"at": since, "seconds": at - since})
        since = max(since, ended)
    last = row["finished_at"] if row["finished_at"] is not None else row["now"]
    if last - since >= SHORT:
        found.append({"at": since, "seconds": last - since})
    return found
