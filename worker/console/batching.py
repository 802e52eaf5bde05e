"""Batches, for pages and API alike: looks, acts on one, and files on their way to become one.

Reading files and sending rows is onboarding's: it stands behind a port, and the process hands it in.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import asdict
from typing import Any, Literal, Protocol, TypeVar

from worker.console.acting import reasoned
from worker.console.office import DOT, Office, Wrong
from worker.journal.batches.batches import Batches, UnknownBatch
from worker.journal.batches.uploads import Unfit, Upload, Uploads
from worker.journal.console import batches as looks
from worker.journal.console import people
from worker.journal.console.people import Person

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
ACTS = ("pause", "resume", "rate", "cancel")
ROWS = looks.STATES

Form = Literal["csv", "xlsx"]
T = TypeVar("T")


class BatchDesk(Protocol):
    """Files of rows: taken in, tried, sent. Every method that acts raises Unfit with a sentence."""

    most: int  # bytes of a file
    uploads: Uploads

    def start(self) -> None: ...
    async def stop(self) -> None: ...
    def commands(self, platform: str) -> list[str]: ...
    def batch_name(self, upload: Upload) -> str: ...
    def mapping(self, upload: Upload, platform: str, command: str) -> str: ...
    async def take(self, name: str, chunks: AsyncIterator[bytes], by: str) -> int: ...
    async def plan(self, upload: Upload, platform: str, given: Mapping[str, Any]) -> None: ...
    async def preview(self, upload: Upload) -> list[dict[str, Any]]: ...
    async def check(self, upload: Upload, by: str, against: bool, repeats: bool) -> None: ...
    async def go(
        self, upload: Upload, by: str, reason: str, wish: Mapping[str, Any], seen: float | None
    ) -> str: ...
    def report(self, name: str, form: Form) -> AsyncIterator[bytes]: ...
    def problems(self, upload: Upload) -> AsyncIterator[bytes]: ...


# ---------------------------------------------------------------- looks


async def one(office: Office, person: Person, name: str) -> dict[str, Any]:
    """A batch with its figures and the most frequent causes of failure. Raises Wrong."""
    found = await _found(office, name)
    causes = await office.journal.reader.read(lambda tx: looks.causes(tx, found))
    rate, left = office.speeds.of(found)
    shown = [asdict(one) | {"example": one.example if person.may("operator") else DOT} for one in causes]
    ended = sum(found["rows"][state] for state in ("done", "failed", "parked", "bad"))
    return found | {"causes": shown, "speed": rate, "left": left, "ended": ended}


async def _found(office: Office, name: str) -> dict[str, Any]:
    found = None
    if NAME.fullmatch(name):
        found = await office.journal.reader.read(lambda tx: looks.one(tx, name))
    if found is None:
        raise Wrong(f"there is no batch {name[:100]!r}", 404)
    return found


async def known(office: Office, name: str) -> bool:
    """Whether it has begun: until its file was checked once more, it has not."""
    return await office.journal.reader.read(lambda tx: looks.one(tx, name)) is not None


async def listing(
    office: Office, before: int | None, limit: int = 20
) -> tuple[list[dict[str, Any]], int | None]:
    return await office.journal.reader.read(lambda tx: looks.listing(tx, before, limit))


async def rows(
    office: Office, person: Person, name: str, state: str, after: int
) -> tuple[list[dict[str, Any]], int | None]:
    """Rows of a batch, without what names a customer where a viewer looks."""
    if state and state not in ROWS:
        raise Wrong(f"the state of a row is one of {', '.join(ROWS)}")
    found = await _found(office, name)
    core = office.journal.journal.core
    lines, more = await office.journal.reader.read(
        lambda tx: looks.lines(tx, core, found, state or None, min(after, looks.END))
    )
    return (lines if person.may("operator") else [_masked(line) for line in lines]), more


def _masked(line: Mapping[str, Any]) -> dict[str, Any]:
    problem = line["problem"] and {**line["problem"], "message": DOT}
    return {**line, "keys": {name: DOT for name, value in line["keys"].items() if value}, "problem": problem}


# ---------------------------------------------------------------- acts on one


async def act(
    office: Office, person: Person, what: str, name: str, reason: str, rate: float | None = None
) -> dict[str, Any]:
    """Pause, resume, cancel, or change the rate: rows a second, None without a limit."""
    if what not in ACTS:
        raise Wrong(f"there is no act {what[:40]!r}", 404)
    await office.allowed(person, "operator", f"{what} batch", batch=name[:100])
    why = reasoned(reason)
    found = await _found(office, name)
    batches = Batches(office.journal.journal)
    try:
        return await _act(batches, found, what, person.name, why, rate)
    except UnknownBatch:
        raise Wrong(f"there is no batch {name[:100]!r}", 404) from None


async def _act(
    batches: Batches, found: Mapping[str, Any], what: str, actor: str, why: str, rate: float | None
) -> dict[str, Any]:
    name = found["name"]
    if what == "pause":
        await batches.pause(name, actor, why)
    elif what == "resume":
        if not found["paused_by"]:
            raise Wrong("it is not paused", 409)
        await batches.resume(name, actor, why)
    elif what == "rate":
        await batches.set_rate(name, rate or None, actor, why)
    else:
        return {"batch": name, "done": what, "cancelled": await _cancel(batches, found, actor, why)}
    return {"batch": name, "done": what}


async def _cancel(batches: Batches, found: Mapping[str, Any], actor: str, why: str) -> int:
    if found["state"] == "cancelled":
        raise Wrong("it was cancelled before", 409)
    await batches.close(found["name"], actor, why)
    cancelled = 0
    while done := await batches.cancel_waiting(found["name"], actor, why):
        cancelled += done
    return cancelled


def rate_of(text: str) -> float | None:
    """Rows a second; empty or 0: no limit. Raises Wrong."""
    try:
        rate = float(text.strip().replace(",", ".") or 0)
    except ValueError:
        rate = math.nan
    if not 0 <= rate <= 100_000:
        raise Wrong("a rate is rows a second, such as 20 or 0.5; 0 is no limit")
    return rate or None


async def report(office: Office, person: Person, name: str, form: str) -> tuple[Form, AsyncIterator[bytes]]:
    """The report of a batch, a line a row. Personal data stands in it: it is for operators, and is recorded."""
    await office.allowed(person, "operator", "download a report", batch=name[:100])
    if form not in ("csv", "xlsx"):
        raise Wrong("a report comes as csv or xlsx")
    found = await _found(office, name)
    details = {"batch": name, "form": form}
    await office.journal.journal.run(
        lambda tx: people.record(tx, "batch_report", person.name, None, details, found["platform"])
    )
    kind: Form = "csv" if form == "csv" else "xlsx"
    return kind, desk(office).report(name, kind)


# ---------------------------------------------------------------- files on their way


def desk(office: Office) -> BatchDesk:
    """Raises Wrong in a process that takes no files."""
    if office.batches is None:
        raise Wrong("this process takes no files of rows: use `worker batch run`", 409)
    return office.batches


async def uploads(office: Office, person: Person) -> list[Upload]:
    """For operators: what stands in files is personal data."""
    if office.batches is None or not person.may("operator"):
        return []
    return await office.batches.uploads.listing()


async def upload(office: Office, person: Person, number: int) -> Upload:
    """Raises NotAllowed for a viewer, Wrong where there is none."""
    await office.allowed(person, "operator", "look at an uploaded file", upload=number)
    found = await desk(office).uploads.find(min(number, 1 << 62))
    if found is None:
        raise Wrong(
            f"there is no uploaded file {number}: it goes after a day unused, or when its batch has ended",
            404,
        )
    return found


async def take(office: Office, person: Person, name: str, chunks: AsyncIterator[bytes]) -> int:
    await office.allowed(person, "operator", "upload a file")
    return await _fitting(
        office, person, "upload a file", {"file": name[:100]}, desk(office).take(name, chunks, person.name)
    )


async def plan(
    office: Office, person: Person, number: int, platform: str, given: Mapping[str, Any]
) -> Upload:
    """What is to become of a row."""
    found = await upload(office, person, number)
    about = {"upload": number}
    await _fitting(office, person, "map a file", about, desk(office).plan(found, platform, given))
    return await upload(office, person, number)


async def preview(office: Office, person: Person, number: int) -> list[dict[str, Any]]:
    """The first rows as commands. Raises Wrong."""
    found = await upload(office, person, number)
    if not found.plan:
        raise Wrong("say first what is to become of a row", 409)
    try:
        return await desk(office).preview(found)
    except Unfit as error:
        raise Wrong(str(error), error.status) from None


async def mapping(office: Office, person: Person, number: int, platform: str, command: str) -> str:
    """One to begin with. Raises Wrong."""
    found = await upload(office, person, number)
    try:
        return desk(office).mapping(found, platform, command)
    except Unfit as error:
        raise Wrong(str(error), error.status) from None


async def check(office: Office, person: Person, number: int, against: bool, repeats: bool) -> None:
    found = await upload(office, person, number)
    about = {"upload": number}
    await _fitting(office, person, "dry run", about, desk(office).check(found, person.name, against, repeats))


async def go(
    office: Office,
    person: Person,
    number: int,
    reason: str,
    wish: Mapping[str, Any],
    seen: float | None = None,
) -> str:
    """Send its rows, as they were looked at: `seen` is the `touched_at` of then. The name of the batch."""
    found = await upload(office, person, number)
    why = reasoned(reason)
    if wish.get("retry_failed"):  # as it was sent, once more
        wish = {**found.wish, "retry_failed": True}
    about = {"upload": number}
    return await _fitting(
        office, person, "send a file", about, desk(office).go(found, person.name, why, wish, seen)
    )


async def take_back(office: Office, person: Person, number: int, reason: str) -> None:
    """What was let go and waits for its turn, or is still being read."""
    found = await upload(office, person, number)
    why = reasoned(reason)
    if not await desk(office).uploads.take_back(found, person.name, why):
        raise Wrong("it does not go, or its batch has begun: pause or cancel the batch", 409)


async def drop(office: Office, person: Person, number: int, reason: str) -> None:
    await upload(office, person, number)
    why = reasoned(reason)
    if not await desk(office).uploads.drop(number, person.name, why):
        raise Wrong("it is being worked on: take it back, or pause or cancel its batch, first", 409)


async def problems(office: Office, person: Person, number: int) -> tuple[Upload, AsyncIterator[bytes]]:
    """All that a dry run found, as CSV."""
    found = await upload(office, person, number)
    if not (found.found or {}).get("problems"):
        raise Wrong("no dry run of it has found a problem", 404)
    return found, desk(office).problems(found)


async def _fitting(
    office: Office, person: Person, act: str, about: Mapping[str, Any], work: Awaitable[T]
) -> T:
    """It was allowed and could not be done: that, too, is written down."""
    try:
        return await work
    except Unfit as error:
        await office.journal.denied(person, act, str(error), dict(about))
        raise Wrong(str(error), error.status) from None


def share_of(text: str) -> float | None:
    """Of bad rows, as a percentage; empty: any. Raises Wrong."""
    if not text.strip():
        return None
    try:
        share = float(text.strip().rstrip("%").replace(",", "."))
    except ValueError:
        share = math.nan
    if not 0 <= share <= 100:
        raise Wrong("a share of bad rows is a percentage from 0 to 100")
    return share / 100
