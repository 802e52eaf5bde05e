"""Rules 1, 4.2 and 7.1: what people stop begins nothing, its line waits, and what had begun is cleared up."""

from __future__ import annotations

import pytest

from tests.conformance.support import (
    BOB,
    PLATFORM,
    admit,
    again,
    claim,
    claim_one,
    close_window,
    done,
    earlier,
    lost,
    make_due,
    order,
    records,
    results,
    select,
    settle,
    states,
)
from worker.domain.lifecycle import State
from worker.journal.journal import StoredJournal
from worker.journal.port import Scope

BLOCK = "calls.block.v1"
STOPS: list[tuple[Scope, str]] = [("command", BLOCK), ("source", "/crm"), ("batch", "b-1")]


async def let_go(journal: StoredJournal) -> None:
    while await journal.sweep():
        pass


@pytest.mark.parametrize(("scope", "name"), STOPS)
async def test_what_is_paused_is_not_claimed_and_the_others_are(
    journal: StoredJournal, scope: Scope, name: str
) -> None:
    await journal.stop(scope, name, "ana", "they move")
    held = order("held", batch_id="b-1")
    free = order("free", BOB, type="calls.unblock.v1", source="/shop", batch_id="b-2")
    await admit(journal, held, free)
    assert [one.message_id for one in await claim(journal)] == ["free"]
    assert (await states(journal))["held"] == "waiting"
    assert await journal.go_on(scope, name, "ana", "they moved")
    await let_go(journal)
    assert [one.message_id for one in await claim(journal)] == ["held"]


async def test_p4_a_paused_command_at_the_head_of_its_line_makes_the_line_wait(
    journal: StoredJournal,
) -> None:
    await journal.stop("command", BLOCK, "ana", "why")
    await admit(journal, order("first"), order("second", type="calls.unblock.v1"))
    assert await claim(journal) == []
    await admit(journal, order("third", type="calls.unblock.v1", priority=0))
    assert await claim(journal) == []
    await journal.go_on("command", BLOCK, "ana", "over")
    await let_go(journal)
    for name in ("first", "second", "third"):
        one = await claim_one(journal)
        assert one.message_id == name
        await settle(journal, done(one))


async def test_p4_a_paused_command_that_is_cancelled_lets_its_line_go_on(journal: StoredJournal) -> None:
    await journal.stop("command", BLOCK, "ana", "why")
    await admit(journal, order("first"), order("second", type="calls.unblock.v1"))
    assert await claim(journal) == []
    await journal.cancel("first", "ana", "not wanted any more")
    assert (await claim_one(journal)).message_id == "second"
    assert await select(journal, "SELECT id FROM commands WHERE paused_for IS NOT NULL") == []


async def test_a_thousand_paused_ones_do_not_stand_before_one_that_is_not(journal: StoredJournal) -> None:
    await journal.stop("batch", "b-1", "ana", "why")
    await journal.admit([order(f"m-{n}", f"key-{n}", batch_id="b-1") for n in range(1200)])
    await admit(journal, order("free"))
    looks = 0
    while not (taken := await claim(journal, limit=2)):
        looks += 1
    assert [one.message_id for one in taken] == ["free"]
    assert looks <= 3
    await journal.go_on("batch", "b-1", "ana", "over")
    await let_go(journal)
    assert len(await claim(journal, limit=2000)) == 1200


async def test_one_that_two_pauses_hold_waits_for_the_end_of_both(journal: StoredJournal) -> None:
    await journal.stop("command", BLOCK, "ana", "why")
    await journal.stop("source", "/crm", "bea", "why not")
    await admit(journal, order())
    assert await claim(journal) == []
    await journal.go_on("command", BLOCK, "ana", "over")
    await let_go(journal)
    assert await claim(journal) == []
    await journal.go_on("source", "/crm", "bea", "over")
    await let_go(journal)
    assert (await claim_one(journal)).attempts == 1


async def test_what_was_claimed_before_the_pause_is_settled_and_its_lost_answer_is_read(
    journal: StoredJournal,
) -> None:
    await admit(journal, order("doubtful"), order("ended", BOB))
    first, second = sorted(await claim(journal), key=lambda one: one.message_id)
    await journal.stop("command", BLOCK, "ana", "why")
    assert await settle(journal, done(second)) == [True]
    assert await settle(journal, lost(first)) == [True]
    reading = await claim_one(journal)
    assert (reading.message_id, reading.state) == ("doubtful", State.IN_DOUBT)
    await close_window(journal)
    assert await settle(journal, again(reading)) == [True]
    await make_due(journal)
    assert await claim(journal) == [], "it took no effect: called again it would begin anew"


async def test_rule_7_1_time_paused_does_not_count_and_no_attempt_is_spent(journal: StoredJournal) -> None:
    await admit(journal, order())
    await settle(journal, again(await claim_one(journal), failing=True, stopped_before=0.0))
    await earlier(journal, "commands", 100, "failing_since")
    await journal.stop("command", BLOCK, "ana", "why")
    await make_due(journal)
    assert await claim(journal) == []
    await earlier(journal, "commands", 1000, "failing_since", "paused_at")
    await journal.go_on("command", BLOCK, "ana", "over")
    await let_go(journal)
    one = await claim_one(journal)
    assert one.failing_since is not None
    assert one.now - one.failing_since + one.stopped_before == pytest.approx(100, abs=20)
    assert one.attempts == 2


async def test_rule_7_1_a_stop_of_the_platform_during_a_pause_is_not_counted_twice(
    journal: StoredJournal,
) -> None:
    await admit(journal, order())
    await settle(journal, again(await claim_one(journal), failing=True, stopped_before=0.0))
    await journal.stop("command", BLOCK, "ana", "why")
    await make_due(journal)
    assert await claim(journal) == []
    await journal.pause(PLATFORM, "ana", "why")
    await earlier(journal, "commands", 1000, "failing_since", "paused_at")
    await earlier(journal, "platforms", 400, "stopped_since")
    await journal.resume(PLATFORM, "ana", "over")
    await journal.go_on("command", BLOCK, "ana", "over")
    await let_go(journal)
    one = await claim_one(journal)
    [state] = await journal.platforms()
    assert one.failing_since is not None
    failing = one.now - one.failing_since - (state.stopped_total - one.stopped_before)
    assert failing == pytest.approx(0, abs=20)


async def test_rule_1_a_paused_command_expires_in_its_time(journal: StoredJournal) -> None:
    await admit(journal, order(expires_at=await journal.now() + 0.3))
    await journal.stop("command", BLOCK, "ana", "why")
    assert await claim(journal) == []
    while (await states(journal))["m-1"] == "waiting":
        await journal.sweep()
    assert await states(journal) == {"m-1": "expired"}


async def test_delayed_names_the_pause(journal: StoredJournal) -> None:
    await journal.stop("source", "/crm", "ana", "they send too much")
    await admit(journal, order())
    await claim(journal)
    await earlier(journal, "commands", 3600, "notify_at")
    await journal.sweep()
    [told] = await results(journal, "delayed")
    assert told.data["reason"] == "what /crm sends is paused by ana: they send too much"


async def test_everything_stops_every_platform_and_is_counted_as_its_stop(journal: StoredJournal) -> None:
    await admit(journal, order())
    await journal.heartbeat("w-1", ["one", "two"])
    await journal.stop("everything", "", "ana", "the database moves")
    during = await journal.heartbeat("w-1", ["one", "two"])
    assert all(state.stopped and state.halted and state.halted.by == "ana" for state in during.values())
    await earlier(journal, "commands", 3600, "notify_at")
    await admit(journal, order("later", BOB))
    await earlier(journal, "platforms", 50, "stopped_since")
    await journal.pause("one", "bea", "hers too")
    await journal.go_on("everything", "", "ana", "it moved")
    after = await journal.heartbeat("w-1", ["one", "two"])
    assert (after["one"].stopped, after["two"].stopped) == (True, False)
    assert [after[name].stopped_total for name in ("one", "two")] == pytest.approx([50, 50], abs=20)
    await journal.resume("one", "bea", "over")
    assert not (await journal.heartbeat("w-1", ["one"]))["one"].stopped


async def test_rule_8_3_each_stop_has_its_record_and_the_last_who_paused_stands_in_it(
    journal: StoredJournal,
) -> None:
    assert await journal.stop("command", BLOCK, "ana", "why") is None
    before = await journal.stop("command", BLOCK, "bea", "because")
    assert before is not None
    assert (before.by, before.reason) == ("ana", "why")
    assert [(one.by, one.reason) for one in await journal.pauses()] == [("bea", "because")]
    assert await journal.go_on("command", BLOCK, "bea", "over")
    assert not await journal.go_on("command", BLOCK, "bea", "over")
    told = [(one["what"], one["actor"], one["details"].get("scope")) for one in await records(journal)]
    assert told == [
        ("paused", "ana", "command"),
        ("paused", "bea", "command"),
        ("resumed", "bea", "command"),
    ]


async def test_rule_7_3_a_lowered_rate_is_known_to_all_until_it_is_restored(journal: StoredJournal) -> None:
    await journal.lower(PLATFORM, 2.5, "ana", "it is slow")
    state = (await journal.heartbeat("w-1", [PLATFORM]))[PLATFORM]
    assert (state.lowered_rate, state.lowered_by, state.lowered_reason) == (2.5, "ana", "it is slow")
    assert not state.stopped
    await journal.pause(PLATFORM, "ana", "why")
    await journal.resume(PLATFORM, "ana", "over")
    assert [one.lowered_rate for one in await journal.platforms()] == [2.5]
    assert await journal.restore(PLATFORM, "bea", "it is well")
    assert not await journal.restore(PLATFORM, "bea", "it is well")
    assert [one.lowered_rate for one in await journal.platforms()] == [None]
    told = [(one["what"], one["details"]) for one in await records(journal) if one["what"].startswith("rate")]
    assert told == [("rate_lowered", {"rate": 2.5}), ("rate_restored", {"was": 2.5})]
