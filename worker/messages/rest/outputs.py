"""What `output` holds when a native command succeeded, as JSON Schemas made from the OpenAPI file."""

from __future__ import annotations

import json
from typing import Any

from worker.messages.rest.document import table
from worker.messages.rest.operations import Operation

Made = dict[str, Any]

DECIMAL: Made = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
_OF_EFFECT: dict[str, dict[str, Made]] = {
    "create": {
        "platform_id": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "adopted": {"type": "boolean"},
        "differences": {"type": "array", "items": {"type": "string"}},
    },
    "delete": {"removed": {"type": "object", "description": "it as it was, where a read showed it"}},
    "increment": {"amount": DECIMAL, "balance_before": DECIMAL, "balance_after": DECIMAL},
}


def outputs(kind: str) -> list[tuple[list[str], Made]]:
    """Command types, and the schema of the output that they share."""
    groups: dict[str, list[str]] = {}
    for each in table(kind).values():
        groups.setdefault(json.dumps(_output(each)), []).append(each.type)
    return [(types, json.loads(schema)) for schema, types in groups.items()]


def _output(operation: Operation) -> Made:
    """Of an answer only what the file promises is a promise here: platforms add fields as they like."""
    found: Made = {"type": "object", "properties": _OF_EFFECT.get(operation.effect, {})}
    if operation.effect not in _OF_EFFECT and operation.answers_list:
        rows = {"type": "array", "description": "the rows of the answer"}
        found = {"type": "object", "properties": {"rows": rows}}
    return found
