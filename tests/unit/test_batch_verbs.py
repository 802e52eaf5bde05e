"""What `onboard` and `batch` say, without broker, platform and running worker."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.batches.files import DOMAIN
from worker.cli import main
from worker.journal.batches.offers import Batch
from worker.journal.console.batches import _stage
from worker.onboarding.report import ENDINGS, Summary, stage, summary_data, summary_rows, worded

SETTINGS = """
[platforms.sippulse-br]
kind = "sippulse"
url = "http://127.0.0.1:9/SipPulse"
login = "admin"
password = "hidden-password"
"""


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with settings, and no journal in it. A verb sets up the logs of its process: here that is pytest's."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORKER_CONFIG", raising=False)
    (tmp_path / "worker.toml").write_text(SETTINGS)
    yield tmp_path
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def debtors(path: Path, *rows: str) -> Path:
    path.write_text("username,domain,kinds\n" + "".join(f"{row}\n" for row in rows))
    return path


DRY = ("--command", "calls.block", "--dry-run")


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("verb", ["list", "show", "report", "pause", "resume", "rate", "cancel", "passwords"])
def test_every_verb_of_batches_tells_its_exit_codes(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = said(capsys, "batch", verb, "--help")
    assert [f"\n    {code}  " in out for code in range(4)] == [True] * 4


@pytest.mark.parametrize("verb", [("onboard",), ("batch", "run"), ("batch", "undo")])
def test_every_verb_that_sends_tells_its_exit_codes(
    verb: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = said(capsys, *verb, "--help")
    assert [f"\n    {code}  " in out for code in (0, 1, 2, 4)] == [True] * 4


@pytest.mark.parametrize("words", [("--help",), ("clientes.csv", "-h")])
def test_onboard_init_has_a_help_of_its_own(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(capsys, "onboard", "init", *words)
    text = " ".join(out.split())
    assert (code, text.startswith("Usage: worker onboard init [OPTIONS]")) == (0, True)
    assert "Write a mapping to start from" in text
    assert "marked MISSING" in text
    assert "--undoable" not in out


def test_onboard_init_writes_a_mapping_also_behind_an_option(
    at_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (at_home / "clientes.csv").write_text("Telefone;Nome;E-mail\n1;a;b\n")
    for words in (
        ("onboard", "init", "clientes.csv"),
        ("onboard", "--platform", "sippulse-br", "init", "clientes.csv"),
    ):
        code, out, err = said(capsys, *words)
        assert (code, "clientes.mapping.toml is written" in out) == (0, True), err
        made = (at_home / "clientes.mapping.toml").read_text()
        assert 'email = { column = "E-mail" }' in made
        assert "MISSING" in made
        (at_home / "clientes.mapping.toml").unlink()
    code, _, err = said(capsys, "onboard", "init")
    assert (code, "FILE" in err) == (2, True)


# ---------------------------------------------------------------- checks


def test_a_dry_run_without_a_journal_checks_the_file_and_says_what_it_could_not(
    at_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = debtors(
        at_home / "debtors.csv", f"ana,{DOMAIN},outgoing", f"ana,{DOMAIN},incoming", f"bia,{DOMAIN},x"
    )
    code, out, err = said(capsys, "batch", "run", str(file), *DRY)
    assert (code, "3 rows: 1 good (1 commands), 2 bad" in out, "nothing was sent" in out) == (
        1,
        True,
        True,
    ), err
    assert "row 3: 'username, domain' row 2 is about the same" in out
    assert "there is no journal at" in err
    assert "the rows are not compared with those of earlier batches" in err
    code, out, _ = said(capsys, "batch", "run", str(file), *DRY, "--json")
    assert (code, json.loads(out)["checked"]["with_earlier_batches"]) == (1, False)
    assert not list(at_home.glob("worker.*[!l]"))  # neither a journal nor a key was made
    code, out, err = said(capsys, "batch", "run", str(file), "--command", "calls.block")
    assert (code, out, "there is no journal at" in err) == (2, "", True)


def test_the_first_ten_problems_are_on_the_screen_and_all_of_them_in_the_report(
    at_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [f"user{place},{DOMAIN},sideways" for place in range(12)]
    file = debtors(at_home / "debtors.csv", f"ana,{DOMAIN},outgoing", *bad)
    _, out, _ = said(capsys, "batch", "run", str(file), *DRY, "--problems", "problems.csv")
    assert [int(row) for row in re.findall(r"^  row (\d+): ", out, re.MULTILINE)] == list(range(3, 13))
    assert "13 rows: 1 good (1 commands), 12 bad" in out
    assert "all problems are in problems.csv" in out
    with (at_home / "problems.csv").open(encoding="utf-8-sig", newline="") as opened:
        lines = list(csv.DictReader(opened))
    assert [int(line["row"]) for line in lines] == list(range(3, 15))
    assert all(line["column"] == "kinds" and line["value"] and line["problem"] for line in lines)


def test_a_batch_is_named_after_its_file_and_eight_digits_of_its_content(
    at_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = debtors(at_home / "devedores março.csv", f"ana,{DOMAIN},outgoing")
    digits = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    _, out, _ = said(capsys, "batch", "run", str(file), *DRY, "--json")
    assert json.loads(out)["batch"] == f"devedores-mar-o-{digits}"
    plain = debtors(at_home / "debtors.csv", f"ana,{DOMAIN},outgoing")
    _, out, _ = said(capsys, "batch", "run", str(plain), *DRY, "--json")
    assert json.loads(out)["batch"] == f"debtors-{digits}"  # the same content
    debtors(plain, f"bia,{DOMAIN},outgoing")
    _, out, _ = said(capsys, "batch", "run", str(plain), *DRY, "--json")
    assert json.loads(out)["batch"] != f"debtors-{digits}"


# ---------------------------------------------------------------- words


def batch(state: str = "sent", paused_by: str | None = None) -> Batch:
    whole: dict[str, Any] = dict.fromkeys(Batch.__dataclass_fields__)
    return Batch(
        **whole | {"name": "friday", "state": state, "paused_by": paused_by, "file": "f", "total": 9}
    )


ON_THE_CONSOLE = {"going": "sent", "done": "ended"}  # whose pages say "sent, rows open" and "ended"


@pytest.mark.parametrize("state", ["sending", "sent", "cancelled"])
@pytest.mark.parametrize("paused_by", [None, "ana"])
@pytest.mark.parametrize(
    "counts",
    [{"done": 2}, {"done": 1, "sent": 1}, {"sending": 1}, {"parked": 1, "failed": 3}, {"bad": 1}, {}],
)
def test_a_batch_is_in_the_same_state_on_the_command_line_and_on_the_console(
    state: str, paused_by: str | None, counts: dict[str, int]
) -> None:
    shown = _stage({"state": state, "paused_by": paused_by}, counts)
    assert stage(batch(state, paused_by), worded(counts)) == ON_THE_CONSOLE.get(shown, shown)


def test_rows_have_one_word_for_each_ending() -> None:
    states = ("done", "failed", "parked", "sent", "sending", "bad")
    assert worded(dict.fromkeys(states, 1) | {"changed": 4}) == dict.fromkeys(ENDINGS.values(), 1)


def test_a_summary_names_the_five_most_frequent_causes_the_most_frequent_first() -> None:
    summary = Summary()
    for place, times in enumerate((2, 7, 1, 5, 3, 6, 4)):
        summary.endings["failed"] += times
        summary.causes["calls.block", f"code_{place}"] = times
        summary.examples["calls.block", f"code_{place}"] = f"sentence {place}"
    wanted = [(7, "code_1"), (6, "code_5"), (5, "code_3"), (4, "code_6"), (3, "code_4")]
    assert [(one["rows"], one["code"]) for one in summary_data(batch(), summary)["causes"]] == wanted
    rows = summary_rows(batch(), summary)
    assert [(row[0], row[2], row[3]) for row in rows[-5:]] == [
        (times, code, f"sentence {code[-1]}") for times, code in wanted
    ]
