"""Steps that are one operation of the catalogue, whoever ordered them: its effect, and the check that shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, TypeVar

from worker.domain.effect import Effect
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
from worker.messages.sippulse.operations import OPERATIONS, Operation
from worker.platforms.port import Step
from worker.platforms.sippulse.records import Name

S = TypeVar("S", bound="NativeStep")


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeStep(Step):
    """`ordered`: the object as it was sent, before defaults. `readable`: this server has the check.

    `look_in`: what is not sent, and says where the effect can be read, or what a parameter is called by.
    """

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

    @property
    def unsaid(self) -> tuple[str, ...]:
        """Parameters that are read from the platform just before the call."""
        needed = (each.name for each in self.operation.parameters if not each.optional)
        return tuple(name for name in needed if name not in self.params)

    def find(self, name: str) -> Any:
        """A value by its name, wherever the sender said it; None: nowhere."""
        for place in (self.ordered, *self.sent, self.params, self.look_in):
            if place.get(name) is not None:
                return place[name]
        return None

    def place(self, by: tuple[str, ...]) -> dict[str, Any]:
        """Arguments of a read."""
        return {name: value for name in by if (value := self.find(name)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberStep(NativeStep):
    """About a public number of a subscriber. `number` None: about all of them. `named`: what was ordered of it."""

    who: Name
    number: str | None = None
    named: frozenset[str] = frozenset()


class Maker:
    """`has(endpoint)`: the server has the operation; `answers(endpoint, field)`: its answer has the field."""

    def __init__(self, has: Callable[[str], bool], answers: Callable[[str, str], bool]) -> None:
        self.has, self.answers = has, answers

    def step(self, operation: Operation | str, params: Mapping[str, Any], **more: Any) -> NativeStep:
        """`operation`: one, or its endpoint; `more`: fields of the step."""
        return self._made(NativeStep, operation, params, more)

    def number(self, endpoint: str, params: Mapping[str, Any], who: Name, **more: Any) -> NumberStep:
        """`more`: fields of the step."""
        place = {**who.arguments, "accountCode": str(who)}
        return self._made(NumberStep, endpoint, params, {"look_in": place, "who": who, **more})

    def _made(
        self, kind: type[S], operation: Operation | str, params: Mapping[str, Any], more: Mapping[str, Any]
    ) -> S:
        one = OPERATIONS[operation] if isinstance(operation, str) else operation
        made = kind(one.name, one.endpoint, Effect(one.effect), params, operation=one, **more)
        return replace(made, readable=self._shows(made))

    def update(self, endpoint: str, ordered: Mapping[str, Any], **more: Any) -> NativeStep:
        """Of an object: it is read first, what is ordered goes over it, and all of it is sent."""
        whole = OPERATIONS[endpoint].object
        assert whole is not None
        return self.step(endpoint, {whole.name: ordered}, ordered=ordered, **more)

    # Whether the check can be read --------------------------------------------------------------

    def _shows(self, step: NativeStep) -> bool:
        check = step.operation.check
        return (
            not isinstance(check, Nothing)
            and all(self.has(read) for read in reads_of(check))
            and self._placed(step, check)
            and all(self.answers(read_of(check), name) for name in _compared(check))
        )

    def _placed(self, step: NativeStep, check: Check) -> bool:
        """The sender said all that the read has to be told."""
        if not isinstance(check, (AsSent, There, Gone)):
            return True
        needed = [each.name for each in OPERATIONS[check.read].parameters if not each.optional]
        return set(needed) <= set(step.place(check.by))


JAVA: Mapping[str, Any] = {"boolean": False, "int": 0, "double": Decimal(0)}  # a primitive that is left out


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
