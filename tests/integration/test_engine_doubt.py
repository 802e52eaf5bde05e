"""Rules 3: an answer was lost. What is read, what waits, what is done again, and what a person decides."""

from __future__ import annotations

import time
from typing import Any

from tests.support.engine import DOMAIN, NEW_SUBSCRIBER, Stand, any_journal, eventually, stand, templates

__all__ = ["stand", "templates"]

LOST = {"kind": "drop_after", "how": "close"}


def blocked(stand: Stand, user: str) -> bool:
    found = stand.sim.subscriber(user, DOMAIN)
    assert found is not None
    return not found.dto["activeOutgoingCalls"]


async def test_rule_3_1_a_block_that_lands_late_does_not_cut_off_who_was_unblocked_after_it(
    stand: Stand,
) -> None:
    stand.seed("ana")
    stand.sim.fail("blockOutgoingCalls", "late", seconds=0.9, count=1)
    block = await stand.send("calls.block", "ana")
    unblock = await stand.send("calls.unblock", "ana")
    await stand.start(settle=1.2)

    assert (await stand.ended(unblock))["state"] == "succeeded"
    assert (await stand.ended(block))["state"] == "succeeded"
    await eventually(lambda: stand.sim.pending() == 0)
    assert not blocked(stand, "ana")
    applied = [entry.operation for entry in stand.sim.platform.ledger.entries]
    assert applied[-1] == "activateOutgoingCalls"


async def test_rule_3_1_a_remove_that_lands_late_does_not_remove_who_was_created_after_it(
    stand: Stand,
) -> None:
    stand.seed("ana", firstName="Old")
    stand.sim.fail("removeSubscriber", "late", seconds=0.9, count=1)
    remove = await stand.send("subscriber.remove", "ana")
    create = await stand.send("subscriber.create", "ana", **NEW_SUBSCRIBER, first_name="New")
    await stand.start(settle=1.2)

    assert (await stand.ended(create))["state"] == "succeeded"
    assert (await stand.ended(remove))["state"] == "succeeded"
    await eventually(lambda: stand.sim.pending() == 0)
    lives = stand.sim.subscriber("ana", DOMAIN)
    assert lives is not None
    assert lives.dto["firstName"] == "New"


async def test_rule_3_1_nothing_but_reads_goes_out_for_the_subscriber_during_the_window(stand: Stand) -> None:
    stand.seed("ana", "bob")
    stand.sim.fail("blockOutgoingCalls", "drop_before", username="ana", count=1)
    first = await stand.send("calls.block", "ana")
    await stand.start(settle=1.5)
    await stand.became(first, "in_doubt")
    lost = stand.watched.asked("blockOutgoingCalls", user="ana")[0].at
    second = await stand.send("calls.unblock", "ana")
    other = await stand.send("calls.block", "bob")

    assert (await stand.ended(other))["state"] == "succeeded"
    assert (await stand.row(first))["state"] == "in_doubt", "bob need not wait for ana"
    await stand.ended(second)
    writes = [
        s
        for s in stand.watched.asked("blockOutgoingCalls", "activateOutgoingCalls", user="ana")
        if s.at > lost
    ]
    assert writes[0].at - lost >= 1.5
    assert [s.operation for s in writes] == ["blockOutgoingCalls", "activateOutgoingCalls"]


async def test_rule_3_2_a_platform_frozen_for_longer_than_settle_applies_our_queued_request_once(
    stand: Stand,
) -> None:
    stand.seed("ana")
    await stand.start(settle=0.8)
    stand.sim.fail("addCredit", "freeze", seconds=3.0, count=1)
    credit = await stand.send("credit.add", "ana", amount="10.00")

    await stand.became(credit, "in_doubt")
    assert stand.sim.freezer.freezes, "it stands still for longer than the window"
    assert (await stand.ended(credit))["state"] == "succeeded"
    assert stand.credited(credit) == 1
    await eventually(lambda: stand.sim.pending() == 0)
    assert stand.credited(credit) == 1


async def test_rule_3_2_a_window_does_not_end_while_the_platform_does_not_answer(stand: Stand) -> None:
    stand.seed("ana")
    await stand.start(settle=0.5)
    stand.sim.fail("blockSubscriber", "drop_before", count=1)
    stand.sim.fail("listDomains", "drop_before")
    block = await stand.send("subscriber.block", "ana")
    await stand.became(block, "in_doubt")
    begun = time.monotonic()
    await eventually(lambda: time.monotonic() - begun > 1.5 and len(stand.watched.asked("listDomains")) > 5)
    assert (await stand.row(block))["state"] == "in_doubt"
    assert stand.watched.writes("ana") == ["blockSubscriber"]

    stand.sim.heal()
    assert (await stand.ended(block))["state"] == "succeeded"
    assert stand.watched.writes("ana") == ["blockSubscriber", "blockSubscriber"]


@any_journal
async def test_rule_3_2_control_reads_stop_when_no_window_is_open(stand: Stand) -> None:
    stand.seed("ana")
    await stand.start(settle=0.5)
    stand.sim.fail("blockSubscriber", "drop_before", count=1)
    block = await stand.send("subscriber.block", "ana")
    await stand.ended(block)
    reads = len(stand.watched.asked("listDomains"))
    assert reads >= 5
    another = await stand.send("credit.get", "ana")
    await stand.ended(another)
    begun = time.monotonic()
    await eventually(lambda: time.monotonic() - begun > 1.0)
    assert len(stand.watched.asked("listDomains")) <= reads + 1


async def test_rule_3_2_one_series_of_control_reads_serves_all_open_windows(stand: Stand) -> None:
    users = [f"u{n}" for n in range(20)]
    stand.seed(*users)
    stand.sim.fail("blockSubscriber", "drop_before", count=20)
    await stand.admit(*(stand.order("subscriber.block", user) for user in users))
    await stand.start(settle=1.0)
    assert await stand.all_ended() == {("succeeded", "applied"): 20}
    spent = stand.watched.seen[-1].at - stand.watched.seen[0].at
    # A tenth of `settle` between two of them, however many windows there are.
    assert len(stand.watched.asked("listDomains")) <= spent / 0.1 + 5


async def test_rule_3_2_the_first_control_read_follows_the_lost_answer_at_once(stand: Stand) -> None:
    stand.seed("ana")
    await stand.start(settle=20.0)
    stand.sim.fail("blockOutgoingCalls", "drop_before", count=1)
    await stand.send("calls.block", "ana")
    [read] = await eventually(lambda: stand.watched.asked("listDomains")[:1])
    assert read.at - stand.watched.asked("blockOutgoingCalls")[0].at < 1.0, "a tenth of `settle` would be 2 s"


async def test_rule_3_3_a_positive_reading_ends_the_command_but_the_next_of_the_key_waits(
    stand: Stand,
) -> None:
    stand.seed("ana")
    stand.sim.fail("blockOutgoingCalls", "drop_after", count=1)
    block = await stand.send("calls.block", "ana")
    await stand.start(settle=2.0)
    await stand.ended(block)
    ended = time.monotonic()
    lost = stand.watched.asked("blockOutgoingCalls")[0].at
    unblock = await stand.send("calls.unblock", "ana")
    assert (await stand.ended(unblock))["state"] == "succeeded"
    assert ended - lost < 2.0, "its result did not wait for the window's end"
    assert stand.watched.asked("activateOutgoingCalls")[0].at - lost >= 2.0
    assert (await stand.shown(block))["attempts"] == 1


@any_journal
async def test_rule_3_table_a_read_whose_answer_is_lost_is_called_again_without_a_window(
    stand: Stand,
) -> None:
    stand.seed("ana")
    stand.sim.fail("retrieveCredit", "drop_after", count=2)
    await stand.start(settle=30.0)
    read = await stand.send("credit.get", "ana")
    assert (await stand.ended(read))["state"] == "succeeded"
    assert (await stand.result(read))["output"] == {"balance": "100.00"}
    assert len(stand.watched.asked("retrieveCredit")) == 3


async def test_rule_3_table_a_set_that_no_read_shows_is_called_again_after_the_window(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("blockSubscriber", "drop_after", count=1)
    await stand.start(settle=0.8)
    block = await stand.send("subscriber.block", "ana")
    assert (await stand.ended(block))["state"] == "succeeded"
    first, second = stand.watched.asked("blockSubscriber")
    assert second.at - first.at >= 0.8


async def test_rule_3_table_a_set_that_did_not_take_is_called_again_after_the_window(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("blockOutgoingCalls", "drop_before", count=1)
    await stand.start(settle=0.8)
    block = await stand.send("calls.block", "ana")
    assert (await stand.ended(block))["state"] == "succeeded"
    first, second = stand.watched.asked("blockOutgoingCalls")
    assert second.at - first.at >= 0.8
    assert blocked(stand, "ana")


@any_journal
async def test_rule_3_table_a_set_for_somebody_who_is_gone_is_asked_again_and_rejected(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("blockOutgoingCalls", "drop_before", count=1)
    await stand.start(settle=0.8)
    block = await stand.send("calls.block", "ana")
    await stand.became(block, "in_doubt")
    there = stand.sim.subscriber("ana", DOMAIN)
    assert there is not None
    stand.sim.platform.drop(there)
    row = await stand.ended(block)
    assert (row["state"], row["problem"]["code"]) == ("rejected", "not_found")


async def test_rule_3_table_a_removal_that_took_effect_is_done_once_the_subscriber_is_absent(
    stand: Stand,
) -> None:
    stand.seed("ana")
    stand.sim.fail("removeSubscriber", "drop_after", count=1)
    await stand.start()
    remove = await stand.send("subscriber.remove", "ana")
    row = await stand.ended(remove)
    assert (row["state"], row["effect"]) == ("succeeded", "applied")
    assert stand.watched.writes("ana") == ["removeSubscriber"]


async def test_rule_3_table_a_removal_that_did_not_take_is_called_again_after_the_window(
    stand: Stand,
) -> None:
    stand.seed("ana")
    stand.sim.fail("removeSubscriber", "drop_before", count=1)
    await stand.start(settle=0.8)
    remove = await stand.send("subscriber.remove", "ana")
    assert (await stand.ended(remove))["state"] == "succeeded"
    first, second = stand.watched.asked("removeSubscriber")
    assert second.at - first.at >= 0.8
    assert stand.sim.subscriber("ana", DOMAIN) is None


async def test_rule_3_table_a_creation_that_is_found_is_adopted_with_its_id_and_what_was_filled_in(
    stand: Stand,
) -> None:
    stand.sim.fail("insertSubscriber", "drop_after", count=1)
    await stand.start()
    create = await stand.send("subscriber.create", "551133330001", **NEW_SUBSCRIBER)
    assert (await stand.ended(create))["state"] == "succeeded"
    made = stand.sim.subscriber("551133330001", DOMAIN)
    assert made is not None
    output = (await stand.result(create))["output"]
    assert output["platform_id"] == str(made.dto["id"])
    assert output["adopted"] is False
    assert output["differences"], "the platform filled in city code and local area"
    assert stand.sim.platform.records(made.key) == 1
    assert stand.watched.writes("551133330001") == ["insertSubscriber"]


async def test_rule_3_table_a_creation_that_lands_late_is_made_once(stand: Stand) -> None:
    stand.sim.fail("insertSubscriber", "late", seconds=0.8, count=1)
    await stand.start(settle=1.2)
    create = await stand.send("subscriber.create", "ana", **NEW_SUBSCRIBER)
    assert (await stand.ended(create))["state"] == "succeeded"
    assert stand.watched.writes("ana") == ["insertSubscriber"]
    assert stand.sim.platform.records(("ana", DOMAIN)) == 1


async def test_rule_3_table_a_creation_that_is_absent_at_the_windows_end_is_called_again(
    stand: Stand,
) -> None:
    stand.sim.fail("insertSubscriber", "drop_before", count=1)
    await stand.start(settle=0.8)
    create = await stand.send("subscriber.create", "ana", **NEW_SUBSCRIBER)
    assert (await stand.ended(create))["state"] == "succeeded"
    first, second = stand.watched.asked("insertSubscriber")
    assert second.at - first.at >= 0.8
    assert stand.sim.platform.records(("ana", DOMAIN)) == 1


async def test_rule_3_table_somebody_elses_object_that_appeared_meanwhile_is_left_to_a_person(
    stand: Stand,
) -> None:
    stand.sim.fail("insertSubscriber", "drop_before", count=1)
    await stand.start(settle=0.8)
    create = await stand.send("subscriber.create", "ana", **NEW_SUBSCRIBER)
    await stand.became(create, "in_doubt")
    stand.seed("ana", emailAddress="somebody@else.example")
    row = await stand.became(create, "parked")
    assert (row["effect"], row["problem"]["code"]) == ("unknown", "effect_unknown")
    assert "email" in row["problem"]["message"]
    assert stand.watched.writes("ana") == ["insertSubscriber"]


@any_journal
async def test_rule_3_table_what_was_there_before_is_rejected_adopted_or_differs(stand: Stand) -> None:
    wire: dict[str, Any] = {
        "profile": "default",
        "ratePlanId": 3,
        "emailAddress": "ana@example.com",
        "countryCode": "55",
    }
    wire |= {"areaCode": "11", "callLimit": 2, "password": "another", "passwordPortal": "another"}
    stand.seed("same", **wire)
    stand.seed("other", **{**wire, "emailAddress": "bob@example.com"})
    await stand.start(timeout=5.0)
    rejected = await stand.send("subscriber.create", "same", **NEW_SUBSCRIBER)
    adopted = await stand.send("subscriber.create", "same", **NEW_SUBSCRIBER, if_exists="adopt")
    differs = await stand.send("subscriber.create", "other", **NEW_SUBSCRIBER, if_exists="adopt")

    row = await stand.ended(rejected)
    assert (row["state"], row["effect"], row["problem"]["code"]) == ("rejected", "none", "already_exists")
    row = await stand.ended(adopted)
    assert (row["state"], row["effect"]) == ("succeeded", "none")
    output = (await stand.result(adopted))["output"]
    there = stand.sim.subscriber("same", DOMAIN)
    assert there is not None
    assert (output["adopted"], output["platform_id"]) == (True, str(there.dto["id"]))
    row = await stand.ended(differs)
    assert (row["state"], row["problem"]["code"]) == ("rejected", "exists_different")
    assert "email" in row["problem"]["message"]
    assert stand.watched.writes("same") == stand.watched.writes("other") == []


@any_journal
async def test_rule_3_table_if_exists_update_writes_the_ordered_fields_over_what_is_there(
    stand: Stand,
) -> None:
    stand.seed(
        "ana", emailAddress="old@example.com", password="kept-as-ordered", passwordPortal="x", firstName="Ana"
    )
    await stand.start(timeout=5.0)
    create = await stand.send("subscriber.create", "ana", **NEW_SUBSCRIBER, if_exists="update")
    row = await stand.ended(create)
    assert (row["state"], row["effect"]) == ("succeeded", "applied")
    there = stand.sim.subscriber("ana", DOMAIN)
    assert there is not None
    assert (there.dto["emailAddress"], there.dto["firstName"]) == ("ana@example.com", "Ana")
    steps = [step["name"] for step in (await stand.result(create))["steps"]]
    assert steps == ["insertSubscriber", "updateSubscriber"]


@any_journal
async def test_rule_3_table_a_step_for_what_exists_falls_away_where_the_object_was_made(stand: Stand) -> None:
    await stand.start(timeout=5.0, reload_after=["subscriber.create"])
    create = await stand.send(
        "subscriber.create", "ana", **NEW_SUBSCRIBER, if_exists="update", cps=3, keep_alive=1
    )
    row = await stand.ended(create)
    assert (row["state"], row["effect"]) == ("succeeded", "applied")
    assert stand.watched.writes("ana") == ["insertSubscriber", "updateSubscriberServices", "reloadSubscriber"]


async def test_rule_3_4_after_retry_for_in_doubt_a_person_decides(stand: Stand) -> None:
    stand.seed("ana")
    await stand.start(settle=0.5, retry_for=1.5)
    stand.sim.fail("addCredit", "drop_after", count=1)
    credit = await stand.send("credit.add", "ana", amount="5.00")
    await stand.became(credit, "in_doubt")
    stand.sim.fail("retrieveCredit", "undeclared")
    row = await stand.became(credit, "parked")
    assert (row["effect"], row["problem"]["code"]) == ("unknown", "effect_unknown")
    assert "too long" in row["problem"]["message"]


async def test_readings_do_not_go_out_while_the_platform_is_held_or_paused(stand: Stand) -> None:
    stand.seed("ana")
    await stand.start(settle=30.0, retry_most=0.2)
    stand.sim.fail("addCredit", "drop_before", count=1)
    credit = await stand.send("credit.add", "ana", amount="5.00")
    await stand.became(credit, "in_doubt")
    await stand.journal.pause("sip-br", "op", "maintenance")
    await eventually(lambda: stand.engine.lines["sip-br"].state.stopped)
    await eventually(lambda: stand.engine.running["sip-br"] == 0)
    reads = len(stand.watched.asked("retrieveCredit"))
    begun = time.monotonic()
    await eventually(lambda: time.monotonic() - begun > 1.0)
    assert len(stand.watched.asked("retrieveCredit")) == reads
    await stand.journal.resume("sip-br", "op", "over")
    await eventually(lambda: len(stand.watched.asked("retrieveCredit")) > reads)


async def test_a_login_that_fails_while_in_doubt_holds_the_platform(stand: Stand) -> None:
    """Reading on with a wrong password would lock the account out."""
    stand.seed("ana")
    await stand.start(settle=0.5, hold_probe_first=0.3)
    stand.sim.fail("addCredit", "drop_after", count=1)
    credit = await stand.send("credit.add", "ana", amount="5.00")
    await eventually(lambda: stand.watched.asked("addCredit"))
    stand.sim.platform.password = "rotated"

    async def held() -> Any:
        return [p for p in await stand.journal.platforms() if p.held == "credentials_refused"]

    await eventually(held)
    assert (await stand.row(credit))["state"] == "in_doubt"
    stand.sim.platform.password = "admin"
    assert (await stand.ended(credit))["state"] == "succeeded"
    assert stand.credited(credit) == 1
