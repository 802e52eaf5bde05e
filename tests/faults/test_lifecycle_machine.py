"""A command's life under two engines that die, freeze and lose answers, and under people who act on it.

The machine holds the journal against a small model of rules 1, 3.1 to 3.3, 5 and 8: which state may follow which,
claims with fencing, leases that lapse, settle windows that hold the key, steps, parked ones, resolve, retry, cancel.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from tests.faults.machines.bench import Bench
from tests.faults.machines.fixtures import bench
from tests.faults.machines.machine import simple
from tests.faults.machines.profile import profile
from tests.faults.machines.rules import Doubts, People, Time
from worker.domain.effect import Risk

__all__ = ["bench"]


class LifecycleMachine(Doubts, People, Time):
    @rule(
        key=st.sampled_from(["ana", "bob"]),
        risk=st.sampled_from(list(Risk)),
        expires=st.sampled_from([None, 450.0]),
    )
    def a_command_comes(self, key: str, risk: Risk, expires: float | None) -> None:
        self.send(simple(self.new_id(), key, risk=risk, expires=expires))


def test_a_command_lives_as_the_rules_say_whatever_dies_or_is_lost(bench: Bench) -> None:
    run_state_machine_as_test(lambda: LifecycleMachine(bench), settings=profile(40, steps=50))
