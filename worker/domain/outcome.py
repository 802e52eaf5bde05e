"""What a platform answered, as one value from a closed list (rules 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.messages.errors import Code


@dataclass(frozen=True, slots=True)
class Done:
    """The platform answered, whole and parsed, that it did what was asked."""

    output: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """The platform answered, whole and parsed, that it will not.

    `certain` says that the platform's own table knows the text, so that it is about this command.
    Otherwise the login or the whole platform may be at fault: a control read decides (rule 2.4).
    `said`: the platform's own words, which `text` may explain; None: it used none, and `text` is all ours.
    """

    code: Code
    text: str
    platform_code: str | None = None
    certain: bool = False
    said: str | None = field(default=None, compare=False)  # the same refusal, however it was worded


@dataclass(frozen=True, slots=True)
class Ill:
    """Not this command is at fault but the platform, or our login there: everything of it waits."""

    text: str
    credentials: bool = False


@dataclass(frozen=True, slots=True)
class Busy:
    """The platform is well, and asks us to come back `after` seconds."""

    after: float


@dataclass(frozen=True, slots=True)
class NotSent:
    """No byte of the request had been handed to the socket: repeating is safe (rule 2.1)."""

    why: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """Everything else: it may have had an effect, or may yet have one."""

    why: str


Outcome = Done | Refused | Ill | Busy | NotSent | Unclear


@dataclass(frozen=True, slots=True)
class Exchange:
    """What went over the wire, redacted: an attempt's row. Texts are at most 8 KiB, `ms` milliseconds."""

    endpoint: str
    ms: float
    status: int | None = None  # of HTTP; None: no whole answer came
    request: str = ""
    answer: str = ""
