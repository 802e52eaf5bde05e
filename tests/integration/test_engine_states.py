"""Rules 1 and 4.2, P9: from one state to the next, and what a stop leaves behind."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.engine import (
    DOMAIN,
    NEW_SUBSCRIBER,
    PATIENT,
    PLATFORM,
    Stand,
    any_journal,
    eventually,
    stand,
    templates,
)
from worker.journal.commands.acts import ActRefused

__all__ = ["stand", "templates"]

ALL_KINDS = ["outgoing", "incoming", "collect"]


async def lapse(stand: Stand, name: str, times: int) -> None:
    """As if so many processes had died right after they had claimed it."""
    for number in range(times):

        async def claimed(number: int = number) -> bool:
            claims = await stand.journal.claim(PLATFORM, f"dead-{number}", 1, 0.01)
            return [claim.message_id for claim in claims] == [name]

        await eventually(claimed)
        await eventually(stand.journal.rescue)


async def test_rule_1_a_command_goes_on_at_the_step_where_it_stopped(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("blockIncommingCalls", "busy", count=1)
    block = await stand.send("calls.block", "ana", kinds=ALL_KINDS)
    await stand.start(**PATIENT)
    assert (await stand.ended(block))["state"] == "succeeded"
    assert stand.watched.writes("ana") == [
        "blockOutgoingCalls", "blockIncommingCalls", "blockIncommingCalls", "blockCollectCalls",
    ]  # fmt: skip
    result = await stand.result(block)
    assert result["output"]["kinds"] == ALL_KINDS
    assert [step["status"] for step in result["steps"]] == ["done"] * 3


async def test_rule_1_a_finished_step_is_not_done_again_though_the_settings_plan_it_otherwise(
    stand: Stand,
) -> None:
    stand.seed("ana")
    stand.sim.fail("reloadSubscriber", "busy", retry_after=1)
    credit = await stand.send("credit.add", "ana", amount="10.00")
    engine = await stand.start(**PATIENT, reload_after=["credit.add"])
    await eventually(lambda: stand.watched.asked("reloadSubscriber"))
    await engine.stop(5)
    assert (await stand.row(credit))["effect"] == "applied"
    await stand.start(**PATIENT, reload_after=[])
    row = await stand.ended(credit)
    assert (row["state"], row["effect"]) == ("succeeded", "applied")
    assert stand.credited(credit) == 1


async def test_rule_1_a_refusal_after_a_finished_step_is_partly_done_and_names_the_steps(
    stand: Stand,
) -> None:
    stand.seed("ana")
    stand.sim.fail("blockCollectCalls", "declared", text="no such service")
    block = await stand.send("calls.block", "ana", kinds=ALL_KINDS)
    await stand.start(**PATIENT)
    row = await stand.ended(block)
    assert (row["state"], row["effect"], row["problem"]["code"]) == ("rejected", "applied", "partly_done")
    assert "blockOutgoingCalls, blockIncommingCalls" in row["problem"]["message"]
    steps = (await stand.result(block))["steps"]
    assert steps == [
        {"name": "blockOutgoingCalls", "status": "done"},
        {"name": "blockIncommingCalls", "status": "done"},
        {"name": "blockCollectCalls", "status": "refused"},
    ]


async def test_rule_1_a_command_past_its_expiry_ends_expired_and_is_never_begun(stand: Stand) -> None:
    stand.seed("ana")
    block = await stand.send("calls.block", "ana", _expires_at=time.time() + 0.3)
    passed = time.time() + 0.4
    await eventually(lambda: time.time() > passed)  # while no worker runs
    await stand.start(**PATIENT)
    row = await stand.ended(block)
    assert (row["state"], row["effect"], row["problem"]["code"]) == ("expired", "none", "expired")
    assert stand.watched.writes("ana") == []


async def test_rule_1_a_command_with_a_finished_step_does_not_expire(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("blockIncommingCalls", "busy", retry_after=3, count=1)
    block = await stand.send(
        "calls.block", "ana", kinds=["outgoing", "incoming"], _expires_at=time.time() + 2.5
    )
    await stand.start(**PATIENT)
    await eventually(lambda: stand.watched.asked("blockIncommingCalls"))
    assert (await stand.ended(block))["state"] == "succeeded"


async def test_rule_1_a_command_with_a_finished_step_is_not_cancelled(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("blockIncommingCalls", "busy", retry_after=2, count=1)
    block = await stand.send("calls.block", "ana", kinds=["outgoing", "incoming"])
    await stand.start(**PATIENT)
    await eventually(lambda: stand.watched.asked("blockIncommingCalls"))
    await stand.became(block, "waiting")
    with pytest.raises(ActRefused):
        await stand.journal.cancel(block, "op", "not wanted")
    assert (await stand.ended(block))["state"] == "succeeded"


async def test_rule_1_a_command_in_doubt_neither_expires_nor_is_cancelled(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("blockSubscriber", "drop_before", count=1)
    block = await stand.send("subscriber.block", "ana", _expires_at=time.time() + 3600)
    await stand.start(settle=2.0)
    await stand.became(block, "in_doubt")
    with pytest.raises(ActRefused):
        await stand.journal.cancel(block, "op", "not wanted")
    number = (await stand.row(block))["id"]
    await stand.journal.run(lambda tx: tx.run("UPDATE commands SET expires_at = 1.0 WHERE id = $1", number))
    await stand.journal.sweep()
    assert (await stand.row(block))["finished_at"] is None
    await stand.ended(block)


async def test_rule_1_after_two_lapsed_leases_a_command_runs_alone_in_its_process(stand: Stand) -> None:
    users = [f"u{n}" for n in range(8)]
    stand.seed("killer", *users)
    killer = await stand.send("credit.get", "killer")
    await lapse(stand, killer, 2)
    stand.sim.fail("retrieveCredit", "delay", seconds=0.4)
    await stand.admit(*(stand.order("credit.get", user) for user in users))
    together: list[int] = []
    note = stand.watched._received

    async def counted(request: Any, call: Any) -> Any:
        """How many requests are under way from the killer's coming to its end."""
        if call.subject[0] != "killer":
            if "killer" in under_way:
                together.append(1)
            under_way.add(call.subject[0])
            try:
                return await note(request, call)
            finally:
                under_way.discard(call.subject[0])
        together.extend([1] * len(under_way))
        under_way.add("killer")
        try:
            return await note(request, call)
        finally:
            under_way.discard("killer")

    under_way: set[str] = set()
    stand.watched._received = counted
    await stand.start(**PATIENT)
    assert await stand.all_ended() == {("succeeded", "none"): 9}
    assert together == []


async def test_rule_1_the_third_lapsed_lease_in_a_row_parks_a_command(stand: Stand) -> None:
    stand.seed("ana")
    killer = await stand.send("credit.add", "ana", amount="10.00")
    await lapse(stand, killer, 3)
    row = await stand.row(killer)
    assert (row["state"], row["problem"]["code"]) == ("parked", "gave_up")
    await stand.start()
    behind = await stand.send("calls.block", "ana")
    seen = time.monotonic() + 0.5
    await eventually(lambda: time.monotonic() > seen)
    assert (await stand.row(killer))["state"] == "parked"
    assert (await stand.row(behind))["state"] == "waiting", "a parked command holds its key"
    assert stand.watched.seen == []


async def test_rule_1_lapses_count_in_a_row_only(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("retrieveCredit", "busy", count=1, retry_after=1)
    read = await stand.send("credit.get", "ana")
    await lapse(stand, read, 2)
    engine = await stand.start(**PATIENT)
    await eventually(lambda: stand.watched.asked("retrieveCredit"))
    await engine.stop(5)
    await lapse(stand, read, 1)
    assert (await stand.row(read))["state"] == "waiting"


async def test_rule_4_2_the_head_of_a_key_takes_the_highest_priority_waiting_behind_it(stand: Stand) -> None:
    users = [f"u{n}" for n in range(12)]
    stand.seed(*users)
    await stand.admit(*(stand.order("calls.block", user, id=f"low-{user}", _priority=2) for user in users))
    await stand.admit(stand.order("calls.unblock", "u11", id="urgent", _priority=0))
    await stand.start(**PATIENT, concurrency=1)
    assert (await stand.ended("urgent"))["state"] == "succeeded"
    await stand.all_ended()
    order = [s.username for s in stand.watched.asked("blockOutgoingCalls", "activateOutgoingCalls")]
    assert order[:2] == ["u11", "u11"], "first the one in front of it, then the urgent one"


async def test_rule_4_2_commands_of_one_subscriber_run_in_the_order_of_arrival(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail(("blockOutgoingCalls", "activateOutgoingCalls"), "lost", share=0.3, seconds=0.2)
    names = [f"c{n}" for n in range(8)]
    commands = ["calls.block" if n % 2 else "calls.unblock" for n in range(8)]
    await stand.admit(*(stand.order(c, "ana", id=name) for c, name in zip(commands, names, strict=True)))
    await stand.start(settle=0.6)
    assert await stand.all_ended() == {("succeeded", "applied"): 8}
    rows = [await stand.row(name) for name in names]
    finished = [row["finished_at"] for row in rows]
    assert finished == sorted(finished)
    found = stand.sim.subscriber("ana", DOMAIN)
    assert found is not None
    assert not found.dto["activeOutgoingCalls"], "the last one blocked"


# A clean stop -----------------------------------------------------------------------------------------


async def test_promise_9_calls_under_way_end_within_the_grace_time(stand: Stand) -> None:
    users = [f"u{n}" for n in range(6)]
    stand.seed(*users)
    stand.sim.fail("addCredit", "delay", seconds=0.6)
    await stand.admit(*(stand.order("credit.add", user, id=user, amount="10.00") for user in users))
    engine = await stand.start(**PATIENT, concurrency=3)
    await eventually(lambda: len(stand.watched.asked("addCredit")) == 3)
    await engine.stop(10)
    rows = {row["message_id"]: row for row in await stand.journal.commands({}, 10)}
    begun = {s.username for s in stand.watched.asked("addCredit")}
    assert len(begun) == 3
    for user in users:
        row = rows[user]
        wanted = ("succeeded", 1) if user in begun else ("waiting", 0)
        assert (row["state"], row["attempts"]) == wanted
        assert stand.credited(user) == (user in begun)


async def test_promise_9_what_was_not_sent_is_given_back_untouched(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("retrieveCredit", "delay", seconds=1.0)
    credit = await stand.send("credit.add", "ana", amount="10.00")
    engine = await stand.start(**PATIENT)
    await eventually(lambda: stand.watched.asked("retrieveCredit"))
    await engine.stop(10)  # the reading comes to its end, the call is not begun any more
    row = await stand.row(credit)
    assert (row["state"], row["attempts"], row["effect"], row["problem"]) == ("waiting", 0, "none", None)
    assert stand.watched.asked("addCredit") == []
    stand.sim.heal()
    await stand.start(**PATIENT)
    assert (await stand.ended(credit))["state"] == "succeeded"
    assert stand.credited(credit) == 1


async def test_promise_9_a_call_that_outlasts_the_grace_time_is_in_doubt(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("addCredit", "delay", seconds=2.0, count=1)
    credit = await stand.send("credit.add", "ana", amount="10.00")
    engine = await stand.start(timeout=5.0)
    await eventually(lambda: stand.watched.asked("addCredit"))
    begun = time.monotonic()
    await engine.stop(0.2)
    assert time.monotonic() - begun < 10
    assert (await stand.row(credit))["state"] == "in_doubt"
    await stand.start(settle=3.0)
    assert (await stand.ended(credit))["state"] == "succeeded"
    assert stand.credited(credit) == 1


@any_journal
async def test_promise_9_a_reading_cut_short_leaves_the_command_in_doubt(stand: Stand) -> None:
    stand.sim.fail("insertSubscriber", "drop_after", count=1)
    stand.sim.fail("retrieveSubscriber", "delay", username="ana", seconds=2.0, skip=1)
    create = await stand.send("subscriber.create", "ana", **NEW_SUBSCRIBER)
    engine = await stand.start(timeout=5.0)
    await stand.became(create, "in_doubt")
    await eventually(lambda: len(stand.watched.asked("retrieveSubscriber", user="ana")) >= 2)
    await engine.stop(0.1)
    assert (await stand.row(create))["state"] == "in_doubt"
    stand.sim.heal()
    await stand.start()
    assert (await stand.ended(create))["state"] == "succeeded"
    assert stand.watched.writes("ana") == ["insertSubscriber"]
