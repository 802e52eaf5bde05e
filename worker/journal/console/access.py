"""The console's way to the journal: looks go beside the loops, acts go the journal's own way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worker.journal.commands import chain
from worker.journal.commands.acts import show
from worker.journal.commands.endings import new_id
from worker.journal.console import bulk, groups, lists, people
from worker.journal.console import fold as folding
from worker.journal.console.reader import Reader, open_reader
from worker.journal.core import write_audit
from worker.journal.driver import Tx
from worker.journal.journal import StoredJournal
from worker.journal.port import PlatformState
from worker.journal.quarantine import quarantine
from worker.journal.relaying import AuditReport, verify
from worker.messages.events import AuditDraft

FOLDER = "console_fold"  # the role that one process has
FOLDING = 12.0  # seconds that reading a portion may take: nobody waits for it, and given up it would only begin anew


class ConsoleJournal:
    """Everything that pages and API ask for. Every method may raise JournalDown, every look TooWide."""

    def __init__(self, journal: StoredJournal, url: str) -> None:
        """`journal` stays its owner's; `url`: its address, as it was opened."""
        self.journal = journal
        self.reader: Reader = open_reader(url, journal)

    async def close(self) -> None:
        await self.reader.close()

    # ------------------------------------------------------------ looks

    async def page(self, wanted: lists.Wanted) -> lists.Page:
        return await self.reader.read(lambda tx: lists.page(tx, wanted, self.reader.postgres))

    async def kinds(self) -> list[tuple[str, str]]:
        """Every (platform, type) that the journal holds."""
        return await self.reader.read(lists.kinds)

    async def command(self, name: str) -> dict[str, Any]:
        """One command with all that is known of it; see `acts.show`. Raises ActRefused where there is none."""

        async def work(tx: Tx) -> dict[str, Any]:
            found = await show(tx, self.journal.core, name)
            [row] = await tx.rows(
                "SELECT depends_on, not_before, arrival, failing_since, traceparent, correlation_id, lane_id,"
                " subject, reply_to FROM commands WHERE id = $1",
                found["id"],
            )
            names = (
                "depends_on", "not_before", "arrival", "failing_since", "traceparent", "correlation_id", "subject",
                "reply_to",
            )  # fmt: skip
            return (
                found
                | {name: row[name] for name in names}
                | {
                    "dependents": [one.shown() for one in await chain.dependents(tx, found["id"])],
                    "group": await groups.group_of(tx, found["id"]),
                    "now": tx.now,
                }
            )

        return await self.reader.read(work)

    async def dependents(self, number: int) -> list[dict[str, Any]]:
        """Those that come along when this one is run again; see `chain`."""

        async def work(tx: Tx) -> list[dict[str, Any]]:
            return [one.shown() for one in await chain.dependents(tx, number)]

        return await self.reader.read(work)

    async def groups(
        self, platform: str | None = None, archived: bool = False, limit: int = 100
    ) -> list[dict[str, Any]]:
        return await self.reader.read(lambda tx: groups.groups(tx, platform, archived, limit))

    async def group(self, number: int) -> dict[str, Any] | None:
        return await self.reader.read(lambda tx: groups.group(tx, number))

    async def minutes(self, back: int, step: int = 1) -> dict[str, list[dict[str, Any]]]:
        return await self.reader.read(lambda tx: groups.minutes(tx, back, step))

    async def overview(self) -> dict[str, Any]:
        async def work(tx: Tx) -> dict[str, Any]:
            return {
                "now": tx.now,
                "open": await groups.open_counts(tx),
                "calls": await groups.calls(tx),
                "oldest": await groups.oldest_waiting(tx),
                "hour": await groups.minutes(tx, 60),
                "day": await groups.ends(tx, 1440, 15),
            }

        return await self.reader.read(work)

    async def standing(self) -> dict[str, Any]:
        """By platform, what is open, and how long its last calls took."""

        async def work(tx: Tx) -> dict[str, Any]:
            return {"open": await groups.open_counts(tx), "calls": await groups.calls(tx)}

        return await self.reader.read(work)

    async def records(self, **wanted: Any) -> tuple[list[dict[str, Any]], int | None]:
        return await self.reader.read(lambda tx: groups.records(tx, **wanted))

    async def quarantined(self, state: str, limit: int) -> list[dict[str, Any]]:
        return await self.reader.read(lambda tx: quarantine.listing(tx, state, limit))

    async def platforms(self) -> list[PlatformState]:
        return await self.journal.platforms()

    async def newest_mark(self) -> str:
        """Changes with every change of a command (each leaves an audit record, or an attempt) and of an uploaded file."""

        async def work(tx: Tx) -> str:
            [row] = await tx.rows(
                "SELECT (SELECT MAX(id) FROM audit) AS record, (SELECT MAX(id) FROM attempts) AS attempt,"
                " (SELECT MAX(touched_at) FROM uploads) AS upload"
            )
            return f"{row['record']}-{row['attempt']}-{row['upload']}"

        return await self.reader.read(work)

    async def everybody(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Users and tokens, without what they sign in with."""

        async def work(tx: Tx) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
            return await people.users(tx), await people.tokens(tx)

        return await self.reader.read(work)

    async def verify(self) -> AuditReport:
        """Walk the audit chain, beside the loops; of a long one this takes more than a look may."""
        return await self.reader.read(lambda tx: verify(tx, self.journal.core))

    # ------------------------------------------------------------ groups

    async def note(self, number: int, text: str, actor: str) -> bool:
        return await self.journal.run(lambda tx: groups.note(tx, number, text, actor))

    async def archive_group(self, number: int, archived: bool, actor: str, reason: str) -> bool:
        return await self.journal.run(lambda tx: groups.archive(tx, number, archived, actor, reason))

    async def fold(self) -> int:
        """One portion into groups and figures. Returns how many commands were looked at."""
        before, rows, after, failed, past = await self.reader.read(_new, FOLDING)
        if rows or failed or past or after - before > 60:
            await self.journal.run(lambda tx: folding.fold(tx, before, rows, after, failed, past))
        return len(rows) + len(failed) + len(past)

    # ------------------------------------------------------------ acts on many

    async def preview(self, what: bulk.Act, wanted: lists.Wanted, superseded: bool = False) -> bulk.Preview:
        return await self.reader.read(
            lambda tx: bulk.preview(tx, what, wanted, self.reader.postgres, superseded)
        )

    async def begin(self, seen: bulk.Preview, wanted: lists.Wanted, actor: str, reason: str) -> int:
        return await self.journal.run(lambda tx: bulk.begin(tx, seen, wanted, actor, reason))

    async def bulk_act(self, number: int) -> dict[str, Any] | None:
        return await self.reader.read(lambda tx: bulk.act(tx, number))

    async def bulk_items(self, number: int) -> list[dict[str, Any]]:
        """What became of those that were refused, or acted on last."""
        return await self.reader.read(lambda tx: bulk.items(tx, number))

    async def bulk_acts(self) -> list[dict[str, Any]]:
        return await self.reader.read(bulk.acts)

    async def end_bulk(self, number: int, actor: str, text: str) -> bool:
        return await self.journal.run(lambda tx: bulk.end(tx, number, "stopped", actor, text))

    # ------------------------------------------------------------ people

    async def reserve_answer(self, key: str, request: str) -> tuple[str, int, str] | None:
        """What is known under the key: (request, status, body), status 0 while it is under way; None: it is ours.

        The body is that of the same request only, else empty. Raises KeyMissing where its key was taken away.
        """

        async def work(tx: Tx) -> tuple[str, int, str] | None:
            await tx.run("DELETE FROM console_answers WHERE at < $1::float8", tx.now - 86400.0)
            if await tx.run(
                "INSERT INTO console_answers (key, request, status, body, at) VALUES ($1, $2, 0, '', $3)"
                " ON CONFLICT (key) DO NOTHING",
                key,
                request,
                tx.now,
            ):
                return None
            [row] = await tx.rows("SELECT request, status, body FROM console_answers WHERE key = $1", key)
            same = row["status"] and row["request"] == request
            body = self.journal.core.vault.open_bytes(row["body"]).decode() if same else ""
            return row["request"], row["status"], body

        return await self.journal.run(work)

    async def keep_answer(self, key: str, status: int, body: str) -> None:
        """Encrypted, as it may repeat a secret; a day long, so no new key is ever put to it."""
        sealed = self.journal.core.vault.seal_bytes(body.encode())
        await self.journal.run(
            lambda tx: tx.run(
                "UPDATE console_answers SET status = $2, body = $3 WHERE key = $1", key, status, sealed
            )
        )

    async def forget_answer(self, key: str) -> None:
        """Nothing was done under it: the same request may try again."""
        await self.journal.run(lambda tx: tx.run("DELETE FROM console_answers WHERE key = $1", key))

    async def denied(self, person: people.Person, act: str, why: str, about: Mapping[str, Any]) -> None:
        """What somebody may not do, or could not do, is in the audit chain too."""
        draft = AuditDraft(
            "denied", "unknown", person.name, why, None, {"act": act, "role": person.role, **about}
        )
        await self.journal.run(lambda tx: write_audit(tx, [(draft, None)], new_id))


async def _new(tx: Tx) -> tuple[float, list[dict[str, Any]], float, list[dict[str, Any]], list[int]]:
    before = await folding.mark(tx)
    rows, after = await folding.ended(tx, before)
    return before, rows, after, await folding.newly_failed(tx), await folding.gone_on(tx)
