"""A real OpenID Connect provider (the npm package oidc-provider, run by node), and somebody who walks through its pages.

with provider("http://console.test") as there:
    secret = there.secret
    answer = await Visitor().through(address, "ana")
"""

from __future__ import annotations

import fcntl
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from tests.services.private import need
from worker.sandbox.processes import Keeper, wait_until
from worker.settings import OidcSettings

FOLDER = Path(__file__).resolve().parents[1] / "services" / "provider"
KEPT = Path(__file__).resolve().parents[2] / ".run"  # npm needs the network
FILES = ("package.json", "package-lock.json", "provider.mjs")
PEOPLE: Mapping[str, Mapping[str, Any]] = {
    "u-1": {"preferred_username": "ana", "groups": ["staff", "console-operators"]},
    "u-2": {"preferred_username": "olga", "groups": ["console-viewers", "console-admins"]},
    "u-3": {"preferred_username": "vera", "groups": ["staff"]},
    "u-4": {"preferred_username": "Ana", "groups": ["console-viewers"]},
}
ROLES = {"console-viewers": "viewer", "console-operators": "operator", "console-admins": "admin"}


def installed() -> Path:
    """A folder with the provider and what it needs, exactly as locked; made when it is not there yet."""
    need(shutil.which("node") is not None and shutil.which("npm") is not None, "nodejs npm")
    mark = hashlib.sha256(b"".join((FOLDER / name).read_bytes() for name in FILES)).hexdigest()[:12]
    place = KEPT / f"provider-{mark}"
    KEPT.mkdir(exist_ok=True)
    with (KEPT / "provider.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not place.is_dir():
            with tempfile.TemporaryDirectory(dir=KEPT) as made:
                _install(Path(made))
                Path(made).rename(place)
                Path(made).mkdir()  # it is taken away at the end of this block
    return place


def _install(folder: Path) -> None:
    for name in FILES:
        shutil.copy(FOLDER / name, folder)
    subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=folder,
        check=True,
        capture_output=True,
        env={**os.environ, "npm_config_update_notifier": "false"},
        timeout=240,
    )


@dataclass(slots=True)
class Running:
    """`secret`: of the client `console`."""

    issuer: str
    secret: str

    def settings(self, **changes: Any) -> OidcSettings:
        given = {"issuer": self.issuer, "client_id": "console", "client_secret": self.secret}
        given |= {"roles": ROLES, "timeout": 60.0}
        return OidcSettings(**{**given, **changes})


@contextmanager
def provider(console: str, *, inside: bool = False) -> Iterator[Running]:
    """`console`: its address, which people are sent back to. `inside`: names and groups stand in the ID token."""
    secret = "to be kept: +/%&"
    client = {
        "client_id": "console",
        "client_secret": secret,
        "redirect_uris": [f"{console}/sign-in/provider/back"],
        "post_logout_redirect_uris": [f"{console}/sign-in"],
    }
    place, keeper = installed(), Keeper()
    given = json.dumps({"clients": [client], "people": PEOPLE, "inside": inside})
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "provider.log"
        child = keeper.spawn("provider", ["node", "provider.mjs", given], env=os.environ, cwd=place, log=log)
        try:
            assert wait_until(lambda: "listening" in log.read_text() or not child.running, 60), (
                log.read_text()
            )
            found = re.search(r"listening (\S+)", log.read_text())
            assert found, log.read_text()
            yield Running(found[1], secret)
        finally:
            child.end(5)
            keeper.close()


@dataclass(slots=True)
class Visitor:
    """A browser without script at the provider: it keeps its cookies and fills in what it is asked."""

    client: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(trust_env=False, timeout=60))

    async def through(self, address: str, login: str, away: str = "http://console.test") -> str:
        """From the console's redirect to the address that leads back to it, signed in as `login`."""
        answer = await self.client.get(address)
        for _ in range(12):
            if answer.is_redirect:
                address = urljoin(str(answer.url), answer.headers["location"])
                if address.startswith(away):
                    return address
                answer = await self.client.get(address)
            else:
                assert answer.status_code == 200, answer.text
                answer = await self._sent(answer, login)
        raise AssertionError("the provider does not come to an end")

    async def _sent(self, page: httpx.Response, login: str) -> httpx.Response:
        """The page's form, filled in."""
        action = re.search(r'<form[^>]* action="([^"]+)"', page.text)
        assert action, page.text
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
        fields |= {"login": login, "password": "any"} if 'name="login"' in page.text else {}
        fields |= {"logout": "yes"} if 'name="logout"' in page.text else {}
        return await self.client.post(urljoin(str(page.url), html.unescape(action[1])), data=fields)

    async def refuses(self, address: str, away: str = "http://console.test") -> str:
        """As `through`, but the person says no."""
        answer = await self.client.get(address, follow_redirects=True)
        found = re.search(r'href="([^"]+/abort)"', answer.text)
        assert found, answer.text
        answer = await self.client.get(urljoin(str(answer.url), found[1]))
        while not (there := urljoin(str(answer.url), answer.headers["location"])).startswith(away):
            answer = await self.client.get(there)
        return there
