"""Who may not see names cannot find them out either."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conformance.support import Place, change, records
from tests.conformance.test_console_journal import KEPT, five
from tests.support.console import Front
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
    assert [row["message_id"] for row in by_id] == ["m-5"], "what programs gave is no name"


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
