"""What people stop and slow besides single platforms: everything, a command, a sender, a batch; a platform's rate."""

from __future__ import annotations

import math
from typing import get_args

from worker.console.acting import reasoned
from worker.console.office import Office, Wrong
from worker.journal.console.people import Person
from worker.journal.journal import StoredJournal
from worker.journal.pauses import checked_rate
from worker.journal.port import Scope
from worker.messages.naming import as_type

SCOPES: tuple[Scope, ...] = get_args(Scope)
LONGEST = 300  # characters of a source or a batch


def about(scope: str, name: str) -> tuple[Scope, str]:
    """What is meant; raises Wrong where that makes no sense."""
    found: Scope | None = next((one for one in SCOPES if one == scope), None)
    name = name.strip()
    if found is None:
        raise Wrong(f"a pause is of {', '.join(SCOPES)}; a platform has its own")
    if found == "everything":
        return found, ""
    if not name:
        raise Wrong("say which one: a command's type, a source, or a batch")
    if len(name) > LONGEST or not name.isprintable():
        raise Wrong(f"a name has at most {LONGEST} characters, all of which can be seen")
    try:
        return found, as_type(name) if found == "command" else name
    except ValueError as error:
        raise Wrong(str(error)) from None


async def pause(office: Office, person: Person, scope: str, name: str, reason: str) -> tuple[Scope, str]:
    await office.allowed(person, "operator", "pause", scope=scope[:20], name=name[:60])
    what, which = about(scope, name)
    await _journal(office).stop(what, which, person.name, reasoned(reason))
    office.readiness.watch.forget()
    return what, which


async def resume(office: Office, person: Person, scope: str, name: str, reason: str) -> tuple[Scope, str]:
    await office.allowed(person, "operator", "resume", scope=scope[:20], name=name[:60])
    what, which = about(scope, name)
    if not await _journal(office).go_on(what, which, person.name, reasoned(reason)):
        raise Wrong("this is not paused: somebody else may have let it go on", 409)
    office.readiness.watch.forget()
    return what, which


async def lower(office: Office, person: Person, platform: str, rate: float, reason: str) -> None:
    """`rate`: calls a second, all processes together, until it is restored."""
    await office.allowed(person, "operator", "lower a rate", platform=platform[:40])
    _known(office, platform)
    try:
        wanted = checked_rate(rate, office.rates.get(platform, math.inf))
    except ValueError as error:
        raise Wrong(str(error)) from None
    await _journal(office).lower(platform, wanted, person.name, reasoned(reason))
    office.readiness.watch.forget()


async def restore(office: Office, person: Person, platform: str, reason: str) -> None:
    """As the settings say."""
    await office.allowed(person, "operator", "restore a rate", platform=platform[:40])
    _known(office, platform)
    if not await _journal(office).restore(platform, person.name, reasoned(reason)):
        raise Wrong("its rate is as the settings say: somebody else may have restored it", 409)
    office.readiness.watch.forget()


def _known(office: Office, platform: str) -> None:
    if platform not in office.kinds:
        raise Wrong(f"there is no platform {platform[:40]!r}: we know {', '.join(sorted(office.kinds))}", 404)


def _journal(office: Office) -> StoredJournal:
    return office.journal.journal
