"""What becomes of a command that has to run alone, and cannot yet (rules 1)."""

from __future__ import annotations

import math
from typing import Any

from worker.domain.lifecycle import EffectSeen, State
from worker.engine.gate import Gate
from worker.engine.lease import LeaseGuard
from worker.engine.line import Line
from worker.engine.runner import Runner
from worker.engine.settle import settlement
from worker.journal.port import Claim, Settlement
from worker.messages.events import View
from worker.settings import SippulseSettings
from worker.telemetry import Telemetry

VIEW = View("m1", "/crm", "credit.add.v1", "m1", "sip", "sip/subscriber/ana@pbx")
SETTINGS = SippulseSettings.model_validate(
    {
        "kind": "sippulse",
        "url": "http://127.0.0.1:1/SipPulse",
        "login": "a",
        "password": "b",
        "lease_margin": 0.03,
    }
)


class Renewing:
    """A journal that lets every claim live."""

    async def renew(self, claim: Claim) -> bool:
        return True


class Unused:
    """Nothing is asked of the platform."""

    name = "sip"


async def while_another_is_inside(state: State) -> Settlement:
    """How a claim in this state is settled, whose processes have died twice."""
    platform: Any = Unused()
    journal: Any = Renewing()  # nothing is written
    gate, line = Gate(), Line(platform, SETTINGS, journal, Telemetry())
    claim = Claim(1, 1, "us", 3, 130.0, 100.0, state, VIEW, {}, attempts=1, lapsed=2)
    guard = line.guards[claim.id, claim.fence] = LeaseGuard(math.inf)
    runner = Runner(line, journal, Telemetry(), "us", gate)
    with gate.place(alone=False, patience=1.0), gate.place(alone=True, patience=0.02) as guard.place:
        went = await runner._attempt(claim)
    assert not gate.closed, "others go on meanwhile"
    assert went is not None
    return settlement(claim, went, 0.0)


async def test_a_doubt_stays_one_while_it_waits_to_run_alone() -> None:
    settled = await while_another_is_inside(State.IN_DOUBT)
    assert (settled.state, settled.effect) == (State.IN_DOUBT, EffectSeen.UNKNOWN)
    assert not settled.open_window, "nothing was sent: its window goes on"


async def test_what_was_not_called_waits_and_is_given_its_attempt_back() -> None:
    settled = await while_another_is_inside(State.RUNNING)
    assert (settled.state, settled.counted) == (State.WAITING, False)
