"""A SQLite journal serves one `worker run`: after a kill the next one has not to wait for the dead."""

from __future__ import annotations

from pathlib import Path

from worker.journal.core import Core
from worker.journal.opening import open_journal
from worker.journal.vault import Vault, new_key


async def test_the_next_process_takes_all_places_and_roles_of_a_killed_one_at_once(tmp_path: Path) -> None:
    url, core = f"sqlite:///{tmp_path / 'worker.db'}", Core(vault=Vault([new_key()]))
    killed = await open_journal(url, core, exclusive=True)
    await killed.heartbeat("killed", ["sippulse-br"])
    assert await killed.keep("relay", "killed", 60)
    await killed.close()  # as a kill leaves it: nobody said goodbye
    after = await open_journal(url, core, exclusive=True)
    state = (await after.heartbeat("next", ["sippulse-br"]))["sippulse-br"]
    assert (state.processes, state.rank) == (1, 0)
    assert await after.keep("relay", "next", 60)
    await after.close()


async def test_a_command_line_verb_beside_it_forgets_nobody(tmp_path: Path) -> None:
    url, core = f"sqlite:///{tmp_path / 'worker.db'}", Core(vault=Vault([new_key()]))
    running = await open_journal(url, core, exclusive=True)
    await running.heartbeat("running", ["sippulse-br"])
    assert await running.keep("relay", "running", 60)
    verb = await open_journal(url, core)
    assert not await verb.keep("relay", "verb", 60)
    await verb.close()
    await running.close()
