"""The one table that says what an answer, or the lack of one, means (rules 2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from worker.domain.outcome import Busy, Ill, NotSent, Refused, Unclear
from worker.domain.redaction import Masker
from worker.messages.errors import Code
from worker.platforms.port import Unread
from worker.platforms.sippulse.soap import Fault, Garbage, Operation
from worker.platforms.transport import Answer, Lost

MOST_TEXT = 500  # characters of a fault's text that go further
MOST_LOOKED_AT = (
    8192  # bytes of it, of which these are a part: an answer has up to 4 MiB, and masking its price
)
SHORTEST, LONGEST = 1.0, 3600.0  # seconds; what Retry-After may make of us
BUSY_WITHOUT_A_WORD = 5.0  # seconds; a 429 without Retry-After, or a text that the table calls busy

# Texts that say the same on every installation. None is documented, so there is none: see the settings.
BUILT_IN: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Answered:
    """The platform did it: HTTP 200 and the operation's own reply. `value` may hold secrets."""

    value: Any = field(repr=False)


class Refusals:
    """Known fault texts: regular expression, any case = error code, `busy` or `ill`. The settings go first."""

    def __init__(self, configured: Mapping[str, str]) -> None:
        """Raises ValueError for a meaning that is neither a code nor `busy` nor `ill`."""
        self._table = [
            (re.compile(pattern, re.IGNORECASE | re.DOTALL), self._meaning(pattern, word))
            for pattern, word in (*configured.items(), *BUILT_IN.items())
        ]

    @staticmethod
    def _meaning(pattern: str, word: str) -> Code | str:
        if word in ("busy", "ill"):
            return word
        try:
            return Code(word)
        except (ValueError, OverflowError):  # the latter: numbers that no clock holds
            known = ", ".join(code.value for code in Code)
            raise ValueError(
                f"refusals: {pattern!r} = {word!r} is no meaning: use busy, ill or one of {known}"
            ) from None

    def meaning(self, text: str, masker: Masker) -> Refused | Ill | Busy:
        """Of a declared fault's whole text. What leaves here is masked and short."""
        begun = masker.cut(text.encode("utf-8", "replace"), MOST_LOOKED_AT)
        shown = bounded(begun) or "(the platform gave no text)"
        for pattern, word in self._table:
            if not pattern.search(text):
                continue
            if isinstance(word, Code):
                return Refused(word, shown, certain=True)
            return Ill(shown) if word == "ill" else Busy(BUSY_WITHOUT_A_WORD)
        return Refused(Code.PLATFORM_REFUSED, shown)


def bounded(text: str) -> str:
    """One line of at most 500 characters."""
    line = " ".join(text.split())
    return line if len(line) <= MOST_TEXT else line[: MOST_TEXT - 1] + "…"


def meaning(
    sent: Answer | Lost, operation: Operation, refusals: Refusals, masker: Masker
) -> Answered | Unread:
    """The table. Order matters: what HTTP says of the login or of haste comes before what SOAP says."""
    if isinstance(sent, Lost):
        return Unclear(sent.why) if sent.sent else NotSent(sent.why)
    after = retry_after(sent.headers.get("Retry-After"))
    match sent.status:
        case 429:
            return Busy(after or BUSY_WITHOUT_A_WORD)
        case 503:
            return Busy(after) if after else Unclear("server_fault")
        case 401 | 403:
            return Refused(Code.CREDENTIALS_REFUSED, f"HTTP {sent.status}", str(sent.status))
        case 408:
            return Unclear("timeout")
        case status if 300 <= status < 400:
            return Unclear("redirect")  # some other server may have taken the request in before
    try:
        read = operation.read(sent.body)
    except Garbage:
        return _unreadable(sent.status)
    if isinstance(read, Fault):
        return refusals.meaning(read.text, masker) if read.declared else Unclear("server_fault")
    return Answered(read.value) if sent.status == 200 else _unreadable(sent.status)


def _unreadable(status: int) -> Refused | Unclear:
    if status < 400:
        return Unclear("garbage")
    if status < 500:
        return Refused(Code.PLATFORM_REFUSED, f"HTTP {status}", str(status))
    return Unclear("server_fault")


def retry_after(value: str | None) -> float | None:
    """Seconds, within 1 and 3600; None where there is no such header or it cannot be read."""
    if value is None:
        return None
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        seconds = float(value)
    else:
        try:
            when = parsedate_to_datetime(value)
        except (ValueError, OverflowError):  # the latter: numbers that no clock holds
            return None
        seconds = ((when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, SHORTEST), LONGEST)
