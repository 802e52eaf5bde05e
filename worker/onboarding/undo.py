"""Taking a batch back: a batch of its own that reverses what the first one changed, and nothing else.

The state before stands in the journal: with --undoable each row began with `subscriber.get`, in the line of its
subscriber. What the batch made is removed with all that it did to it; what was adopted is never removed. A row that
somebody else changed since is left as it is, and listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from worker.journal.batches.batches import Batch, Batches, Line
from worker.journal.batches.endings import Part
from worker.messages.catalogue import check
from worker.messages.envelope import Envelope
from worker.messages.errors import Problem
from worker.onboarding.fields import put, take
from worker.onboarding.mapping import CommandPlan, MappingError, Plan
from worker.onboarding.report import lines_of_data, short
from worker.onboarding.rows import MASK, Finding, Made

GET = "subscriber.get.v1"
CREATE = "subscriber.create.v1"
REMOVE = "subscriber.remove.v1"
ASSIGN = "number.assign.v1"
RELEASE = "number.release.v1"
# Kind of platform -> the field of `subscriber` that holds the id it chose when it made one.
CHOSEN = {"voipmundo": "id", "ringme": "extension_id"}
# Kind of calls -> field of the record that shows it, and its value while they are blocked.
SHOWN = {
    "outgoing": ("outgoing_calls", False),
    "incoming": ("incoming_calls", False),
    "anonymous": ("block_anonymous_calls", True),
    "collect": ("block_collect_calls", True),
}

Data = Mapping[str, Any]
Command = tuple[str, dict[str, Any]]


class Kept(Exception):
    """The command stays as it is; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """One command of the batch that took effect; `before`: the record as it was, else `unread` says why not."""

    data: Data
    output: Data
    before: Data | None
    unread: str = "the batch was not run with --undoable"

    @property
    def about(self) -> dict[str, Any]:
        return {name: self.data[name] for name in ("platform", "subscriber") if name in self.data}

    def was(self, path: str) -> Any:
        if self.before is None:
            raise Kept(f"what it was before is not known: {self.unread}")
        return take(self.before, path)


def undoable(plan: Plan) -> Plan:
    """The plan with a reading of the subscriber in front, where it does not begin by making it."""
    first = plan.commands[0]
    if first.type in (CREATE, GET):
        return plan
    about = tuple(source for source in first.sources if source.path.startswith("subscriber."))
    if not about:
        raise MappingError(f"--undoable: {short(first.type)} names no subscriber whose state could be kept")
    reading = CommandPlan(GET, about, first.when, first.optional)
    return Plan((reading, *plan.commands), plan.identity, plan.when, plan.lookups, plan.unused, plan.notes)


class Reversal:
    """Takes a batch back: a row for each row of it that took effect, in part or whole. `kind`: of its platform."""

    def __init__(self, batches: Batches, batch: Batch, kind: str) -> None:
        self._batches = batches
        self._batch = batch
        self._kind = kind
        # Row's identity -> the objects that it is about, and the number of its first command.
        self._first: dict[tuple[Any, ...], tuple[Sequence[str], int]] = {}

    async def rows(self) -> list[Made]:
        """What reverses each, or why it is kept."""
        made = []
        async for line in lines_of_data(self._batches, self._batch):
            one = await self._row(line)
            if one is not None:
                made.append(one)
        return made

    async def still(self, rows: Sequence[Made]) -> list[Made]:
        """The same rows when their turn has come: hours may lie between, in which somebody changed one."""
        return [await self._asked(one) for one in rows]

    async def _asked(self, one: Made) -> Made:
        first = self._first.get(one.identity)
        since = await self._batches.since(self._batch, *first) if first else None
        return one if since is None else replace(one, commands=(), findings=(_why(one.number, since),))

    async def _row(self, line: Line) -> Made | None:
        changes = [part for part in line.parts if part.effect == "applied" and part.type != GET]
        if any(not part.final for part in line.parts):
            return _kept(line, "it has not ended yet")
        if not changes:
            return None
        before = next((part.output for part in line.parts if part.type == GET and part.output), None)
        made = _reversed(line, changes, take(before or {}, "subscriber"), self._kind)
        if made is None or made.findings:
            return made
        number = next((part.command for part in line.parts if part.command is not None), None)
        if number is None:
            return made
        about = {part.partition_key for part in line.parts} | {
            _line_of(*one, self._kind) for one in made.commands
        }
        self._first[made.identity] = sorted(key for key in about if key), number
        return await self._asked(made)


def _identity(line: Line) -> tuple[Any, ...]:
    return (line.parts[0].message_id,)


def _why(number: int, since: str) -> Finding:
    return Finding(number, "", "", "", f"it was changed since by {since}", "not_reversed")


def _reversed(line: Line, changes: list[Part], before: Data | None, kind: str) -> Made | None:
    """What puts the row back, the last change first; None: it was so before, the batch changed nothing."""
    try:
        commands = _unmade(changes, kind) or _put_back(line, changes, before)
        for type, data in commands:
            _line_of(type, data, kind)
    except Kept as why:
        return _kept(line, str(why))
    return Made(line.number, line.keys, _identity(line), tuple(commands)) if commands else None


def _unmade(changes: Sequence[Part], kind: str) -> list[Command]:
    """Of a row that made its subscriber: it is removed, with all else that the row did to it. None made: empty.

    Its numbers are released first: whether they go with their subscriber is not known of every platform.
    """
    made = next((part for part in changes if part.type == CREATE), None)
    if made is None:
        return []
    change = _change(made, None)
    if "adopted" not in change.output:
        raise Kept("whether it was there before is not known: a person has to look")
    if change.output["adopted"]:
        raise Kept("it was there before, and this batch changed it: a person has to put it back")
    numbers = [part for part in reversed(changes) if part.type == ASSIGN]
    release = _number(RELEASE)
    return [
        *(one for part in numbers for one in release(_change(part, None))),
        (REMOVE, {**change.about, "subscriber": _made(change, kind)}),
    ]


def _made(change: Change, kind: str) -> dict[str, Any]:
    """Whom the create made: with the id that the platform chose, where it chooses one."""
    about = dict(change.data.get("subscriber") or {})
    if (chosen := CHOSEN.get(kind)) is None:
        return about
    if not change.output.get("platform_id"):
        raise Kept("the platform did not say which id it gave it: a person has to look")
    return {**about, chosen: change.output["platform_id"]}


def _put_back(line: Line, changes: Sequence[Part], before: Data | None) -> list[Command]:
    commands: list[Command] = []
    for part in reversed(changes):
        reverse = REVERSE.get(part.type)
        if reverse is None:
            raise Kept(f"{short(part.type)} cannot be taken back by the worker: a person has to")
        change = _change(part, before)
        if any(each.type == CREATE for each in line.parts):
            change = replace(
                change, unread="the subscriber was there already, and nothing is read before a create"
            )
        commands += reverse(change)
    return commands


def _change(part: Part, before: Data | None) -> Change:
    if part.data is None:
        raise Kept("its command is no longer in the journal")
    return Change(part.data, part.output or {}, before)


def _line_of(type: str, data: Data, kind: str) -> str | None:
    """The object that a command is about. Raises Kept for one that the platform would not take."""
    checked = check(Envelope("-", "-", type, dict(data)), {str(data.get("platform")): kind})
    problem = checked if isinstance(checked, Problem) else checked.unsupported
    if problem is not None:
        raise Kept(f"{short(type)} would be refused: {problem.message}")
    return None if isinstance(checked, Problem) else checked.partition_key


def _kept(line: Line, why: str) -> Made:
    return Made(line.number, line.keys, (), findings=(Finding(line.number, "", "", "", why, "not_reversed"),))


def _calls(back: str, blocked: bool) -> Callable[[Change], list[Command]]:
    """`blocked`: how the batch left them."""

    def reverse(change: Change) -> list[Command]:
        kinds = []
        for kind in change.data.get("kinds", ["outgoing"]):
            name, while_blocked = SHOWN.get(kind, ("", True))
            was = change.was(name) if name else None
            if was is None:
                raise Kept(f"the platform does not show whether {kind} calls were blocked before")
            if (was is while_blocked) is not blocked:
                kinds.append(kind)
        return [(back, {**change.about, "kinds": kinds})] if kinds else []

    return reverse


def _update(change: Change) -> list[Command]:
    changes: dict[str, Any] = {}
    for path in _leaves(change.data.get("changes", {})):
        was = change.was(path)
        if was is None or was == MASK or isinstance(was, Mapping):
            raise Kept(f"what {path} was before is not shown by the platform, or it was empty")
        put(changes, path, was)
    return [("subscriber.update.v1", {**change.about, "changes": changes})] if changes else []


def _leaves(changes: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Dotted paths of what was given: email, address.city."""
    for name, value in changes.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{name}.")
        elif value is not None:  # null is left as it was
            yield above + name


def _forwarding(change: Change) -> list[Command]:
    names = [name for name in ("always", "busy", "no_answer") if change.data.get(name) is not None]
    was = {name: change.was(f"forwarding.{name}") for name in names}
    return [("forwarding.set.v1", {**change.about, **{name: value or "" for name, value in was.items()}})]


def _number(back: str) -> Callable[[Change], list[Command]]:
    return lambda change: [(back, {**change.about, "number": change.data["number"]})]


REVERSE: Mapping[str, Callable[[Change], list[Command]]] = {
    "calls.block.v1": _calls("calls.unblock.v1", True),
    "calls.unblock.v1": _calls("calls.block.v1", False),
    "subscriber.update.v1": _update,
    "forwarding.set.v1": _forwarding,
    ASSIGN: _number(RELEASE),
}
