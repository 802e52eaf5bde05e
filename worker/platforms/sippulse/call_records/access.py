"""One platform's call records, as its settings give access to them."""

from __future__ import annotations

from worker.platforms.port import Reply, Rows, Step
from worker.platforms.sippulse.call_records.database import Database
from worker.platforms.sippulse.call_records.evidence import CallEvidence
from worker.platforms.sippulse.call_records.lists import Lists
from worker.settings import SippulseSettings


class CallRecords:
    """`evidence`: None where no database is configured. Nothing is opened before it is needed."""

    def __init__(self, settings: SippulseSettings) -> None:
        given = settings.call_records
        self._database = None if given.url is None else Database(given)
        self.evidence: CallEvidence | None = None
        self._lists: Lists | None = None
        if self._database is not None:
            self.evidence = CallEvidence(self._database, settings.evidence_select)
            self._lists = Lists(self._database, given.connections, given.time_zone)

    async def read_rows(self, step: Step, rows: Rows) -> Reply:
        """The port's `read_rows`: a plan has such a step only where there is a database."""
        assert self._lists is not None, step.name
        return await self._lists.read(step, rows)

    async def close(self) -> None:
        if self._database is not None:
            await self._database.close()
