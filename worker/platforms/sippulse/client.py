"""One SOAP call to one platform: built, sent once, read, and noted without its secrets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.domain.outcome import Exchange, Refused
from worker.domain.redaction import Masker
from worker.messages.errors import Code
from worker.platforms.port import Guard, Unread
from worker.platforms.refusals import Refusals
from worker.platforms.sippulse.answers import Answered, meaning
from worker.platforms.sippulse.services import NotThere, Services, Unusable
from worker.platforms.sippulse.soap import HEADERS, Operation, Unbuildable
from worker.platforms.transport import NO_GUARD, Answer, Lost, Request, Transport

MOST_KEPT = 8192  # bytes of a request or an answer in an attempt's row


@dataclass(frozen=True, slots=True)
class Principal:
    login: str
    password: str = field(repr=False)

    def as_argument(self) -> dict[str, str]:
        return {"login": self.login, "password": self.password}


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a call, and what an attempt's row keeps of it."""

    what: Answered | Unread
    exchange: Exchange


class Client:
    """The services of one platform. `services` may be replaced when the server's own WSDLs have come."""

    def __init__(
        self, url: str, principal: Principal, transport: Transport, services: Services, refusals: Refusals
    ) -> None:
        self._url, self._principal, self._transport, self._refusals = url, principal, transport, refusals
        self.services = services
        self._masker = Masker([principal.password])

    async def call(
        self,
        endpoint: str,
        arguments: Mapping[str, Any],
        *,
        guard: Guard = NO_GUARD,
        fresh: bool = False,
        secrets: Iterable[str] = (),
    ) -> Heard:
        """Send `Service.operation` once. `secrets`: values in `arguments` to keep out of what is noted."""
        operation = await self.operation(endpoint)
        if operation is None:
            return _unsupported(endpoint, f"{endpoint} is not in this server's WSDL")
        try:
            body = operation.build(self.with_login(operation, arguments))
        except Unbuildable as error:
            return _unsupported(endpoint, str(error))
        url = self.address(operation)
        sent = await self._transport.send(Request("POST", url, HEADERS, body, fresh), guard)
        masker = self.masker(secrets)
        exchange = _exchange(endpoint, body, sent, masker)
        return Heard(meaning(sent, operation, self._refusals, masker), exchange)

    async def operation(self, endpoint: str) -> Operation | None:
        """As this server spells it, its WSDL loaded where it was not; None: it lacks it."""
        return self.services.find(endpoint) or await self.services.load(endpoint)

    def address(self, operation: Operation) -> str:
        return f"{self._url}/{operation.service}"

    def masker(self, secrets: Iterable[str]) -> Masker:
        """Masks the administrator's password, and these."""
        own = [secret for secret in secrets if secret]
        return Masker([self._principal.password, *own]) if own else self._masker

    def with_login(self, operation: Operation, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Where the subscriber signs in instead, there is no place for an administrator."""
        if "principal" not in operation.names:
            return arguments
        return {**arguments, "principal": self._principal.as_argument()}

    async def fetch(self, url: str) -> bytes:
        """A document of the platform. Raises Unusable."""
        sent = await self._transport.send(Request("GET", url, {}, None, fresh=False))
        if isinstance(sent, Lost):
            raise Unusable(f"{url} could not be had: {sent.why}")
        if sent.status == 404:
            raise NotThere(f"{url} is not there: HTTP 404")
        if sent.status != 200:
            raise Unusable(f"{url} could not be had: HTTP {sent.status}")
        return sent.body

    async def close(self) -> None:
        await self._transport.close()


def _unsupported(endpoint: str, text: str) -> Heard:
    """Nothing was sent, and sending it later would be no better."""
    return Heard(Refused(Code.UNSUPPORTED_BY_SERVER, text, certain=True), Exchange(endpoint, 0.0))


def _exchange(endpoint: str, body: bytes, sent: Answer | Lost, masker: Masker) -> Exchange:
    ms = round((sent.ended - sent.began) * 1000, 3)
    request = masker.cut(body, MOST_KEPT)
    if isinstance(sent, Lost):
        return Exchange(endpoint, ms, None, request, "")
    return Exchange(endpoint, ms, sent.status, request, masker.cut(sent.body, MOST_KEPT))
