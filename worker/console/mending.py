"""A refused message: looked at, mended and sent again, dropped. For pages and API alike."""

from __future__ import annotations

import json
from typing import Any

from worker.console.acting import reasoned
from worker.console.office import Office, Wrong
from worker.journal.commands.acts import ActRefused
from worker.journal.console.people import Person
from worker.journal.quarantine import resending
from worker.journal.quarantine.mending import Sheet
from worker.journal.quarantine.resending import Looked, Rules, Unsent


def rules(office: Office) -> Rules:
    return Rules(office.kinds, office.max_bytes)


async def look(office: Office, person: Person, uid: str, reason: str) -> Looked:
    """Its reason stands in the audit record."""
    await office.allowed(person, "operator", "look at a quarantined message", refused_message=uid[:40])
    why = reasoned(reason)
    found = await resending.look(office.journal.journal, uid[:40], person.name, why, rules(office))
    if found is None:
        raise Wrong("there is no such message in quarantine", 404)
    return found


async def send(office: Office, person: Person, uid: str, sheet: Sheet, reason: str) -> dict[str, Any]:
    """Raises Wrong for what would be refused again, what is gone, or where RabbitMQ does not take it."""
    await office.allowed(person, "operator", "send a quarantined message again", refused_message=uid[:40])
    why = reasoned(reason)
    if office.post is None:
        raise Wrong("this process has no way to RabbitMQ: use `worker quarantine send`", 409)
    journal = office.journal.journal
    try:
        return await resending.send(journal, office.post, uid[:40], sheet, person.name, why, rules(office))
    except ActRefused as error:
        raise await _refused(office, person, "send a quarantined message again", uid, error) from None
    except Unsent as error:
        raise Wrong(str(error), 503) from None


async def drop(office: Office, person: Person, uid: str, reason: str) -> dict[str, Any]:
    await office.allowed(person, "operator", "drop a quarantined message", refused_message=uid[:40])
    why = reasoned(reason)
    try:
        return await resending.drop(office.journal.journal, uid[:40], person.name, why)
    except ActRefused as error:
        raise await _refused(office, person, "drop a quarantined message", uid, error) from None


async def _refused(office: Office, person: Person, act: str, uid: str, error: ActRefused) -> Wrong:
    await office.journal.denied(person, act, str(error), {"refused_message": uid[:40]})
    return Wrong(str(error), 404 if str(error).startswith("no message") else 409)


def read_sheet(attributes: str, data: str, headers: str, reply_to: str) -> Sheet:
    """From the fields of a form. Raises Wrong for what is not JSON."""
    return Sheet(
        _object("the attributes", attributes), _object("the data", data), _object("the headers", headers),
        reply_to.strip() or None,
    )  # fmt: skip


def _object(what: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = (
            f", line {error.lineno} column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        )
        raise Wrong(f"{what} cannot be read as JSON{where}") from None
    if not isinstance(found, dict):
        raise Wrong(f"{what} have to be a JSON object, in braces")
    return found
