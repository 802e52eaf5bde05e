"""From a portable command to SIPPulse's operations. Pure: nothing is read, nothing is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation, localcontext
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from worker.domain.effect import Effect
from worker.messages.errors import Code, Problem
from worker.platforms.port import Order, Step
from worker.platforms.sippulse.fields import (
    BY_WIRE,
    DEFAULTS,
    IDENTITY,
    MANDATORY,
    OURS,
    Scalar,
    flat,
    money,
    sayable,
    wire_value,
)
from worker.platforms.sippulse.records import Name
from worker.settings import SippulseSettings

MOST_NOTE = 250  # characters of addCredit.obs
REMOVE = "removeSubscriber"
BESIDE = ("platform", "subscriber", "if_exists", "platform_fields", "cps", "keep_alive")
# Commands after which there is a subscriber that could be reloaded.
RELOADABLE = frozenset(
    {
        "subscriber.create",
        "subscriber.block",
        "subscriber.activate",
        "calls.block",
        "calls.unblock",
        "credit.add",
    }
)
IF_EXISTS = ("reject", "adopt", "update")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of calls: the pair of operations, and the field that shows the state (None: nothing does)."""

    block: str
    unblock: str
    field: str | None
    when_blocked: bool = False


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "outgoing": Kind("blockOutgoingCalls", "activateOutgoingCalls", "activeOutgoingCalls"),
        "incoming": Kind("blockIncommingCalls", "activateIncommingCalls", "activeIncomingCalls"),
        "collect": Kind("blockCollectCalls", "activateCollectCalls", "blockCollectCalls", when_blocked=True),
        "anonymous": Kind(
            "blockAnonymousCalls", "activateAnonymousCalls", "blockAnonymousCalls", when_blocked=True
        ),
        "private": Kind("blockPrivacyCalls", "activatePrivacyCalls", None),
        # 0303 is the prefix that Brazilian call centers must call from.
        "call_center": Kind("blockEntry0303", "activateEntry0303", "blockEntry0303", when_blocked=True),
    }
)
# Operation -> the field that shows that it took effect, and the value it then has.
FLAGS: Mapping[str, tuple[str, bool]] = MappingProxyType(
    {kind.block: (kind.field, kind.when_blocked) for kind in KINDS.values() if kind.field}
    | {kind.unblock: (kind.field, not kind.when_blocked) for kind in KINDS.values() if kind.field}
)


class Wrong(Exception):
    """Carries the Problem out of the planning."""

    def __init__(self, code: Code, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.problem = Problem(code, message, field)


class Planner:
    """`has(endpoint)`: whether the server's WSDL has `Service.operation`; `lacks(endpoint, arguments)`: names
    in the arguments that it does not have."""

    def __init__(
        self,
        name: str,
        settings: SippulseSettings,
        has: Callable[[str], bool],
        lacks: Callable[[str, Mapping[str, Any]], list[str]],
    ) -> None:
        self._name, self._settings, self._has, self._lacks = name, settings, has, lacks
        self._plans: dict[str, Callable[[Order], tuple[Step, ...]]] = {
            "subscriber.create": self._create,
            "subscriber.get": lambda order: (self._about(order, "retrieveSubscriber", Effect.READ),),
            "subscriber.remove": lambda order: (
                replace(self._about(order, REMOVE, Effect.DELETE), removes=True),
            ),
            "subscriber.block": lambda order: (self._silent(order, "blockSubscriber"),),
            "subscriber.activate": lambda order: (self._silent(order, "activateSubscriber"),),
            "calls.block": lambda order: self._calls(order, lambda kind: kind.block),
            "calls.unblock": lambda order: self._calls(order, lambda kind: kind.unblock),
            "credit.add": self._credit,
            "credit.get": lambda order: (self._about(order, "retrieveCredit", Effect.READ),),
        }

    def plan(self, order: Order) -> tuple[Step, ...] | Problem:
        command, _, version = order.type.rpartition(".")
        plan = self._plans.get(command) if version == "v1" else None
        if plan is None:
            known = ", ".join(sorted(f"{each}.v1" for each in self._plans))
            return Problem(
                Code.UNSUPPORTED, f"a SIPPulse platform does not offer {order.type}: it offers {known}"
            )
        try:
            self.allowed(order.type)
            steps = plan(order) + self._reload(order, command)
            self.offered(steps)
        except Wrong as wrong:
            return wrong.problem
        return steps

    # What may be done at all ---------------------------------------------------------------------

    def allowed(self, type_: str, denied: str = "") -> None:
        """What `deny` names is not. `denied`: why a command is not by default, unless `allow` names it."""
        if denied and not any(covers(pattern, type_) for pattern in self._settings.allow):
            why = f"{type_} is not allowed by default, for {denied}: name it in allow of {self._name}"
            raise Wrong(Code.NOT_ALLOWED, why)
        for pattern in self._settings.deny:
            if covers(pattern, type_):
                raise Wrong(
                    Code.NOT_ALLOWED, f"{type_} is denied on {self._name} by the pattern {pattern!r} in deny"
                )

    def offered(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            if not self._has(step.endpoint):
                raise Wrong(
                    Code.UNSUPPORTED_BY_SERVER,
                    f"the WSDL of {self._name} has no {step.endpoint}; nothing of the command was sent",
                )
            if missing := self._lacks(step.endpoint, arguments(step)):
                raise Wrong(
                    Code.UNSUPPORTED_BY_SERVER,
                    f"the WSDL of {self._name} has no {', '.join(missing)} in {step.endpoint}",
                )

    # Steps ---------------------------------------------------------------------------------------

    def _about(self, order: Order, operation: str, effect: Effect, *, readable: bool = True) -> Step:
        params = name_of(order.data).arguments
        return Step(operation, f"SubscriberWS.{operation}", effect, params, readable=readable)

    def _silent(self, order: Order, operation: str) -> Step:
        """A set that no read of the platform shows."""
        return self._about(order, operation, Effect.SET, readable=False)

    def _calls(self, order: Order, pick: Callable[[Kind], str]) -> tuple[Step, ...]:
        kinds = kinds_of(order.data)
        steps = []
        for name in kinds:
            operation = pick(KINDS[name])
            params, readable = name_of(order.data).arguments, operation in FLAGS
            promises = {"kinds": [name]}
            steps.append(
                Step(
                    operation,
                    f"SubscriberWS.{operation}",
                    Effect.SET,
                    params,
                    readable=readable,
                    promises=promises,
                )
            )
        return tuple(steps)

    def _credit(self, order: Order) -> tuple[Step, ...]:
        amount = self.amount(order.data.get("amount"))
        note = order.data.get("note") or ""
        params = {
            **name_of(order.data).arguments,
            "value": amount,
            "obs": noted(order, typed("note", "string", note)),
        }
        return (Step("addCredit", "SubscriberWS.addCredit", Effect.INCREMENT, params, amount=amount),)

    def amount(self, given: Any, field: str = "amount") -> Decimal:
        """`field`: its name in the data."""
        limits, step = self._settings.limits, self._settings.credit_step
        amount = decimal(field, given)
        if amount == 0:
            raise Wrong(Code.INVALID_FIELD, f"{field} has to be above 0", field)
        if amount < 0 and not limits.negative_credit:
            why = f"{field} has to be above 0: limits.negative_credit is off on {self._name}"
            raise Wrong(Code.INVALID_FIELD, why, field)
        if finer(amount, step):
            why = f"{field} is finer than credit_step, {step:f} on {self._name}"
            raise Wrong(Code.INVALID_FIELD, why, field)
        if limits.credit_max is not None and abs(amount) > limits.credit_max:
            why = f"{field} is above limits.credit_max, {limits.credit_max:f} on {self._name}"
            raise Wrong(Code.OVER_LIMIT, why, field)
        return amount

    def _create(self, order: Order) -> tuple[Step, ...]:
        data, name = order.data, name_of(order.data)
        if_exists = data.get("if_exists") or "reject"
        if if_exists not in IF_EXISTS:
            raise Wrong(Code.INVALID_FIELD, f"if_exists is one of {', '.join(IF_EXISTS)}", "if_exists")
        ordered = {**name.arguments, **ordered_fields(data)}
        params = {**name.arguments, "subscriber": self.complete(ordered), "ordered": ordered}
        steps = [Step("insertSubscriber", "SubscriberWS.insertSubscriber", Effect.CREATE, params,
                      if_exists=if_exists)]  # fmt: skip
        if if_exists == "update":
            steps.append(Step("updateSubscriber", "SubscriberWS.updateSubscriber", Effect.SET,
                              {**name.arguments, "ordered": ordered},
                              readable=False, after_adoption=True))  # fmt: skip
        return (*steps, *self._services(data, name, ordered, if_exists))

    def complete(self, ordered: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """What was ordered over what is assumed of the platform over the documented defaults."""
        assumed = {
            field: typed(f"assume.{field}", BY_WIRE[field].type, value)
            for field, value in self._settings.assume.new_subscriber.items()
        }
        return {**DEFAULTS, **assumed, **ordered}

    def _services(
        self, data: Mapping[str, Any], name: Name, ordered: Mapping[str, Scalar], if_exists: str
    ) -> tuple[Step, ...]:
        """cps and keepAlive stand in no record: they are written together, and never read."""
        given = {field: data[field] for field in ("cps", "keep_alive") if data.get(field) is not None}
        if not given:
            return ()
        if len(given) == 1 and if_exists != "reject":
            missing = "keep_alive" if "cps" in given else "cps"
            raise Wrong(
                Code.MISSING_FIELD,
                f"with if_exists = {if_exists}, cps and keep_alive are needed together: the platform writes "
                "both at once and shows neither, so an existing value would be lost",
                missing,
            )
        both = {field: typed(field, "int", value) for field, value in {**self._unsaid(), **given}.items()}
        params = {
            **name.arguments,
            "ordered": ordered,
            "services": {"cps": both["cps"], "keepAlive": both["keep_alive"]},
        }
        endpoint = "SubscriberWS.updateSubscriberServices"
        return (Step("updateSubscriberServices", endpoint, Effect.SET, params, readable=False),)

    def _unsaid(self) -> dict[str, Any]:
        """The other of cps and keep_alive on a new subscriber: 0, as what a Java client leaves out."""
        return {"cps": self._settings.assume.cps, "keep_alive": self._settings.assume.keep_alive}

    def _reload(self, order: Order, command: str) -> tuple[Step, ...]:
        if command not in self._settings.reload_after or command not in RELOADABLE:
            return ()
        params = name_of(order.data).arguments
        return (
            Step("reloadSubscriber", "ReloadModulesWS.reloadSubscriber", Effect.SET, params, readable=False),
        )


def covers(pattern: str, type_: str) -> bool:
    """With or without the version."""
    return fnmatchcase(type_, pattern) or fnmatchcase(type_.rpartition(".")[0], pattern)


# By step: params that are ours alone. The record's operations take one object, which holds the name.
_OURS_ALONE: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "insertSubscriber": frozenset({"username", "domain", "ordered"}),
        "updateSubscriber": frozenset({"username", "domain", "ordered"}),
        "updateSubscriberServices": frozenset({"username", "domain", "ordered", "services"}),
    }
)


def arguments(step: Step) -> dict[str, Any]:
    """What of a step's params goes on the wire, apart from what has to be read and merged first."""
    alone = _OURS_ALONE.get(step.name, frozenset())
    return {name: value for name, value in step.params.items() if name not in alone}


def noted(order: Order, note: Scalar) -> str:
    """What the platform keeps with a credit: the command's id comes first."""
    return f"{sayable(order.id)} {note}".strip()[:MOST_NOTE]


def name_of(data: Mapping[str, Any]) -> Name:
    subscriber = data.get("subscriber")
    if not isinstance(subscriber, Mapping):
        raise Wrong(Code.MISSING_FIELD, "subscriber with username and domain is needed", "subscriber")
    parts = {}
    for part in ("username", "domain"):
        value = str(typed(f"subscriber.{part}", "string", subscriber.get(part) or ""))
        if not value.strip():
            raise Wrong(Code.MISSING_FIELD, f"subscriber.{part} is needed", f"subscriber.{part}")
        parts[part] = value
    return Name(**parts)


def kinds_of(data: Mapping[str, Any]) -> tuple[str, ...]:
    """In the order sent, each once."""
    kinds = data.get("kinds") or ["outgoing"]
    if not isinstance(kinds, (list, tuple)):
        raise Wrong(Code.INVALID_FIELD, "kinds is a list", "kinds")
    for kind in kinds:
        if kind not in KINDS:
            raise Wrong(Code.INVALID_FIELD, f"kinds can be {', '.join(KINDS)}", "kinds")
    return tuple(dict.fromkeys(kinds))


def ordered_fields(data: Mapping[str, Any]) -> dict[str, Scalar]:
    """What was ordered, by the platform's names; platform_fields go over ours."""
    found: dict[str, Scalar] = {}
    for ours, value in flat({name: value for name, value in data.items() if name not in BESIDE}):
        if ours not in OURS:
            raise Wrong(Code.INVALID_FIELD, f"{ours} is no field of subscriber.create: see its schema", ours)
        found[OURS[ours].wire] = typed(ours, OURS[ours].type, value)
    if "lowCreditLimit" in found:
        found["lowCreditNotification"] = True  # what the limit is for; platform_fields can say otherwise
    for ours in MANDATORY:
        if found.get(OURS[ours].wire) in (None, "") and not _by_platform_field(data, OURS[ours].wire):
            raise Wrong(Code.MISSING_FIELD, f"{ours} is needed to create a subscriber", ours)
    return {**found, **platform_fields(data)}


def _by_platform_field(data: Mapping[str, Any], wire: str) -> bool:
    given = data.get("platform_fields")
    return isinstance(given, Mapping) and given.get(wire) not in (None, "")


def platform_fields(data: Mapping[str, Any]) -> dict[str, Scalar]:
    given = data.get("platform_fields") or {}
    if not isinstance(given, Mapping):
        raise Wrong(
            Code.INVALID_FIELD, "platform_fields is an object of subscriberDTO's names", "platform_fields"
        )
    found = {}
    for name, value in given.items():
        where = f"platform_fields.{name}"
        if name in IDENTITY:
            raise Wrong(
                Code.INVALID_FIELD, f"{where} would make it another subscriber: use subscriber", where
            )
        if name not in BY_WIRE:
            raise Wrong(
                Code.INVALID_FIELD,
                f"{where} is no field of subscriberDTO, which has {', '.join(BY_WIRE)}",
                where,
            )
        if value is not None:
            found[name] = typed(where, BY_WIRE[name].type, value)
    return found


def decimal(field: str, given: Any) -> Decimal:
    if given is None:
        raise Wrong(Code.MISSING_FIELD, f"{field} is needed", field)
    try:
        if not isinstance(given, str) or not re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", given):
            raise ValueError("it has to be a decimal string such as 12.34")
        amount = Decimal(given)
        wire_value("double", amount)
        money(amount)
    except (ValueError, InvalidOperation) as error:
        raise Wrong(Code.INVALID_FIELD, f"{field}: {error}", field) from None
    return amount


def finer(amount: Decimal, step: Decimal) -> bool:
    with localcontext() as context:
        context.prec = 60  # the default's 28 digits are too few for a large amount and a small step
        return amount % step != 0


def typed(field: str, kind: str, value: Any) -> Scalar:
    try:
        return wire_value(kind, value)
    except ValueError as error:
        raise Wrong(Code.INVALID_FIELD, f"{field}: {error}", field) from None
