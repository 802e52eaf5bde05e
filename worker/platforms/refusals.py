"""What a platform's words of refusal mean: the table that the settings extend, and how long to stay away."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from worker.domain.outcome import Busy, Ill, Refused
from worker.domain.redaction import Masker
from worker.messages.errors import Code

MOST_TEXT = 500  # characters of a refusal's text that go further
MOST_LOOKED_AT = (
    8192  # bytes of it, of which these are a part: an answer has up to 4 MiB, and masking its price
)
SHORTEST, LONGEST = 1.0, 3600.0  # seconds; what Retry-After may make of us
BUSY_WITHOUT_A_WORD = 5.0  # seconds; a 429 without Retry-After, or a text that the table calls busy


class Refusals:
    """Known texts: regular expression, any case = error code, `busy` or `ill`. The settings go first."""

    def __init__(self, configured: Mapping[str, str], built_in: Mapping[str, str] | None = None) -> None:
        """Raises ValueError for a meaning that is neither a code nor `busy` nor `ill`."""
        self._table = [
            (re.compile(pattern, re.IGNORECASE | re.DOTALL), self._meaning(pattern, word))
            for pattern, word in (*configured.items(), *(built_in or {}).items())
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

    def meaning(
        self, text: str, masker: Masker, *, otherwise: Code = Code.PLATFORM_REFUSED, code: str | None = None
    ) -> Refused | Ill | Busy:
        """Of a refusal's whole text. What leaves here is masked and short.

        `otherwise`: what it is if the table does not know the text. `code`: the platform's own, if it gave one.
        """
        begun = masker.cut(text.encode("utf-8", "replace"), MOST_LOOKED_AT)
        said = bounded(begun) or None
        shown = said or "(the platform gave no text)"
        for pattern, word in self._table:
            if not pattern.search(text):
                continue
            if isinstance(word, Code):
                return Refused(word, shown, code, certain=True, said=said)
            return Ill(shown) if word == "ill" else Busy(BUSY_WITHOUT_A_WORD)
        return Refused(otherwise, shown, code, said=said)


def bounded(text: str) -> str:
    """One line of at most 500 characters."""
    line = " ".join(text.split())
    return line if len(line) <= MOST_TEXT else line[: MOST_TEXT - 1] + "…"


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
