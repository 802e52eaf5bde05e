"""Asking the platform, before anything is sent, whether what the rows name is there.

Everything is read through the platform's port, with the commands that anybody may send: the lists once, and each
subscriber once, a few at a time and no faster than half the platform's rate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.domain.outcome import Done, Refused
from worker.messages.errors import Code, Problem
from worker.onboarding.fields import take
from worker.onboarding.rows import Finding, Made
from worker.platforms.port import Order, Platform

TRIES = 3


class NotAsked(Exception):
    """The platform does not answer; the sentence says what was asked and what it said."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of the platform: the command that reads it, by what, where it stands in the answer, its names."""

    what: str  # for people: profile, rate plan, domain
    field: str  # of subscriber.create
    command: str
    by: str | None  # a field of the row that the list is asked for; None: one list for all
    rows: str  # in the output
    names: tuple[str, ...]  # columns of the list, any of which may be what the field says
    fold: bool = False


LISTS: Mapping[str, tuple[ListOf, ...]] = {
    "sippulse": (
        ListOf(
            "domain",
            "subscriber.domain",
            "sippulse.DomainWS.listDomains.v1",
            None,
            "domain",
            ("domain",),
            True,
        ),
        ListOf(
            "profile",
            "profile",
            "sippulse.ProfileWS.listProfilesByDomain.v1",
            "subscriber.domain",
            "profile",
            ("profile",),
        ),
        ListOf(
            "rate plan",
            "rate_plan_id",
            "sippulse.RatePlanWS.listRatePlansByDomain.v1",
            "subscriber.domain",
            "ratePlan",
            ("id",),
        ),
    )
}


class _Reading:
    """The guard of a read: it may always go."""

    def before_first_byte(self) -> None:
        return

    def wrote(self) -> None:
        return


@dataclass(slots=True)
class Against:
    """One platform, asked on behalf of one file. `rate`: reads a second; `at_once`: reads at a time."""

    platform: Platform
    rate: float
    at_once: int
    _known: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    _next: float = 0.0

    async def __call__(self, rows: Sequence[Made]) -> list[Finding]:
        """What the rows name that is not there. Raises NotAsked."""
        findings = []
        for one in rows:
            findings += await self._listed(one)
        bad = {one.row for one in findings}
        gate = asyncio.Semaphore(self.at_once)
        asked = [self._subscriber(one, gate) for one in rows if one.number not in bad]
        return findings + [finding for finding in await asyncio.gather(*asked) if finding is not None]

    async def _listed(self, one: Made) -> list[Finding]:
        found: list[Finding] = []
        for type, data in one.commands:
            if type != "subscriber.create.v1":
                continue
            for each in LISTS.get(self.platform.kind, ()):
                finding = await self._in_list(one, data, each)
                if finding is not None:
                    return [finding]  # without its domain the others cannot be asked for
        return found

    async def _in_list(self, one: Made, data: Mapping[str, Any], each: ListOf) -> Finding | None:
        value = take(data, each.field)
        if value is None:
            return None
        by = "" if each.by is None else str(take(data, each.by))
        names = await self._names(each, by)
        wanted = str(value).lower() if each.fold else str(value)
        if wanted in names:
            return None
        some = ", ".join(sorted(names)[:10]) or "none"
        sentence = f"{self.platform.name} has no such {each.what}{f' in {by}' if by else ''}: it has {some}"
        return Finding(
            one.number, "", f"subscriber.create {each.field}", str(value), sentence, "not_on_platform"
        )

    async def _names(self, each: ListOf, by: str) -> frozenset[str]:
        """Read once."""
        key = (each.command, by.lower())
        if key not in self._known:
            data = {"platform": self.platform.name} | ({"domain": by} if each.by else {})
            output = await self._read(each.command, data, f"the {each.what}s")
            rows = _list_in(output, each.rows)
            values = (
                str(row.get(name))
                for row in rows
                for name in each.names
                if isinstance(row, Mapping) and name in row
            )
            self._known[key] = frozenset(value.lower() if each.fold else value for value in values)
        return self._known[key]

    async def _subscriber(self, one: Made, gate: asyncio.Semaphore) -> Finding | None:
        type, data = one.commands[0]
        who = data.get("subscriber")
        if not isinstance(who, Mapping):
            return None
        async with gate:
            await self._pace()
            there = await self._read(
                "subscriber.get.v1", {"platform": self.platform.name, "subscriber": who}, "a subscriber"
            )
        name = "@".join(str(part) for part in who.values())
        if (
            type == "subscriber.create.v1"
            and there is not None
            and data.get("if_exists", "reject") == "reject"
        ):
            return Finding(
                one.number,
                "",
                "subscriber",
                name,
                f"it exists on {self.platform.name} already",
                "already_exists",
            )
        if type != "subscriber.create.v1" and there is None:
            return Finding(
                one.number, "", "subscriber", name, f"it does not exist on {self.platform.name}", "not_found"
            )
        return None

    async def _pace(self) -> None:
        loop = asyncio.get_running_loop()
        self._next = max(self._next, loop.time()) + 1 / self.rate
        await asyncio.sleep(self._next - 1 / self.rate - loop.time())

    async def _read(self, command: str, data: Mapping[str, Any], what: str) -> Mapping[str, Any] | None:
        """The answer; None: not found. Raises NotAsked."""
        steps = self.platform.plan(Order("check", command, data))
        if isinstance(steps, Problem):
            raise NotAsked(f"{self.platform.name} cannot be asked for {what}: {steps.message}")
        said: object = None
        for _ in range(TRIES):
            outcome = (await self.platform.call(steps[0], _Reading())).outcome
            if isinstance(outcome, Done):
                return outcome.output
            if isinstance(outcome, Refused) and outcome.code is Code.NOT_FOUND:
                return None
            said = outcome
            await asyncio.sleep(0.2)
        raise NotAsked(
            f"{self.platform.name} was asked for {what} and answered {type(said).__name__}: {_why(said)}"
        )


def _list_in(output: Mapping[str, Any] | None, name: str) -> list[Any]:
    value: Any = (output or {}).get(name)
    if value is None:
        value = next((one for one in (output or {}).values() if isinstance(one, (list, Mapping))), [])
    if isinstance(value, Mapping):
        inner = value.get(name)
        value = inner if isinstance(inner, list) else [value]
    return value if isinstance(value, list) else []


def _why(outcome: object) -> str:
    return str(getattr(outcome, "text", None) or getattr(outcome, "why", None) or "no reason")
