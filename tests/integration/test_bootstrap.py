"""What is built once: the key, held platforms, the hourly purge."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.amqp import eventually
from worker.bootstrap import (
    HELD_BY,
    StartError,
    check_roles,
    core,
    hold_all,
    keys,
    open_stored_journal,
    purges,
)
from worker.journal.journal import StoredJournal
from worker.settings import Settings, load


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "worker.toml"
    file.write_text("")
    return load(file, {})


@pytest.fixture
async def journal(settings: Settings) -> AsyncIterator[StoredJournal]:
    it = await open_stored_journal(settings, make=True)
    yield it
    await it.close()


def test_processes_that_start_at_once_agree_on_one_key(settings: Settings, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [pool.submit(keys, settings, make=True) for _ in range(40)]
        found = {one.result()[0] for one in made}
    assert len(found) == 1
    assert {file.name for file in tmp_path.iterdir()} == {"worker.toml", "worker.key"}
    assert stat.S_IMODE((tmp_path / "worker.key").stat().st_mode) == 0o600


def test_a_key_that_is_none_is_said_without_showing_it(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "worker.key").write_text("hidden")
    with pytest.raises(StartError, match="a key is 32 random bytes") as caught:
        core(settings)
    assert "hidden" not in str(caught.value)


def test_without_a_key_only_the_worker_itself_makes_one(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(StartError, match="there is no key"):
        core(settings)
    assert not (tmp_path / "worker.key").exists()
    assert core(settings, make=True).vault.fingerprint == core(settings).vault.fingerprint


def test_an_unknown_role_is_refused_by_name() -> None:
    with pytest.raises(StartError, match="unknown role 'cook': we know intake, engine, relay, console"):
        check_roles(["intake", "cook"])
    with pytest.raises(StartError, match="no role given"):
        check_roles([])


async def test_held_leaves_the_pause_of_a_person_as_it_is(journal: StoredJournal) -> None:
    await journal.pause("one", "ana", "she moves it")
    await hold_all(journal, ["one", "two"])
    states = {state.name: state.paused_by for state in await journal.platforms()}
    assert states == {"one": "ana", "two": HELD_BY}


class Noting:
    """The journal's part in a purge, by one process; notes what it was asked."""

    def __init__(self, journal: StoredJournal) -> None:
        self.keep_asked = self.purged = 0
        self._journal = journal

    async def keep(self, role: str, owner: str, lease: float) -> bool:
        self.keep_asked += 1
        return await self._journal.keep(role, owner, lease)

    async def purge(self) -> dict[str, int]:
        self.purged += 1
        return {}


async def test_one_process_purges_for_all_and_another_takes_over(journal: StoredJournal) -> None:
    await journal.keep("purge", "leader", 3600)
    other = Noting(journal)
    purging = asyncio.create_task(purges(other, "other", every=0.05))
    await eventually(lambda: other.keep_asked >= 3)
    assert other.purged == 0
    await journal.leave("leader")
    await eventually(lambda: other.purged >= 2)
    purging.cancel()
    await asyncio.gather(purging, return_exceptions=True)
