"""One row of the file becomes its commands, or the list of what is wrong with it."""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.messages.catalogue import COMMANDS, Checked, check, problems
from worker.messages.envelope import LONGEST, Envelope
from worker.messages.errors import Problem
from worker.onboarding.fields import Field, fields_of, put, take, text_of, value_of
from worker.onboarding.mapping import CommandPlan, Condition, Plan, Source, folded
from worker.onboarding.sheet import Row
from worker.onboarding.transforms import TRANSFORMS, Unfit
from worker.platforms.port import Order

MASK = "***"
MOST_SHOWN = 60  # characters of a value in a report
SIGNS = (
    string.ascii_letters + string.digits
)  # none that a telephone, a SOAP text or a shell takes for something else
HARD_TO_TELL = frozenset("0O1lI")

Planner = Callable[[Order], object]  # a platform's `plan`: its steps, or why it will not do it


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a row: where, what stands there, and what would be right."""

    row: int
    column: str
    field: str
    value: str
    problem: str
    code: str = "invalid_field"


@dataclass(frozen=True, slots=True)
class Made:
    """A row's commands: (type, data). `blanks`: what is to be generated, "part path" -> length.

    `identity` makes it the same row in another order of the file; `keys` name it for people.
    """

    number: int
    keys: Mapping[str, Any] = field(repr=False)
    identity: tuple[Any, ...] = field(default=(), repr=False)
    commands: tuple[tuple[str, dict[str, Any]], ...] = field(default=(), repr=False)
    blanks: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def content(self) -> list[Any]:
        """What two runs must share for the row to be unchanged; generated values are not part of it."""
        return [[type, data] for type, data in self.commands]

    def filled(self, made: Mapping[str, str]) -> tuple[tuple[str, dict[str, Any]], ...]:
        """The commands with their generated values."""
        whole = (
            tuple((type, json.loads(json.dumps(data))) for type, data in self.commands)
            if made
            else self.commands
        )
        for name, value in made.items():
            part, path = name.split(" ", 1)
            put(whole[int(part)][1], path, value)
        return whole


class Maker:
    """Makes commands of rows, by a plan, for a platform."""

    def __init__(
        self, plan: Plan, platform: str, kind: str, planner: Planner | None, most_bytes: int
    ) -> None:
        self.plan = plan
        self.platform = platform
        self._kind = kind
        self._planner = planner
        self._most = most_bytes

    def make(self, row: Row) -> Made | None:
        """None: the plan's `when` leaves the row out."""
        if row.flaw is not None:
            return Made(
                row.number,
                self._keys(row),
                findings=(Finding(row.number, "", "", "", row.flaw, "unreadable_row"),),
            )
        if not all(holds(one, row) for one in self.plan.when):
            return None
        findings: list[Finding] = []
        commands: list[tuple[str, dict[str, Any]]] = []
        blanks: dict[str, int] = {}
        unfit: list[set[str]] = []  # of each command, the fields that have a finding already
        for command in self.plan.commands:
            if not self._wanted(command, row):
                continue
            place = len(commands)
            blanks |= {
                f"{place} {source.path}": source.generate for source in command.sources if source.generate
            }
            unfit.append(set())
            commands.append((command.type, self._data(command, row, findings, unfit[-1])))
        about = self._checked(row, commands, blanks, findings, unfit)
        if not commands and not findings:
            return None
        return Made(
            row.number,
            self._keys(row),
            self._identity(row, about),
            tuple(commands),
            blanks,
            tuple(dict.fromkeys(findings)),
        )

    def _wanted(self, command: CommandPlan, row: Row) -> bool:
        if not all(holds(one, row) for one in command.when):
            return False
        first = self.plan.commands[0]
        beside = {
            name for source in command.sources if source not in first.sources for name in source.columns
        }
        return not command.optional or any(_filled(row.cells.get(name)) for name in beside)

    def _data(
        self, command: CommandPlan, row: Row, findings: list[Finding], unfit: set[str]
    ) -> dict[str, Any]:
        data: dict[str, Any] = {"platform": self.platform}
        known = fields_of(command.type, self._kind)
        for source in command.sources:
            if source.generate is not None:
                continue
            try:
                value = self._value(source, row, known[source.path])
            except Unfit as error:
                findings.append(self._finding(row, source, str(error), known[source.path]))
                unfit.add(source.path)
                continue
            if source.value is not None or value not in (None, "", []):
                put(data, source.path, value)
        return data

    def _value(self, source: Source, row: Row, known: Field) -> Any:
        if source.column is None and source.text is None:
            return source.value
        value: Any
        if source.column is not None:
            value = row.cells.get(source.column)
        else:
            cells = [text_of(row.cells.get(name)).strip() for name in source.columns]
            filled = dict(zip(source.columns, cells, strict=True))
            value = (
                re.sub(r"\{([^{}]+)\}", lambda found: filled[found[1]], source.text or "")
                if any(cells)
                else ""
            )
        if not _filled(value):
            return source.default
        for name in source.do:
            value = TRANSFORMS[name](text_of(value))
        if source.lookup is not None:
            value = self._looked_up(source.lookup, text_of(value))
        return value_of(known, value)

    def _looked_up(self, name: str, text: str) -> str:
        table = self.plan.lookups[name]
        found = table.get(folded(text))
        if found is None:
            raise Unfit(f"lookup.{name} has no entry for it: it knows {', '.join(list(table)[:8])}")
        return found

    # ------------------------------------------------------------ checks

    def _checked(
        self,
        row: Row,
        commands: list[tuple[str, dict[str, Any]]],
        blanks: Mapping[str, int],
        findings: list[Finding],
        unfit: Sequence[set[str]],
    ) -> str | None:
        """What the messages' models and the platform say; the object that the first command is about.

        All that is wrong is told at once: also the other fields of a row of which one has a finding.
        """
        about = None
        whole = Made(row.number, {}, commands=tuple(commands)).filled(
            {name: "x" * most for name, most in blanks.items()}
        )
        for place, (type, data) in enumerate(whole):
            checked = check(Envelope("-", "-", type, data), {self.platform: self._kind})
            if isinstance(checked, Problem) or checked.unsupported:
                findings += self._wrong(row, type, data, checked, unfit[place])
                continue
            if place == 0:
                about = checked.partition_key
            refused = self._planner(Order("-", type, data)) if self._planner and not unfit[place] else None
            if isinstance(refused, Problem):
                findings.append(self._told(row, type, data, refused))
            if len(json.dumps(data)) > self._most - 2 * sum(LONGEST.values()):
                findings.append(
                    Finding(row.number, "", "", "", f"its {type} is too large for a message", "too_large")
                )
        return about

    def _wrong(
        self, row: Row, type: str, data: Mapping[str, Any], checked: Problem | Checked, unfit: set[str]
    ) -> Iterator[Finding]:
        model = COMMANDS[type].kinds.get(self._kind)
        found = problems(model, data) if model is not None else []
        if not found:
            one = checked if isinstance(checked, Problem) else checked.unsupported
            found = [one] if one is not None else []
        for one in found:
            path = (one.field or "").split("[")[0]
            if not any(each == path or each.startswith(f"{path}.") for each in unfit):
                yield self._told(row, type, data, one)

    def _told(self, row: Row, type: str, data: Mapping[str, Any], problem: Problem) -> Finding:
        path = problem.field or ""
        source = self._source(type, path)
        field = path.split("[")[0]  # of a list the whole: it stands in one cell
        value = shown(take(data, field), self._secret(type, field))
        columns = ", ".join(source.columns) if source else ""
        return Finding(
            row.number,
            columns,
            f"{type.removesuffix('.v1')} {path}".strip(),
            value,
            problem.message,
            problem.code.value,
        )

    def _finding(self, row: Row, source: Source, why: str, known: Field) -> Finding:
        cells = " ".join(text_of(row.cells.get(name)) for name in source.columns)
        return Finding(row.number, ", ".join(source.columns), source.path, shown(cells, known.secret), why)

    def _source(self, type: str, path: str) -> Source | None:
        for command in self.plan.commands:
            for source in command.sources:
                if command.type == type and path.split("[")[0] == source.path:
                    return source
        return None

    def _secret(self, type: str, path: str) -> bool:
        known = fields_of(type, self._kind).get(path)
        return known is None or known.secret

    # ------------------------------------------------------------ names

    def _keys(self, row: Row) -> dict[str, str]:
        names = self.plan.identity or self._about()
        return {name: shown(row.cells.get(name), False) for name in names}

    def _about(self) -> tuple[str, ...]:
        """Columns that say whom the first command is about, and which of his numbers."""
        first = self.plan.commands[0]
        columns = [
            name
            for s in first.sources
            if s.path.startswith("subscriber.") or s.path == "number"
            for name in s.columns
        ]
        known = fields_of(first.type, self._kind)
        if not columns:
            columns = [
                name
                for s in first.sources
                if known[s.path].required and not known[s.path].secret
                for name in s.columns
            ]
        return tuple(dict.fromkeys(columns[:3]))

    def _identity(self, row: Row, about: str | None) -> tuple[Any, ...]:
        if self.plan.identity:
            return tuple(folded(text_of(row.cells.get(name))) for name in self.plan.identity)
        return (about,) if about else ()


def holds(condition: Condition, row: Row) -> bool:
    cell = row.cells.get(condition.column)
    if condition.filled is not None:
        return _filled(cell) is condition.filled
    text = text_of(cell)
    if condition.pattern is not None:
        return condition.pattern.search(text.strip()) is not None
    return (folded(text) in (condition.among or ())) is not condition.negated


def _filled(cell: Any) -> bool:
    return cell is not None and (not isinstance(cell, str) or bool(cell.strip()))


def shown(value: Any, secret: bool) -> str:
    """A value in a report: no secret, and no page-long cell."""
    if value is None or value == "":
        return ""
    text = MASK if secret else text_of(value)
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"


def generated(blanks: Mapping[str, int]) -> dict[str, str]:
    """Passwords that can be read aloud: no sign in them looks like another."""
    signs = [sign for sign in SIGNS if sign not in HARD_TO_TELL]
    return {name: _password(signs, length) for name, length in blanks.items()}


def _password(signs: list[str], length: int) -> str:
    """With a small letter, a capital and a digit: many platforms want each."""
    while True:
        word = "".join(secrets.choice(signs) for _ in range(length))
        if (
            any(s.islower() for s in word)
            and any(s.isupper() for s in word)
            and any(s.isdigit() for s in word)
        ):
            return word
