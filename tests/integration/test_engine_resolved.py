"""Rule 8.1: a person says that a call took effect, and what is left of its command still runs (rule 1)."""

from __future__ import annotations

from typing import Any

from tests.support.engine import PATIENT, PLATFORM, Stand, any_journal, eventually, stand, templates

__all__ = ["stand", "templates"]

BOTH = ["outgoing", "incoming"]
UNENDING: dict[str, Any] = {**PATIENT, "settle": 600.0}  # no window ends during a test


async def lost(stand: Stand, name: str) -> None:
    """Its answer was lost, and no reading settles it: it did nothing, as only the end of the window would show."""

    async def planned() -> bool:
        shown = await stand.shown(name)
        return shown["state"] == "in_doubt" and shown["steps_left"] is not None

    await eventually(planned, what=f"{name} in doubt")


@any_journal
async def test_rule_8_1_what_is_left_of_a_command_runs_when_a_person_says_that_a_step_took_effect(
    stand: Stand,
) -> None:
    stand.seed("ana")
    stand.sim.fail("blockOutgoingCalls", "drop_before", count=1)
    block = await stand.send("calls.block", "ana", kinds=BOTH)
    await stand.start(**UNENDING)
    await lost(stand, block)
    assert (await stand.shown(block))["steps_left"] == ["blockIncommingCalls"]
    done = await stand.journal.resolve(block, True, "ann", "seen in its portal", waive=True)
    assert (done["state"], done["effect"]) == ("waiting", "applied")
    assert (await stand.ended(block))["state"] == "succeeded"
    assert stand.watched.writes("ana") == ["blockOutgoingCalls", "blockIncommingCalls"]
    result = await stand.result(block)
    assert [(s["name"], s["status"]) for s in result["steps"]] == [
        ("blockOutgoingCalls", "resolved"),
        ("blockIncommingCalls", "done"),
    ]
    assert result["output"]["kinds"] == BOTH
    assert (result["error"]["code"], result["flags"]) == ("resolved_by_operator", ["window_waived"])
    assert "ann" in result["error"]["message"]
    assert "resolved" in await stand.records(block)


@any_journal
async def test_rule_8_1_a_command_whose_last_step_is_resolved_tells_of_all_its_steps(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("blockIncommingCalls", "drop_before", count=1)
    block = await stand.send("calls.block", "ana", kinds=BOTH)
    await stand.start(**UNENDING)
    await lost(stand, block)
    assert (await stand.shown(block))["steps_left"] == []
    await stand.journal.resolve(block, True, "ann", "seen", waive=True)
    assert (await stand.ended(block))["state"] == "succeeded"
    result = await stand.result(block)
    assert [step["status"] for step in result["steps"]] == ["done", "resolved"]
    assert result["output"]["kinds"] == BOTH
    assert stand.watched.writes("ana") == ["blockOutgoingCalls", "blockIncommingCalls"]


@any_journal
async def test_rule_8_1_a_resolved_command_of_one_step_ends_at_once_though_its_platform_is_stopped(
    stand: Stand,
) -> None:
    stand.seed("ana")
    stand.sim.fail("addCredit", "drop_before", count=1)
    credit = await stand.send("credit.add", "ana", amount="10.00")
    await stand.start(**UNENDING)
    await lost(stand, credit)
    await stand.journal.pause(PLATFORM, "ann", "maintenance")
    done = await stand.journal.resolve(credit, True, "ann", "seen", waive=True)
    assert (done["state"], done["effect"]) == ("succeeded", "applied")
    assert stand.watched.writes("ana") == ["addCredit"]


async def test_rule_8_1_a_command_that_no_worker_lived_to_plan_goes_back_to_one_when_resolved(
    stand: Stand,
) -> None:
    """Its first process died in the call, and the platform was stopped before anybody could read."""
    stand.seed("ana")
    block = await stand.send("calls.block", "ana", kinds=BOTH)
    [_] = await stand.journal.claim(PLATFORM, "dead", 1, 0.01)
    await eventually(stand.journal.rescue)
    done = await stand.journal.resolve(block, True, "ann", "seen", waive=True)
    assert done["state"] == "waiting"
    await stand.start(**PATIENT)
    assert (await stand.ended(block))["state"] == "succeeded"
    assert stand.watched.writes("ana") == ["blockIncommingCalls"]
    assert [s["status"] for s in (await stand.result(block))["steps"]] == ["resolved", "done"]


@any_journal
async def test_rule_8_1_of_one_step_that_no_worker_lived_to_plan_nothing_is_called_when_resolved(
    stand: Stand,
) -> None:
    stand.seed("ana")
    credit = await stand.send("credit.add", "ana", amount="10.00")
    [claim] = await stand.journal.claim(PLATFORM, "dead", 1, 0.3)
    assert await stand.journal.mark_sent([(claim, None)]) == [True]
    await eventually(stand.journal.rescue)
    await stand.journal.resolve(credit, True, "ann", "seen", waive=True)
    await stand.start(**PATIENT)
    assert (await stand.ended(credit))["state"] == "succeeded"
    assert stand.watched.writes("ana") == []
    result = await stand.result(credit)
    assert (result["effect"], result["error"]["code"]) == ("applied", "resolved_by_operator")


@any_journal
async def test_rule_8_1_what_was_read_for_a_resolved_step_is_not_read_again(stand: Stand) -> None:
    """A release that took effect: the number, which is looked for first, is gone."""
    stand.seed("ana")
    release = await stand.send("number.release", "ana", number="551130001000")
    number = (await stand.row(release))["id"]
    await stand.journal.run(  # as it was admitted before
        lambda tx: tx.run("UPDATE commands SET risk = 'claim' WHERE id = $1", number)
    )
    [_] = await stand.journal.claim(PLATFORM, "dead", 1, 0.01)
    await eventually(stand.journal.rescue)
    await stand.journal.resolve(release, True, "ann", "it is gone", waive=True)
    await stand.start(**PATIENT)
    assert (await stand.ended(release))["state"] == "succeeded"
    assert stand.watched.asked("deleteDid", "listByAcc") == []


@any_journal
async def test_rule_1_a_refusal_after_a_resolved_step_is_partly_done(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("blockOutgoingCalls", "drop_before", count=1)
    stand.sim.fail("blockIncommingCalls", "declared", text="User not found")
    block = await stand.send("calls.block", "ana", kinds=BOTH)
    await stand.start(**UNENDING)
    await lost(stand, block)
    await stand.journal.resolve(block, True, "ann", "seen", waive=True)
    assert (await stand.ended(block))["state"] == "rejected"
    result = await stand.result(block)
    assert (result["effect"], result["error"]["code"]) == ("applied", "partly_done")
    assert "blockOutgoingCalls" in result["error"]["message"]


@any_journal
async def test_rule_8_1_a_death_before_the_next_step_of_a_resolved_command_leaves_no_doubt(
    stand: Stand,
) -> None:
    """Naming the resolved step calls nothing: a process that dies meanwhile leaves no doubt."""
    stand.seed("ana")
    block = await stand.send("calls.block", "ana", kinds=BOTH)
    [_] = await stand.journal.claim(PLATFORM, "dead", 1, 0.01)
    await eventually(stand.journal.rescue)
    await stand.journal.resolve(block, True, "ann", "seen", waive=True)
    [_] = await stand.journal.claim(PLATFORM, "dead-2", 1, 0.01)
    await eventually(stand.journal.rescue)
    assert (await stand.row(block))["state"] == "waiting"
