"""Call records by GET cdr: day by day, in pages."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from worker.domain.evidence import money
from worker.domain.outcome import Done, Exchange, Unclear
from worker.messages.rest.operations import Operation, secret_names
from worker.platforms.port import Reply, Rows, Step, Unread
from worker.platforms.rest import Answered, Client, plain
from worker.platforms.rest.looks import hidden, rows_in
from worker.platforms.voipmundo.values import number, whole

PAGE = 500  # rows asked for; how many come is the platform's to say


def days(since: datetime, until: datetime, zone: ZoneInfo) -> Iterator[dict[str, str]]:
    """The query of each day, in the platform's time.

    A day at a time, for nobody knows whether `time_ini` is of the first day or of every one. To the second:
    `until` is excluded, `time_end` is not.
    """
    first, last = since.astimezone(zone), (until - timedelta(seconds=1)).astimezone(zone)
    at = first.date()
    while at <= last.date():
        begins = first.strftime("%H:%M:%S") if at == first.date() else "00:00:00"
        ends = last.strftime("%H:%M:%S") if at == last.date() else "23:59:59"
        day = at.isoformat()
        yield {"date_ini": day, "date_end": day, "time_ini": begins, "time_end": ends}
        at += timedelta(days=1)


class Totals:
    """Sums over the days. Whatever a day does not say makes the sum unknown."""

    def __init__(self) -> None:
        self._price: Decimal | None = Decimal(0)
        self._seconds: int | None = 0

    def add(self, first_page: Mapping[str, Any]) -> None:
        self._price = _sum(self._price, first_page.get("total_value"), number)
        self._seconds = _sum(self._seconds, first_page.get("total_time"), whole)

    def shown(self, *, truncated: bool) -> dict[str, Any]:
        """The platform's sums are of all calls, and say nothing of a part of them."""
        if truncated:
            return {"truncated": True}
        price = None if self._price is None else money(self._price)
        return {"seconds": self._seconds, "price": price, "truncated": False}


def _sum(so_far: Any, value: Any, read: Any) -> Any:
    try:
        return None if so_far is None else so_far + read(value)
    except (ValueError, TypeError):
        return None


class Reading:
    """One reading of a client's calls. `operation`: with an id in its address, or without."""

    def __init__(self, client: Client, operation: Operation, zone: ZoneInfo) -> None:
        self._client, self._operation, self._zone = client, operation, zone
        self._own = {} if "{id}" not in operation.path else {"id": 0}

    async def run(self, step: Step, rows: Rows) -> Reply:
        began, params = time.monotonic(), step.params
        self._own = {"id": params["id"]} if self._own else {}
        left, totals, truncated = params.get("limit"), Totals(), False
        since, until = (datetime.fromisoformat(params[name]) for name in ("since", "until"))
        until = min(until, datetime.now(UTC) + timedelta(days=1))  # no call is later: do not ask day by day
        for day in days(since, until, self._zone):
            came = await self._day(day, left, rows, totals)
            if not isinstance(came, int):
                return Reply(came, _exchange(step, began))
            if left is not None:
                left -= came
                if left < 0:
                    truncated, left = True, 0
                    break
        return Reply(Done(totals.shown(truncated=truncated)), _exchange(step, began))

    async def _day(
        self, day: Mapping[str, str], left: int | None, rows: Rows, totals: Totals
    ) -> int | Unread:
        """How many rows the day had; one more than `left` where there are more than that."""
        start, last = 0, None
        while True:
            heard = await self._client.call(
                self._operation, {**self._own, **day, "start": start, "limit": PAGE}
            )
            if not isinstance(heard.what, Answered):
                return heard.what
            value = heard.what.value
            if start == 0:
                totals.add(value)
            found = [self._row(row) for row in rows_in(value, "data")]
            over = left is not None and start + len(found) > left
            if over:
                await rows.add(found[: (left or 0) - start])
                return (left or 0) + 1
            if not found:
                return start
            if found == last:
                return Unclear("the list does not advance")
            last = found
            await rows.add(found)
            start += len(found)
            if _all_of_it(value, start):
                return start

    def _row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Under the platform's own names: no document shows them."""
        shown: dict[str, Any] = hidden(plain(dict(row)), secret_names(self._operation.answer))
        return shown


def _all_of_it(value: Mapping[str, Any], start: int) -> bool:
    try:
        return start >= whole(value.get("total_records"))
    except ValueError:
        return False  # not said: an empty page will tell


def _exchange(step: Step, began: float) -> Exchange:
    return Exchange(step.endpoint, round((time.monotonic() - began) * 1000, 3))
