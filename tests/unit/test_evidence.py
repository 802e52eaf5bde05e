"""Rules 3: what a reading proves about a call whose answer was lost. It never guesses."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import combinations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from worker.domain.effect import Effect, Risk, risk_of
from worker.domain.evidence import (
    MOST_CALLS,
    Credit,
    NoEffect,
    Reading,
    TookEffect,
    Undecided,
    judge,
    judge_create,
    judge_credit,
    judge_secret,
    reading_from,
)

STEP = Decimal("0.01")
amounts = st.decimals("0.01", "500", places=2)
prices = st.decimals("0.01", "20", places=2)
balances = st.decimals("-50", "500", places=2)
calls_between = st.lists(prices, max_size=6)


def coincides(calls: list[Decimal], amount: Decimal) -> bool:
    choices = (c for size in range(1, len(calls) + 1) for c in combinations(calls, size))
    return any(sum(choice) == amount for choice in choices)


def readings(before: Decimal, now: Decimal, calls: list[Decimal]) -> tuple[Reading, Reading]:
    return Reading(balance=before, last_call=7), Reading(balance=now, last_call=9, calls=tuple(calls))


@given(before=balances, amount=amounts, calls=calls_between, applied=st.integers(0, 2))
def test_rule_3_credit_is_never_judged_wrongly_when_all_calls_are_known(
    before: Decimal, amount: Decimal, calls: list[Decimal], applied: int
) -> None:
    now = before + applied * amount - sum(calls, Decimal(0))
    verdict = judge_credit(*readings(before, now, calls), Credit(amount, STEP))
    if coincides(calls, amount) or applied == 2:
        assert isinstance(verdict, Undecided)
    else:
        assert isinstance(verdict, TookEffect if applied else NoEffect)


@given(
    before=balances,
    amount=amounts,
    calls=calls_between,
    applied=st.booleans(),
    other=st.decimals("-600", "600", places=2),
)
def test_rule_3_what_others_book_or_calls_not_yet_seen_never_make_a_wrong_verdict_unless_they_are_the_amount(
    before: Decimal, amount: Decimal, calls: list[Decimal], applied: bool, other: Decimal
) -> None:
    assume(other != 0)
    assume(abs(other) != amount)  # the exception that P2 tells the users of
    now = before + applied * amount - sum(calls, Decimal(0)) + other
    verdict = judge_credit(*readings(before, now, calls), Credit(amount, STEP))
    assert isinstance(verdict, Undecided)


@given(before=balances, amount=amounts, moved=st.decimals("-600", "600", places=2))
def test_rule_3_without_call_records_any_difference_but_the_amount_or_zero_is_parked(
    before: Decimal, amount: Decimal, moved: Decimal
) -> None:
    verdict = judge_credit(Reading(balance=before), Reading(balance=before + moved), Credit(amount, STEP))
    kind = TookEffect if moved == amount else NoEffect if moved == 0 else Undecided
    assert isinstance(verdict, kind)


@given(before=balances, amount=amounts, calls=calls_between, ours=st.booleans())
def test_rule_3_a_listed_call_that_the_balance_does_not_show_yet_is_never_taken_for_the_credit(
    before: Decimal, amount: Decimal, calls: list[Decimal], ours: bool
) -> None:
    """A call costs exactly the amount: with and without our credit the figures are the same."""
    seen = [*calls, amount]
    now = before + (amount if ours else 0) - sum(calls, Decimal(0))
    assert isinstance(judge_credit(*readings(before, now, seen), Credit(amount, STEP)), Undecided)


def test_rule_3_a_negative_credit_may_hide_in_a_call_of_its_size() -> None:
    """A call that was debited before our first look, and rated after it, would explain what we booked."""
    before, now = readings(Decimal(50), Decimal(40), [Decimal(10)])
    assert isinstance(judge_credit(before, now, Credit(Decimal(-10), STEP)), Undecided)


def test_rule_3_the_amount_twice_is_parked_with_the_figures() -> None:
    before, now = readings(Decimal("10.00"), Decimal("49.50"), [Decimal("0.50")])
    verdict = judge_credit(before, now, Credit(Decimal("20.00"), STEP))
    assert isinstance(verdict, Undecided)
    assert all(figure in verdict.why for figure in ("39.50", "0.50", "20.00"))


def test_rule_3_more_calls_than_can_be_tried_are_for_a_person() -> None:
    calls = [Decimal("0.30")] * (MOST_CALLS + 1)
    before, now = readings(Decimal(10), Decimal(10) + 5 - sum(calls, Decimal(0)), calls)
    assert isinstance(judge_credit(before, now, Credit(Decimal(5), STEP)), Undecided)
    before, now = readings(Decimal(10), Decimal(10) + 5 - sum(calls[:-1], Decimal(0)), calls[:-1])
    assert isinstance(judge_credit(before, now, Credit(Decimal("5.00"), STEP)), TookEffect)


@given(
    before=st.decimals("0", "500", places=4),
    noise=st.decimals("-0.0049", "0.0049", places=4),
    applied=st.booleans(),
)
def test_rule_3_less_than_half_a_credit_step_is_rounding(
    before: Decimal, noise: Decimal, applied: bool
) -> None:
    amount = Decimal("15.00")
    verdict = judge_credit(
        Reading(balance=before), Reading(balance=before + applied * amount + noise), Credit(amount, STEP)
    )
    assert isinstance(verdict, TookEffect if applied else NoEffect)


@pytest.mark.parametrize(
    ("moved", "prices", "rounded_away", "kind"),
    [
        ("9.67", ["0.3333"], "0", TookEffect),  # a third of a cent is less than half a step
        ("8.68", ["0.3333"] * 4, "0", Undecided),  # four of them are more
        ("8.68", ["0.3333"] * 4, "0.005", TookEffect),  # unless balances are kept in cents
        ("-1.32", ["0.3333"] * 4, "0.005", NoEffect),
        ("8.60", ["0.3333"] * 4, "0.005", Undecided),
    ],
)
def test_rule_3_rounding_to_cents_is_overlooked_by_half_a_cent_a_call_where_the_settings_say_so(
    moved: str, prices: list[str], rounded_away: str, kind: type[object]
) -> None:
    before, now = readings(Decimal(50), 50 + Decimal(moved), [Decimal(price) for price in prices])
    credit = Credit(Decimal("10.00"), STEP, Decimal(rounded_away))
    assert isinstance(judge_credit(before, now, credit), kind)


@given(st.lists(st.decimals("0.01", "0.02", places=4), max_size=14), st.booleans())
def test_rule_3_no_rounding_makes_a_booked_credit_look_like_none(prices: list[Decimal], booked: bool) -> None:
    """The smallest amount there is, and calls enough to hide it: whatever is said, it is not the opposite."""
    amount = Decimal("0.01")
    taken = sum((price.quantize(STEP) for price in prices), Decimal(0))
    before, now = readings(Decimal(50), 50 + booked * amount - taken, prices)
    verdict = judge_credit(before, now, Credit(amount, STEP, Decimal("0.005")))
    assert not isinstance(verdict, NoEffect if booked else TookEffect)


@pytest.mark.parametrize(
    ("rows_before", "rows_now", "moved", "kind"),
    [
        (0, 1, "10.00", TookEffect),
        (0, 1, "3.00", TookEffect),  # whatever the balance says
        (0, 0, "0.00", NoEffect),
        (0, 0, "10.00", Undecided),  # the SELECT may look in the wrong place
        (0, 0, "3.00", Undecided),
        (0, 2, "20.00", Undecided),
        (1, 1, "10.00", Undecided),  # it shows something else
        (None, 1, "10.00", TookEffect),  # it was set meanwhile: the figures decide
        (0, None, "0.00", NoEffect),  # it was taken away meanwhile
    ],
)
def test_rule_3_5_an_entry_is_certain_and_its_absence_has_to_agree_with_the_figures(
    rows_before: int | None, rows_now: int | None, moved: str, kind: type[object]
) -> None:
    before = Reading(balance=Decimal(50), last_call=7, entries=rows_before)
    now = Reading(balance=50 + Decimal(moved), last_call=7, entries=rows_now)
    assert isinstance(judge_credit(before, now, Credit(Decimal("10.00"), STEP)), kind)


def test_rule_3_a_credit_that_took_effect_tells_the_balance() -> None:
    verdict = judge_credit(*readings(Decimal("1.50"), Decimal("11.50"), []), Credit(Decimal("10.00"), STEP))
    assert verdict == TookEffect({"balance_after": "11.50"})


@pytest.mark.parametrize(
    ("before", "now", "kind"),
    [
        (Reading(present=False), Reading(present=False), NoEffect),
        (Reading(present=False), Reading(present=True, matches=True, platform_id="7"), TookEffect),
        (Reading(present=False), Reading(present=True, matches=False, differences=("email",)), Undecided),
        (Reading(present=True), Reading(present=True, matches=True), Undecided),
        (Reading(present=True), Reading(present=True, matches=False), Undecided),
        (Reading(present=True), Reading(present=False), NoEffect),
    ],
    ids=["absent", "ours", "other", "was-there", "was-there-other", "went"],
)
def test_rule_3_a_create_is_believed_only_where_nothing_was_before(
    before: Reading, now: Reading, kind: type[object]
) -> None:
    assert isinstance(judge_create(before, now), kind)
    assert judge(Effect.CREATE, before, now) == judge_create(before, now)


def test_rule_3_a_create_that_took_effect_tells_id_and_differences() -> None:
    now = Reading(present=True, matches=True, platform_id="4711", differences=("call_limit",))
    verdict = judge_create(Reading(present=False), now)
    assert verdict == TookEffect({"platform_id": "4711", "adopted": False, "differences": ["call_limit"]})


def test_rule_3_what_differs_is_named() -> None:
    now = Reading(present=True, matches=False, differences=("email", "profile"))
    verdict = judge_create(Reading(present=False), now)
    assert isinstance(verdict, Undecided)
    assert "email, profile" in verdict.why


@pytest.mark.parametrize(
    ("matches", "old_works", "kind"),
    [(True, None, TookEffect), (True, True, TookEffect), (False, True, NoEffect), (False, False, Undecided)],
)
def test_rule_3_a_secret_is_judged_by_which_one_works(
    matches: bool, old_works: bool | None, kind: type[object]
) -> None:
    now = Reading(matches=matches, old_secret_works=old_works)
    assert isinstance(judge_secret(now), kind)
    assert judge(Effect.CHANGE_SECRET, None, now) == judge_secret(now)


@pytest.mark.parametrize(
    ("effect", "now", "kind"),
    [
        (Effect.DELETE, Reading(present=False), TookEffect),
        (Effect.DELETE, Reading(present=True), NoEffect),
        (Effect.DELETE, Reading(), NoEffect),
        (Effect.SET, Reading(matches=True), TookEffect),
        (Effect.SET, Reading(matches=False), NoEffect),
        (Effect.SET, Reading(), NoEffect),
    ],
)
def test_rule_3_a_delete_or_set_is_believed_only_where_it_shows(
    effect: Effect, now: Reading, kind: type[object]
) -> None:
    assert isinstance(judge(effect, None, now), kind)


def test_rule_5_3_the_risk_of_a_call_begins_with_its_claim_or_with_sent() -> None:
    assert {effect: risk_of(effect) for effect in Effect} == {
        Effect.READ: Risk.NONE,
        Effect.SET: Risk.CLAIM,
        Effect.DELETE: Risk.CLAIM,
        Effect.CHANGE_SECRET: Risk.CLAIM,
        Effect.CREATE: Risk.SENT,
        Effect.INCREMENT: Risk.SENT,
    }


money = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**6), max_value=10**6)


@given(
    st.builds(
        Reading,
        present=st.none() | st.booleans(),
        matches=st.none() | st.booleans(),
        differences=st.lists(st.text(max_size=5)).map(tuple),
        platform_id=st.none() | st.text(),
        balance=st.none() | money,
        last_call=st.none() | st.integers(0),
        calls=st.lists(money, max_size=4).map(tuple),
        entries=st.none() | st.integers(0, 3),
        old_secret_works=st.none() | st.booleans(),
        record=st.dictionaries(st.text(), st.text() | st.none()),
    )
)
def test_a_reading_survives_the_journal(reading: Reading) -> None:
    kept = json.loads(json.dumps(reading.as_data()))
    assert reading_from(kept) == reading
