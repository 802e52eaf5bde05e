"""Commands that depend on another come along when that one is run again (rules 4.8 and 8.2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conformance.support import (
    ALICE,
    BOB,
    Place,
    admit,
    change,
    claim,
    claim_one,
    done,
    order,
    parked,
    records,
    refused,
    run_all,
    select,
    settle,
    states,
)
from tests.conformance.test_console_journal import KEPT
from tests.support.console import Front
from worker.journal.commands import chain
from worker.journal.commands.acts import ActRefused
from worker.journal.journal import StoredJournal

CARL = "sip-br/subscriber/carl@example.org"


async def swept(journal: StoredJournal) -> None:
    while await journal.sweep():
        pass


async def failed_family(journal: StoredJournal) -> None:
    """p was rejected; c and d waited for it, e for d: all three were cancelled for it. x was cancelled by a person."""
    await admit(
        journal,
        order("p", BOB),
        order("c", ALICE, depends_on="p", data={"platform": "sip-br", "kinds": ["incoming"]}),
        order("d", CARL, depends_on="p"),
        order("e", CARL, depends_on="d"),
        order("x", ALICE, depends_on="p"),
    )
    await journal.cancel("x", "bob", "not wanted")
    await settle(journal, refused(await claim_one(journal)))
    await swept(journal)
    found = await states(journal)
    assert {found[id] for id in "cdex"} == {"cancelled"}, found


async def shown(journal: StoredJournal, id: str) -> list[dict[str, Any]]:
    number = (await journal.command(id))["id"]
    return [one.shown() for one in await journal.run(lambda tx: chain.dependents(tx, number))]


async def test_p2_of_two_orders_under_one_key_only_the_newer_comes_along(journal: StoredJournal) -> None:
    """The first had no effect, so its key was free, and the sender repeated it: both were cancelled."""
    await admit(journal, order("p", BOB), order("c1", depends_on="p", idempotency_key="k"))
    await settle(journal, refused(await claim_one(journal)))
    await swept(journal)
    await admit(journal, order("c2", depends_on="p", idempotency_key="k"))
    await swept(journal)
    assert [(one["message_id"], one["why"] is None) for one in await shown(journal, "p")] == [
        ("c1", False),
        ("c2", True),
    ]
    made = await journal.retry("p", "ann", "again", dependents=True)
    assert [one["became"] is None for one in made["dependents"]] == [True, False]


async def test_those_that_ended_because_it_failed_are_named_and_nobody_else(journal: StoredJournal) -> None:
    await failed_family(journal)
    assert [(one["message_id"], one["why"]) for one in await shown(journal, "p")] == [
        ("c", None),
        ("d", None),
        ("e", None),
    ]
    assert await shown(journal, "x") == []


async def test_they_come_along_wait_for_the_new_one_and_keep_their_own_data(journal: StoredJournal) -> None:
    await failed_family(journal)
    made = await journal.retry("p", "ann", "the trunk is up", dependents=True)
    along = {one["message_id"]: one["became"] for one in made["dependents"]}
    assert set(along) == {"c", "d", "e"}
    rows = {
        row["id"]: row
        for row in await select(
            journal, "SELECT id, depends_on, retry_of, causation_id, idem_key FROM commands"
        )
    }
    assert rows[along["c"]]["depends_on"] == rows[along["d"]]["depends_on"] == made["id"]
    assert rows[along["e"]]["depends_on"] == along["d"]
    for id, number in along.items():
        assert (rows[number]["retry_of"], rows[number]["causation_id"], rows[number]["idem_key"]) == (
            id,
            id,
            id,
        )
    [parent] = await claim(journal)
    assert parent.id == made["id"], "its dependents wait"
    await settle(journal, done(parent))
    await swept(journal)
    found = {one.id: one for one in await claim(journal)}
    assert set(found) == {along["c"], along["d"]}
    assert found[along["c"]].data["kinds"] == ["incoming"]
    await settle(journal, *(done(one) for one in found.values()))
    await swept(journal)
    await run_all(journal)
    assert (await journal.command(f"#{along['e']}"))["state"] == "succeeded"
    retried = [one for one in await records(journal) if one["what"] == "retried"]
    assert [(one["command"]["id"], one["actor"]) for one in retried] == [
        ("p", "ann"), ("c", "ann"), ("d", "ann"), ("e", "ann"),
    ]  # fmt: skip


async def test_one_that_waits_still_is_moved_to_the_new_command(journal: StoredJournal) -> None:
    await admit(journal, order("p", BOB), order("c", ALICE, depends_on="p"))
    await settle(journal, refused(await claim_one(journal)))
    made = await journal.retry("p", "ann", "at once", dependents=True)
    assert [(one["message_id"], one["became"]) for one in made["dependents"]] == [
        ("c", (await journal.command("c"))["id"])
    ]
    await swept(journal)
    assert (await states(journal))["c"] == "waiting"
    await run_all(journal)
    await swept(journal)
    await run_all(journal)
    assert (await states(journal))["c"] == "succeeded"


async def test_one_whose_key_somebody_holds_already_stays_and_so_do_those_behind_it(
    journal: StoredJournal,
) -> None:
    await failed_family(journal)
    newer = await journal.retry("d", "bob", "mine")
    assert [(one["message_id"], one["why"]) for one in await shown(journal, "p")] == [
        ("c", None),
        ("d", f"command {newer['id']} holds its key already"),
    ]
    made = await journal.retry("p", "ann", "again", dependents=True)
    assert [(one["message_id"], one["became"] is None) for one in made["dependents"]] == [
        ("c", False),
        ("d", True),
    ]


async def test_without_the_wish_and_for_a_parked_one_nobody_comes_along(journal: StoredJournal) -> None:
    await failed_family(journal)
    before = len(await states(journal))
    assert "dependents" not in await journal.retry("p", "ann", "alone")
    assert len(await select(journal, "SELECT id FROM commands")) == before + 1
    with pytest.raises(ActRefused, match="holds the same key"):
        await journal.retry("p", "ann", "twice", dependents=True)
    await admit(journal, order("q", "sip-br/subscriber/q@example.org"), order("r", CARL, depends_on="q"))
    for one in await claim(journal):
        if one.message_id == "q":
            await settle(journal, parked(one))
    assert (await journal.retry("q", "ann", "go on", dependents=True))["state"] == "waiting"
    assert (await states(journal))["r"] == "waiting"


@pytest.fixture
async def front(place: Place, journal: StoredJournal) -> AsyncIterator[Front]:
    for name in KEPT:
        await change(journal, f"DELETE FROM {name}")
    async with Front(place.url, journal) as it:
        yield it


async def test_page_and_api_show_who_would_come_along_and_let_one_choose(
    front: Front, journal: StoredJournal
) -> None:
    await failed_family(journal)
    number = (await journal.command("p"))["id"]
    ana, program = await front.person("ana", "operator"), await front.token("act", "operator")
    page = (await ana.get(f"/commands/{number}")).text
    assert "Depend on its success" in page
    assert "3 that depend on it come along" in page
    assert "3 that depend on it come along" in (await ana.get(f"/commands/{number}/edit")).text
    listed = (await program.get(f"/api/v1/dependents/{number}")).json()
    assert [(one["message_id"], one["why"]) for one in listed] == [("c", None), ("d", None), ("e", None)]
    wrong = await program.post(f"/api/v1/commands/{number}/archive", json={"reason": "x", "dependents": True})
    assert wrong.status_code == 422
    before = len(await select(journal, "SELECT id FROM commands"))
    done_ = await ana.act(f"/commands/{number}/retry", reason="again", dependents="1")
    assert done_.status_code == 303
    assert len(await select(journal, "SELECT id FROM commands")) == before + 4
