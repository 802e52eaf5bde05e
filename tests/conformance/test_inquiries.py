"""`command.get` and `command.cancel`: answered at intake (surface 2)."""

from __future__ import annotations

from tests.conformance.support import (
    ALICE,
    BOB,
    Place,
    admit,
    claim,
    claim_one,
    done,
    earlier,
    in_doubt,
    inquiry,
    order,
    records,
    results,
    run_all,
    run_next,
    settle,
    states,
    take_all,
)
from worker.journal.journal import StoredJournal


async def test_get_says_how_far_a_command_is(journal: StoredJournal) -> None:
    await admit(journal, order("m-1"))
    assert await admit(journal, inquiry("get", "q-1", target_id="m-1", reply_to="crm.answers")) == [
        "answered"
    ]
    [answer] = await results(journal)
    assert (answer.id, answer.what) == ("q-1", "succeeded")
    assert answer.data["output"] == {"id": "m-1", "status": "waiting", "effect": "none"}
    assert answer.out.routing_key == "sip-br.command.get.succeeded"
    assert len(await results(journal, private=True)) == 1


async def test_get_sees_what_came_before_it_in_the_same_batch(journal: StoredJournal) -> None:
    early, late = inquiry("get", "q-1", target_id="m-1"), inquiry("get", "q-2", target_id="m-1")
    assert await admit(journal, early, order("m-1"), late) == ["answered", "admitted", "answered"]
    answers = {seen.id: seen for seen in await results(journal)}
    assert answers["q-1"].what == "rejected"
    assert answers["q-2"].data["output"]["status"] == "waiting"


async def test_get_by_key_finds_the_newest_holder(journal: StoredJournal) -> None:
    await admit(journal, order("m-1", idempotency_key="k"))
    await run_next(journal)
    await take_all(journal)
    await admit(journal, inquiry("get", "q-1", source="/shop", target_source="/crm", target_key="k"))
    [answer] = await results(journal)
    assert answer.data["output"] == {"id": "m-1", "status": "succeeded", "effect": "applied"}


async def test_get_of_what_was_purged_knows_how_it_ended(place: Place) -> None:
    journal = await place.open(retention=100.0)
    await admit(journal, order("m-1"))
    await run_next(journal)
    await take_all(journal)
    await earlier(journal, "commands", 101, "finished_at")
    await journal.purge()
    await admit(journal, inquiry("get", "q-1", target_id="m-1"))
    [answer] = await results(journal)
    assert answer.data["output"] == {"id": "m-1", "status": "succeeded", "effect": "applied"}
    assert answer.out.routing_key == "sip-br.command.get.succeeded"


async def test_get_of_a_duplicate_tells_of_the_one_that_runs(journal: StoredJournal) -> None:
    await admit(journal, order("m-1", idempotency_key="k"), order("m-2", idempotency_key="k"))
    await admit(journal, inquiry("get", "q-1", target_id="m-2"))
    [answer] = await results(journal)
    assert answer.data["output"] == {"id": "m-2", "status": "waiting", "effect": "none"}


async def test_one_that_names_nothing_is_rejected(journal: StoredJournal) -> None:
    await admit(journal, order("m-1"))
    batch = [
        inquiry("get", "q-1", target_id="m-0"),
        inquiry("cancel", "q-2", source="/shop", target_id="m-1"),
        inquiry("get", "q-3", target_source="/crm", target_key="nope"),
        inquiry("get", "q-4", target_id="q-1"),
    ]
    assert await journal.admit(batch) == ["answered"] * 4
    answers = await results(journal)
    assert {seen.data["error"]["code"] for seen in answers} == {"not_found"}
    assert {seen.out.routing_key.split(".")[0] for seen in answers} == {"unknown"}
    assert {seen.what for seen in answers} == {"rejected"}


async def test_cancel_ends_a_command_that_waits(journal: StoredJournal) -> None:
    await admit(journal, order("a-1"), order("a-2"), order("a-3"))
    await admit(journal, inquiry("cancel", "x-1", target_id="a-2"))
    answers = {seen.id: seen for seen in await results(journal)}
    assert answers["x-1"].data["output"] == {"id": "a-2", "status": "cancelled", "effect": "none"}
    assert answers["a-2"].data["error"]["code"] == "cancelled_by_sender"
    assert await run_all(journal) == ["a-1", "a-3"]


async def test_cancel_in_the_same_batch_as_its_target(journal: StoredJournal) -> None:
    batch = [order("a-1"), inquiry("cancel", "x-1", target_id="a-1"), order("a-2")]
    assert await journal.admit(batch) == ["admitted", "answered", "admitted"]
    assert await run_all(journal) == ["a-2"]
    assert (await states(journal))["a-1"] == "cancelled"


async def test_a_cancel_that_comes_first_cancels_nothing_later(journal: StoredJournal) -> None:
    await admit(journal, inquiry("cancel", "x-1", target_id="a-1"))
    await admit(journal, order("a-1"))
    assert await run_all(journal) == ["a-1"]


async def test_only_cancelled_means_that_it_will_not_run(journal: StoredJournal) -> None:
    await admit(journal, order("a-1"), order("b-1", BOB))
    running = {one.message_id: one for one in await claim(journal)}
    await settle(journal, done(running["b-1"]))
    await take_all(journal)
    await admit(journal, inquiry("cancel", "x-1", target_id="a-1"), inquiry("cancel", "x-2", target_id="b-1"))
    answers = {seen.id: seen.data["output"]["status"] for seen in await results(journal)}
    assert answers == {"x-1": "running", "x-2": "succeeded"}
    assert await settle(journal, done(running["a-1"])) == [True]


async def test_rule_1_cancel_does_nothing_to_one_in_doubt(journal: StoredJournal) -> None:
    await in_doubt(journal)
    await admit(journal, inquiry("cancel", "x-1", target_id="m-1"))
    [answer] = await results(journal)
    assert answer.data["output"] == {"id": "m-1", "status": "in_doubt", "effect": "unknown"}


async def test_cancel_of_a_deferred_command(journal: StoredJournal) -> None:
    await admit(journal, order("p", BOB), order("c", ALICE, depends_on="p"))
    await admit(journal, inquiry("cancel", "x-1", target_id="c"))
    await run_next(journal)
    await journal.sweep()
    assert await states(journal) == {"p": "succeeded", "c": "cancelled"}


async def test_cancelling_the_dependency_cancels_its_dependents(journal: StoredJournal) -> None:
    await admit(journal, order("p", BOB), order("c", ALICE, depends_on="p"))
    await admit(journal, inquiry("cancel", "x-1", target_id="p"))
    await journal.sweep()
    assert await states(journal) == {"p": "cancelled", "c": "cancelled"}


async def test_rule_4_4_an_inquiry_that_comes_again_gets_its_first_answer(journal: StoredJournal) -> None:
    await admit(journal, order("m-1"))
    question = inquiry("get", "q-1", target_id="m-1")
    await admit(journal, question)
    [first] = await results(journal)
    await run_next(journal)
    await take_all(journal)
    assert await admit(journal, question, question) == ["repeated", "repeated"]
    answers = await results(journal)
    assert {seen.out.body for seen in answers} == {first.out.body}


async def test_an_inquiry_stands_in_no_line_and_spends_no_key(journal: StoredJournal) -> None:
    await admit(journal, inquiry("get", "k", target_id="m-0"))
    assert await admit(journal, order("m-1", idempotency_key="k")) == ["admitted"]
    await claim_one(journal)
    assert await claim(journal) == []


async def test_rule_8_3_a_cancel_of_the_sender_is_in_the_audit_chain(journal: StoredJournal) -> None:
    await admit(journal, order("m-1"))
    await admit(journal, inquiry("cancel", "x-1", target_id="m-1"))
    ended = (await records(journal))[-1]
    assert (ended["what"], ended["actor"], ended["details"]["status"]) == ("ended", "sender", "cancelled")
