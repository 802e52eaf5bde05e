"""Numbers, flags, days and times in all the shapes that the platform writes them in."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

# "77,90", "3.148.895,40924": a comma before the decimals, points between thousands.
_COMMA = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{3})*,[0-9]{1,12}|[+-]?[0-9]{1,18},[0-9]{1,12}", re.ASCII)
# "0.00000", "12": a point before the decimals. One point alone is taken for that, whatever comes after it.
_POINT = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,12})?", re.ASCII)
# "3.148.895": points between thousands, no decimals.
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{3}){2,5}", re.ASCII)
_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_EMPTY_DAYS = ("", "0", "0000-00-00", "0000-00-00 00:00:00")
_LATEST = 4_102_444_800  # 2100: a larger number is no time in seconds


def number(value: Any) -> Decimal:
    """Raises ValueError for what is no number in any of the shapes."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal, str)):
        raise ValueError("no number")
    if not isinstance(value, str):
        return Decimal(value)
    text = value.strip()
    if _COMMA.fullmatch(text):
        return Decimal(text.replace(".", "").replace(",", "."))
    if _POINT.fullmatch(text):
        return Decimal(text)
    if _THOUSANDS.fullmatch(text):
        return Decimal(text.replace(".", ""))
    raise ValueError("no number")


def whole(value: Any) -> int:
    """1 or "1". Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    raise ValueError("no whole number")


def flag(value: Any) -> bool:
    """0, 1, "0", "1", false, true. Raises ValueError."""
    if isinstance(value, bool):
        return value
    found = whole(value)
    if found not in (0, 1):
        raise ValueError("no flag")
    return bool(found)


def instant(value: Any) -> datetime | None:
    """Seconds since 1970, as a number or its digits; 0 and nothing are None. Raises ValueError."""
    if value in (None, ""):
        return None
    seconds = whole(value)
    if not 0 <= seconds <= _LATEST:
        raise ValueError("no time")
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def day(value: Any) -> date | datetime | None:
    """2026-01-31, 2026-01-31 10:00:00 (the zone is not said: none is added), or seconds since 1970.

    Nothing and zeros are None. Raises ValueError.
    """
    if value is None or (isinstance(value, str) and value.strip() in _EMPTY_DAYS):
        return None
    if isinstance(value, int) or (isinstance(value, str) and _WHOLE.fullmatch(value.strip())):
        return instant(value)
    if not isinstance(value, str):
        raise ValueError("no day")
    text = value.strip()
    return date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
