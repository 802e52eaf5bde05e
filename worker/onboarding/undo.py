"""Taking a batch back: a batch of its own that reverses what the first one changed, and nothing else.

The state before stands in the journal: with --undoable each row began with `subscriber.get`, in the line of its
subscriber. A row that somebody else changed since is left as it is, and listed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from worker.journal.batches.batches import Batch, Batches, Line
from worker.journal.batches.endings import Part
from worker.onboarding.fields import take
from worker.onboarding.mapping import CommandPlan, MappingError, Plan
from worker.onboarding.report import lines_of_data, short
from worker.onboarding.rows import Finding, Made

GET = "subscriber.get.v1"
CREATE = "subscriber.create.v1"
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
    """One command of the batch that took effect; `before`: the record as it was."""

    data: Data
    output: Data
    before: Data | None

    @property
    def about(self) -> dict[str, Any]:
        return {name: self.data[name] for name in ("platform", "subscriber") if name in self.data}

    def was(self, path: str) -> Any:
        if self.before is None:
            raise Kept("what it was before is not known: the batch was not run with --undoable")
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
    """Takes a batch back: a row for each row of it that took effect, in part or whole."""

    def __init__(self, batches: Batches, batch: Batch) -> None:
        self._batches = batches
        self._batch = batch
        self._first: dict[
            tuple[Any, ...], tuple[str, int]
        ] = {}  # row's identity -> object, number of its command

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
        if not changes:
            open_part = next((part for part in line.parts if not part.final), None)
            return None if open_part is None else _kept(line, "it has not ended yet")
        if any(not part.final for part in line.parts):
            return _kept(line, "it has not ended yet")
        first = next((part for part in line.parts if part.command is not None), changes[0])
        if first.partition_key and first.command:
            self._first[_identity(line)] = first.partition_key, first.command
            since = await self._batches.since(self._batch, first.partition_key, first.command)
            if since is not None:
                return Made(line.number, line.keys, findings=(_why(line.number, since),))
        before = next((part.output for part in line.parts if part.type == GET and part.output), None)
        return _reversed(line, changes, take(before or {}, "subscriber"))


def _identity(line: Line) -> tuple[Any, ...]:
    return (line.parts[0].message_id,)


def _why(number: int, since: str) -> Finding:
    return Finding(number, "", "", "", f"it was changed since by {since}", "not_reversed")


def _reversed(line: Line, changes: list[Part], before: Data | None) -> Made | None:
    commands: list[Command] = []
    try:
        for part in reversed(changes):
            commands += _command(part, before)
    except Kept as why:
        return _kept(line, str(why))
    if not commands:
        return None  # it was so before: the batch changed nothing
    return Made(line.number, line.keys, _identity(line), tuple(commands))


def _kept(line: Line, why: str) -> Made:
    return Made(line.number, line.keys, (), findings=(Finding(line.number, "", "", "", why, "not_reversed"),))


def _command(part: Part, before: Data | None) -> list[Command]:
    reverse = REVERSE.get(part.type)
    if reverse is None:
        raise Kept(f"{short(part.type)} cannot be taken back by the worker: a person has to")
    if part.data is None:
        raise Kept("its command is no longer in the journal")
    return reverse(Change(part.data, part.output or {}, before))


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


def _create(change: Change) -> list[Command]:
    if "adopted" not in change.output:
        raise Kept("whether it was there before is not known: a person has to look")
    if change.output["adopted"]:
        raise Kept("it was there before, and this batch changed it: a person has to put it back")
    return [("subscriber.remove.v1", change.about)]


def _update(change: Change) -> list[Command]:
    changes: dict[str, Any] = {}
    for name in change.data.get("changes", {}):
        was = change.was(name)
        if was is None or was == "***" or isinstance(was, Mapping):
            raise Kept(f"what {name} was before is not shown by the platform")
        changes[name] = was
    return [("subscriber.update.v1", {**change.about, "changes": changes})] if changes else []


def _forwarding(change: Change) -> list[Command]:
    names = [name for name in ("always", "busy", "no_answer") if name in change.data]
    was = {name: change.was(f"forwarding.{name}") for name in names}
    return [("forwarding.set.v1", {**change.about, **{name: value or "" for name, value in was.items()}})]


def _number(back: str) -> Callable[[Change], list[Command]]:
    return lambda change: [(back, {**change.about, "number": change.data["number"]})]


REVERSE: Mapping[str, Callable[[Change], list[Command]]] = {
    CREATE: _create,
    "calls.block.v1": _calls("calls.unblock.v1", True),
    "calls.unblock.v1": _calls("calls.block.v1", False),
    "subscriber.update.v1": _update,
    "forwarding.set.v1": _forwarding,
    "number.assign.v1": _number("number.release.v1"),
}
