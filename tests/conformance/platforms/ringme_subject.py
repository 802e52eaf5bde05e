"""RingMe, as the suite sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.conformance.platforms.subject import SECRET, Act, Data
from worker.simulators.ringme import Simulator, SimulatorConfig, serve

APP_SECRET = "s3cret-of-the-application"


def client(sim: Simulator, number: int) -> Data:
    """One of the act's own."""
    return {"subscriber": {"client_id": sim.platform.seed_client({}).record["id"]}}


def extension(sim: Simulator, number: int) -> Data:
    id_ = sim.platform.seed_extension({"name": f"0001*{number + 700}", "status": "active"}).record["id"]
    return {"subscriber": {"client_id": 12, "extension_id": id_}}


def changes(operation: str, name: str) -> Callable[[Any, Data], int]:
    """How often it was applied to the subscriber."""

    def count(sim: Simulator, data: Data) -> int:
        wanted = str(data["subscriber"][name])
        entries = [each for each in sim.platform.ledger.entries if each["operation"] == operation]
        return sum(each["path"][name] == wanted for each in entries)

    return count


def user(sim: Simulator, number: int) -> Data:
    """Of a user that is not there yet; the client stands in the path and in the body."""
    who = {"client_id": 12, "owner_client_id": 12, "login": f"user-{number}", "password": SECRET}
    return {**who, "name": "Ana", "email": "ana@voip.example"}


def made(sim: Simulator, data: Data) -> int:
    entries = [each for each in sim.platform.ledger.entries if each["operation"] == "user_client.create"]
    return sum(each["body"]["login"] == data["login"] for each in entries)


def application(sim: Simulator, number: int) -> Data:
    """A registered one, whose secret is given anew."""
    id_ = 900 + number
    sim.platform.tables["applications"][id_] = {"id": id_, "name": f"crm-{number}", "app_secret": SECRET}
    return {"application_id": str(id_)}


def renewed(sim: Simulator, data: Data) -> int:
    entries = [e for e in sim.platform.ledger.entries if e["operation"] == "application.reset_secret"]
    return sum(each["path"]["application_id"] == data["application_id"] for each in entries)


RENEWAL = "ringme.application.reset_secret"  # not allowed unless the settings say so: it returns a secret


class Ringme:
    kind = "ringme"
    control, other_control, control_read = "user.me", "limit.get", "limit.get?client_id=12"
    login = (APP_SECRET,)

    def acts(self) -> Sequence[Act]:
        return (
            Act("read", "subscriber.get", "client.get", client, lambda sim, data: 0),
            Act(
                "set",
                "subscriber.block",
                "extension.update",
                extension,
                changes("extension.update", "extension_id"),
            ),
            Act("create", "ringme.user_client.create", "user_client.create", user, made),
            Act(
                "delete",
                "subscriber.remove",
                "extension.delete",
                extension,
                changes("extension.delete", "extension_id"),
            ),
            Act(
                "change_secret",
                RENEWAL,
                "application.reset_secret",
                application,
                renewed,
                readable=False,
            ),
        )

    async def serve(self, port: int = 0) -> Simulator:
        return await serve(port, config=SimulatorConfig.from_values({"app_secret": APP_SECRET}))

    def settings(self, url: str) -> Data:
        own = {"url": url, "app_id": "app", "app_secret": APP_SECRET}
        return {**own, "undocumented": True, "allow": [RENEWAL]}

    def refuse(self, sim: Simulator, operation: str, text: str) -> None:
        sim.fail(operation, "refuse", code=400, status="closed", text=text)

    def lock_out(self, sim: Simulator) -> Callable[[], None]:
        sim.platform.app_secret = "another"
        sim.platform.tokens.clear()
        return lambda: setattr(sim.platform, "app_secret", APP_SECRET)
