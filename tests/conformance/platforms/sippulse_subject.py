"""SIPPulse, as the suite sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.conformance.platforms.subject import SECRET, Act, Data
from tests.support.engine import DOMAIN, NEW_SUBSCRIBER
from worker.simulators.sippulse import Simulator, SimulatorConfig, serve

ADMIN = "p4ss-of-the-admin"


def about(act: str, *, there: bool = True, **data: Any) -> Callable[[Any, int], Data]:
    """A subscriber of the act's own; `there`: the platform has it already."""

    def make(sim: Simulator, number: int) -> Data:
        who = {"username": f"{act}-{number}", "domain": DOMAIN}
        if there:
            sim.platform.seed({**who, "balance": "100", "password": "0ld-password"})
        return {"subscriber": who, **data}

    return make


def changes(operation: str) -> Callable[[Any, Data], int]:
    def count(sim: Simulator, data: Data) -> int:
        who = data.get("subscriber") or data
        entries = sim.platform.ledger.by_subscriber[who["username"], who["domain"].lower()]
        return sum(entry.operation == operation for entry in entries)

    return count


def password(sim: Simulator, number: int) -> Data:
    who = about("secret")(sim, number)["subscriber"]
    return {**who, "actualPassword": "0ld-password", "newPassword": SECRET, "confirmNewPassword": SECRET}


class Sippulse:
    kind = "sippulse"
    control, other_control = "listDomains", "listProfilesByDomain"
    control_read = "ProfileWS.listProfilesByDomain?domain=pbx.example"
    login = (ADMIN,)

    def acts(self) -> Sequence[Act]:
        new = {**NEW_SUBSCRIBER, "password": SECRET}
        return (
            Act("read", "credit.get", "retrieveCredit", about("read"), lambda sim, data: 0),
            Act("set", "calls.block", "blockOutgoingCalls", about("set"), changes("blockOutgoingCalls")),
            Act(
                "create",
                "subscriber.create",
                "insertSubscriber",
                about("create", there=False, **new),
                changes("insertSubscriber"),
            ),
            Act(
                "delete",
                "subscriber.remove",
                "removeSubscriber",
                about("delete"),
                changes("removeSubscriber"),
            ),
            Act(
                "increment",
                "credit.add",
                "addCredit",
                about("increment", amount="25.00"),
                changes("addCredit"),
            ),
            Act(
                "change_secret",
                "sippulse.SubscriberWS.changePassword",
                "changePassword",
                password,
                changes("changePassword"),
            ),
        )

    async def serve(self, port: int = 0) -> Simulator:
        return await serve(port, config=SimulatorConfig.from_values({"password": ADMIN}))

    def settings(self, url: str) -> Data:
        lag = {"lag": 0.15}
        return {"url": url, "login": "admin", "password": ADMIN, "call_records": lag}

    def refuse(self, sim: Simulator, operation: str, text: str) -> None:
        sim.fail(operation, "declared", text=text)

    def lock_out(self, sim: Simulator) -> Callable[[], None]:
        sim.platform.password = "another"
        return lambda: setattr(sim.platform, "password", ADMIN)
