"""Native commands: one operation under its documented name, with the effect and the check of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from worker.domain.effect import Effect
from worker.messages.errors import Code, Problem
from worker.messages.sippulse.checks import AsSent
from worker.messages.sippulse.operations import BY_TYPE, Operation
from worker.messages.sippulse.shapes import Field
from worker.platforms.planning import Wrong
from worker.platforms.port import Order, Step
from worker.platforms.sippulse.given import noted, typed
from worker.platforms.sippulse.plan import REMOVE, Planner
from worker.platforms.sippulse.steps import JAVA, NativeStep


class NativePlanner:
    """By the rules of `planner`, which the portable commands go by too."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner

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
        step = self._planner.maker.step(
            operation,
            params,
            amount=amount,
            removes=operation.endpoint == f"SubscriberWS.{REMOVE}",
            ordered=ordered,
            look_in=_look_in(operation, order.data),
        )
        if step.effect is Effect.INCREMENT and not step.readable:
            why = "the reads that could settle a lost answer to it are not in this server's WSDL"
            raise Wrong(Code.UNSUPPORTED_BY_SERVER, f"{step.endpoint}: {why}")
        if step.effect is Effect.CREATE and not step.readable and self._planner.no_doubles:
            return replace(step, effect=Effect.SET)  # a second one is refused: it may be called again
        return step

    def _book(self, order: Order, operation: Operation, params: dict[str, Any]) -> Decimal:
        amount = self._planner.amount(order.data.get(operation.money), operation.money)
        params[operation.money] = amount
        params["obs"] = noted(order, params.get("obs") or "")
        return amount

    def _complete(self, whole: Field, ordered: Mapping[str, Any]) -> dict[str, Any]:
        """What the schema demands and nobody ordered: the documented default, or as Java leaves it."""
        if whole.type == "subscriberDTO":
            return dict(self._planner.complete(ordered))
        demanded = {each.name: JAVA[each.type] for each in whole.fields if each.primitive}
        return {**demanded, **ordered}


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
