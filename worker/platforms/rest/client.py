"""One REST call to one platform: built, sent once, read, and noted without its secrets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from worker.domain.effect import Effect
from worker.domain.outcome import Busy, Exchange, Refused
from worker.domain.redaction import MASK, Masker
from worker.messages.rest.operations import Operation, secret_names
from worker.platforms.planning import Wrong
from worker.platforms.port import Guard, Unread
from worker.platforms.reading import not_sent
from worker.platforms.rest.answers import Answered, Answers, Garbage, read
from worker.platforms.rest.wire import Data, Wire, build
from worker.platforms.transport import NO_GUARD, Answer, Lost, Request, Transport

MOST_KEPT = 8192  # bytes of a request or an answer in an attempt's row


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a call, and what an attempt's row keeps of it."""

    what: Answered | Unread
    exchange: Exchange


class Login(Protocol):
    """How the worker signs in. What stands in the address instead is the client's `credentials`."""

    async def headers(self) -> Mapping[str, str] | Unread:
        """Headers of the next request, or why there are none: then nothing is sent."""

    async def renewed(self, refused: Mapping[str, str]) -> bool:
        """After a 401 to a request with these headers: whether there are others now, and it is worth one more."""

    def secrets(self) -> Iterable[str]:
        """What must not be seen anywhere."""


class Pace(Protocol):
    """Whose turn it is. It may wait a little, within the lease; what takes longer is `Busy`."""

    def turn(self, operation: Operation, *, control: bool) -> AbstractAsyncContextManager[Busy | None]:
        """Around one sending. A `Busy`: nothing is sent now."""

    def heard(self, sent: Answer | Lost) -> None:
        """Every answer, for what it says of limits."""


class NoLogin:
    """Nothing beside what stands in the address."""

    async def headers(self) -> Mapping[str, str] | Unread:
        return {}

    async def renewed(self, refused: Mapping[str, str]) -> bool:
        return False

    def secrets(self) -> Iterable[str]:
        return ()


class FixedLogin(NoLogin):
    """Headers that never change; their values are secrets."""

    def __init__(self, headers: Mapping[str, str], secrets: Iterable[str] = ()) -> None:
        """`secrets`: what in the headers is one, where that is less than a whole value."""
        self._headers, self._secrets = dict(headers), (*headers.values(), *secrets)

    async def headers(self) -> Mapping[str, str]:
        return self._headers

    def secrets(self) -> Iterable[str]:
        return self._secrets


class NoPace:
    """As fast as the engine lets us."""

    @asynccontextmanager
    async def turn(self, operation: Operation, *, control: bool) -> AsyncIterator[Busy | None]:
        yield None

    def heard(self, sent: Answer | Lost) -> None:
        return None


@dataclass(slots=True)
class Client:
    """The operations of one platform. `credentials`: values of the parameters that are the worker's to fill in."""

    url: str
    transport: Transport
    answers: Answers
    credentials: Data = field(default_factory=dict, repr=False)
    login: Login = field(default_factory=NoLogin, repr=False)
    pace: Pace = field(default_factory=NoPace, repr=False)

    async def call(
        self,
        operation: Operation,
        data: Data,
        *,
        guard: Guard = NO_GUARD,
        effect: Effect | None = None,
        control: bool = False,
    ) -> Heard:
        """Send it once; a second time only where the first was refused for a token that had run out.

        `effect`: of the step, where it is not the operation's own. `control`: it goes first where turns are few.
        """
        try:
            wire = build(self.url, operation, data, self.credentials)
        except Wrong as wrong:
            return _not_sent(operation, Refused(wrong.problem.code, wrong.problem.message, certain=True))
        fresh = (effect or Effect(operation.effect)).needs_fresh_connection
        heard, used = await self._once(operation, wire, fresh, guard, control)
        if heard.exchange.status == 401 and await self.login.renewed(used):
            heard, _ = await self._once(operation, wire, fresh, guard, control)
        return heard

    async def _once(
        self, operation: Operation, wire: Wire, fresh: bool, guard: Guard, control: bool
    ) -> tuple[Heard, Mapping[str, str]]:
        headers = await self.login.headers()
        if not isinstance(headers, Mapping):
            return _not_sent(operation, headers), {}
        request = Request(wire.method, wire.url, {**wire.headers, **headers}, wire.body, fresh)
        async with self.pace.turn(operation, control=control) as busy:
            if busy is not None:
                return _not_sent(operation, busy), headers
            sent = await self.transport.send(request, guard)
            self.pace.heard(sent)
        masker = self._masker(operation, wire, sent)
        what = self.answers.meaning(sent, operation, masker)
        return Heard(what, _exchange(operation, wire, sent, masker)), headers

    def _masker(self, operation: Operation, wire: Wire, sent: Answer | Lost) -> Masker:
        """Against what we sent, what we sign in with, and what the answer itself holds."""
        known = {*wire.secrets, *self.login.secrets(), *map(str, self.credentials.values())}
        if isinstance(sent, Answer) and (names := secret_names(operation.answer)):
            with suppress(Garbage):  # what cannot be read is masked by the names of its fields alone
                known |= set(_under(names, read(sent.body)))
        return Masker(secret for secret in known if secret)

    async def close(self) -> None:
        await self.transport.close()


def _under(names: frozenset[str], value: Any) -> Iterable[str]:
    """Texts and numbers that stand under one of these names."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name in names and isinstance(inner, (str, int)) and not isinstance(inner, bool):
                yield str(inner)
            else:
                yield from _under(names, inner)
    elif isinstance(value, list):
        for each in value:
            yield from _under(names, each)


def _not_sent(operation: Operation, what: Unread) -> Heard:
    """A login that was lost on its way says nothing about this call, which did not go out."""
    return Heard(not_sent(what), Exchange(operation.endpoint, 0.0))


def _exchange(operation: Operation, wire: Wire, sent: Answer | Lost, masker: Masker) -> Exchange:
    """Of an answer that may be a secret under any name nothing is kept."""
    endpoint = operation.endpoint
    ms = round((sent.ended - sent.began) * 1000, 3)
    head = f"{wire.method} {wire.shown}\n".encode()
    request = masker.cut(head + (wire.body or b""), MOST_KEPT)
    if isinstance(sent, Lost):
        return Exchange(endpoint, ms, None, request, "")
    if operation.secret and sent.status < 400 and sent.body:
        return Exchange(endpoint, ms, sent.status, request, MASK)
    return Exchange(endpoint, ms, sent.status, request, masker.cut(sent.body, MOST_KEPT))
