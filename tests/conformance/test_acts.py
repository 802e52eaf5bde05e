"""Rules 8: what people may do to commands, and that it is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.conformance.support import (
    ALICE,
    BOB,
    Place,
    admit,
    again,
    claim,
    claim_one,
    close_window,
    done,
    in_doubt,
    inquiry,
    order,
    parked,
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
from worker.domain.lifecycle import EffectSeen, State
from worker.journal.commands.acts import ActRefused
from worker.journal.journal import StoredJournal
from worker.messages.errors import Code


async def park_in_doubt(journal: StoredJournal, id: str = "m-1") -> None:
    await settle(journal, parked(await in_doubt(journal, order(id)), EffectSeen.UNKNOWN))


@pytest.mark.parametrize("act", ["retry", "cancel"])
async def test_rule_8_1_one_whose_effect_is_unknown_is_neither_retried_nor_cancelled(
    journal: StoredJournal, act: str
) -> None:
    await park_in_doubt(journal)
    await close_window(journal)
    with pytest.raises(ActRefused, match="resolve"):
        await getattr(journal, act)("m-1", "ann", "x")
    assert await states(journal) == {"m-1": "parked"}


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "not-applied"])
async def test_rule_8_1_resolve_waits_for_the_window(journal: StoredJournal, applied: bool) -> None:
    await park_in_doubt(journal)
    with pytest.raises(ActRefused, match="window"):
        await journal.resolve("m-1", applied, "ann", "looked")
    await close_window(journal)
    await take_all(journal)
    await journal.resolve("m-1", applied, "ann", "looked")
    [seen] = await results(journal)
    assert seen.what == ("succeeded" if applied else "rejected")
    assert seen.data["effect"] == ("applied" if applied else "none")
    assert seen.data["error"]["code"] == "resolved_by_operator"
    assert "flags" not in seen.data
    record = (await records(journal))[-1]
    assert (record["actor"], record["reason"]) == ("ann", "looked")
    assert record["details"]["applied"] is applied
    assert record["details"]["window_waived"] is False


async def test_rule_8_1_a_waived_window_is_said_in_record_and_result(journal: StoredJournal) -> None:
    await park_in_doubt(journal, "a-1")
    await admit(journal, order("a-2"))
    await journal.resolve("a-1", False, "ann", "the vendor says so", waive=True)
    [seen] = await results(journal, "rejected")
    assert seen.data["flags"] == ["window_waived"]
    assert (await records(journal))[-1]["details"]["window_waived"] is True
    assert await run_next(journal) == ["a-2"]


async def test_rule_5_2_what_was_sent_after_its_lease_is_said_though_a_person_ends_it(
    journal: StoredJournal,
) -> None:
    reading = await in_doubt(journal)
    await journal.flag(reading, "sent_after_lease")
    await journal.resolve("m-1", True, "ann", "seen", waive=True)
    [seen] = await results(journal)
    assert seen.data["flags"] == ["sent_after_lease", "window_waived"]
    assert (await records(journal))[-1]["details"]["flags"] == ["sent_after_lease", "window_waived"]


async def test_rule_8_1_a_person_takes_the_claim_of_one_that_is_being_read(journal: StoredJournal) -> None:
    reading = await in_doubt(journal)
    await journal.resolve("m-1", True, "ann", "seen", waive=True)
    assert await settle(journal, parked(reading, EffectSeen.UNKNOWN)) == [False]
    assert await states(journal) == {"m-1": "succeeded"}
    assert await journal.rescue() == 0


async def test_rule_8_1_only_what_is_unknown_can_be_resolved(journal: StoredJournal) -> None:
    await admit(journal, order("a-1"), order("b-1", BOB))
    with pytest.raises(ActRefused, match="waiting"):
        await journal.resolve("a-1", True, "ann", "x")
    [one, _] = await claim(journal)
    await settle(journal, parked(one))
    with pytest.raises(ActRefused, match="parked with effect none"):
        await journal.resolve(one.message_id, True, "ann", "x")


async def test_rule_8_1_one_that_did_some_steps_is_resolved_as_partly_applied(journal: StoredJournal) -> None:
    await admit(journal, order())
    step = {"name": "one", "status": "done", "output": {}}
    await settle(journal, parked(await claim_one(journal), EffectSeen.UNKNOWN, steps=(step,)))
    await journal.resolve("m-1", False, "ann", "the second step did nothing")
    [seen] = await results(journal, "rejected")
    assert (seen.data["effect"], seen.data["steps"]) == ("applied", [{"name": "one", "status": "done"}])


async def test_one_whose_rest_nobody_will_run_can_be_given_up(journal: StoredJournal) -> None:
    """Its platform may have left the settings: then no worker ever takes it, and it would hold its key for ever."""
    reading = await in_doubt(journal)
    await settle(journal, replace(parked(reading, EffectSeen.UNKNOWN), left=("one", "two")))
    resolved = await journal.resolve("m-1", True, "ann", "seen", waive=True)
    assert resolved["state"] == "waiting"
    assert (await journal.cancel("m-1", "ann", "the platform is gone"))["state"] == "rejected"
    [seen] = await results(journal, "rejected")
    assert (seen.data["effect"], seen.data["error"]["code"]) == ("applied", "partly_done")


async def test_rule_8_1_after_a_resolve_as_not_applied_the_key_is_free(journal: StoredJournal) -> None:
    await park_in_doubt(journal)
    await close_window(journal)
    await journal.resolve("m-1", False, "ann", "looked")
    assert await admit(journal, order("m-2", idempotency_key="m-1")) == ["admitted"]


async def test_rule_8_2_a_parked_command_goes_on_where_it_stopped(journal: StoredJournal) -> None:
    await admit(journal, order("a-1"), order("a-2"))
    step = {"name": "one", "status": "done", "output": {}}
    await settle(journal, parked(await claim_one(journal), EffectSeen.APPLIED, steps=(step,)))
    shown = await journal.retry("a-1", "ann", "the platform is back")
    assert shown["state"] == "waiting"
    one = await claim_one(journal)
    assert (one.message_id, one.steps, one.attempts, one.failing_since) == ("a-1", (step,), 2, None)
    assert (await records(journal))[-1]["what"] == "retried"


async def test_rule_8_2_a_final_command_is_made_anew_linked_to_the_first(journal: StoredJournal) -> None:
    await admit(
        journal, order("m-1", idempotency_key="k-1", reply_to="crm.answers", correlation_id="c", batch_id="b")
    )
    await settle(journal, refused(await claim_one(journal)))
    await take_all(journal)
    made = await journal.retry("m-1", "ann", "put right on the platform")
    assert made["retry_of"] == "m-1"
    one = await claim_one(journal)
    assert one.message_id == made["message_id"] != "m-1"
    assert (one.attempts, one.view.idempotency_key, one.view.batch_id) == (1, "k-1", "b")
    await settle(journal, done(one))
    [seen] = await results(journal)
    assert seen.data["retry_of"] == "m-1"
    assert seen.data["original"] == {"id": "m-1", "idempotencykey": "k-1"}
    assert seen.data["command"]["correlationid"] == "c"
    [private] = await results(journal, private=True)
    assert private.out.routing_key == "crm.answers"


async def test_rule_8_2_the_original_is_named_through_several_retries(journal: StoredJournal) -> None:
    await admit(journal, order("m-1"))
    name = "m-1"
    for _ in range(2):
        await settle(journal, refused(await claim_one(journal)))
        last, name = name, (await journal.retry(name, "ann", "again"))["message_id"]
    await run_next(journal)
    [seen] = await results(journal, "succeeded")
    assert seen.data["original"] == {"id": "m-1", "idempotencykey": "m-1"}
    assert seen.data["retry_of"] == last


async def test_rule_8_2_a_retry_holds_the_senders_key(journal: StoredJournal) -> None:
    await admit(journal, order("m-1", idempotency_key="k"))
    await settle(journal, refused(await claim_one(journal)))
    made = await journal.retry("m-1", "ann", "again")
    assert await admit(journal, order("m-2", idempotency_key="k")) == ["duplicate"]
    assert await admit(journal, order("m-3", idempotency_key="k", data={"x": 1})) == ["refused"]
    await take_all(journal)
    await run_next(journal)
    answers = {seen.id: seen for seen in await results(journal, "succeeded")}
    assert answers["m-2"].data["duplicate_of"] == made["message_id"]


async def test_rule_8_2_a_retry_is_refused_when_the_key_has_a_newer_holder(journal: StoredJournal) -> None:
    await admit(journal, order("m-1", idempotency_key="k"))
    await settle(journal, refused(await claim_one(journal)))
    await admit(journal, order("m-2", idempotency_key="k"))
    for _ in range(2):
        with pytest.raises(ActRefused, match="holds the same key"):
            await journal.retry("m-1", "ann", "again")
        await run_next(journal)


async def test_rule_8_2_a_newer_holder_without_effect_is_no_hindrance(journal: StoredJournal) -> None:
    await admit(journal, order("m-1", idempotency_key="k"))
    await settle(journal, refused(await claim_one(journal)))
    await admit(journal, order("m-2", idempotency_key="k"))
    await settle(journal, refused(await claim_one(journal)))
    assert (await journal.retry("m-1", "ann", "again"))["retry_of"] == "m-1"
    with pytest.raises(ActRefused, match="holds the same key"):
        await journal.retry("m-2", "ann", "again")


async def test_rule_8_2_what_succeeded_or_runs_is_not_retried(journal: StoredJournal) -> None:
    await admit(journal, order("m-1"), order("m-2"))
    with pytest.raises(ActRefused, match="runs by itself"):
        await journal.retry("m-1", "ann", "x")
    await run_next(journal)
    with pytest.raises(ActRefused, match="succeeded"):
        await journal.retry("m-1", "ann", "x")


async def test_rule_8_2_an_edit_is_a_retry_with_other_fields(journal: StoredJournal) -> None:
    await admit(journal, order("m-1", data={"platform": "sip-br", "email": "wrong", "note": "x"}))
    await settle(journal, refused(await claim_one(journal)))
    checked: list[Mapping[str, Any]] = []
    made = await journal.edit(
        "m-1",
        {"email": "a@b.c", "note": None},
        lambda type, data: checked.append({type: data}),
        "ann",
        "typo",
    )
    expected = {"platform": "sip-br", "email": "a@b.c"}
    assert checked == [{"calls.block.v1": expected}]
    one = await claim_one(journal)
    assert (one.message_id, one.data) == (made["message_id"], expected)
    assert (await records(journal))[-1]["what"] == "edited"
    # The key now belongs to the edited content.
    assert await admit(journal, order("m-2", idempotency_key="m-1", data=expected)) == ["duplicate"]


async def test_rule_8_2_an_edit_that_is_not_valid_changes_nothing(journal: StoredJournal) -> None:
    await admit(journal, order("m-1"))
    await settle(journal, refused(await claim_one(journal)))

    def check(type: str, data: Mapping[str, Any]) -> None:
        raise ActRefused("email is no address")

    with pytest.raises(ActRefused, match="no address"):
        await journal.edit("m-1", {"email": "?"}, check, "ann", "typo")
    assert list(await states(journal)) == ["m-1"]


async def test_rule_8_2_a_parked_command_is_ended_before_it_is_edited(journal: StoredJournal) -> None:
    await admit(journal, order("m-1"))
    await settle(journal, parked(await claim_one(journal)))
    with pytest.raises(ActRefused, match="cancel it first"):
        await journal.edit("m-1", {"x": 1}, lambda type, data: None, "ann", "x")
    await journal.cancel("m-1", "ann", "to be edited")
    assert (await journal.edit("m-1", {"x": 1}, lambda type, data: None, "ann", "x"))["retry_of"] == "m-1"


async def test_rule_1_an_operator_cancels_what_waits_or_is_parked_without_effect(
    journal: StoredJournal,
) -> None:
    await admit(journal, order("a-1"), order("a-2"), order("b-1", BOB))
    for one in await claim(journal):
        if one.message_id == "b-1":
            await settle(journal, parked(one))
    await journal.cancel("a-2", "ann", "not wanted")
    await journal.cancel("b-1", "ann", "not wanted")
    with pytest.raises(ActRefused, match="running"):
        await journal.cancel("a-1", "ann", "not wanted")
    answers = {seen.id: seen for seen in await results(journal, "cancelled")}
    assert answers["a-2"].data["error"]["code"] == "cancelled_by_operator"
    assert "ann" in answers["a-2"].data["error"]["message"]
    assert (await records(journal))[-1]["actor"] == "ann"
    with pytest.raises(ActRefused):
        await journal.cancel("b-1", "ann", "twice")


async def test_rule_1_giving_up_one_with_finished_steps_says_that_it_is_partly_done(
    journal: StoredJournal,
) -> None:
    """It never ends `cancelled`: what was done has to be in the answer."""
    await admit(journal, order("a-1"), order("a-2"))
    step = {"name": "insertSubscriber", "status": "done", "output": {}}
    await settle(journal, parked(await claim_one(journal), EffectSeen.APPLIED, steps=(step,)))
    await journal.cancel("a-1", "ann", "the rest is done by hand")
    [seen] = await results(journal, "rejected")
    assert (seen.data["effect"], seen.data["error"]["code"]) == ("applied", "partly_done")
    assert "insertSubscriber" in seen.data["error"]["message"]
    assert await run_next(journal) == ["a-2"]


async def test_p2_what_is_partly_done_is_not_begun_anew(journal: StoredJournal) -> None:
    """The credit was booked, what follows it was refused: a retry would book it once more."""
    await admit(journal, order("a-1"))
    step = {"name": "addCredit", "status": "done", "output": {"amount": "10.00"}}
    refusal = refused(await claim_one(journal), Code.PARTLY_DONE, effect=EffectSeen.APPLIED, steps=(step,))
    await settle(journal, refusal)
    with pytest.raises(ActRefused, match="took effect, and a retry would begin"):
        await journal.retry("a-1", "ann", "again")
    assert await states(journal) == {"a-1": "rejected"}


async def test_p7_what_a_step_gave_is_not_shown_with_its_name(journal: StoredJournal) -> None:
    """It may be a whole record, or a secret that its sender alone was to get."""
    await admit(journal, order("a-1"))
    step = {"name": "retrieveSubscriber", "status": "done", "output": {"password": "s3cret-of-ana"}}
    await settle(journal, done(await claim_one(journal), steps=(step,)))
    shown = await journal.command("a-1")
    assert shown["steps"] == [{"name": "retrieveSubscriber", "status": "done"}]
    assert "s3cret-of-ana" not in str(shown)


async def test_rule_4_6_a_step_that_only_read_spends_no_key(journal: StoredJournal) -> None:
    """number.release looks for the number, then takes it away: given up in between, nothing was done."""
    await admit(journal, order("a-1", idempotency_key="k"))
    step = {"name": "listByAcc", "status": "done", "output": {}, "changes": False}
    await settle(journal, parked(await claim_one(journal), EffectSeen.NONE, steps=(step,)))
    await journal.cancel("a-1", "ann", "it is sent again")
    [seen] = await results(journal, "rejected")
    assert seen.data["effect"] == "none"
    assert await admit(journal, order("a-2", idempotency_key="k", data={"x": 1})) == ["admitted"]


async def test_rule_8_an_act_does_not_hit_the_command_whose_sender_s_id_looks_like_the_number(
    journal: StoredJournal,
) -> None:
    await admit(journal, order("a-1"))
    [row] = await select(journal, "SELECT id FROM commands")
    number = row["id"]
    await admit(journal, order(str(number), BOB))
    with pytest.raises(ActRefused, match=f"#{number}"):
        await journal.cancel(str(number), "ann", "which of them?")
    await journal.cancel(f"#{number}", "ann", "this one")
    assert sorted((await states(journal)).values()) == ["cancelled", "waiting"]
    with pytest.raises(ActRefused, match="no command"):
        await journal.cancel("#999999", "ann", "there is none")


async def test_rule_8_3_every_act_has_an_actor_and_a_reason_in_the_chain(journal: StoredJournal) -> None:
    await admit(journal, order("m-1"))
    await run_next(journal)
    await journal.archive("m-1", "ann", "old")
    await journal.pause("sip-br", "ann", "maintenance")
    await journal.resume("sip-br", "ben", "done")
    await journal.hold("sip-br", "platform_ill", "everything fails")
    await journal.release("sip-br", "cat", "well again")
    acts = [(r["what"], r["actor"], r["reason"]) for r in (await records(journal))[2:]]
    assert acts == [
        ("archived", "ann", "old"),
        ("paused", "ann", "maintenance"),
        ("resumed", "ben", "done"),
        ("held", "worker", "everything fails"),
        ("released", "cat", "well again"),
    ]
    await take_all(journal)
    assert (await journal.verify()).faults == []


async def test_an_archived_command_is_listed_only_on_request(journal: StoredJournal) -> None:
    await admit(journal, order("m-1"), order("m-2"))
    with pytest.raises(ActRefused, match="only an ended one"):
        await journal.archive("m-1", "ann", "x")
    await run_next(journal)
    await journal.archive("m-1", "ann", "x")
    assert [c["message_id"] for c in await journal.commands({}, 10)] == ["m-2"]
    assert [c["message_id"] for c in await journal.commands({"archived": True}, 10)] == ["m-2", "m-1"]


async def test_commands_are_listed_newest_first_and_page_by_page(journal: StoredJournal) -> None:
    await journal.admit([order(f"m-{n}", f"key-{n}", batch_id="b" if n % 2 else None) for n in range(6)])
    first = await journal.commands({}, 4)
    rest = await journal.commands({}, 4, first[-1]["id"])
    assert [c["message_id"] for c in first + rest] == [f"m-{n}" for n in range(5, -1, -1)]
    assert len(await journal.commands({"batch_id": "b", "state": "waiting"}, 10)) == 3
    assert await journal.commands({"platform": "other"}, 10) == []
    assert [c["message_id"] for c in await journal.commands({"partition_key": "key-3"}, 10)] == ["m-3"]


async def test_one_command_is_shown_with_all_that_happened(journal: StoredJournal) -> None:
    await admit(journal, order("a-1"), order("a-2"))
    await settle(journal, again(await claim_one(journal)))
    await run_next(journal)
    shown = await journal.command("a-1")
    assert shown["state"] == State.SUCCEEDED
    assert [a["outcome"] for a in shown["attempts_made"]] == ["done"]
    assert [e["type"] for e in shown["events"]] == ["provisioning.command.succeeded.v1"]
    assert [r["what"] for r in shown["records"]] == ["admitted", "ended"]
    assert [c["message_id"] for c in shown["line"]] == ["a-2"]
    assert shown["output"] == {"kinds": ["outgoing"]}


async def test_a_command_is_found_by_number_or_id_and_never_by_guess(journal: StoredJournal) -> None:
    await admit(journal, order("same"), order("same", BOB, source="/shop"))
    with pytest.raises(ActRefused, match="several commands"):
        await journal.command("same")
    with pytest.raises(ActRefused, match="no command 'nope'"):
        await journal.cancel("nope", "ann", "x")
    number = (await journal.commands({"source": "/shop"}, 1))[0]["id"]
    assert (await journal.command(str(number)))["source"] == "/shop"


async def test_a_cancelled_dependents_parent_can_be_retried_and_they_with_it(journal: StoredJournal) -> None:
    await admit(journal, order("p", BOB), order("c", ALICE, depends_on="p"))
    await settle(journal, refused(await claim_one(journal)))
    await journal.sweep()
    await journal.retry("p", "ann", "put right")
    await journal.retry("c", "ann", "with it")
    assert len(await run_all(journal)) == 2


async def test_rule_7_1_stopped_time_is_summed_over_overlapping_reasons(place: Place) -> None:
    journal = await place.open()
    name = "sip-br"
    await journal.pause(name, "ann", "x")
    await journal.hold(name, "credentials_refused", "login refused")
    await journal.break_circuit(name)
    state = (await journal.heartbeat("w-1", [name]))[name]
    assert state.stopped
    assert (state.held, state.paused_by) == ("credentials_refused", "ann")
    await journal.resume(name, "ann", "x")
    assert (await journal.heartbeat("w-1", [name]))[name].stopped
    await journal.close_circuit(name)
    state = (await journal.heartbeat("w-1", [name]))[name]
    assert not state.stopped
    total = state.stopped_total
    assert total > 0
    assert (await journal.heartbeat("w-1", [name]))[name].stopped_total == total
    assert await journal.release(name, "ann", "twice") is False


async def test_rule_7_3_processes_know_how_many_they_are(place: Place) -> None:
    one, other = await place.open(), await place.open()
    await one.heartbeat("w-1", ["sip-br"])
    state = (await other.heartbeat("w-2", ["sip-br"]))["sip-br"]
    assert (state.processes, state.rank) == (2, 1)
    await one.leave("w-1")
    state = (await other.heartbeat("w-2", ["sip-br"]))["sip-br"]
    assert (state.processes, state.rank) == (1, 0)


async def test_an_inquiry_is_no_command_that_a_person_can_act_on(journal: StoredJournal) -> None:
    await admit(journal, inquiry("get", "q-1", target_id="m-0"))
    with pytest.raises(ActRefused, match="no command"):
        await journal.retry("q-1", "ann", "x")
