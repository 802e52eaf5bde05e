"""Pages and sign-in over both databases: who may what, forged and replayed requests, and what is written down."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from argon2 import PasswordHasher

from tests.conformance.support import (
    ALICE,
    Place,
    admit,
    bad,
    change,
    claim,
    claim_one,
    done,
    order,
    parked,
    records,
    refused,
    select,
    settle,
    states,
)
from tests.conformance.test_console_journal import KEPT, five
from tests.support.amqp import eventually
from tests.support.console import HERE, PASSWORD, Front, said
from worker.console import refusals
from worker.console.door import BY_ITSELF
from worker.journal.console import people
from worker.journal.journal import StoredJournal
from worker.messages.errors import Code, Problem

EVERY_PAGE = (
    "/", "/commands", "/scheduled", "/failures", "/in-doubt", "/acts", "/platforms", "/quarantine", "/audit",
)  # fmt: skip
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
async def front(place: Place, journal: StoredJournal) -> AsyncIterator[Front]:
    for name in KEPT:
        await change(journal, f"DELETE FROM {name}")
    async with Front(place.url, journal) as it:
        yield it


async def number_of(front: Front, id: str) -> int:
    return int((await front.journal.command(id))["id"])


async def denied(journal: StoredJournal) -> list[str]:
    return [one["details"]["act"] for one in await records(journal) if one["what"] == "denied"]


async def test_nothing_is_open_without_sign_in_but_health(front: Front) -> None:
    stranger = front.client()
    for path in (*EVERY_PAGE, "/people", "/commands/1", "/live", "/bulk/retry?state=parked"):
        answer = await stranger.get(path)
        assert (answer.status_code, answer.headers["location"][:14]) == (303, "/sign-in?next="), path
    for path in ("/healthz", "/readyz", "/metrics", "/sign-in", "/static/console.css"):
        assert (await stranger.get(path)).status_code == 200, path
    for path in ("/commands/1/retry", "/platforms/sip-br/pause", "/people/user", "/bulk/go", "/sign-out"):
        assert (await stranger.post(path, data={"reason": "x"})).status_code in (303, 403), path


async def test_the_first_admin_comes_by_a_link_that_works_once(front: Front, journal: StoredJournal) -> None:
    link = await front.office.first_link()
    assert link is not None
    stranger = front.client()
    assert (await stranger.get(link)).status_code == 200
    form = {"name": "ana", "password": PASSWORD, "again": PASSWORD}
    short = await stranger.post(link, data={**form, "password": "short", "again": "short"})
    assert (short.status_code, said(short)) == (422, "a password has at least 12 characters")
    assert (await stranger.post(link, data=form)).status_code == 303
    assert (await stranger.get(link)).status_code == 404
    assert (await stranger.post(link, data={**form, "name": "eve"})).status_code == 404
    assert await front.office.first_link() is None
    assert (await stranger.get(f"{HERE}/first/forged")).status_code == 404
    [user] = (await front.journal.everybody())[0]
    assert (user["name"], user["role"]) == ("ana", "admin")
    [row] = await journal.run(lambda tx: tx.rows("SELECT password_hash FROM console_users"))
    assert row["password_hash"].startswith("$argon2id$")


async def test_the_cookie_is_signed_http_only_and_of_this_site(front: Front) -> None:
    await front.user("ana", "viewer")
    client = front.client()
    wrong = await client.post("/sign-in", data={"name": "ana", "password": "something else"})
    assert (wrong.status_code, said(wrong)) == (401, "the name or the password is wrong")
    unknown = await client.post("/sign-in", data={"name": "eve", "password": "something else"})
    assert said(unknown) == said(wrong)
    answer = await client.post("/sign-in", data={"name": "ana", "password": PASSWORD, "next": "/failures"})
    assert answer.headers["location"] == "/failures"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    for forged in ("x", answer.cookies["worker_session"][:-2] + "xx", "." * 400):
        stranger = front.client(cookie=f"worker_session={forged}")
        assert (await stranger.get("/")).status_code == 303
    away = await front.client().post(
        "/sign-in", data={"name": "ana", "password": PASSWORD, "next": "//evil.example/"}
    )
    assert away.headers["location"] == "/"


async def test_after_five_wrong_passwords_the_right_one_is_not_looked_at(
    front: Front, journal: StoredJournal
) -> None:
    await front.user("ana", "viewer")
    client = front.client()
    for _ in range(5):
        await client.post("/sign-in", data={"name": "ana", "password": "wrong wrong wrong"})
    answer = await client.post("/sign-in", data={"name": "ana", "password": PASSWORD})
    assert answer.status_code == 429
    assert "wait" in said(answer)
    assert (await client.get("/")).status_code == 303
    await front.office.runner.refusals.flush()
    tries = [one for one in await records(journal) if one["what"] == "sign_in_denied"]
    assert len(tries) == 6
    assert tries[-1]["details"]["left_out"] == 1


async def test_signing_out_ends_the_session_at_the_server(front: Front) -> None:
    ana = await front.person("ana", "viewer")
    cookie = ana.client.cookies["worker_session"]
    assert (await ana.get("/")).status_code == 200
    assert (await ana.act("/sign-out")).status_code == 303
    stolen = front.client(cookie=f"worker_session={cookie}")
    assert (await stolen.get("/")).status_code == 303


async def test_a_form_from_elsewhere_changes_nothing(front: Front, journal: StoredJournal) -> None:
    await five(journal)
    ana = await front.person("ana", "admin")
    eve = await front.person("eve", "operator")
    number = await number_of(front, "m-3")
    path = f"/commands/{number}/retry"
    mark = await ana.mark()
    for headers, form in (
        ({}, {"reason": "x"}),
        ({}, {"reason": "x", "csrf": "forged"}),
        ({}, {"reason": "x", "csrf": await eve.mark()}),
        ({"sec-fetch-site": "cross-site"}, {"reason": "x", "csrf": mark}),
        ({"origin": "http://evil.example"}, {"reason": "x", "csrf": mark}),
    ):
        answer = await ana.client.post(path, data=form, headers=headers)
        assert answer.status_code == 403, form
    assert (await states(journal))["m-3"] == "parked"
    written = [one for one in await records(journal) if one["what"] == "denied"]
    assert [(one["actor"], one["details"]["form"]) for one in written] == [("ana", path)] * 5
    assert "not from your own session" in written[0]["reason"]
    assert "another site" in written[4]["reason"]
    assert (await ana.client.post(path, data={"reason": "x", "csrf": mark})).status_code == 303


async def test_no_flood_of_forged_forms_fills_the_audit_chain_and_the_rest_is_counted(
    front: Front, journal: StoredJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "WINDOW", 3600.0)  # a busy machine may take a minute for what follows
    monkeypatch.setattr(refusals, "MOST", 3)
    ana, eve = await front.person("ana", "admin"), await front.person("eve", "viewer")
    for person, times in ((ana, 5), (eve, 4)):
        for _ in range(times):
            assert (await person.client.post("/commands/1/retry", data={"csrf": "x"})).status_code == 403
    assert len(await denied(journal)) == 6
    await front.office.runner.refusals.flush()
    await front.office.runner.refusals.flush()
    [record] = [one for one in await records(journal) if "left_out" in (one["details"] or {})]
    assert (record["what"], record["details"]) == ("denied", {"left_out": 3, "from": "ana, eve"})


async def test_a_request_that_makes_no_sense_is_no_denial(front: Front, journal: StoredJournal) -> None:
    ana = await front.person("ana", "admin")
    assert (await ana.act("/commands/77/retry", reason=" ")).status_code == 422
    assert (await ana.act("/platforms/nobody/pause", reason="x")).status_code == 404
    assert await denied(journal) == []


async def test_a_viewer_sees_no_personal_data_and_may_do_nothing(
    front: Front, journal: StoredJournal
) -> None:
    await five(journal)
    await front.journal.fold()
    viewer = await front.person("vera", "viewer")
    numbers = [await number_of(front, f"m-{n}") for n in range(1, 6)]
    for path in (*EVERY_PAGE, *(f"/commands/{number}" for number in numbers)):
        answer = await viewer.get(path)
        assert answer.status_code == 200, path
        assert "@example.org" not in answer.text, path
        assert 'name="reason"' not in answer.text, path
    for path, form in (
        (f"/commands/{numbers[2]}/retry", {}),
        (f"/commands/{numbers[3]}/resolve", {"applied": "yes"}),
        ("/platforms/sip-br/pause", {}),
        ("/people/user", {"name": "x1", "role": "admin", "password": PASSWORD}),
        ("/audit/verify", {}),
    ):
        assert (await viewer.act(path, reason="because", **form)).status_code == 403, path
    assert (await viewer.get("/bulk/retry?state=parked")).status_code == 403
    assert (await viewer.get(f"/commands/{numbers[1]}/edit")).status_code == 403
    assert (await viewer.get("/people")).status_code == 403
    assert (await states(journal))["m-3"] == "parked"
    assert len(await denied(journal)) == 8


async def test_a_parked_command_is_retried_once_by_two_operators(
    front: Front, journal: StoredJournal
) -> None:
    await admit(journal, order("m-1", ALICE))
    await settle(journal, parked(await claim_one(journal)))
    ana, bob = await front.person("ana", "operator"), await front.person("bob", "operator")
    number = await number_of(front, "m-1")
    no_reason = await ana.act(f"/commands/{number}/retry", reason="  ")
    assert (no_reason.status_code, said(no_reason)) == (422, "say why: it stands in the audit record")
    first = await ana.act(f"/commands/{number}/retry", reason="the platform is back")
    assert first.headers["location"] == f"/commands/{number}"
    second = await bob.act(f"/commands/{number}/retry", reason="the platform is back")
    assert second.status_code == 409
    assert "waiting" in said(second)
    acts = [(one["what"], one["actor"]) for one in await records(journal)][-2:]
    assert acts == [("retried", "ana"), ("denied", "bob")]


async def test_nobody_decides_before_the_window_s_end_but_an_admin_who_waives_it(
    front: Front, journal: StoredJournal
) -> None:
    await five(journal)
    number = await number_of(front, "m-4")
    operator, admin = await front.person("olga", "operator"), await front.person("ana", "admin")
    page = await operator.get(f"/commands/{number}")
    assert "Only an admin may decide" in page.text
    path = f"/commands/{number}/resolve"
    early = await operator.act(path, reason="I looked", applied="yes")
    assert early.status_code == 409
    assert (await operator.act(path, reason="I looked", applied="yes", waive="1")).status_code == 403
    assert (await admin.act(path, reason="I looked", applied="maybe")).status_code == 422
    waived = await admin.act(path, reason="the vendor says so", applied="no", waive="1")
    assert waived.status_code == 303
    new = int(waived.headers["location"].rsplit("/", 1)[1])
    assert new != number
    assert (await states(journal))["m-4"] == "rejected"
    assert (await front.journal.command(str(new)))["retry_of"] == "m-4"
    resolved = next(one for one in await records(journal) if one["what"] == "ended" and one["actor"] == "ana")
    assert resolved["details"]["window_waived"] is True


async def test_edit_and_retry_is_checked_and_keeps_secrets_unseen(
    front: Front, journal: StoredJournal
) -> None:
    data = {"platform": "sip-br", "subscriber": {"username": "alice", "domain": "example.org"}}
    secret = {**data, "new_password": "Open-Sesame-77", "current_password": "Old-Sesame-66"}
    await admit(
        journal, order("m-1", "sip-br:subscriber:alice@example.org", type="password.change.v1", data=secret)
    )
    text = Problem(Code.PLATFORM_REFUSED, "too weak")
    await settle(journal, refused(await claim_one(journal), problem=text))
    ana = await front.person("ana", "operator")
    number = await number_of(front, "m-1")
    page = await ana.get(f"/commands/{number}/edit")
    assert "Sesame" not in page.text
    assert "***" in page.text
    path = f"/commands/{number}/edit/send"
    shown = {**data, "new_password": "***", "current_password": "***"}
    same = await ana.act(path, text=json.dumps(shown), reason="again")
    assert "nothing was changed" in said(same)
    for wrong in ("{", "[]", json.dumps({**shown, "colour": "red"})):
        answer = await ana.act(path, text=wrong, reason="again")
        assert answer.status_code in (409, 422), wrong
    other = {**shown, "subscriber": {"username": "bob", "domain": "example.org"}, "new_password": "x1y2z3"}
    assert "keeps the object" in said(await ana.act(path, text=json.dumps(other), reason="again"))
    sent = await ana.act(path, text=json.dumps({**shown, "new_password": "Stronger-88"}), reason="stronger")
    assert sent.status_code == 303, said(sent)
    claimed = await claim_one(journal)
    assert claimed.data is not None
    assert claimed.data["new_password"] == "Stronger-88"
    assert claimed.data["current_password"] == "Old-Sesame-66"
    assert "Stronger-88" not in str(await records(journal))


async def test_a_bulk_act_does_what_its_preview_counted_and_stops_when_it_fails_again(
    front: Front, journal: StoredJournal
) -> None:
    for n in range(8):
        await admit(journal, order(f"m-{n}", f"sip-br:subscriber:p{n}@example.org"))
        await settle(journal, parked(await claim_one(journal)))
    ana = await front.person("ana", "operator")
    page = (await ana.get("/bulk/retry?state=parked&platform=sip-br")).text
    assert "8 commands" in page
    signed = re.findall(r'name="signed" value="([^"]+)"', page)[0]
    assert (await ana.act("/bulk/go", signed="forged", reason="x")).status_code == 422
    begun = await ana.act("/bulk/go", signed=signed, reason="the outage is over")
    act = begun.headers["location"]

    async def portion(size: int, ends: Any) -> None:
        async def due() -> bool:
            return len([one for one in (await states(journal)).values() if one == "waiting"]) == size

        await eventually(due)
        await settle(journal, *(ends(one) for one in await claim(journal)))

    await portion(1, done)
    await portion(5, parked)

    async def stopped() -> bool:
        return "failed again" in (await ana.get(act)).text

    await eventually(stopped)
    assert sorted((await states(journal)).values()) == ["parked"] * 7 + ["succeeded"]
    whats = [one["what"] for one in await records(journal)]
    assert {"bulk_begun", "bulk_stopped"} <= set(whats)
    assert (await ana.act(f"{act}/stop")).status_code == 422
    assert (await ana.act(f"{act}/stop", reason="too late")).status_code == 409


async def test_a_bulk_act_leaves_out_what_came_after_its_preview(
    front: Front, journal: StoredJournal
) -> None:
    async def one_more(n: int) -> None:
        await admit(journal, order(f"m-{n}", f"sip-br:subscriber:p{n}@example.org"))
        await settle(journal, parked(await claim_one(journal)))

    await one_more(1)
    ana, program = await front.person("ana", "operator"), await front.token("act", "operator")
    path = "bulk/cancel?state=parked&platform=sip-br"
    signed = re.findall(r'name="signed" value="([^"]+)"', (await ana.get(f"/{path}")).text)[0]
    await one_more(2)
    act = (await ana.act("/bulk/go", signed=signed, reason="not wanted")).headers["location"].rsplit("/")[-1]

    async def acted() -> bool:
        return (await program.get(f"/api/v1/acts/{act}")).json()["state"] == "done"

    await eventually(acted)
    assert await states(journal) == {"m-1": "cancelled", "m-2": "parked"}

    seen = (await program.get(f"/api/v1/{path}")).json()
    await one_more(3)
    body = {"reason": "not wanted", "expected": seen["count"]}
    assert (await program.post(f"/api/v1/{path}", json=body)).status_code == 409
    begun = await program.post(f"/api/v1/{path}", json=body | {"last": seen["last"]})
    act = begun.json()["act"]
    await eventually(acted)
    assert await states(journal) == {"m-1": "cancelled", "m-2": "cancelled", "m-3": "parked"}


async def test_an_open_tab_that_keeps_itself_up_to_date_does_not_keep_its_session_open(
    front: Front, journal: StoredJournal
) -> None:
    ana = await front.person("ana", "viewer")
    await change(journal, "UPDATE console_sessions SET seen_at = seen_at - 600")

    async def seen() -> float:
        rows = await journal.run(lambda tx: tx.rows("SELECT seen_at FROM console_sessions"))
        return float(rows[0]["seen_at"])

    before = await seen()
    front.office.closing.set()  # a stream ends at once
    assert (await ana.get("/live")).status_code == 200
    assert (await ana.client.get("/commands", headers={BY_ITSELF: "1"})).status_code == 200
    assert await seen() == before
    assert f'"{BY_ITSELF}": "1"' in (await ana.get("/static/console.js")).text
    assert await seen() == before, "a file is no page"
    await ana.get("/commands")
    assert await seen() > before + 500


async def test_a_pause_stands_on_every_page_and_in_the_chain(front: Front, journal: StoredJournal) -> None:
    ana = await front.person("ana", "operator")
    assert (await ana.act("/platforms/nowhere/pause", reason="x")).status_code == 404
    assert (await ana.act("/platforms/sip-br/pause", reason=f"they move {SCRIPT}")).status_code == 303

    async def shown() -> bool:
        return "is paused by ana: they move" in (await ana.get("/commands")).text

    await eventually(shown)
    assert SCRIPT not in (await ana.get("/commands")).text
    assert (await ana.act("/platforms/sip-br/resume", reason="they moved")).status_code == 303
    assert [one["what"] for one in await records(journal)][-2:] == ["paused", "resumed"]
    verified = await ana.act("/audit/verify")
    assert "The chain is whole" in verified.text


async def test_looking_into_quarantine_is_an_act_and_shows_no_secret(
    front: Front, journal: StoredJournal
) -> None:
    await admit(journal, bad(body=b'{"data": {"password": "Open-Sesame-77", "x": "' + SCRIPT.encode() + b'"'))
    ana = await front.person("ana", "operator")
    [row] = await front.journal.quarantined("kept", 5)
    assert (await ana.get("/quarantine")).status_code == 200
    page = await ana.act(f"/quarantine/{row['uid']}/look", reason="what was it")
    assert page.status_code == 200
    assert "Sesame" not in page.text
    assert SCRIPT not in page.text
    assert (await ana.act(f"/quarantine/{row['uid']}/drop", reason="rubbish")).status_code == 303
    assert (await ana.act("/quarantine/nothing/look", reason="x")).status_code == 404
    assert [one["what"] for one in await records(journal)][-2:] == ["quarantine_shown", "quarantine_dropped"]


SENSELESS = [
    ("/commands?state=asleep", 422),
    ("/commands?since=yesterday", 422),
    ("/commands?since=2026-02-02T00:00&until=2026-01-01T00:00", 422),
    ("/commands?group=x", 422),
    ("/commands?before=-1", 422),
    ("/commands?before=99999999999999999999", 422),
    (f"/commands?q={'x' * 10_000}", 422),
    ("/commands?q=%00", 422),
    ("/commands?platform=%27%3B%20DROP%20TABLE%20commands", 200),
    ("/commands?q=%3Cscript%3Ealert(1)%3C/script%3E", 200),
    ("/commands?q=%25%25%25", 200),
    ("/commands/99999", 404),
    ("/commands/99999999999999999999999", 404),
    ("/commands/x", 422),
    ("/bulk/retry", 422),
    ("/bulk/everything?state=parked", 404),
    ("/acts/77", 404),
    ("/quarantine?state=x", 422),
    ("/nothing", 404),
    ("/audit?before=x&actor=%25", 200),
]


async def test_requests_that_make_no_sense_get_a_clear_page(front: Front) -> None:
    ana = await front.person("ana", "admin")
    for path, status in SENSELESS:
        answer = await ana.get(path)
        assert answer.status_code == status, path
        assert SCRIPT not in answer.text, path
        if status != 200:
            assert said(answer), path
            assert "Nothing was changed." in answer.text, path


async def test_a_customer_s_name_that_is_script_stays_a_name(front: Front, journal: StoredJournal) -> None:
    await admit(journal, order(f"m-{SCRIPT}", f"sip-br:subscriber:{SCRIPT}"))
    ana = await front.person("ana", "operator")
    for path in (
        "/commands",
        "/commands?q=m-%3Cscript",
        f"/commands/{await number_of(front, f'm-{SCRIPT}')}",
    ):
        page = await ana.get(path)
        assert page.status_code == 200
        assert SCRIPT not in page.text
        csp = page.headers["content-security-policy"]
        assert "script-src 'self'" in csp
        assert "unsafe-inline" not in csp


async def test_pages_speak_portuguese_to_who_asks_for_it(front: Front) -> None:
    ana = await front.person("ana", "admin")
    assert "Visão geral" not in (await ana.get("/")).text
    assert (await ana.get("/language/pt?back=/failures")).headers["location"] == "/failures"
    assert "Visão geral" in (await ana.get("/")).text
    asked = front.client(**{"accept-language": "pt-BR,pt;q=0.9"})
    assert 'lang="pt-BR"' in (await asked.get("/sign-in")).text
    assert (await ana.get("/language/xx?back=//evil.example")).headers["location"] == "/"


class Slow(PasswordHasher):
    """Takes as long over a password as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = threading.Event(), threading.Event()

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.begun.set()
        assert self.go.wait(30)
        return super().verify(hash, password)


async def test_a_password_that_is_changed_while_it_is_looked_at_lets_nobody_in(
    front: Front, journal: StoredJournal
) -> None:
    await front.user("ana", "operator")
    other = await front.office.hashed("another password, as long")
    front.office._hasher = slow = Slow()
    coming = asyncio.create_task(front.client().post("/sign-in", data={"name": "ana", "password": PASSWORD}))
    try:
        await eventually(slow.begun.is_set)
        await journal.run(lambda tx: people.put_user(tx, "ana", "operator", other, "boss", "why"))
    finally:
        slow.go.set()
    assert (await coming).status_code != 303
    assert await select(journal, "SELECT * FROM console_sessions") == []
    assert (await records(journal))[-1]["what"] == "sign_in_denied"


async def test_an_admin_makes_users_and_tokens_and_ends_them(front: Front, journal: StoredJournal) -> None:
    ana = await front.person("ana", "admin")
    form = {"name": "bob", "role": "operator", "password": PASSWORD, "reason": "he begins today"}
    assert (await ana.act("/people/user", **form)).status_code == 303
    bob = front.client()
    assert (await bob.post("/sign-in", data={"name": "bob", "password": PASSWORD})).status_code == 303
    assert (await bob.get("/")).status_code == 200
    assert (await ana.act("/people/user/bob/disable", reason="he has left")).status_code == 303
    assert (await bob.get("/")).status_code == 303
    assert (await ana.act("/people/user/ana/disable", reason="x")).status_code == 422
    assert (await ana.act("/people/user", name="ana", role="viewer", reason="x")).status_code == 422
    assert (await ana.act("/people/user", name="x", role="viewer", reason="x")).status_code == 422
    token = {"name": "crm", "role": "viewer", "days": "30", "reason": "the CRM shows states"}
    page = await ana.act("/people/token", **token)
    secret = re.findall(r"<code>(pw_[^<]+)</code>", page.text)[0]
    assert secret not in (await ana.get("/people")).text
    assert secret not in str(await records(journal))
    again = await ana.act("/people/token", **token | {"role": "admin"})
    assert (again.status_code, "a live token is called crm" in said(again)) == (409, True)
    [line] = await journal.run(people.tokens)
    assert (await ana.act(f"/people/token/{line['id']}/revoke", reason="it leaked")).status_code == 303


async def test_no_act_on_people_goes_without_a_reason_and_each_stands_in_its_record(
    front: Front, journal: StoredJournal
) -> None:
    """Rule 8.3."""
    ana = await front.person("ana", "admin")
    acts = {
        "/people/user": {"name": "bob", "role": "operator", "password": PASSWORD},
        "/people/token": {"name": "crm", "role": "viewer", "days": "30"},
        "/people/user/bob/disable": {},
        "/people/token/1/revoke": {},
    }
    for path, form in acts.items():
        for reason in ("", "  "):
            answer = await ana.act(path, reason=reason, **form)
            assert (answer.status_code, said(answer)) == (422, "say why: it stands in the audit record"), path
    assert len((await front.journal.everybody())[0]) == 1
    before = len(await records(journal))
    await ana.act("/people/user", reason="he begins", **acts["/people/user"])
    await ana.act("/people/user", reason="he learned", name="bob", role="admin")
    await ana.act("/people/user/bob/disable", reason="he left")
    await ana.act("/people/token", reason="for the CRM", **acts["/people/token"])
    [line] = await journal.run(people.tokens)
    await ana.act(f"/people/token/{line['id']}/revoke", reason="it leaked")
    written = [(one["what"], one["actor"], one["reason"]) for one in (await records(journal))[before:]]
    assert written == [
        ("user_made", "ana", "he begins"),
        ("user_changed", "ana", "he learned"),
        ("user_disabled", "ana", "he left"),
        ("token_made", "ana", "for the CRM"),
        ("token_revoked", "ana", "it leaked"),
    ]


async def test_a_failure_group_is_noted_archived_and_restored_and_each_has_its_reason(
    front: Front, journal: StoredJournal
) -> None:
    await admit(journal, order("m-1", ALICE))
    text = Problem(Code.PLATFORM_REFUSED, "the trunk is down")
    await settle(journal, refused(await claim_one(journal), problem=text))
    await front.journal.fold()
    [group] = await front.journal.groups()
    olga, program = await front.person("olga", "operator"), await front.token("dash", "operator")
    path, there = f"/failures/{group['id']}", "the trunk is down"

    assert (await olga.act(f"{path}/note", note="the carrier knows")).headers["location"] == "/failures"
    assert "the carrier knows" in (await olga.get("/failures")).text
    assert (await olga.act(f"{path}/archive", reason=" ")).status_code == 422
    assert there in (await olga.get("/failures")).text
    archived = await olga.act(f"{path}/archive", reason="the carrier has mended it")
    assert archived.headers["location"] == "/failures"
    assert there not in (await olga.get("/failures")).text
    page = (await olga.get("/failures?archived=1")).text
    assert there in page
    assert "Restore the group" in page
    assert (await olga.act(f"{path}/archive", reason="again")).status_code == 409
    restored = await olga.act(f"{path}/restore", reason="it is not mended")
    assert restored.headers["location"] == "/failures?archived=1"
    assert there in (await olga.get("/failures")).text
    assert there not in (await olga.get("/failures?archived=1")).text

    api = f"/api/v1{path}"
    assert (await program.post(f"{api}/note", json={"note": "ticket 7"})).json()["done"] == "note"
    assert (await program.post(f"{api}/archive", json={})).status_code == 422
    assert (await program.post(f"{api}/archive", json={"reason": "known"})).json()["done"] == "archive"
    assert (await program.get("/api/v1/failures")).json() == []
    [shown] = (await program.get("/api/v1/failures?archived=true")).json()
    assert (shown["note"], shown["noted_by"]) == ("ticket 7", "token dash")
    assert (await program.post(f"{api}/restore", json={"reason": "not yet"})).status_code == 200
    assert len((await program.get("/api/v1/failures")).json()) == 1
    written = [
        (one["what"], one["actor"], one["reason"])
        for one in await records(journal)
        if one["what"].startswith("group_")
    ]
    assert written == [
        ("group_noted", "olga", "the carrier knows"),
        ("group_archived", "olga", "the carrier has mended it"),
        ("group_restored", "olga", "it is not mended"),
        ("group_noted", "token dash", "ticket 7"),
        ("group_archived", "token dash", "known"),
        ("group_restored", "token dash", "not yet"),
    ]


async def test_a_program_of_an_admin_does_what_the_page_of_people_does(
    front: Front, journal: StoredJournal
) -> None:
    admin, operator = await front.token("boss", "admin"), await front.token("dash", "operator")
    user = {"name": "bob", "role": "viewer", "password": PASSWORD, "reason": "he begins"}
    token = {"name": "crm", "role": "viewer", "days": 30, "reason": "for the CRM"}
    for path in ("/api/v1/users", "/api/v1/tokens"):
        assert (await operator.get(path)).status_code == 403
    for path, body in (("/api/v1/users", user), ("/api/v1/tokens", token)):
        assert (await operator.post(path, json=body)).status_code == 403
        assert (await admin.post(path, json=body | {"reason": ""})).status_code == 422
    assert len(await denied(journal)) == 4

    assert (await admin.post("/api/v1/users", json=user)).json() == {"user": "bob", "done": "put"}
    [shown] = (await admin.get("/api/v1/users")).json()
    assert (shown["name"], shown["role"], shown["disabled"]) == ("bob", "viewer", False)
    assert "password_hash" not in shown
    key = {"Idempotency-Key": "crm-1"}
    made = (await admin.post("/api/v1/tokens", json=token, headers=key)).json()
    assert (await admin.post("/api/v1/tokens", json=token, headers=key)).json() == made
    program = front.client(authorization=f"Bearer {made['token']}")
    assert (await program.get("/api/v1/commands")).status_code == 200
    listed = {one["name"]: one for one in (await admin.get("/api/v1/tokens")).json()}
    assert set(listed) == {"boss", "dash", "crm"}
    assert made["token"] not in str(listed) + str(await records(journal))
    ended = f"/api/v1/tokens/{listed['crm']['id']}/revoke"
    assert (await admin.post(ended, json={"reason": "it leaked"})).json()["done"] == "revoke"
    assert (await program.get("/api/v1/commands")).status_code == 401
    gone = await admin.post("/api/v1/users/bob/disable", json={"reason": "he left"})
    assert gone.json() == {"user": "bob", "done": "disable"}
    assert (await admin.post("/api/v1/users/bob/disable", json={"reason": "again"})).status_code == 404
    acts = [(one["what"], one["actor"], one["reason"]) for one in await records(journal)]
    assert ("user_disabled", "token boss", "he left") in acts
    assert ("token_revoked", "token boss", "it leaked") in acts
