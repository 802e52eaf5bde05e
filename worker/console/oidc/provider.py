"""The provider: what it says of itself, its keys, and what it gives for a code. It may be down, slow, or lie."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
import orjson
from joserfc.jwk import Key

from worker.console.oidc.guests import looked_up
from worker.console.oidc.tokens import UnknownKey, keys_of, verified
from worker.console.oidc.trouble import Trouble
from worker.console.oidc.turnstile import Turnstile
from worker.settings import OidcSettings
from worker.settings.oidc import private_address

FRESH = 3600.0  # seconds that its description and keys are used before they are asked for again
KEYS_AGAIN = 60.0  # seconds between two looks for a key that we do not know: anybody can make us look
SULKING = 5.0  # seconds after a failed look in which nobody waits for another
MOST = 256 * 1024  # bytes of an answer
PLAIN = {"accept": "application/json", "accept-encoding": "identity"}
WORD = re.compile(r"[a-z_]{1,40}")  # an error code of OAuth 2


@dataclass(frozen=True, slots=True)
class Described:
    """The discovery document, as far as it is used."""

    authorize: str
    token: str
    keys: str
    people: str | None
    end_session: str | None
    says_issuer: bool  # in each answer to the browser: RFC 9207
    by_post: bool  # client id and secret in the body instead of the header


class Provider:
    """One for a process; it keeps nothing of any person."""

    def __init__(self, settings: OidcSettings) -> None:
        self.settings = settings
        self.host = urlsplit(settings.issuer).netloc
        self.turnstile = Turnstile()
        self._tls: ssl.SSLContext | None = None
        self._looking = asyncio.Lock()
        self._described: tuple[float, Described] | None = None
        self._keys: tuple[float, tuple[Key, ...]] | None = None
        self._sulking: tuple[float, Trouble] | None = None

    # ------------------------------------------------------------ what it says of itself

    async def described(self) -> Described:
        """Raises Trouble."""
        async with self._looking:
            if self._described is None or self._described[0] < time.monotonic() - FRESH:
                self._described = (time.monotonic(), await self._look())
            return self._described[1]

    async def _look(self) -> Described:
        """While it is down, one of many waits for it, and the others hear what that one heard."""
        if self._sulking is not None and self._sulking[0] > time.monotonic() - SULKING:
            raise Trouble(self._sulking[1].problem, str(self._sulking[1]))
        try:
            address = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
            return described_by(await self._asked("GET", address), self.settings)
        except Trouble as trouble:
            self._sulking = (time.monotonic(), trouble)
            raise

    async def _published(self, seldom: float) -> tuple[Key, ...]:
        """Its keys, not older than `seldom` seconds."""
        address = (await self.described()).keys
        async with self._looking:
            if self._keys is None or self._keys[0] < time.monotonic() - seldom:
                self._keys = (time.monotonic(), keys_of(await self._asked("GET", address)))
            return self._keys[1]

    # ------------------------------------------------------------ a sign-in

    async def way_there(self, **asked: str) -> str:
        """The address that the browser is sent to."""
        given = {"response_type": "code", "client_id": self.settings.client_id}
        scope = " ".join(self.settings.scopes)
        return _with((await self.described()).authorize, {**given, "scope": scope, **asked})

    async def claims(self, code: str, verifier: str, nonce: str, back: str) -> dict[str, Any]:
        """Of the person for whom the provider gave this code. Raises Trouble."""
        tokens = await self._redeemed(code, verifier, back)
        token = tokens.get("id_token")
        if not isinstance(token, str):
            raise Trouble("untrue", "it gave no ID token for the code")
        claims = await self._verified(token, nonce)
        wanted = (self.settings.name_claim, self.settings.roles_claim)
        if all(looked_up(claims, path) is not None for path in wanted):
            return claims
        return await self._more(claims, tokens.get("access_token"))

    async def _redeemed(self, code: str, verifier: str, back: str) -> dict[str, Any]:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
        form["code_verifier"] = verifier
        described = await self.described()
        headers: dict[str, str] = {}
        secret = self.settings.client_secret
        if secret is None or described.by_post:
            form["client_id"] = self.settings.client_id
            if secret is not None:
                form["client_secret"] = secret.get_secret_value()
        else:
            headers["authorization"] = _basic(self.settings.client_id, secret.get_secret_value())
        return await self._asked("POST", described.token, headers, form)

    async def _verified(self, token: str, nonce: str) -> dict[str, Any]:
        expected = (self.settings.issuer, self.settings.client_id, nonce)
        try:
            return verified(token, await self._published(FRESH), *expected)
        except UnknownKey:  # it may have changed its keys since we looked
            try:
                return verified(token, await self._published(KEYS_AGAIN), *expected)
            except UnknownKey:
                raise Trouble("untrue", "its ID token is signed by a key that it does not publish") from None

    async def _more(self, claims: dict[str, Any], token: Any) -> dict[str, Any]:
        """Many providers tell names and groups only at their userinfo endpoint."""
        address = (await self.described()).people
        if address is None or not isinstance(token, str):
            return claims
        told = await self._asked("GET", address, {"authorization": f"Bearer {token}"})
        if told.get("sub") != claims["sub"]:
            raise Trouble("untrue", "its userinfo endpoint speaks of somebody else")
        return {**told, **claims}

    async def way_out(self, back: str) -> str | None:
        """Where signing out there begins; None where it offers none, or does not answer."""
        try:
            address = (await self.described()).end_session
        except Trouble:
            return None
        asked = {"client_id": self.settings.client_id, "post_logout_redirect_uri": back}
        return None if address is None else _with(address, asked)

    # ------------------------------------------------------------ asking

    async def _asked(
        self, method: str, address: str, headers: Mapping[str, str] | None = None, form: Any = None
    ) -> dict[str, Any]:
        """Its answer as a table. A request of its own each: sign-ins are rare, and a pool can be stuck."""
        if self._tls is None:
            self._tls = await asyncio.to_thread(_tls, self.settings)
        what = f"{method} {urlsplit(address).path}"
        try:
            async with (
                asyncio.timeout(self.settings.timeout),  # httpx has none for the whole
                httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=self.settings.timeout) as client,
                client.stream(method, address, headers={**PLAIN, **(headers or {})}, data=form) as answer,
            ):
                status, body = answer.status_code, await _bounded(answer, what)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, TimeoutError, OSError) as error:
            raise Trouble("down", f"{what} was not answered ({type(error).__name__})") from None
        if status >= 500:
            raise Trouble("down", f"{what} was answered {status}")
        return _table(body, status, what)


def _tls(settings: OidcSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca)
    except OSError as error:
        raise Trouble(
            "down", f"console.oidc.ca cannot be read: {error.strerror or 'no certificates'}"
        ) from None


async def _bounded(answer: httpx.Response, what: str) -> bytes:
    body = b""
    async for part in answer.aiter_raw():  # unpacked, it could be any length
        body += part
        if len(body) > MOST:
            raise Trouble("untrue", f"{what} was answered with more than {MOST // 1024} KiB")
    return body


def _table(body: bytes, status: int, what: str) -> dict[str, Any]:
    try:
        told = orjson.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise Trouble("untrue", f"{what} was answered {status} without JSON")
    if status != 200:
        word = told.get("error")
        said = f" ({word})" if isinstance(word, str) and WORD.fullmatch(word) else ""
        raise Trouble("untrue", f"{what} was answered {status}{said}")
    return told


def described_by(told: Mapping[str, Any], settings: OidcSettings) -> Described:
    """Raises Trouble where it is another's description, or leads over a line that others can read."""
    if told.get("issuer") != settings.issuer:
        raise Trouble(
            "untrue", "it describes another issuer than console.oidc.issuer: they are compared exactly"
        )
    methods = told.get("token_endpoint_auth_methods_supported")
    basic = not isinstance(methods, list) or "client_secret_basic" in methods
    return Described(
        _address(told, "authorization_endpoint"),
        _address(told, "token_endpoint"),
        _address(told, "jwks_uri"),
        _address(told, "userinfo_endpoint") if told.get("userinfo_endpoint") else None,
        _address(told, "end_session_endpoint") if told.get("end_session_endpoint") else None,
        told.get("authorization_response_iss_parameter_supported") is True,
        by_post=not basic,
    )


def _address(told: Mapping[str, Any], name: str) -> str:
    address = told.get(name)
    if not isinstance(address, str) or len(address) > 2000 or not private_address(address):
        raise Trouble("untrue", f"its {name} is no https address")
    return address


def _with(address: str, query: Mapping[str, str]) -> str:
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"


def _basic(name: str, secret: str) -> str:
    """RFC 6749, 2.3.1: both are form-encoded first."""
    both = f"{quote(name, safe='')}:{quote(secret, safe='')}"
    return f"Basic {base64.b64encode(both.encode()).decode()}"
