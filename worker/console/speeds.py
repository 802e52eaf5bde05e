"""How fast batches go, as far as the pages of this process have seen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

WINDOW = 60.0  # seconds that a rate is taken from
MOST_WATCHED = 200  # batches whose rate is remembered


class Speeds:
    """Rows that ended a second, of the last minute, as the pages saw them."""

    def __init__(self) -> None:
        self._seen: dict[str, list[tuple[float, int]]] = {}

    def of(self, batch: Mapping[str, Any]) -> tuple[float | None, float | None]:
        """Rows a second, and seconds left; None: nobody can say."""
        rows = batch["rows"]
        ended = rows["done"] + rows["failed"]
        if batch["stage"] not in ("sending", "going"):
            self._seen.pop(batch["name"], None)
            return None, None
        now = time.monotonic()
        seen = [one for one in self._seen.get(batch["name"], ()) if now - one[0] < WINDOW] + [(now, ended)]
        if batch["name"] not in self._seen and len(self._seen) >= MOST_WATCHED:
            self._seen.pop(next(iter(self._seen)))
        self._seen[batch["name"]] = seen
        begun = max(batch["now"] - batch["created_at"], 1.0)
        since, first = (now - seen[0][0], seen[0][1]) if now - seen[0][0] > 5 else (begun, 0)
        rate = max(ended - first, 0) / since
        left = batch["total"] - ended - rows["parked"] - rows["bad"]
        return rate, max(left, 0) / rate if rate > 0 else None
