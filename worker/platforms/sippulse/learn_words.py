"""What `worker platforms learn` says of an answer, without names and secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from worker.domain.outcome import Refused, Unclear
from worker.platforms.port import Unread
from worker.platforms.sippulse.answers import Answered
from worker.platforms.sippulse.records import Name, is_nameless, may_mean_absent, without_names

UNDECLARED = "a fault that is not declared"


def shape(name: Name, what: Answered | Unread) -> str:
    """How an answer says "absent", without the name; empty: it does not."""
    match what:
        case Answered(None):
            return "an empty answer"
        case Answered(value):
            return "a record of nobody" if is_nameless(value) else ""
        case Refused() if may_mean_absent(what):
            return f'the fault "{without_names(what.text, name)}"'
        case Unclear("server_fault"):
            return UNDECLARED
        case _:
            return ""


def looks(value: Any, sent: str) -> str:
    """A secret that was read back."""
    if value == sent:
        return "returned"
    if value in (None, ""):
        return "empty"
    return "masked"


def answered(what: Answered | Unread) -> str:
    return "is accepted" if isinstance(what, Answered) else f"is {word(what)}"


def word(what: Answered | Unread) -> str:
    match what:
        case Answered():
            return "answered"
        case Refused():
            return f'refused, "{what.text}"'
        case _:
            return f"not answered ({getattr(what, 'why', type(what).__name__.lower())})"


def said(shown: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in shown.items())


def pattern_of(text: str) -> str:
    """A regular expression for the text, whoever it is about. *** stands for a secret that it showed."""
    parts = re.split(r"(<username>|<domain>|<login>|\*\*\*)", text)
    return "".join(
        r"\S+" if number % 2 else re.escape(part).replace(r"\ ", " ") for number, part in enumerate(parts)
    )
