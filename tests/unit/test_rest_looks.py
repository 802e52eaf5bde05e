"""What a list proves: presence by a row, absence only where every row shows what is looked for."""

from __future__ import annotations

from typing import Any

import pytest

from worker.domain.outcome import Unclear
from worker.messages.rest.operations import Check
from worker.platforms.rest.looks import Seen, among

CHECK = Check("toy.things.list.v1", {}, "data", {"name": "name"})
ANA = {"id": 1, "name": "ana"}
WANTED = {"name": "ana"}


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"message": "maintenance"},
        {"data": None},
        {"data": "none"},
        [],
        "busy",
        {"data": [{"id": 1}]},
        {"data": [{"id": 1, "name": "bob"}, {"id": 2}]},
    ],
)
def test_rule_3_3_what_does_not_show_what_is_looked_for_proves_no_absence(value: Any) -> None:
    assert among(value, CHECK, WANTED) == Unclear("not_shown")


@pytest.mark.parametrize("value", [{"data": []}, {"data": [{"id": 2, "name": "bob"}]}])
def test_a_whole_list_without_it_shows_that_it_is_absent(value: Any) -> None:
    assert among(value, CHECK, WANTED) == Seen([])


def test_a_row_that_is_it_counts_whatever_the_others_lack() -> None:
    assert among({"data": [{"id": 2}, ANA]}, CHECK, WANTED) == Seen([ANA])
