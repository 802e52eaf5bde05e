"""Readings that the OpenAPI file alone cannot describe: a list that comes in pages, names with a prefix, rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from worker.domain.evidence import Reading
from worker.domain.outcome import Exchange, Refused, Unclear
from worker.messages.errors import Code
from worker.messages.rest.operations import Check
from worker.platforms.port import Memory, Unread
from worker.platforms.rest import Answered, RestStep
from worker.platforms.rest.looks import Looks, Nowhere, Seen, asked, is_it, rows_in
from worker.platforms.ringme.rules import Kept, rule_of
from worker.platforms.ringme.steps import LIST, RuleStep, is_named, operation

NOT_SHOWN = "not_shown"  # why a reading says nothing
MOST_PAGES = 1000  # of a list of internal numbers

Row = Mapping[str, Any]


class RingmeLooks(Looks):
    memory: Memory

    async def look(self, step: RestStep, before: Reading | None) -> Reading | Unread:
        if isinstance(step, RuleStep):
            return await self._rule(step)
        return await super().look(step, before)

    async def seen(self, step: RestStep, check: Check) -> tuple[Seen | Nowhere | Unread, Exchange]:
        if check.rows is None:
            return await super().seen(step, check)
        if check.read != operation(self._table, LIST).type:
            return await self._listed(step, check)
        found, exchange = await self.numbered(step.params["client_id"], str(step.params["name"]))
        if isinstance(found, Refused) and found.code is Code.NOT_FOUND:
            return Nowhere(found), exchange
        return (Seen(found) if isinstance(found, list) else found), exchange

    async def _listed(self, step: RestStep, check: Check) -> tuple[Seen | Nowhere | Unread, Exchange]:
        """As every platform's, but that a list whose entries do not show what to look for proves no absence:
        of most lists here nobody shows the answer."""
        read = self._table[check.read]
        heard = await self._client.call(read, asked(read, check, step.params))
        match heard.what:
            case Answered(value):
                self._answered.add(read.type)
                rows = list(rows_in(value, check.rows or ""))
                if not all(field in row for row in rows for field in check.same):
                    return Unclear(NOT_SHOWN), heard.exchange
                return Seen([row for row in rows if is_it(row, check, step.params)]), heard.exchange
            case Refused(Code.NOT_FOUND) as refused:
                return Nowhere(refused), heard.exchange
            case unread:
                return unread, heard.exchange

    async def numbered(self, client_id: int, number: str) -> tuple[list[Row] | Unread, Exchange]:
        """The internal numbers of that name: none means that all pages of the list were seen.

        How long a page is, and what follows the last one, nobody says: an empty page ends the list, and one
        that brings nothing new (this server may know no pages).
        """
        read, known = operation(self._table, LIST), set[str]()
        for page in range(1, MOST_PAGES + 1):
            heard = await self._client.call(read, {"client_id": client_id, "page": page})
            if not isinstance(heard.what, Answered):
                return heard.what, heard.exchange
            rows = list(rows_in(heard.what.value, ""))
            if not all("name" in row for row in rows):
                return Unclear(NOT_SHOWN), heard.exchange
            found: list[Row] = [row for row in rows if is_named(row, number)]
            fresh = {str(row.get("id")) for row in rows} - known
            if found or not fresh:
                return found, heard.exchange
            known |= fresh
        return Refused(Code.PLATFORM_REFUSED, "the list of internal numbers does not end"), heard.exchange

    async def _rule(self, step: RuleStep) -> Reading | Unread:
        heard = await self._client.call(step.read, asked_of(step))
        if isinstance(heard.what, Refused) and heard.what.code is Code.NOT_FOUND and heard.what.certain:
            return Reading(present=False, matches=False)
        if not isinstance(heard.what, Answered):
            return heard.what
        now, kept = rule_of(heard.what.value), await Kept.recalled(self.memory, step.of)
        if step.block:
            return Reading(present=True, matches=now == step.rule)
        freed = now not in blocking(step, kept)
        if freed and kept is not None:
            await kept.forget(self.memory, step.of)
        return Reading(present=True, matches=freed)


def asked_of(step: RuleStep) -> dict[str, Any]:
    return {each.name: step.params[each.name] for each in step.read.asked if each.name in step.params}


def blocking(step: RuleStep, kept: Kept | None) -> Sequence[int]:
    """The lists that let no call out: the one of the settings, and the one that was put in place."""
    return [rule for rule in (step.rule, None if kept is None else kept.rule) if rule is not None]
