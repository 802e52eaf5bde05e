"""A refused message is mended under its own id and key, with secrets kept unseen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from worker.journal.quarantine.mending import NotMendable, Sheet, mended, taken_apart, wrong_with
from worker.messages.envelope import STRUCTURED, Envelope
from worker.messages.errors import Problem

KINDS = {"sip-br": "sippulse"}
ATTRIBUTES = {"specversion": "1.0", "id": "m-1", "source": "/crm", "type": "calls.block.v1"}
DATA = {"platform": "sip-br", "subscriber": {"username": "ana", "domain": "sip.example"}}


def message(data: Any = None, **attributes: Any) -> bytes:
    return json.dumps({**ATTRIBUTES, **attributes, "data": DATA if data is None else data}).encode()


def problem(body: bytes, sheet: Sheet, headers: dict[str, str] | None = None) -> Problem | Envelope:
    return wrong_with(mended(body, headers or {}, sheet), KINDS, 262_144)


def test_left_as_it_is_it_goes_byte_for_byte_without_the_broker_s_notes() -> None:
    body = b'{ "id":"m-1"'
    ready = mended(body, {"x-death": "once", "trace": "t"}, Sheet())
    assert (ready.body, dict(ready.headers), ready.content_type, ready.changed) == (
        body,
        {"trace": "t"},
        STRUCTURED,
        (),
    )
    parts = taken_apart(message(), {})
    same = mended(message(), {}, Sheet(parts.attributes, parts.data, parts.headers))
    assert (same.body, same.changed) == (message(), ())


def test_data_are_mended_and_a_secret_that_nobody_saw_stays() -> None:
    body = message({"platform": "sip-rb", "password": "tell-nobody"})
    shown = taken_apart(body, {}).shown()
    assert "tell-nobody" not in str(shown)
    ready = mended(body, {}, Sheet(data={**shown.data, "platform": "sip-br"}))
    assert json.loads(ready.body)["data"] == {"platform": "sip-br", "password": "tell-nobody"}
    assert ready.changed == ("data",)
    with pytest.raises(NotMendable, match="pin: the mask"):
        mended(body, {}, Sheet(data={**shown.data, "pin": "***"}))


ANA, BEA = {"username": "ana", "password": "of-ana"}, {"username": "bea", "password": "of-bea"}


def in_a_list(*people: dict[str, str]) -> Any:
    return {"platform": "sip-br", "people": [*people]}


def masked(person: dict[str, str], **changes: str) -> dict[str, str]:
    return {**person, "password": "***", **changes}


@pytest.mark.parametrize(
    "people",
    [
        (masked(BEA),),
        (masked(BEA), masked(ANA)),
        (masked(BEA, username="beate"), masked(ANA)),
        ({"username": "eva", "password": "of-eva"}, masked(ANA)),
    ],
    ids=["removed", "moved", "moved_and_changed", "pushed_on"],
)
def test_nobody_gets_the_secret_of_another_element_of_a_list(people: Any) -> None:
    with pytest.raises(NotMendable, match="password: the mask"):
        mended(message(in_a_list(ANA, BEA)), {}, Sheet(data=in_a_list(*people)))


def test_an_element_of_a_list_that_is_mended_in_its_place_keeps_its_secret() -> None:
    sheet = Sheet(data=in_a_list(masked(ANA, username="anna"), masked(BEA)))
    ready = mended(message(in_a_list(ANA, BEA)), {}, sheet)
    assert json.loads(ready.body)["data"] == in_a_list({**ANA, "username": "anna"}, BEA)


@pytest.mark.parametrize("name", ["id", "source", "idempotencykey"])
def test_what_the_order_is_known_by_stays(name: str) -> None:
    body = message(idempotencykey="k-1")
    with pytest.raises(NotMendable, match=f"{name} stays"):
        mended(body, {}, Sheet({**ATTRIBUTES, "idempotencykey": "k-1", name: "another"}))
    with pytest.raises(NotMendable, match="idempotencykey stays 'm-1'"):
        mended(message(), {}, Sheet({**ATTRIBUTES, "idempotencykey": "another"}))


@pytest.mark.parametrize(
    ("wrong", "right"),
    [({"source": "my crm"}, {"source": "/crm"}), ({"id": ""}, {"id": "m-2"}), ({"id": 7}, {"id": "7"})],
)
def test_a_name_that_could_never_be_admitted_may_be_put_right(wrong: Any, right: Any) -> None:
    body = message(**wrong)
    assert isinstance(problem(body, Sheet()), Problem)
    assert isinstance(problem(body, Sheet({**ATTRIBUTES, **right})), Envelope)


def test_what_cannot_be_read_whole_is_shown_masked_and_can_be_written_anew() -> None:
    body = b'{"id": "m-1", "source": "/crm", "password": "tell-nobody", "data": {'
    parts = taken_apart(body, {})
    assert parts.text is not None
    assert "tell-nobody" not in parts.text
    found = problem(body, Sheet(ATTRIBUTES, DATA))
    assert isinstance(found, Envelope)
    assert found.id == "m-1"


def test_binary_mode_is_mended_with_its_attributes_beside_the_data() -> None:
    headers = {
        "ce-id": "m-1",
        "ce-source": "/crm",
        "ce-type": "calls.blok.v1",
        "ce-specversion": "1.0",
        "trace": "t",
    }
    body = json.dumps(DATA).encode()
    assert isinstance(wrong_with(mended(body, headers, Sheet()), KINDS, 262_144), Problem)
    parts = taken_apart(body, headers)
    assert (parts.attributes["type"], parts.data, parts.headers) == ("calls.blok.v1", DATA, {"trace": "t"})
    ready = mended(body, headers, Sheet({**parts.attributes, "type": "calls.block.v1"}))
    assert (ready.changed, dict(ready.headers)) == (("attributes",), {"trace": "t"})
    assert isinstance(wrong_with(ready, KINDS, 262_144), Envelope)


@pytest.mark.parametrize(
    ("sheet", "why"),
    [
        (Sheet(headers={"x-death": "none"}), "RabbitMQ's own"),
        (Sheet(headers={"ce-id": "m-2"}), "attributes stand above"),
        (Sheet(data=["no object"]), "JSON object"),
        (Sheet(data={"note": "\ud800"}), "cannot be sent"),
    ],
)
def test_what_makes_no_message_is_refused_with_a_sentence(sheet: Sheet, why: str) -> None:
    with pytest.raises(NotMendable, match=why):
        mended(message(), {"x-death": "once"}, sheet)
