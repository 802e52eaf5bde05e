"""From what the database gives, all texts, to the values that pages show and verdicts are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from worker.messages.sippulse.call_records import Column, Shape, Table
from worker.platforms.sippulse.call_records.database import Cell, Cells

_NUMBER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
MOST_PLACES = 400  # a double has no more; an exponent beyond would write a text of any length


def integer(cell: str) -> int | None:
    return int(cell) if _NUMBER.fullmatch(cell) else None


def decimal(cell: str) -> str | None:
    """As a decimal text without exponent."""
    number = amount(cell)
    return None if number is None else f"{number:f}"


def amount(cell: Cell) -> Decimal | None:
    """The number as the server writes it: the fewest digits that give the same double."""
    try:
        number = Decimal(cell or "")
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < MOST_PLACES else None


def flag(cell: str) -> bool | None:
    return {"0": False, "1": True}.get(cell)


def seconds(cell: str) -> int | str:
    """Kept as a text by the platform: what is no number stays one."""
    number = integer(cell)
    return cell if number is None else number


def time_in(zone: ZoneInfo) -> Callable[[str], str | None]:
    """The database keeps local times without a zone; of the hour that comes twice in autumn it is the first."""

    def time(cell: str) -> str | None:
        try:
            return datetime.fromisoformat(cell).replace(tzinfo=zone).isoformat()
        except ValueError:  # 0000-00-00 00:00:00
            return None

    return time


def readers(table: Table, zone: ZoneInfo) -> Mapping[str, Callable[[str], Any]]:
    """Column -> what makes its value of a text."""
    shapes: Mapping[Shape, Callable[[str], Any]] = {
        "integer": integer,
        "decimal": decimal,
        "flag": flag,
        "time": time_in(zone),
        "seconds": seconds,
        "text": str,
    }
    return {column.name: shapes[column.shape] for column in table.columns}


def row_of(
    columns: tuple[Column, ...], read: Mapping[str, Callable[[str], Any]], cells: Cells
) -> dict[str, Any]:
    """`cells` in the order of `columns`; null stays null."""
    return {
        column.name: None if cell is None else read[column.name](cell)
        for column, cell in zip(columns, cells, strict=True)
    }
