"""What only PostgreSQL can do to the journal: be away, freeze a process, deadlock."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from tests.conformance.support import (
    BOB,
    Place,
    admit,
    claim,
    done,
    eventually,
    inquiry,
    order,
    refused,
    results,
    run_all,
    settle,
    states,
)
from worker.journal.batches.uploads import Uploads
from worker.journal.commands.acts import cancel
from worker.journal.commands.admission import Desk
from worker.journal.commands.sweeps import tell_delayed
from worker.journal.driver import Tx
from worker.journal.journal import StoredJournal
from worker.journal.port import JournalDown, JournalError
from worker.journal.vault import new_key
from worker.sandbox.postgres import PrivatePostgres


@pytest.fixture
async def place(postgres_url: str) -> AsyncIterator[Place]:
    place = Place(postgres_url)
    yield place
    await place.close()


async def up_again(journal: StoredJournal) -> bool:
    try:
        await journal.now()
    except JournalDown:
        return False
    return True


@pytest.mark.parametrize("how", ["kill", "restart"])
async def test_p1_the_journal_says_that_it_is_down_and_recovers_by_itself(
    dedicated_postgres: PrivatePostgres, how: str
) -> None:
    place = Place(dedicated_postgres.url())
    journal = await place.open()
    heard: list[str] = []
    journal.listen(heard.append)
    await admit(journal, order("m-1"), order("m-2", BOB))
    claims = await claim(journal)
    await settle(journal, done(claims[0]))
    if how == "kill":
        dedicated_postgres.kill()
        for ask in (journal.admit([order("m-3")]), settle(journal, done(claims[1])), journal.health()):
            with pytest.raises(JournalDown):
                await ask
        with pytest.raises(JournalDown):
            await place.open()
        dedicated_postgres.start()
    else:
        dedicated_postgres.restart()
    await eventually(lambda: up_again(journal))
    assert sorted((await states(journal)).values()) == ["running", "succeeded"]
    assert await settle(journal, done(claims[1])) == [True]
    assert len(await results(journal)) == 2
    heard.clear()

    async def told() -> bool:
        """Signals come again as well, after the listener has found back."""
        await admit(journal, order("m-4", "key-4"))
        await admit(journal, order(f"m-{os.urandom(4).hex()}", "key-5"))
        return "sip-br" in heard

    await eventually(told, within=60)
    await place.close()


async def test_p1_a_connection_that_is_cut_in_a_commit_writes_all_or_nothing(place: Place) -> None:
    journal, other = await place.open(), await place.open()
    await admit(journal, order("m-1"))

    async def cut() -> None:
        for _ in range(40):
            await other.run(
                lambda tx: tx.rows(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
            await asyncio.sleep(0.01)

    async def send() -> None:
        for n in range(60):

            async def admitted(n: int = n) -> bool:
                try:
                    await journal.admit([order(f"a-{n}", f"key-{n}"), order(f"b-{n}", f"key-{n}")])
                except JournalDown:
                    return False
                return True

            await eventually(admitted)

    await asyncio.gather(cut(), send())
    ran = await run_all(other)
    assert sorted(ran) == sorted(["m-1", *(f"{x}-{n}" for x in "ab" for n in range(60))])


async def test_rule_6_3_a_database_without_rights_is_down_not_the_fault_of_a_message(place: Place) -> None:
    journal = await place.open()
    await journal.run(lambda tx: tx.run("ALTER TABLE commands RENAME TO gone"))
    with pytest.raises(JournalDown):
        await admit(journal, order("m-1"))


FREEZE = """
import asyncio, os, signal, sys
from tests.conformance.support import order
from worker.journal.core import Core
from worker.journal.opening import open_journal
from worker.journal.vault import Vault

async def main(url, key, lease):
    journal = await open_journal(url, Core(Vault([key])), lease=float(lease))
    async def work(tx):
        await tx.lock("admission")
        await tx.rows("SELECT id FROM lanes FOR UPDATE")
        print("locked", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        return await tx.rows("SELECT 1 AS one")
    try:
        await journal.run(work)
        print("committed", flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_process_frozen_in_a_transaction_does_not_hold_the_others_for_a_third_of_a_lease(
    postgres_url: str,
) -> None:
    key, lease = new_key(), 6.0
    place = Place(postgres_url, key)
    journal = await place.open(lease=lease)
    await admit(journal, order("m-1"))
    frozen = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        FREEZE,
        postgres_url,
        key,
        str(lease),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    assert frozen.stdout is not None
    try:
        assert await asyncio.wait_for(frozen.stdout.readline(), 60) == b"locked\n"
        began = asyncio.get_running_loop().time()

        async def admitted() -> bool:
            try:
                return await journal.admit([order("m-2", BOB), order("m-3")]) == ["admitted"] * 2
            except JournalDown:
                return False

        await eventually(admitted)
        # The server ends the frozen transaction after 0.3 leases; what is above is the busy machine's.
        assert asyncio.get_running_loop().time() - began < lease / 3 + 3
        assert sorted(await run_all(journal)) == ["m-1", "m-2", "m-3"]
        os.kill(frozen.pid, signal.SIGCONT)
        assert await asyncio.wait_for(frozen.stdout.readline(), 60) == b"JournalDown\n"
    finally:
        frozen.kill()
        await frozen.wait()
        await place.close()


@pytest.mark.parametrize("beside", [(), ("m-1",)], ids=["alone", "beside_its_first_that_came_again"])
async def test_rule_4_6_a_duplicate_that_comes_while_its_first_is_ending_is_answered(
    place: Place, beside: tuple[str, ...]
) -> None:
    """Beside its first: RabbitMQ, killed before it had the acknowledgement, brings both (the storm's seed 702)."""
    journal, go = await place.open(), asyncio.Event()
    await admit(journal, order("m-1", idempotency_key="k-1"))
    [first] = await claim(journal)
    admitted = asyncio.Event()

    async def slowly(tx: Tx) -> None:
        await Desk(tx, place.core).admit([order(id, idempotency_key="k-1") for id in (*beside, "m-2")])
        admitted.set()
        await go.wait()

    duplicate = asyncio.create_task(journal.run(slowly))
    await admitted.wait()
    ending = asyncio.create_task(settle(journal, done(first)))
    await asyncio.wait({ending}, timeout=0.3)  # long enough to end, if nothing holds it
    go.set()
    await asyncio.gather(duplicate, ending)
    told = {seen.event["data"]["command"]["id"] for seen in await results(journal)}
    assert told == {"m-1", "m-2"}


async def test_a_deadlock_repeats_the_batch(place: Place) -> None:
    one, other = await place.open(), await place.open()
    await one.admit([order("a"), order("b", BOB)])
    met = asyncio.Barrier(2)
    runs = 0

    async def lock(journal: StoredJournal, first: str, second: str) -> None:
        alone = False

        async def work(tx: Tx) -> None:
            nonlocal alone, runs
            runs += 1
            await tx.rows("SELECT id FROM lanes WHERE key = $1 FOR UPDATE", first)
            if not alone:
                alone = True
                await met.wait()
            await tx.rows("SELECT id FROM lanes WHERE key = $1 FOR UPDATE", second)

        await journal.run(work)

    keys = ["sip-br/subscriber/alice@example.org", BOB]
    await asyncio.gather(lock(one, *keys), lock(other, *keys[::-1]))
    assert runs == 3


async def test_p1_commits_are_durable_whatever_the_default_of_the_database(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    await connection.close()
    place = Place(postgres_url)
    journal = await place.open()
    for _ in range(3):  # also when a connection comes from the pool again
        [row] = await journal.run(lambda tx: tx.rows("SELECT current_setting('synchronous_commit') AS s"))
        assert row["s"] == "on"
    await place.close()


NO_LOCK = """
CREATE FUNCTION pg_try_advisory_lock(bigint) RETURNS boolean LANGUAGE plpgsql
AS $$ BEGIN RAISE EXCEPTION 'no lock today'; END $$
"""


async def test_a_lock_that_cannot_be_asked_for_leaves_no_connection_behind(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    place = Place(postgres_url)
    try:
        name = await connection.fetchval("SELECT current_database()")
        journal = await place.open()
        await connection.execute(NO_LOCK)
        await connection.execute(f'ALTER DATABASE "{name}" SET search_path = public, pg_catalog')
        with pytest.raises(JournalDown) as caught:
            async with journal.held("batch-spring"):
                raise AssertionError

        async def gone() -> bool:
            asked = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND query LIKE 'SELECT pg_try_advisory_lock(%'"
            )
            return await connection.fetchval(asked) == 0

        await eventually(gone)
        assert caught.value  # what keeps the error keeps its frames, and with them an open connection
    finally:
        await place.close()
        await connection.close()


@pytest.mark.parametrize("wrong", ["database", "password"])
async def test_a_wrong_address_is_told_in_a_sentence(postgres_url: str, wrong: str) -> None:
    url = postgres_url + "x" if wrong == "database" else postgres_url.replace("private:", "private:wrong")
    said = "no such database" if wrong == "database" else "the user or the password"
    with pytest.raises(JournalError, match=said) as caught:
        await Place(url).open()
    assert "private:" not in str(caught.value)


async def test_cancelling_who_waits_leaves_the_journal_in_order(place: Place) -> None:
    journal = await place.open()
    await journal.admit([order(f"m-{n}", f"key-{n}") for n in range(20)])

    async def take() -> list[str]:
        return [one.message_id for one in await claim(journal, limit=1)]

    tasks = [asyncio.create_task(take()) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # What a cancelled claim had taken is rolled back: nothing is lost, nothing is taken twice.
    taken = [task.result() for task in tasks if not task.cancelled()]
    ran = [id for ids in taken for id in ids]
    rest = await run_all(journal)
    assert sorted(ran + rest) == sorted(f"m-{n}" for n in range(20))


async def test_rule_6_4_a_cancel_that_comes_with_the_word_of_a_delay_stands_behind_it(place: Place) -> None:
    """Seed 701 of the storm: both took the same number in the command's events."""
    journal = await place.open(notify_after=0.0)
    other = await place.open(notify_after=0.0)
    await admit(journal, order("m-1"))
    told, go_on = asyncio.Event(), asyncio.Event()

    async def say_delayed(tx: Tx) -> None:
        await tell_delayed(tx, journal.core)
        told.set()
        await go_on.wait()

    saying = asyncio.create_task(journal.run(say_delayed))
    await told.wait()
    cancelling = asyncio.create_task(admit(other, inquiry("cancel", "c-1", target_id="m-1")))
    await eventually(lambda: waits_for_a_lock(place))
    go_on.set()
    await asyncio.gather(saying, cancelling)
    numbers = {seen.what: seen.data["sequence"] for seen in await results(journal) if seen.id == "m-1"}
    assert numbers == {"delayed": 1, "cancelled": 2}


async def waits_for_a_lock(place: Place) -> bool:
    connection = await asyncpg.connect(place.url)
    try:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        return bool(await connection.fetchval(asked))
    finally:
        await connection.close()


async def test_p3_a_dependent_that_is_cancelled_while_it_falls_with_its_dependency_ends_once(
    place: Place,
) -> None:
    """The sweep has seen it waiting, then waits for its line, which a person holds who cancels it."""
    journal, other = await place.open(), await place.open()
    await admit(journal, order("p", BOB), order("c", depends_on="p"))
    await settle(journal, refused((await claim(journal))[0]))
    cancelled, go = asyncio.Event(), asyncio.Event()

    async def cancelling(tx: Tx) -> None:
        await cancel(tx, other.core, "c", "ana", "wrong list")
        cancelled.set()
        await go.wait()

    person = asyncio.create_task(other.run(cancelling))
    await cancelled.wait()
    sweeping = asyncio.create_task(journal.sweep())
    await eventually(lambda: waits_for_a_lock(place))
    go.set()
    await asyncio.gather(person, sweeping)
    endings = await results(journal, "cancelled")
    assert [one.data["error"]["code"] for one in endings] == ["cancelled_by_operator"]


@pytest.mark.parametrize("how", ["drop", "sweep"])
async def test_p1_a_file_that_is_let_go_while_it_is_dropped_or_swept_stays(place: Place, how: str) -> None:
    """Whoever deletes has seen it lie about; a person lets it go in between."""
    journal, other = await place.open(), await place.open()
    uploads = Uploads(journal)
    id = await uploads.begin("list.csv", 4, "0" * 64, "olga", {})
    await uploads.keep_part(id, "file", 0, b"a\nb\n")
    await uploads.whole(id, "olga")
    await journal.run(lambda tx: tx.run("UPDATE uploads SET touched_at = 0"))
    let_go, go = asyncio.Event(), asyncio.Event()

    async def going(tx: Tx) -> None:
        await tx.run("UPDATE uploads SET state = 'going', touched_at = $1", tx.now)
        let_go.set()
        await go.wait()

    person = asyncio.create_task(other.run(going))
    await let_go.wait()
    dropping = asyncio.create_task(uploads.sweep() if how == "sweep" else uploads.drop(id, "ana", None))

    async def has_looked() -> bool:
        return dropping.done() or await waits_for_a_lock(place)

    await eventually(has_looked)
    go.set()
    assert not (await asyncio.gather(person, dropping))[1]
    kept = await uploads.find(id)
    assert kept is not None
    assert kept.state == "going"
    assert [part async for part in uploads.parts(id, "file")] == [b"a\nb\n"]
