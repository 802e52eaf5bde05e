"""Commands that depend on another (`dependson`): which of them come along when that one is run again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from worker.domain.lifecycle import EffectSeen, State
from worker.journal.driver import Row, Tx
from worker.journal.vault import pair_hash
from worker.messages.errors import Code

MOST = 500  # dependents that are looked at, over all generations


@dataclass(frozen=True, slots=True)
class Dependent:
    """`why`: it cannot come along; None: it can."""

    row: Row
    why: str | None = None

    def shown(self) -> dict[str, Any]:
        names = ("id", "message_id", "type", "platform", "state", "depends_on")
        return {name: self.row[name] for name in names} | {"why": self.why, "became": None}


async def dependents(tx: Tx, number: int) -> list[Dependent]:
    """Those that wait for this command's success, or ended only because it had none; then theirs, and so on.

    Parents come before their dependents. One more than MOST says that there are more.
    """
    found: list[Dependent] = []
    generation = [number]
    while generation and len(found) <= MOST:
        rows = await tx.rows(
            "SELECT * FROM commands WHERE depends_on IS NOT NULL AND depends_on = ANY($1)"
            " AND (finished_at IS NULL OR state = 'cancelled') ORDER BY id LIMIT $2",
            generation,
            MOST + 1 - len(found),
        )
        these = [await _one(tx, row) for row in rows if _because(row)]
        found += these
        generation = [
            one.row["id"] for one in these if one.why is None and one.row["finished_at"] is not None
        ]
    return _newest_of_each_key(found)


def _newest_of_each_key(found: Sequence[Dependent]) -> list[Dependent]:
    """Of ended ones that had no effect several may stand under one key, for it was free again: one is made anew."""
    newest: dict[tuple[str, str], int] = {}
    for one in found:
        key = (one.row["source"], one.row["idem_key"])
        newest[key] = max(newest.get(key, 0), one.row["id"])
    kept = []
    for one in found:
        last = newest[one.row["source"], one.row["idem_key"]]
        older = one.why is None and one.row["finished_at"] is not None and one.row["id"] != last
        kept.append(replace(one, why=f"command {last} of the same key is newer") if older else one)
    return kept


def _because(row: Row) -> bool:
    """It waits for the other still, or ended because that one failed, and for no reason of its own."""
    if row["finished_at"] is None:
        return row["arrival"] is None
    code = json.loads(row["problem"]).get("code") if row["problem"] else None
    return bool(row["state"] == State.CANCELLED and code == Code.DEPENDENCY_FAILED.value)


async def _one(tx: Tx, row: Row) -> Dependent:
    if row["finished_at"] is None or (newer := await holder(tx, row)) is None:
        return Dependent(row)
    return Dependent(row, f"command {newer} holds its key already")


async def holder(tx: Tx, row: Row) -> int | None:
    """A newer command under the key of this one that has, or may yet have, an effect (rules 4.6, 8.2)."""
    rows = await tx.rows(
        "SELECT id, status, effect FROM identities WHERE key_hash = $1 AND role = 'command' AND id > $2"
        " ORDER BY id DESC LIMIT 1",
        pair_hash(row["source"], row["idem_key"]),
        row["id"],
    )
    if rows and (rows[0]["status"] is None or rows[0]["effect"] != EffectSeen.NONE):
        return int(rows[0]["id"])
    return None
