"""A provider that lies, is down, or is slow: nobody gets in, nothing changes, and local users still can."""

from __future__ import annotations

import asyncio
import base64
import hmac
import html
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import OctKey

from tests.conformance.support import Place, records
from tests.support.amqp import eventually
from tests.support.console import Front, said
from tests.support.liar import ACCESS, CODE, NOTHING, SECRET, Liar, key
from tests.support.worker import Workers
from worker.console.oidc import provider as module
from worker.console.oidc import turnstile
from worker.console.oidc.provider import Provider
from worker.console.oidc.trouble import PROBLEMS
from worker.console.texts import PORTUGUESE
from worker.journal.console import people
from worker.journal.journal import StoredJournal

NOW = int(time.time())


@pytest.fixture
async def liar() -> AsyncIterator[Liar]:
    async with Liar() as it:
        yield it


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[StoredJournal]:
    place = Place(f"sqlite:///{tmp_path}/worker.db")
    yield await place.open()
    await place.close()


@pytest.fixture
async def front(tmp_path: Path, journal: StoredJournal, liar: Liar) -> AsyncIterator[Front]:
    async with Front(f"sqlite:///{tmp_path}/worker.db", journal, provider=Provider(liar.settings())) as it:
        yield it


async def arrived(front: Front, liar: Liar) -> tuple[httpx.AsyncClient, httpx.Response]:
    """A browser that was sent there and came back, and where it was led."""
    client = front.client()
    begun = await client.get("/sign-in/provider")
    assert begun.status_code == 303
    if not begun.headers["location"].startswith(liar.url):
        return client, await client.get(begun.headers["location"])
    answer = await client.get(liar.back(begun.headers["location"]))
    return client, await client.get(answer.headers["location"])


async def why_not(journal: StoredJournal) -> list[str]:
    return [one["reason"] for one in await records(journal) if one["what"] == "sign_in_denied"]


def claim(**changes: Any) -> Callable[[Liar], None]:
    return lambda liar: liar.claims.update(changes)


def tell(**changes: Any) -> Callable[[Liar], None]:
    return lambda liar: liar.tells.update(changes)


def answer(path: str, status: int, body: bytes = b"{}") -> Callable[[Liar], None]:
    return lambda liar: liar.instead.update({path: (status, body)})


def header(**changes: Any) -> Callable[[Liar], None]:
    return lambda liar: liar.header.update(changes)


def signed_by(with_: Any, **changes: Any) -> Callable[[Liar], None]:
    def lie(liar: Liar) -> None:
        liar.signs = with_
        liar.header.update(changes)

    return lie


def token(value: Any) -> Callable[[Liar], None]:
    return lambda liar: setattr(liar, "token", value)


def people_say(**changes: Any) -> Callable[[Liar], None]:
    def lie(liar: Liar) -> None:
        liar.claims["groups"] = NOTHING
        liar.people.update(changes)

    return lie


def by_public_key(liar: Liar) -> None:
    """The old trick: HMAC, with the key that everybody knows as its secret. No library makes such a token."""

    def forge(claims: dict[str, Any]) -> str:
        parts = [json.dumps(one).encode() for one in ({"alg": "HS256", "kid": "first"}, claims)]
        text = b".".join(base64.urlsafe_b64encode(one).rstrip(b"=") for one in parts)
        mac = hmac.digest(liar.key.as_pem(private=False), text, "sha256")
        return f"{text.decode()}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"

    liar.forge = forge


def half_a_character(liar: Liar) -> None:
    """JSON can write one; the library, which writes UTF-8, would not."""

    def sign(claims: dict[str, Any]) -> str:
        text = json.dumps(claims | {"nonce": "\ud800"}).encode()
        return jws.serialize_compact(liar.header, text, liar.signs, algorithms=["RS256"])

    liar.forge = sign


LIES = {
    "nonce of another sign-in": (claim(nonce="x" * 64), "the nonce differs"),
    "no nonce": (claim(nonce=NOTHING), "the nonce differs"),
    "nonce that is no text": (claim(nonce=["x"]), "the nonce differs"),
    "nonce with half a character": (half_a_character, "cannot be read"),
    "another issuer": (claim(iss="https://evil.example"), "invalid_claim, iss"),
    "another audience": (claim(aud="shop"), "invalid_claim, aud"),
    "audience of others": (claim(aud=["shop", "till"]), "invalid_claim, aud"),
    "several audiences without azp": (claim(aud=["console", "shop"]), "azp"),
    "azp of another": (claim(azp="shop"), "azp"),
    "expired": (claim(exp=NOW - 3600), "expired_token, exp"),
    "never expires": (claim(exp=NOTHING), "missing_claim, exp"),
    "from the future": (claim(iat=NOW + 7200), "invalid_claim, iat"),
    "of nobody": (claim(sub=NOTHING), "missing_claim, sub"),
    "subject that is no text": (claim(sub=17), "invalid_claim, sub"),
    "endless subject": (claim(sub="x" * 300), "sub in its ID token"),
    "alg none": (header(alg="none"), "its ID token: "),
    "hmac with the client's secret": (
        signed_by(OctKey.import_key(SECRET, {"kid": "first"}), alg="HS256"),
        "its ID token: ",
    ),
    "hmac with the public key": (by_public_key, "its ID token: "),
    "another key under the name": (signed_by(key("other")), "bad_signature"),
    "a key that is not published": (signed_by(key("other"), kid="other"), "a key that it does not publish"),
    "no token": (token(NOTHING), "it gave no ID token"),
    "a token that is none": (token("a.b.c"), "its ID token"),
    "a token without end": (token("x" * 100_000), "too long"),
    "userinfo of somebody else": (people_say(sub="u-2", groups=["noc"]), "speaks of somebody else"),
    "no groups anywhere": (people_say(), "no value of the claim has a role"),
    "groups of another kind": (claim(groups={"noc": True}), "no value of the claim has a role"),
    "no name": (claim(preferred_username="?"), "preferred_username holds no name"),
    "code not taken": (answer("/token", 400, b'{"error": "invalid_grant"}'), "answered 400 (invalid_grant)"),
    "token endpoint moved": (answer("/token", 302), "answered 302"),
    "token endpoint ill": (answer("/token", 500), "answered 500"),
    "no json": (answer("/token", 200, b"<html>"), "without JSON"),
    "keys without end": (answer("/keys", 200, b'{"keys": [' + b" " * 300_000 + b"]}"), "more than 256 KiB"),
    "no keys": (answer("/keys", 200, b'{"keys": []}'), "a key that it does not publish"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_lets_nobody_in_and_is_written_down(
    front: Front, journal: StoredJournal, liar: Liar, lie: str
) -> None:
    tell_it, why = LIES[lie]
    tell_it(liar)
    client, page = await arrived(front, liar)
    assert page.status_code in (403, 502)
    assert html.unescape(said(page)) in {text for text, _ in PROBLEMS.values()}
    assert (await client.get("/scheduled")).status_code == 303
    [reason] = await why_not(journal)
    assert why in reason
    assert await journal.run(people.users) == []


DESCRIPTIONS = {
    "another issuer": tell(issuer="https://evil.example"),
    "a slash more": lambda liar: liar.tells.update(issuer=f"{liar.url}/"),
    "codes in clear": tell(token_endpoint="http://login.example/token"),
    "keys in clear": tell(jwks_uri="http://login.example/keys"),
    "people sent to a script": tell(authorization_endpoint="javascript:alert(1)"),
    "no token endpoint": tell(token_endpoint=NOTHING),
    "a list": answer("/.well-known/openid-configuration", 200, b"[]"),
    "not there": answer("/.well-known/openid-configuration", 404),
    "ill": answer("/.well-known/openid-configuration", 503),
}


@pytest.mark.parametrize("lie", DESCRIPTIONS)
async def test_a_description_that_does_not_hold_sends_nobody_anywhere(
    front: Front, liar: Liar, lie: str
) -> None:
    DESCRIPTIONS[lie](liar)
    begun = await front.client().get("/sign-in/provider?next=/failures")
    assert begun.headers["location"].startswith("/sign-in?problem=")
    page = await front.client().get(begun.headers["location"])
    assert page.status_code == 502
    assert 'value="/failures"' in page.text  # what was wanted is not forgotten


async def test_the_truth_is_believed_and_secrets_stand_nowhere(
    front: Front,
    journal: StoredJournal,
    liar: Liar,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("DEBUG", "worker")
    seen = []
    for lie in (lambda liar: None, claim(nonce="x"), answer("/token", 400, b'{"error": "invalid_client"}')):
        lie(liar)
        _, page = await arrived(front, liar)
        seen += [page.text, repr(dict(page.headers))]
    assert [one["what"] for one in await records(journal) if "sign" in one["what"]] == [
        "signed_in", "sign_in_denied", "sign_in_denied",
    ]  # fmt: skip
    kept = b"".join(file.read_bytes() for file in list(tmp_path.glob("worker.db*")))  # noqa: ASYNC240 - a moment
    output = capfd.readouterr()
    seen += [caplog.text, output.out, output.err, repr(front.office.provider), repr(liar.settings())]
    for secret in (SECRET, CODE, ACCESS, *liar.given, liar.nonce):
        assert not [text for text in seen if secret in text]
        assert secret.encode() not in kept
    assert "invalid_client" in (await why_not(journal))[-1]  # what an admin needs is there


async def test_another_provider_s_answer_is_not_taken_for_this_one_s(
    front: Front, journal: StoredJournal, liar: Liar
) -> None:
    liar.tells["authorization_response_iss_parameter_supported"] = True
    for issuer in ("", "&iss=https%3A%2F%2Fevil.example", f"&iss={liar.url}&iss={liar.url}"):
        client = front.client()
        begun = await client.get("/sign-in/provider")
        await client.get(liar.back(begun.headers["location"]) + issuer)
        assert (await client.get("/scheduled")).status_code == 303
    assert "/token" not in liar.asked
    assert all("RFC 9207" in why for why in await why_not(journal))
    client = front.client()
    begun = await client.get("/sign-in/provider")
    await client.get(liar.back(begun.headers["location"]) + f"&iss={liar.url}")
    assert (await client.get("/scheduled")).status_code == 200


async def test_a_provider_that_is_down_leaves_the_door_to_local_users(
    front: Front, liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SULKING", 0.0)
    port = await liar.shut()
    client, page = await arrived(front, liar)
    assert (page.status_code, said(page)) == (502, "the provider does not answer: try again in a minute")
    assert 'name="password"' in page.text
    ana = await front.person("ana", "viewer")
    assert (await ana.get("/scheduled")).status_code == 200
    await liar.open(port)
    client, _ = await arrived(front, liar)
    assert (await client.get("/scheduled")).status_code == 200
    await liar.shut()
    back = await client.get("/scheduled")
    assert back.status_code == 200  # a session asks nobody
    assert front.office.provider is not None
    front.office.provider._described = None
    mark = back.text.split('name="csrf" value="')[1].split('"')[0]
    out = await client.post("/sign-out", data={"csrf": mark})
    assert (out.status_code, out.headers["location"]) == (303, "/sign-in")


async def test_a_slow_provider_is_waited_for_once_and_not_for_ever(
    front: Front, liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SULKING", 3600.0)
    front.office.provider = Provider(liar.settings(timeout=0.3))
    liar.slow = 3600.0
    pages = await asyncio.gather(*(front.client().get("/sign-in/provider") for _ in range(20)))
    assert {page.headers["location"] for page in pages} == {"/sign-in?problem=down&next=%2F"}
    assert len(liar.asked) <= 1


async def test_what_the_provider_says_of_itself_is_asked_for_once(front: Front, liar: Liar) -> None:
    for _ in range(3):
        client, _ = await arrived(front, liar)
        assert (await client.get("/scheduled")).status_code == 200
    assert sorted(set(liar.asked)) == ["/.well-known/openid-configuration", "/keys", "/token"]
    assert len(liar.asked) == 5


async def test_a_new_key_of_the_provider_is_found_but_not_looked_for_at_each_try(
    front: Front, journal: StoredJournal, liar: Liar
) -> None:
    await arrived(front, liar)
    liar.signs, liar.header["kid"] = key("second"), "second"
    liar.published.append(key("second").as_dict(private=False))
    for _ in range(3):  # anybody can hand us a token with a name of a key
        await arrived(front, liar)
    assert len(await why_not(journal)) == 3
    assert liar.asked.count("/keys") == 1
    provider = front.office.provider
    assert provider is not None
    assert provider._keys is not None
    provider._keys = (provider._keys[0] - module.KEYS_AGAIN, provider._keys[1])
    client, _ = await arrived(front, liar)
    assert (await client.get("/scheduled")).status_code == 200


async def test_forged_answers_fill_neither_the_chain_nor_the_way_of_others(
    front: Front, journal: StoredJournal, liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turnstile, "WINDOW", 3600.0)  # a busy machine may take a minute for what follows
    stranger = front.client()
    for number in range(25):
        await stranger.get(f"/sign-in/provider/back?code=x&state={number}")
    assert len(await why_not(journal)) == 20
    await front.office.runner.refusals.flush()
    assert (await why_not(journal))[20:] == [
        "5 more were turned away within a minute, and are not written down one by one"
    ]
    page = await stranger.get("/sign-in?problem=busy")
    assert page.status_code == 429
    await front.person("ana", "viewer")
    assert liar.asked == []


@pytest.mark.parametrize(
    ("methods", "secret", "header", "form"),
    [
        (NOTHING, SECRET, True, set()),
        (["client_secret_post"], SECRET, False, {"client_id", "client_secret"}),
        (["none"], None, False, {"client_id"}),
    ],
)
async def test_the_console_shows_who_it_is_as_the_provider_wants_it(
    front: Front, liar: Liar, methods: Any, secret: str | None, header: bool, form: set[str]
) -> None:
    liar.tells["token_endpoint_auth_methods_supported"] = methods
    front.office.provider = Provider(liar.settings(client_secret=secret))
    client, _ = await arrived(front, liar)
    assert (await client.get("/scheduled")).status_code == 200
    [came] = liar.forms
    assert bool(came.pop("authorization")) == header
    assert set(came) - {"grant_type", "code", "redirect_uri", "code_verifier"} == form


async def test_a_wanted_page_that_no_cookie_can_hold_is_forgotten_and_nothing_else(
    front: Front, liar: Liar
) -> None:
    client = front.client()
    wanted = "/" + "".join(chr(0x4E00 + number * 7 % 20_000) for number in range(1900))
    begun = await client.get("/sign-in/provider", params={"next": wanted})
    assert len(begun.headers["set-cookie"]) < 4096
    answer = await client.get(liar.back(begun.headers["location"]))
    assert answer.headers["location"] == "/"
    assert (await client.get("/scheduled")).status_code == 200


async def test_over_tls_the_cookie_is_one_that_no_neighbour_can_plant(front: Front, liar: Liar) -> None:
    front.office.address = "https://console.example"
    begun = await front.client().get("/sign-in/provider")
    cookie = begun.headers["set-cookie"]
    assert cookie.startswith("__Host-worker_provider=")
    assert "Secure" in cookie
    assert "Domain" not in cookie


async def test_a_worker_that_is_given_a_provider_lets_people_in_by_it(tmp_path: Path, liar: Liar) -> None:
    oidc = liar.settings().model_dump(include={"issuer", "client_id", "roles", "timeout"})
    there = {"address": "http://console.test", "local_sign_in": False, "port": 0}
    settings = {"console": {**there, "oidc": {**oidc, "client_secret": SECRET}}}
    async with Workers(tmp_path, "amqp://127.0.0.1:9/", {}, settings=settings) as workers:
        one = await workers.start("console", ready=False)
        await eventually(lambda: one.events("console.listening"), 90, what="its address in the log")
        url = one.events("console.listening")[0]["url"]
        async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as browser:
            door = await browser.get("/sign-in")
            assert 'href="/sign-in/provider' in door.text
            assert 'name="password"' not in door.text
            begun = await browser.get("/sign-in/provider?next=/failures")
            assert "redirect_uri=http%3A%2F%2Fconsole.test%2F" in begun.headers["location"]
            back = await browser.get(liar.back(begun.headers["location"]))
            assert back.headers["location"] == "/failures"
            assert (await browser.get("/failures")).status_code == 200
        assert not [text for text in (SECRET, CODE, ACCESS, *liar.given) if text in one.log()]


def test_every_problem_is_told_in_portuguese_too() -> None:
    assert {text for text, _ in PROBLEMS.values()} <= PORTUGUESE.keys()
