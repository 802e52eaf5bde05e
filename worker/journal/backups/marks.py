"""What a journal knows of being a copy: a worker that ran on one unawares would do again what was done since."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from worker.journal.driver import Tx
from worker.journal.journal import StoredJournal
from worker.journal.port import JournalError

NAME = "copy"  # its row of `meta`
ADVICE = "`worker journal restored` says what that means, and opens it"


@dataclass(frozen=True, slots=True)
class Mark:
    """`at`: RFC 3339, by the clock of the machine that made the copy. `of`: a journal's address without password."""

    how: Literal["backup", "moving", "moved"]
    at: str
    of: str  # backup: where it was taken from; moved: where it went

    @property
    def words(self) -> str:
        match self.how:
            case "backup":
                return f"is a backup of {self.of} from {self.at}: what was done since, it does not know"
            case "moving":
                return f"was being copied to {self.of} at {self.at}, and nobody said that it was done"
            case "moved":
                return f"was copied to {self.of} at {self.at}: workers go on there"

    def text(self) -> str:
        return json.dumps({"how": self.how, "at": self.at, "of": self.of})


def mark_from(text: str) -> Mark:
    found: Mapping[str, str] = json.loads(text)
    how = found["how"]
    if how not in ("backup", "moving", "moved"):
        raise JournalError(
            f"the journal is marked as a copy of a kind that this version does not know: {how!r}"
        )
    return Mark(how, found["at"], found["of"])  # type: ignore[arg-type]  # looked at in the line above


async def read(tx: Tx) -> Mark | None:
    rows = await tx.rows("SELECT value FROM meta WHERE name = $1", NAME)
    return mark_from(rows[0]["value"]) if rows else None


async def write(tx: Tx, mark: Mark | None) -> None:
    await tx.run("DELETE FROM meta WHERE name = $1", NAME)
    if mark is not None:
        await tx.run("INSERT INTO meta (name, value) VALUES ($1, $2)", NAME, mark.text())


async def check(journal: StoredJournal) -> None:
    """Raises JournalError for a copy: no worker runs on one before a person has said what it is."""
    if (mark := await journal.run(read)) is not None:
        raise JournalError(f"this journal {mark.words}. {ADVICE[0].upper()}{ADVICE[1:]}")
