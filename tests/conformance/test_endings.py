"""Rules 1 and 6.4: how commands end, and what their senders are told."""

from __future__ import annotations

import pytest

from tests.conformance.support import (
    ALICE,
    BOB,
    CRM,
    Place,
    admit,
    again,
    change,
    claim,
    claim_one,
    done,
    earlier,
    in_doubt,
    inquiry,
    order,
    parked,
    refused,
    results,
    run_all,
    run_next,
    select,
    settle,
    states,
    still_unknown,
    take_all,
)
from worker.domain.lifecycle import EffectSeen
from worker.journal.journal import StoredJournal


async def test_rule_1_a_command_past_its_expirytime_with_nothing_done_expires(
    journal: StoredJournal,
) -> None:
    now = await journal.now()
    await admit(journal, order("a-1", expires_at=now - 1), order("a-2", expires_at=now + 1000))
    await journal.sweep()
    assert await states(journal) == {"a-1": "expired", "a-2": "waiting"}
    [seen] = await results(journal)
    assert (seen.what, seen.data["effect"], seen.data["error"]["code"]) == ("expired", "none", "expired")
    assert await run_next(journal) == ["a-2"]


async def test_rule_1_a_deferred_command_can_expire_as_well(journal: StoredJournal) -> None:
    now = await journal.now()
    await admit(journal, order("p", BOB), order("a-1", depends_on="p", expires_at=now - 1))
    await journal.sweep()
    assert (await states(journal))["a-1"] == "expired"


async def test_rule_1_expiry_never_touches_one_that_runs(journal: StoredJournal) -> None:
    await admit(journal, order(expires_at=await journal.now() - 1))
    one = await claim_one(journal)
    await journal.sweep()
    assert await states(journal) == {"m-1": "running"}
    assert await settle(journal, done(one)) == [True]


@pytest.mark.parametrize("how", ["step", "unverified", "parked"])
async def test_rule_1_a_command_that_may_have_done_something_neither_expires_nor_is_cancelled(
    journal: StoredJournal, how: str
) -> None:
    await admit(journal, order(expires_at=await journal.now() - 1))
    one = await claim_one(journal)
    step = {"name": "one", "status": "done", "output": {}}
    settlement = {
        "step": again(one, 1000, steps=(step,), failing=False),
        "unverified": again(one, 1000, unverified=True),
        "parked": parked(one, EffectSeen.UNKNOWN),
    }[how]
    await settle(journal, settlement)
    state = "parked" if how == "parked" else "waiting"
    await journal.sweep()
    assert await states(journal) == {"m-1": state}
    await admit(journal, inquiry("cancel", "x-1", target_id="m-1"))
    assert await states(journal) == {"m-1": state}
    [answer] = await results(journal, "succeeded")
    assert answer.data["output"]["status"] == state


async def test_rule_1_a_retry_that_waits_with_nothing_done_can_expire(journal: StoredJournal) -> None:
    await admit(journal, order(expires_at=await journal.now() + 1000))
    await settle(journal, again(await claim_one(journal), 1000))
    await earlier(journal, "commands", 2000, "expires_at")
    await journal.sweep()
    assert await states(journal) == {"m-1": "expired"}


async def test_rule_1_a_delay_is_told_once_with_state_and_reason(place: Place) -> None:
    journal = await place.open(notify_after=100.0)
    await admit(journal, order("a-1"), order("a-2"))
    await settle(journal, again(await claim_one(journal), 1000))
    await journal.sweep()
    assert await results(journal) == []
    await earlier(journal, "commands", 101, "notify_at")
    await journal.sweep()
    await journal.sweep()
    told = {seen.id: seen for seen in await results(journal)}
    assert {id: seen.what for id, seen in told.items()} == {"a-1": "delayed", "a-2": "delayed"}
    assert told["a-1"].data["state"] == "waiting"
    assert "again by schedule" in told["a-1"].data["reason"]
    assert "a-1" in told["a-2"].data["reason"]
    assert told["a-1"].data["finished_at"] is None
    assert told["a-1"].data["sequence"] == 1


async def test_rule_1_a_delay_behind_a_parked_command_names_it(place: Place) -> None:
    journal = await place.open(notify_after=0.0)
    await admit(journal, order("a-1"), order("a-2"))
    await settle(journal, parked(await claim_one(journal)))
    await journal.sweep()
    [told] = await results(journal, "delayed")
    assert told.id == "a-2"
    assert "a-1" in told.data["reason"]
    assert "parked" in told.data["reason"]


@pytest.mark.parametrize("why", ["paused", "held", "broken", "doubt", "notbefore"])
async def test_rule_1_a_delay_says_what_it_waits_for(place: Place, why: str) -> None:
    journal = await place.open(notify_after=0.0)
    word = {
        "paused": "paused by ann: maintenance",
        "held": "credentials_refused",
        "broken": "does not answer",
        "doubt": "answer to a call was lost",
        "notbefore": "notbefore",
    }[why]
    if why == "doubt":
        await settle(journal, still_unknown(await in_doubt(journal), 1000))
    else:
        await admit(journal, order(not_before=9e9 if why == "notbefore" else None))
    if why == "paused":
        await journal.pause("sip-br", "ann", "maintenance")
    if why == "held":
        await journal.hold("sip-br", "credentials_refused", "the login was refused")
    if why == "broken":
        await journal.break_circuit("sip-br")
    await journal.sweep()
    [told] = await results(journal, "delayed")
    assert word in told.data["reason"]
    assert told.data["effect"] == ("unknown" if why == "doubt" else "none")


async def test_rule_1_one_that_ended_or_was_parked_is_not_delayed(place: Place) -> None:
    journal = await place.open(notify_after=0.0)
    await admit(journal, order("a-1"), order("b-1", BOB))
    first, second = await claim(journal)
    await settle(journal, done(first), parked(second))
    await journal.sweep()
    assert await results(journal, "delayed") == []


async def test_rule_6_4_events_of_one_command_carry_a_growing_sequence(place: Place) -> None:
    journal = await place.open(notify_after=0.0)
    await admit(journal, order())
    await journal.sweep()
    await settle(journal, parked(await claim_one(journal)))
    await journal.retry("m-1", "ann", "again")
    await settle(journal, parked(await claim_one(journal)))
    await journal.retry("m-1", "ann", "again")
    await run_next(journal)
    seen = [(one.what, one.data["sequence"]) for one in await results(journal)]
    assert seen == [("delayed", 1), ("parked", 2), ("parked", 3), ("succeeded", 4)]


async def test_rule_6_4_events_of_one_command_leave_in_their_order_while_engines_share_commits(
    journal: StoredJournal,
) -> None:
    await journal.admit([order(f"m-{n}", f"key-{n}") for n in range(20)])
    for _ in range(3):
        await settle(journal, *(parked(one) for one in await claim(journal)))
        for n in range(20):
            await journal.retry(f"m-{n}", "ann", "again")
    await run_all(journal)
    order_: dict[str | None, list[int]] = {}
    for seen in await results(journal):
        order_.setdefault(seen.id, []).append(seen.data["sequence"])
    assert set(order_) == {f"m-{n}" for n in range(20)}
    assert all(numbers == [1, 2, 3, 4] for numbers in order_.values())


async def test_a_result_says_what_surface_1_promises(place: Place) -> None:
    journal = await place.open(source="/worker-7")
    await admit(
        journal,
        order(
            "m-1",
            idempotency_key="k-1",
            subject="alice",
            correlation_id="c-1",
            causation_id="z-1",
            batch_id="b-1",
            traceparent="00-t",
            tracestate="s=1",
            reply_to="crm.answers",
        ),
    )
    step = {"name": "blockCalls", "status": "done", "output": {"x": 1}}
    await settle(journal, done(await claim_one(journal), steps=(step,)))
    [seen] = await results(journal)
    assert seen.event["specversion"] == "1.0"
    assert seen.event["source"] == "/worker-7"
    assert seen.event["type"] == "provisioning.command.succeeded.v1"
    assert seen.event["id"] == seen.out.event_id
    passed_on = ("subject", "correlationid", "causationid", "batchid", "traceparent", "tracestate")
    assert [seen.event[name] for name in passed_on] == ["alice", "c-1", "z-1", "b-1", "00-t", "s=1"]
    assert seen.data["command"] == {
        "id": "m-1",
        "source": CRM,
        "type": "calls.block.v1",
        "idempotencykey": "k-1",
        "platform": "sip-br",
        "partitionkey": ALICE,
        "subject": "alice",
        "correlationid": "c-1",
        "batchid": "b-1",
    }
    assert (seen.data["status"], seen.data["effect"], seen.data["attempts"]) == ("succeeded", "applied", 1)
    assert seen.data["steps"] == [{"name": "blockCalls", "status": "done"}]
    assert seen.data["error"] is None
    assert all(seen.data[name].endswith("Z") for name in ("received_at", "started_at", "finished_at"))
    assert seen.out.routing_key == "sip-br.calls.block.succeeded"
    assert seen.out.correlation_id == "c-1"
    [private] = await results(journal, private=True)
    assert (private.out.routing_key, private.out.body) == ("crm.answers", seen.out.body)


async def test_secret_output_goes_to_reply_to_only(journal: StoredJournal) -> None:
    await admit(journal, order(secret_output=True, reply_to="crm.answers"))
    one = await claim_one(journal)
    await settle(journal, done(one, output={"pin": "***"}, secret_output={"pin": "4711"}))
    [public] = await results(journal)
    [private] = await results(journal, private=True)
    assert public.data["output"] == {"pin": "***"}
    assert private.data["output"] == {"pin": "4711"}
    assert private.out.event_id == public.out.event_id
    assert private.data["sequence"] == public.data["sequence"]


async def test_a_rejection_says_why_and_what_to_do(journal: StoredJournal) -> None:
    await admit(journal, order())
    await settle(journal, refused(await claim_one(journal)))
    [seen] = await results(journal)
    assert seen.data["error"]["code"] == "platform_refused"
    assert seen.data["error"]["advice"]
    assert seen.out.routing_key == "sip-br.calls.block.rejected"


async def test_rule_1_one_that_was_settled_as_waiting_without_a_time_is_due_at_once(
    journal: StoredJournal,
) -> None:
    await admit(journal, order())
    one = await claim_one(journal)
    await settle(journal, again(one, due_in=None))  # type: ignore[arg-type]
    assert await run_next(journal) == ["m-1"]


async def test_a_lane_that_is_due_without_a_reason_is_put_right(journal: StoredJournal) -> None:
    await admit(journal, order("a-1"), order("b-1", BOB))
    await change(
        journal, "UPDATE commands SET due_at = $1 WHERE message_id = 'a-1'", await journal.now() + 1000
    )
    await change(journal, "UPDATE commands SET state = 'parked' WHERE message_id = 'a-1'")
    assert [one.message_id for one in await claim(journal)] == ["b-1"]
    [lane] = await select(journal, "SELECT due_at FROM lanes WHERE key = $1", ALICE)
    assert lane["due_at"] is None


async def test_rule_7_1_what_is_waiting_is_counted_until_it_ends(journal: StoredJournal) -> None:
    await admit(journal, order("a-1"), order("a-2"), order("b-1", BOB))
    assert await journal.waiting() == 3
    await run_next(journal)
    assert await journal.waiting() == 1


async def test_health_says_how_things_are(journal: StoredJournal) -> None:
    await admit(journal, order("a-1"), order("b-1", BOB), order("c-1", "key-c"), order("a-2"))
    one, two, _three = await claim(journal)
    await settle(journal, parked(one), still_unknown(two))
    health = await journal.health()
    assert (health.waiting, health.running, health.parked, health.in_doubt) == (1, 1, 1, 1)
    assert health.oldest_due is not None
    assert health.unpublished == 1
    assert health.oldest_unpublished is not None
    assert health.unsealed == 6
    await take_all(journal)
    health = await journal.health()
    assert (health.unpublished, health.unsealed, health.oldest_unpublished) == (0, 0, None)


async def test_health_knows_the_oldest_that_is_due_over_all_platforms_and_priorities(
    journal: StoredJournal,
) -> None:
    assert (await journal.health()).oldest_due is None
    await admit(journal, order("a-1"))
    await settle(journal, again(await claim_one(journal), 1000))
    assert (await journal.health()).oldest_due is None
    await admit(journal, order("b-1", BOB, priority=0), order("x-1", "x/1", platform="x", priority=2))
    await admit(journal, order("y-1", "y/1", platform="y"))
    await change(journal, "UPDATE lanes SET due_at = due_at - 500 WHERE platform = 'x'")
    oldest = (await journal.health()).oldest_due
    assert oldest == pytest.approx(500, abs=60)
