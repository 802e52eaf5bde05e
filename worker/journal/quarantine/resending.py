"""A refused message is sent again, as it came or mended, under the same id and key: for console and command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from worker.journal.commands.acts import ActRefused
from worker.journal.commands.admission import content
from worker.journal.commands.endings import new_id
from worker.journal.core import Core, write_audit
from worker.journal.driver import Tx
from worker.journal.journal import StoredJournal
from worker.journal.quarantine import quarantine
from worker.journal.quarantine.mending import (
    NotMendable,
    Parts,
    Ready,
    Sheet,
    mended,
    taken_apart,
    wrong_with,
)
from worker.journal.vault import pair_hash
from worker.messages.envelope import Envelope
from worker.messages.errors import Code, Problem
from worker.messages.events import AuditDraft


class Unsent(Exception):
    """RabbitMQ does not have the message, or has not said that it has: the sentence says which, and what to do."""


class Post(Protocol):
    """Publishes one message to a command queue. `broker.posting` is the real one; bootstrap hands it down."""

    async def send(
        self, queue: str, body: bytes, headers: Mapping[str, str], content_type: str, reply_to: str | None
    ) -> str:
        """Returns the queue that has it: the named one, or that of interactive commands. Raises Unsent."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What intake would go by. `kinds`: platform -> kind; `max_bytes`: of a message."""

    kinds: Mapping[str, str]
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Looked:
    """A refused message, opened. `wrong`: why intake would refuse it today, None where it would not."""

    record: Mapping[str, Any]
    body: bytes | None
    headers: Mapping[str, str]
    parts: Parts | None
    wrong: Problem | None


async def look(journal: StoredJournal, uid: str, actor: str, reason: str, rules: Rules) -> Looked | None:
    """Looking is an act (rule 8.4)."""
    found = await journal.quarantine_show(uid, actor, reason)
    if found is None:
        return None
    record, body, headers = found
    if body is None:
        return Looked(record, None, headers, None, None)
    ready = mended(body, headers, Sheet())
    wrong = await refusal(journal, ready, rules)
    return Looked(record, body, headers, taken_apart(body, headers).shown(), wrong)


async def check(journal: StoredJournal, uid: str, sheet: Sheet, rules: Rules) -> tuple[dict[str, Any], Ready]:
    """What would go out. Raises ActRefused for what is gone, cannot be mended so, or would be refused again."""
    record, body, headers = await _kept(journal, uid)
    try:
        ready = mended(body, headers, sheet)
    except NotMendable as error:
        raise ActRefused(str(error)) from None
    if not sheet.empty and (wrong := await refusal(journal, ready, rules)) is not None:
        raise ActRefused(f"it would be refused again ({wrong.code.value}): {wrong.message}")
    return record, ready


async def send(
    journal: StoredJournal, post: Post, uid: str, sheet: Sheet, actor: str, reason: str, rules: Rules
) -> dict[str, Any]:
    """Publish it, then mark it: a process that dies in between leaves it here, and the same id makes a second
    sending harmless. As it came it goes unchecked: the reason of its refusal may be gone, or the worker's.

    Raises ActRefused, or Unsent, which leave it where it is.
    """
    record, ready = await check(journal, uid, sheet, rules)
    queue = await post.send(record["queue"], ready.body, ready.headers, ready.content_type, ready.reply_to)
    if not await journal.run(lambda tx: _sent(tx, record["uid"], actor, reason, queue, ready.changed)):
        raise ActRefused(
            f"{record['uid']} was sent or dropped by somebody else meanwhile; yours went out under the same id as"
            " theirs, so nothing runs twice"
        )
    return {"uid": record["uid"], "state": "sent", "queue": queue, "mended": list(ready.changed)}


async def drop(journal: StoredJournal, uid: str, actor: str, reason: str) -> dict[str, Any]:
    """Its body is deleted, its record stays. Raises ActRefused for one that is not there any more."""

    async def work(tx: Tx) -> dict[str, Any]:
        record = await _record(tx, uid)
        if not await quarantine.mark(tx, record["uid"], "dropped"):
            raise ActRefused(f"{record['uid']} was sent or dropped by somebody else meanwhile")
        await _tell(tx, "quarantine_dropped", record["uid"], actor, reason, {})
        return {"uid": record["uid"], "state": "dropped"}

    return await journal.run(work)


async def _record(tx: Tx, uid: str) -> dict[str, Any]:
    """Of a kept message. Raises ActRefused, also for one that somebody sent or dropped before."""
    found = await quarantine.find(tx, uid)
    if not found:
        raise ActRefused(f"no message in quarantine begins with {uid[:40]!r}: see `worker quarantine list`")
    if len(found) > 1:
        raise ActRefused(f"{len(found)} messages in quarantine begin with {uid[:40]!r}: give more of the id")
    if found[0]["state"] != "kept":
        raise ActRefused(f"{found[0]['uid']} was {found[0]['state']} already")
    return found[0]


async def _kept(journal: StoredJournal, uid: str) -> tuple[dict[str, Any], bytes, Mapping[str, str]]:
    async def work(tx: Tx) -> tuple[dict[str, Any], bytes | None, Mapping[str, str]]:
        record = await _record(tx, uid)
        opened = await quarantine.body(tx, journal.core, record["uid"])
        return (record, None, {}) if opened is None else opened

    record, body, headers = await journal.run(work)
    if body is None:
        raise ActRefused(f"the body of {record['uid']} was not kept: there is nothing to send")
    return record, body, headers


async def parts_of(journal: StoredJournal, uid: str) -> Parts:
    """A kept message, without its secrets. Raises ActRefused."""
    _, body, headers = await _kept(journal, uid)
    return taken_apart(body, headers).shown()


async def refusal(journal: StoredJournal, ready: Ready, rules: Rules) -> Problem | None:
    """Why intake would refuse it today."""
    found = wrong_with(ready, rules.kinds, rules.max_bytes)
    if isinstance(found, Problem):
        return found
    return await journal.run(lambda tx: _conflict(tx, journal.core, found))


async def _conflict(tx: Tx, core: Core, envelope: Envelope) -> Problem | None:
    """Whether its id was taken by another content meanwhile (rule 4.4)."""
    rows = await tx.rows(
        "SELECT content_mac FROM identities WHERE message_hash = $1", pair_hash(envelope.source, envelope.id)
    )
    if rows and rows[0]["content_mac"] != core.vault.content_mac(content(envelope)):
        return Problem(
            Code.ID_CONFLICT, "a command with this id and other data was admitted: drop this one", "id"
        )
    return None


async def _sent(tx: Tx, uid: str, actor: str, reason: str, queue: str, changed: tuple[str, ...]) -> bool:
    done = await quarantine.mark(tx, uid, "sent")
    if done:
        await _tell(
            tx, "quarantine_sent", uid, actor, reason, {"queue": queue, "mended": ", ".join(changed) or "no"}
        )
    return done


async def _tell(tx: Tx, what: str, uid: str, actor: str, reason: str, details: Mapping[str, Any]) -> None:
    draft = AuditDraft(what, "unknown", actor, reason, None, {"refused_message": uid, **details})
    await write_audit(tx, [(draft, None)], new_id)
