"""What an OpenAPI file says of a platform: its operations, each with its effect and what shows it.

The files are part of the contracts. Beside OpenAPI 3.1 they use extensions, whose meaning stands here and in
docs/platforms.md; whatever else is found in them is for readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Schema = Mapping[str, Any]


class Place(StrEnum):
    """Where a datum travels."""

    PATH = "path"
    QUERY = "query"
    HEADER = "header"
    BODY = "body"  # a property of the JSON object
    WHOLE = "whole"  # the JSON body itself, which is no object


@dataclass(frozen=True, slots=True)
class Datum:
    """One parameter of an operation. `schema` is resolved: no `$ref` in it.

    `credential`: the worker fills it in, and no command may. `name` is the command's, `wire` the platform's.
    """

    name: str
    wire: str
    place: Place
    schema: Schema = field(repr=False)
    required: bool = False
    credential: bool = False

    @property
    def secret(self) -> bool:
        return self.credential or is_secret(self.schema)

    @property
    def meaning(self) -> str:
        said = self.schema.get("description")
        return str(said) if said else f"{'a secret' if self.secret else types_of(self.schema)[0]}"


@dataclass(frozen=True, slots=True)
class Check:
    """The read that settles a lost answer, and how it shows (`x-check`).

    arguments  parameter of the read -> datum here
    rows       dotted place of the list in the answer, "" for the answer itself; None: the answer is one object
    same       field of a row -> datum here: which row it is
    shows      field -> datum here, or {"const": value}; None: every datum of the body that the row has
    id         field with the platform's own id
    balance    field with the balance (increments)
    """

    read: str
    arguments: Mapping[str, str]
    rows: str | None = None
    same: Mapping[str, str] = field(default_factory=dict)
    shows: Mapping[str, Any] | None = None
    id: str = "id"
    balance: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path."""

    type: str  # the native command, e.g. voipmundo.statusCustomer.set.v1
    method: str
    path: str  # with {names}
    effect: str
    data: tuple[Datum, ...]
    summary: str = ""
    check: Check | None = None
    object: tuple[str, ...] = ()  # templates of the ordering key; the first that can be filled
    source: str = ""
    undocumented: bool = False
    denied: str = ""  # why it is not allowed by default
    removes: bool = False  # a subscriber may go: it counts against `removes_per_hour`
    secret: bool = False  # its whole answer is one: only to reply_to
    amount: str = ""  # the datum that is booked
    id: str = "id"  # of the answer to a create: the field with the platform's own id
    answer: Schema | None = field(default=None, repr=False)  # of the first 2xx; None: it has no body
    example: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def kind(self) -> str:
        return self.type.partition(".")[0]

    @property
    def endpoint(self) -> str:
        """A bounded label: statusCustomer.set."""
        return self.type.partition(".")[2].removesuffix(".v1")

    @property
    def asked(self) -> tuple[Datum, ...]:
        """What a command says; the rest is the worker's."""
        return tuple(each for each in self.data if not each.credential)

    def find(self, name: str) -> Datum | None:
        return next((each for each in self.data if each.name == name), None)

    @property
    def answers_list(self) -> bool:
        return self.answer is not None and "array" in types_of(self.answer)


Table = Mapping[str, Operation]  # by type


def types_of(schema: Schema) -> list[str]:
    """The JSON types that a schema allows, null left out; `any` where it does not say."""
    said = schema.get("type")
    names = [said] if isinstance(said, str) else list(said or [])
    if not names and "enum" in schema:
        names = ["integer" if all(isinstance(each, int) for each in schema["enum"]) else "string"]
    for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        names += types_of(part)
    return [name for name in dict.fromkeys(names) if name != "null"] or ["any"]


def is_nullable(schema: Schema) -> bool:
    said = schema.get("type")
    inner = (*schema.get("anyOf", ()), *schema.get("oneOf", ()))
    return (isinstance(said, list) and "null" in said) or any(
        part.get("type") == "null" or is_nullable(part) for part in inner
    )


def is_secret(schema: Schema) -> bool:
    return schema.get("format") == "password"


def secret_names(schema: Schema | None) -> frozenset[str]:
    """Names of the properties, at any depth, that hold secrets."""
    if schema is None:
        return frozenset()
    found = {name for name, inner in schema.get("properties", {}).items() if is_secret(inner)}
    inside = [*schema.get("properties", {}).values(), *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    inside += [
        schema[name] for name in ("items", "additionalProperties") if isinstance(schema.get(name), dict)
    ]
    return frozenset(found.union(*map(secret_names, inside)))
