"""The admin page: what a person wants to see at a glance. No secrets, all escaped."""

from typing import TYPE_CHECKING

from worker.simulators.common.page import faults, frame, operations, table

from .soap import plain

if TYPE_CHECKING:
    from .simulator import Simulator


def render(simulator: "Simulator") -> str:
    parts = [operations(simulator), faults(simulator), _credits(simulator), _subscribers(simulator)]
    return frame("SIPPulse simulator", _summary(simulator), parts)


def _summary(simulator: "Simulator") -> str:
    platform = simulator.platform
    return (
        f"{len(platform)} subscribers ({platform.ledger.doubles} doubles), "
        f"{simulator.freezer.waiting()} requests frozen, {simulator.pending()} pending, "
        f"{platform.ledger.malformed} malformed"
    )


def _credits(simulator: "Simulator") -> str:
    credits_ = simulator.platform.ledger.credits_by_obs.items()
    rows = ((obs, each.subscriber, each.times, plain(each.sum)) for obs, each in credits_)
    return table("Credit applied, by obs", ("obs", "subscriber", "times", "sum"), rows)


def _subscribers(simulator: "Simulator") -> str:
    rows = (
        (
            each.dto["id"],
            "@".join(each.key),
            "active" if each.active else "blocked",
            plain(each.dto["activeOutgoingCalls"]),
            plain(each.dto["activeIncomingCalls"]),
            plain(each.balance),
        )
        for each in simulator.platform
    )
    return table("Subscribers", ("id", "name", "state", "outgoing", "incoming", "balance"), rows)
