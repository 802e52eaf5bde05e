"""A command's life under two engines that die, freeze and lose answers, and under people who act on it.

The machine holds the journal against a small model of rules 1, 3.1 to 3.3, 5 and 8: which state may follow which,
claims with fencing, leases that lapse, settle windows that hold the key, steps, parked ones, resolve, retry, cancel.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from tests.faults.machines.bench import Bench
from tests.faults.machines.fixtures import bench, fast_folder
from tests.faults.machines.machine import simple
from tests.faults.machines.profile import profile, unshrunk
from tests.faults.machines.rules import Doubts, People, Time
from worker.domain.effect import Risk

__all__ = ["bench", "fast_folder"]


orders = st.tuples(
    st.sampled_from(["ana", "bob"]), st.sampled_from(list(Risk)), st.sampled_from([None, None, 450.0])
)


class LifecycleMachine(Doubts, People, Time):
    @initialize(first=st.lists(orders, min_size=2, max_size=4))
    def some_came_before(self, first: list[tuple[str, Risk, float | None]]) -> None:
        self.begin()
        self.send(*(simple(self.new_id(), key, risk=risk, expires=after) for key, risk, after in first))

    @rule(order=orders)
    def a_command_comes(self, order: tuple[str, Risk, float | None]) -> None:
        key, risk, expires = order
        self.send(simple(self.new_id(), key, risk=risk, expires=expires))


def test_a_command_lives_as_the_rules_say_whatever_dies_or_is_lost(bench: Bench) -> None:
    run_state_machine_as_test(lambda: LifecycleMachine(bench), settings=profile(60, steps=35))


BROKEN: dict[str, tuple[str, Any]] = {
    "no fencing": ("claims._still_ours", lambda claim, row: row["id"] == claim.id),
    "a dead process has never called": ("sweeps.may_have_begun", lambda row: False),
    "a command may kill workers for ever": ("sweeps.PARKED_AFTER", 1000),
    "expiry and cancel end what may have had an effect": ("acts.untouched", lambda row: True),
}


@pytest.mark.parametrize("bench", ["sqlite"], indirect=True)
@pytest.mark.parametrize("broken", list(BROKEN))
def test_the_machine_notices_a_journal_that_breaks_a_rule(
    bench: Bench, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, instead = BROKEN[broken]
    monkeypatch.setattr(f"worker.journal.commands.{where}", instead)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(lambda: LifecycleMachine(bench), settings=unshrunk(60, steps=35))
