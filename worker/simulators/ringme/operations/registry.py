"""Which operations the simulator has: method, path and what they do to the state."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from worker.simulators.ringme.calls import Call
from worker.simulators.ringme.platform import Platform

Run = Callable[[Platform, Call], Any]
SUCCESS = {"GET": 200, "POST": 201, "PUT": 200, "DELETE": 204}


@dataclass(frozen=True, slots=True)
class Operation:
    name: str
    method: str
    path: str  # below /api/ver1.0
    run: Run

    @property
    def changes(self) -> bool:
        return self.method != "GET" and self.name != "oauth.token"

    @property
    def success(self) -> int:
        return 200 if self.name == "oauth.token" else SUCCESS[self.method]


OPERATIONS: dict[str, Operation] = {}


def operation(name: str, method: str, path: str) -> Callable[[Run], Run]:
    def register(run: Run) -> Run:
        OPERATIONS[name] = Operation(name, method, path, run)
        return run

    return register
