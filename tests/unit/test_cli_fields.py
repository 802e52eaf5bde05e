"""FIELD=VALUE words into a command's data."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.cli.context import Fault
from worker.cli.fields import data_of, list_fields, merged
from worker.cli.send import WAIT, with_wait
from worker.messages.sippulse.portable import CallsBlockSippulse


def test_values_are_texts_unless_they_say_otherwise() -> None:
    words = ["amount=25.00", "voicemail=true", "area_code=11", 'kinds=["outgoing"]', "note=a=b", "name:=7"]
    assert data_of(words) == {
        "amount": "25.00",
        "voicemail": True,
        "area_code": "11",
        "kinds": ["outgoing"],
        "note": "a=b",
        "name": 7,
    }


def test_dots_lead_into_objects() -> None:
    words = ["subscriber.username=joao", "subscriber.domain=sip.example"]
    assert data_of(words) == {"subscriber": {"username": "joao", "domain": "sip.example"}}


def test_a_list_may_be_written_with_commas_where_the_field_is_one() -> None:
    lists = list_fields(CallsBlockSippulse)
    assert data_of(["kinds=outgoing, incoming"], lists) == {"kinds": ["outgoing", "incoming"]}
    assert data_of(["note=a,b"], lists) == {"note": "a,b"}


def test_secrets_come_from_files_and_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("from a file\n")
    monkeypatch.setenv("PIN", "from a variable")
    words = [f"password=@{tmp_path}/secret", "pin=env:PIN"]
    assert data_of(words) == {"password": "from a file", "pin": "from a variable"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["alone"], "is no field"),
        (["=x"], "is no field"),
        (["a=1", "a=2"], "a stands twice"),
        (["a=1", "a.b=2"], "a has a value already"),
        (["a:=nope"], "a: its value is not JSON"),
        (["a=[1"], "a: its value is not JSON"),
        (["a=env:NOT_THERE"], "the variable NOT_THERE is not set"),
        (["a=@/not/there"], "the file /not/there cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said_without_the_value(words: list[str], said: str) -> None:
    with pytest.raises(Fault, match=said.replace("(", r"\(")) as caught:
        data_of(words)
    assert caught.value.code == 2


def test_an_edit_lays_fields_over_what_was_sent_and_null_removes() -> None:
    old = {"amount": "1.00", "note": "x", "address": {"street": "A", "number": "1"}}
    new = data_of(["amount=2.00", "note=null", "address.number=9"])
    assert merged(old, new) == {"amount": "2.00", "address": {"street": "A", "number": "9"}}


def test_a_bare_wait_gets_its_seconds() -> None:
    assert with_wait(["send", "x", "--wait"]) == ["send", "x", f"--wait={WAIT:g}"]
    assert with_wait(["send", "--wait", "a=1"]) == ["send", f"--wait={WAIT:g}", "a=1"]
    assert with_wait(["send", "--wait", "2.5", "x"]) == ["send", "--wait", "2.5", "x"]
