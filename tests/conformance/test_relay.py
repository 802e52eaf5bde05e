"""Rule 6.4: events leave in order, are struck off one by one, and stay when nobody listens."""

from __future__ import annotations

import asyncio
import json

from tests.conformance.support import (
    BOB,
    Place,
    admit,
    change,
    earlier,
    eventually,
    has,
    inquiry,
    order,
    records,
    results,
    run_all,
    run_next,
    select,
    take_all,
    waiting_events,
)
from worker.journal.journal import StoredJournal


async def test_rule_6_4_events_leave_in_the_order_of_their_making(journal: StoredJournal) -> None:
    await journal.admit([order(f"m-{n}") for n in range(10)])
    ran = await run_all(journal)
    assert [seen.id for seen in await results(journal)] == ran


async def test_rule_6_4_strike_off_is_row_by_row(journal: StoredJournal) -> None:
    await journal.admit([order(f"m-{n}", f"key-{n}") for n in range(4)])
    await run_all(journal)
    rows = await journal.unpublished(10)
    await journal.published([(rows[1], True), (rows[3], False)])
    assert await journal.unpublished(10) == [rows[0], rows[2]]
    assert await journal.unpublished(1) == [rows[0]]


async def test_rule_6_4_an_event_published_twice_carries_the_same_id(journal: StoredJournal) -> None:
    await admit(journal, order())
    await run_next(journal)
    first, second = await journal.unpublished(10), await journal.unpublished(10)
    assert first == second


async def test_rule_6_4_with_nobody_bound_it_counts_as_published_and_is_told(
    journal: StoredJournal,
) -> None:
    await journal.admit([order(f"m-{n}", f"key-{n}") for n in range(3)])
    await run_all(journal)
    await take_all(journal, taken=False)
    assert await journal.unpublished(10) == []
    health = await journal.health()
    assert health.nobody_listens == {"provisioning.results": 3, "provisioning.audit": 6}
    await admit(journal, order("m-9", BOB))
    await run_next(journal)
    await take_all(journal, taken=True)
    assert (await journal.health()).nobody_listens == {}


async def test_rule_6_4_the_count_begins_anew_after_the_last_one_that_was_taken(
    journal: StoredJournal,
) -> None:
    await journal.admit([order(f"m-{n}", f"key-{n}") for n in range(5)])
    await run_all(journal)
    rows = await journal.unpublished(10)
    await journal.published([(row, n == 2) for n, row in enumerate(rows)])
    assert (await journal.health()).nobody_listens == {"provisioning.results": 2}


async def test_rule_6_4_a_reply_queue_that_is_gone_says_nothing_about_the_exchange(
    journal: StoredJournal,
) -> None:
    await admit(journal, order(reply_to="gone"))
    await run_next(journal)
    rows = await journal.unpublished(10)
    await journal.published([(row, row.exchange != "") for row in rows])
    assert (await journal.health()).nobody_listens == {}


async def test_rule_6_4_republish_sends_what_nobody_took_under_the_same_ids(
    journal: StoredJournal,
) -> None:
    await admit(journal, order("m-1"), order("m-2", BOB, reply_to="gone"))
    await run_all(journal)
    first = {seen.out.event_id: seen.out.body for seen in await take_all(journal, taken=False)}
    assert await journal.republish(0.0, True, "ann", "a consumer is bound now") == 2 + 4
    again_ = {seen.out.event_id: seen.out.body for seen in await take_all(journal)}
    assert {id: body for id, body in again_.items() if id in first} == first
    assert (await journal.health()).nobody_listens == {}
    last = (await records(journal))[-1]
    assert (last["what"], last["actor"], last["details"]["events"]) == ("republished", "ann", 6)
    assert await journal.republish(0.0, True, "ann", "once more") == 0


async def test_p8_audit_events_sent_again_out_of_their_row_keep_their_exact_bytes(
    journal: StoredJournal,
) -> None:
    await admit(journal, order("m-1"), order("m-2", BOB))
    await run_all(journal)
    await journal.seal(100)
    rows = await journal.unpublished(100)
    first = {out.event_id: out.body for out in rows}
    await journal.published([(out, n % 2 == 0) for n, out in enumerate(rows)])  # every second one nobody took
    await journal.republish(0.0, True, "ann", "a consumer is bound now")
    again_ = await journal.unpublished(100)
    assert {out.event_id for out in again_} == {out.event_id for n, out in enumerate(rows) if n % 2}
    assert all(first[out.event_id] == out.body for out in again_)


async def test_rule_6_4_republish_can_send_everything_since(journal: StoredJournal) -> None:
    await admit(journal, order("m-1"))
    await run_next(journal)
    await take_all(journal)
    await earlier(journal, "outbox", 1000, "created_at")
    await earlier(journal, "audit", 1000, "at")
    await admit(journal, order("m-2", BOB))
    await run_next(journal)
    await take_all(journal)
    since = await journal.now() - 500
    assert await journal.republish(since, False, "ann", "lost a disk") == 1 + 2
    assert {seen.id for seen in await results(journal)} == {"m-2"}


async def test_rule_6_4_events_are_kept_for_their_retention_after_publishing(place: Place) -> None:
    journal = await place.open(events_retention=100.0)
    await admit(journal, order("m-1"))
    await run_next(journal)
    await take_all(journal)
    assert (await journal.purge())["events"] == 0
    await earlier(journal, "outbox", 101, "published_at")
    assert (await journal.purge())["events"] == 1


async def test_rule_6_4_one_relay_is_active_and_another_takes_over_after_its_lease(
    place: Place,
) -> None:
    one, other = await place.open(), await place.open()
    assert await one.keep("relay", "w-1", 60.0)
    assert await one.keep("relay", "w-1", 60.0)
    assert not await other.keep("relay", "w-2", 60.0)
    assert await other.keep("control/sip-br", "w-2", 60.0)
    await change(one, "UPDATE leases SET until = 1 WHERE role = 'relay'")
    assert await other.keep("relay", "w-2", 60.0)
    assert not await one.keep("relay", "w-1", 60.0)


async def test_rule_6_4_a_clean_stop_hands_the_role_on_at_once(place: Place) -> None:
    one, other = await place.open(), await place.open()
    await one.keep("relay", "w-1", 60.0)
    await other.keep("sealer", "w-2", 60.0)
    await one.let_go("w-1")
    assert await other.keep("relay", "w-2", 60.0)
    assert not await one.keep("sealer", "w-1", 60.0)


async def test_rule_6_4_two_that_ask_for_a_role_at_once_are_not_both_given_it(place: Place) -> None:
    journals = [await place.open() for _ in range(4)]
    given = await asyncio.gather(*(j.keep("relay", f"w-{n}", 60.0) for n, j in enumerate(journals)))
    assert sum(given) == 1


async def test_rule_6_4_one_event_that_cannot_be_opened_does_not_stop_the_others(place: Place) -> None:
    journal = await place.open()
    await admit(journal, order("m-1"), order("m-2", BOB))
    await run_all(journal)
    rows = await journal.unpublished(10)
    await change(journal, "UPDATE outbox SET body_sealed = 'gAAAAAB=' WHERE id = $1", rows[0].row)
    assert await journal.unpublished(10) == rows[1:]
    assert (await journal.health()).unpublished == 2


async def test_wakes_tell_whoever_has_work(journal: StoredJournal) -> None:
    heard: list[str] = []
    journal.listen(heard.append)
    await asyncio.sleep(0)
    await _heard(journal, heard, "sip-br", order("m-1"))
    await run_next(journal)
    assert [json.loads(s.out.body)["type"] for s in await waiting_events(journal)]
    await admit(journal, order("m-2", not_before=9e9), inquiry("get", "q-1", target_id="m-1"))
    await eventually(lambda: has(heard, "sweep"))
    await eventually(lambda: has(heard, "relay"))


async def _heard(journal: StoredJournal, heard: list[str], what: str, arrival: object) -> None:
    """The listener may still be connecting when the first commit comes."""
    for n in range(200):
        await admit(journal, order(f"w-{n}", f"key-{n}"))
        await asyncio.sleep(0.05)
        if what in heard:
            return
    raise AssertionError(heard)


async def test_rule_6_4_the_index_of_events_is_never_reused(journal: StoredJournal) -> None:
    await admit(journal, order("m-1"))
    await run_next(journal)
    before = await select(journal, "SELECT id, event_id FROM outbox")
    await take_all(journal)
    await admit(journal, order("m-1"))
    after = await select(journal, "SELECT id, event_id FROM outbox ORDER BY id")
    assert after[0] == before[0]
    assert after[1]["event_id"] == before[0]["event_id"]
