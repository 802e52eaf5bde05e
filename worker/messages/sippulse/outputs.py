"""What `output` holds when a native command succeeded, as JSON Schemas made from the catalogue."""

from __future__ import annotations

import json
from typing import Any

from worker.messages.sippulse.operations import OPERATIONS, Operation
from worker.messages.sippulse.shapes import Field

Schema = dict[str, Any]

DECIMAL: Schema = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
_SIMPLE: dict[str, Schema] = {
    "string": {"type": "string"},
    "int": {"type": "integer"},
    "long": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "double": DECIMAL,
}
_OF_EFFECT: dict[str, dict[str, Schema]] = {
    "create": {
        "platform_id": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "adopted": {"type": "boolean"},
        "differences": {"type": "array", "items": {"type": "string"}},
    },
    "delete": {"removed": {"type": "object", "description": "it as it was, where a read showed it"}},
    "increment": {"amount": DECIMAL, "balance_before": DECIMAL, "balance_after": DECIMAL},
}


def outputs() -> list[tuple[list[str], Schema]]:
    """Command types, and the schema of the output that they share."""
    groups: dict[str, list[str]] = {}
    for each in OPERATIONS.values():
        groups.setdefault(json.dumps(_output(each)), []).append(each.type)
    return [(types, json.loads(schema)) for schema, types in groups.items()]


def _output(operation: Operation) -> Schema:
    found = dict(_OF_EFFECT.get(operation.effect, {}))
    returns = operation.returns
    if returns is not None and operation.effect not in ("create", "increment"):
        found[returns.name] = _value(returns)
    return {"type": "object", "properties": found, "additionalProperties": False}


def _value(field: Field) -> Schema:
    """Secrets are ***; what is empty is null, or left out of an object."""
    one = _SIMPLE[field.type] if field.simple else _object(field)
    if field.secret:
        one = {"type": "string"}
    return {"type": "array", "items": one} if field.many else {"anyOf": [one, {"type": "null"}]}


def _object(field: Field) -> Schema:
    inner = {
        each.name: {"type": "array", "items": _SIMPLE[each.type]} if each.many else _inside(each)
        for each in field.fields
    }
    return {"type": "object", "properties": inner}


def _inside(field: Field) -> Schema:
    return {"const": "***"} if field.secret else _SIMPLE[field.type]
