"""The admin page: what a person wants to see at a glance. No secrets, all escaped."""

from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING

from worker.simulators.common.page import faults, frame, operations, table

from .config import CHOICES
from .soap import plain

if TYPE_CHECKING:
    from .simulator import Simulator


def render(simulator: "Simulator") -> str:
    parts = [
        _switches(simulator),
        operations(simulator),
        faults(simulator),
        _credits(simulator),
        _subscribers(simulator),
    ]
    return frame("SIPPulse simulator", _summary(simulator), parts)


def _summary(simulator: "Simulator") -> str:
    platform = simulator.platform
    return (
        f"{len(platform)} subscribers ({platform.ledger.doubles} doubles), "
        f"{simulator.freezer.waiting()} requests frozen, {simulator.pending()} pending, "
        f"{platform.ledger.malformed} malformed"
    )


# A change is sent at once, as a test would send it; the page then shows what is in force.
_SEND = (
    "const it=event.target,value=it.type==='number'?Number(it.value):it.value;"
    "fetch('/admin/switches',{method:'POST',body:JSON.stringify({[it.name]:value})})"
    ".then(async answer=>{if(!answer.ok)alert((await answer.json()).error);location.reload()})"
)


def _switches(simulator: "Simulator") -> str:
    """What nobody knows of the real platform, to be changed while this one runs."""
    rows = "".join(
        f"<tr><th><label for='{name}'>{name}</label></th><td>{_control(name, value)}</td></tr>"
        for name, value in asdict(simulator.platform.switches).items()
    )
    caption = "<caption>How this platform behaves</caption>"
    return f'<table onchange="{_SEND}">{caption}{rows}</table>'


def _control(name: str, value: str | float) -> str:
    if isinstance(value, float):
        return f"<input type='number' min='0' step='any' id='{name}' name='{name}' value='{value:g}'> seconds"
    options = "".join(
        f"<option{' selected' if each == value else ''}>{escape(each)}</option>" for each in CHOICES[name]
    )
    return f"<select id='{name}' name='{name}'>{options}</select>"


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
