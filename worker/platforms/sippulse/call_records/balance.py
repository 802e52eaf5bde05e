"""A balance together with what explains it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from worker.domain.evidence import Reading
from worker.platforms.port import Step, Unread
from worker.platforms.sippulse.call_records.evidence import CallEvidence
from worker.platforms.sippulse.records import Name, Records


class Balances:
    """`calls`: None where no call records are configured."""

    def __init__(self, records: Records, calls: CallEvidence | None) -> None:
        self._records, self._calls = records, calls

    async def read(self, name: Name, step: Step, before: Reading | None) -> Reading | Unread:
        """`before`: the evidence from before the call, if this is read after it. The order keeps a call that is
        rated meanwhile from being in the balance alone: see evidence.py."""
        if self._calls is None:
            balance = await self._records.balance(name)
            return Reading(balance=balance) if isinstance(balance, Decimal) else balance
        account = self._calls.account(name.username, name.domain)
        if before is None:
            known = await self._calls.before(account, step)
            return await self._with_balance(name, known) if isinstance(known, Reading) else known
        balance = await self._records.balance(name)
        if not isinstance(balance, Decimal):
            return balance
        known = await self._calls.after(account, step, before)
        return replace(known, balance=balance) if isinstance(known, Reading) else known

    async def _with_balance(self, name: Name, known: Reading) -> Reading | Unread:
        balance = await self._records.balance(name)
        return replace(known, balance=balance) if isinstance(balance, Decimal) else balance
