"""What a read shows of a step: the check that the OpenAPI file names, made a Reading."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from worker.domain.effect import Effect
from worker.domain.evidence import Reading
from worker.domain.outcome import Done, Exchange, Outcome, Refused, Unclear
from worker.domain.redaction import MASK, is_secret_name, without_secrets
from worker.messages.errors import Code
from worker.messages.rest.operations import Check, Operation, Place, Table, secret_names
from worker.platforms.port import Unread
from worker.platforms.rest.answers import Answered, plain
from worker.platforms.rest.client import Client
from worker.platforms.rest.steps import RestStep

CALLED = frozenset({"id", "name"})


@dataclass(frozen=True, slots=True)
class Nowhere:
    """The read said that there is no such thing."""

    refused: Refused


@dataclass(frozen=True, slots=True)
class Seen:
    """The rows that the step is about: one, none, or (the platform lets names stand twice) several."""

    rows: Sequence[Mapping[str, Any]]


def balance_of(value: Any) -> Decimal:
    """A balance as JSON has it: a number, or a text with a decimal point. Raises ValueError."""
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise ValueError("no decimal number") from None


class Looks:
    """`control`: the platform's control read. `money`: how a balance is written."""

    def __init__(
        self,
        client: Client,
        table: Table,
        control: Callable[[], Awaitable[Outcome]],
        money: Callable[[Any], Decimal] = balance_of,
    ) -> None:
        self._client, self._table, self._control, self._money = client, table, control, money
        self._answered: set[str] = set()  # reads that this server is known to have

    async def look(self, step: RestStep, before: Reading | None) -> Reading | Unread:
        if step.check is None:
            return Reading()  # nothing shows it: what becomes of it after a lost answer is for a person
        found, _ = await self.seen(step, step.check)
        match found:
            case Seen(rows) if step.effect is Effect.INCREMENT:
                return self._booked(rows, step.check)
            case Seen(rows):
                return reading_of(step, step.check, self._table[step.check.read], rows)
            case Nowhere(refused):
                return await self._absent(step, step.check, refused, before)
            case unread:
                return unread

    async def seen(self, step: RestStep, check: Check) -> tuple[Seen | Nowhere | Unread, Exchange]:
        """The rows that the check reads."""
        read = self._table[check.read]
        heard = await self._client.call(read, asked(read, check, step.params))
        match heard.what:
            case Answered(value):
                self._answered.add(read.type)
                if check.rows is not None:
                    return among(value, check, step.params), heard.exchange
                if not isinstance(value, Mapping):
                    return Unclear("garbage"), heard.exchange
                return Seen([value]), heard.exchange
            case Refused(Code.NOT_FOUND) as refused:
                return Nowhere(refused), heard.exchange
            case unread:
                return unread, heard.exchange

    async def _absent(
        self, step: RestStep, check: Check, refused: Refused, before: Reading | None
    ) -> Reading | Unread:
        """Is it gone, or has this server no such read, or is the whole platform ill (rules 2.4, 3.3)?"""
        if not refused.certain:
            control = await self._control()
            if not isinstance(control, Done):
                return control
        known = refused.certain or check.read in self._answered or (before is not None and before.present)
        # Before a create it may be the place of the list that is not there: the call itself will say so.
        after = step.effect is Effect.CREATE and before is not None
        if (step.effect is Effect.DELETE or after) and not known:
            return Unclear("not_known_to_be_absent")
        # A set had no effect on what is not there: called again, it will be refused.
        return Reading(present=False, matches=False if step.effect is Effect.SET else None)

    def _booked(self, rows: Sequence[Mapping[str, Any]], check: Check) -> Reading | Unread:
        try:
            [row] = rows
            return Reading(balance=self._money(at(row, check.balance)))
        except (ValueError, LookupError):
            return Unclear("garbage")


def asked(read: Operation, check: Check, params: Mapping[str, Any]) -> dict[str, Any]:
    """The data of the read: as the check says, else what has the same name."""
    found = {}
    for datum in read.asked:
        name = check.arguments.get(datum.name, datum.name)
        if params.get(name) is not None:
            found[datum.name] = params[name]
    return found


def among(value: Any, check: Check, params: Mapping[str, Any]) -> Seen | Unclear:
    """Which rows of a list it is. What is no list, or does not show what to look for, proves no absence."""
    assert check.rows is not None
    first = check.rows.partition(".")[0]
    if first and not (isinstance(value, Mapping) and isinstance(value.get(first), list)):
        return Unclear("not_shown")
    rows = list(rows_in(value, check.rows))
    there = [row for row in rows if is_it(row, check, params)]
    if not there and not all(has(row, field) for row in rows for field in check.same):
        return Unclear("not_shown")
    return Seen(there)


def has(row: Mapping[str, Any], path: str) -> bool:
    try:
        at(row, path)
    except LookupError:
        return False
    return True


def rows_in(value: Any, place: str) -> Iterator[Mapping[str, Any]]:
    """The objects of the list at this place; lists on the way are gone through."""
    for each in value if isinstance(value, list) else [value]:
        if not isinstance(each, Mapping):
            continue
        if not place:
            yield each
            continue
        name, _, rest = place.partition(".")
        if each.get(name) is not None:
            yield from rows_in(each[name], rest)


def at(row: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path. Raises LookupError where there is none."""
    value: Any = row
    for name in path.split("."):
        if not isinstance(value, Mapping):
            raise LookupError(path)
        value = value[name]
    return value


def is_it(row: Mapping[str, Any], check: Check, params: Mapping[str, Any]) -> bool:
    try:
        return all(alike(at(row, field), params.get(name)) for field, name in check.same.items())
    except LookupError:
        return False


def reading_of(step: RestStep, check: Check, read: Operation, rows: Sequence[Mapping[str, Any]]) -> Reading:
    """What the rows that are there show of a step. `read`: the operation that answered them."""
    if not rows:
        return Reading(present=False, matches=False if step.effect is Effect.SET else None)
    row = rows[0]
    wrong = differing(step, check, row)
    if len(rows) > 1:  # which of them is meant nobody can tell
        wrong = (*wrong, f"there are {len(rows)} of them")
    if step.effect is Effect.SET:
        return Reading(present=True, matches=None if wrong is None else not wrong)
    if step.effect is Effect.CHANGE_SECRET:
        return Reading(matches=not wrong, old_secret_works=bool(wrong) or None)
    identity = row.get(check.id)
    return Reading(
        present=True,
        matches=not wrong,
        differences=tuple(wrong or ()),
        platform_id=None if identity is None else str(identity),
        record=record_of(read, row),
    )


def record_of(read: Operation, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without its secrets, as it may be kept: of one that may hold a secret under any name, what it is called."""
    if read.secret:
        return {name: value if name in CALLED else MASK for name, value in plain(dict(row)).items()}
    found: dict[str, Any] = hidden(plain(dict(row)), secret_names(read.answer))
    return found


def hidden(value: Any, names: frozenset[str]) -> Any:
    """*** for what stands under a secret's name, be it the schema's or one that says so itself."""
    if isinstance(value, Mapping):
        return {
            name: "***" if name in names and inner is not None else hidden(inner, names)
            for name, inner in without_secrets(value).items()
        }
    return [hidden(each, names) for each in value] if isinstance(value, list) else value


def differing(step: RestStep, check: Check, row: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the fields that are not as they were sent."""
    return tuple(name for name, wanted in wanted_of(step, check, row) if not _has(row, name, wanted))


def wanted_of(step: RestStep, check: Check, row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Field of the row -> what it has to be."""
    if check.shows is not None:
        for name, said in check.shows.items():
            if isinstance(said, Mapping):
                yield name, said["const"]
            elif said in step.params:
                yield name, step.params[said]
        return
    for datum in step.operation.asked:
        secret = datum.secret or is_secret_name(datum.name)
        # A set may be called again: what the row does not show has not been shown to be as it was sent.
        shown = datum.wire in row or step.effect is Effect.SET
        if datum.place is Place.BODY and not secret and datum.name in step.params and shown:
            yield datum.wire, step.params[datum.name]


def _has(row: Mapping[str, Any], path: str, wanted: Any) -> bool:
    try:
        return alike(at(row, path), wanted)
    except LookupError:
        return wanted is None


def alike(found: Any, wanted: Any) -> bool:
    """Equal although one stands in quotes: platforms write numbers and flags both ways."""
    if found in (None, "") or wanted in (None, ""):
        return found in (None, "") and wanted in (None, "")
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        return all(alike(found.get(name), value) for name, value in wanted.items())
    if isinstance(found, list) and isinstance(wanted, (list, tuple)):
        return len(found) == len(wanted) and all(map(alike, found, wanted))
    one, two = _bare(found), _bare(wanted)
    if one == two:
        return True
    numbers = [_number(one), _number(two)]
    # A number in a text must be written alike: 0011 is not 11 where both are texts.
    texts = isinstance(found, str) and isinstance(wanted, str)
    return not texts and None not in numbers and numbers[0] == numbers[1]


def _bare(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
