"""From an operation and its data to a request: what is sent, and what of it may be shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote

from worker.domain.redaction import MASK
from worker.messages.errors import Code
from worker.messages.rest.operations import Datum, Operation, Place, Schema, is_nullable, is_secret, types_of
from worker.platforms.planning import Wrong

JSON = {"Content-Type": "application/json"}
Data = Mapping[str, Any]  # by the names of the command; may hold secrets


@dataclass(frozen=True, slots=True)
class Wire:
    """A request that is ready. `shown` is its address without secrets; the body is masked by who shows it."""

    method: str
    url: str = field(repr=False)
    shown: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


def build(base: str, operation: Operation, data: Data, credentials: Data) -> Wire:
    """Raises Wrong for data that the operation cannot take; they have been through `arguments_of` before."""
    path, shown = operation.path, operation.path
    query: list[str] = []
    shown_query: list[str] = []
    headers: dict[str, str] = {}
    body: dict[str, Any] = {}
    whole: Any = None
    for datum in operation.data:
        value = (credentials if datum.credential else data).get(datum.name)
        if datum.name not in (credentials if datum.credential else data):
            continue
        match datum.place:
            case Place.PATH:
                part = _segment(datum, value)
                path = path.replace(f"{{{datum.wire}}}", part)
                shown = shown.replace(f"{{{datum.wire}}}", MASK if datum.secret else part)
            case Place.QUERY:
                pairs = [f"{quote(datum.wire)}={quote(each, safe='')}" for each in _texts(value)]
                query += pairs
                shown_query += [f"{quote(datum.wire)}={MASK}"] if datum.secret else pairs
            case Place.HEADER:
                headers[datum.wire] = next(_texts(value), "")
            case Place.BODY:
                body[datum.wire] = value
            case Place.WHOLE:
                whole = value
    places = {datum.place for datum in operation.data}
    content = _encoded(body) if Place.BODY in places else _encoded(whole) if whole is not None else None
    return Wire(
        operation.method,
        base.rstrip("/") + path + _asked(query),
        shown + _asked(shown_query),
        headers if content is None else {**JSON, **headers},
        content,
        tuple(secrets_of(operation, {**data, **credentials})),
    )


def _asked(query: list[str]) -> str:
    return f"?{'&'.join(query)}" if query else ""


def _segment(datum: Datum, value: Any) -> str:
    text = next(_texts(value), "")
    if text in ("", ".", ".."):
        why = f"{datum.name} stands in the address: it cannot be empty, . or .."
        raise Wrong(Code.INVALID_FIELD, why, datum.name)
    return quote(text, safe="@")  # RingMe's `@me`, and nothing that could end a part of the path


def _texts(value: Any) -> Iterator[str]:
    for each in value if isinstance(value, (list, tuple)) else (value,):
        if each is not None:
            yield ("true" if each else "false") if isinstance(each, bool) else str(each)


def _encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def secrets_of(operation: Operation, data: Data) -> Iterator[str]:
    """The values of everything that the operation calls a secret, in a list or an object too."""
    for datum in operation.data:
        if datum.name in data:
            yield from _secrets(datum.schema, data[datum.name], secret=datum.secret)


def _secrets(schema: Schema, value: Any, *, secret: bool) -> Iterator[str]:
    if secret or is_secret(schema):
        if value not in (None, "") and not isinstance(value, (dict, list)):
            yield str(value)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _secrets(schema.get("properties", {}).get(name, {}), inner, secret=False)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _secrets(schema.get("items", {}), each, secret=False)


# From what a command says to what the wire has --------------------------------------------------------


def arguments_of(operation: Operation, data: Data) -> dict[str, Any]:
    """The operation's data, typed. Raises Wrong with the field's name: intake has checked them, by the same file.

    A null clears where the platform takes one, and is left out where it does not.
    """
    found: dict[str, Any] = {}
    for datum in operation.asked:
        value = data.get(datum.name)
        if value is not None:
            found[datum.name] = typed(datum.schema, value, datum.name)
        elif datum.name in data and is_nullable(datum.schema):
            found[datum.name] = None
        elif datum.required:
            raise Wrong(Code.MISSING_FIELD, f"{datum.name} is needed", datum.name)
    return found


def typed(schema: Schema, value: Any, path: str) -> Any:
    """One value as JSON has it: digits in quotes as a number where the platform wants one."""
    for each in schema.get("enum", ()):
        if str(each) == str(value) and not isinstance(value, bool):
            return each
    kinds = types_of(schema)
    if len(kinds) > 1 or kinds == ["any"]:
        return value
    try:
        return _one(kinds[0], schema, value, path)
    except (ValueError, InvalidOperation, TypeError, AttributeError):
        raise Wrong(Code.INVALID_FIELD, f"{path} is not of type {kinds[0]}", path) from None


def _one(kind: str, schema: Schema, value: Any, path: str) -> Any:
    match kind:
        case "integer":
            return int(value)
        case "number":
            number = Decimal(str(value))
            return int(number) if number == number.to_integral_value() else float(number)
        case "array":
            inner = schema.get("items", {})
            return [typed(inner, each, f"{path}[{at}]") for at, each in enumerate(value)]
        case "object":
            known = schema.get("properties", {})
            return {
                name: typed(known.get(name, {}), each, f"{path}.{name}") if each is not None else None
                for name, each in value.items()
                if each is not None or name not in known or is_nullable(known[name])
            }
        case "string":
            return str(value)
        case _:
            return value
