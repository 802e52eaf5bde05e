"""What the console keeps does not grow for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.conformance.support import Place, change, select
from tests.conformance.test_console_journal import KEPT, five
from tests.support.amqp import eventually
from tests.support.console import Front
from worker.bootstrap import purges
from worker.console.office import MOST_ORIGINS
from worker.journal.console import people
from worker.journal.console.access import ConsoleJournal
from worker.journal.console.lists import Wanted
from worker.journal.journal import StoredJournal

YEAR = 366 * 86400
AGE = {
    "console_groups": "last_at = last_at - {0}, first_at = first_at - {0}",
    "console_group_hours": "hour = hour - {0} / 3600",
    "console_acts": "began_at = began_at - {0}, ended_at = ended_at - {0}",
    "console_answers": "at = at - {0}",
    "console_sessions": "seen_at = seen_at - {0}, expires_at = expires_at - {0}",
    "console_tokens": "expires_at = expires_at - {0}",
    "console_links": "expires_at = expires_at - {0}",
}
STAYS = {"console_users", "console_minutes"}  # people; and figures, which the fold itself takes away


@pytest.fixture
async def console(place: Place, journal: StoredJournal) -> AsyncIterator[ConsoleJournal]:
    it = ConsoleJournal(journal, place.url)
    for name in KEPT:
        await change(journal, f"DELETE FROM {name}")
    yield it
    await it.close()


async def filled(console: ConsoleJournal) -> None:
    """A line in each of the console's tables."""
    journal = console.journal
    await five(journal)
    await console.fold()
    await journal.run(lambda tx: people.put_user(tx, "ana", "operator", "hash", "boss", "why"))
    await journal.run(lambda tx: people.sign_in(tx, "ana", "here"))
    await journal.run(lambda tx: people.make_token(tx, "crm", "viewer", 1, "ana", "why"))
    await journal.run(lambda tx: people.make_link(tx, "worker", "why"))
    await console.reserve_answer("key", "request")
    seen = await console.preview("archive", Wanted(state="succeeded"))
    number = await console.begin(seen, Wanted(state="succeeded"), "ana", "old")
    await console.end_bulk(number, "ana", "enough")


async def counts(journal: StoredJournal) -> dict[str, int]:
    return {name: (await select(journal, f"SELECT count(*) AS n FROM {name}"))[0]["n"] for name in KEPT}


async def test_what_is_young_stays_and_what_is_old_goes(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    await filled(console)
    full = await counts(journal)
    assert {name for name, n in full.items() if n == 0} <= STAYS, full
    assert (await journal.purge())["console"] == 0
    assert await counts(journal) == full
    for name, columns in AGE.items():
        await change(journal, f"UPDATE {name} SET {columns.format(YEAR)}")
    await change(journal, f"UPDATE commands SET finished_at = finished_at - {YEAR}")
    await change(journal, "UPDATE console_failures SET parked = false")
    await change(journal, "DELETE FROM commands WHERE finished_at IS NULL")
    await change(journal, "DELETE FROM console_failures WHERE command_id NOT IN (SELECT id FROM commands)")
    assert (await journal.purge())["console"] > 0
    left = {name: n for name, n in (await counts(journal)).items() if n}
    assert set(left) <= STAYS, left


async def test_a_group_stays_while_one_of_its_failures_does(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    await filled(console)
    await change(journal, f"UPDATE console_groups SET last_at = last_at - {YEAR}")
    await journal.purge()
    assert len(await console.groups()) == 2


async def test_wrong_passwords_are_forgotten_a_day_after_their_lock(journal: StoredJournal) -> None:
    await journal.run(lambda tx: people.put_user(tx, "ana", "operator", "hash", "boss", "why"))
    for _ in range(6):
        await journal.run(lambda tx: people.wrong_password(tx, "ana", "here"))
    await journal.purge()
    assert [row["failures"] for row in await select(journal, "SELECT failures FROM console_users")] == [6]
    await change(journal, "UPDATE console_users SET locked_until = locked_until - 90000")
    await journal.purge()
    [row] = await select(journal, "SELECT failures, locked_until FROM console_users")
    assert (row["failures"], row["locked_until"]) == (0, None)


async def test_the_hourly_purge_is_what_does_it(console: ConsoleJournal, journal: StoredJournal) -> None:
    await filled(console)
    await change(journal, f"UPDATE console_answers SET at = at - {YEAR}")
    task = asyncio.create_task(purges(journal, "test", every=0.01))

    async def gone() -> bool:
        return (await counts(journal))["console_answers"] == 0

    try:
        await eventually(gone)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_addresses_of_wrong_passwords_are_forgotten(place: Place, journal: StoredJournal) -> None:
    async with Front(place.url, journal) as front:
        loop = asyncio.get_running_loop()
        old = loop.time() - 120
        front.office._wrong = {f"10.0.{n // 250}.{n % 250}": [old] for n in range(MOST_ORIGINS + 1)}
        answer = await front.client().post("/sign-in", data={"name": "eve", "password": "something else"})
        assert answer.status_code == 401
        assert len(front.office._wrong) == 1
