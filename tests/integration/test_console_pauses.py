"""What people stop and slow on the console: everybody sees it on every page, and it is on the record."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.support import PLATFORM, Place, claim, order, select
from tests.support.console import Front
from worker.journal.batches.batches import Batches, NewBatch

PAGES = (
    "/",
    "/commands",
    "/scheduled",
    "/failures",
    "/in-doubt",
    "/acts",
    "/platforms",
    "/quarantine",
    "/audit",
)
STOPS = [
    ("everything", "", "Everything"),
    ("command", "calls.block", "Command calls.block"),
    ("source", "/crm", "Sender /crm"),
    ("batch", "b-1", "Batch b-1"),
]


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    place = Place(f"sqlite:///{tmp_path}/worker.db")
    journal = await place.open()
    async with Front(place.url, journal) as it:
        it.office.rates = {PLATFORM: 50.0}
        yield it
    await place.close()


async def told(front: Front, what: str) -> list[dict[str, Any]]:
    rows = await select(front.stored, "SELECT record FROM audit WHERE what = $1 ORDER BY id", what)
    return [json.loads(row["record"]) for row in rows]


async def test_every_stop_stands_in_the_header_of_every_page_with_who_and_why(front: Front) -> None:
    ana = await front.person("ana", "operator")
    for scope, name, _ in STOPS:
        answer = await ana.act("/pauses", scope=scope, name=name, reason=f"why {scope}")
        assert answer.status_code == 303, answer.text
    await ana.act(f"/platforms/{PLATFORM}/rate", per_second="2,5", reason="it is slow")
    for path in PAGES:
        text = (await ana.get(path)).text
        header = text[text.index('id="banners"') : text.index("<main")]
        for scope, _, shown in STOPS:
            assert f"<b>{shown}</b> paused by ana: why {scope}" in header, (path, shown)
        assert f"<b>{PLATFORM}</b> slowed to 2.5 calls a second by ana: it is slow" in header, path
    for scope, name, _ in STOPS:
        answer = await ana.act("/pauses/end", scope=scope, name=name, reason="over")
        assert answer.status_code == 303, answer.text
    await ana.act(f"/platforms/{PLATFORM}/rate", reason="it is well")
    text = (await ana.get("/platforms")).text
    assert "paused by" not in text
    assert "slowed" not in text
    assert "at most 50 calls a second" in text
    paused, resumed = await told(front, "paused"), await told(front, "resumed")
    assert [(one["actor"], one["reason"]) for one in paused] == [
        ("ana", f"why {scope}") for scope, *_ in STOPS
    ]
    assert [one["details"].get("scope") for one in resumed] == [scope for scope, *_ in STOPS]
    assert [one["details"] for one in await told(front, "rate_lowered")] == [{"rate": 2.5}]
    assert [one["actor"] for one in await told(front, "rate_restored")] == ["ana"]


async def test_a_viewer_sees_it_may_not_do_it_and_that_is_written_down(front: Front) -> None:
    await front.stored.stop("everything", "", "ana", "the database moves")
    vic = await front.person("vic", "viewer")
    text = (await vic.get("/platforms")).text
    assert "paused by ana: the database moves" in text
    assert 'action="/pauses' not in text
    assert "/rate" not in text
    for path, fields in (
        ("/pauses", {"scope": "everything"}),
        ("/pauses/end", {"scope": "everything"}),
        (f"/platforms/{PLATFORM}/rate", {"per_second": "1"}),
        (f"/platforms/{PLATFORM}/rate", {}),
    ):
        assert (await vic.act(path, reason="x", **fields)).status_code == 403, path
    assert [one["actor"] for one in await told(front, "denied")] == ["vic"] * 4
    [only] = await front.stored.pauses()
    assert only.by == "ana"


@pytest.mark.parametrize(
    ("path", "fields", "why"),
    [
        ("/pauses", {"scope": "command", "name": "calls.blok"}, "did you mean calls.block"),
        ("/pauses", {"scope": "command", "name": "command.get"}, "never reaches a platform"),
        ("/pauses", {"scope": "source", "name": "  "}, "say which one"),
        ("/pauses", {"scope": "batch", "name": "a\nb"}, "can be seen"),
        ("/pauses", {"scope": "the moon", "name": "x"}, "a pause is of"),
        ("/pauses", {"scope": "everything", "reason": ""}, "say why"),
        ("/pauses/end", {"scope": "everything"}, "is not paused"),
        (f"/platforms/{PLATFORM}/rate", {"per_second": "50"}, "below that"),
        (f"/platforms/{PLATFORM}/rate", {"per_second": "0"}, "pause it"),
        (f"/platforms/{PLATFORM}/rate", {"per_second": "nan"}, "pause it"),
        (f"/platforms/{PLATFORM}/rate", {"per_second": "fast"}, "is a number"),
        (f"/platforms/{PLATFORM}/rate", {}, "as the settings say"),
        ("/platforms/elsewhere/rate", {"per_second": "1"}, "there is no platform"),
    ],
)
async def test_what_makes_no_sense_gets_a_sentence_and_changes_nothing(
    front: Front, path: str, fields: dict[str, str], why: str
) -> None:
    ana = await front.person("ana", "operator")
    answer = await ana.act(path, **{"reason": "x", **fields})
    assert answer.status_code in (404, 409, 422)
    assert why in answer.text
    assert await front.stored.pauses() == []
    assert not await told(front, "paused")
    assert not await told(front, "rate_lowered")


async def test_a_form_without_the_mark_of_the_session_stops_nothing(front: Front) -> None:
    ana = await front.person("ana", "operator")
    answer = await ana.client.post("/pauses", data={"scope": "everything", "reason": "x"})
    assert answer.status_code == 403
    assert await front.stored.pauses() == []


async def test_a_paused_batch_is_neither_sent_nor_executed(front: Front) -> None:
    ana, batches = await front.person("ana", "operator"), Batches(front.stored)
    await batches.begin(NewBatch("b-1", PLATFORM, "move", "f.csv", "0", "{}", 1, "ana"))
    await front.stored.admit([order(batch_id="b-1")])
    await ana.act("/pauses", scope="batch", name="b-1", reason="wrong list")
    assert (await batches.needed("b-1")).paused_by == "ana"
    assert await claim(front.stored) == []
    assert [one["actor"] for one in await told(front, "batch_paused")] == ["ana"]
    await batches.resume("b-1", "bea", "right list")
    assert await front.stored.pauses() == []
    while await front.stored.sweep():
        pass
    assert len(await claim(front.stored)) == 1
    await batches.pause("b-1", "bea", "again")
    assert [(one.scope, one.name, one.by) for one in await front.stored.pauses()] == [("batch", "b-1", "bea")]


async def test_the_api_does_the_same(front: Front) -> None:
    operator, viewer = await front.token("act", "operator"), await front.token("see", "viewer")
    body = {"scope": "command", "name": "calls.block", "reason": "wrong rule"}
    assert (await viewer.post("/api/v1/pauses", json=body)).status_code == 403
    key = {"Idempotency-Key": "p-1"}
    first = await operator.post("/api/v1/pauses", json=body, headers=key)
    assert first.json() == {"scope": "command", "name": "calls.block.v1", "done": "pause"}
    assert (await operator.post("/api/v1/pauses", json=body, headers=key)).json() == first.json()
    assert len(await told(front, "paused")) == 1
    [shown] = (await viewer.get("/api/v1/pauses")).json()
    assert (shown["scope"], shown["by"], shown["reason"]) == ("command", "token act", "wrong rule")
    assert (await operator.post("/api/v1/pauses/end", json=body)).status_code == 200
    assert (await operator.post("/api/v1/pauses/end", json=body)).status_code == 409
    assert (await viewer.get("/api/v1/pauses")).json() == []

    path = f"/api/v1/platforms/{PLATFORM}/rate"
    assert (await viewer.post(path, json={"per_second": 2, "reason": "x"})).status_code == 403
    assert (await operator.post(path, json={"per_second": 80, "reason": "x"})).status_code == 422
    assert (await operator.post(path, json={"per_second": 2, "reason": "x"})).status_code == 200
    [platform] = (await viewer.get("/api/v1/platforms")).json()
    assert (platform["lowered_rate"], platform["lowered_by"], platform["rate"]) == (2.0, "token act", 50.0)
    assert (await operator.post(path, json={"per_second": None, "reason": "x"})).status_code == 200
    assert (await operator.post(path, json={"per_second": None, "reason": "x"})).status_code == 409


async def test_readiness_and_overview_name_what_is_stopped(front: Front) -> None:
    await front.stored.stop("source", "/crm", "ana", "they send too much")
    ready, report = await front.office.readiness.report()
    assert ready, "a pause is a warning"
    [wrong] = report["wrong"]
    assert wrong["text"].startswith("what /crm sends is paused by ana: they send too much")
    ana = await front.person("ana", "operator")
    assert "what /crm sends is paused by ana" in (await ana.get("/")).text


async def test_it_is_said_in_portuguese_too(front: Front) -> None:
    ana = await front.person("ana", "operator")
    await front.stored.stop("everything", "", "bea", "mudança")
    await front.stored.lower(PLATFORM, 2.0, "bea", "lenta")
    answer = await ana.client.get("/platforms", headers={"accept-language": "pt-BR"})
    assert "<b>Tudo</b> em pausa por bea: mudança" in answer.text
    assert "reduzida a 2 chamadas por segundo por bea: lenta" in answer.text
