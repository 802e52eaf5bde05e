"""number.*: public numbers of a subscriber, by DidWS."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from worker.domain.effect import Effect
from worker.domain.evidence import Reading
from worker.domain.outcome import Done, Exchange, Refused
from worker.messages.errors import Code
from worker.platforms.port import Guard, Reply, Unread
from worker.platforms.reading import not_sent, within
from worker.platforms.sippulse.answers import Answered
from worker.platforms.sippulse.client import Client
from worker.platforms.sippulse.fields import money, same, shown
from worker.platforms.sippulse.looks import Looks, Row
from worker.platforms.sippulse.records import Absent, Name, Record, Records, nobody
from worker.platforms.sippulse.steps import NumberStep

LIST, AVAILABLE = "DidWS.listByAcc", "DidWS.listAvailablesNumbers"


class Numbers:
    """`timeout`: seconds for a read that is the command; `brief`: for reads beside the call."""

    def __init__(
        self, client: Client, records: Records, looks: Looks, *, pool: bool, timeout: float, brief: float
    ) -> None:
        """`pool`: a number is given only if the platform lists it as available."""
        self._client, self._records, self._looks, self._pool = client, records, looks, pool
        self._timeout, self._brief = timeout, brief

    async def call(self, step: NumberStep, guard: Guard) -> Reply:
        began = time.monotonic()
        said: Mapping[str, Any] | Done | Unread
        match step.name:
            case "listByAcc":
                said = await within(self._timeout, self._listed(step))
            case "insertDid":
                said = await within(self._brief, self._ready(step))
            case "deleteDid":
                return await self._release(step, guard)
            case _:
                said = await within(self._brief, self._reloaded(step))
        if isinstance(said, Mapping):
            return await self._do(step, said, guard)
        aside = Exchange(step.endpoint, round((time.monotonic() - began) * 1000, 3))
        return Reply(said if isinstance(said, Done) or step.effect is Effect.READ else not_sent(said), aside)

    async def look(self, step: NumberStep) -> Reading | Unread:
        """What the subscriber's list shows of an assignment, a release or a list."""
        rows = await self._rows(step)
        if not isinstance(rows, list):
            return rows
        row = self._row(step, rows)
        if row is None:
            return Reading(present=False)
        if step.effect is not Effect.CREATE:
            return Reading(present=True, platform_id=platform_id(row), record=entry(row))
        wrong = tuple(differing(step, row))
        return Reading(True, not wrong, wrong, platform_id(row), record=entry(row))

    # Calls ----------------------------------------------------------------------------------------

    async def _listed(self, step: NumberStep) -> Done | Unread:
        """All numbers, or the one that is to go."""
        rows = await self._rows(step)
        if not isinstance(rows, list):
            return rows
        if step.number is None:
            return Done({"numbers": [entry(row) for row in rows]})
        row = self._row(step, rows)
        if row is None or row.get("id") is None:
            why = f"the number {step.number} is not one of {step.who}'s"
            return Refused(Code.NOT_FOUND, why, certain=True)
        return Done({"number": step.number, "platform_id": platform_id(row)})

    async def _ready(self, step: NumberStep) -> Mapping[str, Any] | Unread:
        """The entry for a subscriber that is there, under its own account, for a number that is free."""
        account = await self._account(step)
        if not isinstance(account, str):
            return account
        did = {**step.ordered, "accountCode": account}
        if self._pool:
            taken = await self._taken(str(did["aliasUsername"]), str(did["domain"]))
            if taken is not None:
                return taken
        return {"did": did}

    async def _taken(self, number: str, domain: str) -> Unread | None:
        what = (await self._client.call(AVAILABLE, {"domain": domain})).what
        if isinstance(what, Refused) and what.code is Code.UNSUPPORTED_BY_SERVER:
            return None
        if not isinstance(what, Answered):
            return what
        if number in (what.value if isinstance(what.value, list) else [what.value]):
            return None
        why = (
            f"the platform does not list {number} as available in {domain}: it is somebody else's, or not in "
            "its pool of numbers"
        )
        return Refused(Code.NOT_FOUND, why, certain=True)

    async def _release(self, step: NumberStep, guard: Guard) -> Reply:
        """It is looked for first: after the call it is gone."""
        began = time.monotonic()
        before = await within(self._brief, self.look(step))
        aside = Exchange(step.endpoint, round((time.monotonic() - began) * 1000, 3))
        if not isinstance(before, Reading):
            return Reply(not_sent(before), aside)
        if before.platform_id is None:
            why = f"the number {step.number} is not one of {step.who}'s any more"
            return Reply(Refused(Code.NOT_FOUND, why, certain=True), aside)
        reply = await self._do(step, {"didId": int(before.platform_id)}, guard, removed=before.record)
        return replace(reply, before=before)

    async def _reloaded(self, step: NumberStep) -> Mapping[str, Any] | Unread:
        """The entry's id: of this command's, or looked up where a person settled what it did."""
        if (known := step.params.get("didId")) is not None:
            return {"didId": known}
        rows = await self._rows(step)
        if not isinstance(rows, list):
            return rows
        row = self._row(step, rows)
        if row is None or row.get("id") is None:
            why = f"the platform has no id of the number {step.number} to reload it by"
            return Refused(Code.NOT_FOUND, why, certain=True)
        return {"didId": row["id"]}

    async def _do(self, step: NumberStep, what: Mapping[str, Any], guard: Guard, **output: Any) -> Reply:
        heard = await self._client.call(
            step.endpoint, what, guard=guard, fresh=step.effect.needs_fresh_connection
        )
        if not isinstance(heard.what, Answered):
            return Reply(heard.what, heard.exchange)
        if step.effect is Effect.CREATE:
            value = heard.what.value
            output |= {"platform_id": None if value is None else str(value)}
            output |= {"adopted": False, "differences": []}
        return Reply(Done(output), heard.exchange)

    # Reads ----------------------------------------------------------------------------------------

    async def _account(self, step: NumberStep) -> str | Unread:
        """As the platform writes it, which may keep domains in its own case. Not found: there is nobody."""
        found = await self._records.subscriber(step.who)
        if isinstance(found, Record):
            own = Name(str(found.fields["username"]), str(found.fields.get("domain") or step.who.domain))
            return str(found.fields.get("accountCode") or own)
        return nobody(step.who) if isinstance(found, Absent) else found

    async def _rows(self, step: NumberStep) -> list[dict[str, Any]] | Unread:
        account = await self._account(step)
        if not isinstance(account, str):
            return account
        return await self._looks.rows(LIST, {"accountCode": account})

    def _row(self, step: NumberStep, rows: list[dict[str, Any]]) -> Row | None:
        """By the platform's id where it is known: the number may have been given anew."""
        known = step.params.get("didId")
        if known is not None:
            return next((row for row in rows if row.get("id") == known), None)
        return next((row for row in rows if row.get("aliasUsername") == step.number), None)


def entry(row: Row) -> dict[str, Any]:
    """A number as results say it."""
    fee = row.get("monthlySubscription")
    return {
        "number": row.get("aliasUsername"),
        "platform_id": platform_id(row),
        "monthly_fee": None if fee is None else shown(money(fee)),
        "toll_free": bool(row.get("reverseBilling")),
    }


def platform_id(row: Row) -> str | None:
    return None if row.get("id") is None else str(row["id"])


def differing(step: NumberStep, row: Row) -> list[str]:
    """Our names of what was ordered and is otherwise."""
    fields = (("monthly_fee", "monthlySubscription", "double"), ("toll_free", "reverseBilling", "boolean"))
    return [
        ours
        for ours, wire, kind in fields
        if ours in step.named and not same(kind, step.ordered.get(wire), row.get(wire))
    ]
