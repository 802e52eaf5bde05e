"""The checker finds each bad thing once, and nothing where nothing is wrong."""

from __future__ import annotations

import dataclasses
import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.calls import calls_of
from tests.faults.checker import check
from tests.faults.history import Act, Applied, Fault, Heard, History, Sent
from tests.faults.made import DOMAIN, SECRET, Made
from tests.faults.report import Report


@pytest.fixture
def made() -> Made:
    return Made()


def credit(made: Made, who: str = "joao", amount: str = "5.00", **more: Any) -> Sent:
    return made.send("credit.add.v1", who, amount=amount, **more)


def only(history: History, heading: str, *named: str) -> Report:
    """Under this heading and under no other; each of `named` stands in what is said."""
    report = check(history)
    assert report.found == {heading}, report.render()
    said = " ".join(report.bad[heading])
    assert all(name in said for name in named), said
    return report


def clean(history: History) -> Report:
    report = check(history)
    assert report.passed, report.render()
    return report


# ---------------------------------------------------------------- nothing is wrong


def test_an_ordinary_day_is_found_clean(made: Made) -> None:
    for who in ("joao", "ana"):
        made.carry_out(
            made.send("subscriber.create.v1", who, cps=2), output={"platform_id": "7", "adopted": False}
        )
        made.carry_out(credit(made, who))
        made.carry_out(made.send("calls.block.v1", who, kinds=["outgoing", "incoming"]))
        made.carry_out(made.send("calls.unblock.v1", who, kinds=["incoming"]))
        made.carry_out(made.send("credit.get.v1", who))
        made.carry_out(made.send("subscriber.block.v1", who))
        made.reject(made.send("subscriber.create.v1", who), code="already_exists")
        made.carry_out(made.send("subscriber.remove.v1", who))
    report = clean(made.history())
    assert (report.counts["sent"], report.counts["finished"], report.counts["rejected"]) == (16, 16, 2)


def test_the_same_event_twice_is_no_second_result(made: Made) -> None:
    made.heard.append(made.carry_out(credit(made)))
    clean(made.history())


def test_a_duplicate_is_answered_without_an_effect_of_its_own(made: Made) -> None:
    first = credit(made)
    made.repeat(first, made.carry_out(first))
    assert clean(made.history()).counts["answered as duplicates"] == 1


def test_a_refused_message_did_nothing(made: Made) -> None:
    refused = credit(made, amount="-1.00")
    made.answer(refused, "refused", error={"code": "invalid_field"})
    made.answer(refused, "refused", error={"code": "invalid_field"})  # it was delivered again
    assert clean(made.history()).counts["refused"] == 1


def test_expired_and_cancelled_commands_did_nothing(made: Made) -> None:
    late = credit(made, expires=made.now + 1)
    made.tick(5)
    made.reject(late, "expired", "expired")
    gone = credit(made, "ana")
    made.send("command.cancel.v1", id="cancel-1", target="")
    made.sent[-1] = dataclasses.replace(made.sent[-1], data={"id": gone.id})
    made.reject(gone, "cancelled", "cancelled_by_sender")
    made.answer(made.sent[-1], "succeeded", "none", output={"id": gone.id, "status": "cancelled"})
    clean(made.history())


@pytest.mark.parametrize("booked", [True, False])
def test_a_parked_credit_is_honest_whatever_became_of_it(made: Made, booked: bool) -> None:
    order = credit(made)
    made.park(order)
    if booked:
        made.apply(order)
    behind = made.send("subscriber.block.v1", "joao")
    made.unfinished[behind.id] = "waiting"
    assert clean(made.history()).counts["parked at the end"] == 1


def test_a_set_may_be_asked_for_again(made: Made) -> None:
    order = made.send("subscriber.block.v1", "joao")
    made.apply(order)
    made.carry_out(order)
    made.carry_out(made.send("subscriber.activate.v1", "joao"))
    clean(made.history())


@pytest.mark.parametrize("doubt", [True, False])
def test_a_set_that_was_there_already_needs_no_call_if_its_own_was_lost(made: Made, doubt: bool) -> None:
    made.carry_out(made.send("calls.block.v1", "joao"))
    lost = made.send("calls.block.v1", "joao")
    made.record("admitted", lost)
    if doubt:
        made.record("in_doubt", lost)
    made.end(lost, "succeeded")
    assert check(made.history()).found == (set() if doubt else {"effects missing"})


def test_what_no_field_shows_says_nothing_of_the_others(made: Made) -> None:
    made.carry_out(made.send("calls.block.v1", "joao"))
    made.carry_out(made.send("calls.block.v1", "joao", kinds=["private"]))
    lost = made.send("calls.block.v1", "joao")
    made.record("admitted", lost)
    made.record("rescued", lost)
    made.end(lost, "succeeded")
    clean(made.history())


def test_nobody_is_blocked_at_first(made: Made) -> None:
    lost = made.send("calls.block.v1", "joao")
    made.record("admitted", lost)
    made.record("in_doubt", lost)
    made.end(lost, "succeeded")
    only(made.history(), "effects missing", lost.id)


def test_commands_of_two_queues_have_no_order_between_them(made: Made) -> None:
    bulk = made.send("subscriber.block.v1", "joao", queue="provisioning.commands.bulk")
    made.carry_out(made.send("subscriber.activate.v1", "joao"))
    made.carry_out(bulk)
    clean(made.history())


def test_a_command_with_notbefore_joins_the_line_then(made: Made) -> None:
    later = credit(made, not_before=made.now + 10)
    made.carry_out(made.send("subscriber.block.v1", "joao"))
    made.tick(20)
    made.carry_out(later)
    clean(made.history())


def test_what_was_not_confirmed_need_not_be_there(made: Made) -> None:
    credit(made, confirmed=False)
    clean(made.history())


def test_a_retry_by_an_operator_has_a_result_of_its_own(made: Made) -> None:
    first = credit(made)
    made.reject(first)
    again = dataclasses.replace(first, id="retry-of-it")
    made.record("admitted", again)
    made.apply(again)
    made.answer(again, retry_of=first.id, original={"id": first.id})
    made.record("ended", again)
    clean(made.history(acts=[Act("retry", first.id, made.now)]))


def test_money_of_others_is_theirs(made: Made) -> None:
    made.carry_out(credit(made))
    made.applied.append(Applied(9, "foreign", f"joao@{DOMAIN}", amount=Decimal("3.00")))
    made.applied.append(Applied(10, "addCredit", f"joao@{DOMAIN}", "somebody else's", Decimal("1.00")))
    balances = {f"joao@{DOMAIN}": Decimal(10)}, {f"joao@{DOMAIN}": Decimal(19)}
    clean(made.history(balances_before=balances[0], balances_after=balances[1]))


# ---------------------------------------------------------------- one thing is wrong


def test_a_command_of_which_nobody_heard_is_lost(made: Made) -> None:
    made.carry_out(credit(made))
    gone = credit(made)
    only(made.history(), "lost", gone.id)


def test_a_command_that_ended_without_telling_has_no_result(made: Made) -> None:
    order = credit(made)
    made.record("admitted", order)
    made.apply(order)
    made.record("ended", order)
    only(made.history(), "missing or double final results", order.id)


def test_two_final_results_are_one_too_many(made: Made) -> None:
    order = credit(made)
    made.carry_out(order)
    made.answer(order)
    only(made.history(), "missing or double final results", order.id)


def test_an_event_that_comes_again_must_say_the_same(made: Made) -> None:
    heard = made.carry_out(credit(made))
    made.heard.append(dataclasses.replace(heard, body=heard.body + b" "))
    only(made.history(), "missing or double final results", heard.event_id)


def test_a_parked_command_must_be_told_of(made: Made) -> None:
    order = credit(made)
    made.record("admitted", order)
    made.unfinished[order.id] = "parked"
    only(made.history(), "missing or double final results", order.id)


def test_a_credit_that_was_booked_twice_is_doubled(made: Made) -> None:
    order = credit(made)
    made.apply(order)
    made.carry_out(order)
    only(made.history(), "effects doubled", order.id)


def test_a_parked_credit_that_was_booked_twice_is_doubled_all_the_same(made: Made) -> None:
    order = credit(made)
    made.apply(order)
    made.apply(order)
    made.park(order)
    only(made.history(), "effects doubled", order.id)


def test_a_duplicate_that_was_booked_as_well_is_doubled(made: Made) -> None:
    first = credit(made)
    made.apply(made.repeat(first, made.carry_out(first)))
    only(made.history(), "effects doubled", first.id)


def test_a_key_may_be_spent_once(made: Made) -> None:
    for _ in range(2):
        made.carry_out(credit(made, idempotency_key="invoice-7"))
    only(made.history(), "effects doubled", "invoice-7")


@pytest.mark.parametrize("between", [True, False])
def test_a_subscriber_that_was_created_twice_is_doubled(made: Made, between: bool) -> None:
    order = made.send("subscriber.create.v1", "joao")
    made.record("admitted", order)
    made.apply(order)
    if between:
        made.carry_out(credit(made))
    made.apply(order)
    made.end(order, "succeeded")
    only(made.history(), "effects doubled")


def test_a_credit_that_was_said_to_be_booked_is_missing(made: Made) -> None:
    order = credit(made)
    made.record("admitted", order)
    made.end(order, "succeeded")
    only(made.history(), "effects missing", order.id)


@pytest.mark.parametrize("kind", ["subscriber.create.v1", "subscriber.block.v1", "subscriber.remove.v1"])
def test_a_call_that_was_said_to_be_made_is_missing(made: Made, kind: str) -> None:
    order = made.send(kind, "joao")
    made.record("admitted", order)
    made.end(order, "succeeded")
    only(made.history(), "effects missing", order.id)


@pytest.mark.parametrize("status", ["rejected", "cancelled", "expired"])
@pytest.mark.parametrize("kind", ["credit.add.v1", "subscriber.block.v1", "subscriber.create.v1"])
def test_an_effect_that_was_denied_is_a_wrong_verdict(made: Made, kind: str, status: str) -> None:
    order = made.send(kind, "joao", amount="5.00", expires=made.now)
    made.sent.append(dataclasses.replace(order, id="c", type="command.cancel.v1", data={"id": order.id}))
    made.answer(made.sent[-1], "succeeded", "none", output={})
    made.apply(order)
    made.reject(order, status, "cancelled_by_sender")
    only(made.history(), "wrong verdicts", order.id)


def test_another_amount_is_a_wrong_verdict(made: Made) -> None:
    order = credit(made)
    made.record("admitted", order)
    made.apply(order, amount=Decimal("50.00"))
    made.end(order, "succeeded")
    only(made.history(), "wrong verdicts", order.id)


def test_nobody_is_cancelled_unasked_or_expired_early(made: Made) -> None:
    unasked, early = credit(made), credit(made, "ana", expires=made.now + 100)
    made.reject(unasked, "cancelled", "cancelled_by_sender")
    made.reject(early, "expired", "expired")
    only(made.history(), "wrong verdicts", unasked.id, early.id)


def test_a_refusal_for_a_conflict_needs_one(made: Made) -> None:
    order = credit(made)
    made.answer(order, "refused", error={"code": "idempotency_conflict"})
    only(made.history(), "wrong verdicts", order.id)
    other = credit(made, amount="6.00", idempotency_key=order.idempotency_key)
    made.carry_out(other)
    clean(made.history())


def test_a_duplicate_is_of_the_same_order(made: Made) -> None:
    first, other = credit(made), credit(made, amount="7.00")
    made.carry_out(first)
    made.answer(other, duplicate_of=first.id)
    only(made.history(), "wrong verdicts", other.id)


@pytest.mark.parametrize("kinds", [("subscriber.block.v1", "subscriber.activate.v1"), ("credit.add.v1",) * 2])
def test_two_commands_that_changed_places_are_out_of_order(made: Made, kinds: tuple[str, ...]) -> None:
    orders = [made.send(kind, "joao", amount="1.00") for kind in kinds]
    for order in orders:
        made.record("admitted", order)
    for order in reversed(orders):
        made.apply(order)
    for order in orders:
        made.end(order, "succeeded")
    only(made.history(), "out of order", "joao")


def test_a_late_call_of_the_last_command_cuts_the_customer_off(made: Made) -> None:
    block, unblock = (made.send(f"subscriber.{kind}.v1", "joao") for kind in ("block", "activate"))
    made.carry_out(block)
    made.carry_out(unblock)
    made.apply(block)
    only(made.history(), "out of order", "joao", "nothing ordered explains blockSubscriber (number 3)")


def test_what_depends_on_a_failure_does_not_run(made: Made) -> None:
    first = credit(made)
    made.reject(first)
    second = made.send("subscriber.block.v1", "ana", depends_on=first.id)
    made.carry_out(second)
    only(made.history(), "out of order", first.id, second.id)


def test_what_may_not_begin_yet_does_not(made: Made) -> None:
    order = credit(made, not_before=made.now + 100)
    made.carry_out(order)
    only(made.history(), "out of order", order.id)


def test_a_command_that_simply_waits_is_stuck(made: Made) -> None:
    order = credit(made)
    made.record("admitted", order)
    made.unfinished[order.id] = "running"
    only(made.history(), "stuck", order.id)


def test_a_secret_in_a_log_is_seen(made: Made, tmp_path: Path) -> None:
    made.carry_out(credit(made))
    log = tmp_path / "worker.log"
    log.write_text(json.dumps({"event": "oops", "body": f"<password>{SECRET}</password>"}))
    only(made.history(logs=(log,)), "secrets seen", "worker.log")
    log.write_text("nothing")
    clean(made.history(logs=(log,)))


def test_a_secret_in_an_event_is_seen(made: Made) -> None:
    order = credit(made)
    made.record("admitted", order)
    made.apply(order)
    heard = made.end(order, "succeeded", output={"password": SECRET})
    only(made.history(), "secrets seen", heard.event_id)


# ---------------------------------------------------------------- the audit chain


def break_chain(made: Made, place: int, **changed: Any) -> None:
    """Change the data of an audit event as somebody would who has no key."""
    audit = [index for index, one in enumerate(made.heard) if one.exchange == "audit"]
    heard = made.heard[audit[place]]
    event = json.loads(heard.body)
    event["data"] |= changed
    made.heard[audit[place]] = dataclasses.replace(heard, data=event["data"], body=json.dumps(event).encode())


@pytest.mark.parametrize(
    "changed", [{"details": {"status": "rejected"}}, {"previous": "f" * 64}, {"number": 9}]
)
def test_a_changed_audit_record_breaks_the_chain(made: Made, changed: dict[str, Any]) -> None:
    for _ in range(3):
        made.carry_out(credit(made))
    break_chain(made, 2, **changed)
    only(made.history(), "broken audit chain")


@pytest.mark.parametrize("place", [0, 2, 5])
def test_an_audit_record_that_was_never_heard_breaks_the_chain(made: Made, place: int) -> None:
    for _ in range(3):
        made.carry_out(credit(made))
    del made.heard[[i for i, one in enumerate(made.heard) if one.exchange == "audit"][place]]
    only(made.history(), "broken audit chain")


def test_what_the_workers_own_verification_says_counts(made: Made) -> None:
    made.carry_out(credit(made))
    only(made.history(audit_verify="record 3 was changed"), "broken audit chain", "record 3")


def test_a_number_that_was_given_twice_breaks_the_chain(made: Made) -> None:
    made.carry_out(credit(made))
    heard = made.heard[-1]
    made.heard.append(dataclasses.replace(heard, event_id="another"))
    report = check(made.history())
    assert report.found == {"broken audit chain"}


def test_not_one_audit_event_is_too_few(made: Made) -> None:
    made.carry_out(credit(made))
    made.heard = [one for one in made.heard if one.exchange == "results"]
    only(made.history(), "broken audit chain")


def test_the_records_of_a_chain_may_come_in_any_order_and_twice(made: Made) -> None:
    for _ in range(3):
        made.carry_out(credit(made))
    made.heard = [*reversed(made.heard), *made.heard]
    clean(made.history())


# ---------------------------------------------------------------- what the promises leave open


def test_what_was_sent_after_the_lease_and_says_so_is_excused(made: Made) -> None:
    order = credit(made)
    made.apply(order)
    made.record("sent_after_lease", order)
    made.carry_out(order)
    report = clean(made.history())
    assert report.counts["flagged sent_after_lease"] == 1
    assert [len(found) for found in report.excused.values()] == [1]


@pytest.mark.parametrize(("foreign", "excused"), [("5.00", True), ("5.01", False)])
def test_a_wrong_verdict_is_excused_only_where_others_made_the_figures_coincide(
    made: Made, foreign: str, excused: bool
) -> None:
    order = credit(made)
    made.record("admitted", order)
    made.applied.append(Applied(1, "foreign", order.subscriber, amount=Decimal(foreign)))
    made.end(order, "succeeded")
    report = check(made.history())
    assert report.passed is excused, report.render()
    assert bool(report.excused["coincidence"]) is excused


def test_a_line_that_is_too_tangled_to_judge_is_not_passed_over_in_silence(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.faults.line.MOST_STATES", 0)
    made.carry_out(made.send("subscriber.block.v1", "joao"))
    assert len(clean(made.history()).excused["too tangled to judge"]) == 1


def test_many_commands_that_joined_late_are_no_tangle(made: Made) -> None:
    later = [made.send("subscriber.block.v1", "joao", not_before=made.now) for _ in range(12)]
    later += [credit(made, not_before=made.now, expires=made.now) for _ in range(12)]
    for order in later[6:18]:
        made.carry_out(order)
    for order in (*later[:6], *later[18:]):
        made.reject(order, "expired", "expired") if order.expires else made.carry_out(order)
    report = clean(made.history())
    assert not report.excused
    made.applied.append(Applied(0, "removeSubscriber", f"joao@{DOMAIN}"))
    assert not check(made.history()).passed


def test_an_operators_word_is_his_own(made: Made) -> None:
    order = credit(made)
    made.record("admitted", order)
    made.answer(order, "parked", "unknown")
    made.end(order, "succeeded", error={"code": "resolved_by_operator"})
    clean(made.history(acts=[Act("resolve", order.id, made.now)]))
    only(made.history(), "wrong verdicts", order.id)


# ---------------------------------------------------------------- the report


def test_the_time_to_recover_counts_from_the_end_of_a_fault(made: Made) -> None:
    made.carry_out(credit(made))
    waiting = [credit(made, who) for who in ("joao", "ana")]
    fault = Fault("kill worker", "one", made.now, made.tick(10))
    for order in waiting:
        made.tick(3)
        made.carry_out(order)
    quiet = Fault("kill worker", "two", made.tick(), made.tick())
    report = clean(made.history(faults=[fault, quiet]))
    found = report.recovery["kill worker"]
    assert found.times == 2
    assert found.first is not None
    assert found.backlog is not None
    assert 3 < found.first.most < 4
    assert 6 < found.backlog.most < 8
    assert "kill worker" in report.render()


def test_a_report_can_be_read_by_people_and_programs(made: Made) -> None:
    gone = credit(made)
    report = check(made.history())
    assert "PROMISES WERE BROKEN" in str(report)
    assert gone.id in str(report)
    assert json.loads(json.dumps(report.as_json()))["bad"]["lost"]


def test_a_history_that_was_saved_is_the_same(made: Made, tmp_path: Path) -> None:
    made.carry_out(credit(made))
    made.park(credit(made, "ana"))
    history = made.history(
        faults=[Fault("kill", "w", 1.0, 2.0)],
        acts=[Act("retry", "x", 3.0, ok=False)],
        balances_before={"a@b": Decimal("1.50")},
        logs=(tmp_path / "log",),
        subscribers_after={"a@b": {"active": True}},
    )
    history.save(tmp_path / "history.jsonl")
    assert History.load(tmp_path / "history.jsonl") == history


def test_a_history_whose_log_and_state_differ_is_not_to_be_trusted(made: Made) -> None:
    made.carry_out(made.send("calls.block.v1", "joao"))
    after = {f"joao@{DOMAIN}": {"activeOutgoingCalls": True}}
    only(made.history(subscribers_after=after), "history contradicts itself", "joao")


# ---------------------------------------------------------------- any history

KINDS = (
    "credit.add.v1",
    "subscriber.block.v1",
    "subscriber.activate.v1",
    "calls.block.v1",
    "calls.unblock.v1",
    "credit.get.v1",
    "subscriber.update.v1",
    "password.change.v1",
    "forwarding.set.v1",
)
# All that any of these kinds wants; each takes its own of it.
WISHES = st.fixed_dictionaries(
    {
        "amount": st.sampled_from(("1.00", "2.00")),
        "changes": st.sampled_from(
            (
                {"email": "a@b"},
                {"email": "c@d", "incoming_calls": False},
                {"first_name": "Ana", "call_limit": 3},
            )
        ),
        "new_password": st.sampled_from(("p1", "p2")),
        "busy": st.sampled_from(("", "sip:a@b")),
    }
)
ENDS = ("succeeded",) * 6 + ("rejected", "refused", "parked", "expired", "duplicate", "unclear")


@st.composite
def days(draw: st.DrawFn) -> Made:
    """A perfect history: commands of three subscribers, arriving in one order and carried out by turns."""
    made = Made()
    lines: dict[str, list[tuple[Sent, str]]] = {}
    for _ in range(draw(st.integers(2, 14))):
        who = draw(st.sampled_from(("joao", "ana", "rui")))
        kind, end = draw(st.sampled_from(KINDS)), draw(st.sampled_from(ENDS))
        order = made.send(kind, who, expires=made.now, **draw(WISHES))
        lines.setdefault(who, []).append((order, end))
    while lines:
        who = draw(st.sampled_from(sorted(lines)))
        order, end = lines[who].pop(0)
        live(made, order, end)
        if end == "parked":  # it holds its line
            for behind, _ in lines[who]:
                made.unfinished[behind.id] = "waiting"
            lines[who] = []
        if not lines[who]:
            del lines[who]
    for amount in ("1.00", "2.00"):  # so that each thing that a test breaks is there
        made.carry_out(made.send("credit.add.v1", "eva", amount=amount))
    return made


def live(made: Made, order: Sent, end: str) -> None:
    match end:
        case "refused":
            made.answer(order, "refused", error={"code": "invalid_field"})
        case "parked":
            made.apply(order)
            made.park(order)
        case "rejected" | "expired":
            made.reject(order, end)
        case "duplicate":
            made.repeat(order, made.carry_out(order))
        case "unclear":
            if order.type != "credit.add.v1" and (calls := calls_of(order.type, order.data, False)):
                made.apply(order, calls[0].operation)  # the first answer was lost
            made.heard.append(made.carry_out(order))
        case _:
            made.carry_out(order)


quickly = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quickly
@given(days())
def test_no_perfect_history_is_ever_blamed(made: Made) -> None:
    clean(made.history())


def pick(data: st.DataObject, found: list[Any]) -> Any:
    return data.draw(st.sampled_from(found))


@quickly
@given(days(), st.data())
def test_a_result_that_is_dropped_is_missed(made: Made, data: st.DataObject) -> None:
    gone: Heard = pick(data, [one for one in made.heard if one.exchange == "results"])
    made.heard = [one for one in made.heard if one.event_id != gone.event_id]
    assert check(made.history()).found & {"lost", "missing or double final results"}


@quickly
@given(days(), st.data())
def test_a_second_booking_is_counted(made: Made, data: st.DataObject) -> None:
    one: Applied = pick(data, [one for one in made.applied if one.operation == "addCredit"])
    made.applied.append(dataclasses.replace(one, number=len(made.applied) + 1))
    assert "effects doubled" in check(made.history()).found


@quickly
@given(days(), st.data())
def test_a_booking_that_is_gone_is_missed(made: Made, data: st.DataObject) -> None:
    booked = [one for one in made.applied if one.operation == "addCredit"]
    gone: Applied = pick(data, [one for one in booked if one.command not in made.unfinished])
    made.applied.remove(gone)
    assert "effects missing" in check(made.history()).found


@quickly
@given(days(), st.data())
def test_swapped_effects_are_out_of_order(made: Made, data: st.DataObject) -> None:
    """Two neighbours of one subscriber; block and activate, or two different top-ups."""
    lines: dict[str, list[int]] = {}
    for index, one in enumerate(made.applied):
        if one.command not in made.unfinished:
            lines.setdefault(one.subscriber, []).append(index)
    pairs = [pair for line in lines.values() for pair in itertools.pairwise(line)]
    named = [p for p in pairs if all(made.applied[i].operation == "addCredit" for i in p)]
    first, second = pick(data, named)
    one, other = made.applied[first], made.applied[second]
    made.applied[first] = dataclasses.replace(other, number=one.number)
    made.applied[second] = dataclasses.replace(one, number=other.number)
    assert "out of order" in check(made.history()).found


@quickly
@given(days(), st.data())
def test_a_field_that_nobody_named_is_missed(made: Made, data: st.DataObject) -> None:
    made.carry_out(made.send("subscriber.update.v1", "eva", changes={"email": "e@f"}))
    held = {one.subscriber for one in made.sent if one.id in made.unfinished}
    changing = [i for i, one in enumerate(made.applied) if one.changed and one.subscriber not in held]
    place = pick(data, changing)
    one: Applied = made.applied[place]
    made.applied[place] = dataclasses.replace(one, changed={**(one.changed or {}), "document": "other"})
    assert check(made.history()).found


@quickly
@given(days(), st.data())
def test_one_other_byte_in_an_audit_event_is_found(made: Made, data: st.DataObject) -> None:
    place = pick(data, [i for i, one in enumerate(made.heard) if one.exchange == "audit"])
    heard: Heard = made.heard[place]
    at = data.draw(st.integers(heard.body.index(b'"data"') + 8, len(heard.body) - 3))
    changed = heard.body[:at] + bytes([heard.body[at] ^ 1]) + heard.body[at + 1 :]
    made.heard[place] = dataclasses.replace(heard, body=changed)
    assert check(made.history()).found == {"broken audit chain"}


@quickly
@given(days(), st.data())
def test_a_secret_anywhere_in_an_event_is_seen(made: Made, data: st.DataObject) -> None:
    place = pick(data, list(range(len(made.heard))))
    heard: Heard = made.heard[place]
    made.heard[place] = dataclasses.replace(heard, body=heard.body + SECRET.encode())
    assert "secrets seen" in check(made.history()).found
