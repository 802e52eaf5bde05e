"""Texts of the pages: each in both languages, no script and no style inside a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from worker.console.charts import bars, spark
from worker.console.office import for_viewer, masked_key
from worker.console.texts import ENGLISH, PORTUGUESE, translated
from worker.journal.console.fold import STEPS, names_of, pattern, percentile, step_of

FOLDER = Path(__file__).parents[2] / "worker" / "console" / "templates"
TEMPLATES = sorted(FOLDER.glob("*.html"))
USED = re.compile(r"""\bt\("([^"]+)"|\bt\('([^']+)'""")
LISTED = re.compile(r'\("/?[a-z-]*", "([A-Z][A-Za-z ]+)"\)')


def used(template: Path) -> set[str]:
    text = template.read_text()
    return {one or two for one, two in USED.findall(text)} | set(LISTED.findall(text))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda t: t.name)
def test_every_text_of_a_page_is_there_in_portuguese(template: Path) -> None:
    missing = {text for text in used(template) if text not in PORTUGUESE and text != "bulk "}
    assert not missing


def test_translations_keep_what_is_filled_in() -> None:
    for text, other in {**PORTUGUESE, **ENGLISH}.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", other)), text
    assert translated("pt", "{count} commands", count=3) == "3 comandos"
    assert translated("en", "in_doubt") == "in doubt"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda t: t.name)
def test_no_page_holds_script_or_style_and_none_switches_escaping_off(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"\son[a-z]+=|\sstyle=|<style|javascript:|\|\s*safe", text)
    assert all("src=" in one for one in re.findall(r"<script[^>]*>", text))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda t: t.name)
def test_every_form_that_changes_something_carries_the_session_s_mark(template: Path) -> None:
    if template.name in ("sign_in.html", "first.html"):  # nobody is signed in yet
        return
    for form in re.findall(r'<form method="post".*?</form>', template.read_text(), re.DOTALL):
        assert "csrf" in form


@pytest.mark.parametrize(
    ("message", "key", "expected"),
    [
        ("line 12 of 40 is busy", "p/subscriber/x@y", "line # of # is busy"),
        ("no user 'ana' here", "p:subscriber:ana@sip.example", "no user ‹…› here"),
        ("ana@sip.example is blocked", "p:subscriber:ana@sip.example", "‹…› is blocked"),
        ("client ana17 has no plan", "p:client:ana17", "client ‹…› has no plan"),
        ("took 1.5 s, at 10:20:30", "p/x/y", "took # s, at #"),
        ("a" * 1000, "p/x/y", "a" * 300),
    ],
)
def test_a_fingerprint_leaves_out_numbers_and_names(message: str, key: str, expected: str) -> None:
    assert pattern(message, names_of(key)) == expected


def test_percentiles_come_from_the_steps() -> None:
    spread = [0] * (len(STEPS) + 1)
    assert percentile(spread, 0.5) is None
    for took in (0.05, 0.05, 0.05, 20.0):
        spread[step_of(took)] += 1
    assert percentile(spread, 0.5) == 0.1
    assert percentile(spread, 0.99) == 30.0
    assert step_of(1e9) == len(STEPS)


def test_a_viewer_sees_no_name_of_a_customer() -> None:
    row = {
        "partition_key": "sip-br:subscriber:ana@sip.example",
        "subject": "ana",
        "output": {"subscriber": "ana"},
        "problem": {"code": "not_found", "message": "no ana", "platform_message": "ana?", "advice": "look"},
        "attempts_made": [{"number": 1, "request": "<ana/>", "answer": "<ana/>"}],
        "readings": [{"step": "x", "reading": {"name": "ana@sip.example"}}],
        "records": [
            {"what": "ended", "command": {"partitionkey": "sip-br/subscriber/ana", "subject": "ana"}}
        ],
    }
    shown = for_viewer(row)
    assert "ana" not in str({name: value for name, value in shown.items() if name != "partition_key"})
    assert shown["partition_key"] == "sip-br:subscriber:a•••"
    assert masked_key("whole") == "•••"


def test_one_failure_among_thousands_is_still_to_be_seen() -> None:
    [bar] = bars([{"succeeded": 9999, "failed": 1, "at": 0}])
    assert bar.bad >= 1.5
    assert bars([{"succeeded": 0, "failed": 0, "at": 0}]) == []
    assert len(spark([0, 3, 0, 1])) == 2
