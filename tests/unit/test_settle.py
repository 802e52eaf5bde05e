"""From how an attempt went to what is written of it (rules 1, 2.5, 3)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from worker.domain.decide import Again, Decision, Doubt, Finish, Hold, Park, Reject
from worker.domain.effect import Effect, Risk
from worker.domain.evidence import Reading
from worker.domain.lifecycle import EffectSeen, State
from worker.domain.outcome import Exchange
from worker.engine.attempt import not_now, past_its_time, remaining, unplanned
from worker.engine.lease import LeaseGuard
from worker.engine.runner import cut_short
from worker.engine.settle import scrubbed, settlement, unspeakable
from worker.engine.went import GIVEN_BACK, Went
from worker.journal.port import Claim, EvidenceRow, Settlement
from worker.messages.errors import Code, Problem
from worker.messages.events import View
from worker.platforms.port import Step

VIEW = View("m1", "/crm", "calls.block.v1", "m1", "sip", "sip/subscriber/ana@pbx")


def step(name: str, effect: Effect = Effect.SET, **more: Any) -> Step:
    return Step(name, f"S.{name}", effect, {}, **more)


def done(name: str, changes: bool = True, **output: Any) -> dict[str, Any]:
    return {"name": name, "status": "done", "output": output, "changes": changes}


def claimed(**changes: Any) -> Claim:
    claim = Claim(1, 1, "us", 1, 130.0, 100.0, State.RUNNING, VIEW, {}, attempts=1, message_id="m1")
    return replace(claim, **changes)


def settled(decision: Decision, claim: Claim | None = None, **went: Any) -> Settlement:
    return settlement(claim or claimed(), Went(decision, **{"step": step("block"), **went}), 7.0)


class Closed:
    """A line that begins nothing new."""

    closed = True


def test_rule_8_1_what_is_given_back_still_knows_the_steps_that_come_after_it() -> None:
    """Else a person's word about its call would end it as if that were all of it."""
    line: Any = Closed()
    went = not_now(claimed(), line, step("outgoing"), (step("incoming"), step("reload")))
    assert went is not None
    assert settlement(claimed(), went, 0.0).left == ("outgoing", "incoming", "reload")


# Steps --------------------------------------------------------------------------------------------------

PLAN = (
    step("insert", Effect.CREATE),
    step("update", after_adoption=True),
    step("services"),
    step("reload"),
)


@pytest.mark.parametrize(
    ("finished", "left"),
    [
        ((), ["insert", "update", "services", "reload"]),
        ((done("insert"),), ["services", "reload"]),
        ((done("insert", adopted=True),), ["update", "services", "reload"]),
        ((done("insert"), done("services")), ["reload"]),
        ((done("insert", adopted=True), done("update"), done("services")), ["reload"]),
        ((done("insert"), done("services"), done("reload")), []),
        ((done("insert"), done("elsewhere"), done("reload")), ["services"]),
    ],
)
def test_rule_1_what_is_left_of_a_plan(finished: tuple[dict[str, Any], ...], left: list[str]) -> None:
    assert [each.name for each in remaining(PLAN, finished)] == left


def test_rule_1_a_finished_step_leads_to_the_next_one_and_its_risk() -> None:
    then = settled(Finish({}), step=step("set"), steps_left=(step("credit", Effect.INCREMENT),))
    assert (then.state, then.risk, then.effect) == (State.WAITING, Risk.SENT, EffectSeen.APPLIED)
    assert then.counted
    assert not then.failing


def test_rule_1_a_step_for_what_was_adopted_falls_away_when_it_was_made() -> None:
    left = (step("update", after_adoption=True),)
    made = settled(Finish({"adopted": False}), step=step("insert", Effect.CREATE), steps_left=left)
    adopted = settled(Finish({"adopted": True}), step=step("insert", Effect.CREATE), steps_left=left)
    assert (made.state, made.effect) == (State.SUCCEEDED, EffectSeen.APPLIED)
    assert (adopted.state, adopted.effect) == (State.WAITING, EffectSeen.NONE)


def test_rule_1_when_nothing_is_left_the_command_has_succeeded() -> None:
    whole = settled(Finish(), claimed(steps=(done("a", x=1), done("b", y=2))), step=None)
    assert (whole.state, whole.output, whole.effect) == (
        State.SUCCEEDED,
        {"x": 1, "y": 2},
        EffectSeen.APPLIED,
    )


def test_the_steps_outputs_become_one_and_lists_are_joined() -> None:
    claim = claimed(steps=(done("a", kinds=["outgoing"], id="1"),))
    assert settled(Finish({"kinds": ["incoming"]}), claim).output == {
        "kinds": ["outgoing", "incoming"],
        "id": "1",
    }


def test_a_secret_output_is_masked_for_everybody_but_the_sender() -> None:
    secret = settled(Finish({"password": "s3cret"}), claimed(secret_output=True))
    assert secret.output == {"password": "***"}
    assert secret.secret_output == {"password": "s3cret"}


def test_a_credit_tells_amount_and_the_balance_before_the_call_that_took_effect() -> None:
    money = step("addCredit", Effect.INCREMENT, amount=Decimal("10.00"))
    direct = settled(Finish({}), step=money, before=Reading(balance=Decimal(5)))
    assert direct.output == {"amount": "10.00", "balance_before": "5.00"}
    rows = tuple(
        EvidenceRow("addCredit", n, "before", Reading(balance=Decimal(b))) for n, b in ((1, 5), (2, 7))
    )
    read = settled(Finish({"balance_after": "17"}), claimed(evidence=rows), step=money)
    assert read.output == {"amount": "10.00", "balance_before": "7.00", "balance_after": "17"}


@pytest.mark.parametrize("begun", [step("second"), None])
def test_rule_1_a_refusal_after_a_finished_step_is_partly_done(begun: Step | None) -> None:
    refusal = Reject(Problem(Code.NOT_ALLOWED, "no", None, "17", "text"))
    partly = settled(refusal, claimed(steps=(done("first"),)), step=begun)
    assert partly.problem is not None
    assert (partly.state, partly.effect, partly.problem.code) == (
        State.REJECTED,
        EffectSeen.APPLIED,
        Code.PARTLY_DONE,
    )
    assert "first" in partly.problem.message
    assert (partly.problem.platform_code, partly.problem.platform_message) == ("17", "text")


def test_a_refusal_of_the_first_step_is_the_refusal_itself() -> None:
    plain = settled(Reject(Problem(Code.NOT_FOUND, "nobody")))
    assert plain.problem == Problem(Code.NOT_FOUND, "nobody")
    assert plain.effect is EffectSeen.NONE


# What does not end it ----------------------------------------------------------------------------------


def test_rule_2_4_a_hold_costs_no_attempt() -> None:
    held = settled(Hold(Code.CREDENTIALS_REFUSED, "wrong password"), unverified=True)
    assert (held.state, held.counted, held.failing, held.unverified) == (State.WAITING, False, False, True)


def test_rule_2_5_an_unchecked_refusal_stays_so_until_a_call_is_made() -> None:
    """Given back, held or unread: the next attempt still has to look whether the refusal hid an effect."""
    doubtful = claimed(unverified=True)
    assert settled(GIVEN_BACK, doubtful).unverified
    assert settled(Again(2.0, "unread"), doubtful).unverified
    assert settled(Hold(Code.PLATFORM_ILL, "x"), doubtful).unverified
    assert not settled(Again(2.0, "busy"), doubtful, unverified=False).unverified


def test_rule_3_a_doubt_is_unknown_and_its_window_opens_once() -> None:
    opened = settled(Doubt(0.0, "timeout", opens=True))
    again = settled(Doubt(4.0, "not yet"), claimed(state=State.IN_DOUBT))
    assert (opened.state, opened.effect, opened.open_window) == (State.IN_DOUBT, EffectSeen.UNKNOWN, True)
    assert (again.state, again.open_window, again.due_in) == (State.IN_DOUBT, False, 4.0)


def test_a_parked_command_says_whether_its_effect_is_known() -> None:
    known = settled(Park(Problem(Code.GAVE_UP, "x")), claimed(steps=(done("first"),)))
    unknown = settled(Park(Problem(Code.EFFECT_UNKNOWN, "x"), unknown=True))
    assert (known.effect, unknown.effect) == (EffectSeen.APPLIED, EffectSeen.UNKNOWN)


def test_promise_9_what_was_cut_short_is_in_doubt_only_if_it_was_sent() -> None:
    guard = LeaseGuard(1e12)
    given = cut_short(claimed(), guard, "stopped")
    assert given.decision == GIVEN_BACK
    guard.wrote()
    assert cut_short(claimed(), guard, "stopped").decision == Doubt(0.0, "stopped", opens=True)


def test_promise_9_a_reading_that_was_cut_short_opens_no_new_window() -> None:
    cut = cut_short(claimed(state=State.IN_DOUBT), LeaseGuard(1e12), "stopped")
    assert cut.decision == Doubt(0.0, "stopped", opens=False)


# Plans that changed --------------------------------------------------------------------------------------


def test_a_command_that_is_not_allowed_any_more_is_rejected_unless_its_effect_is_unknown() -> None:
    denied = Problem(Code.NOT_ALLOWED, "denied now")
    assert unplanned(claimed(), denied) == Reject(denied)
    for doubtful in (claimed(state=State.IN_DOUBT), claimed(unverified=True)):
        decision = unplanned(doubtful, denied)
        assert isinstance(decision, Park)
        assert decision.unknown


def test_rule_1_past_its_expiry_nothing_is_begun_but_what_was_begun_goes_on() -> None:
    late = claimed(expires_at=99.0)
    assert past_its_time(late)
    assert not past_its_time(replace(late, expires_at=101.0))
    assert not past_its_time(replace(late, steps=(done("first"),)))
    assert not past_its_time(replace(late, unverified=True))


# What cannot be stored -----------------------------------------------------------------------------------


def test_what_a_database_cannot_hold_does_not_keep_an_answer_from_being_written() -> None:
    odd = "a\0b\ud800c"
    row = EvidenceRow("s", 1, "after", Reading(record={"name": odd}))
    before = Settlement(
        claimed(),
        State.SUCCEEDED,
        output={"x": [odd, {odd: odd}]},
        steps=(done("s", y=odd),),
        problem=Problem(Code.PLATFORM_REFUSED, odd, platform_message=odd),
        exchange=Exchange("e", 1.0, 200, odd, odd),
        evidence=(row,),
        details={"why": odd},
    )
    after = scrubbed(before)
    assert "\ud800" not in repr(after).encode("ascii", "backslashreplace").decode().replace("\\\\", "\\")
    assert (after.state, after.claim) == (before.state, before.claim)
    for value in (after.output, after.steps, after.details, after.evidence[0].reading.record, after.problem):
        text = repr(value)
        assert "\\x00" not in text
        assert "\\ud800" not in text


def test_what_cannot_be_written_in_any_way_is_a_persons() -> None:
    left = unspeakable(settled(Finish({"x": "y"}), claimed(steps=(done("first"),))))
    assert left.problem is not None
    assert (left.state, left.effect, left.problem.code) == (
        State.PARKED,
        EffectSeen.UNKNOWN,
        Code.EFFECT_UNKNOWN,
    )
    assert left.output is None
