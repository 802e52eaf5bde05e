"""What is turned away, in the audit chain: one by one up to so many a minute, beyond that by one record that counts.

So nobody can fill the chain, and nothing that was turned away goes unmentioned.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import structlog

from worker.journal.commands.endings import new_id
from worker.journal.console.access import ConsoleJournal
from worker.journal.console.people import Person
from worker.journal.core import write_audit
from worker.journal.port import JournalDown
from worker.messages.events import AuditDraft

log = structlog.get_logger(__name__)

WINDOW = 60.0  # seconds
MOST = 20  # of one person within WINDOW that are written one by one
NAMED = 5  # people or addresses that a record of several names


@dataclass(slots=True)
class Counted:
    times: int = 0
    who: dict[str, None] = field(default_factory=dict)  # the first NAMED, in order


class Refusals:
    """Of this process. `flush` is due every WINDOW, and at the end."""

    def __init__(self, journal: ConsoleJournal) -> None:
        self._journal = journal
        self._written: dict[str, list[float]] = {}  # name of a person -> when
        self._counted: dict[str, Counted] = {}  # what -> how many were left out

    async def of(self, person: Person, act: str, why: str, **about: Any) -> None:
        """Of somebody who is signed in."""
        now = time.monotonic()
        recent = [at for at in self._written.get(person.name, ()) if now - at < WINDOW]
        if len(recent) >= MOST:
            self._written[person.name] = recent
            self.left_out("denied", person.name)
            return
        self._written[person.name] = [*recent, now]
        await self._journal.denied(person, act, why, about)

    def left_out(self, what: str, who: str) -> None:
        """Count one that is not written by itself; `who`: a person's name, or an address."""
        counted = self._counted.setdefault(what, Counted())
        counted.times += 1
        if len(counted.who) < NAMED:
            counted.who[who] = None

    async def flush(self) -> None:
        """A record for all that were left out since the last one. Without a journal they wait for the next time."""
        now = time.monotonic()
        self._written = {who: at for who, at in self._written.items() if now - at[-1] < WINDOW}
        if not self._counted:
            return
        counted, self._counted = self._counted, {}
        drafts = [_draft(what, one) for what, one in counted.items()]
        try:
            await self._journal.journal.run(
                lambda tx: write_audit(tx, [(one, None) for one in drafts], new_id)
            )
        except JournalDown as error:
            log.warning("console.refusals_wait", why=str(error))
            for what, one in counted.items():
                self._put_back(what, one)

    def _put_back(self, what: str, one: Counted) -> None:
        for who in one.who:
            self.left_out(what, who)
        self._counted[what].times += one.times - len(one.who)


def _draft(what: str, one: Counted) -> AuditDraft:
    why = f"{one.times} more were turned away within a minute, and are not written down one by one"
    details = {"left_out": one.times, "from": ", ".join(one.who)}
    return AuditDraft(what, "unknown", "unknown", why, None, details)
