"""One platform's call records, as its settings give access to them."""

from __future__ import annotations

from collections.abc import Sequence

from worker.platforms.checkup import Examined
from worker.platforms.port import Reply, Rows, Step
from worker.platforms.sippulse.call_records.checkup import examined
from worker.platforms.sippulse.call_records.database import Database
from worker.platforms.sippulse.call_records.evidence import CallEvidence
from worker.platforms.sippulse.call_records.lists import Lists
from worker.settings import SippulseSettings


class CallRecords:
    """`evidence`: None where no database is configured. Nothing is opened before it is needed."""

    def __init__(self, settings: SippulseSettings) -> None:
        self._given = given = settings.call_records
        self._database = None if given.url is None else Database(given)
        self.evidence: CallEvidence | None = None
        self._lists: Lists | None = None
        if self._database is not None:
            case = given.account_case
            self.evidence = CallEvidence(self._database, settings.evidence_select, case != "exact")
            self._lists = Lists(self._database, given.connections, given.time_zone, case == "ignored")

    async def read_rows(self, step: Step, rows: Rows) -> Reply:
        """The port's `read_rows`: a plan has such a step only where there is a database."""
        assert self._lists is not None, step.name
        return await self._lists.read(step, rows)

    async def examine(self) -> Sequence[Examined]:
        """What `worker doctor` and `worker platforms check` say of it; nothing where there is none."""
        if self._database is None or self.evidence is None:
            return ()
        return [one async for one in examined(self._database, self.evidence, self._given)]

    async def close(self) -> None:
        if self._database is not None:
            await self._database.close()
