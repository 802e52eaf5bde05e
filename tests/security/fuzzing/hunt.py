"""A target, run for a time: what it found, how fast, and the worst case in time."""

from __future__ import annotations

import random
import resource
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

PATIENCE = 2.0  # seconds of CPU that one input may cost: the worker's loop stands still meanwhile


class Target(Protocol):
    """A module of this folder."""

    NAME: str

    def corpus(self) -> list[bytes]: ...
    def bend(self, seeds: Sequence[bytes], chance: random.Random) -> bytes: ...
    def check(self, data: bytes) -> str: ...


class TooSlow(Exception):
    """An input that cost more than `PATIENCE`."""


@dataclass(slots=True)
class Hunt:
    """What became of a target's inputs. `found`: place of the failure -> its input, the shortest one seen."""

    name: str
    cases: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    endings: Counter[str] = field(default_factory=Counter)
    found: dict[str, bytes] = field(default_factory=dict)

    def __str__(self) -> str:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rate = self.cases / self.seconds if self.seconds else 0.0
        ended = ", ".join(f"{word} {count}" for word, count in self.endings.most_common())
        return (
            f"{self.name}: {self.cases} inputs in {self.seconds:.0f} s ({rate:.0f}/s), slowest {self.slowest:.3f} s"
            f" of CPU, peak of the process {peak:.0f} MiB; {ended or 'nothing ran'}; {len(self.found)} findings"
        )


def guarded(check: Callable[[bytes], str], data: bytes) -> tuple[str, float]:
    """How one input ended, and its seconds of CPU. Raises TooSlow, or what escaped."""
    began = time.thread_time()
    ending = check(data)
    took = time.thread_time() - began
    if took > PATIENCE:
        raise TooSlow(f"{took:.2f} s of CPU for {len(data)} bytes")
    return ending, took


def hunt(target: Target, seconds: float, seed: int) -> Hunt:
    """The corpus as it is, then bent inputs until the time is up."""
    done, chance = Hunt(target.NAME), random.Random(seed)
    seeds = target.corpus()
    began = time.monotonic()
    for data in seeds:
        _try(target, data, done)
    while (now := time.monotonic() - began) < seconds:
        _try(target, target.bend(seeds, chance), done)
    done.seconds = now
    return done


def _try(target: Target, data: bytes, done: Hunt) -> None:
    done.cases += 1
    try:
        ending, took = guarded(target.check, data)
    except Exception as error:
        where = place(error)
        if where not in done.found or len(data) < len(done.found[where]):
            done.found[where] = data
        return
    done.endings[ending] += 1
    done.slowest = max(done.slowest, took)


def place(error: BaseException) -> str:
    """One finding is one place and one kind of error, however many inputs lead there."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    where = f"{Path(last.filename).name}:{last.lineno}" if last else "?"
    said = type(error).__name__ if not isinstance(error, (AssertionError, TooSlow)) else str(error)[:60]
    return f"{type(error).__name__} at {where} ({said})"
