"""The one table that says what an answer over HTTP and JSON, or the lack of one, means (rules 2).

not begun                          NotSent
lost, cut, 3xx, 408, 5xx, no JSON  Unclear
429, 503 with Retry-After          Busy
an error that the platform states  as its text's entry in the table says, else as its status
401, 403                           Refused credentials_refused  } each to be confirmed by
404                                Refused not_found            } a control read (rule 2.4)
other 4xx                          Refused platform_refused     }
2xx with the JSON that is due      Answered
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, NoReturn

from worker.domain.outcome import Busy, NotSent, Refused, Unclear
from worker.domain.redaction import Masker
from worker.messages.errors import Code
from worker.messages.parsing import MOST_BRACKETS, too_deep
from worker.messages.rest.operations import Operation
from worker.platforms.port import Unread
from worker.platforms.refusals import BUSY_WITHOUT_A_WORD, Refusals, retry_after
from worker.platforms.transport import Answer, Lost

MOST_DIGITS = 40  # of a number


class Garbage(Exception):
    """An answer that is not what the operation promises. The text never quotes the answer."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The platform did it. `value` is the JSON, numbers with a fraction as Decimal; it may hold secrets."""

    value: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Declared:
    """An error that the platform states in the body. `code` is its own word or number for it. `meaning`: ours."""

    text: str = field(repr=False)
    code: str | None = None
    meaning: str = ""


def states_nothing(status: int, value: Any) -> Declared | None:
    """A platform whose errors show in the HTTP status alone."""
    return None


def by_retry_after(answer: Answer) -> float:
    """Seconds to stay away."""
    return retry_after(answer.headers.get("Retry-After")) or BUSY_WITHOUT_A_WORD


@dataclass(frozen=True, slots=True)
class Answers:
    """How one platform answers.

    declared  (HTTP status, JSON) -> the error that it states, if it does; asked for every status
    busy_for  seconds that a 429 asks for
    sound     (operation, JSON) -> whether a 2xx without an error is an answer at all
    """

    refusals: Refusals
    declared: Callable[[int, Any], Declared | None] = states_nothing
    busy_for: Callable[[Answer], float] = by_retry_after
    sound: Callable[[Operation, Any], bool] = lambda operation, value: True

    def meaning(self, sent: Answer | Lost, operation: Operation, masker: Masker) -> Answered | Unread:
        """The table. Order matters: what HTTP says of haste comes before what the body says."""
        if isinstance(sent, Lost):
            return Unclear(sent.why) if sent.sent else NotSent(sent.why)
        match sent.status:
            case 429:
                return Busy(self.busy_for(sent))
            case 503 if retry_after(sent.headers.get("Retry-After")):
                return Busy(by_retry_after(sent))
            case 408:
                return Unclear("timeout")
            case status if 300 <= status < 400:
                return Unclear("redirect")  # some other server may have taken the request in before
        try:
            value = read(sent.body)
        except Garbage:
            return _by_status(sent.status) or Unclear("garbage")
        said = self.declared(sent.status, value)
        if said is not None:
            return self._refused(sent.status, said, masker)
        return _by_status(sent.status) or self._good(operation, value)

    def _refused(self, status: int, said: Declared, masker: Masker) -> Unread:
        text = ": ".join(part for part in (said.code, said.text) if part)
        what = self.refusals.meaning(text, masker, otherwise=_code(status), code=said.code or str(status))
        if not said.meaning or isinstance(what, Busy):
            return what
        return replace(what, text=f"{what.text}; {said.meaning}")

    def _good(self, operation: Operation, value: Any) -> Answered | Unclear:
        due = operation.answer
        if due is not None and (value is None or operation.answers_list != isinstance(value, list)):
            return Unclear("garbage")
        return Answered(value) if self.sound(operation, value) else Unclear("garbage")


def _by_status(status: int) -> Refused | Unclear | None:
    """None: the status is a good one."""
    if status < 400:
        return None
    if status < 500:
        return Refused(_code(status), f"HTTP {status}", str(status))
    return Unclear("server_fault")


def _code(status: int) -> Code:
    if status in (401, 403):
        return Code.CREDENTIALS_REFUSED
    return Code.NOT_FOUND if status == 404 else Code.PLATFORM_REFUSED


def read(body: bytes) -> Any:
    """The JSON of an answer, None where there is none. Raises Garbage: strict, and bounded in depth and breadth."""
    if not body.strip():
        return None
    if body.count(b"[") + body.count(b"{") > MOST_BRACKETS or too_deep(body):
        raise Garbage("the answer nests too deep")
    try:
        return _STRICT.decode(body.decode())
    except (ValueError, ArithmeticError, RecursionError):
        raise Garbage("the answer is no JSON") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values for one name nobody knows which is meant."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError
    return table


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError
    return int(digits)


def _broken(digits: str) -> Decimal:
    number = Decimal(digits)
    if len(digits) > MOST_DIGITS or abs(number.adjusted()) > MOST_DIGITS:
        raise ValueError
    return number


def _no_number(_word: str) -> NoReturn:
    raise ValueError


_STRICT = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_whole, parse_float=_broken, parse_constant=_no_number
)


def plain(value: Any) -> Any:
    """As results say it: numbers with a fraction as decimal texts, which lose nothing on their way."""
    match value:
        case Decimal():
            return f"{value:f}"
        case Mapping():
            return {name: plain(inner) for name, inner in value.items()}
        case list():
            return [plain(each) for each in value]
        case _:
            return value
