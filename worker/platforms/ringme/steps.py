"""Steps that need more than one operation: the swap of dial rules, and what is found by its number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from worker.messages.rest.operations import Operation, Table
from worker.platforms.rest import RestStep

KIND = "ringme"
CLIENT, EXTENSION, PHONE = "client", "extension", "phone"
LIST = "extension.list"


def operation(table: Table, endpoint: str) -> Operation:
    return table[f"{KIND}.{endpoint}.v1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleStep(RestStep):
    """calls.block and calls.unblock: another `dial_rule_id`, of a client or of an internal number.

    `of`: the object in the worker's memory. `rule`: the list that lets no call out; None: not set.
    """

    of: str
    read: Operation
    rule: int | None
    block: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberStep(RestStep):
    """About an internal number that this command made or found. `extension_id`: as the answer to that named it; None:
    it is looked up by `number`."""

    number: str
    extension_id: int | None = None


def is_named(row: Any, number: str) -> bool:
    """Whether an entry of the list is the number: it shows `prefix*number`, and took perhaps the bare one."""
    name = row.get("name") if hasattr(row, "get") else None
    return isinstance(name, str) and (name == number or name.endswith(f"*{number}"))
