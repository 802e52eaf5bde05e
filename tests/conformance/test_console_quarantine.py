"""Quarantine on the page and in the API: looked at on the record, mended, sent again or dropped."""

from __future__ import annotations

import html
import json
import re
from collections.abc import AsyncIterator

import pytest

from tests.conformance.support import CRM, Place, admit, bad, change, records
from tests.conformance.test_console_journal import KEPT
from tests.conformance.test_resending import ABOUT, RIGHT, Box
from tests.support.console import Front, said
from worker.journal.journal import StoredJournal

SECRET = "Open-Sesame-77"
BODY = json.dumps(
    {"specversion": "1.0", "id": "m-1", "source": CRM, "type": "password.change.v1"}
    | {"data": {**ABOUT, "new_pasword": "x", "new_password": SECRET, "current_password": SECRET}}
).encode()


@pytest.fixture
async def front(place: Place, journal: StoredJournal) -> AsyncIterator[Front]:
    for name in KEPT:
        await change(journal, f"DELETE FROM {name}")
    async with Front(place.url, journal) as it:
        it.office.post = Box()
        yield it


def box(front: Front) -> Box:
    assert isinstance(front.office.post, Box)
    return front.office.post


def fields(page: str) -> dict[str, str]:
    """What stands in the form."""
    found = re.findall(r'<textarea[^>]* name="(\w+)"[^>]*>(.*?)</textarea>', page, re.DOTALL)
    return {name: html.unescape(text) for name, text in found}


async def test_a_message_is_mended_on_the_page_and_sent_again_with_its_secrets(
    front: Front, journal: StoredJournal
) -> None:
    await admit(journal, bad("m-1", body=BODY))
    [row] = await front.journal.quarantined("kept", 5)
    path = f"/quarantine/{row['uid']}"
    ana = await front.person("ana", "operator")
    page = await ana.act(f"{path}/look", reason="what was it")
    assert "It would be refused today as well" in page.text
    assert "new_pasword" in page.text
    assert SECRET not in page.text
    form = fields(page.text)
    data = json.loads(form["data"])
    again = await ana.act(f"{path}/send", **form, reason="a typo")
    assert (again.status_code, "refused again (invalid_field)" in said(again)) == (409, True), said(again)
    broken = await ana.act(f"{path}/send", **{**form, "data": '{"x": '}, reason="a typo")
    assert (broken.status_code, "the data cannot be read as JSON, line 1" in said(broken)) == (422, True)
    assert fields(broken.text)["data"] == '{"x": ', "what was written stays"
    other = {**json.loads(form["attributes"]), "id": "m-2"}
    moved = await ana.act(f"{path}/send", **{**form, "attributes": json.dumps(other)}, reason="x")
    assert "id stays 'm-1'" in html.unescape(said(moved))
    assert not box(front).sent
    del data["new_pasword"]
    sent = await ana.act(f"{path}/send", **{**form, "data": json.dumps(data)}, reason="a typo")
    assert (sent.status_code, sent.headers["location"]) == (303, "/quarantine?state=sent")
    [body] = box(front).sent
    assert json.loads(body)["data"] == {**ABOUT, "new_password": SECRET, "current_password": SECRET}
    assert json.loads(body)["id"] == "m-1"
    twice = await ana.act(f"{path}/send", **form, reason="again")
    assert (twice.status_code, "was sent already" in said(twice)) == (409, True)
    log = [one for one in await records(journal) if one["what"] in ("quarantine_sent", "denied")]
    assert [one["what"] for one in log] == ["denied", "denied", "quarantine_sent", "denied"]
    assert SECRET not in str(await records(journal))


async def test_where_rabbitmq_is_away_nothing_is_marked_and_the_page_says_so(
    front: Front, journal: StoredJournal
) -> None:
    front.office.post = Box(down=True)
    await admit(journal, bad("m-1", body=json.dumps({**RIGHT, "data": ABOUT}).encode()))
    [row] = await front.journal.quarantined("kept", 5)
    ana = await front.person("ana", "operator")
    page = await ana.act(f"/quarantine/{row['uid']}/look", reason="x")
    assert "As it is it would be taken today." in page.text
    sent = await ana.act(f"/quarantine/{row['uid']}/send", **fields(page.text), reason="x")
    assert (sent.status_code, said(sent)) == (503, "RabbitMQ did not take the message")
    assert len(await front.journal.quarantined("kept", 5)) == 1


async def test_the_api_does_what_the_page_does_by_role_and_once_for_each_key(
    front: Front, journal: StoredJournal
) -> None:
    await admit(journal, bad("m-1", body=BODY), bad("m-2", body=b"not json"))
    viewer, operator = await front.token("see", "viewer"), await front.token("act", "operator")
    two, one = (await operator.get("/api/v1/quarantine")).json()
    path = f"/api/v1/quarantine/{one['uid']}"
    for act in ("look", "send", "drop"):
        assert (await viewer.post(f"{path}/{act}", json={"reason": "x"})).status_code == 403
    seen = (await operator.post(f"{path}/look", json={"reason": "x"})).json()
    assert (seen["wrong"]["code"], seen["data"]["new_password"]) == ("invalid_field", "***")
    bad_ = await operator.post(f"{path}/send", json={"reason": "x", "data": seen["data"]})
    assert (bad_.status_code, "refused again" in bad_.json()["detail"]) == (409, True)
    data = {name: value for name, value in seen["data"].items() if name != "new_pasword"}
    key = {"Idempotency-Key": "mend-1"}
    answers = [
        (await operator.post(f"{path}/send", json={"reason": "x", "data": data}, headers=key)).json()
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert (answers[0]["state"], answers[0]["mended"], len(box(front).sent)) == ("sent", ["data"], 1)
    dropped = await operator.post(f"/api/v1/quarantine/{two['uid']}/drop", json={"reason": "x"})
    assert dropped.json()["state"] == "dropped"
    assert (await operator.get("/api/v1/quarantine")).json() == []
    gone = await operator.post("/api/v1/quarantine/abcdef/drop", json={"reason": "x"})
    assert gone.status_code == 404
