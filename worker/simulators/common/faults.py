"""Which request meets which fault: rules in order, a seeded generator, counts that run out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from random import Random
from typing import Any, ClassVar, Protocol, Self

KINDS = {
    "delay": "waits `seconds`, then applies and answers, also when the client has gone",
    "busy": "answers 503 with Retry-After: `retry_after`",
    "html500": "answers an HTML error page with status 500",
    "drop_before": "ends the connection (`how`) before applying",
    "drop_after": "applies, then ends the connection (`how`) without an answer",
    "late": "gives no answer (`connection`: hang or drop) and applies `seconds` after `since`",
    "freeze": "stops everything (`scope`) for `seconds`; what comes is queued and applied in order after",
    "drip": "applies, then sends the answer byte by byte for `seconds`",
    "garbage": "applies, then answers no HTTP, an unreadable body, or half an answer (`variant`)",
}

# Every way to lose an answer that any platform has. `lost` as a kind stands for such a mix.
LOST: Mapping[str, float] = {
    "drop_before": 1,
    "drop_after": 2,
    "late": 1,
    "drip": 1,
    "garbage": 1,
    "html500": 1,
}

CHOICES: Mapping[str, tuple[str, ...]] = {
    "how": ("either", "close", "reset"),
    "connection": ("hang", "drop"),
    "since": ("received", "hangup"),
    "scope": ("platform", "operation"),
}

_APPLIES = frozenset({"delay", "drop_after", "late", "freeze", "drip", "garbage"})
_SECONDS = {"delay": 1.0, "late": 2.0, "freeze": 5.0, "drip": 2.0}


class Called(Protocol):
    """A request as rules see it: `name` is what a person would call it in full, e.g. SubscriberWS.addCredit."""

    @property
    def name(self) -> str: ...

    @property
    def operation(self) -> str: ...


@dataclass(frozen=True, slots=True)
class BaseRule:
    """A fault on request; each simulator adds by whom, or about what, a request has to be.

    operation: patterns of operation names, full names or `*`; also `@changes` and `@reads`.
    kind: one of KINDS, or `lost`; or mix: kind -> weight. share: probability 0 to 1 by the seeded generator.
    count: only so many times, None for ever. skip: let so many matching requests pass first.
    seconds: the kind's own default when None. within: `since` hangup, but so many seconds after it came at the
    latest, for a platform's transaction has an end although its client is frozen. applied: overrides whether the change is made (kinds that
    answer in the platform's place normally make none). text: what a refusal says.
    """

    KINDS: ClassVar[Mapping[str, str]] = KINDS
    LOST: ClassVar[Mapping[str, float]] = LOST
    CHOICES: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **CHOICES,
        "variant": ("any", "not_http", "not_json", "truncated"),
    }

    operation: tuple[str, ...] = ("*",)
    kind: str = ""
    mix: Mapping[str, float] = field(default_factory=dict)
    share: float = 1.0
    count: int | None = None
    skip: int = 0
    seconds: float | None = None
    applied: bool | None = None
    text: str = "Simulated fault"
    retry_after: int = 1
    how: str = "either"
    variant: str = "any"
    connection: str = "hang"
    since: str = "received"
    within: float | None = None
    scope: str = "platform"

    def __post_init__(self) -> None:
        if bool(self.kind) == bool(self.mix):
            raise ValueError("a fault rule has either a kind or a mix of kinds with weights")
        for kind in self.kinds():
            if kind not in self.KINDS:
                raise ValueError(f"unknown fault {kind!r}: we know lost, {', '.join(self.KINDS)}")
        for name, known in self.CHOICES.items():
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{name} cannot be {value!r}: it takes {', '.join(known)}")
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is a probability from 0 to 1, not {self.share}")
        if any(weight < 0 for weight in self.kinds().values()) or not sum(self.kinds().values()):
            raise ValueError("weights are 0 or more, and one of them is above 0")

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Read one rule of the admin API or the settings. Raises ValueError that names what is wrong."""
        known = [each.name for each in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"unknown field {unknown[0]!r} of a fault rule: we know {', '.join(known)}")
        given = dict(values)
        patterns = given.get("operation", "*")
        given["operation"] = (patterns,) if isinstance(patterns, str) else tuple(patterns)
        return cls(**given)

    def kinds(self) -> Mapping[str, float]:
        if self.mix:
            return self.mix
        return self.LOST if self.kind == "lost" else {self.kind: 1}

    def matches(self, call: Any) -> bool:
        """Whether a request (of this simulator's own type) is one of those meant."""
        return any(self.covers(pattern, call) for pattern in self.operation) and self.about(call)

    def covers(self, pattern: str, call: Called) -> bool:
        if pattern.startswith("@"):
            changes = self.changes(call)
            return changes is not None and changes == (pattern == "@changes")
        return fnmatchcase(call.operation, pattern) or fnmatchcase(call.name, pattern)

    def changes(self, call: Any) -> bool | None:
        """Whether the request changes something; None where that is not known."""
        return None

    def about(self, call: Any) -> bool:
        """Whether the request is about the object that the rule names."""
        return True


@dataclass(frozen=True, slots=True)
class Fault:
    """A rule that has been drawn for one request: one kind, with its parameters."""

    kind: str
    rule: BaseRule

    @property
    def seconds(self) -> float:
        return _SECONDS.get(self.kind, 0.0) if self.rule.seconds is None else self.rule.seconds

    @property
    def applies(self) -> bool:
        return self.kind in _APPLIES if self.rule.applied is None else self.rule.applied


@dataclass(slots=True)
class Standing:
    """A rule in force: how often it matched and how often it struck."""

    number: int
    rule: BaseRule
    seen: int = 0
    hits: int = 0

    @property
    def spent(self) -> bool:
        return self.rule.count is not None and self.hits >= self.rule.count


class Faults:
    """The rules in force. The first one that matches and is drawn wins."""

    def __init__(self, seed: int) -> None:
        self.standing: list[Standing] = []
        self.random = Random(seed)  # noqa: S311 - repeatable faults, no secret
        self._next = 1

    def add(self, rule: BaseRule) -> Standing:
        self.standing.append(Standing(self._next, rule))
        self._next += 1
        return self.standing[-1]

    def clear(self) -> None:
        self.standing.clear()

    def draw(self, call: Called) -> Fault | None:
        for standing in self.standing:
            if not standing.spent and standing.rule.matches(call):
                standing.seen += 1
                if standing.seen > standing.rule.skip and self.random.random() < standing.rule.share:
                    standing.hits += 1
                    return Fault(self._kind(standing.rule), standing.rule)
        return None

    def _kind(self, rule: BaseRule) -> str:
        weights = rule.kinds()
        return self.random.choices(list(weights), list(weights.values()))[0]
