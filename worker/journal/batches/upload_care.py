"""What a change of keys does to uploaded files: their parts are encrypted anew."""

from __future__ import annotations

from worker.journal.core import Core
from worker.journal.driver import Tx

AT_ONCE = 8  # parts of up to 256 KiB in one transaction: commands come in between
Part = tuple[int, str, int]  # upload, kind, part
START: Part = (0, "", 0)


async def rekey(tx: Tx, core: Core, after: Part) -> list[Part]:
    """Encrypt the next parts under the first key. Returns which; none is left where it is empty."""
    rows = await tx.rows(
        "SELECT upload_id, kind, part, sealed FROM upload_parts"
        " WHERE (upload_id, kind, part) > ($1::int8, $2::text, $3::int4)"
        " ORDER BY upload_id, kind, part LIMIT $4 FOR UPDATE",
        *after, AT_ONCE,
    )  # fmt: skip
    await tx.many(
        "UPDATE upload_parts SET sealed = $4 WHERE upload_id = $1 AND kind = $2 AND part = $3",
        [(row["upload_id"], row["kind"], row["part"], core.vault.rotate(row["sealed"])) for row in rows],
    )
    return [(row["upload_id"], row["kind"], row["part"]) for row in rows]
