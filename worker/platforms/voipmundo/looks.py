"""Looking for a client in the list of contacts, which has no filter: page by page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worker.domain.outcome import Exchange, Unclear
from worker.messages.rest.operations import Check, Operation
from worker.platforms.port import Unread
from worker.platforms.rest import Answered, Looks, RestStep
from worker.platforms.rest.looks import Nowhere, Seen, alike, has, is_it, rows_in
from worker.platforms.voipmundo.contract import CONTACTS, GET_OWN

PAGE = 500  # rows asked for; how many come is the platform's to say


class VoipmundoLooks(Looks):
    async def seen(self, step: RestStep, check: Check) -> tuple[Seen | Nowhere | Unread, Exchange]:
        if check.read != CONTACTS:
            found, exchange = await Looks.seen(self, step, check)
            if check.read == GET_OWN and is_somebody_else(step, found):
                return Unclear("somebody_else"), exchange
            return found, exchange
        return await self._through(step, check, self._table[CONTACTS])

    async def _through(
        self, step: RestStep, check: Check, read: Operation
    ) -> tuple[Seen | Nowhere | Unread, Exchange]:
        found: list[Mapping[str, Any]] = []
        met: set[str] = set()
        while True:
            # One client calls it offset, another start: the one that a server does not know does no harm.
            heard = await self._client.call(read, {"limit": PAGE, "offset": len(met), "start": len(met)})
            if not isinstance(heard.what, Answered):
                return heard.what, heard.exchange
            rows = list(rows_in(heard.what.value, check.rows or ""))
            fresh = {str(row.get(check.id)) for row in rows} - met
            if len(fresh) != len(rows):  # the same rows again: it does not page, or rows move while we read
                return Unclear("the list of contacts does not advance"), heard.exchange
            if not all(has(row, field) for row in rows for field in check.same):
                return Unclear("not_shown"), heard.exchange
            found += [row for row in rows if is_it(row, check, step.params)]
            if not rows:
                return Seen(found), heard.exchange
            met |= fresh


def is_somebody_else(step: RestStep, found: Seen | Nowhere | Unread) -> bool:
    """A pair of level Assinante shows its own client, whoever was asked about."""
    wanted = step.params.get("id")
    rows = found.rows if isinstance(found, Seen) else ()
    return wanted is not None and any("id" in row and not alike(row["id"], wanted) for row in rows)
