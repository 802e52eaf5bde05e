"""`worker journal backup|copy|restored` as an operator uses them: the day the disk is lost."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.amqp import eventually
from tests.support.worker import Finished, WorkerProcess, Workers
from worker.sandbox.postgres import PrivatePostgres
from worker.simulators.sippulse import Simulator, SimulatorConfig, serve

DOMAIN = "sip.example"
PLATFORM = "sippulse-br"
WHY = ("--reason", "the disk was lost")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    people = ({"username": "ana", "domain": DOMAIN, "balance": "10.00"},)
    it = await serve(0, config=SimulatorConfig(subscribers=people))
    yield it
    await it.close()


@pytest.fixture
async def workers(rabbit_url: str, tmp_path: Path, simulator: Simulator) -> AsyncIterator[Workers]:
    async with Workers(tmp_path, rabbit_url, {PLATFORM: simulator.url}) as them:
        yield them


async def ok(workers: Workers, *words: str) -> Finished:
    done = await workers.worker(*words)
    assert done.code == 0, f"{words}: {done.out}{done.err}"
    return done


async def order(workers: Workers, key: str, *more: str) -> Finished:
    about = ("subscriber.username=ana", f"subscriber.domain={DOMAIN}", "amount=5.00")
    return await ok(workers, "send", "credit.add", *about, "--key", key, "--id", key, *more)


async def known(workers: Workers, key: str) -> Any:
    """The command as the journal has it, once it has come in."""
    found: list[Any] = []

    async def there() -> bool:
        done = await workers.worker("commands", "show", key, "--json")
        found[:] = [done.json] if done.code == 0 else []
        return bool(found)

    await eventually(there, 60, what=f"{key} in the journal")
    return found[0]


async def stop(process: WorkerProcess) -> None:
    process.terminate()
    await process.ended()


def put_back(backup: Path, journal: Path) -> None:
    for old in journal.parent.glob(f"{journal.name}*"):
        old.unlink()
    shutil.copy(backup, journal)


def balance(simulator: Simulator) -> int:
    found = simulator.subscriber("ana", DOMAIN)
    assert found is not None
    return int(found.balance)


async def test_credit_that_was_booked_after_the_backup_is_not_booked_again(
    workers: Workers, simulator: Simulator, tmp_path: Path
) -> None:
    worker = await workers.start()
    await ok(workers, "platforms", "pause", PLATFORM, "--reason", "maintenance")
    await order(workers, "friday")
    await known(workers, "friday")
    made = (await ok(workers, "journal", "backup", "backup.db", "--json")).json
    assert made["rows"]["commands"] == 1
    await ok(workers, "platforms", "resume", PLATFORM, "--reason", "done")
    await eventually(lambda: balance(simulator) == 15, 60, what="the credit")
    await stop(worker)

    put_back(tmp_path / "backup.db", tmp_path / "worker.db")
    refused = await workers.worker("run")
    assert refused.code == 2
    assert "is a backup of sqlite://" in refused.err + refused.out
    assert "worker journal restored" in refused.err + refused.out

    looked = await workers.worker("doctor", "--json")
    assert looked.code == 1
    assert "is a backup of" in looked.out

    said = await ok(workers, "journal", "restored", *WHY)
    assert "commands parked" in said.out
    assert "worker commands resolve" in said.out
    await workers.start()
    await ok(workers, "platforms", "resume", PLATFORM, "--reason", "the backup knew it paused")
    await order(workers, "monday")
    assert (await known(workers, "monday"))["state"] == "waiting"
    shown = await known(workers, "friday")
    assert (shown["state"], shown["effect"]) == ("parked", "unknown")
    assert balance(simulator) == 15

    async def resolved() -> bool:
        words = ("commands", "resolve", "friday", "--applied", "--reason", "15.00 on the platform")
        return (await workers.worker(*words)).code == 0

    await eventually(resolved, 60, what="the end of the settle window")
    await eventually(lambda: balance(simulator) == 20, 60, what="monday's credit")


async def test_from_a_file_to_postgresql_with_what_waits_in_it(
    workers: Workers, simulator: Simulator, postgres: PrivatePostgres, tmp_path: Path
) -> None:
    postgres.drop_database("moved")
    there = postgres.create_database("moved")
    worker = await workers.start()
    await order(workers, "done", "--wait", "60")
    await ok(workers, "platforms", "pause", PLATFORM, "--reason", "we move")
    await order(workers, "waits")
    await known(workers, "waits")
    refused = await workers.worker("journal", "copy", "--to", there)
    assert refused.code == 2, "a worker runs"
    assert "another `worker run` uses worker.db" in refused.err
    await stop(worker)

    moved = (await ok(workers, "journal", "copy", "--to", there, "--json")).json
    assert moved["rows"]["commands"] == 2
    again = await workers.worker("journal", "copy", "--to", there)
    assert again.code != 0
    assert "was copied to postgresql://" in again.err
    refused = await workers.worker("run")
    assert refused.code == 2
    assert "was copied to postgresql://" in refused.err + refused.out

    workers.settings["journal"] = {"url": there}
    workers.write()
    await workers.start()
    await ok(workers, "platforms", "resume", PLATFORM, "--reason", "moved")
    await eventually(lambda: balance(simulator) == 20, 60, what="the credit that waited")
    assert "duplicate_of" in (await order(workers, "done", "--wait", "60", "--json", "--id", "again")).out
    assert balance(simulator) == 20


async def test_what_cannot_be_copied_is_said_and_changes_nothing(workers: Workers, tmp_path: Path) -> None:
    worker = await workers.start()
    await stop(worker)
    neither = await workers.worker("journal", "copy")
    assert (neither.code, "--to or --from" in neither.err) == (2, True)
    nowhere = await workers.worker("journal", "copy", "--from", "sqlite:///nothing.db")
    assert (nowhere.code, "there is no journal at nothing.db" in nowhere.err) == (2, True)
    assert not (tmp_path / "nothing.db").exists()
    unset = await workers.worker("journal", "copy", "--to", "env:NOT_SET_HERE")
    assert (unset.code, "NOT_SET_HERE is not set" in unset.err) == (2, True)
    no_folder = await workers.worker("journal", "backup", "no/such/folder.db")
    assert no_folder.code == 2
    assert "no/such" in no_folder.err
    await ok(workers, "journal", "backup", "backup.db")
    twice = await workers.worker("journal", "backup", "backup.db")
    assert (twice.code, "name another one" in twice.err) == (2, True)
    reasonless = await workers.worker("journal", "restored")
    assert reasonless.code == 2
    await workers.start()


async def test_a_copy_under_another_key_is_refused_at_once(
    workers: Workers, tmp_path: Path, postgres: PrivatePostgres
) -> None:
    postgres.drop_database("keyless")
    there = postgres.create_database("keyless")
    await stop(await workers.start())
    (tmp_path / "worker.key").rename(tmp_path / "kept.key")
    refused = await workers.worker("journal", "copy", "--to", there)
    assert refused.code == 2
    assert "key" in refused.err
    (tmp_path / "kept.key").rename(tmp_path / "worker.key")
    await workers.start()
