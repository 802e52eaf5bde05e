"""Steps that are one operation each, and the planning of native and portable commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from worker.domain.effect import Effect
from worker.messages.errors import Code, Problem
from worker.messages.rest.operations import Check, Operation, Table
from worker.platforms.planning import Wrong, amount_of, check_allowed
from worker.platforms.port import Order, Step
from worker.platforms.rest.wire import arguments_of
from worker.settings import PlatformSettings

# From a portable command to its steps. Pure; raises Wrong for what this platform cannot do.
Plan = Callable[[Order], Sequence[Step]]
# From the JSON of an answer to what the command says of it.
Output = Callable[[Any], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestStep(Step):
    """`params`: the operation's data by their names. `check`: what shows the effect; None: nothing does.

    `output`: what of the answer goes into the result; None: by the effect, as native commands have it. `ordered`: names
    in the params that the sender gave, where others were read and are sent along; None: all. `was`: the record as it
    was read just before the call, where it was.
    """

    operation: Operation
    check: Check | None = None
    output: Output | None = field(default=None, repr=False)
    ordered: frozenset[str] | None = None
    was: Mapping[str, Any] | None = field(default=None, repr=False)


def step_of(operation: Operation, data: Mapping[str, Any], **more: Any) -> RestStep:
    """A step that is this operation with these data, which are checked. `more`: fields of the step to set.

    Raises Wrong for data that the operation cannot take.
    """
    given: dict[str, Any] = {
        "name": operation.endpoint,
        "endpoint": operation.endpoint,
        "effect": Effect(operation.effect),
        "check": operation.check,
        "removes": operation.removes,
        **more,
    }
    params = arguments_of(operation, data)
    given["check"] = said_enough(given["check"], params)
    given["readable"] = given["check"] is not None
    return RestStep(operation=operation, params=params, **given)


def said_enough(check: Check | None, params: Mapping[str, Any]) -> Check | None:
    """The check, if the command says all that it goes by: a row without a name is not the one without a name."""
    if check is None:
        return None
    needed = (*check.arguments.values(), *check.same.values())
    return check if all(params.get(name) not in (None, "") for name in needed) else None


def is_undocumented_allowed(settings: PlatformSettings) -> bool:
    return bool(getattr(settings, "undocumented", False))


def offered(table: Table, *, undocumented: bool) -> Table:
    """The operations without the checks that may not be read."""
    if undocumented:
        return table
    return {
        type_: replace(each, check=None) if each.check and table[each.check.read].undocumented else each
        for type_, each in table.items()
    }


class Planner:
    """`portable`: command without its version -> its plan. What is not there is not offered."""

    def __init__(
        self, name: str, settings: PlatformSettings, table: Table, portable: Mapping[str, Plan]
    ) -> None:
        self._name, self._settings, self._table, self._portable = name, settings, table, portable

    def plan(self, order: Order) -> tuple[Step, ...] | Problem:
        try:
            if (operation := self._table.get(order.type)) is not None:
                return (self._native(order, operation),)
            return self._planned(order)
        except Wrong as wrong:
            return wrong.problem

    def _native(self, order: Order, operation: Operation) -> Step:
        check_allowed(self._name, self._settings, order.type, operation.denied)
        self.documented(operation)
        if operation.effect != "increment":
            return step_of(operation, order.data)
        named = operation.amount
        amount = amount_of(self._name, self._settings, order.data.get(named), named)
        step = step_of(operation, order.data, amount=amount)
        if step.check is None:
            why = f"{operation.endpoint}: no read of this platform could settle a lost answer to it"
            raise Wrong(Code.UNSUPPORTED, why)
        return step

    def _planned(self, order: Order) -> tuple[Step, ...]:
        command, _, version = order.type.rpartition(".")
        plan = self._portable.get(command) if version == "v1" else None
        if plan is None:
            known = ", ".join(sorted(f"{each}.v1" for each in self._portable))
            why = f"a platform of kind {self._settings.kind} does not offer {order.type}: it offers {known}"
            raise Wrong(Code.UNSUPPORTED, why)
        check_allowed(self._name, self._settings, order.type)
        steps = tuple(plan(order))
        for step in steps:
            if isinstance(step, RestStep):
                self.documented(step.operation)
        return steps

    def documented(self, operation: Operation) -> None:
        """Raise Wrong for what only other people's programs are known to call, unless the settings allow it."""
        if operation.undocumented and not is_undocumented_allowed(self._settings):
            why = (
                f"{operation.endpoint} stands in no document of the vendor's ({operation.source or 'no source'}):"
                f" undocumented = true in the settings of {self._name} allows it"
            )
            raise Wrong(Code.UNDOCUMENTED_DISABLED, why)
