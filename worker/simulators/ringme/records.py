"""Client records and internal numbers: their fields, as the samples have them, and what each may hold."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .calls import Refusal

Row = dict[str, Any]

CLIENT: Row = {
    "ambassadors": None,
    "contact_phones": None,
    "create_date": "2020-03-16 09:29:57",
    "dial_rule_id": 19,
    "did_as_transfer_caller_id": "default",
    "disk_space_notify_email": None,
    "disk_space_notify_threshold": None,
    "domain": "sip.ringme.ru",
    "domain_prefix": "00001",
    "email": "admin@domain.com",
    "extension_len": 3,
    "extra_params": None,
    "fact_address": None,
    "geo_list": None,
    "hold_music": None,
    "id": 12,
    "jur_address": None,
    "language": None,
    "name": "ringme_test",
    "prefix": "0001",
    "presence": "no",
    "record_format": "mp3",
    "record_stereo": False,
    "reg_status_log": False,
    "short_local_caller_id": "yes",
    "sip_network_permission_id": None,
    "timezone": "Europe/Moscow",
    "type": "J",
}
# The seven that a client may change, each with the types it takes.
OPEN: Mapping[str, type] = {
    "dial_rule_id": int,
    "disk_space_notify_email": str,
    "disk_space_notify_threshold": int,
    "geo_list": str,
    "hold_music": int,
    "sip_network_permission_id": int,
    "timezone": str,
}
EXTENSION: Mapping[str, type] = {
    "type": str,
    "status": str,
    "label": str,
    "extension_group_id": int,
    "caller_id_name": str,
    "message_did": str,
    "dial_rule_id": int,
    "ani_rfc3325": bool,
    "did_as_transfer_caller_id": str,
    "extra_params": str,
}
ALLOWED: Mapping[str, tuple[str, ...]] = {
    "type": ("phone", "ivr", "queue", "fax"),
    "status": ("active", "blocked"),
    "access": ("full", "read_only"),
}


def new_client(id_: int, values: Mapping[str, Any]) -> Row:
    if unknown := sorted(set(values) - set(CLIENT)):
        raise ValueError(f"unknown field {unknown[0]!r}: a client has {', '.join(CLIENT)}")
    return {**CLIENT, **values, "id": id_}


def new_extension(id_: int, client: Row, values: Mapping[str, Any]) -> Row:
    """As the platform keeps it: blocked unless said otherwise."""
    record: Row = {"id": id_, "name": None, "client_id": client["id"], "domain": client["domain"]}
    record |= {"create_date": now(), "dial_rule_limit": None, **dict.fromkeys(EXTENSION)}
    record |= {"type": "phone", "status": "blocked", **values}
    return record


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


def checked(given: Row, known: Mapping[str, type], *, nulls: bool = True) -> Row:
    """The known fields of a body. Raises Refusal where one has a value of another type."""
    found = {name: given[name] for name in known if name in given}
    for name, value in found.items():
        wrong = value is not None and (
            not isinstance(value, known[name]) or (isinstance(value, bool) and known[name] is not bool)
        )
        if wrong or (value is None and not nulls) or (name in ALLOWED and value not in ALLOWED[name]):
            raise Refusal(400, "bad_request", f"Invalid value: {name}")
    return found


def needed(given: Row, *names: str) -> None:
    for name in names:
        if given.get(name) in (None, "", []):
            raise Refusal(400, "bad_request", f"Required field is missing: {name}")
