"""From a portable command to SIPPulse's operations. Pure: nothing is read, nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from worker.domain.effect import Effect
from worker.messages.errors import Code, Problem
from worker.platforms.planning import Wrong, check_allowed, within_limits
from worker.platforms.port import Order, Step
from worker.platforms.sippulse.fields import BY_WIRE, DEFAULTS, Scalar
from worker.platforms.sippulse.given import (
    KINDS,
    decimal,
    kinds_of,
    name_of,
    noted,
    ordered_fields,
    typed,
)
from worker.platforms.sippulse.steps import Maker, NativeStep
from worker.platforms.sippulse.update import SERVICES, WHOLE, Changes, change_password, forwarding, part
from worker.settings import SippulseSettings

REMOVE = "removeSubscriber"
# Commands after which there is a subscriber that could be reloaded.
RELOADABLE = frozenset(
    {
        "subscriber.create",
        "subscriber.update",
        "subscriber.block",
        "subscriber.activate",
        "calls.block",
        "calls.unblock",
        "credit.add",
        "password.change",
        "forwarding.set",
    }
)
NUMBERED = frozenset({"number.assign", "number.release"})  # after which there is a number to reload
IF_EXISTS = ("reject", "adopt", "update")
LIST, ASSIGN, RELEASE = "DidWS.listByAcc", "DidWS.insertDid", "DidWS.deleteDid"
RELOAD = "ReloadModulesWS.reloadDid"


class Planner:
    """`has(endpoint)`: whether the server's WSDL has `Service.operation`; `lacks(endpoint, arguments)`: names
    in the arguments that it does not have; `answers(endpoint, field)`: the answer has the field."""

    def __init__(
        self,
        name: str,
        settings: SippulseSettings,
        has: Callable[[str], bool],
        lacks: Callable[[str, Mapping[str, Any]], list[str]],
        answers: Callable[[str, str], bool],
    ) -> None:
        self._name, self._settings, self._has, self._lacks = name, settings, has, lacks
        self.maker = Maker(has, answers)
        self._plans: dict[str, Callable[[Order], tuple[Step, ...]]] = {
            "subscriber.create": self._create,
            "subscriber.update": self._update,
            "subscriber.get": lambda order: (self._about(order, "retrieveSubscriber", Effect.READ),),
            "subscriber.remove": lambda order: (
                replace(self._about(order, REMOVE, Effect.DELETE), removes=True),
            ),
            "subscriber.block": lambda order: (self._set(order, "blockSubscriber"),),
            "subscriber.activate": lambda order: (self._set(order, "activateSubscriber"),),
            "calls.block": lambda order: self._calls(order, 0),
            "calls.unblock": lambda order: self._calls(order, 1),
            "credit.add": self._credit,
            "credit.get": lambda order: (self._about(order, "retrieveCredit", Effect.READ),),
            "password.change": self._password,
            "number.assign": self._assign,
            "number.release": self._release,
            "number.list": lambda order: (self._listed(order),),
            "call_records.list": self._call_records,
            "forwarding.set": lambda order: forwarding(self.maker, name_of(order.data), order.data),
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

    @property
    def no_doubles(self) -> bool:
        """This platform refuses to make the same a second time."""
        return self._settings.assume.duplicates == "refused"

    # Numbers --------------------------------------------------------------------------------------

    def _assign(self, order: Order) -> tuple[Step, ...]:
        who, number, fee = name_of(order.data), number_of(order.data), order.data.get("monthly_fee")
        did: dict[str, Scalar] = {
            "accountCode": str(who),
            "aliasUsername": number,
            **who.arguments,
            "didToRuri": False,
            "reverseBilling": bool(order.data.get("toll_free")),
        }
        if fee is not None:
            did["monthlySubscription"] = decimal("monthly_fee", fee)
        named = frozenset(each for each in ("monthly_fee", "toll_free") if order.data.get(each) is not None)
        more = {"number": number, "named": named, "ordered": did, "promises": {"number": number}}
        return (self.maker.number(ASSIGN, {"did": did}, who, **more),)

    def _release(self, order: Order) -> tuple[Step, ...]:
        """The platform removes by its own number of the entry, which is read first and kept with the command."""
        remove = self.maker.number(RELEASE, did_id(order), name_of(order.data), number=number_of(order.data))
        return self._listed(order, number_of(order.data)), remove

    def _listed(self, order: Order, number: str | None = None) -> Step:
        who = name_of(order.data)
        return self.maker.number(LIST, {"accountCode": str(who)}, who, number=number)

    # What may be done at all ---------------------------------------------------------------------

    def allowed(self, type_: str, denied: str = "") -> None:
        """What `deny` names is not. `denied`: why a command is not by default, unless `allow` names it."""
        check_allowed(self._name, self._settings, type_, denied)

    def offered(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            if step.paged:  # it asks the database
                continue
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

    def _about(self, order: Order, operation: str, effect: Effect) -> Step:
        return Step(operation, f"SubscriberWS.{operation}", effect, name_of(order.data).arguments)

    def _set(self, order: Order, operation: str, **more: Any) -> Step:
        return self.maker.step(f"SubscriberWS.{operation}", name_of(order.data).arguments, **more)

    def _calls(self, order: Order, way: int) -> tuple[Step, ...]:
        """A step a kind. `way`: 0 blocks, 1 unblocks."""
        kinds = kinds_of(order.data)
        return tuple(self._set(order, KINDS[kind][way], promises={"kinds": [kind]}) for kind in kinds)

    def _update(self, order: Order) -> tuple[Step, ...]:
        changes = order.data.get("changes")
        steps = (
            Changes(self.maker, name_of(order.data), changes).steps() if isinstance(changes, Mapping) else ()
        )
        if not steps:
            raise Wrong(Code.MISSING_FIELD, "changes has to name at least one field", "changes")
        return steps

    def _password(self, order: Order) -> tuple[Step, ...]:
        new, old = (_secret(order.data, name) for name in ("new_password", "current_password"))
        if new is None:
            raise Wrong(Code.MISSING_FIELD, "new_password is needed", "new_password")
        name = name_of(order.data)
        return (change_password(self.maker, "SubscriberWS.changePassword", name, new, old),)

    def _credit(self, order: Order) -> tuple[Step, ...]:
        amount = self.amount(order.data.get("amount"))
        note = order.data.get("note") or ""
        params = {
            **name_of(order.data).arguments,
            "value": amount,
            "obs": noted(order, typed("note", "string", note)),
        }
        return (Step("addCredit", "SubscriberWS.addCredit", Effect.INCREMENT, params, amount=amount),)

    def _call_records(self, order: Order) -> tuple[Step, ...]:
        if self._settings.call_records.url is None:
            why = f"{self._name} has no database of call records: set call_records.url"
            raise Wrong(Code.UNSUPPORTED, why)
        names = ("since", "until", "kind", "service", "limit")
        asked = {name: order.data[name] for name in names if order.data.get(name) is not None}
        params = {**name_of(order.data).arguments, **asked}
        return (Step("list", f"call_records.{asked['kind']}", Effect.READ, params, paged=True),)

    def amount(self, given: Any, field: str = "amount") -> Decimal:
        """`field`: its name in the data."""
        return within_limits(self._name, self._settings, decimal(field, given), field)

    def _create(self, order: Order) -> tuple[Step, ...]:
        data, name = order.data, name_of(order.data)
        if_exists = data.get("if_exists") or "reject"
        if if_exists not in IF_EXISTS:
            raise Wrong(Code.INVALID_FIELD, f"if_exists is one of {', '.join(IF_EXISTS)}", "if_exists")
        ordered = {**name.arguments, **ordered_fields(data)}
        params = {**name.arguments, "subscriber": self.complete(ordered), "ordered": ordered}
        steps: list[Step] = [
            Step(
                "insertSubscriber",
                "SubscriberWS.insertSubscriber",
                Effect.CREATE,
                params,
                if_exists=if_exists,
            )
        ]
        if if_exists == "update":
            steps.append(self.maker.update(WHOLE, ordered, after_adoption=True))
        return (*steps, *self._services(data, ordered, if_exists))

    def complete(self, ordered: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """What was ordered over what is assumed of the platform over the documented defaults."""
        assumed = {
            field: typed(f"assume.{field}", BY_WIRE[field].type, value)
            for field, value in self._settings.assume.new_subscriber.items()
        }
        return {**DEFAULTS, **assumed, **ordered}

    def _services(
        self, data: Mapping[str, Any], ordered: Mapping[str, Scalar], if_exists: str
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
        services = {"cps": both["cps"], "keepAlive": both["keep_alive"]}
        return (self.maker.update(SERVICES, {**part(SERVICES, ordered), **services}),)

    def _unsaid(self) -> dict[str, Any]:
        """The other of cps and keep_alive on a new subscriber: 0, as what a Java client leaves out."""
        return {"cps": self._settings.assume.cps, "keep_alive": self._settings.assume.keep_alive}

    def _reload(self, order: Order, command: str) -> tuple[Step, ...]:
        if command not in self._settings.reload_after:
            return ()
        if command in RELOADABLE:
            endpoint = "ReloadModulesWS.reloadSubscriber"
            return (self.maker.step(endpoint, name_of(order.data).arguments),)
        if command not in NUMBERED:
            return ()
        who, number = name_of(order.data), number_of(order.data)
        return (self.maker.number(RELOAD, did_id(order), who, number=number),)


def _secret(data: Mapping[str, Any], field: str) -> str | None:
    value = data.get(field)
    return None if value is None else str(typed(field, "string", value))


def did_id(order: Order) -> dict[str, int]:
    """What the platform calls the entry, once an earlier step of the command has found it."""
    outputs = (step.get("output", {}) for step in order.finished)
    found = next((each["platform_id"] for each in outputs if each.get("platform_id")), None)
    return {} if found is None else {"didId": int(found)}


def number_of(data: Mapping[str, Any]) -> str:
    number = str(typed("number", "string", data.get("number") or "")).strip()
    if not number:
        raise Wrong(Code.MISSING_FIELD, "number is needed", "number")
    return number


def arguments(step: Step) -> dict[str, Any]:
    """What of a step's params goes on the wire, apart from what has to be read and merged first."""
    alone = ("username", "domain", "ordered") if step.name == "insertSubscriber" else ()
    if isinstance(step, NativeStep):
        return dict(step.params)
    return {name: value for name, value in step.params.items() if name not in alone}
