"""The one table that says what an answer, or the lack of one, means (rules 2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from worker.domain.outcome import Busy, NotSent, Refused, Unclear
from worker.domain.redaction import Masker
from worker.messages.errors import Code
from worker.platforms.port import Unread
from worker.platforms.refusals import BUSY_WITHOUT_A_WORD, Refusals, retry_after
from worker.platforms.sippulse.soap import Fault, Garbage, Operation
from worker.platforms.transport import Answer, Lost


@dataclass(frozen=True, slots=True)
class Answered:
    """The platform did it: HTTP 200 and the operation's own reply. `value` may hold secrets."""

    value: Any = field(repr=False)


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
