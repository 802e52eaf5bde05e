"""A key that was lost is asked for, never replaced; a wrong folder is told of."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from worker.bootstrap import NoKeyYet, StartError, open_stored_journal
from worker.cli import main
from worker.cli.context import explained
from worker.cli.doctor import _no_journal
from worker.journal.port import JournalDown, JournalError
from worker.settings import Settings, load


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """A verb configures the logs of its process: here that is pytest's."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def settings_in(folder: Path, text: str = "") -> Settings:
    (folder / "worker.toml").write_text(text)
    return load(folder / "worker.toml", {})


async def test_a_lost_key_is_asked_for_and_no_new_one_is_made(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    await (await open_stored_journal(settings, make=True)).close()
    key = tmp_path / "worker.key"
    kept = key.read_text()
    key.unlink()
    for make in (True, False):
        with pytest.raises(StartError, match=r"its key .*worker\.key is missing: bring back your copy"):
            await open_stored_journal(settings, make=make)
    assert not key.exists()
    key.write_text(kept)
    await (await open_stored_journal(settings)).close()


async def test_a_journal_is_for_its_owner_alone(tmp_path: Path) -> None:
    journal = await open_stored_journal(settings_in(tmp_path), make=True)
    await journal.now()
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("worker.db", "worker.db-wal")}
    await journal.close()
    assert set(modes.values()) == {0o600}


def test_whatever_is_wrong_with_key_or_file_has_one_exit_code() -> None:
    readonly = JournalDown("the journal's file cannot be written: attempt to write a readonly database")
    for error in (JournalError("another key"), StartError("no key"), readonly):
        assert explained(error) == (str(error), 2)
    away = explained(JournalDown("the database does not answer"))
    assert away is not None
    assert away[1] == 3


async def test_a_journal_without_its_folder_leaves_no_key_behind(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, '[journal]\nurl = "sqlite:///gone/worker.db"\n')
    with pytest.raises(StartError, match=r"there is no folder .*gone: make it first") as caught:
        await open_stored_journal(settings, make=True)
    assert not (tmp_path / "worker.key").exists()
    found = _no_journal(settings, caught.value)
    assert (found.level, found.next) == ("broken", f"make {tmp_path / 'gone'}")


def test_before_the_first_start_the_doctor_sends_to_it_only_where_it_can_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path)
    assert _no_journal(settings, StartError("no journal")).next == "start `worker run`"
    assert _no_journal(settings, NoKeyYet("there is no key")).level == "warning"
    monkeypatch.setattr("os.access", lambda path, mode: False)
    said = _no_journal(settings, StartError("no journal"))
    assert (said.level, "the right to write to the folder" in said.next) == ("broken", True)


def test_a_wrong_folder_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORKER_CONFIG", raising=False)
    assert main(["commands", "list"]) == 2
    assert "(no ./worker.toml here: see --config)" in capsys.readouterr().err
    assert main(["run", "--roles", "cook"]) == 2
    assert "settings.none" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
