"""Held against the platform before a command is sent: the subscriber, domain, profile and rate plan it names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from worker.domain.outcome import Busy, Ill, NotSent, Refused
from worker.platforms.port import Step, Unread
from worker.platforms.preview import Existing
from worker.platforms.sippulse.looks import Looks
from worker.platforms.sippulse.records import Absent, Name, Record, Records
from worker.platforms.sippulse.steps import NativeStep

MOST_NAMED = 20  # of what there is instead
CREATE = "insertSubscriber"
DOMAINS, PROFILES = "DomainWS.listDomains", "ProfileWS.listProfilesByDomain"
RATE_PLANS = "RatePlanWS.listRatePlansByDomain"


class Inspection:
    """Reads only."""

    def __init__(self, records: Records, looks: Looks) -> None:
        self._records, self._looks = records, looks

    async def existing(self, steps: Sequence[Step]) -> list[Existing]:
        found: list[Existing] = []
        domain = _said(steps, "domain")
        if domain is not None:
            found.append(await self._domain(str(domain)))
        username = _said(steps, "username")
        if domain is not None and username is not None:
            found.append(await self._subscriber(Name(str(username), str(domain)), steps))
        if domain is not None:
            found += await self._listed(str(domain), steps)
        return found

    async def _domain(self, domain: str) -> Existing:
        rows = await self._looks.rows(DOMAINS, {})
        what = f"domain {domain}"
        if not isinstance(rows, list):
            return unread(what, rows)
        names = [_name_of(row) for row in rows]
        if domain.lower() in (name.lower() for name in names):
            return Existing(what, there=True, wanted=True, said=f"{what} is there")
        text = f"{what} is not among those of this login: it has {listed(names)}"
        return Existing(what, there=False, wanted=True, said=text)

    async def _subscriber(self, name: Name, steps: Sequence[Step]) -> Existing:
        what = f"subscriber {name}"
        create = next((step for step in steps if step.name == CREATE), None)
        found = await self._records.subscriber(name)
        match found:
            case Record():
                return _there(what, create)
            case Absent(said):
                ends = "" if create else ": the command would be rejected not_found"
                own = f', the platform says: "{said}"' if said else ""
                text = f"there is no {what}{own}{ends}"
                return Existing(what, there=False, wanted=create is None, said=text)
            case other:
                return unread(what, other, wanted=create is None)

    async def _listed(self, domain: str, steps: Sequence[Step]) -> list[Existing]:
        """What is named by a name or a number that a list of the domain has."""
        asked = (
            ("profile", PROFILES, "profile", _said(steps, "profile")),
            ("profile", PROFILES, "id", _said(steps, "newProfileId")),
            ("rate plan", RATE_PLANS, "id", _said(steps, "ratePlanId")),
        )
        return [
            await self._one(kind, read, field, value, domain)
            for kind, read, field, value in asked
            if value is not None
        ]

    async def _one(self, kind: str, read: str, field: str, value: Any, domain: str) -> Existing:
        what = f"{kind} {value}"
        rows = await self._looks.rows(read, {"domain": domain})
        if not isinstance(rows, list):
            return unread(what, rows)
        if str(value) in (str(row.get(field)) for row in rows):
            return Existing(what, there=True, wanted=True, said=f"{what} is there in {domain}")
        text = f"there is no {what} in {domain}: it has {listed(_called(row, field) for row in rows)}"
        return Existing(what, there=False, wanted=True, said=text)


def _there(what: str, create: Step | None) -> Existing:
    if create is None:
        return Existing(what, there=True, wanted=True, said=f"{what} is there")
    if create.if_exists == "reject":
        text = f"{what} is there already: the command would be rejected already_exists (see if_exists)"
        return Existing(what, there=True, wanted=False, said=text)
    text = f"{what} is there already: if_exists = {create.if_exists}"
    return Existing(what, there=True, wanted=True, said=text)


def unread(what: str, why: Unread, *, wanted: bool = True) -> Existing:
    match why:
        case Refused() | Ill():
            reason = f"the platform says: {why.text}"
        case Busy():
            reason = "the platform is busy"
        case NotSent():
            reason = f"the platform cannot be reached ({why.why})"
        case other:
            reason = f"no whole answer came ({other.why})"
    return Existing(what, there=None, wanted=wanted, said=f"{what} could not be read: {reason}")


def listed(names: Iterable[str]) -> str:
    known = sorted({name for name in names if name})
    more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
    return (", ".join(known[:MOST_NAMED]) or "none") + more


def _called(row: Mapping[str, Any], field: str) -> str:
    """A number with the name it goes by."""
    name = row.get("name") or row.get("profile")
    return f"{row.get(field)} ({name})" if name and field == "id" else str(row.get(field) or "")


def _name_of(row: Mapping[str, Any]) -> str:
    """Which field of a domain holds its name is not documented."""
    return next((str(row[field]) for field in ("domain", "name") if row.get(field)), "")


def _said(steps: Sequence[Step], name: str) -> Any:
    """What the command says of a name, in whichever of its steps."""
    for step in steps:
        if isinstance(step, NativeStep):
            found = step.find(name)
        else:
            inside = (step.params, step.params.get("ordered") or {}, step.params.get("subscriber") or {})
            found = next((each[name] for each in inside if each.get(name) is not None), None)
        if found is not None:
            return found
    return None
