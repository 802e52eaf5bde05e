"""Signing in: an OAuth2 token, kept, renewed before it ends, and by one request however many calls wait."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from worker.domain.outcome import Busy, Ill, NotSent
from worker.domain.redaction import Masker
from worker.platforms.port import Unread
from worker.platforms.refusals import BUSY_WITHOUT_A_WORD, bounded, retry_after
from worker.platforms.rest.answers import Garbage, read
from worker.platforms.transport import Answer, Lost, Request, Transport

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
BEFORE_THE_END = 60.0  # seconds; of a token that lives shortly a tenth of its life
AFTER_A_REFUSAL = 1.0  # seconds in which all who come are told the same, so that no account is locked out
KNOWN_TOKENS = 4  # that a call under way may still carry: they are masked
MOST_TEXT = 2048  # bytes of a refusal
SAID = ("error", "status", "error_description", "message")  # by OAuth2, and as the rest of the API has it


@dataclass(frozen=True, slots=True)
class Application:
    """How tokens are asked for (EN 10289167, 9764912). `form` holds secrets: no repr."""

    url: str
    form: Mapping[str, str] = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(self.form[name] for name in ("client_secret", "password") if name in self.form)


@dataclass(frozen=True, slots=True)
class Token:
    """`renew`, `ends`: when to ask for another, and when it is of no use; by the clock of the login."""

    value: str = field(repr=False)
    renew: float
    ends: float

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.value}"}


class OAuth:
    """The login of the REST client. `life`: seconds of a token whose answer does not say it."""

    def __init__(
        self,
        transport: Transport,
        application: Application,
        life: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport, self._application, self._life, self._clock = transport, application, life, clock
        self._token: Token | None = None
        self._given: deque[str] = deque(maxlen=KNOWN_TOKENS)
        self._renewing: asyncio.Task[Token | Unread] | None = None
        self._said: tuple[float, Unread] | None = None  # a refusal, and until when it is not asked again

    def __repr__(self) -> str:
        return "OAuth()"

    async def headers(self) -> Mapping[str, str] | Unread:
        token = self._token
        if token is not None and self._clock() < token.renew:
            return token.headers
        got = await self._renewed()
        if isinstance(got, Token):
            return got.headers
        # It is renewed ahead of time: while that fails, the old one is still good.
        return token.headers if token is not None and self._clock() < token.ends else got

    async def renewed(self, refused: Mapping[str, str]) -> bool:
        if self._token is not None and self._token.headers == refused:
            self._token = None
        return isinstance(await self.headers(), Mapping)

    def secrets(self) -> Iterable[str]:
        return (*self._application.secrets, *self._given)

    async def _renewed(self) -> Token | Unread:
        """One request at a time; who waits for it and is cancelled does not end it for the others."""
        if self._said is not None and self._clock() < self._said[0]:
            return self._said[1]
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())
        return await asyncio.shield(self._renewing)

    async def _renew(self) -> Token | Unread:
        try:
            got = await self._ask()
        finally:
            self._renewing = None
        if isinstance(got, Token):
            self._token, self._said = got, None
            self._given.append(got.value)
        elif isinstance(got, (Ill, Busy)):
            wait = got.after if isinstance(got, Busy) else AFTER_A_REFUSAL
            self._said = self._clock() + wait, got
        return got

    async def _ask(self) -> Token | Unread:
        body = urlencode(self._application.form).encode()
        asked = self._clock()
        sent = await self._transport.send(Request("POST", self._application.url, FORM, body, fresh=True))
        if isinstance(sent, Lost):
            return NotSent(f"token: {sent.why}")
        if sent.status in (200, 201):
            return self._token_in(sent, asked) or NotSent("token: garbage")
        return self._refusal(sent)

    def _token_in(self, sent: Answer, asked: float) -> Token | None:
        try:
            said = read(sent.body)
        except Garbage:
            return None
        value = said.get("access_token") if isinstance(said, Mapping) else None
        if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
            return None
        life = _seconds(said.get("expires_in")) or self._life
        return Token(value, asked + life - min(BEFORE_THE_END, life / 10), asked + life)

    def _refusal(self, sent: Answer) -> Unread:
        if sent.status in (429, 503):
            return Busy(retry_after(sent.headers.get("Retry-After")) or BUSY_WITHOUT_A_WORD)
        if sent.status in (400, 401, 403):
            text = bounded(Masker(self.secrets()).cut(words(sent.body), MOST_TEXT)) or f"HTTP {sent.status}"
            return Ill(f"no token is given to the application: {text}", credentials=True)
        if 400 <= sent.status < 500 and sent.status != 408:
            return Ill(f"no token is given at {self._application.url}: HTTP {sent.status}")
        return NotSent("token: server_fault")


def words(body: bytes) -> bytes:
    """What a refusal says: how it is written nobody shows, so any of the usual names is taken, else all of it."""
    try:
        said = read(body)
    except Garbage:
        return body
    if not isinstance(said, Mapping):
        return body
    found = [said[name] for name in SAID if isinstance(said.get(name), str)]
    return ": ".join(found).encode() or body


def _seconds(value: object) -> float | None:
    """A number of seconds above 0, or its digits in quotes."""
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return seconds if 0 < seconds < 10**9 else None
