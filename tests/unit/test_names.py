"""Every promise and every rule has tests that carry its number, so that `pytest -k rule_3_2` finds them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PROMISES = [f"p{number}" for number in range(1, 11)]
# The first rule has no parts.
PARTS = {2: 6, 3: 5, 4: 8, 5: 4, 6: 5, 7: 5, 8: 4}
RULES = ["rule_1", *(f"rule_{rule}_{part}" for rule, parts in PARTS.items() for part in range(1, parts + 1))]


@pytest.fixture(scope="module")
def names() -> list[str]:
    trees = [ast.parse(file.read_text()) for file in TESTS.rglob("test_*.py")]
    functions = (
        node
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return [node.name for node in functions if node.name.startswith("test_")]


@pytest.mark.parametrize("number", [*PROMISES, *RULES])
def test_a_test_is_named_after_it(number: str, names: list[str]) -> None:
    """`rule_1_` is followed by a word: with a digit it would be a part of another rule."""
    assert any(re.search(rf"_{number}_(?!\d+_)", name) for name in names)
