"""A fourth platform, all of it: settings, portable commands, plans. Its operations are in toy.openapi.yaml."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from worker.messages.commands import Command, Part
from worker.messages.fields import Money, Text
from worker.platforms import rest
from worker.platforms.build import register
from worker.platforms.port import Memory, Order, Step
from worker.settings import PlatformSettings, Secret

OPERATIONS = Path(__file__).with_name("toy.openapi.yaml")


class ToySettings(PlatformSettings):
    kind: Literal["toy"] = Field(description="what it is")
    token: Secret = Field(description="what the worker signs in with")

    @property
    def evidence_lag(self) -> float:
        return 0.2  # what it books it shows at once


class ToySubscriber(Part):
    name: Text = Field(description="the user's name")


class ToyCommand(Command):
    subscriber: ToySubscriber = Field(description="whom it is about")

    def object_name(self) -> str:
        return f"subscriber:{self.subscriber.name}"


class CreditAdd(ToyCommand):
    amount: Annotated[Decimal, Money()] = Field(description="what is added")


def declared(_status: int, answer: Any) -> rest.Declared | None:
    return rest.Declared(answer["error"]) if isinstance(answer, dict) and "error" in answer else None


async def build(name: str, settings: ToySettings, _memory: Memory) -> rest.RestPlatform:
    ops, token = rest.table("toy"), settings.token.get_secret_value()

    def step(operation: str, order: Order, data: dict[str, Any] | None = None, **more: Any) -> list[Step]:
        about = {"name": order.data["subscriber"]["name"], **(data or {})}
        return [rest.step_of(ops[f"toy.{operation}.v1"], about, **more)]

    def credit(order: Order) -> list[Step]:
        amount = rest.amount_of(name, settings, order.data["amount"])
        return step("credit.add", order, {"amount": str(amount)}, amount=amount)

    portable = {
        "subscriber.create": lambda order: step("users.create", order),
        "subscriber.remove": lambda order: step("users.remove", order, removes=True),
        "subscriber.block": lambda order: step("users.update", order, {"blocked": True}),
        "subscriber.activate": lambda order: step("users.update", order, {"blocked": False}),
        "credit.add": credit,
    }
    answers = rest.Answers(rest.Refusals(settings.refusals), declared=declared)
    login = rest.FixedLogin({"Authorization": f"Bearer {token}"}, [token])
    client = rest.Client(settings.url, rest.open_transport(settings), answers, login=login)
    return rest.RestPlatform(name, settings, client, ops, portable=portable, control="status.get")


def add() -> None:
    """Make it known, before the settings are read."""
    models = {f"subscriber.{verb}.v1": ToyCommand for verb in ("create", "remove", "block", "activate")}
    register("toy", ToySettings, {**models, "credit.add.v1": CreditAdd}, build, OPERATIONS)
