"""From a row to commands: which column fills which field, as a mapping file (TOML) says, or the headers."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker.onboarding.fields import Field, command_type, fields_of, spec_of
from worker.onboarding.transforms import TRANSFORMS

SOURCE_KEYS = frozenset({"column", "text", "value", "generate", "do", "lookup", "default"})
CONDITION_KEYS = frozenset({"column", "filled", "is", "not", "in", "matches"})
MOST_GENERATED = 64  # characters


class MappingError(Exception):
    """The mapping cannot be used: what is wrong where, and what would be right."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a field's value comes from: a column, a text with columns in braces, a constant, or a generator."""

    path: str
    column: str | None = None
    text: str | None = None
    value: Any = field(default=None, repr=False)
    generate: int | None = None  # length of a password
    do: tuple[str, ...] = ()
    lookup: str | None = None
    default: Any = None

    @property
    def columns(self) -> tuple[str, ...]:
        named = tuple(re.findall(r"\{([^{}]+)\}", self.text)) if self.text else ()
        return (self.column,) if self.column is not None else named


@dataclass(frozen=True, slots=True)
class Condition:
    """`when`: what has to hold of a column. Texts are compared without white space around them, any case."""

    column: str
    filled: bool | None = None
    among: tuple[str, ...] | None = None
    negated: bool = False
    pattern: re.Pattern[str] | None = None


@dataclass(frozen=True, slots=True)
class CommandPlan:
    """One command of a row. `optional`: it is made only where one of its own columns is filled."""

    type: str
    sources: tuple[Source, ...]
    when: tuple[Condition, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a row becomes."""

    commands: tuple[CommandPlan, ...]
    identity: tuple[str, ...] = ()  # columns; none: the object that the first command is about
    when: tuple[Condition, ...] = ()
    lookups: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()  # columns that nothing reads
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return ", ".join(one.type.removesuffix(".v1") for one in self.commands)

    @property
    def generates(self) -> bool:
        return any(source.generate for command in self.commands for source in command.sources)

    def columns(self) -> set[str]:
        named = {name for command in self.commands for source in command.sources for name in source.columns}
        named |= {one.column for command in self.commands for one in command.when}
        return named | {one.column for one in self.when} | set(self.identity)


def read_plan(path: Path, kind: str) -> Plan:
    """A mapping file for a kind of platform. Raises MappingError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise MappingError(f"{path}: the mapping cannot be read ({type(error).__name__})") from None
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"{path}: it is not TOML: {error}") from None
    return plan_of(table, kind)


def plan_of(table: Mapping[str, Any], kind: str) -> Plan:
    _known(table, {"identity", "when", "lookup", "command"}, "the mapping")
    commands = table.get("command")
    if not isinstance(commands, list) or not commands:
        raise MappingError("the mapping has no [[command]]: name at least one, with its type and data")
    lookups = {name: _lookup(name, one) for name, one in table.get("lookup", {}).items()}
    plans = tuple(_command(place, one, kind, lookups) for place, one in enumerate(commands, 1))
    identity = table.get("identity", [])
    if not isinstance(identity, list) or not all(isinstance(name, str) for name in identity):
        raise MappingError('identity: it has to be a list of columns, e.g. identity = ["Telefone"]')
    return Plan(plans, tuple(identity), _conditions(table.get("when"), "when"), lookups)


def _lookup(name: str, table: Any) -> dict[str, str]:
    if not isinstance(table, Mapping) or not table:
        raise MappingError(
            f'lookup.{name}: it has to be a table, e.g. [lookup.{name}] with "Gold" = "gold_1"'
        )
    return {folded(key): str(value) for key, value in table.items()}


def folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _command(place: int, table: Any, kind: str, lookups: Mapping[str, Any]) -> CommandPlan:
    where = f"command {place}"
    if not isinstance(table, Mapping) or not isinstance(table.get("type"), str):
        raise MappingError(f'{where}: it needs a type, e.g. type = "subscriber.create"')
    _known(table, {"type", "when", "data"}, where)
    known = _offered(table["type"], kind, where)
    where = f"{where} ({table['type']})"
    sources = tuple(_sources(table.get("data", {}), "", known, where))
    for source in sources:
        if source.lookup is not None and source.lookup not in lookups:
            raise MappingError(f"{where}, {source.path}: there is no [lookup.{source.lookup}]")
    missing = [path for path, one in known.items() if one.required and path not in {s.path for s in sources}]
    if missing:
        raise MappingError(f"{where}: it needs {', '.join(missing)} too")
    return CommandPlan(command_type(table["type"]), sources, _conditions(table.get("when"), where))


def _offered(name: str, kind: str, where: str) -> Mapping[str, Field]:
    spec = spec_of(name)
    if spec is None or spec.at_intake:
        raise MappingError(
            f"{where}: there is no command {name!r} for rows; `worker send --help` and contracts/ name them"
        )
    if spec.secret_output:
        raise MappingError(
            f"{where}: the answer to {name} is a secret that goes to its asker alone: send it singly"
        )
    known = fields_of(spec.type, kind)
    if not known:
        raise MappingError(
            f"{where}: {name} is not offered by platforms of kind {kind}: it is by {', '.join(spec.kinds)}"
        )
    return known


def _sources(table: Any, path: str, known: Mapping[str, Field], where: str) -> Iterable[Source]:
    if not isinstance(table, Mapping):
        raise MappingError(f"{where}: data has to be a table")
    for name, one in table.items():
        here = path + name
        if isinstance(one, Mapping) and not (one.keys() & SOURCE_KEYS and here in known):
            yield from _sources(one, f"{here}.", known, where)
            continue
        if here not in known:
            near = difflib.get_close_matches(here, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"we know {', '.join(known)}"
            raise MappingError(f"{where}: {here} is no field of it: {hint}")
        yield _source(here, one, where, known[here])


def _source(path: str, one: Any, where: str, known: Field) -> Source:
    if not isinstance(one, Mapping):
        return Source(path, value=one)
    where = f"{where}, {path}"
    _known(one, SOURCE_KEYS, where)
    given = [name for name in ("column", "text", "value", "generate") if name in one]
    if len(given) != 1:
        raise MappingError(f"{where}: it needs one of column, text, value, generate")
    generate = one.get("generate")
    if generate is not None and not (
        isinstance(generate, int) and 8 <= generate <= MOST_GENERATED and known.secret
    ):
        raise MappingError(
            f"{where}: generate is a length from 8 to {MOST_GENERATED}, for a field that is a secret"
        )
    do = one.get("do", [])
    do = [do] if isinstance(do, str) else do
    unknown = [name for name in do if name not in TRANSFORMS]
    if unknown:
        raise MappingError(f"{where}: there is no transform {unknown[0]!r}; we know {', '.join(TRANSFORMS)}")
    return Source(
        path,
        one.get("column"),
        one.get("text"),
        one.get("value"),
        generate,
        tuple(do),
        one.get("lookup"),
        one.get("default"),
    )


def _conditions(value: Any, where: str) -> tuple[Condition, ...]:
    if value is None:
        return ()
    return tuple(_condition(one, where) for one in (value if isinstance(value, list) else [value]))


def _condition(one: Any, where: str) -> Condition:
    if not isinstance(one, Mapping) or not isinstance(one.get("column"), str) or len(one) != 2:
        raise MappingError(
            f'{where}: a condition is a column and one of filled, is, not, in, matches, e.g. {{ column = "Credit", filled = true }}'
        )
    _known(one, CONDITION_KEYS, where)
    column = one["column"]
    if "filled" in one:
        return Condition(column, filled=bool(one["filled"]))
    if "matches" in one:
        try:
            return Condition(column, pattern=re.compile(one["matches"]))
        except re.error as error:
            raise MappingError(f"{where}: matches is no regular expression: {error}") from None
    values = one.get("in", one.get("is", one.get("not")))
    values = values if isinstance(values, list) else [values]
    return Condition(column, among=tuple(folded(str(v)) for v in values), negated="not" in one)


def _known(table: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    unknown = sorted(set(table) - set(names))
    if unknown:
        near = difflib.get_close_matches(unknown[0], names, 1)
        hint = f"did you mean {near[0]}?" if near else f"we know {', '.join(sorted(names))}"
        raise MappingError(f"{where}: {unknown[0]!r} is unknown: {hint}")


def fitting(plan: Plan, columns: Sequence[str]) -> Plan:
    """The plan for a file with these columns. Raises MappingError where it names one that is not there."""
    missing = sorted(plan.columns() - set(columns))
    if missing:
        near = difflib.get_close_matches(missing[0], columns, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, columns))}"
        raise MappingError(f"the file has no column {missing[0]!r}: {hint}")
    unused = tuple(name for name in columns if name and name not in plan.columns())
    return Plan(plan.commands, plan.identity, plan.when, plan.lookups, unused, plan.notes)
