"""The command line without any service: help, exit codes, what is refused before anything is reached."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import typer

from worker.cli import main
from worker.cli.app import build
from worker.cli.context import Fault, explained

SETTINGS = """
[broker]
url = "amqp://guest:hidden-in-the-url@127.0.0.1:9/"
[platforms.sippulse-br]
kind = "sippulse"
url = "http://127.0.0.1:9/SipPulse"
login = "admin"
password = "hidden-password"
"""
SUBSCRIBER = ("subscriber.username=joao", "subscriber.domain=sip.example")


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """A verb configures the logs of its process: here that is pytest's."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORKER_CONFIG", raising=False)
    (tmp_path / "worker.toml").write_text(SETTINGS)
    return tmp_path


def verbs() -> list[tuple[str, ...]]:
    """Every verb, with the words that lead to it."""
    found: list[tuple[str, ...]] = [()]

    def walk(command: object, path: tuple[str, ...]) -> None:
        for name, inner in getattr(command, "commands", {}).items():
            found.append((*path, name))
            walk(inner, (*path, name))

    walk(typer.main.get_command(build()), ())
    return found


PROMISED = """run demo send commands+list commands+show commands+retry commands+edit commands+resolve
commands+cancel commands+archive quarantine+list quarantine+show quarantine+send quarantine+drop platforms+list
platforms+check platforms+learn platforms+pause platforms+resume platforms+rate events+republish audit+verify doctor simulate+sippulse
contracts+write contracts+check journal+upgrade journal+purge journal+rekey"""


def test_every_promised_verb_is_there() -> None:
    assert {tuple(verb.split("+")) for verb in PROMISED.split()} <= set(verbs())


@pytest.mark.parametrize("verb", verbs(), ids=" ".join)
def test_every_verb_explains_itself(verb: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: worker")
    described = out.split("\n\n")[1].strip()
    assert len(described) > 10
    for line in out.splitlines():
        if line.strip().startswith("--"):
            continue_on_next = line.strip().endswith(">") or line.strip().endswith("]")
            assert len(line.split()) > 1 or continue_on_next, f"no help for {line.strip()}"


def test_the_exit_codes_are_documented(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    out = capsys.readouterr().out
    for code in range(5):
        assert f"\n    {code}  " in out


ACTS = [verb for verb in verbs() if len(verb) == 2 and verb[0] in ("commands", "quarantine", "platforms")]


@pytest.mark.parametrize("verb", ACTS, ids=" ".join)
def test_every_verb_of_a_person_on_duty_tells_its_exit_codes(
    verb: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*verb, "--help"])
    out = capsys.readouterr().out
    assert [f"\n    {code}  " in out for code in range(4)] == [True] * 4


def test_help_comes_quickly_because_nothing_heavy_is_imported() -> None:
    heavy = "{'sqlalchemy', 'faststream', 'zeep', 'fastapi', 'aio_pika', 'rich', 'pydantic', 'structlog'}"
    code = (
        "import sys; from worker.cli import main; main(['--help']);"
        f"found = {heavy} & set(sys.modules); assert not found, found"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 10  # 0.1 s on an idle machine


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("provisioning-worker ")


@pytest.mark.parametrize(
    "words",
    [
        ("fly",),
        ("commands", "retry", "1"),
        ("commands", "resolve", "1", "--reason", "x"),
        ("quarantine", "list", "--state", "lost"),
        ("events", "republish", "--since", "soon"),
        ("simulate", "sippulse"),
        ("platforms", "pause", "sippulse-br"),
        ("platforms", "pause", "sippulse-br", "--reason", ""),
        ("platforms", "pause", "--reason", "of nothing"),
        ("platforms", "pause", "--all", "--batch", "b", "--reason", "of two things"),
        ("platforms", "rate", "sippulse-br", "--reason", "to what"),
        ("commands", "retry", "1", "--reason", "  "),
        ("events", "republish"),
        ("commands", "list", "--state", "bogus"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2_and_no_traceback(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "Error" in told.err
    assert "Traceback" not in told.err


def sentence(words: tuple[str, ...], code: int, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("worker: ")
    assert told.err.count("\n") == 1
    assert "hidden" not in told.err
    return told.err


def test_wrong_settings_are_one_sentence(at_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (at_home / "worker.toml").write_text("[brokers]\n")
    told = sentence(("commands", "list"), 2, capsys)
    assert "unknown key brokers (did you mean broker?)" in told


def test_the_settings_file_is_named_by_option_or_variable(
    at_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence(("--config", "absent.toml", "commands", "list"), 2, capsys)
    monkeypatch.setenv("WORKER_CONFIG", str(at_home / "gone.toml"))
    assert "gone.toml cannot be read" in sentence(("commands", "list"), 2, capsys)


def test_looking_makes_no_journal_and_no_key(at_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = sentence(("commands", "list"), 2, capsys)
    assert "there is no journal at" in told
    assert {file.name for file in at_home.iterdir()} == {"worker.toml"}


def test_a_list_for_an_unknown_platform_is_not_merely_empty(capsys: pytest.CaptureFixture[str]) -> None:
    told = sentence(("commands", "list", "--platform", "nope"), 2, capsys)
    assert "unknown platform 'nope': we know sippulse-br" in told


def test_a_chain_is_not_held_against_a_file_without_events(
    at_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (at_home / "collected.jsonl").write_text("\n")
    told = sentence(("audit", "verify", "--collected", "collected.jsonl"), 1, capsys)
    assert "no audit event in collected.jsonl" in told


def test_a_check_of_no_platform_says_so(at_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (at_home / "worker.toml").write_text("")
    assert main(["platforms", "check"]) == 0
    assert "no platform is configured" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [("send", "credit.get"), ("onboard", "customers.csv")], ids=["send", "onboard"]
)
def test_without_settings_it_says_that_a_platform_is_missing_and_where_to_write_it(
    at_home: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    (at_home / "customers.csv").write_text("username\nana\n")
    (at_home / "worker.toml").write_text("")
    said = sentence(words, 2, capsys)
    assert "[platforms.NAME]" in said
    assert "WORKER_CONFIG" in said


def test_no_link_is_made_whose_address_nobody_knows(
    at_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (at_home / "worker.toml").write_text("[console]\nport = 0\n")
    assert "console.port = 0" in sentence(("console", "link", "--reason", "x"), 2, capsys)


def test_a_platform_that_was_not_reached_offers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["platforms", "check"]) == 1
    [line] = capsys.readouterr().out.splitlines()
    assert "cannot be reached" in line


def test_contracts_are_checked_for_programs_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["contracts", "check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"wrong": []}


def test_a_broker_that_is_away_is_exit_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    told = sentence(("send", "calls.block", *SUBSCRIBER), 3, capsys)
    assert "RabbitMQ at amqp://guest@127.0.0.1:9/ cannot be reached" in told


def test_a_journal_that_is_away_is_exit_code_3(at_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = "A" * 43 + "="
    journal = f'[journal]\nurl = "postgresql://w:hidden@127.0.0.1:9/w"\nkeys = ["{key}"]\n'
    (at_home / "worker.toml").write_text(SETTINGS + journal)
    assert "the journal cannot be reached" in sentence(("commands", "list"), 3, capsys)


def test_an_error_nobody_foresaw_shows_no_text_of_its_own() -> None:
    assert explained(ValueError("hidden")) is None


def test_a_fault_carries_its_exit_code() -> None:
    assert explained(Fault("no", 3)) == ("no", 3)


# ---------------------------------------------------------------- send


def test_an_increment_needs_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    told = sentence(("send", "credit.add", *SUBSCRIBER, "amount=25.00"), 2, capsys)
    assert "credit.add.v1 needs --key" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("calls.blok",), "unknown command 'calls.blok.v1': did you mean calls.block.v1"),
        (("calls.block", "subscriber.username=joao"), "subscriber.domain is missing"),
        (("calls.block", *SUBSCRIBER, "kinds=all"), "kinds[0]"),
        (("calls.block", *SUBSCRIBER, "nonsense"), "'nonsense' is no field: write FIELD=VALUE"),
        (
            ("calls.block", *SUBSCRIBER, "--platform", "sipulse"),
            "unknown platform 'sipulse': we know sippulse-br",
        ),
        (("calls.block", *SUBSCRIBER, "--priority", "urgent"), "priority has to be high, normal or low"),
        (("calls.block", "--data", "gone.json"), "--data: gone.json cannot be read"),
        (("credit.add", *SUBSCRIBER, "amount=-1", "--key", "k"), "amount"),
    ],
)
def test_a_command_that_intake_would_refuse_is_not_sent(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in sentence(("send", *words), 2, capsys)


def test_a_dry_run_shows_command_key_and_steps_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, at_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIP_PASSWORD", "hidden-1")
    (at_home / "portal").write_text("hidden-2\n")
    words = [
        *SUBSCRIBER, "password=env:SIP_PASSWORD", "portal_password=@portal", "profile=residential",
        "rate_plan_id=1", "email=joao@sip.example", "country_code=55", "area_code=11", "call_limit=2", "cps=3",
    ]  # fmt: skip
    assert main(["send", "subscriber.create", *words, "--dry-run", "--json"]) == 0
    out = capsys.readouterr().out
    assert "hidden" not in out
    shown = json.loads(out)
    assert shown["partitionkey"] == "sippulse-br:subscriber:joao@sip.example"
    assert [step["name"] for step in shown["steps"]] == ["insertSubscriber", "updateSubscriberServices"]
    assert shown["command"]["data"]["password"] == "***"


def test_a_dry_run_says_what_the_platform_would_not_take(capsys: pytest.CaptureFixture[str]) -> None:
    told = sentence(("send", "credit.add", *SUBSCRIBER, "amount=1.001", "--key", "k", "--dry-run"), 1, capsys)
    assert "it would be rejected, invalid_field" in told
