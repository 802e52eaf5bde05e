"""The data of native commands: models made from the OpenAPI file, each when it is first asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import Field as field_of
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, SecretStr, StringConstraints, create_model
from pydantic_core import CoreSchema, core_schema

from worker.messages.commands import Command, Part
from worker.messages.fields import PRINTABLE, Double, Secret, Whole, wrong
from worker.messages.rest.document import Unfit, table
from worker.messages.rest.operations import (
    Datum,
    Operation,
    Place,
    Schema,
    is_nullable,
    is_secret,
    types_of,
)

LONGEST = 4096  # characters of a text without a maxLength
MOST_ENTRIES = 1000  # of a list without a maxItems
LARGEST = 10**15  # of a whole number without a maximum
_PLACE = re.compile(r"\{(\w+)\}")
_LAST = re.compile(r": |\.")  # before the last name of a place in the file


class Native(Command):
    """The data of a native command: `platform`, and the operation's parameters."""

    operation: ClassVar[Operation]

    def object_name(self) -> str:
        return object_of(self.operation, {name: getattr(self, name) for name in type(self).model_fields})


def object_of(operation: Operation, data: Mapping[str, Any]) -> str:
    """The ordering key without the platform's name: the first template that the data fill."""
    for template in operation.object:
        if all(data.get(name) is not None for name in _PLACE.findall(template)):
            return _PLACE.sub(lambda at: str(data[at[1]]), template)
    return f"operation:{operation.endpoint}"


@cache
def model(type_: str) -> type[Native]:
    """The model of a native command's data. Raises Unfit where the file says what no model can."""
    operation = table(type_.partition(".")[0])[type_]
    return model_of(operation)


def model_of(operation: Operation) -> type[Native]:
    fields: dict[str, Any] = {each.name: _field(operation, each) for each in operation.asked}
    made = create_model(
        _pascal(operation.type.removesuffix(".v1")),
        __base__=Native,
        __doc__=f"The parameters of {operation.endpoint}: {operation.method} {operation.path}.",
        **fields,
    )
    made.operation = operation
    return made


def _pascal(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^0-9A-Za-z]+", name))


def _field(operation: Operation, datum: Datum) -> tuple[Any, Any]:
    kind = _kind(datum.schema, f"{operation.type}: {datum.name}")
    if datum.place is Place.PATH and "string" in types_of(datum.schema):
        kind = Annotated[kind, _Segment()]
    if datum.required:
        kind = kind | None if is_nullable(datum.schema) else kind
        return kind, field_of(description=datum.meaning)
    return kind | None, field_of(default=None, description=datum.meaning)


@dataclass(frozen=True, slots=True)
class _Segment:
    """One part of a path: `.` and `..` would lead to another place than the template says."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.read, handler(source))

    def read(self, value: Any) -> Any:
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        if text in ("", ".", ".."):
            raise wrong("it stands in the address: it cannot be empty, . or ..")
        return value


def _kind(schema: Schema, where: str) -> Any:
    """The annotation for a schema."""
    if "enum" in schema or "const" in schema:
        return Annotated[Any, OneOf(tuple(schema.get("enum", [schema.get("const")])))]
    kinds = types_of(schema)
    if len(kinds) > 1:
        return Annotated[Any, AnyOf(tuple(kinds))]
    match kinds[0]:
        case "string":
            return _text(schema)
        case "integer":
            return Annotated[int, Whole(schema.get("minimum", 0), schema.get("maximum", LARGEST))]
        case "number":
            return Annotated[Any, Double()]
        case "boolean":
            return bool
        case "array":
            least, most = schema.get("minItems", 0), schema.get("maxItems", MOST_ENTRIES)
            inner = _kind(schema.get("items", {}), f"{where}[]")
            # The item's kind comes from the file.
            return Annotated[list[inner], field_of(min_length=least, max_length=most)]  # type: ignore[valid-type]
        case "object":
            return _object(schema, where)
        case "any":
            return Any
        case other:
            raise Unfit(f"{where}: there is no type {other}")


def _text(schema: Schema) -> Any:
    if is_secret(schema):
        return Secret
    if schema.get("format") == "decimal":
        return Annotated[Any, Double(quoted=True)]
    pattern, length = schema.get("pattern"), schema.get("maxLength", LONGEST)
    plain = Annotated[
        str, StringConstraints(min_length=schema.get("minLength"), max_length=length, pattern=PRINTABLE)
    ]
    return plain if pattern is None else Annotated[plain, StringConstraints(pattern=pattern)]


def _object(schema: Schema, where: str) -> Any:
    properties, needs = schema.get("properties", {}), schema.get("required", ())
    if not properties:
        return dict[str, Any]
    inner: dict[str, Any] = {}
    for name, each in properties.items():
        kind, meaning = _kind(each, f"{where}.{name}"), each.get("description", types_of(each)[0])
        needed = name in needs and not is_nullable(each)
        inner[name] = (
            (kind, field_of(description=meaning))
            if needed
            else (kind | None, field_of(default=None, description=meaning))
        )
    return create_model(_pascal(_LAST.split(where)[-1]), __base__=Part, **inner)


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of the values named; whole numbers may come as their digits in quotes."""

    values: tuple[Any, ...]

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        quoted = [str(each) for each in self.values if isinstance(each, int) and not isinstance(each, bool)]
        return {"enum": [*self.values, *quoted]}

    def read(self, value: Any) -> Any:
        for each in self.values:
            if type(each) is type(value) and each == value:
                return each
            if isinstance(each, int) and not isinstance(each, bool) and value == str(each):
                return each
        raise wrong(f"it has to be one of {', '.join(map(str, self.values))}")


_PYTHON: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "any": object,
}


@dataclass(frozen=True, slots=True)
class AnyOf:
    """A value of one of several JSON types."""

    types: tuple[str, ...]

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {} if "any" in self.types else {"type": list(self.types)}

    def read(self, value: Any) -> Any:
        is_flag = isinstance(value, bool)
        if any(
            isinstance(value, _PYTHON[name]) and is_flag <= (name in ("boolean", "any"))
            for name in self.types
        ):
            return value
        raise wrong(f"it has to be of type {' or '.join(self.types)}")


class Kinds(Mapping[str, type[Command]]):
    """Platform kind -> model, made when it is asked for."""

    def __init__(self, type_: str) -> None:
        self._type, self._kind = type_, type_.partition(".")[0]

    def __getitem__(self, kind: str) -> type[Command]:
        if kind != self._kind:
            raise KeyError(kind)
        return model(self._type)

    def __iter__(self) -> Iterator[str]:
        return iter((self._kind,))

    def __len__(self) -> int:
        return 1
