"""What goes into the transport and what comes out. URLs, headers and bodies may hold secrets: no repr."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Phase(IntEnum):
    """How far a request has come. Below WRITING no byte of it has been handed to the socket."""

    WAITING = 0  # for a free place among `limit` calls
    CONNECTING = 1  # finding a rested connection, or DNS, TCP, TLS
    CONNECTED = 2  # a connection is open and ours
    WRITING = 3  # the first byte is, or is just being, handed to the socket
    SENT = 4  # the whole request was handed to the socket
    READING = 5  # the head of an answer has come


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `fresh`: over a connection opened for it, never over one that was used before.

    The transport itself sets Connection, Content-Length and Host; Expect and Transfer-Encoding are refused.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    fresh: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, of any status. Times are seconds of `time.monotonic()`.

    `began` is the moment the transport was asked, before it waited for anything; `ended`, the body was whole.
    Header names are looked up without regard to case.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Lost:
    """No whole answer. `why` is one word, safe to log: most of them stand in `client.WORDS`."""

    phase: Phase
    why: str
    began: float = 0.0
    ended: float = 0.0

    @property
    def sent(self) -> bool:
        """True: the platform may have got it. False: no byte of it was handed to the socket."""
        return self.phase >= Phase.WRITING


class NoGuard:
    """For calls without a lease: control reads, `look`, tokens."""

    def before_first_byte(self) -> None: ...

    def wrote(self) -> None: ...


NO_GUARD = NoGuard()


def boottime() -> float:
    """Seconds on a clock that goes on while the machine sleeps (CLOCK_BOOTTIME), where the system has one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
