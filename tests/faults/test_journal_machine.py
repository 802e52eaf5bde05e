"""Whatever senders, two engines, sweeps and the relay do in whatever order: the journal keeps what it promises.

A machine drives the journal through its port and a small model of the rules beside it, and compares them after
every step: who is admitted, repeated, a duplicate or refused (rules 4.4 to 4.8), the order of each key and the
lent priority (4.1 to 4.3), expiry and cancel (1), who holds which claim (5), the events (6.4) and the records (6.5).
"""

from __future__ import annotations

from hypothesis.stateful import run_state_machine_as_test

from tests.faults.machines.bench import Bench
from tests.faults.machines.fixtures import bench, fast_folder
from tests.faults.machines.profile import profile
from tests.faults.machines.rules import Engines, Relay, Senders, Time

__all__ = ["bench", "fast_folder"]


class JournalMachine(Senders, Engines, Time, Relay):
    pass


def test_the_journal_keeps_identities_order_and_events_whatever_comes(bench: Bench) -> None:
    run_state_machine_as_test(lambda: JournalMachine(bench), settings=profile(80, steps=30))
