"""What explains a balance: calls that were rated meanwhile, or the operator's own look at credit entries.

Read before a credit, the records are asked first and the balance after them; read later it is the other way
round. So a call that is rated in between stands in the records at least, never in the balance alone: it can make
the figures inexplicable, and a person is asked, but it cannot make them look right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from worker.domain.effect import Effect
from worker.domain.evidence import MOST_CALLS, Reading
from worker.domain.outcome import NotSent
from worker.platforms.port import Step, Unread
from worker.platforms.sippulse.call_records.account import ACCOUNT, Account
from worker.platforms.sippulse.call_records.columns import amount, integer
from worker.platforms.sippulse.call_records.database import Cells, Database, Unreadable
from worker.settings.values import PARAMETERS, QUOTED

# Records become visible in the order of their commits, not of their ids: this many behind the highest are kept, so
# that one that comes late among them is seen.
BACK = 20
# More calls than can be judged are for a person anyhow.
MOST = 2 * MOST_CALLS + BACK
NO_COMMAND = "a-command-that-there-is-not"
MOST_ENTRIES = 3  # one, or more than one
NO_PRICE = Decimal(10**12)  # what is that much is none

_LAST = f"SELECT id, accountcode FROM vi_cdrs WHERE {ACCOUNT} ORDER BY id DESC LIMIT {BACK}"  # noqa: S608 - our own
_SINCE = (
    f"SELECT id, accountcode, price FROM vi_cdrs WHERE {ACCOUNT} AND id > %(floor)s"  # noqa: S608 - our own
    f" ORDER BY id LIMIT {MOST}"
)


class CallEvidence:
    """`select`: the setting `credit_evidence`, where it is one. `any_case`: calls of a name that differs from the
    account's in case alone count as its own; they can then only ask for a person, never hide a call."""

    def __init__(self, database: Database, select: str | None = None, any_case: bool = True) -> None:
        self._database = database
        self._any_case = any_case
        self._select = None if select is None else converted(select)

    def account(self, username: str, domain: str) -> Account:
        return Account(username, domain, self._any_case)

    async def shows_anything(self) -> bool:
        """Whether the operator's SELECT shows rows of a command that there is not. Raises Unreadable."""
        nobody = Step("addCredit", "", Effect.READ, {"obs": NO_COMMAND}, amount=Decimal("0.01"))
        return bool(await self._entries(self.account("nobody", "nowhere.invalid"), nobody))

    async def before(self, account: Account, step: Step) -> Reading | Unread:
        """The last calls, and entries of this command. The balance is to be read after it."""
        try:
            found = await self._database.select(_LAST, account.arguments)
            ids = [number(cells) for cells in found.rows]
            reading = Reading(last_call=max(ids, default=0), record={"recent_calls": ids})
            return replace(reading, entries=await self._entries(account, step))
        except Unreadable as error:
            return NotSent(str(error))

    async def after(self, account: Account, step: Step, before: Reading) -> Reading | Unread:
        """Prices of the calls that were not there before. The balance was read before this."""
        if before.last_call is None:  # there were no call records to be read then
            return Reading()
        try:
            return await self._after(account, step, before, before.last_call)
        except Unreadable as error:
            return NotSent(str(error))

    async def _after(self, account: Account, step: Step, before: Reading, last: int) -> Reading:
        recent = [int(each) for each in before.record.get("recent_calls", ())]
        floor = min(recent) - 1 if len(recent) >= BACK else 0
        found = await self._database.select(_SINCE, {**account.arguments, "floor": floor})
        ours = [cells for cells in found.rows if account.is_account(cells[1])]
        new = [(number(cells), price(cells)) for cells in ours if number(cells) not in recent]
        return Reading(
            last_call=max([last, *(each for each, _ in new)]),
            calls=tuple(cost for _, cost in new),
            entries=await self._entries(account, step),
            record={"calls": [each for each, _ in new]},
        )

    async def _entries(self, account: Account, step: Step) -> int | None:
        """How many credit entries the operator's SELECT shows, three at most."""
        if self._select is None:
            return None
        obs = str(step.params.get("obs", ""))
        values: Mapping[str, Any] = {
            "command": obs.partition(" ")[0],
            "obs": obs,
            "account": f"{account.username}@{account.domain.lower()}",
            "username": account.username,
            "domain": account.domain,
            "amount": step.amount or Decimal(0),
        }
        found = await self._database.select(self._select, values)
        return min(len(found.rows), MOST_ENTRIES)


def number(cells: Cells) -> int:
    found = integer(cells[0] or "")
    if found is None:
        raise Unreadable("vi_cdrs shows a call without a number as its id", lasting=True)
    return found


def price(cells: Sequence[Any]) -> Decimal:
    """Of one that is not rated yet nobody can say what it took."""
    found = amount(cells[2])
    if found is None or abs(found) >= NO_PRICE:
        raise Unreadable(f"call {number(cells)} in vi_cdrs has no price yet")
    return found


_NAMED = re.compile(rf"({QUOTED.pattern})|(?<![:\w]):({'|'.join(PARAMETERS)})\b")


def converted(select: str) -> str:
    """From `:name`, outside of quotes, to what the driver takes."""
    return _NAMED.sub(lambda found: found[1] or f"%({found[2]})s", select.replace("%", "%%"))
