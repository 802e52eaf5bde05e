"""Copies of a journal: whole, of one instant, and nothing runs twice after one was put back."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.conformance.support import (
    ALICE,
    BOB,
    Place,
    admit,
    claim_one,
    close_window,
    in_doubt,
    order,
    parked,
    records,
    results,
    run_all,
    select,
    settle,
    states,
    take_all,
)
from worker.domain.effect import Risk
from worker.journal.backups import copying, marks, restored
from worker.journal.backups.marks import Mark
from worker.journal.commands.acts import ActRefused
from worker.journal.journal import StoredJournal
from worker.journal.port import JournalError
from worker.sandbox.postgres import PrivatePostgres

BACKUP = Mark("backup", "2026-11-22T03:00:00Z", "sqlite:///worker.db")
WHY = "the disk of the database was lost"


def quiet(table: str, rows: int) -> None:
    """No progress."""


async def tables(journal: StoredJournal) -> dict[str, list[dict[str, Any]]]:
    """All rows but those that `copy` does not take over as they are."""
    found = {}
    for table in copying.TABLES:
        names = ", ".join(column.name for column in table.primary_key.columns)
        found[table.name] = await select(journal, f"SELECT * FROM {table.name} ORDER BY {names}")
    found["meta"] = [row for row in found["meta"] if row["name"] != marks.NAME]
    found["counters"] = [row for row in found["counters"] if row["name"] != copying.SEQUENCE]
    return {name: [{key: _plain(row[key]) for key in row} for row in rows] for name, rows in found.items()}


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


async def back(place: Place, file: Path) -> Place:
    """The backup, under the same key."""
    await copying.backup(place.url, file, BACKUP, quiet)
    copied = Place(f"sqlite:///{file}", place.key)
    copied.core = place.core
    return copied


@pytest.fixture
async def old(place: Place, journal: StoredJournal) -> StoredJournal:
    """A journal with a bit of everything: ended, waiting, claimed, in doubt, parked, deferred, published, refused."""
    await admit(journal, order("ended", "sip-br/subscriber/eva@example.org"))
    await run_all(journal)
    await take_all(journal)
    await in_doubt(journal, order("doubtful", "sip-br/subscriber/dora@example.org", risk=Risk.SENT))
    await admit(journal, order("known", "sip-br/subscriber/karl@example.org"))
    await settle(journal, parked(await claim_one(journal)))
    await admit(journal, order("claimed", ALICE))
    await claim_one(journal)
    await admit(journal, order("behind", ALICE), order("credit", BOB, type="credit.add.v1", risk=Risk.SENT))
    await admit(
        journal,
        order("reads", "sip-br/subscriber/rita@example.org", type="credit.get.v1", risk=Risk.NONE),
        order("later", "sip-br/subscriber/lea@example.org", depends_on="credit"),
    )
    return journal


@pytest.fixture
async def copied(place: Place, old: StoredJournal, tmp_path: Path) -> AsyncIterator[StoredJournal]:
    """The backup of it, put back."""
    there = await back(place, tmp_path / "backup.db")
    yield await there.open()
    await there.close()


async def test_a_backup_of_a_running_journal_holds_every_row(
    place: Place, old: StoredJournal, copied: StoredJournal
) -> None:
    assert await tables(copied) == await tables(old)
    assert len(await states(copied)) == 8


async def test_a_backup_is_of_one_instant(place: Place, old: StoredJournal, tmp_path: Path) -> None:
    """What comes while it is written is in all of its tables, or in none."""

    async def admitting() -> None:
        for n in range(200):
            await admit(old, order(f"m-{n}", BOB))
            await asyncio.sleep(0)

    task = asyncio.create_task(admitting())
    file = tmp_path / "backup.db"
    await asyncio.to_thread(lambda: asyncio.run(copying.backup(place.url, file, BACKUP, quiet)))
    await task
    there = Place(f"sqlite:///{file}", place.key)
    copied = await there.open()
    [commands] = await select(copied, "SELECT count(*) AS n FROM commands")
    [identities] = await select(copied, "SELECT count(*) AS n FROM identities WHERE role = 'command'")
    [admitted] = await select(copied, "SELECT count(*) AS n FROM audit WHERE what = 'admitted'")
    assert commands["n"] == identities["n"] == admitted["n"]
    await there.close()


async def test_a_backup_is_for_its_owner_alone_and_replaces_no_file(
    place: Place, old: StoredJournal, tmp_path: Path
) -> None:
    file = tmp_path / "backup.db"
    await copying.backup(place.url, file, BACKUP, quiet)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    with pytest.raises(JournalError, match="name another one"):
        await copying.backup(place.url, file, BACKUP, quiet)
    assert file.read_bytes() == before
    assert [name for name in os.listdir(tmp_path) if "backup.db" in name] == ["backup.db"]


async def test_no_worker_starts_on_a_backup_unawares(old: StoredJournal, copied: StoredJournal) -> None:
    with pytest.raises(
        JournalError, match=r"is a backup of sqlite:///worker\.db from 2026-11-22T03:00:00Z.*restored"
    ):
        await marks.check(copied)
    await marks.check(old)


@pytest.fixture
async def other(place: Place, postgres: PrivatePostgres) -> AsyncIterator[Place]:
    """An empty database on PostgreSQL."""
    name = f"copy-{uuid4().hex[:8]}"
    there = Place(postgres.create_database(name), place.key)
    there.core = place.core
    yield there
    await there.close()
    postgres.drop_database(name)


async def test_a_journal_moves_to_another_database_and_its_numbers_go_on(
    place: Place, old: StoredJournal, other: Place
) -> None:
    [last] = await select(old, "SELECT max(id) AS id FROM commands")
    await copying.copy(place.url, other.url, None, quiet)
    moved = await other.open()
    assert await tables(moved) == await tables(old)
    await marks.check(moved)
    await admit(moved, order("new", "sip-br/subscriber/nina@example.org"))
    [newest] = await select(moved, "SELECT max(id) AS id FROM commands")
    assert newest["id"] > last["id"]
    assert "new" in await run_all(moved)
    assert (await moved.seal(1000)) > 0


async def test_and_back_into_a_file(place: Place, old: StoredJournal, other: Place, tmp_path: Path) -> None:
    await copying.copy(place.url, other.url, None, quiet)
    there = await back(other, tmp_path / "again.db")
    assert await tables(await there.open()) == await tables(old)
    await there.close()


async def test_a_copy_goes_into_an_empty_journal_only(place: Place, old: StoredJournal, other: Place) -> None:
    await admit(await other.open(), order("theirs", BOB))
    with pytest.raises(JournalError, match="not empty"):
        await copying.copy(place.url, other.url, None, quiet)
    assert await states(await other.open()) == {"theirs": "waiting"}


async def test_a_copy_that_fails_half_way_leaves_the_other_journal_empty(
    place: Place, old: StoredJournal, other: Place
) -> None:
    def fails(table: str, rows: int) -> None:
        if table == "identities" and rows:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await copying.copy(place.url, other.url, None, fails)
    await copying.copy(place.url, other.url, None, quiet)
    assert await states(await other.open()) == await states(old)


async def test_after_a_restore_nothing_that_may_have_run_runs_again(copied: StoredJournal) -> None:
    counts = await restored.restored(copied, "olga", WHY)
    assert (counts["parked"], counts["waiting"]) == (6, 1)
    assert await states(copied) == {
        "ended": "succeeded",
        "doubtful": "parked",
        "known": "parked",
        "claimed": "parked",
        "behind": "parked",
        "credit": "parked",
        "reads": "waiting",
        "later": "parked",
    }
    assert await run_all(copied) == ["reads"]
    await marks.check(copied)


async def test_who_ordered_is_told_that_the_effect_is_unknown(copied: StoredJournal) -> None:
    before = len(await results(copied, "parked"))
    await restored.restored(copied, "olga", WHY)
    told = (await results(copied, "parked"))[before:]
    assert {one.id for one in told} == {"doubtful", "known", "claimed", "behind", "credit", "later"}
    assert {(one.data["effect"], one.data["error"]["code"]) for one in told} == {
        ("unknown", "effect_unknown")
    }


async def test_the_restore_is_in_the_audit_chain(copied: StoredJournal) -> None:
    await restored.restored(copied, "olga", WHY)
    last = (await records(copied))[-1]
    assert (last["what"], last["actor"], last["reason"]) == ("journal_restored", "olga", WHY)
    assert last["details"]["parked"] == 6
    assert last["details"]["copied_at"] == BACKUP.at


async def test_its_key_waits_until_a_person_has_decided_and_the_window_has_ended(
    copied: StoredJournal,
) -> None:
    await restored.restored(copied, "olga", WHY)
    await admit(copied, order("new", BOB))
    assert "new" not in await run_all(copied)
    with pytest.raises(ActRefused, match="settle window"):
        await copied.resolve("credit", False, "olga", "not on the platform")
    await close_window(copied)
    await copied.resolve("credit", False, "olga", "not on the platform")
    await copied.resolve("later", False, "olga", "not on the platform")
    await copied.retry("credit", "olga", "it never ran")
    ran = await run_all(copied)
    assert (ran[0], len(ran)) == ("new", 2), "the retry stands behind what came before it"


async def test_what_a_person_says_after_a_restore_goes_for_the_whole_of_a_command(
    copied: StoredJournal,
) -> None:
    """All its steps may have run since, and an order after it may have undone them."""
    await restored.restored(copied, "olga", WHY)
    for name in [name for name, state in (await states(copied)).items() if state == "parked"]:
        done = await copied.resolve(name, True, "olga", "seen on the platform", waive=True)
        assert done["state"] == "succeeded", name


async def test_a_restore_that_was_interrupted_is_said_again_and_tells_nobody_twice(
    copied: StoredJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restored, "PORTION", 2)

    def killed(done: int) -> None:
        if done >= 3:
            raise KeyboardInterrupt

    before = len(await results(copied, "parked"))
    with pytest.raises(KeyboardInterrupt):
        await restored.restored(copied, "olga", WHY, killed)
    with pytest.raises(JournalError, match="backup"):
        await marks.check(copied)
    await restored.restored(copied, "olga", WHY)
    assert len((await results(copied, "parked"))[before:]) == 6
    await marks.check(copied)


async def test_batches_pause_acts_stop_and_everybody_signs_in_again(copied: StoredJournal) -> None:
    await copied.run(_under_way)
    counts = await restored.restored(copied, "olga", WHY)
    assert (counts["batches"], counts["acts"], counts["sessions"]) == (1, 1, 1)
    assert await select(copied, "SELECT paused_by FROM batches") == [{"paused_by": "olga"}]
    assert await select(copied, "SELECT state FROM console_acts") == [{"state": "stopped"}]


async def _under_way(tx: Any) -> None:
    await tx.run(
        "INSERT INTO batches (name, platform, title, file, content, plan, state, created_by, created_at)"
        " VALUES ('friday', 'sip-br', 'calls.block', 'f.csv', 'c', 'p', 'sending', 'ana', 1)"
    )
    await tx.run(
        "INSERT INTO console_acts (what, wanted, actor, reason, state, total, began_at, beat_at)"
        " VALUES ('retry', '{}', 'ana', 'r', 'going', 1, 1, 1)"
    )
    await tx.run(
        "INSERT INTO console_sessions (hash, user_name, created_at, seen_at, expires_at)"
        " VALUES ('h', 'ana', 1, 1, 9e9)"
    )


async def test_who_knows_that_nothing_ran_goes_on_as_it_was(copied: StoredJournal) -> None:
    before = await states(copied)
    await restored.opened(copied, "olga", "taken with all workers stopped, put back at once")
    await marks.check(copied)
    assert await states(copied) == before
    [record] = [one for one in await records(copied) if one["what"] == "journal_restored"]
    assert record["details"]["nothing_ran"] is True


async def test_nobody_says_it_while_workers_run(place: Place, old: StoredJournal) -> None:
    await old.heartbeat("worker-1", ["sip-br"])
    with pytest.raises(JournalError, match="worker-1"):
        await restored.none_runs(old, place.url)


async def test_nor_while_any_process_has_postgresql_open(other: Place) -> None:
    """Only engines give signs of life: an intake alone would go on admitting into what was copied."""
    journal = await other.open()
    await restored.none_runs(journal, other.url)
    intake = await other.open()
    await intake.waiting()
    with pytest.raises(JournalError, match="a connection of process"):
        await restored.none_runs(journal, other.url)


async def test_a_restore_by_other_means_is_closed_until_all_of_it_is_done(
    old: StoredJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No mark of ours was on it: whoever is killed half-way must not leave the rest to a worker."""
    monkeypatch.setattr(restored, "PORTION", 2)

    def killed(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await restored.restored(old, "olga", WHY, killed)
    with pytest.raises(JournalError, match="put back by other means"):
        await marks.check(old)
    await restored.restored(old, "olga", WHY)
    await marks.check(old)


async def test_none_of_a_line_is_decided_before_its_window_has_ended(copied: StoredJournal) -> None:
    """One of the two may have been under way when the journal was lost; nobody knows which."""
    await restored.restored(copied, "olga", WHY)
    for name in ("claimed", "behind"):
        with pytest.raises(ActRefused, match="settle window"):
            await copied.resolve(name, False, "olga", "not there")
    waived = await copied.resolve("behind", False, "olga", "not there", waive=True)
    assert waived["state"] == "rejected"
    with pytest.raises(ActRefused, match="settle window"):
        await copied.resolve(
            "claimed", False, "olga", "the word about one does not end the window of the other"
        )
    await close_window(copied)
    await copied.resolve("claimed", False, "olga", "not there")


async def test_what_was_ordered_for_later_still_waits_for_its_time_when_it_is_run_again(
    place: Place, journal: StoredJournal, tmp_path: Path
) -> None:
    in_a_day = await journal.now() + 86400
    await admit(journal, order("tomorrow", ALICE, not_before=in_a_day))
    there = await back(place, tmp_path / "backup.db")
    copied = await there.open()
    await restored.restored(copied, "olga", WHY)
    await close_window(copied)
    await copied.resolve("tomorrow", False, "olga", "not there")
    await copied.retry("tomorrow", "olga", "it never ran")
    assert await run_all(copied) == []
    await there.close()


async def _upload(tx: Any) -> None:
    await tx.run(
        "INSERT INTO uploads (name, size, sha256, uploaded_by, state, batch, created_at, touched_at)"
        " VALUES ('f.csv', 1, 'x', 'ana', 'going', 'monday', 1, 1)"
    )


async def test_an_upload_that_was_about_to_send_its_batch_does_not(copied: StoredJournal) -> None:
    await copied.run(_upload)
    await restored.restored(copied, "olga", WHY)
    [upload] = await select(copied, "SELECT state, text FROM uploads")
    assert upload["state"] == "stopped"
    assert "may have run since" in upload["text"]
