"""`call_records.list`: the calls of one account, a part at a time, by growing id."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from worker.domain.outcome import Busy, Done, Exchange, NotSent, Outcome, Refused
from worker.messages.errors import Code
from worker.messages.fields import instant
from worker.messages.sippulse.call_records import TABLES, Column, Table
from worker.platforms.port import Reply, Rows, Step
from worker.platforms.sippulse.call_records.account import ACCOUNT, Account
from worker.platforms.sippulse.call_records.columns import amount, integer, readers, row_of
from worker.platforms.sippulse.call_records.database import Arguments, Cells, Database, Unreadable

PART = 500  # rows of one statement: some megabytes in memory at most
KNOWN_FOR = 600.0  # seconds after which the columns are asked for again: the platform may have been upgraded
LATER = 2.0  # seconds to come back when all places for lists are taken


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for. Statements are made of our own names alone; values go as arguments."""

    table: Table
    name: Account
    arguments: Mapping[str, Any]
    limit: int

    @classmethod
    def of(cls, table: Table, params: Mapping[str, Any], zone: ZoneInfo, any_case: bool = False) -> Wish:
        name = Account(params["username"], params["domain"], any_case)
        arguments = {
            **name.arguments,
            "since": local(params["since"], zone),
            "until": local(params["until"], zone),
            "service": params.get("service"),
        }
        return cls(table, name, arguments, int(params.get("limit") or 2**62))

    def statement(self, columns: tuple[Column, ...], limit: int) -> str:
        names, time_ = ", ".join(f"`{column.name}`" for column in columns), self.table.time
        service = " AND service = %(service)s" if self.arguments["service"] is not None else ""
        return (
            f"SELECT {names} FROM {self.table.name} WHERE {ACCOUNT}"  # noqa: S608 - our own names
            f" AND `{time_}` >= %(since)s AND `{time_}` < %(until)s{service}"
            f" AND id > %(last)s ORDER BY id LIMIT {limit:d}"
        )

    def after(self, last: int) -> Arguments:
        return {**self.arguments, "last": last}


class Shown:
    """The rows as pages show them, and their sums; money in the platform's currency unit."""

    def __init__(self, table: Table, columns: tuple[Column, ...], zone: ZoneInfo, wish: Wish) -> None:
        self.wish, self.truncated = wish, False
        self._columns = columns
        self._read = readers(table, zone)
        self._empty: dict[str, Any] = {column.name: None for column in table.columns}
        self._left = wish.limit
        self._seconds, self._price = 0, Decimal(0)

    def take(self, rows: Sequence[Cells]) -> list[dict[str, Any]]:
        """Those of the account, up to the limit: a server may compare without regard to case."""
        made = ({**self._empty, **row_of(self._columns, self._read, cells)} for cells in rows)
        ours = [row for row in made if self.wish.name.is_account(row["accountcode"])]
        self.truncated = len(ours) > self._left
        ours = ours[: self._left]
        self._left -= len(ours)
        for row in ours:
            duration = row.get("duration")
            self._seconds += duration if isinstance(duration, int) else 0
            self._price += amount(row.get("price")) or 0
        return ours

    def totals(self, completed: bool) -> dict[str, Any]:
        sums = {"seconds": self._seconds, "price": f"{self._price:f}"} if completed else {}
        return {**sums, "truncated": self.truncated}


class Lists:
    """At most half of the database's connections read lists, so that credit never waits for them."""

    def __init__(self, database: Database, connections: int, zone: str, any_case: bool = False) -> None:
        self._database = database
        self._any_case = any_case
        self._zone = ZoneInfo(zone)
        self._free = max(1, connections // 2)
        self._known: dict[str, tuple[float, frozenset[str]]] = {}

    async def read(self, step: Step, rows: Rows) -> Reply:
        """All rows to `rows`; the outcome's output holds the totals. See the platform port's `read_rows`."""
        if not self._free:
            return Reply(Busy(LATER), Exchange(step.endpoint, 0.0))
        began = time.monotonic()
        self._free -= 1
        try:
            outcome: Outcome = Done(await self._read(step, rows))
        except Unreadable as error:
            outcome = unreadable(error)
        finally:
            self._free += 1
        return Reply(outcome, Exchange(step.endpoint, (time.monotonic() - began) * 1000))

    async def _read(self, step: Step, rows: Rows) -> dict[str, Any]:
        table = TABLES[step.params["kind"]]
        there = await self._columns(table)
        columns = tuple(column for column in table.columns if column.name in there)
        missing = [column.name for column in table.columns if column.name not in there]
        wish = Wish.of(table, step.params, self._zone, self._any_case)
        shown = Shown(table, columns, self._zone, wish)
        last: int | None = 0
        while last is not None:
            found = await self._database.select(shown.wish.statement(columns, PART), shown.wish.after(last))
            await rows.add(shown.take(found.rows))
            more = len(found.rows) == PART and not shown.truncated
            last = last_of(found.rows) if more else None
        output = shown.totals(step.params["kind"] == "completed")
        return {**output, "missing_columns": missing} if missing else output

    async def _columns(self, table: Table) -> frozenset[str]:
        """The names that this server's table has. Raises Unreadable without those that every reading needs."""
        since, names = self._known.get(table.name, (float("-inf"), frozenset[str]()))
        if time.monotonic() - since < KNOWN_FOR:
            return names
        empty = await self._database.select(f"SELECT * FROM {table.name} WHERE 1 = 0", {})  # noqa: S608 - our own name
        names = frozenset(name.lower() for name in empty.names)
        if lacking := sorted(table.needed - names):
            raise Unreadable(f"{table.name} in the database lacks {', '.join(lacking)}", lasting=True)
        self._known[table.name] = time.monotonic(), names
        return names


def unreadable(error: Unreadable) -> Outcome:
    """What only a person can change there refuses the list; all else is tried again."""
    if error.lasting:
        return Refused(Code.UNSUPPORTED_BY_SERVER, str(error), certain=True)
    return NotSent(str(error))


def last_of(rows: Sequence[Cells]) -> int:
    """The id that the next part begins behind; ids come first, and the database sorted by them."""
    number = integer(rows[-1][0] or "")
    if number is None:
        raise Unreadable("the database shows a call without a number as its id", lasting=True)
    return number


def local(moment: str, zone: ZoneInfo) -> str:
    """A moment as the database's clocks showed it."""
    there: datetime = instant(moment).astimezone(zone)
    return there.replace(tzinfo=None).isoformat(sep=" ")
