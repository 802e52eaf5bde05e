"""An example of each portable command as VoIPMundo takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ABOUT: dict[str, Any] = {"subscriber": {"id": 4711}}

# `platform` is added.
DATA: Mapping[str, Mapping[str, Any]] = {
    "subscriber.create.v1": {
        "first_name": "Padaria",
        "last_name": "Ana",
        "document": "12.345.678/0001-95",
        "email": "ana@padaria.example",
        "phone": "1133330000",
        "address": {
            "street": "Rua das Flores",
            "number": "42",
            "district": "Centro",
            "city": "São Paulo",
            "state": "SP",
            "postal_code": "01000-000",
        },
        "if_exists": "reject",
        "platform_fields": {"razao_social": "Padaria da Ana Ltda", "tem_ramal": 1, "tem_did": 1},
    },
    "subscriber.update.v1": _ABOUT | {"changes": {"email": "contato@padaria.example"}},
    "subscriber.get.v1": _ABOUT,
    "subscriber.remove.v1": _ABOUT,
    "subscriber.block.v1": _ABOUT,
    "subscriber.activate.v1": _ABOUT,
    "calls.block.v1": _ABOUT | {"kinds": ["outgoing", "incoming"]},
    "calls.unblock.v1": _ABOUT | {"kinds": ["outgoing", "incoming"]},
    "credit.add.v1": _ABOUT | {"amount": "25.00", "note": "first payment"},
    "credit.get.v1": _ABOUT,
    "call_records.list.v1": _ABOUT
    | {"since": "2026-04-01T00:00:00-03:00", "until": "2026-05-01T00:00:00-03:00", "kind": "completed"},
    "number.assign.v1": _ABOUT
    | {"number": "551133330001", "platform_fields": {"did_type": 1, "device_id": 7}},
}
