"""The judge over a large batch says no where file, report and platform do not agree."""

from __future__ import annotations

from typing import Any

import pytest

from tests.batches.files import Row, username
from tests.batches.judging import Account, Platform, accounted

ROWS: list[Row] = [
    ("(11) 96000-0000", "a", "", "1.010,50", ""),  # succeeds with its credit
    ("(11) 96000-0001", "b", "", "", ""),  # succeeds
    ("(20) 2", "c", "", "", ""),  # is bad
    ("(11) 96000-0003", "d", "", "1.010,50", ""),  # its credit fails
    ("(11) 96000-0004", "e", "", "1.010,50", ""),  # its create fails
]
ENDINGS = (
    ("succeeded", "", ""),
    ("succeeded", "", ""),
    ("not sent", "", ""),
    ("failed", "credit.add", ""),
    ("failed", "subscriber.create", "credit.add"),
)
REPORT: list[dict[str, str]] = [
    {"row": str(number), "ending": ending, "command": command, "code": "x", "skipped": skipped}
    for number, (ending, command, skipped) in enumerate(ENDINGS, 2)
]
THERE = frozenset(map(username, (0, 1, 3)))


def judged(
    there: frozenset[str] = THERE,
    credits: dict[str, int] | None = None,
    doubles: int = 0,
    **changed: dict[str, Any],
) -> Account:
    report = [{**line, **changed.get(f"row{line['row']}", {})} for line in REPORT]
    return accounted(ROWS, report, Platform(there, {username(0): 1} if credits is None else credits, doubles))


def test_a_failed_credit_is_told_from_a_failed_create() -> None:
    account = judged()
    assert account.equal, account.lines
    assert account.commands == 2 + 1 + 2 + 1  # of the last one the credit was skipped
    assert ("rows failed: credit.add x", "1") in account.endings


@pytest.mark.parametrize(
    ("what", "differently"),
    [
        ("subscribers", {"there": THERE | {username(4)}}),
        ("subscribers", {"there": THERE - {username(3)}}),
        ("credits, each once", {"credits": {}}),
        ("credits, each once", {"credits": {username(0): 2}}),
        ("credits, each once", {"credits": {username(3): 1}}),
        ("subscribers made twice", {"doubles": 1}),
        ("rows that were bad, and not sent", {"row4": {"ending": "succeeded"}}),
        ("rows whose create failed: their credits, skipped", {"row6": {"skipped": ""}}),
        ("rows still open", {"row3": {"ending": "waiting"}}),
        ("rows, each once", {"row3": {"row": "2"}}),
    ],
)
def test_each_difference_is_found(what: str, differently: dict[str, Any]) -> None:
    account = judged(**differently)
    assert what in [one.what for one in account.lines if not one.equal]
    assert not account.equal
