"""Nothing that a stranger or a platform sends gets more out of the parsers than what they declare.

A short hunt: the same inputs each time in CI. The long one is `make fuzz MINUTES=60`.
"""

from __future__ import annotations

import json
import random
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.security.fuzzing import answers, messages, wsdls
from tests.security.fuzzing.hunt import Target, guarded, hunt
from worker.journal.port import Refusal

MESSAGES, ANSWERS, WSDLS = (cast(Target, one) for one in (messages, answers, wsdls))
CASES = {"messages": 12_000, "answers": 8000}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
quick = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("target", [MESSAGES, ANSWERS, WSDLS], ids=lambda target: target.NAME)
def test_what_the_fuzzer_begins_with_is_understood(target: Target) -> None:
    """Else it would only ever knock at the door."""
    endings = {guarded(target.check, data)[0] for data in target.corpus()}
    wanted = {
        "messages": {
            "command",
            "inquiry",
            "invalid_message",
            "unknown_command",
            "invalid_field",
            "missing_field",
        },
        "answers": {"Done", "Refused", "Unclear", "Busy", "Reading"},
        "wsdls": {"Service"},
    }
    assert wanted[target.NAME] <= endings


@pytest.mark.parametrize("target", [MESSAGES, ANSWERS], ids=lambda target: target.NAME)
def test_a_bent_input_ends_in_a_declared_way(target: Target) -> None:
    seeds, chance = target.corpus(), random.Random(20260501)
    for number in range(CASES[target.NAME]):
        data = target.bend(seeds, chance)
        try:
            guarded(target.check, data)
        except Exception as error:
            error.add_note(f"input {number}: {data[:2000]!r}")
            raise


@pytest.mark.filterwarnings("ignore")  # of zeep, about each thing that is missing
def test_a_bent_wsdl_is_used_or_unusable() -> None:
    done = hunt(WSDLS, seconds=4, seed=20260501)
    assert not done.found


@quick
@given(
    body=st.binary(max_size=2000), content_type=st.sampled_from(("application/json", messages.STRUCTURED, ""))
)
def test_any_bytes_are_refused_or_admitted(body: bytes, content_type: str) -> None:
    guarded(messages.check, messages.written(body, {"ce-id": "1", "ce-time": 5}, content_type=content_type))


@quick
@given(
    attributes=st.dictionaries(
        st.sampled_from(sorted(messages.LONGEST)) | st.text(max_size=12), JSON, max_size=8
    ),
    data=JSON,
)
def test_any_event_is_refused_or_admitted(attributes: dict[str, object], data: object) -> None:
    event = {"specversion": "1.0", "id": "1", "source": "/crm", "type": "credit.add.v1", "data": data}
    body = json.dumps(event | attributes).encode("utf-8", "surrogatepass")
    guarded(messages.check, messages.written(body, content_type=messages.STRUCTURED))


@quick
@given(
    text=st.text(max_size=200),
    do=st.sampled_from(sorted(answers.OPERATIONS)),
    status=st.sampled_from((200, 202, 204, 400, 401, 403, 404, 408, 429, 500, 502, 503)),
    declared=st.booleans(),
)
def test_any_fault_text_becomes_one_short_line(text: str, do: str, status: int, declared: bool) -> None:
    fault = answers.declared_fault(text) if declared else answers.undeclared_fault(text)
    guarded(answers.check, answers.written(do, status, fault.body))


# ---------------------------------------------------------------- found by the long hunts


@pytest.mark.parametrize("name", ["si\br", "A", "", "a" * 41, "x" * 100_000])
def test_a_platforms_name_of_another_form_stands_in_no_event(name: str) -> None:
    """It stood there as it came, with its control characters, and as long as a message may be."""
    event = messages._event("credit.get.v1", messages.DATA["credit.get.v1"] | {"platform": name})
    body = json.dumps(event).encode()
    arrival = messages.READER.arrival(
        messages.delivery(messages.written(body, content_type=messages.STRUCTURED))
    )
    assert isinstance(arrival.item, Refusal)
    assert "platform" not in arrival.item.known


def test_a_date_that_no_clock_holds_is_no_date() -> None:
    """It came out of the adapter as an OverflowError."""
    never = "Wed, 21 Oct 20299999999999999999999996 07:28:00 GMT"
    assert answers.check(answers.written("credit", 503, b"", Retry_After=never)) == "Unclear"
