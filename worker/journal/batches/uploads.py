"""Uploaded files in the journal: kept, looked at, given to whoever works on them, and gone when nobody needs them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.journal.console.people import record
from worker.journal.core import Core
from worker.journal.driver import Row, Tx
from worker.journal.journal import StoredJournal

PART = 256 * 1024  # bytes of a file in one row
UNUSED = 24 * 3600.0  # seconds after which an upload that nobody touches goes
CUT_OFF = 3600.0  # seconds after which one that never came whole goes
MOST = 50  # uploads that are kept at a time
WORKED_ON = ("checking", "going")
STATES = ("ready", "checking", "checked", "going", "sent", "stopped")


@dataclass(frozen=True, slots=True)
class Upload:
    """One file. Times are seconds since the epoch; `size` is bytes.

    `looked`: how it is read, `columns`, and its first rows; `plan`: what is to become of a row; `found`: what the
    last dry run found; `wish`: how a person let it go.
    """

    id: int
    name: str
    size: int
    sha256: str
    uploaded_by: str
    state: str
    text: str
    platform: str
    batch: str
    rows_read: int
    created_at: float
    touched_at: float
    looked: Mapping[str, Any] = field(default_factory=dict, repr=False)
    plan: Mapping[str, Any] = field(default_factory=dict, repr=False)
    found: Mapping[str, Any] | None = field(default=None, repr=False)
    wish: Mapping[str, Any] = field(default_factory=dict)


class Unfit(Exception):
    """The file, its mapping, or what is wanted of it cannot be used; the sentence says why. `status`: as of HTTP."""

    def __init__(self, text: str, status: int = 422) -> None:
        super().__init__(text)
        self.status = status


class Uploads:
    """The journal, as those who take in files and work on them use it."""

    def __init__(self, journal: StoredJournal) -> None:
        self._journal = journal
        self.core: Core = journal.core

    # ------------------------------------------------------------ a file comes in

    async def begin(self, name: str, size: int, sha256: str, by: str, looked: Mapping[str, Any]) -> int:
        """Raises Unfit where as many wait as are kept."""
        sealed = self.core.vault.seal(dict(looked))

        async def work(tx: Tx) -> int:
            [count] = await tx.rows("SELECT count(*) AS n FROM uploads")
            if count["n"] >= MOST:
                raise Unfit(f"{MOST} uploaded files wait already: drop those that nobody needs", 409)
            [row] = await tx.rows(
                "INSERT INTO uploads (name, size, sha256, uploaded_by, state, looked_sealed, created_at, touched_at)"
                " VALUES ($1, $2, $3, $4, 'receiving', $5, $6, $6) RETURNING id",
                name, size, sha256, by, sealed, tx.now,
            )  # fmt: skip
            return int(row["id"])

        return await self._journal.run(work)

    async def keep_part(self, upload: int, kind: str, part: int, raw: bytes) -> None:
        """A commit of its own: a large file must not hold up the commands between."""
        sealed = await asyncio.to_thread(self.core.vault.seal_bytes, raw)

        async def work(tx: Tx) -> None:
            await tx.run(
                "INSERT INTO upload_parts (upload_id, kind, part, sealed) VALUES ($1, $2, $3, $4)"
                " ON CONFLICT (upload_id, kind, part) DO UPDATE SET sealed = excluded.sealed",
                upload, kind, part, sealed,
            )  # fmt: skip

        await self._journal.run(work)

    async def whole(self, upload: int, by: str) -> None:
        """All parts are here."""

        async def work(tx: Tx) -> None:
            await tx.run("UPDATE uploads SET state = 'ready', touched_at = $2 WHERE id = $1", upload, tx.now)
            [row] = await tx.rows("SELECT name, size FROM uploads WHERE id = $1", upload)
            details = {"upload": upload, "file": row["name"], "bytes": row["size"]}
            await record(tx, "batch_uploaded", by, None, details)

        await self._journal.run(work)

    async def parts(self, upload: int, kind: str) -> AsyncIterator[bytes]:
        """A file as it was kept, a part in memory at a time."""
        number = 0
        while True:

            async def work(tx: Tx, number: int = number) -> Sequence[Row]:
                return await tx.rows(
                    "SELECT sealed FROM upload_parts WHERE upload_id = $1 AND kind = $2 AND part = $3",
                    upload, kind, number,
                )  # fmt: skip

            rows = await self._journal.run(work)
            if not rows:
                return
            yield await asyncio.to_thread(self.core.vault.open_bytes, rows[0]["sealed"])
            number += 1

    # ------------------------------------------------------------ looks

    async def find(self, upload: int) -> Upload | None:
        async def work(tx: Tx) -> Upload | None:
            rows = await tx.rows("SELECT * FROM uploads WHERE id = $1 AND state <> 'receiving'", upload)
            return self._upload(rows[0]) if rows else None

        return await self._journal.run(work)

    async def of_batch(self, batch: str) -> Upload | None:
        """The newest upload that this batch is sent from."""

        async def work(tx: Tx) -> Upload | None:
            rows = await tx.rows("SELECT * FROM uploads WHERE batch = $1 ORDER BY id DESC LIMIT 1", batch)
            return self._upload(rows[0]) if rows else None

        return await self._journal.run(work)

    async def listing(self, states: Sequence[str] = STATES) -> list[Upload]:
        """Newest first; there are never many."""

        async def work(tx: Tx) -> list[Upload]:
            rows = await tx.rows(
                "SELECT * FROM uploads WHERE state = ANY($1::text[]) ORDER BY id DESC", list(states)
            )
            return [self._upload(row) for row in rows]

        return await self._journal.run(work)

    def _upload(self, row: Row) -> Upload:
        names = ("id", "name", "size", "sha256", "uploaded_by", "state", "text", "platform", "batch", "rows_read", "created_at", "touched_at")  # fmt: skip
        return Upload(
            **{name: row[name] for name in names},
            looked=self._opened(row["looked_sealed"]) or {},
            plan=self._opened(row["plan_sealed"]) or {},
            found=self._opened(row["found_sealed"]),
            wish=json.loads(row["wish"]) if row["wish"] else {},
        )

    def _opened(self, token: str | None) -> Any:
        return self.core.vault.open(token) if token and self.core.vault.can_open(token) else None

    # ------------------------------------------------------------ on its way

    async def plan(self, upload: int, platform: str, plan: Mapping[str, Any]) -> bool:
        """Another plan; what was found with the one before no longer holds. False: it is being worked on."""
        sealed = self.core.vault.seal(dict(plan))

        async def work(tx: Tx) -> bool:
            done = await tx.run(
                "UPDATE uploads SET state = 'ready', text = '', platform = $2, plan_sealed = $3, found_sealed = NULL,"
                " rows_read = 0, touched_at = $4 WHERE id = $1 AND state IN ('ready', 'checked', 'stopped')",
                upload, platform, sealed, tx.now,
            )  # fmt: skip
            if done:
                await tx.run("DELETE FROM upload_parts WHERE upload_id = $1 AND kind = 'problems'", upload)
            return done == 1

        return await self._journal.run(work)

    async def ask(
        self,
        upload: Upload,
        state: str,
        frm: Sequence[str],
        by: str,
        reason: str | None,
        batch: str,
        wish: Mapping[str, Any],
        seen: float | None = None,
    ) -> bool:
        """Have it worked on: `checking` or `going`. False: it was in none of the states `frm`, or was touched after
        `seen` (the `touched_at` of what a person looked at; None: of `upload`)."""

        async def work(tx: Tx) -> bool:
            done = await tx.run(
                "UPDATE uploads SET state = $2, text = '', batch = $3, wish = $4, rows_read = 0, touched_at = $5"
                " WHERE id = $1 AND state = ANY($6::text[]) AND touched_at = $7::float8",
                upload.id, state, batch, json.dumps(dict(wish)), tx.now, list(frm),
                upload.touched_at if seen is None else seen,
            )  # fmt: skip
            if done:
                what = "batch_checked" if state == "checking" else "batch_sent_off"
                details = {"upload": upload.id, "file": upload.name, **({"batch": batch} if batch else {})}
                await record(tx, what, by, reason, details, upload.platform or "unknown")
            return done == 1

        return await self._journal.run(work)

    async def take_back(self, upload: Upload, by: str, reason: str) -> bool:
        """Nothing of it is sent: it is as it was before it was let go. False: it does not go, or its batch is open."""
        before = "sent" if upload.wish.get("retry_failed") else "checked"

        async def work(tx: Tx) -> bool:
            done = await tx.run(
                "UPDATE uploads SET state = $2, text = '', touched_at = $3"
                " WHERE id = $1 AND state = 'going' AND wish = $4",
                upload.id, before, tx.now, json.dumps({**upload.wish, "opened": False}),
            )  # fmt: skip
            if done:
                details = {"upload": upload.id, "file": upload.name, "batch": upload.batch}
                await record(tx, "batch_taken_back", by, reason, details, upload.platform or "unknown")
            return done == 1

        return await self._journal.run(work)

    async def opening(self, upload: Upload) -> bool:
        """From here on nobody takes it back. False: somebody has, or has let it go anew with another wish."""

        async def work(tx: Tx) -> bool:
            done = await tx.run(
                "UPDATE uploads SET wish = $2 WHERE id = $1 AND state = 'going' AND wish = $3",
                upload.id, json.dumps({**upload.wish, "opened": True}), json.dumps(dict(upload.wish)),
            )  # fmt: skip
            return done == 1

        return await self._journal.run(work)

    async def read(self, upload: int, rows: int) -> None:
        """How far whoever works on it has come."""

        async def work(tx: Tx) -> None:
            await tx.run(
                "UPDATE uploads SET rows_read = $2, touched_at = $3 WHERE id = $1 AND state = ANY($4::text[])",
                upload, rows, tx.now, list(WORKED_ON),
            )  # fmt: skip

        await self._journal.run(work)

    async def ended(
        self, upload: int, frm: str, state: str, text: str = "", found: Mapping[str, Any] | None = None
    ) -> bool:
        """It was worked on to the end, or to where `text` says why not. `found` None: as it was."""
        sealed = None if found is None else self.core.vault.seal(dict(found))

        async def work(tx: Tx) -> bool:
            done = await tx.run(
                "UPDATE uploads SET state = $2, text = $3, found_sealed = COALESCE($4, found_sealed), touched_at = $5"
                " WHERE id = $1 AND state = $6",
                upload, state, text, sealed, tx.now, frm,
            )  # fmt: skip
            return done == 1

        return await self._journal.run(work)

    async def note(self, upload: int, text: str) -> None:
        """Why whoever works on it waits."""

        async def work(tx: Tx) -> None:
            await tx.run(
                "UPDATE uploads SET text = $2 WHERE id = $1 AND text <> $2 AND state = ANY($3::text[])",
                upload, text, list(WORKED_ON),
            )  # fmt: skip

        await self._journal.run(work)

    # ------------------------------------------------------------ gone

    async def forget_problems(self, upload: int) -> None:
        async def work(tx: Tx) -> None:
            await tx.run("DELETE FROM upload_parts WHERE upload_id = $1 AND kind = 'problems'", upload)

        await self._journal.run(work)

    async def drop(self, upload: int, by: str, reason: str | None) -> bool:
        """False: it is being worked on, or is not there."""

        async def work(tx: Tx) -> bool:
            rows = await tx.rows(
                "SELECT name, platform FROM uploads WHERE id = $1 AND NOT state = ANY($2::text[])"
                " AND state <> 'receiving' FOR UPDATE",  # nobody lets it go between this look and its end
                upload,
                list(WORKED_ON),
            )
            if rows:
                await _delete(tx, upload)
                details = {"upload": upload, "file": rows[0]["name"]}
                await record(
                    tx, "batch_upload_dropped", by, reason, details, rows[0]["platform"] or "unknown"
                )
            return bool(rows)

        return await self._journal.run(work)

    async def sweep(self) -> int:
        """What nobody needs any more: half a file, one that was not touched for a day, one whose batch has ended well.

        One that somebody holds at this moment is needed, or goes the next time.
        """

        async def work(tx: Tx) -> int:
            rows = await tx.rows(
                "SELECT u.id FROM uploads u LEFT JOIN batches b ON b.name = u.batch WHERE"
                " (u.state = 'receiving' AND u.touched_at < $1::float8)"
                " OR (u.state IN ('ready', 'checked', 'stopped', 'sent') AND u.touched_at < $2::float8)"
                " OR (u.state = 'sent' AND b.id IS NOT NULL AND (b.state = 'cancelled' OR NOT EXISTS"
                " (SELECT 1 FROM batch_rows r WHERE r.batch_id = b.id"
                " AND r.state IN ('sending', 'sent', 'parked', 'failed')))) FOR UPDATE OF u SKIP LOCKED",
                tx.now - CUT_OFF,
                tx.now - UNUSED,
            )
            for row in rows:
                await _delete(tx, row["id"])
            return len(rows)

        return await self._journal.run(work)

    async def cut_off(self, upload: int) -> None:
        """It did not come whole."""

        async def work(tx: Tx) -> None:
            await _delete(tx, upload)

        await self._journal.run(work)


async def _delete(tx: Tx, upload: int) -> None:
    await tx.run("DELETE FROM upload_parts WHERE upload_id = $1", upload)
    await tx.run("DELETE FROM uploads WHERE id = $1", upload)


__all__ = ["MOST", "PART", "UNUSED", "WORKED_ON", "Unfit", "Upload", "Uploads"]
