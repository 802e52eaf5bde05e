"""What a command asks of the platform: which calls, in which order, and what each of them leaves behind.

    calls_of("subscriber.update.v1", {"changes": {"email": "a@b"}})     # one updateSubscriber, of emailAddress

Written down from the platform's documents and the worker's own page about SIPPulse, not taken from its code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

Table = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the platform that a command is made of.

    `once`: a second one would be a second effect. `wants`: the fields that it may change and what they are
    afterwards; None: nobody looks. `shown`: a read of the platform shows it, so that after a lost answer it need
    not be called again. `spared`: nothing is sent where it is as wanted already.
    """

    operation: str
    once: bool = False
    wants: Table | None = None
    shown: bool = False
    spared: bool = False


KINDS: Mapping[str, tuple[str, str, str, bool, bool]] = {
    # kind of calls -> blocking, unblocking, the field, its value when blocked, whether a read shows it
    "outgoing": ("blockOutgoingCalls", "activateOutgoingCalls", "activeOutgoingCalls", False, True),
    "incoming": ("blockIncommingCalls", "activateIncommingCalls", "activeIncomingCalls", False, True),
    "collect": ("blockCollectCalls", "activateCollectCalls", "blockCollectCalls", True, True),
    "anonymous": ("blockAnonymousCalls", "activateAnonymousCalls", "blockAnonymousCalls", True, True),
    "private": ("blockPrivacyCalls", "activatePrivacyCalls", "privacy", False, False),
    "call_center": ("blockEntry0303", "activateEntry0303", "blockEntry0303", True, True),
}
SWITCHES: Mapping[str, Call] = {
    operation: Call(operation, wants={field: value}, shown=shown)
    for block, unblock, field, blocked, shown in KINDS.values()
    for operation, value in ((block, blocked), (unblock, not blocked))
}
# For histories that do not say what each call changed.
FLAGS: Mapping[str, tuple[str, bool]] = {
    operation: next(iter((call.wants or {}).items())) for operation, call in SWITCHES.items() if call.shown
}
IGNORED = frozenset({"reloadSubscriber", "reloadDid", "call", "foreign"})  # no effect that anybody is owed

# `changes` of subscriber.update -> the fields of the record, by the operation that writes them.
WHOLE = {"email": "emailAddress", "call_limit": "callLimit", "caller_id": "rpid"}
BILLING = {"first_name": "firstName", "last_name": "lastName", "document": "document", "phone": "phone"}
FORWARDS = {"always": "callFwd", "busy": "fwdBusy", "no_answer": "noAnswer"}


def calls_of(type_: str, data: Table, adopted: bool) -> tuple[Call, ...]:
    """In their order. `adopted`: a create found the subscriber there already."""
    if type_ == "subscriber.create.v1":
        return tuple(_creating(data, adopted))
    make = MAKERS.get(type_)
    return () if make is None else tuple(make(data))


def _creating(data: Table, adopted: bool) -> Iterable[Call]:
    if not adopted:
        yield Call("insertSubscriber", once=True)
    elif data.get("if_exists") == "update":
        yield Call("updateSubscriber")
    if data.get("cps") is not None or data.get("keep_alive") is not None:
        yield Call("updateSubscriberServices")


def _plain(operation: str, once: bool = False, **wants: Any) -> Callable[[Table], Iterable[Call]]:
    return lambda data: (Call(operation, once, wants or None),)


def _shown(operation: str, **wants: Any) -> Callable[[Table], Iterable[Call]]:
    return lambda data: (Call(operation, wants=wants, shown=True),)


def _switching(way: int) -> Callable[[Table], Iterable[Call]]:
    def made(data: Table) -> Iterable[Call]:
        kinds = dict.fromkeys(data.get("kinds") or ["outgoing"])
        return (SWITCHES[KINDS[kind][way]] for kind in kinds if kind in KINDS)

    return made


def _updating(data: Table) -> Iterable[Call]:
    """The widest first, then parts of the record, then what switches one thing (the worker's page says so)."""
    changes = data.get("changes") or {}
    whole = {wire: changes[name] for name, wire in WHOLE.items() if name in changes}
    services = {"cps": changes["cps"], "keepAlive": changes["keep_alive"]} if "cps" in changes else {}
    if services:  # the others go along, and no read shows these two
        services, whole = {**whole, **services}, {}
    yield from _merging("updateSubscriber", whole)
    yield from _forwards(changes.get("forwarding") or {})
    if services:
        yield Call("updateSubscriberServices", wants=services)
    billing = {wire: changes[name] for name, wire in BILLING.items() if name in changes}
    yield from _merging("updateSubscriberBillingInfo", billing)
    if "portal_password" in changes:
        wants = {"passwordPortal": changes["portal_password"]}
        yield Call("changePasswordWEB", wants=wants, shown=True, spared=True)
    yield from _single(changes)


def _merging(operation: str, wants: Table) -> Iterable[Call]:
    if wants:
        yield Call(operation, wants=wants, shown=True)


def _forwards(given: Table) -> Iterable[Call]:
    wants = {wire: given[name] for name, wire in FORWARDS.items() if given.get(name) is not None}
    return _merging("updateSubscriberClassV", wants)


def _single(changes: Table) -> Iterable[Call]:
    if "profile" in changes:
        yield Call("changeProfile", wants={"profile": changes["profile"]}, shown=True)
    if "low_credit_limit" in changes:
        wants = {"lowCreditNotification": True, "lowCreditLimit": changes["low_credit_limit"]}
        yield Call("activateLowCreditNotification", wants=wants, shown=True)
    for name, kind in (("outgoing_calls", "outgoing"), ("incoming_calls", "incoming")):
        if name in changes:
            yield SWITCHES[KINDS[kind][1 if changes[name] else 0]]


def _secret(operation: str, field: str, given: str) -> Callable[[Table], Iterable[Call]]:
    return lambda data: (Call(operation, wants={field: data[given]}, shown=True, spared=True),)


def _numbering(operation: str, count: int) -> Callable[[Table], Iterable[Call]]:
    return lambda data: (Call(operation, once=True, wants={f"dids/{data['number']}": count}),)


def _location(operation: str, count: int) -> Callable[[Table], Iterable[Call]]:
    return lambda data: (Call(operation, once=True, wants={f"locations/{data['contact']}": count}),)


NATIVE = "sippulse.SubscriberWS"
MAKERS: Mapping[str, Callable[[Table], Iterable[Call]]] = {
    "subscriber.remove.v1": _plain("removeSubscriber", once=True),
    "subscriber.block.v1": _plain("blockSubscriber", active=False),
    "subscriber.activate.v1": _plain("activateSubscriber", active=True),
    "subscriber.update.v1": _updating,
    "calls.block.v1": _switching(0),
    "calls.unblock.v1": _switching(1),
    "credit.add.v1": _plain("addCredit", once=True),
    "password.change.v1": _secret("changePassword", "password", "new_password"),
    "number.assign.v1": _numbering("insertDid", 1),
    "number.release.v1": _numbering("deleteDid", 0),
    "forwarding.set.v1": _forwards,
    f"{NATIVE}.addCredit.v1": _plain("addCredit", once=True),
    f"{NATIVE}.blockSoftphone.v1": _shown("blockSoftphone", softphoneAllowed=False),
    f"{NATIVE}.activateSoftphone.v1": _shown("activateSoftphone", softphoneAllowed=True),
    f"{NATIVE}.changePasswordWEB.v1": _secret("changePasswordWEB", "passwordPortal", "newPassword"),
    "sippulse.UserLocationWS.addUserLocation.v1": _location("addUserLocation", 1),
    "sippulse.UserLocationWS.removeUserLocation.v1": _location("removeUserLocation", 0),
}


def same(one: Any, other: Any) -> bool:
    """As the platform would have it: nothing, "", 0 and false are no difference; nor are 5 and "5.00"."""
    if not one and not other:
        return True
    if isinstance(one, bool) or isinstance(other, bool):
        return str(one).lower() == str(other).lower()
    try:
        return Decimal(str(one)) == Decimal(str(other))
    except InvalidOperation:
        return str(one) == str(other)
