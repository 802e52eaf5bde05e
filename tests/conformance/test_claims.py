"""Rules 1, 5.1, 5.3 and 5.4: who may work on a command, and what becomes of it when that one dies."""

from __future__ import annotations

import asyncio

import pytest

from tests.conformance.support import (
    BOB,
    Place,
    admit,
    again,
    change,
    claim,
    claim_one,
    done,
    earlier,
    lapse,
    lost,
    make_due,
    order,
    parked,
    read,
    records,
    results,
    run_next,
    select,
    settle,
    states,
    still_unknown,
)
from worker.domain.effect import Risk
from worker.domain.lifecycle import EffectSeen, State
from worker.domain.outcome import Exchange
from worker.journal.journal import StoredJournal
from worker.journal.vault import Vault, new_key


async def test_rule_5_1_a_claim_is_held_by_one_worker_until_it_lapses(journal: StoredJournal) -> None:
    await admit(journal, order())
    one = await claim_one(journal, "w-1")
    assert one.state is State.RUNNING
    assert one.lease_until == pytest.approx(one.now + 60)
    assert await claim(journal, "w-2") == []
    assert await journal.rescue() == 0
    await lapse(journal)
    assert await journal.rescue() == 1


async def test_rule_5_1_a_lease_ends_by_the_clock_of_the_database(journal: StoredJournal) -> None:
    await admit(journal, order(risk=Risk.NONE))
    first = await claim_one(journal, lease=0.2)
    while await journal.now() <= first.lease_until:
        assert await claim(journal, "w-2") == []
        await asyncio.sleep(0.02)
    assert await journal.rescue() == 1
    second = await claim_one(journal, "w-2")
    assert second.fence > first.fence


async def test_rule_5_1_many_engines_never_share_a_command(place: Place) -> None:
    engines = [await place.open() for _ in range(4)]
    await engines[0].admit([order(f"m-{n}", f"key-{n}") for n in range(60)])

    async def take(number: int) -> list[str]:
        taken = []
        while claims := await engines[number].claim("sip-br", f"w-{number}", 4, 60.0):
            taken += [one.message_id for one in claims]
        return taken

    taken = [id for ids in await asyncio.gather(*(take(n) for n in range(4))) for id in ids]
    # One that is locked by another engine at that instant is skipped, not waited for: look once more.
    taken += await take(0)
    assert sorted(taken) == sorted(f"m-{n}" for n in range(60))


async def test_rule_5_1_a_claim_takes_no_more_than_there_are_free_slots(journal: StoredJournal) -> None:
    await journal.admit([order(f"m-{n}", f"key-{n}") for n in range(10)])
    assert len(await claim(journal, limit=3)) == 3
    assert len(await claim(journal, limit=100)) == 7


async def test_rule_5_1_a_claim_carries_what_the_engine_needs(journal: StoredJournal) -> None:
    data = {"platform": "sip-br", "password": "s3cret-word"}
    command = order("m-1", data=data, expires_at=9e9, correlation_id="c-1", secret_output=True, reply_to="q")
    await admit(journal, command)
    one = await claim_one(journal)
    assert one.data == data
    assert (one.attempts, one.lapsed, one.steps, one.evidence, one.window) == (1, 0, (), (), None)
    assert (one.expires_at, one.view.correlation_id, one.secret_output) == (9e9, "c-1", True)
    assert one.view.received_at is not None
    assert one.view.started_at == pytest.approx(one.now)
    assert "s3cret-word" not in repr(one)


async def test_rule_5_1_sent_is_written_only_under_a_living_claim(journal: StoredJournal) -> None:
    await admit(journal, order("a"), order("b", BOB))
    first, second = sorted(await claim(journal), key=lambda one: one.message_id)
    await change(journal, "UPDATE commands SET lease_until = 1 WHERE id = $1", first.id)
    marks = await journal.mark_sent([(first, read(balance=None)), (second, read(present=False))])
    assert marks == [False, True]
    rows = await select(journal, "SELECT message_id, sent_at FROM commands ORDER BY message_id")
    assert [(row["message_id"], row["sent_at"] is None) for row in rows] == [("a", True), ("b", False)]
    kept = await select(journal, "SELECT command_id FROM evidence")
    assert [row["command_id"] for row in kept] == [second.id]


async def test_rule_5_1_sent_is_refused_to_one_who_was_rescued(journal: StoredJournal) -> None:
    await admit(journal, order(risk=Risk.SENT))
    first = await claim_one(journal)
    await lapse(journal)
    await journal.rescue()
    await claim_one(journal, "w-1")  # the same process may take it again: the fence tells them apart
    assert await journal.mark_sent([(first, None)]) == [False]


async def test_rule_5_4_settling_a_claim_that_was_rescued_writes_nothing(journal: StoredJournal) -> None:
    await admit(journal, order(risk=Risk.NONE))
    first = await claim_one(journal)
    await lapse(journal)
    await journal.rescue()
    before = await results(journal)
    assert await settle(journal, done(first, evidence=(read(present=True),))) == [False]
    second = await claim_one(journal, "w-2")
    assert await settle(journal, done(first)) == [False]
    assert await results(journal) == before
    for table in ("attempts", "evidence"):
        assert await select(journal, f"SELECT id FROM {table}") == []
    assert await settle(journal, done(second)) == [True]
    assert await settle(journal, done(second)) == [False]
    assert len(await results(journal)) == 1


async def test_rule_5_4_an_answer_that_comes_late_is_kept_while_nobody_has_taken_the_claim(
    journal: StoredJournal,
) -> None:
    await admit(journal, order())
    one = await claim_one(journal)
    await lapse(journal)
    assert await settle(journal, done(one, flagged=("sent_after_lease",))) == [True]
    [seen] = await results(journal)
    assert seen.data["flags"] == ["sent_after_lease"]
    assert await journal.rescue() == 0


async def test_rule_5_4_one_stale_claim_in_a_batch_does_not_harm_the_others(journal: StoredJournal) -> None:
    await admit(journal, order("a", risk=Risk.NONE), order("b", BOB))
    first, second = sorted(await claim(journal), key=lambda one: one.message_id)
    await change(journal, "UPDATE commands SET lease_until = 1 WHERE id = $1", first.id)
    await journal.rescue()
    assert await settle(journal, done(first), done(second)) == [False, True]


@pytest.mark.parametrize(
    ("risk", "sent", "state", "effect"),
    [
        (Risk.NONE, False, "waiting", "none"),
        (Risk.NONE, True, "waiting", "none"),
        (Risk.CLAIM, False, "in_doubt", "unknown"),
        (Risk.SENT, False, "waiting", "none"),
        (Risk.SENT, True, "in_doubt", "unknown"),
    ],
    ids=["read", "read-sent", "set", "evidence-not-sent", "evidence-sent"],
)
async def test_rule_5_3_rescue_asks_whether_a_call_may_have_begun(
    journal: StoredJournal, risk: Risk, sent: bool, state: str, effect: str
) -> None:
    await admit(journal, order(risk=risk))
    one = await claim_one(journal)
    if sent:
        assert await journal.mark_sent([(one, None)]) == [True]
    await lapse(journal)
    assert await journal.rescue() == 1
    [row] = await select(journal, "SELECT * FROM commands")
    assert (row["state"], row["effect"], row["lapsed"]) == (state, effect, 1)
    [lane] = await select(journal, "SELECT * FROM lanes")
    assert (lane["window_opened"] is not None) is (state == "in_doubt")
    next_ = await claim_one(journal, "w-2")
    assert next_.lapsed == 1
    assert next_.attempts == (1 if state == "in_doubt" else 2)


async def test_rule_5_3_a_mark_of_an_earlier_attempt_says_nothing_about_the_next(
    journal: StoredJournal,
) -> None:
    await admit(journal, order(risk=Risk.SENT))
    one = await claim_one(journal)
    await journal.mark_sent([(one, None)])
    await settle(journal, again(one))
    await claim_one(journal)
    await lapse(journal)
    await journal.rescue()
    assert await states(journal) == {"m-1": "waiting"}


async def test_rule_5_3_the_risk_is_that_of_the_step_that_is_next(journal: StoredJournal) -> None:
    await admit(journal, order(risk=Risk.NONE))
    one = await claim_one(journal)
    step = {"name": "look", "status": "done", "output": {}}
    await settle(journal, again(one, steps=(step,), risk=Risk.CLAIM, failing=False))
    two = await claim_one(journal)
    assert two.steps == (step,)
    await lapse(journal)
    await journal.rescue()
    assert await states(journal) == {"m-1": "in_doubt"}


async def test_rule_5_3_one_in_doubt_stays_in_doubt_with_its_window(journal: StoredJournal) -> None:
    await admit(journal, order(risk=Risk.NONE))
    await settle(journal, lost(await claim_one(journal)))
    [before] = await select(journal, "SELECT window_opened FROM lanes")
    reading = await claim_one(journal)
    assert reading.state is State.IN_DOUBT
    await lapse(journal)
    await journal.rescue()
    assert await states(journal) == {"m-1": "in_doubt"}
    [after] = await select(journal, "SELECT window_opened FROM lanes")
    assert after == before
    assert (await claim_one(journal)).state is State.IN_DOUBT


@pytest.mark.parametrize(
    ("risk", "effect", "code"),
    [(Risk.NONE, "none", "gave_up"), (Risk.CLAIM, "unknown", "effect_unknown")],
    ids=["read", "set"],
)
async def test_rule_1_a_command_must_not_kill_workers_for_ever(
    journal: StoredJournal, risk: Risk, effect: str, code: str
) -> None:
    await admit(journal, order(risk=risk))
    for expected in (0, 1, 2):
        assert (await claim_one(journal)).lapsed == expected
        await lapse(journal)
        await journal.rescue()
    assert await states(journal) == {"m-1": "parked"}
    assert await claim(journal) == []
    [told] = await results(journal, "parked")
    assert (told.data["effect"], told.data["error"]["code"]) == (effect, code)
    assert told.data["finished_at"] is None


async def test_rule_1_only_lapses_in_a_row_count(journal: StoredJournal) -> None:
    await admit(journal, order(risk=Risk.NONE))
    for _ in range(2):
        await claim_one(journal)
        await lapse(journal)
        await journal.rescue()
    await settle(journal, again(await claim_one(journal)))
    assert (await claim_one(journal)).lapsed == 0


async def test_rule_5_3_a_rescue_is_in_the_audit_chain(journal: StoredJournal) -> None:
    await admit(journal, order())
    await claim_one(journal, "w-dead")
    await lapse(journal)
    await journal.rescue()
    rescued = (await records(journal))[-1]
    assert (rescued["what"], rescued["details"]["owner"]) == ("rescued", "w-dead")
    assert rescued["details"]["state"] == "in_doubt"


async def test_rule_5_3_the_stopped_time_before_a_first_lapse_does_not_count_for_it(
    journal: StoredJournal,
) -> None:
    await journal.pause("sip-br", "ann", "maintenance")
    await earlier(journal, "platforms", 500, "stopped_since")
    await journal.resume("sip-br", "ann", "done")
    await admit(journal, order(risk=Risk.NONE))
    await claim_one(journal)
    await lapse(journal)
    await journal.rescue()
    one = await claim_one(journal)
    assert one.failing_since is not None
    assert one.stopped_before == pytest.approx(500, abs=30)


async def test_rule_5_3_two_rescuers_at_once_rescue_once(place: Place) -> None:
    one, other = await place.open(), await place.open()
    await one.admit([order(f"m-{n}", f"key-{n}", risk=Risk.NONE) for n in range(20)])
    await claim(one)
    await lapse(one)
    rescued = list(await asyncio.gather(one.rescue(), other.rescue()))
    while more := await one.rescue():
        rescued.append(more)
    assert sum(rescued) == 20
    rows = await select(one, "SELECT DISTINCT lapsed FROM commands")
    assert [row["lapsed"] for row in rows] == [1]


async def test_rule_1_an_attempt_counts_when_it_is_claimed_and_can_be_given_back(
    journal: StoredJournal,
) -> None:
    await admit(journal, order())
    await settle(journal, again(await claim_one(journal), counted=False, failing=False))
    [row] = await select(journal, "SELECT attempts, failing_since FROM commands")
    assert (row["attempts"], row["failing_since"]) == (0, None)
    assert (await claim_one(journal)).attempts == 1


async def test_rule_1_readings_while_in_doubt_are_no_attempts(journal: StoredJournal) -> None:
    await admit(journal, order())
    await settle(journal, lost(await claim_one(journal)))
    reading = await claim_one(journal)
    assert reading.attempts == 1
    await settle(journal, still_unknown(reading))
    assert (await claim_one(journal)).attempts == 1


async def test_rule_7_1_the_first_failure_is_remembered_until_a_step_gets_through(
    journal: StoredJournal,
) -> None:
    await admit(journal, order())
    await settle(journal, again(await claim_one(journal), stopped_before=7.0))
    first = await claim_one(journal)
    assert first.failing_since is not None
    assert first.stopped_before == 7.0
    await settle(journal, again(first, stopped_before=9.0))
    second = await claim_one(journal)
    assert (second.failing_since, second.stopped_before) == (first.failing_since, 7.0)
    step = {"name": "one", "status": "done", "output": {}}
    await settle(journal, again(second, failing=False, steps=(step,)))
    assert (await claim_one(journal)).failing_since is None


async def test_rule_3_evidence_is_kept_through_attempts(journal: StoredJournal) -> None:
    await admit(journal, order(risk=Risk.SENT))
    one = await claim_one(journal)
    await journal.mark_sent([(one, read("create", present=False, record={"name": "alice"}))])
    await settle(journal, lost(one, evidence=(read("create", kind="after", present=True, matches=True),)))
    two = await claim_one(journal)
    assert [(row.kind, row.reading.present) for row in two.evidence] == [("before", False), ("after", True)]
    assert two.evidence[0].at == pytest.approx(one.now, abs=30)
    assert two.evidence[0].reading.record == {"name": "alice"}


async def test_rule_2_5_an_unverified_refusal_is_remembered(journal: StoredJournal) -> None:
    await admit(journal, order(risk=Risk.SENT))
    await settle(journal, again(await claim_one(journal), unverified=True))
    assert (await claim_one(journal)).unverified
    await lapse(journal)
    await journal.rescue()
    assert (await claim_one(journal)).unverified


async def test_rule_5_1_engines_tasks_share_their_commits(journal: StoredJournal) -> None:
    await journal.admit([order(f"m-{n}", f"key-{n}", risk=Risk.SENT) for n in range(30)])
    claims = await claim(journal)
    assert all(await asyncio.gather(*(journal.mark_one(one, None) for one in claims)))
    assert all(await asyncio.gather(*(journal.settle_one(done(one)) for one in claims)))
    assert set((await states(journal)).values()) == {"succeeded"}
    assert len(await results(journal)) == 30


async def test_rule_6_3_garbage_in_an_answer_does_not_lose_the_answer(journal: StoredJournal) -> None:
    await admit(journal, order("a"), order("b", BOB))
    first, second = await claim(journal)
    garbage = Exchange("SubscriberWS.blockCalls", 1.0, 500, "<r/>", "\0 half \ud800 <a/>")
    problem = parked(first).problem
    assert problem is not None
    ends = await settle(
        journal,
        parked(
            first, exchange=garbage, problem=type(problem)(problem.code, "said: \0", None, None, "\ud800")
        ),
        done(second, exchange=garbage),
    )
    assert ends == [True, True]
    rows = await select(journal, "SELECT answer FROM attempts")
    assert [row["answer"] for row in rows] == ["\ufffd half ? <a/>"] * 2


async def test_rule_6_3_data_that_cannot_be_stored_fails_its_own_settling_only(
    journal: StoredJournal,
) -> None:
    await admit(journal, order("a"), order("b", BOB), order("c", "key-c"))
    first, second, third = sorted(await claim(journal), key=lambda one: one.message_id)
    answers = await asyncio.gather(
        journal.settle_one(done(first)),
        journal.settle_one(done(second, output={"text": "\ud800"})),
        journal.settle_one(done(third)),
        return_exceptions=True,
    )
    assert answers[0] is True
    assert isinstance(answers[1], Exception)
    assert answers[2] is True
    assert await states(journal) == {"a": "succeeded", "b": "running", "c": "succeeded"}


async def test_a_command_stored_under_a_missing_key_is_claimed_without_data_and_the_others_run(
    place: Place,
) -> None:
    first_key, new, other = new_key(), new_key(), new_key()
    one = await place.open(vault=Vault([first_key]))
    await admit(one, order("b", BOB))
    two = await place.open(vault=Vault([new, first_key]))
    await admit(two, order("a"), order("a-2"))
    step = {"name": "one", "status": "done", "output": {}}
    await settle(two, again(next(c for c in await claim(two) if c.message_id == "a"), steps=(step,)))
    await lapse(one)
    await one.rescue()
    three = await place.open(vault=Vault([other, first_key]), notify_after=0.0)
    claims = {c.message_id: c for c in await claim(three)}
    assert (claims["a"].data, claims["a"].steps) == (None, ())
    assert claims["b"].data is not None
    await settle(three, parked(claims["a"]), done(claims["b"]))
    await change(three, "UPDATE commands SET notify_at = 1 WHERE finished_at IS NULL")
    await three.sweep()  # who tells of the delay does not know the steps either
    assert await states(two) == {"b": "succeeded", "a": "parked", "a-2": "waiting"}
    await two.retry("a", "ann", "the key is back")
    assert (await claim_one(two)).steps == (step,)


async def test_rule_1_started_is_the_first_claim_and_attempts_leave_rows(journal: StoredJournal) -> None:
    await admit(journal, order())
    one = await claim_one(journal)
    exchange = Exchange("SubscriberWS.blockCalls", 3.0, None, "<q/>", "")
    await settle(journal, again(one, exchange=exchange, outcome="not_sent"))
    await make_due(journal)
    await run_next(journal)
    rows = await select(journal, "SELECT number, outcome, status FROM attempts ORDER BY id")
    assert rows == [
        {"number": 1, "outcome": "not_sent", "status": None},
        {"number": 2, "outcome": "done", "status": 200},
    ]
    [seen] = await results(journal, "succeeded")
    assert seen.data["attempts"] == 2
    [row] = await select(journal, "SELECT started_at FROM commands")
    assert row["started_at"] == pytest.approx(one.now)


async def test_rule_1_parked_and_in_doubt_leave_records(journal: StoredJournal) -> None:
    await admit(journal, order())
    await settle(journal, lost(await claim_one(journal)))
    await settle(journal, parked(await claim_one(journal), EffectSeen.UNKNOWN))
    assert [record["what"] for record in await records(journal)] == ["admitted", "in_doubt", "parked"]
