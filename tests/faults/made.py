"""Histories made by hand: a worker and a platform that keep every promise, one command at a time.

    world = Made()
    order = world.send("credit.add.v1", "joao", amount="5.00")
    world.carry_out(order)                     # admitted, applied, answered, all of it audited
    check(world.history())

Tests break one thing of it: they leave out `apply`, `answer` or `record`, or change what stands in the lists.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.faults.calls import calls_of
from tests.faults.chain import GENESIS, derived, mac_of
from tests.faults.history import Applied, Exchange, Heard, History, Sent

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
SECRET = "geheim-0815-password"
SOURCE, PLATFORM, DOMAIN = "/shop", "sippulse-br", "sip.example"


class Made:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.sent: list[Sent] = []
        self.applied: list[Applied] = []
        self.heard: list[Heard] = []
        self.unfinished: dict[str, str] = {}
        self._sequence: dict[str, int] = {}
        self._began: dict[str, float] = {}
        self._chain = (0, GENESIS)

    def history(self, **more: Any) -> History:
        return History(
            sent=list(self.sent),
            applied=list(self.applied),
            heard=list(self.heard),
            unfinished=dict(self.unfinished),
            secrets=(SECRET,),
            key=KEY,
            **more,
        )

    def tick(self, seconds: float = 1.0) -> float:
        self.now += seconds
        return self.now

    # ------------------------------------------------------------ one thing each

    def send(self, type_: str, who: str = "", *, id: str | None = None, **more: Any) -> Sent:
        """`more`: fields of Sent, and the data of the command."""
        own = {name: more.pop(name) for name in tuple(more) if name in Sent.__dataclass_fields__}
        name = id or f"command-{len(self.sent) + 1:04}"
        data = {**({"subscriber": {"username": who, "domain": DOMAIN}} if who else {}), **more}
        values: dict[str, Any] = {"idempotency_key": name, "source": SOURCE, "platform": PLATFORM, **own}
        subscriber = f"{who}@{DOMAIN}" if who else ""
        one = Sent(name, type=type_, subscriber=subscriber, data=data, at=self.tick(), **values)
        self.sent.append(one)
        return one

    def apply(self, order: Sent, operation: str | None = None, **more: Any) -> None:
        """All calls of the command, or the one named; each changes what it is to change."""
        calls = {one.operation: one for one in calls_of(order.type, order.data, False)}
        for name in [operation] if operation else calls:
            credit = name == "addCredit" and "amount" in order.data
            wants = calls[name].wants if name in calls else None
            values: dict[str, Any] = {
                "command": order.id if credit else None,
                "amount": Decimal(order.data["amount"]) if credit else None,
                "at": self.tick(0.1),
                "changed": None if wants is None else dict(wants),
                **more,
            }
            self.applied.append(Applied(len(self.applied) + 1, name, order.subscriber, **values))

    def answer(self, order: Sent, status: str = "succeeded", effect: str | None = None, **more: Any) -> Heard:
        """An event about the command. `effect`: by default what such an ending has."""
        changes = bool(calls_of(order.type, order.data, False))
        if effect is None:
            effect = "applied" if status == "succeeded" and changes else "none"
        self._sequence[order.id] = self._sequence.get(order.id, 0) + 1
        began, id_ = self._began.get(order.id, self.now), f"event-{len(self.heard) + 1:05}"
        self.tick(0.2)
        data = {
            "command": command_of(order),
            "status": status,
            "effect": effect,
            "sequence": self._sequence[order.id],
            "started_at": None if status in ("cancelled", "expired") else rfc3339(began),
            "finished_at": rfc3339(self.now),
            "output": None,
            "error": None,
            "steps": [],
            **more,
        }
        event = {"specversion": "1.0", "id": id_, "type": f"provisioning.command.{status}.v1", "data": data}
        return self._hear("results", event, order.id)

    def record(self, what: str, order: Sent | None = None, **details: Any) -> Heard:
        """An audit event, at the end of the chain."""
        number, previous = self._chain[0] + 1, self._chain[1]
        if what == "admitted" and order is not None:
            self._began[order.id] = self.now
        data = {
            "what": what,
            "command": None if order is None else command_of(order),
            "details": details,
            "number": number,
            "previous": previous,
        }
        mac = mac_of(derived(KEY), data)
        self._chain = (number, mac)
        event = {"specversion": "1.0", "id": f"audit-{number:05}", "type": f"provisioning.audit.{what}.v1"}
        return self._hear(
            "audit", {**event, "auditmac": mac, "data": data}, None if order is None else order.id
        )

    def _hear(self, exchange: Exchange, event: dict[str, Any], command: str | None) -> Heard:
        attributes = {name: str(value) for name, value in event.items() if name != "data"}
        heard = Heard(
            exchange,
            event["type"],
            event["id"],
            command,
            attributes,
            event["data"],
            json.dumps(event).encode(),
            self.tick(0.1),
        )
        self.heard.append(heard)
        return heard

    # ------------------------------------------------------------ whole lives

    def carry_out(self, order: Sent, **answer: Any) -> Heard:
        self.record("admitted", order)
        self.apply(order)
        return self.end(order, "succeeded", **answer)

    def end(self, order: Sent, status: str, effect: str | None = None, **answer: Any) -> Heard:
        heard = self.answer(order, status, effect, **answer)
        self.record("ended", order, status=status)
        return heard

    def reject(self, order: Sent, status: str = "rejected", code: str = "not_found", **answer: Any) -> Heard:
        """Ended without effect."""
        self.record("admitted", order)
        return self.end(order, status, error={"code": code}, **answer)

    def park(self, order: Sent, effect: str = "unknown") -> None:
        """It waits for a person when the storm ends."""
        self.record("admitted", order)
        self.answer(order, "parked", effect, error={"code": "effect_unknown"})
        self.record("parked", order)
        self.unfinished[order.id] = "parked"

    def repeat(self, first: Sent, answer: Heard) -> Sent:
        """The same order under a new id, answered with the first one's result."""
        again = replace(first, id=f"{first.id}-again", at=self.tick())
        self.sent.append(again)
        self.answer(again, answer.data["status"], answer.data["effect"], duplicate_of=first.id)
        return again


def command_of(order: Sent) -> dict[str, Any]:
    return {
        "id": order.id,
        "source": order.source,
        "type": order.type,
        "idempotencykey": order.idempotency_key,
        "platform": order.platform,
        "partitionkey": order.subscriber or None,
    }


def rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
