"""Bending real inputs, by seed: the same edits for a quick run and for a long one.

No coverage guides it. atheris would; but its wheels are for some platforms only, and the lock for development installs
everywhere. What guides it instead is where it begins: every command, every operation, every known way of being bad.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

LARGEST = 300_000  # bytes of a mutated input: a little more than intake reads

EDITS = (0, 0, 0, 1, 2, 2, 2, 3, 3, 4, 5, 6, 6, 7, 8)  # the destructive ones seldom: nothing lies behind them


def bent(seeds: Sequence[bytes], tokens: Sequence[bytes], chance: random.Random) -> bytes:
    """One of the seeds with a few edits."""
    data = bytearray(chance.choice(seeds))
    for _ in range(1 + min(int(chance.expovariate(0.8)), 30)):
        _edit(data, seeds, tokens, chance)
    return bytes(data[:LARGEST])


def _edit(data: bytearray, seeds: Sequence[bytes], tokens: Sequence[bytes], chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    end = min(len(data), start + 1 + min(int(chance.expovariate(0.1)), 4000))
    match chance.choice(EDITS):
        case 0 if start < len(data):
            data[start] ^= 1 << chance.randrange(8)
        case 1:
            del data[start:end]
        case 2:
            data[start:start] = chance.choice(tokens)
        case 3:
            data[start:end] = chance.choice(tokens)
        case 4:
            data[start:start] = data[start:end]
        case 5:  # many times over: depth, length, repetition
            data[start:start] = chance.choice((*tokens, bytes(data[start:end]))) * chance.choice(
                (2, 8, 64, 3000)
            )
            del data[LARGEST:]
        case 6:  # from another one
            other = chance.choice(seeds)
            place = chance.randrange(len(other) + 1)
            data[start:end] = other[place : place + chance.randrange(1, 200)]
        case 7:
            data[start:start] = chance.randbytes(chance.randrange(1, 9))
        case _:
            del data[start:]


# ---------------------------------------------------------------- JSON that stays JSON

STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 0.1, 1e300, 10**17, 10**30, "", " ", "0", "-0", "1e5", "0x10", "1,5", "٣", "null", "\x00",
    "\ud800", "\u202e", "é" * 300, "a" * 5000, "<&>", "';--", "${x}", "../..", "a@b", "a b", "%00", [], {}, [[]],
    {"a": {"a": {}}}, ["outgoing"] * 1000, {"username": 1}, "sippulse-br", "2026-13-01T00:00:00Z", "\r\n", "*", "ß",
)  # fmt: skip


def estranged(event: Any, chance: random.Random) -> Any:
    """A copy in which one to three values are gone, strange, elsewhere, or under another name."""
    copy = json.loads(json.dumps(event))
    for _ in range(chance.choice((1, 1, 2, 3))):
        _estrange(copy, chance)
    return copy


def _estrange(table: dict[str, Any], chance: random.Random) -> None:
    name = chance.choice(sorted(table)) if table else "x"
    inner = table.get(name)
    if isinstance(inner, dict) and inner and chance.random() < 0.8:
        return _estrange(inner, chance)
    match chance.randrange(5):
        case 0:
            table.pop(name, None)
        case 1:
            table[str(chance.choice(STRANGE))[:50]] = inner
        case 2:
            table[name] = [inner, inner]
        case _:
            table[name] = chance.choice(STRANGE)
    return None
