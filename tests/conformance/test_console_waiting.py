"""What a command waits for and until when, on its page, among those in doubt, and in the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conformance.support import Place, change, select
from tests.conformance.test_console_journal import KEPT, five
from tests.support.console import Front
from worker.console.waiting import waits, window_ends
from worker.journal.journal import StoredJournal

SETTLES = {"sip-br": 120.0}


def row(**more: Any) -> dict[str, Any]:
    return {
        "id": 7, "platform": "sip-br", "effect": "none", "window_closed": False, "received_at": 100.0, "finished_at": None, "now": 200.0, "attempts_made": [],
        "window": {"window_opened": None, "window_command": None, "window_first": None},
    } | more  # fmt: skip


def test_waits_are_the_gaps_between_arrival_tries_and_now() -> None:
    tries = [{"at": 130.0, "ms": 2000.0}, {"at": 100.2, "ms": 300.0}]
    assert waits(row(attempts_made=tries)) == [
        {"at": 100.5, "seconds": 29.5},
        {"at": 132.0, "seconds": 68.0},
    ]
    assert waits(row(attempts_made=tries, finished_at=132.0))[-1]["at"] == 100.5


def test_a_window_ends_a_settle_time_after_the_first_answered_reading_of_it() -> None:
    window = {"window_opened": 90.0, "window_command": 7, "window_first": 95.0}
    assert window_ends(row(window=window), SETTLES) == 215.0
    assert window_ends(row(window=window | {"window_first": None}), SETTLES) is None
    assert window_ends(row(window=window | {"window_command": 8}), SETTLES) is None
    assert window_ends(row(window=window), {}) is None


@pytest.fixture
async def front(place: Place, journal: StoredJournal) -> AsyncIterator[Front]:
    for name in KEPT:
        await change(journal, f"DELETE FROM {name}")
    await five(journal)
    async with Front(place.url, journal) as it:
        it.office.settles = SETTLES
        yield it


async def numbers(journal: StoredJournal) -> dict[str, int]:
    return {
        one["message_id"]: one["id"] for one in await select(journal, "SELECT id, message_id FROM commands")
    }


async def test_pages_and_api_say_when_the_window_ends(front: Front, journal: StoredJournal) -> None:
    ana, program = await front.person("ana", "operator"), await front.token("act", "operator")
    doubtful = (await numbers(journal))["m-4"]
    assert "The platform has answered no reading yet" in (await ana.get("/in-doubt")).text
    now = await journal.now()
    await change(journal, f"UPDATE lanes SET window_first = {now - 30} WHERE window_command = {doubtful}")
    for path in ("/in-doubt", f"/commands/{doubtful}"):
        assert "The window ends in 1." in (await ana.get(path)).text, path
    found = (await program.get(f"/api/v1/commands/{doubtful}")).json()
    assert found["window"]["window_ends"] == pytest.approx(now + 90, abs=1)
    await change(journal, f"UPDATE lanes SET window_first = {now - 500} WHERE window_command = {doubtful}")
    assert "did not keep answering" in (await ana.get("/in-doubt")).text


async def test_the_page_of_a_command_names_what_it_waits_for_and_its_trace(
    front: Front, journal: StoredJournal
) -> None:
    ana = await front.person("ana", "operator")
    known = await numbers(journal)
    trace = "00-4bf92f354bf92f354bf92f354bf92f35-00f067aa0ba902b7-01"
    await change(
        journal,
        f"UPDATE commands SET traceparent = '{trace}', received_at = received_at - 18000 WHERE id = {known['m-5']}",
    )
    page = (await ana.get(f"/commands/{known['m-5']}")).text
    assert f'Waits behind</dt><dd><a href="/commands/{known["m-4"]}">' in page
    assert "<dd>4bf92f354bf92f354bf92f354bf92f35</dd>" in page
    assert "waited 5 h" in page
    assert "Events that wait to be published" in (await ana.get(f"/commands/{known['m-2']}")).text


async def test_records_are_found_by_their_command_and_the_chain_is_walked_for_programs(
    front: Front, journal: StoredJournal
) -> None:
    known = await numbers(journal)
    operator, viewer = await front.token("act", "operator"), await front.token("see", "viewer")
    ana = await front.person("ana", "operator")
    rows = (await operator.get("/api/v1/audit", params={"command": known["m-2"]})).json()["rows"]
    assert {one["command"]["id"] for one in rows} == {"m-2"}
    assert "m-3" not in (await ana.get(f"/audit?command={known['m-2']}")).text
    assert (await ana.get("/audit?command=x")).status_code == 422
    while await journal.seal(100):
        pass
    walked = (await operator.post("/api/v1/audit/verification")).json()
    assert (walked["records"] > 5, walked["faults"]) == (True, [])
    assert (await viewer.post("/api/v1/audit/verification")).status_code == 403
    scheduled = (await operator.get("/api/v1/commands", params={"scheduled": "1"})).json()["rows"]
    assert scheduled == []
