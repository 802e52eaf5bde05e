"""Batches for people: a list, one with its figures, why rows failed, and its rows; each in an instant."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.journal.batches.endings import Part, parts_of, source_of
from worker.journal.core import Core
from worker.journal.driver import Row, Tx

PAGE = 50
STATES = ("sending", "sent", "parked", "done", "failed", "bad")
OPEN = ("sending", "sent", "parked")
NOT_WELL = ("failed", "parked")
LOOKED = 5_000  # failed rows whose causes are counted
END = 1 << 62
NAMES = (
    "id", "name", "platform", "title", "file", "state", "paused_by", "paused_reason", "rate", "undo_of", "undoable",
    "total", "created_by", "created_at", "sent_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cause:
    """Rows that failed alike. `command` and `code` filter the list of commands; `example`: one of the sentences."""

    rows: int
    command: str
    code: str
    example: str


def _shown(row: Row, counts: Mapping[str, int]) -> dict[str, Any]:
    line = {name: row[name] for name in NAMES} | {"undoable": bool(row["undoable"])}
    line["rows"] = {state: counts.get(state, 0) for state in STATES}
    line["stage"] = _stage(row, counts)
    return line


def _stage(row: Row, counts: Mapping[str, int]) -> str:
    """One word: paused, sending, going (all sent, some open), parked, cancelled, done."""
    if row["state"] == "sending":
        return "paused" if row["paused_by"] else "sending"
    if any(counts.get(state) for state in ("sending", "sent")):
        return "cancelled" if row["state"] == "cancelled" else "going"
    if row["state"] == "cancelled":
        return "cancelled"
    return "parked" if counts.get("parked") else "done"


async def _counts(tx: Tx, batch: int) -> dict[str, int]:
    rows = await tx.rows(
        "SELECT state, count(*) AS n FROM batch_rows WHERE batch_id = $1 GROUP BY state", batch
    )
    return {row["state"]: int(row["n"]) for row in rows}


async def listing(
    tx: Tx, before: int | None = None, limit: int = 20
) -> tuple[list[dict[str, Any]], int | None]:
    """Newest first; and what the next page begins before."""
    rows = await tx.rows(
        "SELECT * FROM batches WHERE id < $1 ORDER BY id DESC LIMIT $2", before or END, limit + 1
    )
    found = [_shown(row, await _counts(tx, row["id"])) for row in rows[:limit]]
    return found, rows[limit - 1]["id"] if len(rows) > limit else None


async def one(tx: Tx, name: str) -> dict[str, Any] | None:
    rows = await tx.rows("SELECT * FROM batches WHERE name = $1", name)
    if not rows:
        return None
    found = _shown(rows[0], await _counts(tx, rows[0]["id"]))
    reversed_by = await tx.rows("SELECT name FROM batches WHERE undo_of = $1 ORDER BY id DESC LIMIT 1", name)
    return found | {"undone_by": reversed_by[0]["name"] if reversed_by else None, "now": tx.now}


async def open_ones(tx: Tx, limit: int = 20) -> list[str]:
    """Batches with rows of which nobody has written down yet how they ended."""
    rows = await tx.rows(
        "SELECT b.name FROM batches b WHERE EXISTS (SELECT 1 FROM batch_rows r WHERE r.batch_id = b.id"
        " AND r.state IN ('sending', 'sent', 'parked')) ORDER BY b.id DESC LIMIT $1",
        limit,
    )
    return [row["name"] for row in rows]


# ---------------------------------------------------------------- why rows failed


async def causes(tx: Tx, batch: Mapping[str, Any], most: int = 10) -> list[Cause]:
    """The most frequent ones, of the first rows that failed, are parked or were never sent.

    A command that a person ran again stands for the one that it repeats; one that did not run because an
    earlier command of its row had failed is no cause.
    """
    failed = await tx.rows(
        "SELECT b.type, c.problem FROM batch_rows r JOIN batch_commands b ON b.row_id = r.id"
        " JOIN identities i ON i.id = (SELECT MAX(h.id) FROM identities h"
        " WHERE h.key_hash = b.key_hash AND h.role = 'command')"
        " JOIN commands c ON c.id = i.command_id WHERE r.batch_id = $1 AND r.state IN ('failed', 'parked')"
        " AND c.problem IS NOT NULL AND c.state <> 'succeeded' ORDER BY r.id LIMIT $2",
        batch["id"], LOOKED,
    )  # fmt: skip
    refused = await tx.rows(
        "SELECT q.type, q.code, q.message FROM quarantine q WHERE q.source = $1 ORDER BY q.id LIMIT $2",
        source_of(batch["name"]), LOOKED,
    )  # fmt: skip
    bad = await tx.rows(
        "SELECT problem FROM batch_rows WHERE batch_id = $1 AND state = 'bad' ORDER BY id LIMIT $2",
        batch["id"], LOOKED,
    )  # fmt: skip
    seen = [(str(row["type"]), json.loads(row["problem"])) for row in failed]
    seen += [(str(row["type"] or ""), {"code": row["code"], "message": row["message"]}) for row in refused]
    seen += [("", json.loads(row["problem"])) for row in bad if row["problem"]]
    return _counted(seen, most)


def _counted(seen: Sequence[tuple[str, Mapping[str, Any]]], most: int) -> list[Cause]:
    count: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for command, problem in seen:
        code = str(problem.get("code", ""))
        if code == "dependency_failed":
            continue
        count[command, code] += 1
        examples.setdefault((command, code), str(problem.get("message", ""))[:500])
    return [Cause(n, *key, examples[key]) for key, n in count.most_common(most)]


# ---------------------------------------------------------------- rows


async def lines(
    tx: Tx, core: Core, batch: Mapping[str, Any], state: str | None, after: int = 0, limit: int = PAGE
) -> tuple[list[dict[str, Any]], int | None]:
    """Rows as they stand in the file, those of one state as they were sent; and after which the next page begins."""
    if state is not None:
        rows = await tx.rows(
            "SELECT * FROM batch_rows WHERE batch_id = $1 AND state = $2 AND id > $3 ORDER BY id LIMIT $4",
            batch["id"], state, after, limit + 1,
        )  # fmt: skip
    else:
        last = await tx.rows(
            "SELECT number FROM batch_rows WHERE id = $1 AND batch_id = $2", after, batch["id"]
        )
        rows = await tx.rows(
            "SELECT * FROM batch_rows WHERE batch_id = $1 AND (number > $2 OR (number = $2 AND id > $3))"
            " ORDER BY number, id LIMIT $4",
            batch["id"], last[0]["number"] if last else -1, after, limit + 1,
        )  # fmt: skip
    shown = rows[:limit]
    parts = await parts_of(tx, core, source_of(batch["name"]), [row["id"] for row in shown])
    found = [_line(core, row, parts.get(row["id"], [])) for row in shown]
    return found, shown[-1]["id"] if len(rows) > limit else None


def _line(core: Core, row: Row, parts: Sequence[Part]) -> dict[str, Any]:
    keys = core.vault.open(row["keys_sealed"]) if core.vault.can_open(row["keys_sealed"]) else {}
    problem = json.loads(row["problem"]) if row["problem"] else None
    if problem is None and row["state"] in NOT_WELL:
        problem = next((dict(p.problem) for p in parts if p.problem and not p.skipped), None)
    return {
        "number": row["number"], "state": row["state"], "changed": bool(row["changed"]), "keys": keys,
        "problem": problem and {name: problem.get(name) for name in ("code", "message", "field", "advice")},
        "commands": [
            {"type": part.type, "state": part.state, "command": part.command, "message_id": part.message_id}
            for part in parts
        ],
    }  # fmt: skip
