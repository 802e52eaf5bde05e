"""What an answer over HTTP and JSON means: one table (rules 2), and a reader that nothing from outside can hurt."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from worker.domain.outcome import Busy, Ill, NotSent, Refused, Unclear
from worker.domain.redaction import Masker
from worker.messages.errors import Code
from worker.messages.rest.operations import Operation
from worker.platforms.refusals import Refusals
from worker.platforms.rest.answers import Answered, Answers, Declared, Garbage, plain, read
from worker.platforms.transport import Answer, Lost, Phase

OBJECT = Operation("x.one.get.v1", "GET", "/one", "read", (), answer={"type": "object"})
ROWS = Operation("x.all.list.v1", "GET", "/all", "read", (), answer={"type": "array"})
NOTHING = Operation("x.one.remove.v1", "DELETE", "/one", "delete", ())


def declared(status: int, value: Any) -> Declared | None:
    """As a platform whose errors stand in the body, whatever the status."""
    stated = isinstance(value, dict) and value.get("error") == 1
    return Declared(value["reason"], "1") if stated else None


TABLE = Refusals({"^1: nobody": "not_found", "come back": "busy", "maintenance": "ill"})
ANSWERS = Answers(TABLE, declared=declared)
MASKER = Masker(["s3cret-token"])


def meaning(status: int, body: bytes = b"{}", operation: Operation = OBJECT, **headers: str) -> Any:
    answer = Answer(status, CIMultiDict({k.replace("_", "-"): v for k, v in headers.items()}), body, 0.0, 1.0)
    return ANSWERS.meaning(answer, operation, MASKER)


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (Phase.WAITING, NotSent("timeout")),
        (Phase.CONNECTED, NotSent("timeout")),
        (Phase.WRITING, Unclear("timeout")),
        (Phase.READING, Unclear("timeout")),
    ],
)
def test_rule_2_1_the_phase_says_whether_it_was_sent(phase: Phase, expected: Any) -> None:
    assert ANSWERS.meaning(Lost(phase, "timeout"), OBJECT, MASKER) == expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'{"id": 7}', Answered({"id": 7})),
        (201, b'{"balance": 1.10}', Answered({"balance": Decimal("1.10")})),
        (200, b"", Unclear("garbage")),
        (200, b"<html>", Unclear("garbage")),
        (200, b'{"id": 7', Unclear("garbage")),
        (200, b"[]", Unclear("garbage")),
        (200, b'{"error": 0}', Answered({"error": 0})),
        (204, b"", Unclear("garbage")),
        (301, b"", Unclear("redirect")),
        (408, b"", Unclear("timeout")),
        (429, b"", Busy(5.0)),
        (500, b"", Unclear("server_fault")),
        (502, b"<html>", Unclear("server_fault")),
        (503, b"", Unclear("server_fault")),
        (401, b"", Refused(Code.CREDENTIALS_REFUSED, "HTTP 401", "401")),
        (403, b"<html>", Refused(Code.CREDENTIALS_REFUSED, "HTTP 403", "403")),
        (404, b"", Refused(Code.NOT_FOUND, "HTTP 404", "404")),
        (422, b"{}", Refused(Code.PLATFORM_REFUSED, "HTTP 422", "422")),
    ],
)
def test_what_the_status_says_where_the_platform_states_no_error(
    status: int, body: bytes, expected: Any
) -> None:
    assert meaning(status, body) == expected


@pytest.mark.parametrize("status", [200, 400, 404, 422, 500])
def test_a_stated_error_is_a_refusal_with_any_status(status: int) -> None:
    found = meaning(status, b'{"error": 1, "reason": "no such plan"}')
    code = Code.NOT_FOUND if status == 404 else Code.PLATFORM_REFUSED
    assert found == Refused(code, "1: no such plan", "1", certain=False)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("nobody there", Refused(Code.NOT_FOUND, "1: nobody there", "1", certain=True)),
        ("please come back", Busy(5.0)),
        ("in maintenance", Ill("1: in maintenance")),
    ],
)
def test_a_text_that_the_table_knows_means_what_the_table_says(reason: str, expected: Any) -> None:
    assert meaning(403, f'{{"error": 1, "reason": "{reason}"}}'.encode()) == expected


def test_a_refusal_never_quotes_a_secret_nor_goes_on_for_ever() -> None:
    found = meaning(200, b'{"error": 1, "reason": "not for s3cret-token ' + b"x" * 5000 + b'"}')
    assert "s3cret" not in found.text
    assert len(found.text) <= 500


def test_retry_after_is_obeyed() -> None:
    assert meaning(429, Retry_After="17") == Busy(17.0)
    assert meaning(503, Retry_After="17") == Busy(17.0)
    assert meaning(503, Retry_After="soon") == Unclear("server_fault")


def test_a_list_and_an_empty_answer_are_what_the_file_promises() -> None:
    assert meaning(200, b"[{}]", ROWS) == Answered([{}])
    assert meaning(200, b"{}", ROWS) == Unclear("garbage")
    assert meaning(204, b"", NOTHING) == Answered(None)


def test_a_platform_may_say_what_an_answer_has_to_have() -> None:
    answers = Answers(TABLE, sound=lambda operation, value: "error" in value)
    sent = Answer(200, CIMultiDict(), b"{}", 0.0, 1.0)
    assert answers.meaning(sent, OBJECT, MASKER) == Unclear("garbage")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 40 + b"]" * 40,
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999999}',
        b"1" * 5000,
        b'"\xff"',
        b"[" * 500_000,
    ],
)
def test_what_cannot_be_trusted_is_no_answer(body: bytes) -> None:
    with pytest.raises(Garbage):
        read(body)


@given(st.binary(max_size=300))
def test_reading_fails_in_one_way_only(body: bytes) -> None:
    try:
        read(body)
    except Garbage:
        return


def test_numbers_lose_nothing_on_their_way_into_a_result() -> None:
    assert plain(read(b'{"a": 0.10, "b": [1.5, 2], "c": null}')) == {"a": "0.10", "b": ["1.5", 2], "c": None}
