"""What people do, for pages and API alike: the role is asked first, and every allow and deny is written down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from worker.console.office import Office, Wrong
from worker.domain.redaction import MASK, without_secrets
from worker.journal.commands.acts import ActRefused
from worker.journal.commands.acts import data_of as stored
from worker.journal.console import bulk, people
from worker.journal.console.lists import Wanted
from worker.journal.console.people import Person
from worker.journal.quarantine.mending import masked_in, with_secrets
from worker.messages.catalogue import check
from worker.messages.envelope import Envelope
from worker.messages.errors import Problem


def reasoned(reason: str) -> str:
    """Raises Wrong without one: it stands in the audit record."""
    reason = " ".join(reason.split())
    if not reason:
        raise Wrong("say why: it stands in the audit record")
    if "\0" in reason or len(reason) > 500:
        raise Wrong("a reason is one sentence of at most 500 characters")
    return reason


async def _refused(office: Office, person: Person, act: str, number: int, error: ActRefused) -> Wrong:
    """It was allowed and could not be done: that, too, is written down."""
    await office.journal.denied(person, act, str(error), {"command": number})
    return Wrong(str(error), 404 if str(error).startswith("no command") else 409)


async def simple(
    office: Office, person: Person, act: str, number: int, reason: str, dependents: bool = False
) -> dict[str, Any]:
    """Retry, cancel or archive one command. Raises NotAllowed, or Wrong where its state forbids it.

    `dependents`: of a retry, those that ended because this one did come along.
    """
    await office.allowed(person, "operator", act, command=number)
    why = reasoned(reason)
    journal = office.journal.journal
    does = {"retry": journal.retry, "cancel": journal.cancel, "archive": journal.archive}[act]
    if dependents and act != "retry":
        raise Wrong("dependents come along with a retry only")
    try:
        if dependents:
            return await journal.retry(f"#{number}", person.name, why, dependents)
        return await does(f"#{number}", person.name, why)
    except ActRefused as error:
        raise await _refused(office, person, act, number, error) from None


async def resolve(
    office: Office, person: Person, number: int, applied: bool, reason: str, waive: bool
) -> dict[str, Any]:
    """A person says what took effect; before the window's end only an admin may (rule 8.1).

    One that did not take effect is run again in a second act: `simple(..., "retry", ...)`.
    """
    await office.allowed(person, "admin" if waive else "operator", "resolve", command=number, waive=waive)
    why = reasoned(reason)
    try:
        return await office.journal.journal.resolve(f"#{number}", applied, person.name, why, waive)
    except ActRefused as error:
        raise await _refused(office, person, "resolve", number, error) from None


async def resolve_and_run(
    office: Office, person: Person, number: int, reason: str, waive: bool
) -> dict[str, Any]:
    """It did not take effect: run it again."""
    done = await resolve(office, person, number, False, reason, waive)
    if done["effect"] == "applied":  # of earlier steps: a person looks before anything more goes out
        return done
    return await simple(office, person, "retry", number, reason)


# ---------------------------------------------------------------- edit and retry


async def data_without_secrets(office: Office, number: int) -> dict[str, Any]:
    journal = office.journal.journal
    _, data = await office.journal.reader.read(lambda tx: stored(tx, journal.core, f"#{number}"))
    return dict(without_secrets(data))


async def edit(
    office: Office, person: Person, number: int, text: str, reason: str, dependents: bool = False
) -> dict[str, Any]:
    """Run an ended command again with other data. `***` keeps the secret that is there."""
    await office.allowed(person, "operator", "edit", command=number)
    why = reasoned(reason)
    new = _read(text)
    journal = office.journal.journal
    try:
        row, old = await office.journal.reader.read(lambda tx: stored(tx, journal.core, f"#{number}"))
        whole = with_secrets(new, old)
        changes = {name: value for name, value in whole.items() if old.get(name) != value}
        changes |= {name: None for name in old if name not in whole}
        if (secret := masked_in(whole)) is not None:
            raise Wrong(f"{secret}: the mask {MASK} stands for no secret here: write the secret itself")
        if not changes:
            raise Wrong("nothing was changed: retry it as it is")
        before = {"source": row["source"], "partition_key": row["partition_key"]}
        return await journal.edit(
            f"#{number}",
            changes,
            lambda type, data: _check(office, before, type, data),
            person.name,
            why,
            dependents,
        )
    except ActRefused as error:
        raise await _refused(office, person, "edit", number, error) from None


def _read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise Wrong("this is not JSON") from None
    if not isinstance(found, dict):
        raise Wrong("the data of a command is a JSON object")
    return found


def _check(office: Office, before: Mapping[str, Any], type: str, data: Mapping[str, Any]) -> None:
    """An edited command is as valid as one that comes in, and is about the same object (rule 4.1)."""
    checked = check(Envelope("edited", before["source"], type, data, reply_to="kept"), office.kinds)
    if isinstance(checked, Problem):
        raise ActRefused(f"the edited command is not valid: {checked.message}")
    if checked.partition_key != before["partition_key"]:
        raise ActRefused(
            f"an edit keeps the object, {before['partition_key']}: send a new command for another one"
        )


# ---------------------------------------------------------------- groups and platforms


async def on_group(office: Office, person: Person, number: int, act: str, text: str) -> None:
    """`text`: the note itself, else the reason."""
    if act not in ("note", "archive", "restore"):
        raise Wrong(f"there is no act {act[:40]!r}", 404)
    await office.allowed(person, "operator", f"group {act}", group=number)
    if await office.journal.group(min(number, 1 << 62)) is None:
        raise Wrong(f"there is no failure group {number}", 404)
    if act == "note":
        await office.journal.note(number, " ".join(text.replace("\0", "").split())[:2000], person.name)
    elif not await office.journal.archive_group(number, act == "archive", person.name, reasoned(text)):
        raise Wrong(
            f"it is {'archived' if act == 'archive' else 'open'} already: somebody else may have done it", 409
        )


async def on_platform(office: Office, person: Person, name: str, act: str, reason: str) -> None:
    """Pause, or resume: that ends a hold as well."""
    if act not in ("pause", "resume"):
        raise Wrong(f"there is no act {act[:40]!r}", 404)
    await office.allowed(person, "operator", f"{act} platform", platform=name[:40])
    if name not in office.kinds:
        raise Wrong(f"there is no platform {name[:40]!r}: we know {', '.join(sorted(office.kinds))}", 404)
    why = reasoned(reason)
    journal = office.journal.journal
    if act == "pause":
        await journal.pause(name, person.name, why)
    else:
        await journal.resume(name, person.name, why)


# ---------------------------------------------------------------- people


def _role(role: str) -> people.Role:
    for known in people.ROLES:
        if role == known:
            return known
    raise Wrong(f"a role is one of {', '.join(people.ROLES)}")


def _named(name: str) -> str:
    name = name.strip()
    if not (1 < len(name) <= 60 and all(sign.isalnum() or sign in "._-@" for sign in name)):
        raise Wrong("a name has 2 to 60 letters, digits, or one of . _ - @")
    return name


async def put_user(office: Office, person: Person, name: str, role: str, password: str, reason: str) -> None:
    await office.allowed(person, "admin", "change a user", user=name[:60])
    named, as_role, why = _named(name), _role(role), reasoned(reason)
    journal = office.journal.journal
    known = await journal.run(lambda tx: people.user(tx, named))
    if named == person.name and as_role != "admin":
        raise Wrong("you cannot take the admin's role from yourself: another admin can")
    if known is None and not password:
        raise Wrong("a new user needs a password")
    if known is not None and known.issuer and password:
        raise Wrong("this person comes from the provider, and has no password here")
    hash = await office.hashed(password) if password else None
    await journal.run(lambda tx: people.put_user(tx, named, as_role, hash, person.name, why))


async def disable_user(office: Office, person: Person, name: str, reason: str) -> None:
    await office.allowed(person, "admin", "disable a user", user=name[:60])
    why = reasoned(reason)
    if name == person.name:
        raise Wrong("you cannot disable yourself: another admin can")
    if not await office.journal.journal.run(lambda tx: people.disable_user(tx, name[:60], person.name, why)):
        raise Wrong(f"there is no active user {name[:60]!r}", 404)


async def make_token(office: Office, person: Person, name: str, role: str, days: str, reason: str) -> str:
    """The token, which is shown this once."""
    await office.allowed(person, "admin", "make a token", token=name[:60])
    named, as_role, why = _named(name), _role(role), reasoned(reason)
    if not days.isascii() or not days.isdecimal() or not 1 <= int(days) <= 3650:
        raise Wrong("a token lives from 1 to 3650 days")
    try:
        return await office.journal.journal.run(
            lambda tx: people.make_token(tx, named, as_role, float(days), person.name, why)
        )
    except people.NameTaken:
        raise Wrong(f"a live token is called {named}: revoke it, or choose another name", 409) from None


async def revoke_token(office: Office, person: Person, number: int, reason: str) -> None:
    await office.allowed(person, "admin", "revoke a token", token=number)
    why = reasoned(reason)
    if not await office.journal.journal.run(
        lambda tx: people.revoke_token(tx, min(number, 1 << 62), person.name, why)
    ):
        raise Wrong(f"there is no live token {number}", 404)


# ---------------------------------------------------------------- acts on many


def _bulk(what: str) -> bulk.Act:
    for known in bulk.ACTS:
        if what == known:
            return known
    raise Wrong(f"on many commands there are {', '.join(bulk.ACTS)}", 404)


async def preview(
    office: Office, person: Person, what: str, wanted: Wanted, superseded: bool
) -> bulk.Preview:
    act = _bulk(what)
    await office.allowed(person, "operator", f"{act} many")
    if replace(wanted, before=None, archived=False) == Wanted():
        raise Wrong("an act on everything is none: filter by platform, state, code, group or batch first")
    return await office.journal.preview(act, wanted, superseded)


async def begin(
    office: Office,
    person: Person,
    what: str,
    wanted: Wanted,
    superseded: bool,
    reason: str,
    count: int,
    last: int | None,
) -> int:
    """Begin the act on what the preview counted: commands newer than its `last` are left out, as nobody saw them.

    Raises Wrong where meanwhile many more fit; where `last` is not told, already where one more does.
    """
    why = reasoned(reason)
    seen = await preview(office, person, what, wanted, superseded)
    if last is not None:
        seen = replace(seen, numbers=tuple(number for number in seen.numbers if number <= last))
    if not seen.numbers:
        raise Wrong("nothing is left that this act applies to", 409)
    if len(seen.numbers) > (count if last is None else count * 1.1 + 5):
        raise Wrong(f"it was {count} commands, now it is {len(seen.numbers)}: look at the preview again", 409)
    number = await office.journal.begin(seen, wanted, person.name, why)
    office.runner.begin(number)
    return number


async def stop(office: Office, person: Person, number: int, reason: str) -> None:
    await office.allowed(person, "operator", "stop an act", bulk=number)
    text = f"stopped by {person.name}: {reasoned(reason)}"
    if not await office.journal.end_bulk(min(number, 1 << 62), person.name, text):
        raise Wrong("this act has ended already", 409)
