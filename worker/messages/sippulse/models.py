"""The data of native commands: models made from the catalogue, each when it is first asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AliasChoices,
    GetJsonSchemaHandler,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    create_model,
)
from pydantic import Field as field_of
from pydantic.functional_validators import field_validator
from pydantic_core import CoreSchema

from worker.messages.commands import Command, Part
from worker.messages.fields import PRINTABLE, Digits, Domain, Double, LongText, Secret, Username, Whole, wrong
from worker.messages.sippulse.operations import KIND, OPERATIONS, Operation
from worker.messages.sippulse.shapes import Field

CONFIRMED = "confirmNewPassword"
MOST_ENTRIES = 1000  # of a repeated field in one command
_PLACE = re.compile(r"\{([\w.]+)\}")
_GIVEN = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=PRINTABLE)]
LOOK_IN = "where the effect can be read; without it nothing settles a lost answer but a person"


class Spelled(Part):
    """An object some of whose fields have several names: each is taken, one at a time."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core))
        for info in cls.model_fields.values():
            if isinstance(info.validation_alias, AliasChoices):
                _say_others(schema, [str(name) for name in info.validation_alias.choices])
        return schema


def _say_others(schema: dict[str, Any], names: list[str]) -> None:
    first, *others = names
    for other in others:
        schema["properties"][other] = {**schema["properties"][first], "title": f"the same as {first}"}
    if first in schema.get("required", ()):
        schema["required"].remove(first)
        schema.setdefault("allOf", []).append({"oneOf": [{"required": [name]} for name in names]})
    else:
        pairs = [{"required": [one, two]} for at, one in enumerate(names) for two in names[at + 1 :]]
        schema.setdefault("allOf", []).append({"not": {"anyOf": pairs}})


class Native(Command, Spelled):
    """The data of a native command: `platform`, and the operation's parameters."""

    operation: ClassVar[Operation]

    def object_name(self) -> str:
        key = self.operation.key
        return person(self) if key == "subscriber" else _PLACE.sub(lambda at: _text(self, at[1]), key)


def person(data: Native) -> str:
    """The subscriber that it names, whichever way."""
    places = [data, getattr(data, data.operation.object.name, None) if data.operation.object else None]
    for place in places:
        username, domain = getattr(place, "username", None), getattr(place, "domain", None)
        if username and domain:
            return f"subscriber:{username}@{domain.lower()}"
    account = str(getattr(data, "accountCode", None) or getattr(data, "accountManager", ""))
    username, at, domain = account.rpartition("@")
    return f"subscriber:{username}{at}{domain.lower() if at else domain}"


def _text(data: Any, path: str) -> str:
    value = data
    for name in path.split("."):
        value = value[0] if isinstance(value, list) else value
        value = getattr(value, name)
    return str(value).lower() if path.lower().endswith("domain") else str(value)


@cache
def model(endpoint: str) -> type[Native]:
    """The model of an operation's data, by its documented name."""
    operation = OPERATIONS[endpoint]
    fields: dict[str, Any] = {each.name: _field(each, not each.optional) for each in operation.parameters}
    if operation.money:
        fields[operation.money] = (
            Annotated[Any, Double(quoted=True)],
            field_of(description="what is booked"),
        )
    if operation.look_in:
        inner: dict[str, Any] = {each.name: _field(each, not each.optional) for each in operation.look_in}
        place = create_model("look_in", __base__=Part, **inner)
        fields["look_in"] = (place | None, field_of(default=None, description=LOOK_IN))
    validators = _validators(operation)
    made = create_model(
        _pascal(endpoint),
        __base__=Native,
        __doc__=f"The parameters of SIPPulse's {endpoint}.",
        __validators__=validators,
        **fields,
    )
    made.operation = operation
    return made


def _pascal(endpoint: str) -> str:
    return "".join(part[0].upper() + part[1:] for part in endpoint.split("."))


def _validators(operation: Operation) -> dict[str, Any]:
    """What one field alone does not show to be wrong."""
    many = operation.object
    if many is not None and many.many:
        return {"alike": field_validator(many.name)(_alike)}
    if any(each.name == CONFIRMED for each in operation.parameters):
        return {"confirmed": field_validator(CONFIRMED)(_confirmed)}
    return {}


def _alike(cls: type[Native], value: list[Any]) -> list[Any]:
    """What is sent in one list is looked for in one list."""
    for name in ("domain", "rateId"):
        if len({getattr(each, name) for each in value}) > 1:
            raise wrong(f"all have to be of one {name}: send a command for each")
    return value


def _confirmed(cls: type[Native], value: SecretStr, info: ValidationInfo) -> SecretStr:
    if "newPassword" in info.data and value != info.data["newPassword"]:
        raise wrong("it has to be the same as newPassword")
    return value


def _field(field: Field, needed: bool) -> tuple[Any, Any]:
    kind = _kind(field, needed)
    if field.many:
        kind = list[kind]  # type: ignore[valid-type] # made from the catalogue
    names = [field.name, *field.others]
    given: dict[str, Any] = {"description": _meaning(field)}
    if field.many:
        given |= {"min_length": 1, "max_length": MOST_ENTRIES}
    if len(names) > 1:
        given["validation_alias"] = AliasChoices(*names)
    if needed:
        return kind, field_of(**given)
    return kind | None, field_of(default=None, **given)


def _meaning(field: Field) -> str:
    if not field.simple:
        return f"a list of {field.type}" if field.many else f"an object: {field.type}"
    kind = "a secret" if field.secret else f"xs:{field.type}"
    return f"{kind}, repeated" if field.many else kind


def _kind(field: Field, needed: bool) -> Any:
    if not field.simple:
        return _object(field)
    match field.type:
        case "boolean":
            return bool
        case "int":
            return Annotated[int, Whole(*field.range) if field.range else Whole()]
        case "long":
            return Annotated[SecretStr, Digits()] if field.secret else Annotated[str, Digits()]
        case "double":
            return Annotated[Any, Double()]
    if field.secret:
        return Secret
    if field.values:
        return Literal[field.values]
    if needed:
        return {"username": Username, "domain": Domain}.get(field.name, _GIVEN)
    return LongText


def _object(field: Field) -> Any:
    inner: dict[str, Any] = {each.name: _field(each, each.name in field.needs) for each in field.fields}
    return create_model(field.type, __base__=Spelled, **inner)


class Kinds(Mapping[str, type[Command]]):
    """Platform kind -> model, made when it is asked for: there are 95, and a worker needs few."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def __getitem__(self, kind: str) -> type[Command]:
        if kind != KIND:
            raise KeyError(kind)
        return model(self._endpoint)

    def __iter__(self) -> Iterator[str]:
        return iter((KIND,))

    def __len__(self) -> int:
        return 1
