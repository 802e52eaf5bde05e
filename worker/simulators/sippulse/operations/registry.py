"""Every operation is a function that takes the state and the call and gives the answer's inner XML."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from worker.simulators.common.exchange import Answer
from worker.simulators.sippulse import soap, traces
from worker.simulators.sippulse.ledger import Key
from worker.simulators.sippulse.platform import Declared, Platform, Subscriber, Undeclared, key_of
from worker.simulators.sippulse.soap import SECRETS, Call

Function = Callable[[Platform, Call], str]


@dataclass(frozen=True, slots=True)
class Operation:
    """`changes` tells whether a success goes into the log."""

    function: Function
    changes: bool


OPERATIONS: dict[str, Operation] = {}

MASK = "***"


def reads(function: Function) -> Function:
    OPERATIONS[function.__name__] = Operation(function, changes=False)
    return function


def changes(function: Function) -> Function:
    OPERATIONS[function.__name__] = Operation(function, changes=True)
    return function


def apply(platform: Platform, call: Call, via: str = "") -> Answer:
    """Run a call against the state at once, log what it changed, and build its answer."""
    counts = platform.ledger.operations[call.operation]
    try:
        inner = _run(platform, call, via)
    except Declared as refusal:
        counts.refused += 1
        text = platform.texts[refusal.text]
        return soap.declared_fault(platform.wording(call, text, refusal.facts))
    except Undeclared:
        counts.refused += 1
        return soap.undeclared_fault(platform.wording(call, platform.texts["ill"], {}))
    counts.applied += 1
    return soap.success(call.operation, inner)


def _run(platform: Platform, call: Call, via: str) -> str:
    platform.authenticate(call)
    operation = OPERATIONS.get(call.operation)
    if operation is None:
        raise Declared("not_simulated")
    key = key_of(*call.subject)
    if operation.changes and _silently_absent(platform, call, key):
        return ""
    before = _state(platform, call, key) if _is_flag(call) else None
    standing = traces.state(platform, call, key) if operation.changes else {}
    inner = operation.function(platform, call)
    if before is not None and before == _state(platform, call, key):
        raise Declared("already_reached")
    if operation.changes:
        key, changed = traces.difference(standing, traces.state(platform, call, key), key)
        platform.ledger.record(key, call.operation, _salient(call), via, changed)
    return inner


def _is_flag(call: Call) -> bool:
    return call.service == "SubscriberWS" and call.operation.startswith(("activate", "block", "disable"))


def _state(platform: Platform, call: Call, key: Key) -> Subscriber | None:
    """A copy to compare with, where this platform minds that a state is reached already."""
    subscriber = platform.get(*key)
    if subscriber is None or platform.switches.reached == "accept":
        return None
    return replace(subscriber, dto=dict(subscriber.dto))


def _silently_absent(platform: Platform, call: Call, key: Key) -> bool:
    """A write to nobody that this platform lets pass: no change, so nothing for the log."""
    about_one = bool(key[0]) and call.operation != "insertSubscriber" and call.service == "SubscriberWS"
    return about_one and platform.switches.absent_writes == "silent" and not platform.records(key)


def _salient(call: Call) -> dict[str, Any]:
    """What was asked for, without the subscriber's name (the log has it), secrets as ***."""
    flat: dict[str, Any] = {}
    for name, value in call.arguments.items():
        if name != "principal":
            flat.update(value if isinstance(value, dict) else {name: value})
    shown = {name: value for name, value in flat.items() if name not in ("username", "domain")}
    return {name: _shown(name, value) for name, value in shown.items() if value is not None}


def _shown(name: str, value: Any) -> Any:
    if name in SECRETS:
        return MASK
    if isinstance(value, list):
        return [_shown(name, each) for each in value]
    if isinstance(value, dict):
        return {inner: _shown(inner, each) for inner, each in value.items() if each is not None}
    return soap.plain(value) if isinstance(value, Decimal) else value
