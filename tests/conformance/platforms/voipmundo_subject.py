"""VoIPMundo, as the suite sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.conformance.platforms.subject import SECRET, Act, Data
from worker.simulators.voipmundo import Simulator, SimulatorConfig, serve

CONFIG = SimulatorConfig()


def client(sim: Simulator, act: str, number: int) -> dict[str, Any]:
    """A client of the act's own."""
    made = sim.state.seed({"nome_fantasia": f"{act} {number}", "balance": "100.00"})
    return {"subscriber": {"id": made.id}}


def about(act: str, **data: Any) -> Callable[[Any, int], Data]:
    return lambda sim, number: {**client(sim, act, number), **data}


def lines(sim: Simulator, number: int) -> Data:
    return {"id": client(sim, "lines", number)["subscriber"]["id"]}


def applied(operation: str) -> Callable[[Any, Data], int]:
    def count(sim: Simulator, data: Data) -> int:
        entries = sim.state.ledger.about(str(data["subscriber"]["id"]))
        return sum(entry.operation == operation for entry in entries)

    return count


def new(sim: Simulator, number: int) -> Data:
    return {"first_name": "New", "last_name": f"{number}", "platform_fields": {"more": {"senha": SECRET}}}


def made(sim: Simulator, data: Data) -> int:
    wanted = f"{data['first_name']} {data['last_name']}"
    return sum(each.name == wanted for each in sim.state)


def number(sim: Simulator, at: int) -> Data:
    return {**client(sim, "number", at), "number": f"5511{at:04d}"}


def assigned(sim: Simulator, data: Data) -> int:
    return len(sim.state.ledger.about(data["number"]))


class Voipmundo:
    kind = "voipmundo"
    control, other_control, control_read = "cdr.listAll", "listCustomers.list", "listCustomers.list"
    login = (CONFIG.token, CONFIG.key)

    def acts(self) -> Sequence[Act]:
        status, credit, remove = "statusCustomer.set", "manageCredit.add", "manageCustomers.remove"
        return (
            Act("read", "voipmundo.listDevices.list", "listDevices.list", lines, lambda sim, data: 0),
            Act("set", "subscriber.block", status, about("set"), applied(status)),
            Act("create", "subscriber.create", "manageCustomers.create", new, made),
            Act("create", "number.assign", "manageDID.create", number, assigned, readable=False),
            Act("delete", "subscriber.remove", remove, about("delete"), applied(remove)),
            Act("increment", "credit.add", credit, about("credit", amount="25.00"), applied(credit)),
        )

    async def serve(self, port: int = 0) -> Simulator:
        return await serve(port)

    def settings(self, url: str) -> Data:
        return {
            "url": url,
            "api_token": self.login[0],
            "api_key": self.login[1],
            "undocumented": True,
            "more_fields": ["senha"],
            "assume": {"balance": CONFIG.credit.balance},
            "credit": {"customer": "customer", "amount": "amount", "note": "note", "lag": 0.15},
        }

    def refuse(self, sim: Simulator, operation: str, text: str) -> None:
        sim.fail(operation, "refuse", text=text)

    def lock_out(self, sim: Simulator) -> Callable[[], None]:
        sim.state.token = "another"
        return lambda: setattr(sim.state, "token", self.login[0])
