"""The orders of contracts/examples/orders.jsonl: as lines of a file, and as messages."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import worker

if TYPE_CHECKING:
    from aio_pika.message import Message

FILE = Path("contracts") / "examples" / "orders.jsonl"


@dataclass(frozen=True, slots=True)
class Order:
    """One line. `message` is None for a body that is none."""

    number: int
    message: Mapping[str, Any] | None
    raw: str | None
    binary: bool
    expect: Mapping[str, Any]

    @property
    def id(self) -> str | None:
        return None if self.message is None else self.message["id"]

    @property
    def named(self) -> str:
        return self.id or f"line {self.number}"


def load() -> list[Order]:
    """From the checkout or the image; from the code where there is neither."""
    file = Path(worker.__file__).resolve().parent.parent / FILE
    if file.is_file():
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    else:
        from worker.messages import orders

        lines = orders.lines()
    return [
        Order(number, line.get("message"), line.get("raw"), line.get("binary", False), line["expect"])
        for number, line in enumerate(lines, start=1)
    ]


def message_of(order: Order) -> Message:
    """In structured or in binary mode."""
    import aio_pika

    structured = "application/cloudevents+json"
    persistent = aio_pika.DeliveryMode.PERSISTENT
    if order.message is None:
        return aio_pika.Message((order.raw or "").encode(), content_type=structured, delivery_mode=persistent)
    if not order.binary:
        body = json.dumps(order.message, ensure_ascii=False).encode()
        return aio_pika.Message(body, content_type=structured, delivery_mode=persistent)
    attributes = {f"ce-{name}": value for name, value in order.message.items() if name != "data"}
    body = json.dumps(order.message["data"], ensure_ascii=False).encode()
    return aio_pika.Message(
        body, headers=attributes, content_type="application/json", delivery_mode=persistent
    )


def subscriber_of(data: Mapping[str, Any]) -> str:
    """As the simulator names it."""
    subscriber = data["subscriber"]
    return f"{subscriber['username']}@{subscriber['domain'].lower()}"


def credit_ordered(orders: Sequence[Order]) -> dict[str, Decimal]:
    """Per subscriber, what all credit orders that have to succeed add up to; a repeated order counts once."""
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for order in orders:
        if order.message is None or order.message["type"] != "credit.add.v1":
            continue
        if order.expect["status"] == "succeeded" and not order.expect.get("duplicate"):
            sums[subscriber_of(order.message["data"])] += Decimal(order.message["data"]["amount"])
    return dict(sums)
