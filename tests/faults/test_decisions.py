"""The decisions by property: what is decided after a call, and what readings over time make of a lost answer.

Pure: no journal, no platform. `machines/ledger.py` lets the time of a lost credit pass by the engine's own rules.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import combinations

from hypothesis import assume, event, given
from hypothesis import strategies as st

from tests.faults.machines.ledger import LAG, LOST, SETTLE, Account, Talk, Told, read_until_decided
from tests.faults.machines.profile import profile
from worker.domain.decide import Again, Decision, Doubt, Finish, Hold, Park, Patience, Reject, decide
from worker.domain.effect import Effect, Risk, risk_of
from worker.domain.lifecycle import FINAL, EffectSeen, State
from worker.domain.outcome import Busy, Done, Ill, NotSent, Outcome, Refused, Unclear
from worker.engine.runner import not_alone
from worker.engine.settle import settlement
from worker.engine.went import Went
from worker.journal.port import Claim, Window
from worker.messages.errors import Code, Problem
from worker.messages.events import View
from worker.platforms.port import Step

# After a call -----------------------------------------------------------------------------------------

texts = st.text(max_size=8)
seconds = st.floats(0, 3600, allow_nan=False)
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Done, st.dictionaries(texts, texts, max_size=2)),
    st.builds(Refused, st.sampled_from(list(Code)), texts, certain=st.booleans()),
    st.builds(Ill, texts, st.booleans()),
    st.builds(Busy, seconds),
    st.builds(NotSent, texts),
    st.builds(Unclear, texts),
)
# What may follow which answer, whatever the effect (rules 2); a lost answer to a read is called again.
FOLLOWS: dict[type, tuple[type, ...]] = {
    Done: (Finish,),
    Refused: (Reject,),
    Ill: (Hold,),
    Busy: (Again, Park),
    NotSent: (Again, Park),
    Unclear: (Doubt, Again, Park),
}


@profile(300)
@given(outcomes, st.sampled_from(list(Effect)), st.integers(1, 100), st.floats(0, 2e5), st.floats(1, 1e5))
def test_rule_2_what_follows_an_answer_depends_on_the_answer_alone(
    outcome: Outcome, effect: Effect, tries: int, failing_for: float, retry_for: float
) -> None:
    decision = decide(outcome, effect, tries, failing_for, Patience(retry_for=retry_for))
    assert isinstance(decision, FOLLOWS[type(outcome)])
    if isinstance(outcome, Unclear) and effect is not Effect.READ:
        assert decision == Doubt(0.0, outcome.why, opens=True), "only readings may follow it"
    if isinstance(decision, Again):
        assert decision.after >= 0
        assert failing_for <= retry_for
        assert not isinstance(outcome, Busy) or decision.after == outcome.after
    if isinstance(decision, Park):
        assert failing_for > retry_for
        assert not decision.unknown, "nothing was sent, or it only read"


@profile(200)
@given(st.integers(0, 2000), st.floats(0.01, 60), st.floats(60, 5000))
def test_rule_7_1_waits_lie_between_the_first_and_the_longest(tries: int, first: float, most: float) -> None:
    wait = Patience(first, most).wait(tries)
    assert first <= wait <= most + first / 2 + 1e-6


# A lost credit, over time -----------------------------------------------------------------------------

cents = st.integers(1, 2000).map(lambda n: Decimal(n) / 100)
moments = st.floats(-60.0, LOST + 2 * SETTLE, allow_nan=False).map(lambda s: round(s, 1))
# The settle window is longer than the platform's own longest transaction: what lands, lands within it.
landings = st.none() | st.floats(0.1, LOST + SETTLE - 1).map(lambda s: round(s, 1))
failures = st.lists(st.booleans(), max_size=8)


def talks(prices: st.SearchStrategy[Decimal], most: int = 5) -> st.SearchStrategy[tuple[Talk, ...]]:
    delays = st.floats(0, LAG - 0.1).map(lambda s: round(s, 1))
    return st.lists(st.builds(Talk, moments, prices, delays), max_size=most).map(tuple)


def wrong(account: Account, told: Told) -> bool:
    """Done without the money, or a call again (or yet to come) with it."""
    match told.decision:
        case Finish():
            return account.lands is None or account.lands > told.at
        case Again():
            return account.lands is not None
        case _:
            return False


def sums(movements: list[Decimal]) -> set[Decimal]:
    return {sum(c, Decimal(0)) for n in range(1, len(movements) + 1) for c in combinations(movements, n)}


@profile(300)
@given(cents, landings, failures)
def test_rule_3_alone_on_the_account_a_lost_credit_is_always_found_out(
    amount: Decimal, lands: float | None, failed: list[bool]
) -> None:
    """Booked at once, late, or never: nobody has to be asked, and nothing is called while it may yet land."""
    account = Account(amount, lands)
    told = read_until_decided(account, failed)
    assert not wrong(account, told)
    assert isinstance(told.decision, Again if lands is None else Finish)
    assert lands is not None or told.at >= LOST + SETTLE


@profile(500)
@given(cents, landings, talks(cents), failures)
def test_rule_3_without_call_records_calls_that_do_not_add_up_to_the_amount_never_mislead(
    amount: Decimal, lands: float | None, made: tuple[Talk, ...], failed: list[bool]
) -> None:
    assume(amount not in sums([t.price for t in made]))
    account = Account(amount, lands, made)
    told = read_until_decided(account, failed)
    event(type(told.decision).__name__)
    assert not wrong(account, told)


@profile(500)
@given(cents, landings, talks(cents), failures)
def test_rule_3_with_call_records_calls_are_explained_away(
    amount: Decimal, lands: float | None, made: tuple[Talk, ...], failed: list[bool]
) -> None:
    """Only those from before the call that were not yet listed then, and what adds up to it, are for a person."""
    made = tuple(t for t in made if t.at > 0)
    assume(amount not in sums([t.price for t in made]))
    account = Account(amount, lands, made, records=True)
    told = read_until_decided(account, failed)
    assert not wrong(account, told)
    assert isinstance(told.decision, Again if lands is None else Finish)


# Calls that cost exactly the amount, or a half, or a third of it: what could hide a credit.
parts = st.sampled_from([Decimal("10.00"), Decimal("5.00"), Decimal("2.50"), Decimal("0.30")])


@profile(800)
@given(landings, talks(parts, most=4), failures)
def test_rule_3_with_call_records_no_call_hides_a_credit_whatever_it_costs(
    lands: float | None, made: tuple[Talk, ...], failed: list[bool]
) -> None:
    account = Account(Decimal("10.00"), lands, made, records=True)
    told = read_until_decided(account, failed)
    event(type(told.decision).__name__)
    assert not wrong(account, told), told


def test_rule_3_with_call_records_a_call_at_the_windows_end_does_not_hide_a_late_credit() -> None:
    """The credit lands after a reading of zero; a call of just that amount is not listed yet at the window's end."""
    for landed in range(60, 124):
        for debited in range(landed, 126):
            talk = Talk(float(debited), Decimal("10.00"), LAG - 0.1)
            account = Account(Decimal("10.00"), float(landed), (talk,), records=True)
            told = read_until_decided(account, ())
            assert not wrong(account, told), (landed, debited, told)


movements = st.lists(
    st.tuples(moments, st.sampled_from([10, -10, 5, -5, 20, -20, 3]).map(Decimal)), max_size=3
).map(tuple)


@profile(800)
@given(landings, movements, failures, st.booleans())
def test_p2_what_others_book_misleads_only_where_it_makes_the_figures_coincide(
    lands: float | None, others: tuple[tuple[float, Decimal], ...], failed: list[bool], records: bool
) -> None:
    account = Account(Decimal("10.00"), lands, (), others, records)
    told = read_until_decided(account, failed)
    if wrong(account, told):
        between = [much for when, much in others if -1.0 < when <= told.at]
        needed = Decimal(10) if isinstance(told.decision, Finish) else Decimal(-10)
        assert sum(between, Decimal(0)) == needed, told
        event("coincided")


@profile(800)
@given(landings, movements, failures, st.booleans())
def test_p2_strict_is_never_misled_whatever_others_book(
    lands: float | None, others: tuple[tuple[float, Decimal], ...], failed: list[bool], records: bool
) -> None:
    account = Account(Decimal("10.00"), lands, (), others, records)
    assert not wrong(account, read_until_decided(account, failed, strict=True))


# What is written of it --------------------------------------------------------------------------------

VIEW = View("m1", "/crm", "credit.add.v1", "m1", "sip", "sip/subscriber/ana@pbx")
steps = st.lists(st.sampled_from(list(Effect)), min_size=1, max_size=4).map(
    lambda effects: tuple(Step(f"s{n}", f"S.s{n}", effect, {}) for n, effect in enumerate(effects))
)
problems = st.builds(Problem, st.sampled_from(list(Code)), texts)
decisions: st.SearchStrategy[Decision] = st.one_of(
    st.builds(Finish, st.just({})),
    st.builds(Reject, problems),
    st.builds(Again, seconds, texts, st.booleans(), st.booleans()),
    st.builds(Hold, st.sampled_from([Code.PLATFORM_ILL, Code.CREDENTIALS_REFUSED]), texts),
    st.builds(Doubt, seconds, texts, st.booleans()),
    st.builds(Park, problems, st.booleans()),
)


def claim(done: tuple[Step, ...], *, doubt: bool, unverified: bool = False, lapsed: int = 0) -> Claim:
    finished = tuple(
        {"name": s.name, "status": "done", "output": {}, "changes": s.effect is not Effect.READ} for s in done
    )
    base = Claim(1, 1, "us", 1, 130.0, 100.0, State.RUNNING, VIEW, {}, attempts=1, message_id="m1")
    state, window = (State.IN_DOUBT, Window(90.0)) if doubt else (State.RUNNING, None)
    return replace(base, steps=finished, state=state, window=window, unverified=unverified, lapsed=lapsed)


@profile(600)
@given(decisions, steps, st.data())
def test_rule_1_what_is_written_never_says_more_or_less_than_is_known(
    decision: Decision, plan: tuple[Step, ...], data: st.DataObject
) -> None:
    here = data.draw(st.integers(0, len(plan) - 1))
    done, step, left = plan[:here], plan[here], plan[here + 1 :]
    doubt = data.draw(st.booleans()) and step.effect is not Effect.READ
    settled = settlement(claim(done, doubt=doubt), Went(decision, step, left), 0.0)
    changed = any(s.effect is not Effect.READ for s in done)
    assert settled.state not in (State.CANCELLED, State.EXPIRED), "people, senders and time do that"
    assert (settled.effect is EffectSeen.UNKNOWN) <= (settled.state in (State.IN_DOUBT, State.PARKED))
    assert (settled.effect is EffectSeen.NONE) <= (not changed), "what took effect was forgotten"
    assert [s["name"] for s in settled.steps][: len(done)] == [s.name for s in done]
    if settled.state is State.IN_DOUBT:
        assert settled.effect is EffectSeen.UNKNOWN
    if settled.state is State.REJECTED and changed:
        assert settled.problem is not None
        assert settled.problem.code is Code.PARTLY_DONE
    if isinstance(decision, Finish):
        assert (settled.state in FINAL) is (not left)
        assert settled.risk is (risk_of(left[0].effect) if left else None)


@profile(200)
@given(decisions.filter(lambda d: isinstance(d, Again | Hold | Park)))
def test_rule_2_5_a_refusal_that_may_hide_an_effect_is_not_forgotten(decision: Decision) -> None:
    """It was refused, the evidence could not be read, and then something else came between: still nobody knows."""
    step = Step("addCredit", "S.addCredit", Effect.INCREMENT, {}, amount=Decimal(10))
    settled = settlement(claim((), doubt=False, unverified=True), Went(decision, step), 0.0)
    assert settled.unverified or settled.effect is EffectSeen.UNKNOWN


def test_rule_1_lapsed_leases_are_not_forgotten_because_it_could_not_run_alone() -> None:
    for doubt in (False, True):
        one = claim((), doubt=doubt, lapsed=2)
        assert not settlement(one, not_alone(one), 0.0).counted


def test_rule_5_3_every_effect_has_a_risk_that_rescue_knows() -> None:
    assert {risk_of(effect) for effect in Effect} == set(Risk)
