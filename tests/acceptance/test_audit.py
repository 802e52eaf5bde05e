"""Who tampers with the audit chain is found; who does not, is not (P8)."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.amqp import command
from tests.support.stage import MODULE, PLATFORM, Stage, about, staged
from worker.sandbox.postgres import PrivatePostgres

pytestmark = MODULE
# What is purged has to be a second old: everything, by the time that a test purges.
stage = staged(settings={"journal": {"retention": "1s"}, "events": {"retention": "1s"}})


class Database:
    """What somebody does who has the database, and not the key."""

    def __init__(self, stage: Stage, postgres: PrivatePostgres | None) -> None:
        self._file = stage.workers.folder / "worker.db"
        self._postgres = postgres
        self._name = (stage.journal or "").rpartition("/")[2]

    def run(self, *statements: str) -> None:
        if self._postgres is not None:
            self._postgres.execute(";".join(statements), self._name)
            return
        with contextlib.closing(sqlite3.connect(self._file)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def value(self, query: str) -> str:
        if self._postgres is not None:
            return self._postgres.execute(query, self._name)
        with contextlib.closing(sqlite3.connect(self._file)) as connection:
            return str(connection.execute(query).fetchone()[0])


@dataclass(slots=True)
class Chain:
    """A chain that is at rest: the worker has stopped. `early`: the signed checkpoint of a shorter one."""

    stage: Stage
    database: Database
    collected: Path
    length: int
    early: str
    early_length: int

    async def verify(self, *words: str) -> tuple[int, Any]:
        """`worker audit verify --json` in this process: the exit code, and the report."""
        done = await self.stage.here("audit", "verify", "--json", *words)
        return done.code, json.loads(done.out or "{}")

    async def against_events(self) -> tuple[int, Any]:
        return await self.verify("--collected", str(self.collected))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chain(stage: Stage, request: pytest.FixtureRequest) -> Chain:
    postgres = request.getfixturevalue("postgres") if stage.journal else None
    database = Database(stage, postgres)
    await stage.platform.subscribers(["joao"], balance="5.00")
    early = await run_some(stage, database)
    early_length = int(database.value("SELECT max(number) FROM audit"))
    await stage.cli("platforms", "pause", PLATFORM, "--reason", "because of the test")
    await stage.cli("platforms", "resume", PLATFORM, "--reason", "the test goes on")
    await run_some(stage, database)
    stage.worker.terminate()
    await stage.worker.ended()
    length = int(database.value("SELECT max(number) FROM audit"))
    collected = stage.folder / "collected.jsonl"
    bodies = {one.event["id"]: one.body for one in stage.audit.heard}
    collected.write_bytes(b"\n".join(bodies.values()))
    return Chain(stage, database, collected, length, early, early_length)


async def run_some(stage: Stage, database: Database) -> str:
    """A few commands to their end; the checkpoint as it then stands."""
    sent = [command("calls.block.v1", about("joao")) for _ in range(4)]
    sent.append(command("credit.add.v1", about("joao", amount="1.00")))
    await stage.send(*sent, b"no JSON")
    for one in sent:
        await stage.ending(one["id"])
    await stage.settled()
    return database.value("SELECT value FROM meta WHERE name = 'audit_head'")


@pytest.fixture
def tampered(chain: Chain) -> Iterator[Database]:
    """Whatever a test does to the database is undone."""
    tables = ("audit", "meta")
    chain.database.run(*(f"CREATE TABLE {name}_kept AS SELECT * FROM {name}" for name in tables))
    yield chain.database
    for name in tables:
        chain.database.run(
            f"DELETE FROM {name}", f"INSERT INTO {name} SELECT * FROM {name}_kept", f"DROP TABLE {name}_kept"
        )


async def test_a_chain_that_nobody_touched_is_whole(chain: Chain) -> None:
    done = await chain.stage.cli("audit", "verify", "--collected", str(chain.collected))
    assert "the chain is whole" in done.out
    code, report = await chain.against_events()
    assert (code, report["faults"]) == (0, [])
    assert (report["first"], report["last"], report["records"]) == (1, chain.length, chain.length)
    assert (report["unsealed"], report["collected"]) == (0, chain.length)


async def test_each_command_and_each_act_left_its_records(chain: Chain) -> None:
    records = [json.loads(line)["data"] for line in chain.collected.read_text().splitlines()]
    counted = [one["what"] for one in records]
    assert (counted.count("admitted"), counted.count("ended"), counted.count("refused")) == (10, 10, 2)
    [paused] = [one for one in records if one["what"] == "paused"]
    assert paused["reason"] == "because of the test"
    assert paused["actor"] not in ("", "worker", "sender")
    assert [one["number"] for one in records] == list(range(1, chain.length + 1))


CHANGED = {
    "its text": "UPDATE audit SET record = replace(record, 'joao', 'jose') WHERE number = 3",
    "its time": 'UPDATE audit SET record = replace(record, \'"at":"20\', \'"at":"19\') WHERE number = 3',
    "its actor": "UPDATE audit SET record = replace(record, 'sender', 'nobody') WHERE number = 1",
    "its mac": "UPDATE audit SET mac = (SELECT mac FROM audit WHERE number = 4) WHERE number = 3",
    "its kind": "UPDATE audit SET what = 'ended' WHERE number = 1",
    "the last one": 'UPDATE audit SET record = replace(record, \'"at":"20\', \'"at":"19\')'
    " WHERE number = (SELECT max(number) FROM audit)",
}


@pytest.mark.parametrize("what", CHANGED)
async def test_a_changed_record_is_found(chain: Chain, tampered: Database, what: str) -> None:
    tampered.run(CHANGED[what])
    code, report = await chain.verify()
    assert code == 1
    assert any("changed" in fault or "differ" in fault for fault in report["faults"]), report


async def test_a_removed_record_is_found(chain: Chain, tampered: Database) -> None:
    tampered.run("DELETE FROM audit WHERE number = 4")
    code, report = await chain.verify()
    assert code == 1
    assert any("4" in fault and "missing" in fault for fault in report["faults"]), report


async def test_a_removed_record_is_found_although_the_rest_was_numbered_anew(
    chain: Chain, tampered: Database
) -> None:
    tampered.run(
        "DELETE FROM audit WHERE number = 4",
        "UPDATE audit SET number = -number WHERE number > 4",
        "UPDATE audit SET number = -number - 1 WHERE number < 0",
    )
    assert (await chain.verify())[0] == 1


COLUMNS = "what, platform, command_id, event_id, record, at, number, mac, published_at, taken"
COPIED = "what, platform, command_id, 'inserted', record, at"


async def test_an_inserted_record_is_found(chain: Chain, tampered: Database) -> None:
    """In the middle, the rest moved up; its own mac copied from the one it pretends to be."""
    tampered.run(
        "UPDATE audit SET number = -number WHERE number > 3",
        "UPDATE audit SET number = -number + 1 WHERE number < 0",
        f"INSERT INTO audit (id, {COLUMNS}) SELECT 900001, {COPIED}, 4, mac, published_at, taken"
        " FROM audit WHERE number = 2",
    )
    assert (await chain.verify())[0] == 1


async def test_a_record_that_was_put_behind_the_last_is_found(chain: Chain, tampered: Database) -> None:
    tampered.run(
        f"INSERT INTO audit (id, {COLUMNS}) SELECT 900001, {COPIED}, {chain.length + 1}, mac, published_at, taken"
        " FROM audit WHERE number = 2"
    )
    assert (await chain.verify())[0] == 1


async def test_two_records_that_changed_places_are_found(chain: Chain, tampered: Database) -> None:
    tampered.run(
        "UPDATE audit SET number = -2 WHERE number = 2",
        "UPDATE audit SET number = 2 WHERE number = 3",
        "UPDATE audit SET number = 3 WHERE number = -2",
    )
    assert (await chain.verify())[0] == 1


async def test_a_tail_that_was_cut_off_is_found_by_the_checkpoint(chain: Chain, tampered: Database) -> None:
    tampered.run(f"DELETE FROM audit WHERE number > {chain.length - 2}")
    assert (await chain.verify())[0] == 1


async def test_a_tail_cut_off_together_with_its_checkpoint_is_found_by_events_collected(
    chain: Chain, tampered: Database
) -> None:
    """An old checkpoint is truly signed: only what was published elsewhere shows that there was more."""
    early = chain.early.replace("'", "''")
    tampered.run(
        f"DELETE FROM audit WHERE number > {chain.early_length}",
        f"UPDATE meta SET value = '{early}' WHERE name = 'audit_head'",
    )
    assert (await chain.verify())[0] == 0
    code, report = await chain.against_events()
    assert code == 1
    missing = [fault for fault in report["faults"] if "missing from the journal" in fault]
    assert len(missing) == chain.length - chain.early_length


async def test_a_chain_that_was_removed_altogether_is_found_by_events_collected(
    chain: Chain, tampered: Database
) -> None:
    tampered.run("DELETE FROM audit", "DELETE FROM meta WHERE name LIKE 'audit_%'")
    code, report = await chain.against_events()
    assert code == 1
    assert len(report["faults"]) >= chain.length


async def test_a_checkpoint_that_was_moved_is_found(chain: Chain, tampered: Database) -> None:
    tampered.run(
        f"DELETE FROM audit WHERE number > {chain.early_length}",
        "UPDATE meta SET value = replace(value, '\"number\": ', '\"number\": 1') WHERE name = 'audit_head'",
    )
    code, report = await chain.verify()
    assert code == 1
    assert any("checkpoint" in fault for fault in report["faults"]), report


async def test_a_collected_event_that_was_changed_is_found(chain: Chain, tmp_path: Path) -> None:
    lines = chain.collected.read_text().splitlines()
    file = tmp_path / "changed.jsonl"
    file.write_text("\n".join([lines[0].replace("joao", "jose"), *lines[1:]]))
    code, report = await chain.verify("--collected", str(file))
    assert (code, len(report["faults"])) == (1, 1)


async def test_a_file_that_cannot_be_read_is_another_exit_code(chain: Chain, tmp_path: Path) -> None:
    assert (await chain.verify("--collected", str(tmp_path / "missing.jsonl")))[0] == 2
    file = tmp_path / "broken.jsonl"
    file.write_text("{")
    assert (await chain.verify("--collected", str(file)))[0] == 2


async def test_a_chain_is_whole_after_a_purge_and_its_beginning_is_signed(
    chain: Chain, tampered: Database
) -> None:
    """The last test: what is purged is gone."""
    await chain.stage.cli("journal", "purge")
    left = int(tampered.value("SELECT count(*) FROM audit"))
    assert left < chain.length
    code, report = await chain.against_events()
    assert (code, report["faults"]) == (0, [])
    tampered.run(
        "UPDATE meta SET value = replace(value, '\"number\": ', '\"number\": 1') WHERE name = 'audit_tail'"
    )
    assert (await chain.verify())[0] == 1
