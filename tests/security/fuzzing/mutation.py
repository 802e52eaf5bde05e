"""Bending real inputs, by seed: the same edits for a quick run and for a long one.

No coverage guides it. atheris would; but its wheels are for some platforms only, and the lock for development installs
everywhere. What guides it instead is where it begins: every command, every operation, every known way of being bad.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

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
