"""What follows an answer, and what a reading proves (rules 2, 3, 7): pure, so every row of the table is here."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.decide import (
    After,
    Again,
    Decision,
    Doubt,
    Finish,
    Hold,
    InDoubt,
    Park,
    Patience,
    Reject,
    clear_up,
    decide,
    reread,
    unread_again,
)
from worker.domain.effect import Effect, Risk, risk_of
from worker.domain.evidence import (
    Credit,
    NoEffect,
    Reading,
    TookEffect,
    Undecided,
    Verdict,
    calls_cost,
    judge,
    reading_from,
)
from worker.domain.outcome import Busy, Done, Ill, NotSent, Outcome, Refused, Unclear
from worker.engine.doubt import seen_at_the_start
from worker.messages.errors import Code

PATIENCE = Patience(first=2.0, most=900.0, retry_for=86400.0)
TEN = Credit(Decimal("10.00"), Decimal("0.01"))
CHANGES = [effect for effect in Effect if effect is not Effect.READ]


def after_call(
    outcome: Outcome, effect: Effect = Effect.SET, tries: int = 1, failing_for: float = 0.0
) -> Decision:
    return decide(outcome, effect, tries, failing_for, PATIENCE)


# After a call ------------------------------------------------------------------------------------------


def test_rule_2_done_finishes_the_step_with_its_output() -> None:
    assert after_call(Done({"balance": "7"})) == Finish({"balance": "7"})


def test_rule_2_a_refusal_rejects_with_the_platforms_own_words() -> None:
    decision = after_call(Refused(Code.PLATFORM_REFUSED, "plan 9: no such plan", "17", said="no such plan"))
    assert isinstance(decision, Reject)
    assert decision.problem.message == "plan 9: no such plan"
    assert (decision.problem.platform_code, decision.problem.platform_message) == ("17", "no such plan")


def test_rule_2_our_own_words_are_not_put_into_the_platforms_mouth() -> None:
    decision = after_call(Refused(Code.CANNOT_UPDATE_SAFELY, "it would be overwritten unseen", certain=True))
    assert isinstance(decision, Reject)
    assert decision.problem.message == "it would be overwritten unseen"
    assert "platform_message" not in decision.problem.as_data()


@pytest.mark.parametrize(
    ("credentials", "code"), [(True, Code.CREDENTIALS_REFUSED), (False, Code.PLATFORM_ILL)]
)
def test_rule_2_4_an_ill_platform_holds_its_commands(credentials: bool, code: Code) -> None:
    assert after_call(Ill("text", credentials)) == Hold(code, "text")


def test_rule_2_6_busy_comes_back_exactly_when_the_platform_said() -> None:
    decision = after_call(Busy(37.0), tries=9)
    assert isinstance(decision, Again)
    assert decision.after == 37.0


@pytest.mark.parametrize("effect", list(Effect))
def test_rule_2_1_what_was_not_sent_is_tried_again_whatever_it_does(effect: Effect) -> None:
    decision = after_call(NotSent("refused"), effect)
    assert isinstance(decision, Again)
    assert decision.counted


@pytest.mark.parametrize("effect", CHANGES)
def test_rule_3_1_a_lost_answer_to_anything_but_a_read_is_in_doubt_and_holds_the_key(effect: Effect) -> None:
    assert after_call(Unclear("timeout"), effect) == Doubt(0.0, "timeout", opens=True)
    assert after_call(Unclear("timeout"), effect, failing_for=1e9) == Doubt(0.0, "timeout", opens=True)


def test_rule_3_table_a_read_whose_answer_was_lost_is_simply_called_again() -> None:
    assert isinstance(after_call(Unclear("timeout"), Effect.READ), Again)


@pytest.mark.parametrize("outcome", [NotSent("refused"), Busy(5.0)])
def test_rule_7_1_after_retry_for_it_is_parked_with_no_effect(outcome: Outcome) -> None:
    assert isinstance(after_call(outcome, failing_for=86399), Again)
    decision = after_call(outcome, failing_for=86401)
    assert isinstance(decision, Park)
    assert (decision.problem.code, decision.unknown) == (Code.GAVE_UP, False)


@given(st.integers(0, 10_000))
def test_rule_7_1_waits_grow_from_two_seconds_to_fifteen_minutes_with_jitter(tries: int) -> None:
    assert 2.0 <= PATIENCE.wait(tries) <= 901.0
    assert PATIENCE.wait(tries + 20) >= 900.0


def test_rule_7_1_the_wait_doubles() -> None:
    assert [round(Patience(2.0, 900.0).wait(n) // 2.0) for n in (1, 2, 3)] in ([1, 2, 4], [1, 2, 4])
    for n in range(1, 8):
        assert 2.0**n <= PATIENCE.wait(n) <= 2.0**n + 1.0


@pytest.mark.parametrize(
    ("effect", "risk"),
    [
        (Effect.READ, Risk.NONE),
        (Effect.SET, Risk.CLAIM),
        (Effect.DELETE, Risk.CLAIM),
        (Effect.CHANGE_SECRET, Risk.CLAIM),
        (Effect.CREATE, Risk.SENT),
        (Effect.INCREMENT, Risk.SENT),
    ],
)
def test_rule_1_only_what_needs_evidence_needs_a_sent_mark_of_its_own(effect: Effect, risk: Risk) -> None:
    assert risk_of(effect) is risk


# What a reading proves ----------------------------------------------------------------------------------


def credit(balance: str, calls: tuple[str, ...] = (), last: int | None = None) -> Reading:
    return Reading(balance=Decimal(balance), calls=tuple(Decimal(price) for price in calls), last_call=last)


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (credit("110.00"), TookEffect),
        (credit("100.00"), NoEffect),
        (credit("120.00"), Undecided),  # twice the amount
        (credit("109.70"), Undecided),  # a call, and no records of calls
        (credit("99.70"), Undecided),
        (credit("109.70", ("0.30",), 8), TookEffect),  # the call is explained
        (credit("99.70", ("0.30",), 8), NoEffect),
        (credit("99.70", ("0.20",), 8), Undecided),
        (credit("100.00", ("10.00",), 8), Undecided),  # booked and talked away, or neither
        (credit("90.00", ("10.00",), 8), Undecided),  # the call costs exactly the amount
        (credit("110.00", ("4.00", "6.00"), 8), Undecided),
        (credit("100.00", ("4.00", "6.00"), 8), Undecided),
        (credit("90.00", ("4.00", "6.00"), 8), Undecided),
        (credit("110.004"), TookEffect),  # within half a step
        (credit("110.006"), Undecided),
    ],
)
def test_rule_3_table_what_a_balance_says_of_a_credit_of_ten(now: Reading, verdict: type[Verdict]) -> None:
    assert isinstance(judge(Effect.INCREMENT, credit("100.00"), now, TEN), verdict)


def test_rule_3_table_a_person_is_given_the_figures() -> None:
    verdict = judge(Effect.INCREMENT, credit("100.00"), credit("119.50", ("0.25",), 9), TEN)
    assert isinstance(verdict, Undecided)
    for figure in ("19.50", "0.25", "10.00"):
        assert figure in verdict.why


@given(st.lists(st.integers(1, 3000), max_size=6), st.booleans())
def test_rule_3_table_with_call_records_the_verdict_is_never_wrong(cents: list[int], booked: bool) -> None:
    """Whatever was talked: the truth, or a question."""
    calls = tuple(str(Decimal(price) / 100) for price in cents)
    spent = sum((Decimal(price) for price in calls), Decimal(0))
    now = credit(str(Decimal(100) - spent + (10 if booked else 0)), calls, 9)
    verdict = judge(Effect.INCREMENT, credit("100.00"), now, TEN)
    wrong = NoEffect if booked else TookEffect
    assert not isinstance(verdict, wrong)


def test_rule_3_table_with_too_many_calls_in_between_a_person_decides() -> None:
    assert calls_cost([Decimal("0.01")] * 15, TEN)
    assert not calls_cost([Decimal("0.01")] * 14, TEN)


ABSENT, THERE = (
    Reading(present=False),
    Reading(present=True, matches=True, platform_id="7", differences=("city",)),
)
OTHERS = Reading(present=True, matches=False, differences=("email", "document"))


def test_rule_3_table_a_new_object_that_agrees_is_ours_with_its_id_and_differences() -> None:
    verdict = judge(Effect.CREATE, ABSENT, THERE)
    assert verdict == TookEffect({"platform_id": "7", "adopted": False, "differences": ["city"]})


def test_rule_3_table_a_new_object_that_differs_or_was_there_before_proves_nothing() -> None:
    verdict = judge(Effect.CREATE, ABSENT, OTHERS)
    assert isinstance(verdict, Undecided)
    assert "email, document" in verdict.why
    assert isinstance(judge(Effect.CREATE, THERE, THERE), Undecided)
    assert isinstance(judge(Effect.CREATE, ABSENT, ABSENT), NoEffect)


def test_rule_3_table_delete_set_and_secret() -> None:
    assert isinstance(judge(Effect.DELETE, None, ABSENT), TookEffect)
    assert isinstance(judge(Effect.DELETE, None, THERE), NoEffect)
    assert isinstance(judge(Effect.SET, None, Reading(matches=True)), TookEffect)
    assert isinstance(judge(Effect.SET, None, Reading(matches=False)), NoEffect)
    assert isinstance(judge(Effect.CHANGE_SECRET, None, Reading(matches=True)), TookEffect)
    assert isinstance(
        judge(Effect.CHANGE_SECRET, None, Reading(matches=False, old_secret_works=True)), NoEffect
    )
    assert isinstance(judge(Effect.CHANGE_SECRET, None, Reading(matches=False)), Undecided)


@pytest.mark.parametrize("reading", [ABSENT, THERE, OTHERS, credit("1.10", ("0.30", "2"), 4), Reading()])
def test_a_reading_comes_back_from_the_journal_as_it_was(reading: Reading) -> None:
    assert reading_from(reading.as_data()) == reading


# In doubt -----------------------------------------------------------------------------------------------

NOW = 1000.0


def doubt(effect: Effect, earlier: tuple[After, ...] = (), closed: bool = False, **more: Any) -> InDoubt:
    return InDoubt(effect, earlier, closed, NOW, **{"failing_for": 30.0, **more})


def seen(reading: Reading, ago: float, closing: bool = False) -> After:
    return After(reading, judge(Effect.INCREMENT, credit("100.00"), reading, TEN), NOW - ago, closing)


def money(now: Reading, *earlier: After, closed: bool = False, **more: Any) -> Decision:
    verdict = judge(Effect.INCREMENT, credit("100.00"), now, TEN)
    return clear_up(doubt(Effect.INCREMENT, earlier, closed, **more), now, verdict, PATIENCE)


def test_rule_3_zero_counts_only_where_zero_was_read_as_the_window_began_too() -> None:
    """Not where anything was read then: a credit and a call that is not in the records yet were both there."""
    zero, moved = credit("100.00"), credit("104.00")
    late = (seen(moved, 119.0), seen(zero, 10.0))
    assert not seen_at_the_start(doubt(Effect.INCREMENT, late, closed=True, settle=120.0))
    both = (seen(zero, 119.0), seen(moved, 60.0), seen(zero, 10.0))
    assert seen_at_the_start(doubt(Effect.INCREMENT, both, closed=True, settle=120.0))


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("effect", [Effect.SET, Effect.DELETE, Effect.CREATE, Effect.CHANGE_SECRET])
def test_rule_3_3_a_positive_reading_may_end_the_command_at_once(effect: Effect, closed: bool) -> None:
    decision = clear_up(doubt(effect, closed=closed), Reading(), TookEffect({"x": 1}), PATIENCE)
    assert decision == Finish({"x": 1})


@pytest.mark.parametrize("effect", [Effect.SET, Effect.DELETE, Effect.CREATE, Effect.CHANGE_SECRET])
def test_rule_3_3_a_negative_reading_counts_only_at_the_end_of_the_window(effect: Effect) -> None:
    open_yet = clear_up(doubt(effect), Reading(), NoEffect(), PATIENCE)
    ended = clear_up(doubt(effect, closed=True), Reading(), NoEffect(), PATIENCE)
    assert isinstance(open_yet, Doubt)
    assert not open_yet.opens, "the window goes on, it does not begin anew"
    assert isinstance(ended, Again)


def test_rule_3_table_what_nobody_can_explain_is_parked_at_the_end_of_the_window() -> None:
    assert isinstance(clear_up(doubt(Effect.CREATE), OTHERS, Undecided("it differs"), PATIENCE), Doubt)
    decision = clear_up(doubt(Effect.CREATE, closed=True), OTHERS, Undecided("it differs"), PATIENCE)
    assert isinstance(decision, Park)
    assert (decision.unknown, decision.problem.code, decision.problem.message) == (
        True,
        Code.EFFECT_UNKNOWN,
        "it differs",
    )


def test_rule_3_table_money_counts_when_two_readings_a_lag_apart_agree() -> None:
    booked = credit("110.00")
    assert isinstance(money(booked), Doubt)
    assert isinstance(money(booked, seen(booked, ago=9.9)), Doubt)
    assert isinstance(money(booked, seen(credit("100.00"), ago=11)), Doubt)
    assert isinstance(money(booked, seen(booked, ago=10.1)), Finish)


def test_rule_3_table_money_that_did_not_move_is_called_again_at_the_windows_end_only() -> None:
    still = credit("100.00")
    assert isinstance(money(still, seen(still, ago=60)), Doubt)
    assert isinstance(money(still, seen(still, ago=60), closed=True), Again)
    strict = money(still, seen(still, ago=60), closed=True, strict=True)
    assert isinstance(strict, Park)
    assert strict.unknown


def test_rule_3_table_money_that_came_and_went_is_not_taken_for_never_booked() -> None:
    decision = money(
        credit("100.00"), seen(credit("110.00"), ago=90), seen(credit("100.00"), ago=60), closed=True
    )
    assert isinstance(decision, Park)
    assert decision.unknown


def test_rule_3_table_without_call_records_any_other_movement_is_left_to_a_person() -> None:
    moved = credit("99.70")
    assert isinstance(money(moved, seen(moved, ago=20)), Doubt), "not before the window's end"
    decision = money(moved, seen(moved, ago=20), closed=True)
    assert isinstance(decision, Park)
    assert "-0.30" in decision.problem.message
    back = money(credit("100.00"), seen(moved, ago=40), seen(credit("100.00"), ago=20), closed=True)
    assert isinstance(back, Park), "a balance that moved once and came back proves nothing"
    assert "-0.30" in back.problem.message


def test_rule_3_table_a_balance_that_never_rests_is_parked_and_not_read_for_ever() -> None:
    restless = money(
        credit("99.10"), seen(credit("99.70"), ago=40), seen(credit("99.40"), ago=20), closed=True
    )
    assert isinstance(restless, Park)


def test_rule_3_table_with_call_records_movements_are_explained_and_go_on() -> None:
    still = credit("99.70", ("0.30",), 8)
    assert isinstance(money(still, seen(still, ago=20, closing=True), closed=True), Again)
    booked = seen(credit("109.70", ("0.30",), 8), ago=60)
    assert isinstance(money(credit("109.70", ("0.30",), 8), booked), Finish)


def test_rule_3_table_zero_with_call_records_counts_from_two_readings_after_the_window() -> None:
    """One from before its end may be older than a late credit and a call that cost as much."""
    still = credit("100.00", (), 8)
    decision = money(still, seen(still, ago=30), closed=True)
    assert isinstance(decision, Doubt)
    assert decision.after == doubt(Effect.INCREMENT).lag


def test_rule_3_table_strict_leaves_a_booked_amount_to_a_person_at_the_windows_end() -> None:
    booked = credit("110.00", (), 8)
    assert isinstance(money(booked, seen(booked, ago=20), strict=True), Doubt)
    parked = money(booked, seen(booked, ago=20), closed=True, strict=True)
    assert isinstance(parked, Park)
    assert parked.unknown


@pytest.mark.parametrize("effect", CHANGES)
def test_rule_3_4_after_retry_for_in_doubt_a_person_decides(effect: Effect) -> None:
    long = doubt(effect, failing_for=86401.0)
    for decision in (
        unread_again(long, PATIENCE),
        clear_up(long, credit("100.00"), NoEffect(), PATIENCE),
    ):
        assert isinstance(decision, Park)
        assert (decision.unknown, decision.problem.code) == (True, Code.EFFECT_UNKNOWN)


def test_rule_3_4_readings_follow_the_retry_schedule_but_see_the_windows_start() -> None:
    many = tuple(seen(credit("100.00"), ago=float(n)) for n in range(12))
    assert 2.0 <= reread(doubt(Effect.SET), PATIENCE) <= 3.0
    assert reread(doubt(Effect.SET, many), PATIENCE) == 30.0, "a quarter of `settle`"
    assert reread(doubt(Effect.SET, many, closed=True), PATIENCE) >= 900.0


def test_rule_3_4_readings_that_fail_become_rarer() -> None:
    def wait(failing_for: float, closed: bool) -> float:
        decision = unread_again(doubt(Effect.SET, closed=closed, failing_for=failing_for), PATIENCE)
        assert isinstance(decision, Doubt)
        return decision.after

    assert wait(4.0, closed=True) <= 3.0
    assert wait(400.0, closed=True) == 100.0
    assert wait(40_000.0, closed=True) == 900.0
    assert wait(40_000.0, closed=False) == 30.0


def test_in_doubt_nothing_is_ever_called_again_while_the_window_is_open() -> None:
    """All that a reading can show, for every effect: an open window never lets a second call out."""
    figures = [credit(b, c) for b, c in product(("90", "100", "110", "120"), ((), ("10",), ("0.3",)))]
    verdicts: tuple[Verdict, ...] = (NoEffect(), TookEffect(), Undecided("?"))
    for effect, now, verdict in product(CHANGES, figures, verdicts):
        for earlier in ((), (seen(now, ago=60),)):
            decision = clear_up(doubt(effect, earlier), now, verdict, PATIENCE)
            assert not isinstance(decision, Again | Reject | Hold)
