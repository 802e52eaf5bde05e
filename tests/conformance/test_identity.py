"""Rules 4.4 to 4.7: which message is which, and which order ran already."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from tests.conformance.support import (
    ALICE,
    BOB,
    CRM,
    Place,
    admit,
    again,
    bad,
    change,
    claim,
    claim_one,
    done,
    earlier,
    inquiry,
    make_due,
    order,
    records,
    refused,
    results,
    run_all,
    run_next,
    select,
    settle,
    states,
    take_all,
)
from worker.journal.journal import StoredJournal
from worker.messages.events import canonical


async def test_rule_4_4_the_same_message_twice_is_one_command_and_one_answer(journal: StoredJournal) -> None:
    assert await admit(journal, order("m-1")) == ["admitted"]
    assert await admit(journal, order("m-1")) == ["repeated"]
    assert await run_all(journal) == ["m-1"]
    assert len(await results(journal)) == 1


async def test_rule_4_4_the_same_message_twice_in_one_batch_is_one_command(journal: StoredJournal) -> None:
    assert await admit(journal, order("m-1"), order("m-2", BOB), order("m-1")) == [
        "admitted",
        "admitted",
        "repeated",
    ]
    assert sorted(await run_all(journal)) == ["m-1", "m-2"]


async def test_rule_4_4_a_message_that_comes_again_after_its_end_gets_the_same_event(
    journal: StoredJournal,
) -> None:
    await admit(journal, order("m-1", reply_to="crm.answers"))
    await run_next(journal)
    first = await take_all(journal)
    assert await admit(journal, order("m-1", reply_to="crm.answers")) == ["repeated"]
    again_ = [one for one in await take_all(journal) if one.out.table == "outbox"]
    first = [one for one in first if one.out.table == "outbox"]
    assert {one.out.exchange for one in again_} == {"", "provisioning.results"}
    assert {one.out.event_id for one in again_} == {first[0].out.event_id}
    assert {one.out.body for one in again_} == {first[0].out.body}
    assert again_[0].out.routing_key == "sip-br.calls.block.succeeded"


async def test_rule_4_4_a_repeated_answer_shows_no_secret(journal: StoredJournal) -> None:
    command = order("m-1", secret_output=True, reply_to="crm.answers")
    await admit(journal, command)
    one = await claim_one(journal)
    await settle(journal, done(one, output={"pin": "***"}, secret_output={"pin": "4711"}))
    [private] = await results(journal, private=True)
    assert private.data["output"] == {"pin": "4711"}
    await take_all(journal)
    await admit(journal, command)
    assert all(b"4711" not in seen.out.body for seen in await results(journal, private=True))
    assert len(await results(journal, private=True)) == 1


async def test_rule_4_4_other_content_under_a_known_id_is_refused_under_a_fresh_name(
    journal: StoredJournal,
) -> None:
    await admit(journal, order("m-1"))
    other = order("m-1", data={"platform": "sip-br", "kinds": ["incoming"]})
    assert await admit(journal, other, other) == ["refused", "refused"]
    answers = await results(journal, "refused")
    assert {one.data["error"]["code"] for one in answers} == {"id_conflict"}
    assert len({one.data["refused_message"] for one in answers}) == 2
    assert {one.id for one in answers} == {"m-1"}
    assert await run_all(journal) == ["m-1"]


async def test_rule_4_4_another_type_is_other_content(journal: StoredJournal) -> None:
    await admit(journal, order("m-1"))
    assert await admit(journal, order("m-1", type="calls.unblock.v1")) == ["refused"]


async def test_rule_4_4_the_id_is_looked_at_before_the_key(journal: StoredJournal) -> None:
    await admit(journal, order("m-1", idempotency_key="k-1"))
    assert await admit(journal, order("m-1", idempotency_key="k-2")) == ["repeated"]


async def test_rule_4_4_ids_belong_to_their_source(journal: StoredJournal) -> None:
    assert await admit(journal, order("m-1"), order("m-1", BOB, source="/shop")) == ["admitted", "admitted"]


async def test_rule_4_4_source_and_id_are_two_texts_not_one(journal: StoredJournal) -> None:
    one, other = order("bc", source="/a"), order("c", BOB, source="/ab")
    assert await admit(journal, one, other) == ["admitted", "admitted"]


async def test_rule_4_5_content_is_what_was_sent_whatever_the_order_of_its_fields(
    journal: StoredJournal,
) -> None:
    await admit(journal, order("m-1", data={"platform": "sip-br", "kinds": ["outgoing"]}))
    turned = order("m-1", data={"kinds": ["outgoing"], "platform": "sip-br"})
    assert await admit(journal, turned) == ["repeated"]


async def test_rule_4_5_no_plain_hash_of_the_content_is_kept(journal: StoredJournal) -> None:
    data = {"pin": "1234"}
    await admit(journal, order("m-1", data=data))
    [row] = await select(journal, "SELECT content_mac FROM identities")
    guessed = hashlib.sha256(canonical(["calls.block.v1", data])).hexdigest()
    assert row["content_mac"] != guessed


async def test_rule_4_6_the_same_key_under_a_new_id_gets_the_stored_answer(journal: StoredJournal) -> None:
    await admit(journal, order("m-1", idempotency_key="k"))
    await run_next(journal)
    await take_all(journal)
    assert await admit(journal, order("m-2", idempotency_key="k", reply_to="crm.answers")) == ["duplicate"]
    [answer] = await results(journal)
    assert (answer.id, answer.what, answer.data["duplicate_of"]) == ("m-2", "succeeded", "m-1")
    assert answer.data["output"] == {"kinds": ["outgoing"]}
    [private] = await results(journal, private=True)
    assert private.out.event_id == answer.out.event_id
    assert await claim(journal) == []


async def test_rule_4_6_a_duplicate_of_one_that_runs_is_answered_when_that_ends(
    journal: StoredJournal,
) -> None:
    await admit(journal, order("m-1", idempotency_key="k"))
    one = await claim_one(journal)
    assert await admit(journal, order("m-2", idempotency_key="k"), order("m-3", idempotency_key="k")) == [
        "duplicate",
        "duplicate",
    ]
    assert await results(journal) == []
    await settle(journal, done(one))
    answers = {seen.id: seen for seen in await results(journal)}
    assert set(answers) == {"m-1", "m-2", "m-3"}
    assert answers["m-3"].data["duplicate_of"] == "m-1"
    assert len({seen.out.event_id for seen in answers.values()}) == 3


async def test_rule_4_6_a_duplicate_that_comes_again_gets_its_own_event_again(journal: StoredJournal) -> None:
    await admit(journal, order("m-1", idempotency_key="k"))
    await run_next(journal)
    await admit(journal, order("m-2", idempotency_key="k"))
    first = {seen.id: seen.out.event_id for seen in await results(journal)}
    await take_all(journal)
    assert await admit(journal, order("m-2", idempotency_key="k")) == ["repeated"]
    [answer] = await results(journal)
    assert (answer.id, answer.out.event_id) == ("m-2", first["m-2"])


async def test_rule_4_6_duplicates_in_one_batch_run_once(journal: StoredJournal) -> None:
    assert await admit(
        journal,
        order("m-1", idempotency_key="k"),
        order("m-2", idempotency_key="k"),
        order("m-2", idempotency_key="k"),
    ) == ["admitted", "duplicate", "repeated"]
    assert await run_all(journal) == ["m-1"]
    assert {seen.id for seen in await results(journal)} == {"m-1", "m-2"}


async def test_rule_4_6_other_content_under_a_key_that_runs_is_refused(journal: StoredJournal) -> None:
    await admit(journal, order("m-1", idempotency_key="k"))
    other = order("m-2", idempotency_key="k", data={"platform": "sip-br", "kinds": ["incoming"]})
    assert await admit(journal, other) == ["refused"]
    [answer] = await results(journal)
    assert answer.data["error"]["code"] == "idempotency_conflict"
    assert "m-1" in answer.data["error"]["message"]


async def test_rule_4_6_other_content_under_a_spent_key_is_refused(journal: StoredJournal) -> None:
    await admit(journal, order("m-1", idempotency_key="k"))
    await run_next(journal)
    other = order("m-2", idempotency_key="k", data={"platform": "sip-br", "kinds": ["incoming"]})
    assert await admit(journal, other) == ["refused"]


async def test_rule_4_6_a_refused_message_may_come_again_put_right_under_the_same_id(
    journal: StoredJournal,
) -> None:
    await admit(journal, order("m-1", idempotency_key="k"))
    await admit(journal, order("m-2", idempotency_key="k", data={"kinds": ["incoming"]}))
    assert await admit(journal, order("m-2", BOB, idempotency_key="k-2")) == ["admitted"]


@pytest.mark.parametrize("same", [True, False], ids=["same", "corrected"])
async def test_rule_4_6_a_key_is_not_spent_by_an_order_without_effect(
    journal: StoredJournal, same: bool
) -> None:
    await admit(journal, order("m-1", idempotency_key="k"))
    await settle(journal, refused(await claim_one(journal)))
    data = None if same else {"platform": "sip-br", "kinds": ["incoming"]}
    assert await admit(journal, order("m-2", idempotency_key="k", data=data)) == ["admitted"]
    assert await run_all(journal) == ["m-2"]


async def test_rule_4_6_the_newest_holder_of_a_key_is_the_one_that_counts(journal: StoredJournal) -> None:
    await admit(journal, order("m-1", idempotency_key="k"))
    await settle(journal, refused(await claim_one(journal)))
    await admit(journal, order("m-2", idempotency_key="k"))
    await run_next(journal)
    await take_all(journal)
    assert await admit(journal, order("m-3", idempotency_key="k")) == ["duplicate"]
    [answer] = await results(journal)
    assert answer.data["duplicate_of"] == "m-2"


async def test_rule_4_6_a_duplicate_is_told_of_a_refusal_too_and_the_key_is_free_then(
    journal: StoredJournal,
) -> None:
    await admit(journal, order("m-1", idempotency_key="k"), order("m-2", idempotency_key="k"))
    await settle(journal, refused(await claim_one(journal)))
    assert {seen.id: seen.what for seen in await results(journal)} == {"m-1": "rejected", "m-2": "rejected"}
    assert await admit(journal, order("m-3", idempotency_key="k")) == ["admitted"]


async def test_rule_4_6_a_spent_key_of_one_source_is_free_for_another(journal: StoredJournal) -> None:
    await admit(journal, order("m-1", idempotency_key="k"))
    assert await admit(journal, order("m-1", BOB, idempotency_key="k", source="/shop")) == ["admitted"]


async def test_rule_4_7_a_message_older_than_the_memory_of_the_journal_is_refused(place: Place) -> None:
    journal = await place.open(dedup_window=1000.0)
    now = await journal.now()
    arrivals = [order("m-old", time=now - 1001), order("m-1", BOB, time=now - 990), order("m-2")]
    assert await journal.admit(arrivals) == ["refused", "admitted", "admitted"]
    [answer] = await results(journal)
    assert (answer.data["error"]["code"], answer.data["error"]["field"]) == ("too_old", "time")


async def test_rule_4_7_an_old_message_that_is_known_is_only_repeated(place: Place) -> None:
    journal = await place.open(dedup_window=1000.0)
    now = await journal.now()
    old = order("m-1", time=now - 990)
    await journal.admit([old])
    late = order("m-1", time=now - 1001)
    assert await journal.admit([late]) == ["repeated"]


async def test_rule_4_7_identities_outlive_commands(place: Place) -> None:
    journal = await place.open(retention=100.0)
    await admit(journal, order("m-1", idempotency_key="k"), order("m-2", BOB))
    await run_next(journal)
    await take_all(journal)
    await earlier(journal, "commands", 101, "finished_at")
    assert (await journal.purge())["commands"] == 2
    assert await states(journal) == {}
    assert await admit(journal, order("m-1", idempotency_key="k")) == ["repeated"]
    assert await admit(journal, order("m-3", idempotency_key="k")) == ["duplicate"]
    other = order("m-2", BOB, data={"kinds": []})
    assert await admit(journal, other) == ["refused"]
    answers = {seen.id: seen for seen in await results(journal)}
    assert answers["m-3"].data["duplicate_of"] == "m-1"
    assert answers["m-3"].data["output"] == {"kinds": ["outgoing"]}
    assert answers["m-1"].what == "succeeded"


async def test_rule_4_7_an_identity_goes_after_the_dedup_window_but_never_before_its_end(
    place: Place,
) -> None:
    journal = await place.open(dedup_window=1000.0)
    await admit(journal, order("m-1"), order("m-2", BOB))
    [one] = [c for c in await claim(journal) if c.message_id == "m-1"]
    await settle(journal, done(one))
    await earlier(journal, "identities", 1001, "created_at")
    assert (await journal.purge())["identities"] == 1
    assert [row["message_id"] for row in await select(journal, "SELECT message_id FROM identities")] == [
        "m-2"
    ]


async def test_rule_4_7_by_a_clock_that_is_ahead_no_message_comes_in_twice(place: Place) -> None:
    journal = await place.open(dedup_window=0.0, retention=0.0)
    ahead = order("m-1", time=await journal.now() + 3600)
    await admit(journal, ahead)
    await run_next(journal)
    await take_all(journal)
    await journal.purge()
    assert await journal.admit([ahead]) == ["repeated"]


async def test_rule_4_7_purge_keeps_what_is_not_old_and_what_was_not_published(place: Place) -> None:
    journal = await place.open(retention=100.0, events_retention=100.0)
    await admit(journal, order("m-1"), bad("m-x"))
    await run_next(journal)
    done_ = await journal.purge()
    assert not any(done_.values())
    await earlier(journal, "commands", 101, "finished_at")
    await earlier(journal, "outbox", 101, "created_at")
    gone = await journal.purge()
    assert (gone["commands"], gone["lanes"], gone["events"], gone["audit"]) == (1, 1, 0, 0)
    assert len(await results(journal)) == 2


async def test_rule_4_7_a_line_that_waits_is_never_purged(place: Place) -> None:
    journal = await place.open(retention=100.0)
    await admit(journal, order("m-1"))
    await run_next(journal)
    await admit(journal, order("m-2", not_before=await journal.now() + 1000))
    await earlier(journal, "commands", 101, "finished_at")
    gone = await journal.purge()
    assert (gone["commands"], gone["lanes"]) == (1, 0)
    await change(journal, "UPDATE commands SET not_before = 1")
    await journal.sweep()
    assert await run_all(journal) == ["m-2"]


async def test_rule_4_4_two_intakes_at_once_admit_a_message_once(place: Place) -> None:
    one, other = await place.open(), await place.open()
    batch = [order(f"m-{n}", f"key-{n % 7}") for n in range(40)]
    answers = await asyncio.gather(one.admit(batch), other.admit(batch[::-1]))
    assert sorted(answers[0] + answers[1]) == ["admitted"] * 40 + ["repeated"] * 40
    assert len(await run_all(one)) == 40


async def test_rule_4_4_an_inquiry_and_a_command_share_the_ids_of_a_source(journal: StoredJournal) -> None:
    await admit(journal, order("m-1"))
    assert await admit(journal, inquiry("get", "m-1", target_id="m-1")) == ["refused"]
    [answer] = await results(journal)
    assert answer.data["error"]["code"] == "id_conflict"


async def test_rule_6_5_an_admitted_command_leaves_one_record_and_its_end_another(
    journal: StoredJournal,
) -> None:
    await admit(journal, order("m-1"))
    await settle(journal, again(await claim_one(journal)))
    await make_due(journal)
    await run_next(journal)
    kept = await records(journal)
    assert [record["what"] for record in kept] == ["admitted", "ended"]
    assert kept[1]["command"]["id"] == "m-1"
    assert kept[1]["command"]["source"] == CRM
    assert kept[1]["command"]["partitionkey"] == ALICE
    assert kept[1]["details"]["attempts"] == 2
    assert kept[1]["details"]["status"] == "succeeded"
