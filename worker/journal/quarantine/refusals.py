"""Messages that were not admitted: their bodies into quarantine, an answer out for each (P6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from worker.journal.commands.endings import new_id, put_out
from worker.journal.core import Core, write_audit
from worker.journal.driver import Tx
from worker.journal.port import Refusal
from worker.journal.quarantine.quarantine import keep
from worker.messages.envelope import Envelope
from worker.messages.events import UNKNOWN, AuditDraft, Event, View, render, result


def known_attributes(envelope: Envelope, platform: str) -> dict[str, Any]:
    return {
        "id": envelope.id,
        "source": envelope.source,
        "type": envelope.type,
        "subject": envelope.subject,
        "idempotencykey": envelope.idempotency_key,
        "correlationid": envelope.correlation_id,
        "batchid": envelope.batch_id,
        "traceparent": envelope.traceparent,
        "platform": platform,
    }


async def refuse(tx: Tx, core: Core, refusals: Sequence[Refusal]) -> None:
    """Their bodies into quarantine and an answer out for each, in one commit (P6)."""
    uids = await keep(tx, core, refusals)
    told = [_refused(tx.now, core, refusal, uid) for refusal, uid in zip(refusals, uids, strict=True)]
    await put_out(tx, core, [(None, event, None) for event, _ in told])
    await write_audit(tx, [(record, None) for _, record in told], new_id)


def _refused(now: float, core: Core, refusal: Refusal, uid: str) -> tuple[Event, AuditDraft]:
    known = refusal.known
    platform = known.get("platform") or UNKNOWN
    kind = known.get("type") or UNKNOWN
    named = refusal.named and platform != UNKNOWN and kind != UNKNOWN
    view = View(
        id=known.get("id"),
        source=known.get("source"),
        type=kind if named else UNKNOWN,
        idempotency_key=known.get("idempotencykey"),
        platform=platform if named else UNKNOWN,
        partition_key=None,
        subject=known.get("subject"),
        correlation_id=known.get("correlationid"),
        traceparent=known.get("traceparent"),
        batch_id=known.get("batchid"),
        reply_to=refusal.reply_to,
        received_at=now,
    )
    draft = result(view, "refused", at=now, effect="none", error=refusal.problem, refused_message=uid)
    command = None if view.id is None else {**view.command(), "type": kind, "platform": platform}
    draft = replace(draft, data={**draft.data, "command": command})
    record = AuditDraft(
        "refused",
        view.platform,
        "sender",
        command=command,
        details={"code": refusal.problem.code.value, "refused_message": uid},
    )
    return render(draft, 1, core.source), record


async def quarantine_dead(tx: Tx, core: Core, dead: Sequence[Refusal]) -> None:
    uids = await keep(tx, core, dead)
    drafts = [
        AuditDraft("dead_lettered", UNKNOWN, "broker", details={"queue": r.queue, "refused_message": uid})
        for r, uid in zip(dead, uids, strict=True)
    ]
    await write_audit(tx, [(draft, None) for draft in drafts], new_id)
