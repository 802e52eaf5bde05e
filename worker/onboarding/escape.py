"""Cells that a spreadsheet would take for a formula."""

from __future__ import annotations

from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def escaped(value: Any) -> Any:
    """A text that begins like a formula gets an apostrophe in front; what is no text stays as it is."""
    if isinstance(value, str) and value.lstrip(" \n").startswith(FORMULA):
        return "'" + value
    return value
