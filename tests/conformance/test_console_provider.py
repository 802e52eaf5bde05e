"""Sign-in by a real OpenID Connect provider, over both databases."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.conformance.support import Place, change, records
from tests.conformance.test_console_journal import KEPT
from tests.support.console import HERE, PASSWORD, Browser, Front, said
from tests.support.provider import Running, Visitor, provider
from worker.console.oidc.provider import Provider
from worker.journal.console import people
from worker.journal.console.guests import enter
from worker.journal.journal import StoredJournal


@pytest.fixture(scope="module")
def there() -> Iterator[Running]:
    with provider(HERE) as running:
        yield running


@pytest.fixture
async def front(place: Place, journal: StoredJournal, there: Running) -> AsyncIterator[Front]:
    for name in KEPT:
        await change(journal, f"DELETE FROM {name}")
    async with Front(place.url, journal, provider=Provider(there.settings())) as it:
        yield it


async def arrived(
    front: Front, login: str, next: str = "/scheduled"
) -> tuple[httpx.AsyncClient, httpx.Response]:
    """A browser that went to the provider and back, and what it was answered."""
    client = front.client()
    begun = await client.get("/sign-in/provider", params={"next": next})
    assert begun.status_code == 303, begun.text
    return client, await client.get(await Visitor().through(begun.headers["location"], login))


async def whats(journal: StoredJournal) -> list[tuple[str, str]]:
    """What was written down, and about whom."""
    found = [(one["what"], one["actor"]) for one in await records(journal)]
    return [one for one in found if one[0].startswith(("user_", "sign"))]


async def users(journal: StoredJournal) -> list[tuple[str, str]]:
    return [(one["name"], one["role"]) for one in await journal.run(people.users)]


async def test_somebody_from_the_provider_comes_in_with_the_role_of_their_group(
    front: Front, journal: StoredJournal, there: Running
) -> None:
    door = await front.client().get("/sign-in?next=/failures")
    assert 'href="/sign-in/provider?next=/failures"' in door.text
    client, answer = await arrived(front, "u-1", "/failures?archived=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/failures?archived=1")
    assert (await client.get("/scheduled")).status_code == 200
    assert await whats(journal) == [("user_made", "provider"), ("signed_in", "ana")]
    made, signed = [one for one in await records(journal) if one["what"] in ("user_made", "signed_in")]
    assert made["details"] == {"user": "ana", "role": "operator", "issuer": there.issuer, "subject": "u-1"}
    assert signed["details"]["issuer"] == there.issuer
    assert (await client.get("/people")).status_code == 403


async def test_name_and_groups_may_stand_in_the_id_token_instead_of_userinfo(
    front: Front, journal: StoredJournal
) -> None:
    with provider(HERE, inside=True) as there:
        front.office.provider = Provider(there.settings())
        await arrived(front, "u-1")
    assert await users(journal) == [("ana", "operator")]


async def test_who_has_no_role_there_stays_out_and_it_is_written_down(
    front: Front, journal: StoredJournal, there: Running
) -> None:
    client, answer = await arrived(front, "u-3")
    assert answer.status_code == 303
    page = await client.get(answer.headers["location"])
    assert page.status_code == 403
    assert "your account has no role here" in said(page)
    assert (await client.get("/scheduled")).status_code == 303
    [denied] = [one for one in await records(journal) if one["what"] == "sign_in_denied"]
    assert denied["actor"] == "unknown"
    about = denied["details"]
    assert (about["issuer"], about["subject"], about["claimed"]) == (there.issuer, "u-3", "vera")
    assert await users(journal) == []


async def test_the_role_is_what_the_provider_says_each_time_and_without_one_all_doors_close(
    front: Front, journal: StoredJournal, there: Running
) -> None:
    first, _ = await arrived(front, "u-2")
    assert await users(journal) == [("olga", "admin")]  # of two groups the higher role
    front.office.provider = Provider(there.settings(roles={"console-viewers": "viewer"}))
    second, _ = await arrived(front, "u-2")
    assert await users(journal) == [("olga", "viewer")]
    assert ("user_changed", "provider") in await whats(journal)
    assert (await first.get("/people")).status_code == 403  # at once, in the older session as well
    front.office.provider = Provider(there.settings(roles={"others": "viewer"}))
    await arrived(front, "u-2")
    assert [one for one in await whats(journal) if one[0] == "sign_in_denied"] == [("sign_in_denied", "olga")]
    for client in (first, second):
        assert (await client.get("/scheduled")).status_code == 303
    front.office.provider = Provider(there.settings(roles={}, default_role="viewer"))
    third, _ = await arrived(front, "u-3")
    assert (await third.get("/scheduled")).status_code == 200


async def test_nobody_gets_the_name_of_another(front: Front, journal: StoredJournal) -> None:
    await front.user("ana", "admin")
    here = await front.client().post("/sign-in", data={"name": "ana", "password": PASSWORD})
    assert here.status_code == 303
    await arrived(front, "u-1")
    await arrived(front, "u-4")  # who is called Ana
    await arrived(front, "u-1")
    assert await users(journal) == [("Ana.3", "viewer"), ("ana", "admin"), ("ana.2", "operator")]


@pytest.mark.parametrize("name", ["root", "Postgres", "worker"])
async def test_nobody_is_called_like_who_acts_by_the_command_line(journal: StoredJournal, name: str) -> None:
    await change(journal, "DELETE FROM console_users")
    await journal.run(lambda tx: enter(tx, "https://login", "1", name, "viewer", "here"))
    assert await users(journal) == [(f"{name}.2", "viewer")]


async def test_who_comes_in_by_several_doors_at_once_is_one_person(journal: StoredJournal) -> None:
    await change(journal, "DELETE FROM console_users")
    comings = [("1", "ana"), ("1", "ana"), ("2", "ana"), ("2", "ANA"), ("1", "ana"), ("3", "ana")]
    secrets = await asyncio.gather(
        *(
            journal.run(
                lambda tx, who=who, name=name: enter(tx, "https://login", who, name, "viewer", "here")
            )
            for who, name in comings
        )
    )
    assert len(set(secrets)) == len(comings)
    assert {name.casefold() for name, _ in await users(journal)} == {"ana", "ana.2", "ana.3"}


async def test_who_comes_from_the_provider_has_no_password_here_and_no_lock(
    front: Front, journal: StoredJournal
) -> None:
    await arrived(front, "u-1")
    for _ in range(6):
        for password in ("", "nobody's password"):
            await front.client().post("/sign-in", data={"name": "ana", "password": password})
    boss = await front.person("boss", "admin")
    answer = await boss.act("/people/user", name="ana", role="admin", password=PASSWORD, reason="new")
    assert "comes from the provider" in said(answer)
    link = await journal.run(lambda tx: people.make_link(tx, "test", "why"))
    form = {"name": "ana", "password": PASSWORD, "again": PASSWORD}
    assert "choose another" in said(await front.client().post(f"/first/{link}", data=form))
    await journal.run(lambda tx: people.put_user(tx, "ana", "operator", "a hash", "test", "why"))
    user = await journal.run(lambda tx: people.user(tx, "ana"))
    assert user is not None
    assert user.password_hash == ""
    for _ in range(6):
        await journal.run(lambda tx: people.wrong_password(tx, "ana", "there"))
    client, _ = await arrived(front, "u-1")
    assert (await client.get("/scheduled")).status_code == 200
    shown = (await boss.get("/people")).text
    assert "a password here" in shown
    assert front.office.provider is not None
    assert front.office.provider.settings.issuer in shown


async def test_who_was_disabled_here_stays_out_until_an_admin_says_otherwise(
    front: Front, journal: StoredJournal
) -> None:
    client, _ = await arrived(front, "u-1")
    boss = await front.person("boss", "admin")
    assert (await boss.act("/people/user/ana/disable", reason="left")).status_code == 303
    assert (await client.get("/scheduled")).status_code == 303
    again, answer = await arrived(front, "u-1")
    page = await again.get(answer.headers["location"])
    assert (page.status_code, "was disabled here" in said(page)) == (403, True)
    assert (await whats(journal))[-1] == ("sign_in_denied", "ana")
    assert (await boss.act("/people/user", name="ana", role="viewer", reason="back")).status_code == 303
    back, _ = await arrived(front, "u-1")
    assert (await back.get("/scheduled")).status_code == 200
    assert ("ana", "operator") in await users(journal)  # as the provider says


async def test_an_answer_counts_once_and_only_in_the_browser_that_asked(
    front: Front, journal: StoredJournal
) -> None:
    asking, thief, other = front.client(), front.client(), front.client()
    begun = await asking.get("/sign-in/provider")
    cookie = begun.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=lax", "Max-Age=600"))
    kept = asking.cookies["worker_provider"]
    back = await Visitor().through(begun.headers["location"], "u-1")
    for client in (thief, other):
        if client is other:  # who is on a way of their own: an answer that somebody sends them does not count
            await other.get("/sign-in/provider")
        page = await client.get((await client.get(back)).headers["location"])
        assert (page.status_code, "not begun in this browser" in said(page)) == (400, True)
        assert (await client.get("/scheduled")).status_code == 303
    assert (await asking.get(back)).headers["location"] == "/"
    assert (await asking.get("/scheduled")).status_code == 200
    thief.cookies.set("worker_provider", kept, domain="console.test")
    page = await thief.get((await thief.get(back)).headers["location"])
    assert page.status_code == 400
    assert (await thief.get("/scheduled")).status_code == 303
    denied = [one for one in await records(journal) if one["what"] == "sign_in_denied"]
    assert [one["reason"] for one in denied][-1] == "this answer was used already"


async def test_who_says_no_at_the_provider_is_back_at_the_door(front: Front, journal: StoredJournal) -> None:
    client = front.client()
    begun = await client.get("/sign-in/provider")
    answer = await client.get(await Visitor().refuses(begun.headers["location"]))
    page = await client.get(answer.headers["location"])
    assert (page.status_code, said(page)) == (403, "the provider did not sign you in")
    [denied] = [one for one in await records(journal) if one["what"] == "sign_in_denied"]
    assert denied["reason"] == "the provider said access_denied"


async def test_signing_out_here_leads_to_signing_out_there(front: Front, there: Running) -> None:
    client, visitor = front.client(), Visitor()
    begun = await client.get("/sign-in/provider")
    await client.get(await visitor.through(begun.headers["location"], "u-1"))
    answer = await Browser(client).act("/sign-out")
    assert answer.status_code == 200
    assert (await client.get("/scheduled")).status_code == 303
    [way] = {one for one in _ways(answer.text) if one.startswith(there.issuer)}
    assert await visitor.through(way, "u-1") == f"{HERE}/sign-in"
    begun = await client.get("/sign-in/provider")
    asked = await visitor.client.get(begun.headers["location"], follow_redirects=True)
    assert 'name="login"' in asked.text  # it does not know us any more
    local = await front.person("boss", "admin")
    assert (await local.act("/sign-out")).status_code == 303  # to the door, not to the provider


def _ways(text: str) -> list[str]:
    return [html.unescape(one) for one in re.findall(r'(?:href=|url=)"?([^"]+)"', text)]


async def test_no_way_leads_from_a_sign_in_to_another_site(front: Front) -> None:
    for next in (
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "javascript:x",
    ):
        _, answer = await arrived(front, "u-1", next)
        assert answer.headers["location"] in ("/", "/%09/evil.example"), next
    begun = await front.client().get("/sign-in/provider?next=//evil.example&redirect_uri=http://evil.example")
    asked: dict[str, Any] = parse_qs(urlsplit(begun.headers["location"]).query)
    assert asked["redirect_uri"] == [f"{HERE}/sign-in/provider/back"]
    assert (asked["code_challenge_method"], asked["response_type"]) == (["S256"], ["code"])


async def test_without_passwords_the_link_is_still_a_way_in(front: Front, journal: StoredJournal) -> None:
    front.office.local = False
    await front.user("ana", "admin")
    door = await front.client().get("/sign-in")
    assert 'name="password"' not in door.text
    answer = await front.client().post("/sign-in", data={"name": "ana", "password": PASSWORD})
    assert answer.status_code == 403
    link = await journal.run(lambda tx: people.make_link(tx, "test", "why"))
    client, form = front.client(), {"name": "boss", "password": PASSWORD, "again": PASSWORD}
    assert (await client.post(f"/first/{link}", data=form)).headers["location"] == "/"
    assert (await client.get("/people")).status_code == 200
    assert (await front.client().post(f"/first/{link}", data=form)).status_code == 404
