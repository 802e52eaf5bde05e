"""Who am I, tokens, and the record of a client."""

from typing import Any

from worker.simulators.ringme.calls import Call, Refusal
from worker.simulators.ringme.platform import Platform, Row
from worker.simulators.ringme.records import CLIENT, OPEN, checked

from .registry import operation


@operation("oauth.token", "POST", "/oauth/token")
def token(platform: Platform, call: Call) -> Row:
    return platform.token(call)


@operation("user.me", "GET", "/user/")
def me(platform: Platform, call: Call) -> Row:
    client = next(iter(platform.clients), None)
    none = {"extension_id": None, "extension_group_id": None, "extra_params": None}
    shown: Row = {"id": 1, "login": platform.username, "client_id": client, "dealer_id": None, **none}
    return {**shown, "admin": True, "access": "full", "timezone": "Europe/Moscow"}


@operation("client.get", "GET", "/client/{client_id}/client/")
@operation("client_info.get", "GET", "/client/client_info/{client_id}/")
def get(platform: Platform, call: Call) -> Row:
    return dict(platform.client(call).record)


@operation("client.update", "PUT", "/client/{client_id}/client/")
@operation("client_info.update", "PUT", "/client/client_info/{client_id}/")
def update(platform: Platform, call: Call) -> Row:
    record, given = platform.client(call).record, call.fields()
    closed = sorted(set(given) - set(OPEN))
    if closed and platform.switches.closed_fields == "refuse":
        raise Refusal(400, "bad_request", f"Not open to the client: {', '.join(closed)}")
    _known(given)
    changes: dict[str, Any] = checked(given, OPEN, nulls=platform.switches.nulls == "clear")
    changes = {name: value for name, value in changes.items() if name not in platform.not_open}
    if platform.switches.put == "replace":
        record |= dict.fromkeys(set(OPEN) - platform.not_open)
    record |= changes
    return dict(record)


def _known(given: Row) -> None:
    if unknown := sorted(set(given) - set(CLIENT)):
        raise Refusal(400, "bad_request", f"Unknown field: {', '.join(unknown)}")
