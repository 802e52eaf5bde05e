"""`worker platforms pause | resume | rate | list`, `doctor`, `commands show`: stops on the command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from worker.cli import main
from worker.journal.schema import prepare
from worker.journal.vault import new_key

SETTINGS = """
[journal]
url = "sqlite:///{folder}/worker.db"
keys = [{{ file = "{folder}/worker.key" }}]
[platforms.sip-br]
kind = "sippulse"
url = "http://127.0.0.1:9/SipPulse"
login = "admin"
password = "admin"
rate = 50
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    asyncio.run(prepare(f"sqlite:///{tmp_path}/worker.db", only_empty=True))
    (tmp_path / "worker.key").write_text(new_key())
    (tmp_path / "worker.key").chmod(0o600)
    file = tmp_path / "worker.toml"
    file.write_text(SETTINGS.format(folder=tmp_path))
    return str(file)


@pytest.fixture
def worker(config: str, capsys: pytest.CaptureFixture[str]):
    def said(*words: str, code: int = 0) -> str:
        assert main(["--config", config, *words]) == code
        told = capsys.readouterr()
        return told.out if code == 0 else told.err

    return said


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        (("--all",), "everything"),
        (("--command", "credit.add"), "credit.add"),
        (("--source", "/crm"), "what /crm sends"),
        (("--batch", "migration"), "batch migration"),
    ],
)
def test_each_thing_is_paused_listed_and_let_go_on(worker, option: tuple[str, ...], shown: str) -> None:
    first = worker("platforms", "pause", *option, "--reason", "they move")
    resume = f"worker platforms resume {' '.join(option)}"
    assert first.startswith(f"{shown} is paused: `{resume}")
    assert "it was paused already, by" in worker("platforms", "pause", *option, "--reason", "still")
    listed = worker("platforms", "list")
    assert f"{shown} is paused by" in listed
    assert resume in listed
    [row] = json.loads(worker("platforms", "list", "--json"))
    assert [one["reason"] for one in row["pauses"]] == ["still"]
    assert row["state"] == ("paused" if option == ("--all",) else "not stopped")
    assert worker("platforms", "resume", *option, "--reason", "over") == f"{shown} goes on\n"
    assert worker("platforms", "resume", *option, "--reason", "over") == f"{shown} was not paused\n"
    assert json.loads(worker("platforms", "list", "--json"))[0]["pauses"] == []


def test_a_command_that_does_not_exist_is_not_paused(worker) -> None:
    said = worker("platforms", "pause", "--command", "credit.ad", "--reason", "x", code=2)
    assert "there is no command 'credit.ad': did you mean credit.add" in said
    said = worker("platforms", "pause", "--command", "command.get", "--reason", "x", code=2)
    assert "never reaches a platform" in said


def test_a_rate_is_lowered_listed_and_restored_and_never_raised(worker) -> None:
    assert "at most 2.5 times a second" in worker("platforms", "rate", "sip-br", "2.5", "--reason", "slow")
    [row] = json.loads(worker("platforms", "list", "--json"))
    assert row["rate"].startswith("2.5/s, lowered by")
    assert row["why"] == "slow"
    assert (
        "the settings say 50" in worker("platforms", "rate", "sip-br", "60", "--reason", "x", code=2).lower()
    )
    assert "pause it" in worker("platforms", "rate", "sip-br", "0", "--reason", "x", code=2)
    assert worker("platforms", "rate", "sip-br", "--restore", "--reason", "well") == (
        "sip-br is called 50 times a second\n"
    )
    assert "as before" in worker("platforms", "rate", "sip-br", "--restore", "--reason", "well")
    assert json.loads(worker("platforms", "list", "--json"))[0]["rate"] == "50/s"
