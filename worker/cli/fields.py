"""`FIELD=VALUE` words into a command's data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_origin

from worker.cli.context import USAGE, Fault

FIELDS_HELP = """\
\b
FIELD=VALUE      a text; true, false, null and JSON lists and objects are read as such
FIELD.FIELD=…    a field inside a field, e.g. subscriber.username=joao
FIELD=a,b        a list, where the field is one, e.g. kinds=outgoing,incoming
FIELD:=JSON      exactly this JSON value
FIELD=@FILE      the content of a file, FIELD=env:NAME of a variable: for secrets
"""


def data_of(words: Iterable[str], lists: Iterable[str] = ()) -> dict[str, Any]:
    """The fields as nested objects. `lists`: dotted names of fields that are lists. Raises Fault."""
    data: dict[str, Any] = {}
    for word in words:
        name, value = _pair(word, frozenset(lists))
        _put(data, name, value, word)
    return data


def _pair(word: str, lists: frozenset[str]) -> tuple[str, Any]:
    name, equals, text = word.partition("=")
    if not equals or not name.strip(":."):
        raise Fault(f"{_cut(word)!r} is no field: write FIELD=VALUE, e.g. amount=25.00", USAGE)
    if name.endswith(":"):
        return name.removesuffix(":"), _json(name, text)
    return name, _value(name, text, name in lists)


def _value(name: str, text: str, is_list: bool) -> Any:
    if text.startswith("@"):
        return _file(name, Path(text[1:]).expanduser())
    if text.startswith("env:"):
        return _variable(name, text.removeprefix("env:"))
    if text in ("true", "false", "null") or text[:1] in ("[", "{"):
        return _json(name, text)
    return [part.strip() for part in text.split(",") if part.strip()] if is_list else text


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise Fault(f"{name.removesuffix(':')}: its value is not JSON", USAGE) from None


def _file(name: str, file: Path) -> str:
    try:
        return file.read_text().removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Fault(f"{name}: the file {file} cannot be read ({type(error).__name__})", USAGE) from None


def _variable(name: str, variable: str) -> str:
    if variable not in os.environ:
        raise Fault(f"{name}: the variable {variable} is not set", USAGE)
    return os.environ[variable]


def _put(data: dict[str, Any], name: str, value: Any, word: str) -> None:
    *parents, last = name.split(".")
    here = data
    for parent in parents:
        here = here.setdefault(parent, {})
        if not isinstance(here, dict):
            raise Fault(f"{name}: {parent} has a value already, it can hold no field", USAGE)
    if last in here:
        raise Fault(f"{name} stands twice", USAGE)
    here[last] = value


def _cut(word: str) -> str:
    """Without what may be a secret behind it."""
    return word.partition("=")[0][:40]


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`new` laid over `old`, objects inside too; null removes a field."""
    result = dict(old)
    for name, value in new.items():
        before = result.get(name)
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(before, Mapping):
            result[name] = merged(before, value)
        else:
            result[name] = value
    return result


def list_fields(model: Any) -> frozenset[str]:
    """Names of a model's own fields that are lists."""
    if model is None:
        return frozenset()
    return frozenset(
        name for name, info in model.model_fields.items() if get_origin(info.annotation) in (list, tuple)
    )
