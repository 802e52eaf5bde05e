"""Lists of commands for people: filters, search, keyset pages; one million commands, each page in an instant.

Every path reads by an index in the order of the page, newest first. Where none fits the filters, the commands
are read backwards in growing portions until the page is full or its time is used up; the page then says how
far back it has looked.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from worker.journal.driver import Row, Tx

OPEN = ("waiting", "running", "in_doubt", "parked")
FAILED = ("rejected", "expired", "cancelled")
BUDGET = 0.06  # seconds that reading backwards may take
FIRST_PORTION, LAST_PORTION = 1_000, 4_000  # commands
MOST_STREAMS = 400
MOST_KEYS = 50  # objects whose names begin with what is searched
END = 1 << 62
# Two questions: one alone is answered from the end of an index, both together would read it whole.
EDGES = "SELECT (SELECT MIN(id) FROM commands) AS low, (SELECT MAX(id) FROM commands) AS high"
COLUMNS = (
    "id", "lane_id", "message_id", "source", "idem_key", "type", "platform", "partition_key", "state", "effect",
    "attempts", "received_at", "started_at", "finished_at", "due_at", "not_before", "arrival", "failing_since",
    "batch_id", "retry_of", "archived", "flags", "problem", "correlation_id", "unverified", "depends_on",
)  # fmt: skip
_SELECT = f"SELECT {', '.join(f'c.{name}' for name in COLUMNS)} FROM commands c"  # noqa: S608 - fixed names


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list is asked for. Times: seconds since the epoch. `before`: the last page ended at this number."""

    state: str | None = None
    platform: str | None = None
    type: str | None = None
    about: str | None = None  # a whole ordering key, or an object's whole name
    source: str | None = None
    batch: str | None = None
    code: str | None = None
    group: int | None = None
    since: float | None = None
    until: float | None = None
    text: str | None = None  # number, id, key, subscriber or its beginning, words of the error
    scheduled: bool = False  # those that may not run before a time, or wait for another command
    archived: bool = False
    before: int | None = None
    limit: int = 50
    names: bool = True  # `text` may be an object's name; not for who may not see it: it could be guessed letter by letter
    keys: tuple[str, ...] = field(default=(), compare=False)  # what `about` was found to be


@dataclass(frozen=True, slots=True)
class Page:
    """`more`: pass it as `before` for the next page; `reached`: looked back to here only, in seconds."""

    rows: tuple[dict[str, Any], ...]
    more: int | None = None
    reached: float | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """A statement in the making: conditions and their arguments."""

    where: tuple[str, ...] = ()
    args: tuple[Any, ...] = ()

    def also(self, condition: str, *args: Any) -> Search:
        """`?` in the condition stands for the next argument."""
        count = len(self.args)
        for _ in args:
            count += 1
            condition = condition.replace("?", f"${count}", 1)
        return Search((*self.where, condition), (*self.args, *args))

    @property
    def sql(self) -> str:
        return " AND ".join(self.where) if self.where else "1 = 1"


async def page(tx: Tx, wanted: Wanted, postgres: bool) -> Page:
    """The newest commands that are wanted, with the error text of each. No secrets."""
    if wanted.about is not None:
        wanted = replace(wanted, about=None, keys=await _keys(tx, wanted.about, postgres))
    low, high = await _bounds(tx, wanted)
    high = min(high, wanted.before or END)
    search = _conditions(wanted).also("c.id < ?", high).also("c.id >= ?", low)
    if wanted.text:
        return await _found(tx, wanted, search, postgres)
    folded = wanted.state in ("rejected", "expired") and (wanted.platform or wanted.type)
    if folded or wanted.group is not None or wanted.code is not None:
        return await _of_groups(tx, await _groups(tx, wanted), search, wanted.limit)
    if wanted.scheduled:
        search = search.also("c.finished_at IS NULL AND c.arrival IS NULL")
    elif wanted.state in OPEN:
        search = search.also("c.finished_at IS NULL")
    elif wanted.state in FAILED:
        search = search.also("c.finished_at IS NOT NULL AND c.state <> 'succeeded'")
    elif not wanted.keys and wanted.batch is None:
        if wanted.type is not None or wanted.platform is not None:
            return await _merged(tx, wanted, search)
        return await _backwards(tx, wanted, _conditions(wanted), low, high)
    return _paged(await _take(tx, search, wanted.limit), wanted.limit)


def _conditions(wanted: Wanted) -> Search:
    search = Search()
    for column, value in (
        ("state", wanted.state),
        ("platform", wanted.platform),
        ("type", wanted.type),
        ("source", wanted.source),
        ("batch_id", wanted.batch),
    ):
        if value is not None:
            search = search.also(f"c.{column} = ?", value)
    if len(wanted.keys) == 1:
        search = search.also("c.partition_key = ?", wanted.keys[0])
    elif wanted.keys:
        search = search.also("c.partition_key = ANY(?::text[])", list(wanted.keys))
    if wanted.since is not None:
        search = search.also("c.received_at >= ?::float8", wanted.since)
    if wanted.until is not None:
        search = search.also("c.received_at <= ?::float8", wanted.until)
    return search if wanted.archived else search.also("c.archived = false")


async def _keys(tx: Tx, about: str, postgres: bool) -> tuple[str, ...]:
    """The ordering keys that are `about`, or whose objects have that whole name, on any platform."""
    if divided(about)[0]:
        return (about,)
    names = [start + about for start in await _starts(tx, postgres)]
    rows = await tx.rows("SELECT key FROM lanes WHERE key = ANY($1::text[]) LIMIT 50", names)
    return tuple(row["key"] for row in rows) or (about,)


def whole_type(type: str) -> str:
    """With its version, which people leave out."""
    return type if type.rsplit(".", 1)[-1][:1] == "v" and type[-1].isdigit() else f"{type}.v1"


def moment_of(text: str) -> float:
    """Of RFC 3339, or a browser's `2026-11-22T05:30`; without a zone it is UTC. Raises ValueError."""
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except OverflowError:
        raise ValueError(text) from None


async def _take(tx: Tx, search: Search, limit: int) -> Sequence[Row]:
    sql = f"{_SELECT} WHERE {search.sql} ORDER BY c.id DESC LIMIT {int(limit) + 1}"
    return await tx.rows(sql, *search.args)


def shown(row: Row) -> dict[str, Any]:
    line = {name: row[name] for name in COLUMNS}
    line["problem"] = json.loads(row["problem"]) if row["problem"] else None
    return line | {name: bool(row[name]) for name in ("archived", "unverified")}


def _paged(rows: Sequence[Row], limit: int) -> Page:
    lines = tuple(shown(row) for row in rows[:limit])
    return Page(lines, lines[-1]["id"] if len(rows) > limit else None)


# ---------------------------------------------------------------- periods


async def _bounds(tx: Tx, wanted: Wanted) -> tuple[int, int]:
    """The numbers between which a period lies. Numbers grow with the time of arrival, but for neighbours."""
    low = 0 if wanted.since is None else await _first_at(tx, wanted.since - NEIGHBOURS)
    high = END if wanted.until is None else await _first_at(tx, wanted.until + NEIGHBOURS)
    return low, high


NEIGHBOURS = 60.0  # seconds that one may have waited for another's commit before it took its number


async def _first_at(tx: Tx, at: float) -> int:
    """The first number that arrived at or after `at`, found by halving."""
    [edge] = await tx.rows(EDGES)
    if edge["low"] is None:
        return 0
    low, high = edge["low"], edge["high"] + 1
    while low < high:
        middle = (low + high) // 2
        rows = await tx.rows(
            "SELECT id, received_at FROM commands WHERE id >= $1 ORDER BY id LIMIT 1", middle
        )
        if not rows or rows[0]["received_at"] >= at:
            high = middle
        else:
            low = int(rows[0]["id"]) + 1
    return int(low)


# ---------------------------------------------------------------- ways through the table


async def kinds(tx: Tx) -> list[tuple[str, str]]:
    """Every (platform, type) that there is, by one look into the index for each."""
    found: list[tuple[str, str]] = []
    platform = await _next(tx, "SELECT MIN(platform) AS it FROM commands WHERE platform > $1", "")
    while platform is not None and len(found) < MOST_STREAMS:
        sql = "SELECT MIN(type) AS it FROM commands WHERE platform = $1 AND type > $2"
        type = await _next(tx, sql, platform, "")
        while type is not None and len(found) < MOST_STREAMS:
            found.append((platform, type))
            type = await _next(tx, sql, platform, type)
        platform = await _next(tx, "SELECT MIN(platform) AS it FROM commands WHERE platform > $1", platform)
    return found


async def _next(tx: Tx, sql: str, *after: str) -> str | None:
    [row] = await tx.rows(sql, *after)
    return None if row["it"] is None else str(row["it"])


async def _merged(tx: Tx, wanted: Wanted, search: Search) -> Page:
    """The newest of several (platform, type), each read by its own part of the index."""
    pairs = [
        pair
        for pair in await kinds(tx)
        if wanted.platform in (None, pair[0]) and wanted.type in (None, pair[1])
    ]
    numbers: list[int] = []
    for platform, type in pairs:
        one = search.also("c.platform = ?", platform).also("c.type = ?", type)
        sql = f"SELECT c.id FROM commands c WHERE {one.sql} ORDER BY c.id DESC LIMIT {wanted.limit + 1}"  # noqa: S608
        numbers += [row["id"] for row in await tx.rows(sql, *one.args)]
    return _paged(await by_number(tx, sorted(numbers, reverse=True)[: wanted.limit + 1]), wanted.limit)


async def by_number(tx: Tx, numbers: Sequence[int]) -> Sequence[Row]:
    return await tx.rows(f"{_SELECT} WHERE c.id = ANY($1) ORDER BY c.id DESC", list(numbers))


async def _backwards(tx: Tx, wanted: Wanted, search: Search, low: int, high: int) -> Page:
    """By the number alone, in portions that grow, until the page is full or the time is used up.

    Only the portion's own bounds: SQLite reads by the first pair that it finds.
    """
    [edge] = await tx.rows(EDGES)
    if edge["low"] is None:
        return Page(())
    low, high = max(low, edge["low"]), min(high, edge["high"] + 1)
    rows: list[Row] = []
    portion, until = FIRST_PORTION, time.monotonic() + BUDGET
    while high > low and len(rows) <= wanted.limit:
        if time.monotonic() > until:
            return await _so_far(tx, rows, high)
        start = max(high - portion, low)
        part = search.also("c.id < ?", high).also("c.id >= ?", start)
        rows += await _take(tx, part, wanted.limit - len(rows))
        high, portion = start, min(portion * 2, LAST_PORTION)
    return _paged(rows, wanted.limit)


async def _so_far(tx: Tx, rows: Sequence[Row], high: int) -> Page:
    found = await tx.rows("SELECT received_at FROM commands WHERE id >= $1 ORDER BY id LIMIT 1", high)
    return Page(tuple(shown(row) for row in rows), high, float(found[0]["received_at"]) if found else None)


# ---------------------------------------------------------------- failures


async def _groups(tx: Tx, wanted: Wanted, text: str | None = None) -> list[int]:
    search = Search()
    for column, value in (("id", wanted.group), ("code", wanted.code)):
        if value is not None:
            search = search.also(f"{column} = ?", value)
    for column, name in (("platform", wanted.platform), ("type", wanted.type)):
        if name is not None:
            search = search.also(f"{column} = ?", name)
    if text is not None:
        search = search.also("LOWER(pattern) LIKE ? ESCAPE '!'", f"%{escaped(text.lower())}%")
    sql = f"SELECT id FROM console_groups WHERE {search.sql} ORDER BY last_at DESC LIMIT {MOST_STREAMS}"  # noqa: S608
    return [row["id"] for row in await tx.rows(sql, *search.args)]


async def _of_groups(tx: Tx, groups: Sequence[int], search: Search, limit: int) -> Page:
    numbers: list[int] = []
    for group in groups:
        one = search.also("f.group_id = ?", group)
        where = one.sql.replace("c.id", "f.command_id")  # the index is over the failure's own column
        sql = (
            f"SELECT c.id FROM console_failures f JOIN commands c ON c.id = f.command_id WHERE {where}"  # noqa: S608
            f" ORDER BY f.command_id DESC LIMIT {limit + 1}"
        )
        numbers += [row["id"] for row in await tx.rows(sql, *one.args)]
    return _paged(await by_number(tx, sorted(numbers, reverse=True)[: limit + 1]), limit)


# ---------------------------------------------------------------- search


def escaped(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


async def _found(tx: Tx, wanted: Wanted, search: Search, postgres: bool) -> Page:
    """By number, id, key, correlation; by an object's name; and by words of the error text."""
    text = (wanted.text or "").strip()
    narrowed = _of_failures(search, wanted)
    ways = [
        narrowed.also("c.message_id = ?", text),
        narrowed.also("c.idem_key = ?", text).also("c.idem_key <> c.message_id"),
    ]
    if text.isdecimal() and len(text) < 19:
        ways.append(narrowed.also("c.id = ?", int(text)))
    if wanted.names and (keys := await objects(tx, text, postgres)):
        ways.append(narrowed.also("c.partition_key = ANY(?::text[])", keys))
    rows: dict[int, Row] = {}
    for way in ways:
        rows |= {row["id"]: row for row in await _take(tx, way, wanted.limit)}
    if not wanted.names:  # an id that is made of a name would tell who has one
        rows = {number: row for number, row in rows.items() if not names(text, row["partition_key"])}
    if len(text) > 2 and not rows:
        groups = await _groups(tx, wanted, text)
        return await _of_groups(tx, groups, search, wanted.limit)
    return _paged([rows[number] for number in sorted(rows, reverse=True)], wanted.limit)


def _of_failures(search: Search, wanted: Wanted) -> Search:
    """A filter that is shown must hold: an act on all that was found goes by it."""
    if wanted.group is not None:
        search = search.also(
            "EXISTS (SELECT 1 FROM console_failures x WHERE x.command_id = c.id AND x.group_id = ?)",
            wanted.group,
        )
    if wanted.code is not None:
        search = search.also(
            "EXISTS (SELECT 1 FROM console_failures x JOIN console_groups y ON y.id = x.group_id"
            " WHERE x.command_id = c.id AND y.code = ?)",
            wanted.code,
        )
    return search


async def objects(tx: Tx, text: str, postgres: bool) -> list[str]:
    """Ordering keys of the objects whose names begin with `text`, or that are `text` themselves."""
    if not text:
        return []
    found = []
    for start in ["", *await _starts(tx, postgres)]:
        like = escaped(start + text) + "%"
        where = "key LIKE $1 ESCAPE '!'" if postgres else "key >= $1 AND key < $2"
        args = (like,) if postgres else (start + text, start + text + "\U0010ffff")
        rows = await tx.rows(f"SELECT key FROM lanes WHERE {where} LIMIT {MOST_KEYS}", *args)  # noqa: S608
        found += [row["key"] for row in rows]
    return found[:MOST_KEYS]


_START = re.compile(r"[^:/]*[:/][^:/]*[:/]")


def divided(key: str) -> tuple[str, str]:
    """What stands before the object's name in an ordering key (`platform:kind:`, empty where it has none), and the name."""
    found = _START.match(key)
    return (found[0], key[found.end() :]) if found else ("", key)


def names(text: str, key: str) -> bool:
    """Whether an id or key that a sender made up holds the object's name, a part of it, or its number."""
    _, name = divided(key)
    parts = [part.casefold() for part in (name, *re.split(r"[@:/]", name)) if len(part) > 2]
    number = _NO_DIGIT.sub("", name)  # however it is written: +55 11 99999-0001
    written = len(number) >= LEAST_DIGITS and number in _NO_DIGIT.sub("", text)
    return written or any(part in text.casefold() for part in parts)


_NO_DIGIT = re.compile(r"\D")
LEAST_DIGITS = 6  # fewer may stand in any id


async def _starts(tx: Tx, postgres: bool) -> list[str]:
    """What stands before the names: `platform:kind:`, by one look into the index for each."""
    less, greater = ("~<~", "~>=~") if postgres else ("<", ">=")
    order = f"ORDER BY key USING {less}" if postgres else "ORDER BY key"
    found: list[str] = []
    after = ""
    while len(found) < MOST_KEYS:
        rows = await tx.rows(f"SELECT key FROM lanes WHERE key {greater} $1 {order} LIMIT 1", after)  # noqa: S608
        if not rows:
            break
        start, _ = divided(str(rows[0]["key"]))
        found.append(start)
        after = start[:-1] + chr(ord(start[-1]) + 1) if start else str(rows[0]["key"]) + "\x01"
    return found
