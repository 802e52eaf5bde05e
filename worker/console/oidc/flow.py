"""The two halves of a sign-in, and what binds them: a cookie of this browser, good for ten minutes and once.

State, nonce and the secret of PKCE are computed from the cookie's random part under a key of the journal's own, so
none of them is stored anywhere, and no answer fits but that to the question which this browser was sent away with.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from worker.console.office import Office
from worker.console.oidc.guests import Guest, guest
from worker.console.oidc.provider import WORD, Provider
from worker.console.oidc.trouble import Trouble
from worker.journal.console import guests, people

log = structlog.get_logger(__name__)

AGE = 600.0  # seconds between going to the provider and coming back
LONGEST = 3500  # signs of the cookie: browsers keep 4096 bytes of one, name and attributes included
BACK = "/sign-in/provider/back"


@dataclass(frozen=True, slots=True)
class Begun:
    """Where the browser goes, and the cookie that it takes along."""

    address: str
    cookie: str


@dataclass(frozen=True, slots=True)
class Let:
    """A session's secret, and the page that was wanted."""

    secret: str
    next: str


async def begin(office: Office, provider: Provider, next: str) -> Begun:
    """Raises Trouble where the provider does not answer."""
    seed = people.fresh()
    challenge = hashlib.sha256(derived(office, "verifier", seed).encode()).digest()
    address = await provider.way_there(
        redirect_uri=office.address + BACK,
        state=derived(office, "state", seed),
        nonce=derived(office, "nonce", seed),
        code_challenge=base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
        code_challenge_method="S256",
    )
    cookie = office.sealed("oidc", {"seed": seed, "next": next})
    if len(cookie) >= LONGEST:  # a browser would drop it: rather the first page than no sign-in
        cookie = office.sealed("oidc", {"seed": seed, "next": "/"})
    return Begun(address, cookie)


def derived(office: Office, purpose: str, seed: str) -> str:
    """64 signs that nobody else can compute."""
    key = office.journal.journal.core.vault.content_mac(b"console oidc flow")
    return hmac.digest(key.encode(), f"{purpose} {seed}".encode(), "sha256").hex()


async def finish(
    office: Office, provider: Provider, given: Mapping[str, str], cookie: str, origin: str
) -> Let:
    """`given`: what the browser brings back. Raises Trouble, having written down who was not let in and why."""
    turnstile, loop = provider.turnstile, asyncio.get_running_loop()
    try:
        turnstile.check(origin, loop.time())
    except Trouble:
        office.runner.refusals.left_out("sign_in_denied", origin)
        raise
    turnstile.inside += 1
    try:
        return await _finish(office, provider, given, cookie, origin)
    except Trouble as trouble:
        turnstile.count(origin, loop.time())
        log.warning("console.provider_sign_in_denied", problem=trouble.problem, why=str(trouble))
        raise
    finally:
        turnstile.inside -= 1


async def _finish(
    office: Office, provider: Provider, given: Mapping[str, str], cookie: str, origin: str
) -> Let:
    who: Guest | None = None
    try:
        seed, next = _bound(office, given, cookie)
        code = await _code(office, provider, given, seed)
        claims = await provider.claims(
            code, derived(office, "verifier", seed), derived(office, "nonce", seed), office.address + BACK
        )
        who = guest(claims, provider.settings)
        return Let(await _entered(office, who, origin), next)
    except Trouble as trouble:
        await _denied(office, provider, who, trouble, origin)
        raise


def _bound(office: Office, given: Mapping[str, str], cookie: str) -> tuple[str, str]:
    """The random part and the wanted page, from the cookie of the browser that began."""
    known = office.opened("oidc", cookie, AGE) if 0 < len(cookie) < LONGEST else None
    if not isinstance(known, dict):
        raise Trouble("state", "no cookie of a sign-in that was begun in the last ten minutes")
    expected = derived(office, "state", known["seed"])
    if not hmac.compare_digest(given.get("state", "").encode(), expected.encode()):
        raise Trouble("state", "the state is not that of this browser")
    return known["seed"], known["next"]


async def _code(office: Office, provider: Provider, given: Mapping[str, str], seed: str) -> str:
    issuer = given.get("iss")
    if issuer is None and (await provider.described()).says_issuer:
        raise Trouble("untrue", "the answer does not say whose it is (RFC 9207)")
    if issuer is not None and issuer != provider.settings.issuer:
        raise Trouble("untrue", "the answer is another provider's (RFC 9207)")
    if "error" in given:
        word = given["error"] if WORD.fullmatch(given["error"]) else "an error"
        raise Trouble("refused", f"the provider said {word}")
    code = given.get("code", "")
    if not 0 < len(code) <= 4000:
        raise Trouble("untrue", "the answer holds no code")
    once = hashlib.sha256(f"oidc {seed}".encode()).hexdigest()
    if await office.journal.reserve_answer(once, "oidc") is not None:
        raise Trouble("state", "this answer was used already")
    return code


async def _entered(office: Office, who: Guest, origin: str) -> str:
    role = who.role
    if role is None:
        raise Trouble("role", "no value of the claim has a role")
    entered = await office.journal.journal.run(
        lambda tx: guests.enter(tx, who.issuer, who.subject, who.name, role, origin)
    )
    if entered is None:
        raise Trouble("disabled", "disabled here")
    return entered


async def _denied(
    office: Office, provider: Provider, who: Guest | None, trouble: Trouble, origin: str
) -> None:
    subject, claimed = (who.subject, who.name) if who else (None, None)
    why, about = str(trouble), {"from": origin, "claimed": claimed, "problem": trouble.problem}
    await office.journal.journal.run(
        lambda tx: guests.deny(tx, provider.settings.issuer, subject, why, about)
    )
