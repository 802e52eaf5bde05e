"""What an adapter has to remember of an object: outside retention, until it lets go of it itself."""

from __future__ import annotations

from dataclasses import dataclass

from worker.journal.driver import Tx
from worker.journal.journal import StoredJournal


@dataclass(frozen=True, slots=True)
class JournalMemory:
    """`platforms.port.Memory` of one platform. Values stand in clear: no secrets."""

    journal: StoredJournal
    platform: str

    async def recall(self, of: str, name: str) -> str | None:
        async def work(tx: Tx) -> str | None:
            rows = await tx.rows(
                "SELECT value FROM memories WHERE platform = $1 AND object = $2 AND name = $3",
                self.platform,
                of,
                name,
            )
            return str(rows[0]["value"]) if rows else None

        return await self.journal.run(work)

    async def remember(self, of: str, name: str, value: str) -> None:
        async def work(tx: Tx) -> None:
            await tx.run(
                "INSERT INTO memories (platform, object, name, value, at) VALUES ($1, $2, $3, $4, $5)"
                " ON CONFLICT (platform, object, name) DO UPDATE SET value = excluded.value, at = excluded.at",
                self.platform,
                of,
                name,
                value,
                tx.now,
            )

        await self.journal.run(work)

    async def forget(self, of: str, name: str) -> None:
        async def work(tx: Tx) -> None:
            await tx.run(
                "DELETE FROM memories WHERE platform = $1 AND object = $2 AND name = $3",
                self.platform,
                of,
                name,
            )

        await self.journal.run(work)
