"""What every platform's planning asks of a command before anything is sent: is it allowed, is the amount right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, localcontext
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qsl

from worker.messages.errors import Code, Problem
from worker.settings import PlatformSettings

_DECIMAL = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,6})?", re.ASCII)


class Wrong(Exception):
    """Carries the Problem out of the planning."""

    def __init__(self, code: Code, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.problem = Problem(code, message, field)


def covers(pattern: str, type_: str) -> bool:
    """With or without the version."""
    return fnmatchcase(type_, pattern) or fnmatchcase(type_.rpartition(".")[0], pattern)


def check_allowed(name: str, settings: PlatformSettings, type_: str, denied: str = "") -> None:
    """Raise Wrong for what `deny` names. `denied`: why it is not allowed by default, unless `allow` names it."""
    if denied and not _covered(settings.allow, type_):
        why = f"{type_} is not allowed by default, for {denied}: name it in allow of {name}"
        raise Wrong(Code.NOT_ALLOWED, why)
    for pattern in settings.deny:
        if covers(pattern, type_):
            why = f"{type_} is denied on {name} by the pattern {pattern!r} in deny"
            raise Wrong(Code.NOT_ALLOWED, why)


def _covered(patterns: Sequence[str], type_: str) -> bool:
    return any(covers(pattern, type_) for pattern in patterns)


def amount_of(name: str, settings: PlatformSettings, given: Any, field: str = "amount") -> Decimal:
    """What is booked, within the platform's limits. `field`: its name in the data. Raises Wrong."""
    return within_limits(name, settings, _decimal(given, field), field)


def within_limits(name: str, settings: PlatformSettings, amount: Decimal, field: str) -> Decimal:
    """The amount itself. Raises Wrong."""
    limits, step = settings.limits, settings.credit_step
    if amount == 0:
        raise Wrong(Code.INVALID_FIELD, f"{field} has to be above 0", field)
    if amount < 0 and not limits.negative_credit:
        why = f"{field} has to be above 0: limits.negative_credit is off on {name}"
        raise Wrong(Code.INVALID_FIELD, why, field)
    if _finer(amount, step):
        raise Wrong(Code.INVALID_FIELD, f"{field} is finer than credit_step, {step:f} on {name}", field)
    if limits.credit_max is not None and abs(amount) > limits.credit_max:
        why = f"{field} is above limits.credit_max, {limits.credit_max:f} on {name}"
        raise Wrong(Code.OVER_LIMIT, why, field)
    return amount


def _decimal(given: Any, field: str) -> Decimal:
    if given is None:
        raise Wrong(Code.MISSING_FIELD, f"{field} is needed", field)
    if not isinstance(given, str) or not _DECIMAL.fullmatch(given):
        raise Wrong(Code.INVALID_FIELD, f"{field}: it has to be a decimal string such as 12.34", field)
    return Decimal(given)


def _finer(amount: Decimal, step: Decimal) -> bool:
    with localcontext() as context:
        context.prec = 60  # the default's 28 digits are too few for a large amount and a small step
        return amount % step != 0


def read_of(said: str) -> tuple[str, dict[str, str]]:
    """A read and its arguments, as the setting `control_read` names them: operation?name=value&name=value."""
    operation, _, arguments = said.partition("?")
    return operation, dict(parse_qsl(arguments, keep_blank_values=True))
