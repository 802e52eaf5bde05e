"""An example of each message. Events are built by the code that builds the real ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from worker.messages import events
from worker.messages.catalogue import KINDS
from worker.messages.errors import Code, Problem
from worker.messages.rest import examples as rest
from worker.messages.ringme import portable as ringme
from worker.messages.sippulse import examples as sippulse
from worker.messages.sippulse.call_records import VI_CDRS
from worker.messages.voipmundo import examples as voipmundo

AT = 1777636800.0  # 2026-05-01T12:00:00Z
SOURCE = "/crm"
WORKER = "/provisioning-worker"
PLATFORM = "sippulse-br"
SUBSCRIBER = {"username": "551140028922", "domain": "voip.example"}
ABOUT: dict[str, Any] = {"platform": PLATFORM, "subscriber": SUBSCRIBER}
KEY = "sippulse-br:subscriber:551140028922@voip.example"

DATA: dict[str, dict[str, Any]] = {
    "subscriber.create.v1": ABOUT
    | {
        "password": "sip-password-of-ana",
        "portal_password": "portal-password-of-ana",
        "profile": "residential",
        "rate_plan_id": 3,
        "email": "ana@voip.example",
        "country_code": 55,
        "area_code": 11,
        "call_limit": 2,
        "first_name": "Ana",
        "last_name": "Souza",
        "document": "123.456.789-09",
        "contract_number": "C-2026-0815",
        "address": {
            "street": "Rua das Flores",
            "number": "42",
            "district": "Centro",
            "city": "São Paulo",
            "state": "SP",
            "postal_code": "01000-000",
        },
        "mobile": "11999998888",
        "voicemail": False,
        "low_credit_limit": "5.00",
        "if_exists": "reject",
        "platform_fields": {"softphoneAllowed": True},
    },
    "subscriber.update.v1": ABOUT
    | {"changes": {"email": "ana.souza@voip.example", "call_limit": 4, "address": {"complement": ""}}},
    "subscriber.get.v1": ABOUT,
    "subscriber.remove.v1": ABOUT,
    "subscriber.block.v1": ABOUT,
    "subscriber.activate.v1": ABOUT,
    "calls.block.v1": ABOUT | {"kinds": ["outgoing", "incoming"]},
    "calls.unblock.v1": ABOUT | {"kinds": ["outgoing"]},
    "credit.add.v1": ABOUT | {"amount": "25.00", "note": "voucher 0815"},
    "credit.get.v1": ABOUT,
    "password.change.v1": ABOUT | {"new_password": "new-sip-password-of-ana"},
    "number.assign.v1": ABOUT | {"number": "551130001000", "monthly_fee": "9.90"},
    "number.release.v1": ABOUT | {"number": "551130001000"},
    "number.list.v1": ABOUT,
    "forwarding.set.v1": ABOUT | {"busy": "sip:551140028923@voip.example", "no_answer": ""},
    "call_records.list.v1": ABOUT
    | {"since": "2026-04-01T00:00:00-03:00", "until": "2026-05-01T00:00:00-03:00", "kind": "completed"},
    "command.cancel.v1": {"id": "order-4711"},
    "command.get.v1": {"source": SOURCE, "idempotencykey": "contract-2026-0815"},
    **{command_type: {"platform": PLATFORM, **data} for command_type, data in sippulse.data().items()},
}


def commands() -> dict[str, dict[str, Any]]:
    """Command type -> a whole message in structured mode."""
    others = {
        command_type: {"platform": kind, **data}
        for kind in KINDS
        for command_type, data in rest.data(kind).items()
    }
    return {command_type: _command(command_type, data) for command_type, data in {**DATA, **others}.items()}


# Kind -> command type -> data of a portable command there, without `platform`.
OF_OTHER_KINDS: dict[str, Mapping[str, Mapping[str, Any]]] = {
    "voipmundo": voipmundo.DATA,
    "ringme": ringme.EXAMPLES,
}


def commands_of_other_kinds() -> dict[str, dict[str, Any]]:
    """Command type and kind -> a whole message in structured mode; the platform is called as its kind."""
    return {
        f"{command_type}.{kind}": _command(command_type, {"platform": kind, **data})
        for kind, examples in OF_OTHER_KINDS.items()
        for command_type, data in examples.items()
    }


def _command(command_type: str, data: Mapping[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"order-4711-{command_type.removesuffix('.v1').replace('.', '-')}",
        "source": SOURCE,
        "type": command_type,
        "time": "2026-05-01T12:00:00Z",
        "datacontenttype": "application/json",
        "subject": "customer 0815",
        "correlationid": "basket-99",
    }
    if not command_type.startswith("command."):
        message["idempotencykey"] = f"contract-2026-0815-{command_type.removesuffix('.v1').replace('.', '-')}"
    return message | {"data": dict(data)}


VIEW = events.View(
    id="order-4711",
    source=SOURCE,
    type="credit.add.v1",
    idempotency_key="contract-2026-0815",
    platform=PLATFORM,
    partition_key=KEY,
    subject="customer 0815",
    correlation_id="basket-99",
    received_at=AT,
    started_at=AT + 0.02,
    attempts=1,
)
STEP = {"name": "addCredit", "status": "done"}
DOUBT = Problem(Code.EFFECT_UNKNOWN, "the balance moved by 50.00, calls explain 0, ordered were 25.00")


def _drafts() -> dict[str, events.Draft]:
    """What happened -> the event that says so."""

    def told(what: str, **more: Any) -> events.Draft:
        said: dict[str, Any] = {"view": VIEW, "what": what, "at": AT + 0.25, "effect": "none", **more}
        return events.result(**said)

    waits = replace(VIEW, attempts=0, started_at=None)
    nobody = Problem(
        Code.NOT_FOUND,
        "there is no subscriber 551140028922@voip.example",
        platform_message="Subscriber 551140028922@voip.example not found",
    )
    late = Problem(Code.EXPIRED, "its expirytime passed before anything was done")
    wrong = Problem(
        Code.INVALID_FIELD, 'amount: it has to be above 0, e.g. "10.00" (what is added)', field="amount"
    )
    unread = replace(waits, partition_key=None)
    paid = {"amount": "25.00", "balance_before": "10.00", "balance_after": "35.00"}
    return {
        "succeeded": told("succeeded", effect="applied", output=paid, steps=[STEP]),
        "rejected": told("rejected", error=nobody),
        "cancelled": told(
            "cancelled",
            view=waits,
            error=Problem(Code.CANCELLED_BY_SENDER, "cancelled by message order-4712"),
        ),
        "expired": told("expired", view=waits, error=late),
        "parked": told(
            "parked", effect="unknown", error=DOUBT, steps=[STEP | {"status": "in_doubt"}], finished=False
        ),
        "delayed": told(
            "delayed",
            at=AT + 60,
            effect="unknown",
            finished=False,
            state="in_doubt",
            reason="the answer to a call was lost: the platform is read until the effect is known",
        ),
        "refused": told("refused", view=unread, error=wrong, refused_message="6f1c9d3e5f2a4b7c"),
    }


def results() -> dict[str, dict[str, Any]]:
    """Event type -> an event, as it is published."""
    found = {}
    for number, (what, draft) in enumerate(_drafts().items(), start=1):
        event = events.render(draft, 2 if what in ("parked", "delayed") else 1, WORKER, event_id(number))
        found[event.type] = json.loads(event.body)
    return found | page() | audits()


def event_id(number: int) -> str:
    return f"0b0c5a9e-0000-4000-8000-{number:012d}"


def page() -> dict[str, dict[str, Any]]:
    what = "page"
    view = replace(VIEW, type="call_records.list.v1", reply_to="crm.call-records")
    row: dict[str, Any] = {column.name: None for column in VI_CDRS.columns} | {
        "id": 99120,
        "call_start_time": "2026-04-30T18:04:05-03:00",
        "dst_uri": "sip:551140028922@voip.example",
        "duration": 73,
        "rate": "0.29",
        "price": "0.35",
        "accountcode": "551140028922@voip.example",
        "service": "pstn",
        "rateplan_prepaid": True,
    }
    event = json.loads(events.page(view, WORKER, 1, [events.dump(row)], last=True).body)
    event_type = f"provisioning.command.{what}.v1"
    return {event_type: {**event, "id": event_id(50), "time": events.rfc3339(AT + 1)}}


def audits() -> dict[str, dict[str, Any]]:
    ended = {"status": "succeeded", "effect": "applied", "code": None, "attempts": 1, "steps": [STEP]}
    drafts = (
        events.AuditDraft("admitted", PLATFORM, "sender", command=VIEW.command()),
        events.AuditDraft("ended", PLATFORM, "worker", command=VIEW.command(), details=ended),
        events.AuditDraft("paused", PLATFORM, "ana", reason="maintenance of the platform until 6 o'clock"),
    )
    found = {}
    for number, draft in enumerate(drafts, start=1):
        record = events.audit_record(draft, AT + number)
        mac, previous = (f"{number + shift:064x}" for shift in (0xA0D17, 0xA0D16))
        body = events.audit_event(record, number, previous, mac, event_id(100 + number), WORKER)
        found[f"provisioning.audit.{draft.what}.v1"] = json.loads(body)
    return found
