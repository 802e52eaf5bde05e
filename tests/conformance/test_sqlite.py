"""What only the SQLite journal promises: one worker a file, and a command line that writes beside it."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.support import (
    BOB,
    Place,
    admit,
    claim,
    claim_one,
    done,
    eventually,
    order,
    parked,
    run_all,
    run_next,
    settle,
    states,
)
from worker.journal.journal import StoredJournal
from worker.journal.port import JournalDown, JournalError
from worker.journal.vault import new_key

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def place(sqlite_url: str) -> AsyncIterator[Place]:
    place = Place(sqlite_url, new_key())
    yield place
    await place.close()


async def test_one_worker_run_a_file(place: Place) -> None:
    running = await place.open(exclusive=True)
    with pytest.raises(JournalError, match=r"another `worker run` uses worker\.db"):
        await place.open(exclusive=True)
    await running.close()
    await place.open(exclusive=True)


async def test_a_worker_that_was_killed_leaves_no_lock(place: Place) -> None:
    other = await in_another_process(
        place, "print('open', flush=True); await asyncio.sleep(600)", exclusive=True
    )
    assert other.stdout is not None
    assert await asyncio.wait_for(other.stdout.readline(), 60) == b"open\n"
    with pytest.raises(JournalError, match="serves one process"):
        await place.open(exclusive=True)
    other.kill()
    await other.wait()
    await place.open(exclusive=True)


async def in_another_process(place: Place, code: str, exclusive: bool = False) -> asyncio.subprocess.Process:
    lines = [
        "import asyncio, sys",
        "from worker.journal.core import Core",
        "from worker.journal.opening import open_journal",
        "from worker.journal.vault import Vault",
        "async def main(url, key):",
        f"    journal = await open_journal(url, Core(Vault([key])), exclusive={exclusive})",
        f"    {code}",
        "    await journal.close()",
        "asyncio.run(main(*sys.argv[1:]))",
    ]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "\n".join(lines),
        place.url,
        place.key,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )


async def act(place: Place, code: str) -> None:
    other = await in_another_process(place, code)
    assert await asyncio.wait_for(other.wait(), 60) == 0


async def test_acts_of_the_command_line_are_seen_by_the_worker(place: Place) -> None:
    worker = await place.open(exclusive=True)
    await admit(worker, order("a-1"), order("a-2"), order("b-1", BOB))
    for one in await claim(worker):
        await settle(worker, parked(one))
    await act(place, "await journal.cancel('a-1', 'ann', 'not wanted')")
    assert await run_next(worker) == ["a-2"]
    await act(place, "await journal.retry('b-1', 'ann', 'again')")
    assert await run_next(worker) == ["b-1"]
    await act(place, "await journal.pause('sip-br', 'ann', 'maintenance')")
    assert (await worker.heartbeat("w-1", ["sip-br"]))["sip-br"].paused_by == "ann"


async def test_the_worker_goes_on_while_the_command_line_writes(place: Place) -> None:
    worker = await place.open(exclusive=True)
    await worker.admit([order(f"m-{n}", f"key-{n % 5}") for n in range(50)])
    line = await place.open()

    async def acts() -> None:
        for n in range(30):
            await line.pause("other", "ann", f"{n}")

    _, ran = await asyncio.gather(acts(), run_all(worker))
    assert len(ran) == 50


async def test_a_file_that_another_program_holds_is_down_then_up(
    place: Place, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.journal.sqlite.BUSY", 0.1)
    journal = await place.open()
    await admit(journal, order("m-1"))
    backup = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    backup.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalDown):
        await admit(journal, order("m-2"))
    backup.execute("COMMIT")
    backup.close()
    assert await admit(journal, order("m-2")) == ["admitted"]


async def test_p1_a_commit_is_on_the_disk(place: Place, sqlite_url: str) -> None:
    journal = await place.open()
    rows = await journal.run(lambda tx: tx.rows("PRAGMA synchronous"))
    assert rows[0]["synchronous"] == 2
    rows = await journal.run(lambda tx: tx.rows("PRAGMA journal_mode"))
    assert rows[0]["journal_mode"] == "wal"


@pytest.mark.parametrize("steps", range(6))
async def test_cancelling_at_any_moment_leaves_the_file_free(place: Place, steps: int) -> None:
    journal, line = await place.open(), await place.open()
    task = asyncio.create_task(admit(journal, order("m-1")))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await admit(line, order("m-2", BOB)) == ["admitted"]
    assert await admit(journal, order("m-3", BOB)) == ["admitted"]
    assert set(await states(journal)) >= {"m-2", "m-3"}


async def test_p1_a_worker_killed_in_its_work_loses_nothing_that_was_committed(place: Place) -> None:
    code = (
        "from tests.conformance.support import order\n"
        "    for n in range(10**6):\n"
        "        await journal.admit([order(f'm-{n}', f'key-{n % 7}')])\n"
        "        print(n, flush=True)"
    )
    other = await in_another_process(place, code, exclusive=True)
    assert other.stdout is not None
    last = 0
    for _ in range(20):
        last = int(await asyncio.wait_for(other.stdout.readline(), 60))
    other.kill()
    rest = (await other.stdout.read()).split()
    await other.wait()
    last = int(rest[-1]) if rest else last
    journal = await place.open(exclusive=True)
    ran = await run_all(journal)
    assert len(ran) in (last + 1, last + 2)  # the last one may be committed and not yet said
    assert set(ran) >= {f"m-{n}" for n in range(last + 1)}


async def test_signals_reach_the_same_process(place: Place) -> None:
    journal = await place.open()
    heard: list[str] = []
    journal.listen(heard.append)
    await admit(journal, order("m-1"))
    assert "sip-br" in heard
    await settle(journal, done(await claim_one(journal)))

    async def told() -> bool:
        return "relay" in heard

    await eventually(told)


async def test_a_missing_folder_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no folder"):
        await Place(f"sqlite:///{tmp_path}/nowhere/worker.db").open()


async def test_a_file_that_is_no_database_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "worker.db").write_bytes(b"this is not a database, it is a letter" * 100)
    with pytest.raises(JournalError, match=r"worker\.db is no database of ours"):
        await Place(f"sqlite:///{tmp_path}/worker.db").open()


async def test_an_unknown_kind_of_address_is_told_in_a_sentence() -> None:
    with pytest.raises(JournalError, match=r"sqlite:///worker\.db or postgresql"):
        await Place("mysql://x").open()


async def test_two_journals_of_one_process_wait_for_each_other(place: Place) -> None:
    one, other = await place.open(), await place.open()

    async def send(journal: StoredJournal, name: str) -> None:
        for n in range(20):
            await admit(journal, order(f"{name}-{n}", f"key-{n}"))

    await asyncio.gather(send(one, "a"), send(other, "b"))
    assert len(await run_all(one)) == 40
