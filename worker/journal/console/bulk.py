"""One act on many commands: what it would do, and doing it in portions that grow while it goes well (rule 8.3)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from worker.journal.commands import acts as acts_
from worker.journal.console.lists import Page, Wanted, page
from worker.journal.console.people import record
from worker.journal.core import Core
from worker.journal.driver import Row, Tx

Act = Literal["retry", "cancel", "archive"]
ACTS: tuple[Act, ...] = ("retry", "cancel", "archive")
MOST = 10_000  # commands of one act
PORTIONS = (1, 5, 50, 500)
FINAL = ("succeeded", "rejected", "cancelled", "expired")


@dataclass(frozen=True, slots=True)
class Preview:
    """What an act on many would do. `numbers`: of the commands that it would touch, oldest first."""

    what: Act
    numbers: tuple[int, ...]
    platforms: Mapping[str, int]
    states: Mapping[str, int]
    unknown: int  # of unknown outcome: never included
    partly: int  # some of their steps took effect: a retry would do those once more, so never included
    superseded: int  # a later command about the same object exists
    unfit: int  # in a state that the act does not apply to
    more: bool  # there are more than are looked at
    with_superseded: bool = False  # these are among `numbers`

    @property
    def last(self) -> int:
        """The newest of its commands: whatever is newer was not looked at."""
        return max(self.numbers, default=0)

    def shown(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "numbers"} | {
            "count": len(self.numbers),
            "last": self.last,
        }


async def preview(tx: Tx, what: Act, wanted: Wanted, postgres: bool, superseded: bool = False) -> Preview:
    """`superseded`: take those too after which something else was ordered for the same object."""
    rows, more = await _all(tx, wanted, postgres)
    later = await _superseded(tx, [row["id"] for row in rows])
    fit: list[Mapping[str, Any]] = []
    unknown = unfit = overtaken = partly = 0
    for row in rows:
        if is_unknown(row):
            unknown += 1
        elif what == "retry" and is_partly_done(row):
            partly += 1
        elif not _fits(what, row):
            unfit += 1
        else:
            old = what == "retry" and row["state"] in FINAL and row["id"] in later
            overtaken += old
            if superseded or not old:
                fit.append(row)
    return Preview(
        what,
        tuple(sorted(row["id"] for row in fit)),
        dict(Counter(row["platform"] for row in fit)),
        dict(Counter(row["state"] for row in fit)),
        unknown,
        partly,
        overtaken,
        unfit,
        more,
        superseded,
    )


def is_unknown(row: Mapping[str, Any] | Row) -> bool:
    """What it did is not known for certain: a person decides about it alone."""
    return row["effect"] == "unknown" or bool(row["unverified"])


def is_partly_done(row: Mapping[str, Any] | Row) -> bool:
    """It ended in failure after some of its steps had taken effect."""
    return row["state"] in FINAL and row["state"] != "succeeded" and row["effect"] == "applied"


def _fits(what: Act, row: Mapping[str, Any]) -> bool:
    state = row["state"]
    if what == "archive":
        return state in FINAL and not row["archived"]
    if what == "cancel":
        return state in ("waiting", "parked")
    return state in ("parked", "rejected", "expired", "cancelled")


async def _all(tx: Tx, wanted: Wanted, postgres: bool) -> tuple[list[Mapping[str, Any]], bool]:
    rows: list[Mapping[str, Any]] = []
    part = replace(wanted, limit=500, before=None)
    while len(rows) < MOST:
        found: Page = await page(tx, part, postgres)
        rows += found.rows
        if found.more is None:
            return rows, False
        part = replace(part, before=found.more)
    return rows[:MOST], True


async def _superseded(tx: Tx, numbers: Sequence[int]) -> set[int]:
    rows = await tx.rows(
        "SELECT c.id FROM commands c WHERE c.id = ANY($1) AND EXISTS"
        " (SELECT 1 FROM commands n WHERE n.partition_key = c.partition_key AND n.id > c.id)",
        list(numbers),
    )
    return {row["id"] for row in rows}


# ---------------------------------------------------------------- the act in the journal


async def begin(tx: Tx, seen: Preview, wanted: Wanted, actor: str, reason: str) -> int:
    """Write down what is to be done: exactly the commands that the preview counted."""
    [row] = await tx.rows(
        "INSERT INTO console_acts (what, wanted, actor, reason, state, total, began_at, beat_at)"
        " VALUES ($1, $2, $3, $4, 'going', $5, $6, $6) RETURNING id",
        seen.what,
        json.dumps(asdict(wanted) | {"superseded": seen.with_superseded}),
        actor,
        reason,
        len(seen.numbers),
        tx.now,
    )
    await tx.many(
        "INSERT INTO console_act_items (act_id, command_id) VALUES ($1, $2)",
        [(row["id"], number) for number in seen.numbers],
    )
    details = {"act": row["id"], "what": seen.what, "commands": len(seen.numbers)}
    await record(tx, "bulk_begun", actor, reason, details)
    return int(row["id"])


async def act(tx: Tx, number: int) -> dict[str, Any] | None:
    rows = await tx.rows("SELECT * FROM console_acts WHERE id = $1", number)
    return (await _counted(tx, rows))[0] if rows else None


async def acts(tx: Tx, limit: int = 20) -> list[dict[str, Any]]:
    return await _counted(tx, await tx.rows("SELECT * FROM console_acts ORDER BY id DESC LIMIT $1", limit))


async def _counted(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    names = (
        "id", "what", "actor", "reason", "state", "text", "total", "began_at", "ended_at", "beat_at",
    )  # fmt: skip
    found = []
    for row in rows:
        counts = await tx.rows(
            "SELECT result, count(*) AS n FROM console_act_items WHERE act_id = $1 AND result IS NOT NULL"
            " GROUP BY result",
            row["id"],
        )
        by = {one["result"]: one["n"] for one in counts}
        included = json.loads(row["wanted"]).get("superseded", False)
        line = {name: row[name] for name in names} | {"superseded": bool(included)}
        found.append(line | {result: by.get(result, 0) for result in ("acted", "refused", "left_out")})
    return found


async def items(tx: Tx, number: int, limit: int = 100) -> list[dict[str, Any]]:
    rows = await tx.rows(
        "SELECT i.command_id, i.portion, i.became, i.result, i.text, c.state, c.type, c.platform"
        " FROM console_act_items i LEFT JOIN commands c ON c.id = COALESCE(i.became, i.command_id)"
        " WHERE i.act_id = $1 AND i.result IS NOT NULL ORDER BY i.result DESC, i.command_id DESC LIMIT $2",
        number,
        limit,
    )
    names = ("command_id", "portion", "became", "result", "text", "state", "type", "platform")
    return [{name: row[name] for name in names} for row in rows]


async def next_items(tx: Tx, number: int, most: int) -> list[int]:
    rows = await tx.rows(
        "SELECT command_id FROM console_act_items WHERE act_id = $1 AND result IS NULL ORDER BY command_id LIMIT $2",
        number,
        most,
    )
    return [row["command_id"] for row in rows]


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one command. `became`: its number, or that of the one made from it, where it was acted on."""

    result: Literal["acted", "refused", "left_out"]
    became: int | None = None
    text: str | None = None


async def one(tx: Tx, core: Core, act: Mapping[str, Any], command: int, portion: int) -> Done | None:
    """Act on one command and write down what became of it, in one commit. None: the act was stopped.

    What the preview left out is left out again by how it is now: between the two, minutes may lie.
    """
    if act["what"] == "retry":
        await tx.lock("admission")  # nothing newer comes for the object between the look and the act
    if not await beat(tx, act["id"]):
        return None
    done = await _acted(tx, core, act, command)
    await tx.run(
        "UPDATE console_act_items SET portion = $3, became = $4, result = $5, text = $6"
        " WHERE act_id = $1 AND command_id = $2",
        act["id"],
        command,
        portion,
        done.became,
        done.result,
        done.text,
    )
    return done


async def _acted(tx: Tx, core: Core, act: Mapping[str, Any], command: int) -> Done:
    if why := await _left_out(tx, act, command):
        return Done("left_out", text=why)
    name, actor, reason = f"#{command}", act["actor"], act["reason"]
    try:
        if act["what"] == "retry":
            done = await acts_.retry(tx, core, name, actor, reason)
        elif act["what"] == "cancel":
            done = await acts_.cancel(tx, core, name, actor, reason)
        else:
            done = await acts_.archive(tx, name, actor, reason)
    except acts_.ActRefused as error:  # before anything of it was written
        return Done("refused", text=str(error))
    return Done("acted", int(done["id"]))


async def _left_out(tx: Tx, act: Mapping[str, Any], command: int) -> str | None:
    rows = await tx.rows("SELECT state, effect, unverified FROM commands WHERE id = $1", command)
    if not rows or act["what"] == "archive":
        return None
    row = rows[0]
    if is_unknown(row):
        return "what it did is unknown by now: it is decided for itself"
    if act["what"] != "retry":
        return None
    if is_partly_done(row):
        return "some of its steps took effect: it is decided for itself"
    if row["state"] in FINAL and not act["superseded"] and await _superseded(tx, [command]):
        return "a later command about the same object has come meanwhile"
    return None


async def beat(tx: Tx, number: int) -> bool:
    """Somebody works on it. False: it was stopped."""
    return (
        await tx.run(
            "UPDATE console_acts SET beat_at = $2::float8 WHERE id = $1 AND state = 'going'", number, tx.now
        )
        == 1
    )


async def end(tx: Tx, number: int, state: Literal["done", "stopped"], actor: str, text: str = "") -> bool:
    done = await tx.run(
        "UPDATE console_acts SET state = $2, text = $3, ended_at = $4::float8 WHERE id = $1 AND state = 'going'",
        number,
        state,
        text,
        tx.now,
    )
    if done:
        await record(tx, f"bulk_{state}", actor, text or None, {"act": number})
    return done == 1


ABANDONED = 120.0  # seconds without a beat


async def end_abandoned(tx: Tx) -> None:
    """Acts whose process has ended: a person looks at what was done, and begins anew."""
    rows = await tx.rows(
        "SELECT id FROM console_acts WHERE state = 'going' AND beat_at < $1::float8", tx.now - ABANDONED
    )
    for row in rows:
        await end(tx, row["id"], "stopped", "worker", "the process that worked on it has ended")


@dataclass(frozen=True, slots=True)
class Portion:
    """How the commands of a portion fare: `failed` again, still `open`, and the rest went well."""

    count: int
    failed: int
    open: int


async def fare(tx: Tx, numbers: Sequence[int]) -> Portion:
    failed = still = 0
    for row in await tx.rows("SELECT state, failing_since FROM commands WHERE id = ANY($1)", list(numbers)):
        if row["state"] in ("rejected", "expired", "parked", "in_doubt") or (
            row["state"] == "waiting" and row["failing_since"] is not None
        ):
            failed += 1
        elif row["state"] in ("waiting", "running"):
            still += 1
    return Portion(len(numbers), failed, still)
