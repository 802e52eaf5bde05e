"""What RingMe's refusals mean (RU 44302395): the HTTP code, and a word that tells those of one code apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worker.platforms.refusals import BUSY_WITHOUT_A_WORD, Refusals, retry_after
from worker.platforms.rest import Answers, Declared
from worker.platforms.ringme.pace import busy_for
from worker.platforms.transport import Answer

# The one word that is surely about the command itself. For all others a control read decides.
BUILT_IN: Mapping[str, str] = {r"^client_not_found\b": "not_found"}
EXPLAINED: Mapping[str, str] = {
    "user_blocked": "our user, or the client that it belongs to, is blocked at RingMe",
    "access_denied": "our user has no right to this",
    "user_access_type_deny": "the access of our user does not cover this",
    "app_access_type_deny": "the type or access level of our application does not cover this",
}


def answers(configured: Mapping[str, str]) -> Answers:
    """Raises ValueError for a table of refusals that is none."""
    return Answers(Refusals(configured, BUILT_IN), declared=declared, busy_for=stay_away)


def declared(status: int, value: Any) -> Declared | None:
    """The error in the body of a 4XX: `status`, `message`, or both."""
    if not 400 <= status < 500 or not isinstance(value, Mapping):
        return None
    word, message = value.get("status"), value.get("message")
    word = word if isinstance(word, str) and word else None
    text = message if isinstance(message, str) else ""
    if word is None and not text:
        return None
    return Declared(text, word, EXPLAINED.get(word or "", ""))


def stay_away(sent: Answer) -> float:
    """Of a 429: until the next hour, exactly; or a moment, where another heavy question is being answered."""
    return busy_for(sent) or retry_after(sent.headers.get("Retry-After")) or BUSY_WITHOUT_A_WORD
