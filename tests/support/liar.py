"""An OpenID Connect provider that lies as a test wants it to: what no real one can be made to answer.

async with Liar() as liar:
    liar.claims["nonce"] = "of another sign-in"
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import cache
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from worker.settings import OidcSettings

SECRET = "the-secret-of-the-client"
CODE = "the-code-of-the-sign-in"
ACCESS = "the-access-token"
NOTHING = object()  # leaves a claim or a field out


@cache
def key(name: str) -> RSAKey:
    """Making one takes a while: each is made once."""
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig"})


class Liar:
    """`claims`, `tells`: what differs from the truth in the ID token and in its description; `instead`: path ->
    a whole other answer; `asked`: paths in the order in which they were asked for; `forms`: what came to /token."""

    def __init__(self) -> None:
        self.key = key("first")
        self.published: list[dict[str, Any]] = [self.key.as_dict(private=False)]
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "first"}
        self.signs: RSAKey | OctKey = self.key
        self.claims: dict[str, Any] = {}
        self.tells: dict[str, Any] = {}
        self.people: dict[str, Any] = {}
        self.instead: dict[str, tuple[int, bytes]] = {}
        self.token: Any = None  # instead of the one that it would make
        self.forge: Callable[[dict[str, Any]], str] | None = None  # makes it of the claims
        self.slow = 0.0  # seconds before each answer
        self.asked: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.given: list[str] = []  # ID tokens
        self.nonce = ""
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answered)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await self.open()
        return self

    async def open(self, port: int = 0) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", port)
        await self._site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def shut(self) -> int:
        """Its port, at which nobody listens from now on."""
        port = int(self._runner.addresses[0][1])
        await self._site.stop()
        return port

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    def settings(self, **changes: Any) -> OidcSettings:
        given = {"issuer": self.url, "client_id": "console", "client_secret": SECRET, "timeout": 60.0}
        return OidcSettings(**{**given, "roles": {"noc": "operator"}, **changes})

    async def _answered(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        await asyncio.sleep(self.slow)
        if request.path in self.instead:
            status, body = self.instead[request.path]
            moved = {"location": "http://127.0.0.1:9/"} if status == 302 else {}
            return web.Response(status=status, body=body, headers=moved, content_type="application/json")
        if request.path == "/token":
            form = {name: str(value) for name, value in (await request.post()).items()}
            self.forms.append(form | {"authorization": request.headers.get("authorization", "")})
        tell = {"/token": self._token, "/keys": self._keys, "/me": self._person}
        return web.json_response(tell.get(request.path, self._description)())

    def _description(self) -> dict[str, Any]:
        ends = {"authorization": "auth", "token": "token", "userinfo": "me", "end_session": "out"}
        said = {f"{name}_endpoint": f"{self.url}/{path}" for name, path in ends.items()}
        return told({"issuer": self.url, "jwks_uri": f"{self.url}/keys", **said, **self.tells})

    def _keys(self) -> dict[str, Any]:
        return {"keys": self.published}

    def _person(self) -> dict[str, Any]:
        return {"sub": "u-1", **self.people}

    def _token(self) -> dict[str, Any]:
        now = int(time.time())
        truth = {"iss": self.url, "aud": "console", "sub": "u-1", "exp": now + 300, "iat": now}
        truth |= {"nonce": self.nonce, "preferred_username": "ana", "groups": ["noc"]}
        claims = told({**truth, **self.claims})
        token = self.token
        if token is None and self.forge is not None:
            token = self.forge(claims)
        elif token is None:
            known = ["RS256", "HS256", "none"]
            token = jwt.encode(self.header, claims, self.signs, algorithms=known)
        self.given.append(str(token))
        return told({"access_token": ACCESS, "token_type": "Bearer", "id_token": token})

    def back(self, address: str) -> str:
        """It signs in whoever is sent to it, and sends them back."""
        asked = parse_qs(urlsplit(address).query)
        self.nonce = asked["nonce"][0]
        return f"/sign-in/provider/back?code={CODE}&state={asked['state'][0]}"


def told(said: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value is not NOTHING}
