"""An example of the data of every native command, made from the OpenAPI file."""

from __future__ import annotations

from typing import Any

from worker.messages.rest.document import table
from worker.messages.rest.operations import Operation, Schema, is_secret, types_of

OF_A_TYPE: dict[str, Any] = {"boolean": True, "integer": 3, "number": "1.50", "string": "x", "any": "x"}


def data(kind: str) -> dict[str, dict[str, Any]]:
    """Command type -> its data, without `platform`."""
    return {each.type: _data(each) for each in table(kind).values()}


def _data(operation: Operation) -> dict[str, Any]:
    """What the file gives (`x-example`), and what is needed besides."""
    given = dict(operation.example)
    return {
        each.name: given.get(each.name, _value(each.schema))
        for each in operation.asked
        if each.required or each.name in given
    }


def _value(schema: Schema) -> Any:
    if "example" in schema:
        return schema["example"]
    if schema.get("examples"):
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    if is_secret(schema):
        return "a-secret"
    if schema.get("format") == "decimal":
        return "1.50"
    match types_of(schema)[0]:
        case "array":
            return [_value(schema.get("items", {}))]
        case "object":
            needs = schema.get("required", ())
            return {
                name: _value(each) for name, each in schema.get("properties", {}).items() if name in needs
            }
        case kind:
            return OF_A_TYPE[kind]
