"""The toy platform, as the suite sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.conformance.platforms.subject import SECRET, Act, Data
from tests.conformance.platforms.toy_simulator import Simulator, serve


def named(act: str, *, there: bool = True, portable: bool = False, **data: Any) -> Callable[[Any, int], Data]:
    """A user of the act's own; `there`: the platform has it already."""

    def make(sim: Simulator, number: int) -> Data:
        name = f"{act}-{number}"
        if there:
            sim.seed(name)
        return {"subscriber": {"name": name}, **data} if portable else {"name": name, **data}

    return make


def changes(operation: str) -> Callable[[Any, Data], int]:
    def count(sim: Simulator, data: Data) -> int:
        name = data.get("name") or data["subscriber"]["name"]
        return sum(entry.operation == operation for entry in sim.state.ledger.about(name))

    return count


class Toy:
    kind = "toy"
    control, other_control, control_read = "status.get", "users.list", "users.list"
    login = ("toy-token",)

    def acts(self) -> Sequence[Act]:
        return (
            Act("read", "toy.users.list", "users.list", lambda sim, number: {}, lambda sim, data: 0),
            Act(
                "set",
                "subscriber.block",
                "users.update",
                named("set", portable=True),
                changes("users.update"),
            ),
            Act(
                "create",
                "toy.users.create",
                "users.create",
                named("create", there=False, password=SECRET),
                changes("users.create"),
            ),
            Act(
                "delete",
                "subscriber.remove",
                "users.remove",
                named("delete", portable=True),
                changes("users.remove"),
            ),
            Act(
                "increment",
                "credit.add",
                "credit.add",
                named("increment", portable=True, amount="25.00"),
                changes("credit.add"),
            ),
            Act(
                "change_secret",
                "toy.password.change",
                "password.change",
                named("secret", password=SECRET),
                changes("password.change"),
            ),
        )

    async def serve(self, port: int = 0) -> Simulator:
        return await serve(port)

    def settings(self, url: str) -> Data:
        return {"url": url, "token": self.login[0]}

    def refuse(self, sim: Simulator, operation: str, text: str) -> None:
        sim.fail(operation, "refuse", text=text, status=400)

    def lock_out(self, sim: Simulator) -> Callable[[], None]:
        sim.state.token = "another"
        return lambda: setattr(sim.state, "token", self.login[0])
