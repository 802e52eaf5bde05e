"""Whatever senders, two engines, sweeps and the relay do in whatever order: the journal keeps what it promises.

A machine drives the journal through its port and a small model of the rules beside it, and compares them after
every step: who is admitted, repeated, a duplicate or refused (rules 4.4 to 4.8), the order of each key and the
lent priority (4.1 to 4.3), expiry and cancel (1), who holds which claim (5), the events (6.4) and the records (6.5).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from tests.conformance.support import done
from tests.faults.machines.bench import Bench
from tests.faults.machines.entries import APPLIED, Ended
from tests.faults.machines.fixtures import bench, fast_folder
from tests.faults.machines.machine import arrival, indexes
from tests.faults.machines.profile import profile, unshrunk
from tests.faults.machines.rules import Engines, Relay, Senders, Time
from worker.domain.lifecycle import State

__all__ = ["bench", "fast_folder"]


class JournalMachine(Senders, Engines, Time, Relay):
    @precondition(lambda self: self.of(State.RUNNING))
    @rule(n=indexes)
    def an_order_succeeds_while_it_comes_under_another_id(self, n: int) -> None:
        """Whichever commit is the first: it is one command, and both messages get an answer (rule 4.6)."""
        token = self.pick(self.of(State.RUNNING), n)
        again = replace(token.command.message, id=self.new_id(), depends_on=None)
        ends = [done(self.claims[token], steps=self.claims[token].steps)]
        now = self.bench.run(self.journal.now())

        async def at_once() -> tuple[list[bool], list[str]]:
            one, other = self.bench.journals
            return await asyncio.gather(one.settle(ends), other.admit([arrival(again, now)]))

        assert self.bench.run(at_once()) == [[True], ["duplicate"]]
        assert self.book.admit([again]) == ["duplicate"]
        assert self.book.settle_ended(token, Ended(State.SUCCEEDED, APPLIED))


def test_the_journal_keeps_identities_order_and_events_whatever_comes(bench: Bench) -> None:
    run_state_machine_as_test(lambda: JournalMachine(bench), settings=profile(60, steps=30))


async def forget(tx: Any, rows: Any) -> None:
    """The relay's strike-off, forgotten."""


BROKEN: dict[str, tuple[str, Any]] = {
    "strike-off is forgotten": ("relaying.published", forget),
    "priority is not lent": ("commands.newcomers.queue_up", lambda lane, command, priority, now: None),
    "contents are not compared": ("commands.admission.content", lambda envelope: b""),
}


@pytest.mark.parametrize("bench", ["sqlite"], indirect=True)
@pytest.mark.parametrize("broken", list(BROKEN))
def test_the_machine_notices_a_journal_that_breaks_a_rule(
    bench: Bench, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, instead = BROKEN[broken]
    monkeypatch.setattr(f"worker.journal.{where}", instead)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(lambda: JournalMachine(bench), settings=unshrunk(60, steps=30))
