"""Rules 3.1 to 3.3: after a lost answer the key is held until nothing of the call can come late."""

from __future__ import annotations

import asyncio

import pytest

from tests.conformance.support import (
    ALICE,
    BOB,
    PLATFORM,
    Place,
    admit,
    again,
    claim,
    claim_one,
    close_window,
    control,
    done,
    earlier,
    eventually,
    has,
    in_doubt,
    inquiry,
    lapse,
    lost,
    make_due,
    order,
    parked,
    results,
    run_all,
    run_next,
    select,
    settle,
    states,
    still_unknown,
)
from worker.domain.lifecycle import EffectSeen, State
from worker.journal.journal import StoredJournal


async def test_rule_3_1_while_a_window_is_open_only_the_doubting_command_is_claimed(
    journal: StoredJournal,
) -> None:
    await admit(journal, order("a-1"), order("a-2"))
    await settle(journal, lost(await claim_one(journal)))
    await admit(journal, order("a-3", priority=0), order("b-1", BOB))
    claims = {one.message_id: one for one in await claim(journal)}
    assert {id: one.state for id, one in claims.items()} == {"a-1": State.IN_DOUBT, "b-1": State.RUNNING}
    window = claims["a-1"].window
    assert window is not None
    assert (window.first_read, window.closed) == (None, False)
    assert window.opened <= claims["a-1"].now


async def test_rule_3_2_a_window_opens_when_the_call_is_settled_as_lost(journal: StoredJournal) -> None:
    await admit(journal, order())
    one = await claim_one(journal)
    before = await journal.now()
    await settle(journal, lost(one))
    [lane] = await select(journal, "SELECT window_opened, window_command FROM lanes")
    assert lane["window_opened"] >= before
    assert lane["window_command"] == one.id


async def test_rule_3_2_a_window_of_a_dead_process_opens_when_its_lease_ended(journal: StoredJournal) -> None:
    await admit(journal, order())
    await claim_one(journal)
    await lapse(journal)
    [row] = await select(journal, "SELECT lease_until FROM commands")
    await journal.rescue()
    [lane] = await select(journal, "SELECT window_opened FROM lanes")
    assert lane["window_opened"] == row["lease_until"]


async def test_rule_3_2_a_window_ends_settle_seconds_after_the_first_answer(journal: StoredJournal) -> None:
    one = await in_doubt(journal)
    await settle(journal, still_unknown(one, due_in=1000))
    assert await control(journal) == 1
    await earlier(journal, "lanes", 90, "window_first")
    assert await control(journal) == 1
    await earlier(journal, "lanes", 10, "window_first")
    assert await control(journal) == 0
    [lane] = await select(journal, "SELECT window_opened, window_first, window_command FROM lanes")
    assert set(lane.values()) == {None}
    reading = await claim_one(journal)  # due at once: nobody waits for the schedule of the readings
    assert reading.window is not None
    assert reading.window.closed


async def test_rule_3_2_an_answer_to_a_read_begun_before_the_window_says_nothing(
    journal: StoredJournal,
) -> None:
    began = await journal.now()
    await admit(journal, order())
    await settle(journal, lost(await claim_one(journal)))
    assert await journal.control_answered(PLATFORM, began - 1, 100.0) == 1
    [lane] = await select(journal, "SELECT window_first FROM lanes")
    assert lane["window_first"] is None
    await control(journal)
    [lane] = await select(journal, "SELECT window_first FROM lanes")
    assert lane["window_first"] is not None


async def test_rule_3_2_answers_of_another_platform_say_nothing(journal: StoredJournal) -> None:
    await in_doubt(journal)
    assert await journal.control_answered("other", await journal.now(), 100.0) == 0
    [lane] = await select(journal, "SELECT window_first FROM lanes")
    assert lane["window_first"] is None


async def test_rule_3_2_a_gap_of_more_than_a_third_starts_the_window_anew(journal: StoredJournal) -> None:
    await in_doubt(journal)
    await control(journal)
    await earlier(journal, "lanes", 99, "window_first")
    await earlier(journal, "lanes", 34, "window_last")
    assert await control(journal) == 1
    [lane] = await select(journal, "SELECT window_first, window_last FROM lanes")
    assert lane["window_first"] >= lane["window_last"]
    await earlier(journal, "lanes", 99, "window_first")
    assert await control(journal) == 1


async def test_rule_3_2_an_answer_counts_for_when_it_was_asked_not_for_when_a_frozen_process_tells(
    journal: StoredJournal,
) -> None:
    """The platform may have stopped answering behind it, with our lost call still before it."""
    await in_doubt(journal)
    await earlier(journal, "lanes", 200, "window_opened")
    await control(journal)
    await earlier(journal, "lanes", 101, "window_first")
    await earlier(journal, "lanes", 25, "window_last")
    asked = await journal.now() - 20
    assert await journal.control_answered(PLATFORM, asked, 100.0) == 1
    [lane] = await select(journal, "SELECT window_last FROM lanes")
    assert lane["window_last"] == pytest.approx(asked)
    assert await control(journal) == 0  # it answers still


async def test_rule_3_2_a_single_failed_read_does_not_start_it_anew(journal: StoredJournal) -> None:
    await in_doubt(journal)
    await control(journal)
    await earlier(journal, "lanes", 101, "window_first")
    await earlier(journal, "lanes", 20, "window_last")  # every tenth of settle, and one was not answered
    assert await control(journal) == 0


async def test_rule_3_2_with_short_windows_by_the_clock(journal: StoredJournal) -> None:
    one = await in_doubt(journal)
    await settle(journal, still_unknown(one, due_in=1000))
    [lane] = await select(journal, "SELECT window_opened FROM lanes")

    async def closed() -> bool:
        return await journal.control_answered(PLATFORM, await journal.now(), 0.9) == 0

    await eventually(closed, within=100)
    assert await journal.now() >= lane["window_opened"] + 0.9


async def test_rule_3_2_one_series_serves_all_windows_and_each_has_its_own_begin(
    journal: StoredJournal,
) -> None:
    await in_doubt(journal, order("a-1"))
    await control(journal)
    await earlier(journal, "lanes", 101, "window_opened", "window_first")
    await in_doubt(journal, order("b-1", BOB))
    assert (await journal.heartbeat("w-1", [PLATFORM]))[PLATFORM].open_windows == 2
    assert await control(journal) == 1
    lanes = await select(journal, "SELECT key FROM lanes WHERE window_opened IS NOT NULL")
    assert [lane["key"] for lane in lanes] == [BOB]


async def test_rule_3_2_the_series_runs_only_while_there_is_a_window(journal: StoredJournal) -> None:
    heard: list[str] = []
    journal.listen(heard.append)
    assert await control(journal) == 0
    await in_doubt(journal)
    await eventually(lambda: has(heard, "control"))
    assert await control(journal) == 1


async def test_rule_3_3_after_an_early_success_the_next_waits_for_the_close(journal: StoredJournal) -> None:
    reading = await in_doubt(journal, order("a-1"))
    await admit(journal, order("a-2"))
    await settle(journal, done(reading))
    assert [seen.id for seen in await results(journal, "succeeded")] == ["a-1"]
    assert await claim(journal) == []
    await admit(journal, order("a-3"))
    assert await claim(journal) == []
    await close_window(journal)
    assert await run_all(journal) == ["a-2", "a-3"]


async def test_rule_3_3_an_empty_line_whose_window_is_open_holds_whoever_comes(
    journal: StoredJournal,
) -> None:
    await settle(journal, done(await in_doubt(journal, order("a-1"))))
    await admit(journal, order("a-2"))
    await journal.sweep()
    assert await claim(journal) == []
    await close_window(journal)
    assert await run_next(journal) == ["a-2"]


async def test_rule_3_3_a_deferred_command_waits_for_the_close_as_well(journal: StoredJournal) -> None:
    await admit(journal, order("p", BOB), order("a-2", depends_on="p"))
    parent = await claim_one(journal)
    await settle(journal, done(parent))
    await settle(journal, done(await in_doubt(journal, order("a-1"))))
    await journal.sweep()
    assert await claim(journal) == []
    await close_window(journal)
    assert await run_next(journal) == ["a-2"]


async def test_rule_3_3_proof_that_our_own_call_made_the_change_ends_the_window(
    journal: StoredJournal,
) -> None:
    reading = await in_doubt(journal, order("a-1"))
    await admit(journal, order("a-2"))
    await settle(journal, done(reading, releases_window=True))
    assert await run_next(journal) == ["a-2"]
    assert await control(journal) == 0


async def test_rule_3_3_proof_lets_the_next_step_go_at_once(journal: StoredJournal) -> None:
    reading = await in_doubt(journal)
    step = {"name": "one", "status": "done", "output": {}}
    await settle(journal, again(reading, failing=False, steps=(step,), releases_window=True))
    assert (await claim_one(journal)).state is State.RUNNING


async def test_rule_3_3_without_proof_the_next_step_waits_for_the_close(journal: StoredJournal) -> None:
    reading = await in_doubt(journal)
    step = {"name": "one", "status": "done", "output": {}}
    await settle(journal, again(reading, failing=False, steps=(step,)))
    assert await claim(journal) == []
    await make_due(journal)
    assert await claim(journal) == []
    await close_window(journal)
    one = await claim_one(journal)
    assert (one.state, one.window, one.steps) == (State.RUNNING, None, (step,))


async def test_rule_3_1_a_second_lost_answer_opens_a_window_of_its_own(journal: StoredJournal) -> None:
    await in_doubt(journal)
    await close_window(journal)
    await lapse(journal)
    await journal.rescue()
    reading = await claim_one(journal)
    assert reading.window is not None
    assert reading.window.closed
    await settle(journal, again(reading))
    await settle(journal, lost(await claim_one(journal)))
    reading = await claim_one(journal)
    assert reading.window is not None
    assert not reading.window.closed
    assert await control(journal) == 1


async def test_rule_3_4_one_that_is_parked_in_doubt_keeps_its_window(journal: StoredJournal) -> None:
    reading = await in_doubt(journal, order("a-1"))
    await admit(journal, order("a-2"))
    await settle(journal, parked(reading, EffectSeen.UNKNOWN))
    assert await claim(journal) == []
    await close_window(journal)
    assert await claim(journal) == []
    shown = await journal.command("a-1")
    assert (shown["state"], shown["window_closed"]) == ("parked", True)


async def test_rule_3_1_a_readings_schedule_is_obeyed(journal: StoredJournal) -> None:
    await settle(journal, still_unknown(await in_doubt(journal), due_in=1000))
    assert await claim(journal) == []
    await make_due(journal)
    assert (await claim_one(journal)).state is State.IN_DOUBT


@pytest.mark.parametrize("ends", ["cancel", "expire"])
async def test_rule_1_neither_expiry_nor_cancel_touches_one_in_doubt(
    journal: StoredJournal, ends: str
) -> None:
    command = order("a-1", expires_at=await journal.now() - 1 if ends == "expire" else None)
    await in_doubt(journal, command)
    await lapse(journal)
    await journal.rescue()
    if ends == "cancel":
        await admit(journal, inquiry("cancel", "x-1", target_id="a-1"))
    await journal.sweep()
    assert await states(journal) == {"a-1": "in_doubt"}


async def test_rule_3_2_control_answers_and_settles_of_two_processes_do_not_block_each_other(
    place: Place,
) -> None:
    one, other = await place.open(), await place.open()
    await one.admit([order(f"m-{n}", f"key-{n}") for n in range(40)])
    await settle(one, *(lost(c) for c in await claim(one)))

    async def answers() -> None:
        for _ in range(10):
            await other.control_answered(PLATFORM, await other.now(), 100.0)

    async def readings() -> None:
        for _ in range(10):
            claims = await claim(one)
            await one.settle([still_unknown(c) for c in claims[::-1]])

    await asyncio.gather(answers(), readings())
    await close_window(one)
    assert len(await run_all(one)) == 40
    assert ALICE not in await states(one)
