"""Registered applications."""

import secrets

from worker.simulators.ringme.calls import Call, Refusal
from worker.simulators.ringme.platform import Platform, Row
from worker.simulators.ringme.records import checked, needed

from .registry import operation

KNOWN = {"name": str, "owner": str, "redirect_uris": str, "trusted": bool, "default_scopes": str}
ONE = "/application/{application_id}"


@operation("application.list", "GET", "/application/")
def listed(platform: Platform, call: Call) -> list[Row]:
    return [_shown(row) for row in platform.tables["applications"].values()]


@operation("application.get", "GET", ONE)
def get(platform: Platform, call: Call) -> Row:
    return _shown(_row(platform, call))


@operation("application.create", "POST", "/application/")
def create(platform: Platform, call: Call) -> Row:
    given = checked(call.fields(), KNOWN)
    needed(given, "name")
    id_ = platform.next_id()
    row = {**given, "id": id_, "app_id": secrets.token_hex(8), "app_secret": secrets.token_hex(16)}
    platform.tables["applications"][id_] = row
    return dict(row)


@operation("application.update", "PUT", ONE)
def update(platform: Platform, call: Call) -> Row:
    row = _row(platform, call)
    row |= checked(call.fields(), KNOWN, nulls=False)
    return _shown(row)


@operation("application.delete", "DELETE", ONE)
def delete(platform: Platform, call: Call) -> None:
    del platform.tables["applications"][_row(platform, call)["id"]]


@operation("application.reset_secret", "PUT", "/application/{application_id}/reset_secret/")
def reset(platform: Platform, call: Call) -> Row:
    row = _row(platform, call)
    row["app_secret"] = secrets.token_hex(16)
    return dict(row)


def _row(platform: Platform, call: Call) -> Row:
    row = platform.tables["applications"].get(call.number("application_id"))
    if row is None:
        raise Refusal(404, "not_found", "Record not found")
    return row


def _shown(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "app_secret"}
