"""Cells that a spreadsheet would take for a formula."""

from __future__ import annotations

import re
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def escaped(value: Any) -> Any:
    """A text that begins like a formula gets an apostrophe in front; what is no text stays as it is.

    Control characters, which a workbook cannot hold, become a question mark.
    """
    if not isinstance(value, str):
        return value
    value = _CONTROL.sub("?", value)
    return "'" + value if value.lstrip(" \n").startswith(FORMULA) else value
