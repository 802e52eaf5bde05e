"""Which request meets which fault, and what is queued while the platform stands still."""

from collections import Counter
from functools import partial

import pytest

from worker.simulators.common.freezer import Freezer
from worker.simulators.sippulse.faults import KINDS, LOST, Faults, Rule
from worker.simulators.sippulse.soap import Call


def call(operation: str = "addCredit", username: str = "1000", domain: str = "a.example") -> Call:
    return Call("SubscriberWS", operation, {"username": username, "domain": domain})


def drawn(faults: Faults, *calls: Call) -> list[str | None]:
    return [fault.kind if (fault := faults.draw(each)) else None for each in calls]


def test_a_counted_rule_strikes_so_often_and_then_never_again() -> None:
    faults = Faults(seed=1)
    faults.add(Rule(operation=("addCredit",), kind="drop_after", count=2))
    assert drawn(faults, *[call()] * 4) == ["drop_after", "drop_after", None, None]


def test_a_rule_may_let_the_first_requests_pass() -> None:
    faults = Faults(seed=1)
    faults.add(Rule(kind="busy", skip=2, count=1))
    assert drawn(faults, *[call()] * 4) == [None, None, "busy", None]


def test_the_first_rule_that_matches_wins() -> None:
    faults = Faults(seed=1)
    faults.add(Rule(operation=("block*",), kind="delay"))
    faults.add(Rule(operation=("SubscriberWS.*",), kind="late"))
    assert drawn(faults, call("blockSubscriber"), call("addCredit")) == ["delay", "late"]


def test_a_rule_can_be_about_one_subscriber_whatever_the_case_of_its_domain() -> None:
    faults = Faults(seed=1)
    faults.add(Rule(kind="busy", username="1000", domain="A.Example"))
    assert drawn(faults, call(), call(username="1001"), call(domain="b.example")) == ["busy", None, None]


def test_changes_can_be_told_from_reads() -> None:
    faults = Faults(seed=1)
    faults.add(Rule(operation=("@changes",), kind="busy"))
    assert drawn(faults, call("addCredit"), call("retrieveCredit")) == ["busy", None]


def test_a_share_of_the_answers_is_lost_in_every_way_and_the_same_again_with_the_same_seed() -> None:
    def losses(seed: int) -> list[str | None]:
        faults = Faults(seed)
        faults.add(Rule(kind="lost", share=0.3))
        return drawn(faults, *[call()] * 1000)

    assert losses(7) == losses(7) != losses(8)
    counted = Counter(losses(7))
    assert 600 < counted[None] < 800
    assert set(counted) - {None} == set(LOST)


def test_a_mix_of_faults_follows_its_weights() -> None:
    faults = Faults(seed=3)
    faults.add(Rule(mix={"drop_before": 1, "drop_after": 3}))
    counted = Counter(drawn(faults, *[call()] * 1000))
    assert set(counted) == {"drop_before", "drop_after"}
    assert 650 < counted["drop_after"] < 850


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"kind": "droop"}, "unknown fault 'droop': we know lost, delay"),
        ({}, "either a kind or a mix"),
        ({"kind": "late", "mix": {"late": 1}}, "either a kind or a mix"),
        ({"kind": "late", "share": 30}, "share is a probability"),
        ({"kind": "late", "prob": 1}, "unknown field 'prob'"),
        ({"kind": "garbage", "variant": "pdf"}, "variant cannot be 'pdf'"),
        ({"mix": {"late": 0}}, "one of them is above 0"),
    ],
)
def test_a_wrong_rule_is_refused_with_a_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Rule.from_values(values)


def test_every_kind_has_a_behaviour() -> None:
    from worker.simulators.sippulse.exchange import BEHAVIOURS

    assert set(BEHAVIOURS) == set(KINDS)


async def test_overlapping_freezes_still_apply_in_order_of_arrival() -> None:
    freezer = Freezer()
    applied: list[int] = []
    freezer.freeze("addCredit")
    freezer.freeze("*")
    for number, name in enumerate(["S.addCredit", "S.blockSubscriber", "S.addCredit"]):
        freezer.hold(name, partial(applied.append, number))
    freezer.thaw("addCredit")
    assert applied == []
    freezer.thaw()
    assert applied == [0, 1, 2]
    assert freezer.hold("S.addCredit", lambda: None) is None
