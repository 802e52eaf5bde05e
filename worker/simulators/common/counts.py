"""How many requests came, and what became of them."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True)
class Traces:
    """Requests of one operation: received whole, applied (a success), refused by a fault, answered whole."""

    received: int = 0
    applied: int = 0
    refused: int = 0
    answered: int = 0


@dataclass(slots=True)
class Counts:
    """By operation; faults that struck, by kind; requests that could not be read."""

    operations: defaultdict[str, Traces] = field(default_factory=lambda: defaultdict(Traces))
    faults: Counter[str] = field(default_factory=Counter)
    malformed: int = 0
