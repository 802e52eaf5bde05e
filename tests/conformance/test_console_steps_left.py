"""Before a person says that a call took effect, they see what still runs of its command (rules 1, 8.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conformance.support import Place, admit, change, claim_one, lapse, lost, order, settle
from tests.conformance.test_console_journal import KEPT
from tests.support.console import Front
from worker.journal.journal import StoredJournal


@pytest.fixture
async def front(place: Place, journal: StoredJournal) -> AsyncIterator[Front]:
    for name in KEPT:
        await change(journal, f"DELETE FROM {name}")
    async with Front(place.url, journal) as it:
        yield it


async def pages(front: Front, id: str) -> list[str]:
    admin = await front.person("ana", "admin")
    number = (await front.journal.command(id))["id"]
    return [(await admin.get(path)).text for path in (f"/commands/{number}", "/in-doubt")]


async def test_a_person_is_told_which_steps_run_once_one_is_resolved(
    front: Front, journal: StoredJournal
) -> None:
    await admit(journal, order("m-1"))
    await settle(
        journal,
        lost(
            await claim_one(journal), left=("blockOutgoingCalls", "blockIncommingCalls", "reloadSubscriber")
        ),
    )
    for text in await pages(front, "m-1"):
        assert "its other steps still run: blockIncommingCalls, reloadSubscriber" in text


async def test_a_person_is_told_where_no_worker_has_lived_to_say(
    front: Front, journal: StoredJournal
) -> None:
    await admit(journal, order("m-1"))
    await claim_one(journal)
    await lapse(journal)
    assert await journal.rescue() == 1
    for text in await pages(front, "m-1"):
        assert "the worker looks whether steps of it are left" in text


async def test_of_a_command_of_one_step_nothing_is_said_of_others(
    front: Front, journal: StoredJournal
) -> None:
    await admit(journal, order("m-1"))
    await settle(journal, lost(await claim_one(journal)))
    for text in await pages(front, "m-1"):
        assert "It took effect" in text
        assert "steps" not in text
