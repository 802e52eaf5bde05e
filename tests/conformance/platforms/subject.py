"""What the suite has to be told of a platform: how to start its simulator, and which order has which effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from worker.simulators.common.simulator import BaseSimulator

Data = Mapping[str, Any]
SECRET = "N0body-must-see-this"  # what a command carries where it carries a secret


@dataclass(frozen=True, slots=True)
class Act:
    """One command, and the one request of it that does something.

    command    its type without the version
    operation  what the simulator calls that request
    make       (simulator, number) -> the command's data, without `platform`; puts there what the command needs
    count      (simulator, data) -> how often the platform applied it
    readable   a read shows whether it took effect; False: what is lost, a person has to decide
    """

    effect: str
    command: str
    operation: str
    make: Callable[[Any, int], Data]
    count: Callable[[Any, Data], int]
    readable: bool = True

    @property
    def name(self) -> str:
        return f"{self.effect} by {self.command}"

    @property
    def changes(self) -> bool:
        return self.effect != "read"

    @property
    def repeated(self) -> bool:
        """Called again where nothing shows what a lost call did."""
        return self.effect in ("read", "set")


class Subject(Protocol):
    """One kind of platform.

    control, other_control: what the simulator calls the default control read, and another one; `control_read`:
    the setting's value for that other one. login: what the worker signs in with, all of it secret.
    """

    kind: str
    control: str
    other_control: str
    control_read: str
    login: Sequence[str]

    def acts(self) -> Sequence[Act]:
        """One for each effect that the platform has, each by a request of its own."""

    async def serve(self, port: int = 0) -> BaseSimulator: ...

    def settings(self, url: str) -> Data:
        """Of the platform, beside what every kind has."""

    def refuse(self, sim: Any, operation: str, text: str) -> None:
        """From now on the platform refuses this operation with this text, as it refuses things."""

    def lock_out(self, sim: Any) -> Callable[[], None]:
        """The platform does not know our login any more; what is returned gives it back."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A command on its way, and what it is about."""

    act: Act
    id: str
    data: Data = field(repr=False)
