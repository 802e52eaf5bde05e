"""Native commands: one operation under its documented name, with the effect and the check of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from worker.domain.effect import Effect
from worker.messages.errors import Code, Problem
from worker.messages.sippulse.checks import (
    AsSent,
    Booked,
    Check,
    Gone,
    Grouped,
    Nothing,
    ShowsProfile,
    There,
)
from worker.messages.sippulse.operations import BY_TYPE, OPERATIONS, Operation
from worker.messages.sippulse.shapes import Field
from worker.platforms.port import Order, Step
from worker.platforms.sippulse.plan import REMOVE, Planner, Wrong, noted, typed
from worker.platforms.sippulse.records import Name


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeStep(Step):
    """`ordered`: the object as it was sent, before defaults. `readable`: this server has the check."""

    operation: Operation
    ordered: Mapping[str, Any] = field(default_factory=dict, repr=False)
    look_in: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sent(self) -> list[Mapping[str, Any]]:
        """The objects that it is about; of an operation without an object, its parameters."""
        if self.operation.object is None:
            return [self.params]
        if not self.operation.object.many:
            return [self.ordered]
        return list(self.params[self.operation.object.name])

    @property
    def person(self) -> Name | None:
        """The subscriber that it names."""
        username, domain = (self.find(name) for name in ("username", "domain"))
        return None if username is None or domain is None else Name(str(username), str(domain))

    def find(self, name: str) -> Any:
        """A value by its name, wherever the sender said it; None: nowhere."""
        for place in (self.ordered, *self.sent, self.params, self.look_in):
            if place.get(name) is not None:
                return place[name]
        return None

    def place(self, by: tuple[str, ...]) -> dict[str, Any]:
        """Arguments of a read."""
        return {name: value for name in by if (value := self.find(name)) is not None}


class NativePlanner:
    """`has(endpoint)`: the server has the operation; `answers(endpoint, field)`: its answer has the field."""

    def __init__(
        self, planner: Planner, has: Callable[[str], bool], answers: Callable[[str, str], bool]
    ) -> None:
        self._planner, self._has, self._answers = planner, has, answers

    def plan(self, order: Order) -> tuple[Step, ...] | Problem:
        try:
            operation = BY_TYPE[order.type]
            self._planner.allowed(order.type, operation.denied)
            steps = (self._step(order, operation),)
            self._planner.offered(steps)
        except Wrong as wrong:
            return wrong.problem
        return steps

    def _step(self, order: Order, operation: Operation) -> NativeStep:
        params = arguments_of(operation, order.data)
        amount = self._book(order, operation, params) if operation.money else None
        whole, ordered = operation.object, {}
        if whole is not None and not whole.many:
            ordered = dict(params[whole.name])
            if not isinstance(operation.check, AsSent):
                params[whole.name] = self._complete(whole, ordered)
        step = NativeStep(
            operation.name,
            operation.endpoint,
            Effect(operation.effect),
            params,
            amount=amount,
            removes=operation.endpoint == f"SubscriberWS.{REMOVE}",
            operation=operation,
            ordered=ordered,
            look_in=_look_in(operation, order.data),
        )
        return self._readable(step)

    def _readable(self, step: NativeStep) -> NativeStep:
        shows = self._shows(step)
        if step.effect is Effect.INCREMENT and not shows:
            why = "the reads that could settle a lost answer to it are not in this server's WSDL"
            raise Wrong(Code.UNSUPPORTED_BY_SERVER, f"{step.endpoint}: {why}")
        return replace(step, readable=shows)

    def _book(self, order: Order, operation: Operation, params: dict[str, Any]) -> Decimal:
        amount = self._planner.amount(order.data.get(operation.money), operation.money)
        params[operation.money] = amount
        params["obs"] = noted(order, params.get("obs") or "")
        return amount

    def _complete(self, whole: Field, ordered: Mapping[str, Any]) -> dict[str, Any]:
        """What the schema demands and nobody ordered: the documented default, or as Java leaves it."""
        if whole.type == "subscriberDTO":
            return dict(self._planner.complete(ordered))
        demanded = {each.name: _JAVA[each.type] for each in whole.fields if each.primitive}
        return {**demanded, **ordered}

    # Whether the check can be read --------------------------------------------------------------

    def _shows(self, step: NativeStep) -> bool:
        check = step.operation.check
        return (
            not isinstance(check, Nothing)
            and all(self._has(read) for read in reads_of(check))
            and self._placed(step, check)
            and all(self._answers(read_of(check), name) for name in _compared(check))
        )

    def _placed(self, step: NativeStep, check: Check) -> bool:
        """The sender said all that the read has to be told."""
        if not isinstance(check, (AsSent, There, Gone)):
            return True
        needed = [each.name for each in OPERATIONS[check.read].parameters if not each.optional]
        return set(needed) <= set(step.place(check.by))


_JAVA: Mapping[str, Any] = {"boolean": False, "int": 0, "double": Decimal(0)}


def read_of(check: Check) -> str:
    return "" if isinstance(check, Nothing) else check.read


def reads_of(check: Check) -> tuple[str, ...]:
    """All operations that the check needs."""
    if isinstance(check, ShowsProfile):
        return check.read, check.names
    if isinstance(check, Booked) and check.read == "ResellerWS.retrieveResellerCredit":
        return check.read, "ResellerWS.listByDomain"
    return () if isinstance(check, Nothing) else (check.read,)


def _compared(check: Check) -> tuple[str, ...]:
    """Fields of the read's answer without which it would prove nothing."""
    match check:
        case There(same=same):
            return same
        case Gone(same=same):
            return tuple(same)
        case AsSent(id=id_):
            return (id_,) if id_ else ()
        case Grouped():
            return ("account",)
        case _:
            return ()


# What was sent, as the wire has it ----------------------------------------------------------------------


def arguments_of(operation: Operation, data: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, typed. Raises Wrong with the field's name: intake has checked them, by the same catalogue."""
    found = {}
    for each in operation.parameters:
        value = given(data, each)
        if value is None and not each.optional:
            raise Wrong(Code.MISSING_FIELD, f"{each.name} is needed", each.name)
        if value is not None:
            found[each.name] = _wire(each, value, each.name)
    return found


def given(data: Mapping[str, Any], field: Field) -> Any:
    """The field's value under any of its names."""
    return next((data[name] for name in (field.name, *field.others) if data.get(name) is not None), None)


def _wire(field: Field, value: Any, path: str) -> Any:
    if not field.many:
        return _one(field, value, path)
    if not isinstance(value, (list, tuple)):
        raise Wrong(Code.INVALID_FIELD, f"{path} has to be a list", path)
    return [_one(field, each, f"{path}[{place}]") for place, each in enumerate(value)]


def _one(field: Field, value: Any, path: str) -> Any:
    if field.simple:
        return typed(path, field.type, value)
    if not isinstance(value, Mapping):
        raise Wrong(Code.INVALID_FIELD, f"{path} has to be an object", path)
    return {
        each.name: _wire(each, found, f"{path}.{each.name}")
        for each in field.fields
        if (found := given(value, each)) is not None
    }


def _look_in(operation: Operation, data: Mapping[str, Any]) -> dict[str, Any]:
    place = data.get("look_in")
    if not isinstance(place, Mapping):
        return {}
    return {
        each.name: typed(f"look_in.{each.name}", each.type, place[each.name])
        for each in operation.look_in
        if place.get(each.name) is not None
    }
