"""Taking a row back: what reverses each command, and where nothing may be touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from worker.journal.batches.batches import Line
from worker.journal.batches.endings import Part
from worker.onboarding.undo import _reversed

WHO = {"username": "551130001000", "domain": "sip.example"}
ABOUT = {"platform": "here", "subscriber": WHO}
# The record as `subscriber.get` read it in front of the row.
BEFORE = {
    **WHO,
    "email": "ana@sip.example",
    "call_limit": 2,
    "password": "***",
    "address": {"street": "Rua A", "city": "Campinas"},
    "outgoing_calls": True,
    "incoming_calls": False,
    "block_anonymous_calls": False,
    "block_collect_calls": True,
    "forwarding": {"always": "sip:200@sip.example"},
}
MADE, ADOPTED = {"platform_id": "7", "adopted": False}, {"platform_id": "7", "adopted": True}

Commands = list[tuple[str, dict[str, Any]]]


def part(
    type: str,
    data: Mapping[str, Any] | None = None,
    output: Mapping[str, Any] | None = None,
    effect: str = "applied",
) -> Part:
    whole = None if data is None else {**ABOUT, **data}
    return Part(0, f"{type}.v1", "friday/a/0", "succeeded", effect, output=output, data=whole)


def reversed_(
    *parts: Part, before: Mapping[str, Any] | None = BEFORE, kind: str = "sippulse"
) -> Commands | str:
    """The commands without platform and subscriber, or why the row is kept; none: nothing has to be reversed."""
    line = Line(2, "done", False, {"Telefone": "1"}, parts)
    made = _reversed(line, [one for one in parts if one.effect == "applied"], before, kind)
    if made is None:
        return []
    if made.findings:
        assert (made.commands, made.findings[0].code) == ((), "not_reversed")
        return made.findings[0].problem
    for _, data in made.commands:
        assert {name: data.pop(name) for name in ABOUT} == ABOUT
    return [(type.removesuffix(".v1"), data) for type, data in made.commands]


CREATED = part("subscriber.create", {}, MADE)
ASSIGNED = part("number.assign", {"number": "1130002000"})
OTHERS = (
    part("forwarding.set", {"always": "sip:300@sip.example"}),
    part("credit.add", {"amount": "10"}),
    part("calls.block", {"kinds": ["outgoing"]}),
)
RELEASE, REMOVE = ("number.release", {"number": "1130002000"}), ("subscriber.remove", {})


@pytest.mark.parametrize(
    ("type", "data", "wanted"),
    [
        ("calls.block", {}, [("calls.unblock", {"kinds": ["outgoing"]})]),
        ("calls.block", {"kinds": ["outgoing", "incoming", "anonymous", "collect"]},
         [("calls.unblock", {"kinds": ["outgoing", "anonymous"]})]),
        ("calls.block", {"kinds": ["incoming"]}, []),
        ("calls.unblock", {"kinds": ["outgoing", "incoming"]}, [("calls.block", {"kinds": ["incoming"]})]),
        ("calls.unblock", {"kinds": ["outgoing"]}, []),
        ("subscriber.update", {"changes": {"email": "new@sip.example", "call_limit": 9, "phone": None}},
         [("subscriber.update", {"changes": {"email": "ana@sip.example", "call_limit": 2}})]),
        ("subscriber.update", {"changes": {"address": {"city": "Santos"}}},
         [("subscriber.update", {"changes": {"address": {"city": "Campinas"}}})]),
        ("forwarding.set", {"always": "sip:300@sip.example", "busy": "sip:301@sip.example", "no_answer": None},
         [("forwarding.set", {"always": "sip:200@sip.example", "busy": ""})]),
        ("number.assign", {"number": "1130002000"}, [RELEASE]),
    ],
)  # fmt: skip
def test_what_was_changed_goes_back_to_what_it_was(type: str, data: dict[str, Any], wanted: Commands) -> None:
    assert reversed_(part(type, data)) == wanted


@pytest.mark.parametrize(
    ("type", "data", "why"),
    [
        (
            "calls.block",
            {"kinds": ["outgoing", "private"]},
            "does not show whether private calls were blocked",
        ),
        (
            "subscriber.update",
            {"changes": {"email": "a@b.example", "password": "x"}},
            "what password was before",
        ),
        ("subscriber.update", {"changes": {"phone": "1"}}, "what phone was before"),
        (
            "subscriber.update",
            {"changes": {"address": {"district": "C"}}},
            "what address.district was before",
        ),
        ("credit.add", {"amount": "10"}, "credit.add cannot be taken back by the worker"),
        ("password.change", {"new_password": "x"}, "password.change cannot be taken back"),
        ("subscriber.block", {}, "subscriber.block cannot be taken back"),
        ("subscriber.remove", {}, "subscriber.remove cannot be taken back"),
        ("calls.block", None, "its command is no longer in the journal"),
    ],
)
def test_what_cannot_be_put_back_is_left_whole_with_the_reason(type: str, data: Any, why: str) -> None:
    found = reversed_(part("number.assign", {"number": "1130002000"}), part(type, data))
    assert isinstance(found, str)
    assert why in found


def test_without_the_state_before_nothing_is_guessed() -> None:
    for type, data in (("calls.block", {}), ("subscriber.update", {"changes": {"email": "a@b.example"}})):
        assert reversed_(part(type, data), before=None) == (
            "what it was before is not known: the batch was not run with --undoable"
        )
    assert reversed_(part("forwarding.set", {"busy": "sip:1@sip.example"}), before=None) == (
        "what it was before is not known: the batch was not run with --undoable"
    )


def test_several_changes_of_a_row_go_back_last_first() -> None:
    block = part("calls.block", {"kinds": ["outgoing"]})
    assert reversed_(block, ASSIGNED) == [RELEASE, ("calls.unblock", {"kinds": ["outgoing"]})]


def test_what_the_row_made_is_removed_with_all_that_it_did_to_it() -> None:
    """There is no state before of what was not there, and none is needed."""
    assert reversed_(CREATED, before=None) == [REMOVE]
    assert reversed_(CREATED, *OTHERS, before=None) == [REMOVE]
    assert reversed_(CREATED, ASSIGNED, *OTHERS, before=None) == [RELEASE, REMOVE]


def test_a_number_that_was_never_given_is_not_released() -> None:
    refused = part("number.assign", {"number": "1130002000"}, effect="none")
    assert reversed_(CREATED, refused, before=None) == [REMOVE]


def test_what_was_adopted_is_never_removed() -> None:
    untouched, updated = (part("subscriber.create", {}, ADOPTED, effect) for effect in ("none", "applied"))
    assert reversed_(untouched, before=None) == []
    assert reversed_(untouched, ASSIGNED, before=None) == [RELEASE]
    for others in ((), (ASSIGNED,), OTHERS):
        found = reversed_(updated, *others, before=None)
        assert found == "it was there before, and this batch changed it: a person has to put it back"
    assert reversed_(untouched, OTHERS[2], before=None) == (
        "what it was before is not known: the subscriber was there already, and nothing is read before a create"
    )


def test_a_create_of_which_nobody_knows_whether_it_made_anything_is_kept() -> None:
    """A person settled it, or it failed half-way."""
    assert reversed_(part("subscriber.create", {}, None), before=None) == (
        "whether it was there before is not known: a person has to look"
    )


@pytest.mark.parametrize(
    ("kind", "subscriber", "wanted"),
    [
        ("ringme", {"client_id": 4}, {"client_id": 4, "extension_id": "7"}),
        ("voipmundo", None, {"id": "7"}),
    ],
)
def test_what_a_platform_named_itself_is_removed_under_that_name(
    kind: str, subscriber: Any, wanted: Any
) -> None:
    data = {"platform": "here", **({"subscriber": subscriber} if subscriber else {})}
    create = Part(0, "subscriber.create.v1", "friday/a/0", "succeeded", "applied", output=MADE, data=data)
    made = _reversed(Line(2, "done", False, {}, (create,)), [create], None, kind)
    assert made is not None
    assert made.commands == (("subscriber.remove.v1", {"platform": "here", "subscriber": wanted}),)
    nameless = Part(
        0, create.type, create.message_id, "succeeded", "applied", output={"adopted": False}, data=data
    )
    kept = _reversed(Line(2, "done", False, {}, (nameless,)), [nameless], None, kind)
    assert kept is not None
    assert "did not say which id" in kept.findings[0].problem


def test_what_the_platform_would_refuse_is_said_before_it_is_sent() -> None:
    found = reversed_(ASSIGNED, kind="ringme")
    assert isinstance(found, str)
    assert found.startswith("number.release would be refused: ")
