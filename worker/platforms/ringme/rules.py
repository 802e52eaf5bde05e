"""What was in place before calls were blocked: remembered for as long as it takes, in the worker's memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.platforms.port import Memory

NAME = "dial_rule"


@dataclass(frozen=True, slots=True)
class Kept:
    """`rule`: what was put in place; `was`: the list before it, None where there was none."""

    rule: int
    was: int | None

    @classmethod
    async def recalled(cls, memory: Memory, of: str) -> Kept | None:
        text = await memory.recall(of, NAME)
        if text is None:
            return None
        said = json.loads(text)
        return cls(said["rule"], said["was"])

    async def remember(self, memory: Memory, of: str) -> None:
        await memory.remember(of, NAME, json.dumps({"rule": self.rule, "was": self.was}))

    async def forget(self, memory: Memory, of: str) -> None:
        await memory.forget(of, NAME)


def rule_of(record: Any) -> int | None:
    """The list of rules in a record; an id in quotes is the same id."""
    value = record.get("dial_rule_id") if isinstance(record, Mapping) else None
    text = str(value) if value is not None else ""
    return int(text) if text.isascii() and text.isdecimal() else None
