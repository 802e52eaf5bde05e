"""What every part of the journal needs, and how rows become what the engine sees."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from worker.journal.driver import Row, Tx
from worker.journal.vault import Vault
from worker.messages.errors import Problem, problem_from
from worker.messages.events import AuditDraft, View, audit_record, dump

DAY = 86400.0

RESULTS = "provisioning.results"
AUDIT = "provisioning.audit"


@dataclass(frozen=True, slots=True)
class Core:
    """Times in seconds, sizes in bytes."""

    vault: Vault
    source: str = "/provisioning-worker"
    dedup_window: float = 400 * DAY
    retention: float = 90 * DAY
    events_retention: float = 7 * DAY
    notify_after: float = 60.0
    quarantine_rows: int = 100_000
    quarantine_bytes: int = 1 << 30
    quarantine_retention: float = 30 * DAY
    quarantine_source_hour: int = 10_000


def view_of(row: Row) -> View:
    return View(
        id=row["message_id"],
        source=row["source"],
        type=row["type"],
        idempotency_key=row["idem_key"],
        platform=row["platform"],
        partition_key=row["partition_key"],
        subject=row["subject"],
        correlation_id=row["correlation_id"],
        causation_id=row["causation_id"],
        traceparent=row["traceparent"],
        tracestate=row["tracestate"],
        batch_id=row["batch_id"],
        reply_to=row["reply_to"],
        received_at=row["received_at"],
        started_at=row["started_at"],
        attempts=row["attempts"],
        retry_of=row["retry_of"],
        original=json.loads(row["original"]) if row["original"] else None,
    )


def is_clean(text: str) -> bool:
    return text.isascii() and "\0" not in text


def clean(text: str) -> str:
    """What a database text can hold: no NUL, no half of a character."""
    if is_clean(text):
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def clean_or_none(text: str | None) -> str | None:
    return None if text is None else clean(text)


def problem_text(problem: Problem | None) -> str | None:
    return None if problem is None else dump(problem.as_data()).decode()


def problem_of(text: str | None) -> Problem | None:
    return None if text is None else problem_from(json.loads(text))


def opened(vault: Vault, token: str | None) -> Any:
    return None if token is None else vault.open(token)


def shown_steps(vault: Vault, row: Row) -> list[dict[str, Any]]:
    """Name and status of the finished steps, for events; none where their key is missing."""
    token = row["steps_sealed"]
    if token is None or not vault.can_open(token):
        return []
    return [{"name": step["name"], "status": step["status"]} for step in vault.open(token)]


def sealed(vault: Vault, value: Any) -> str | None:
    return None if value is None else vault.seal(value)


async def write_audit(tx: Tx, drafts: Sequence[tuple[AuditDraft, int | None]], new_id: Any) -> None:
    """Records of changes, in the commit of the change; the sealer chains them later."""
    rows = [
        (d.what, d.platform, command, new_id(), dump(audit_record(d, tx.now)).decode(), tx.now)
        for d, command in drafts
    ]
    await tx.many(
        "INSERT INTO audit (what, platform, command_id, event_id, record, at) VALUES ($1, $2, $3, $4, $5, $6)",
        rows,
    )
    if rows:
        tx.wake("relay")
