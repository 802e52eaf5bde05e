"""The checker knows what each change had to leave behind: the fields that it named, and all others as they were."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.faults.calls import MAKERS, calls_of, same
from tests.faults.checker import check
from tests.faults.history import Sent
from tests.faults.made import DOMAIN, Made
from tests.faults.report import Report
from tests.faults.wishes import WISHES
from tests.faults.workload import write

BEFORE = {
    f"joao@{DOMAIN}": {
        "emailAddress": "joao@old",
        "document": "52998224725",
        "callLimit": 2,
        "password": "p0",
    }
}


@pytest.fixture
def made() -> Made:
    return Made()


def update(made: Made, **changes: Any) -> Sent:
    return made.send("subscriber.update.v1", "joao", changes=changes)


def did(made: Made, order: Sent, **changed: Any) -> None:
    """Carried out by one call, which changed this; answered, and audited."""
    made.record("admitted", order)
    made.apply(order, changed=changed)
    made.end(order, "succeeded")


def looked(made: Made, **more: Any) -> Report:
    return check(made.history(subscribers_before=BEFORE, **more))


def only(report: Report, heading: str, *named: str) -> None:
    assert report.found == {heading}, report.render()
    assert all(name in " ".join(report.bad[heading]) for name in named), report.render()


def test_an_update_that_changes_what_it_named_is_clean(made: Made) -> None:
    did(made, update(made, email="joao@new"), emailAddress="joao@new")
    did(made, update(made, email="joao@new", call_limit=3), callLimit=3)  # of the two one was so already
    assert looked(made).passed


def test_an_update_that_clears_another_field_is_told_by_its_name_alone(made: Made) -> None:
    order = update(made, email="joao@new")
    did(made, order, emailAddress="joao@new", document=None)
    report = looked(made)
    only(report, "unnamed fields changed", order.id, "document")
    assert "52998224725" not in report.render()


def test_what_is_filled_in_where_nothing_was_is_no_change(made: Made) -> None:
    did(made, update(made, email="joao@new"), emailAddress="joao@new", rings=0, state="")
    assert looked(made).passed


def test_an_update_that_leaves_another_value_is_no_effect_of_its_own(made: Made) -> None:
    did(made, update(made, email="joao@new"), emailAddress="joao@wrong")
    assert looked(made).found


def test_two_updates_that_changed_places_are_out_of_order(made: Made) -> None:
    first, second = update(made, email="a@new"), update(made, email="b@new")
    for order in (first, second):
        made.record("admitted", order)
    made.apply(second, changed={"emailAddress": "b@new"})
    made.apply(first, changed={"emailAddress": "a@new"})
    for order in (first, second):
        made.end(order, "succeeded")
    only(looked(made), "out of order", "joao")


def test_an_old_update_that_lands_once_more_is_out_of_order(made: Made) -> None:
    first = update(made, email="a@new")
    did(made, first, emailAddress="a@new")
    did(made, update(made, email="b@new"), emailAddress="b@new")
    made.apply(first, changed={"emailAddress": "a@new"})
    only(looked(made), "out of order", "updateSubscriber (number 3)")


def test_an_update_of_two_operations_is_both_of_them_in_their_order(made: Made) -> None:
    order = update(made, email="a@new", incoming_calls=False)
    made.record("admitted", order)
    made.apply(order, "updateSubscriber", changed={"emailAddress": "a@new"})
    made.apply(order, "blockIncommingCalls", changed={"activeIncomingCalls": False})
    made.end(order, "succeeded")
    assert looked(made).passed
    made.applied.pop()
    only(looked(made), "effects missing", order.id)


@pytest.mark.parametrize("last", ["p2", "p1"])
def test_the_last_password_that_was_ordered_is_the_one_that_stands(made: Made, last: str) -> None:
    for secret in ("p1", "p2"):
        did(made, made.send("password.change.v1", "joao", new_password=secret), password=secret)
    report = looked(made, subscribers_after={f"joao@{DOMAIN}": {"password": last}})
    assert report.passed is (last == "p2"), report.render()


def test_a_password_that_is_there_already_needs_no_call(made: Made) -> None:
    order = made.send("password.change.v1", "joao", new_password="p0")
    made.record("admitted", order)
    made.end(order, "succeeded")
    assert looked(made).passed


def test_a_number_is_given_once(made: Made) -> None:
    one, other = (made.send("number.assign.v1", who, number="5511") for who in ("joao", "ana"))
    did(made, one, **{"dids/5511": 1})
    did(made, other, **{"dids/5511": 1})
    only(looked(made), "effects doubled", "5511", "joao", "ana")


def test_a_number_that_was_released_may_be_given_to_another(made: Made) -> None:
    did(made, made.send("number.assign.v1", "joao", number="5511"), **{"dids/5511": 1})
    did(made, made.send("number.release.v1", "joao", number="5511"), **{"dids/5511": 0})
    did(made, made.send("number.assign.v1", "ana", number="5511"), **{"dids/5511": 1})
    assert looked(made).passed


def test_a_number_that_was_entered_twice_is_doubled(made: Made) -> None:
    order = made.send("number.assign.v1", "joao", number="5511")
    made.record("admitted", order)
    made.apply(order, changed={"dids/5511": 1})
    made.apply(order, changed={"dids/5511": 2})
    made.end(order, "succeeded")
    assert looked(made).found == {"effects doubled"}


def test_a_native_top_up_is_money_like_any_other(made: Made) -> None:
    order = made.send("sippulse.SubscriberWS.addCredit.v1", "joao", value="5.00", obs="voucher")
    made.record("admitted", order)
    for _ in range(2):
        made.apply(order, "addCredit", command=order.id, amount=Decimal("5.00"))
    made.end(order, "succeeded")
    only(looked(made), "effects doubled", order.id)


def test_the_checker_knows_every_command_that_a_storm_sends() -> None:
    asked = {one.event["type"]: one.event["data"] for one in write(5, 6000, 60.0).messages}
    reads = {"subscriber.get.v1", "credit.get.v1", "number.list.v1", "command.cancel.v1", "command.get.v1"}
    reads |= {"sippulse.SubscriberWS.retrieveSubscriber.v1"}
    assert len(asked) > len(WISHES) + 10
    for type_, data in asked.items():
        assert bool(calls_of(type_, data, adopted=False)) is (type_ not in reads), type_
    assert set(MAKERS) <= set(asked), "each that it knows is sent"


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (None, "", True),
        (False, None, True),
        ("5.00", 5, True),
        (True, "true", True),
        (True, 1, False),
        ("a", "b", False),
    ],
)
def test_values_are_compared_as_the_platform_has_them(one: Any, other: Any, alike: bool) -> None:
    assert same(one, other) is alike
