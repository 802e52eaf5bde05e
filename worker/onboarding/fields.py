"""The fields of a command, as a spreadsheet can fill them: one cell each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from worker.messages.catalogue import COMMANDS, CommandSpec, find, secret_fields
from worker.onboarding.transforms import Unfit, plain

TRUE = frozenset({"true", "yes", "y", "1", "x", "sim", "s", "verdadeiro", "ativo", "on"})
FALSE = frozenset({"false", "no", "n", "0", "nao", "falso", "inativo", "off"})


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a command's data. `path`: dotted, e.g. subscriber.username; `form`: how a cell is read."""

    path: str
    form: str  # text, flag, list, number
    required: bool
    meaning: str
    secret: bool


def command_type(name: str) -> str:
    """subscriber.create and subscriber.create.v1 are the same."""
    return f"{name.removesuffix('.v1')}.v1"


def spec_of(name: str) -> CommandSpec | None:
    return find(command_type(name))


@cache
def fields_of(type: str, kind: str) -> Mapping[str, Field]:
    """The fields of a command for a kind of platform, without `platform`; none where it is not offered."""
    spec = COMMANDS.get(type)
    model = spec.kinds.get(kind) if spec else None
    if model is None:
        return {}
    secrets = secret_fields(type, kind)
    return {one.path: one for one in _fields(model, "", True, secrets) if one.path != "platform"}


def _fields(model: type[BaseModel], path: str, needed: bool, secrets: frozenset[str]) -> Iterator[Field]:
    for name, info in model.model_fields.items():
        name = info.alias or name
        required = needed and info.is_required()
        inner = _model_in(info.annotation)
        if inner is not None:
            yield from _fields(inner, f"{path}{name}.", required, secrets)
        else:
            yield Field(
                path + name, _form(info.annotation), required, info.description or "", path + name in secrets
            )


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for one in (annotation, *get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None


def _form(annotation: Any) -> str:
    kinds = {annotation, *_kinds(annotation)}
    if bool in kinds:
        return "flag"
    if any(get_origin(one) in (list, tuple) or one in (list, tuple) for one in kinds):
        return "list"
    return "number" if float in kinds else "text"


def _kinds(annotation: Any) -> Iterator[Any]:
    """What a field may be: through Optional and Annotated, not into lists."""
    if get_origin(annotation) in (list, tuple, dict):
        return
    for one in get_args(annotation):
        yield one
        if not isinstance(one, str):
            yield from _kinds(one)


def text_of(cell: Any) -> str:
    """A cell as the text that a person sees in it."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return repr(cell)
    return str(cell)


def value_of(field: Field, value: Any) -> Any:
    """What the command's data holds for it. Raises Unfit."""
    if isinstance(value, (list, Mapping)):
        return value
    if field.form == "flag":
        return _flag(value)
    text = text_of(value).strip() if not field.secret else text_of(value)
    if field.form == "list":
        return [part.strip() for part in re.split(r"[,;|\n]", text) if part.strip()]
    if field.form == "number":
        try:
            return float(text)
        except ValueError:
            raise Unfit("it has to be a number, e.g. 12.5") from None
    return text


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = plain(text_of(value)).strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise Unfit("it has to be yes or no (also sim, não, true, false, 1, 0)")


def put(data: dict[str, Any], path: str, value: Any) -> None:
    *groups, last = path.split(".")
    for group in groups:
        data = data.setdefault(group, {})
    data[last] = value


def take(data: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    value: Any = data
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
