"""Who may not see names cannot find them out either."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conformance.support import Place, admit, change, order, records
from tests.conformance.test_console_journal import KEPT, five
from tests.support.console import Front
from worker.console.office import DOT
from worker.journal.console import people
from worker.journal.journal import StoredJournal

KEY = "sip-br:subscriber:davi@example.org"


@pytest.fixture
async def front(place: Place, journal: StoredJournal) -> AsyncIterator[Front]:
    for name in KEPT:
        await change(journal, f"DELETE FROM {name}")
    await five(journal)
    async with Front(place.url, journal) as it:
        yield it


async def test_a_viewer_s_search_matches_no_name_neither_its_beginning_nor_the_whole(front: Front) -> None:
    viewer, operator = await front.token("see", "viewer"), await front.token("act", "operator")
    page = await front.person("vera", "viewer")
    for text in ("dav", "davi@example.org", KEY):
        found = (await operator.get("/api/v1/commands", params={"q": text})).json()["rows"]
        assert [row["message_id"] for row in found] == ["m-5", "m-4"], text
        assert (await viewer.get("/api/v1/commands", params={"q": text})).json()["rows"] == [], text
        assert "m-5" not in (await page.get(f"/commands?q={text}")).text, text
    by_id = (await viewer.get("/api/v1/commands", params={"q": "m-5"})).json()["rows"]
    assert [row["message_id"] for row in by_id] == ["m-5"], "an id that holds no name is shown"


async def test_an_id_that_a_sender_made_of_a_name_is_masked_and_not_found_by_a_viewer(
    front: Front, journal: StoredJournal
) -> None:
    number = "sip-br:subscriber:5511999990001@example.org"
    made = {
        "create-davi": KEY,
        "block-DAVI@example.org-7": KEY,
        "topup:+55 11 99999-0001": number,
        "order-4711": number,
    }
    for id, key in made.items():
        await admit(journal, order(id, key, correlation_id=f"about {id}"))
    viewer, operator = await front.token("see", "viewer"), await front.token("act", "operator")
    page = await front.person("vera", "viewer")
    for id in made:
        [row] = (await operator.get("/api/v1/commands", params={"q": id})).json()["rows"]
        assert (row["message_id"], row["idem_key"]) == (id, id)
        path, seen = f"/commands/{row['id']}", id == "order-4711"
        shown = (await viewer.get(f"/api/v1{path}")).json()
        known = (id, id, f"about {id}") if seen else (DOT, DOT, DOT)
        assert (shown["message_id"], shown["idem_key"], shown["correlation_id"]) == known
        assert [one["message_id"] for one in shown["line"] if one["id"] == row["id"]] == [known[0]]
        assert {one["command"]["id"] for one in shown["records"]} == {known[0]}
        found = (await viewer.get("/api/v1/commands", params={"q": id})).json()["rows"]
        assert [one["id"] for one in found] == ([row["id"]] if seen else []), "a hit would tell the name"
        for where in (path, "/commands", "/audit", f"/audit?command={row['id']}"):
            assert seen or id not in (await page.get(where)).text, where
    rows = (await viewer.get("/api/v1/commands?state=waiting")).json()["rows"]
    assert {row["message_id"] for row in rows} == {"m-5", "order-4711", DOT}


async def test_the_filter_by_subscriber_is_for_operators_and_takes_a_whole_name(
    front: Front, journal: StoredJournal
) -> None:
    viewer, operator = await front.token("see", "viewer"), await front.token("act", "operator")
    refused = await viewer.get("/api/v1/commands", params={"about": KEY})
    assert refused.status_code == 403
    assert (await records(journal))[-1]["details"]["act"] == "filter by subscriber"
    for about in (KEY, "davi@example.org"):
        found = (await operator.get("/api/v1/commands", params={"about": about})).json()["rows"]
        assert [row["message_id"] for row in found] == ["m-5", "m-4"], about
    for about in ("davi", "davi@example.or", "da_i@example.org"):
        assert (await operator.get("/api/v1/commands", params={"about": about})).json()["rows"] == [], about


async def test_the_audit_search_by_who_acted_reaches_into_no_other_field(
    front: Front, journal: StoredJournal
) -> None:
    viewer, page = await front.token("see", "viewer"), await front.person("vera", "viewer")
    for text in ("%davi%", "%davi@example.org%", 'worker",%davi%', "sende_", "%"):
        found = await viewer.get("/api/v1/audit", params={"actor": text})
        assert found.json()["rows"] == [], text
        shown = (await page.client.get("/audit", params={"actor": text})).text
        assert "sip-br:subscriber" not in shown, text
    for name in ("Zoë", "a_b", "100%!", 'an "x" \\ y'):
        await journal.run(lambda tx, name=name: people.record(tx, "group_noted", name, "seen", {}))
        rows = (await viewer.get("/api/v1/audit", params={"actor": name})).json()["rows"]
        assert [row["actor"] for row in rows] == [name]
