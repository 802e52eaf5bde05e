"""Internal numbers, and what is set beside their record."""

from typing import Any

from worker.simulators.ringme.calls import Call, Refusal
from worker.simulators.ringme.platform import Extension, Platform, Row
from worker.simulators.ringme.records import EXTENSION, checked, needed, new_extension

from .registry import operation

ALL, ONE = "/client/{client_id}/extension/", "/client/{client_id}/extension/{extension_id}"
PHONE = {"password": str, "allow_webrtc": bool, "record_enabled": bool, "record_transfer": bool}


def page_of(platform: Platform, call: Call, rows: list[Any]) -> list[Any]:
    """The page that was asked for; all of them on the first where nobody asked."""
    size = whole(call, "per_page") or whole(call, "count") or platform.page_size
    page = whole(call, "page") or 1
    return rows[(page - 1) * size : page * size]


def whole(call: Call, name: str) -> int | None:
    text = call.query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or not 0 < int(text[:18]) < 10**15:
        raise Refusal(400, "bad_request", f"Invalid value: {name}")
    return int(text)


@operation("extension.list", "GET", ALL)
def listed(platform: Platform, call: Call) -> list[Row]:
    wanted = call.query.get("type")
    found = platform.extensions_of(platform.client(call).record["id"])
    return page_of(
        platform, call, [dict(each.record) for each in found if wanted in (None, each.record["type"])]
    )


@operation("extension.get", "GET", ONE)
def get(platform: Platform, call: Call) -> Row:
    return dict(platform.extension(call).record)


@operation("extension.create", "POST", ALL)
def create(platform: Platform, call: Call) -> Row:
    client, given = platform.client(call).record, call.fields()
    needed(given, "name")
    values = checked(given, {**EXTENSION, "name": str})
    name = str(values["name"])
    if platform.switches.names == "prefixed" and "*" not in name:
        name = f"{client['prefix']}*{name}"
    if any(each.record["name"] == name for each in platform.extensions_of(client["id"])):
        if platform.switches.duplicates == "refuse":
            raise Refusal(400, "already_exists", f"Extension {name} already exists")
        platform.ledger.doubles += 1
    record = new_extension(platform.next_id(), client, {**values, "name": name})
    platform.extensions[record["id"]] = Extension(record)
    return dict(record)


@operation("extension.update", "PUT", ONE)
def update(platform: Platform, call: Call) -> Row:
    found, given = platform.extension(call), call.fields()
    if "name" in given:
        raise Refusal(400, "bad_request", "The name cannot be changed")
    changes = checked(given, EXTENSION)
    found.record |= {name: value for name, value in changes.items() if name not in platform.not_open}
    return dict(found.record)


@operation("extension.delete", "DELETE", ONE)
def delete(platform: Platform, call: Call) -> None:
    del platform.extensions[platform.extension(call).record["id"]]


@operation("phone.get", "GET", "/extension/{extension_id}/phone/")
def phone(platform: Platform, call: Call) -> Row:
    return _phone(platform, platform.extension(call))


@operation("phone.update", "PUT", "/extension/{extension_id}/phone/")
def set_phone(platform: Platform, call: Call) -> Row:
    found = platform.extension(call)
    found.phone |= checked(call.fields(), PHONE)
    return _phone(platform, found)


def _phone(platform: Platform, found: Extension) -> Row:
    shown = {name: found.phone.get(name) for name in PHONE}
    if platform.switches.phone_password == "hidden":
        del shown["password"]
    elif platform.switches.phone_password == "masked" and shown["password"]:
        shown["password"] = "*****"
    return shown


@operation("ani.get", "GET", "/extension/{extension_id}/ani/")
def ani(platform: Platform, call: Call) -> Row:
    return dict(platform.extension(call).ani)


@operation("ani.update", "PUT", "/extension/{extension_id}/ani/")
def set_ani(platform: Platform, call: Call) -> Row:
    found, given = platform.extension(call), checked(call.fields(), {"ani_number": str})
    needed(given, "ani_number")
    found.ani = {"default": given["ani_number"]}
    return dict(found.ani)


@operation("incom_rule.list", "GET", "/extension/{extension_id}/incom_rule/")
def rules(platform: Platform, call: Call) -> list[Row]:
    return list(platform.extension(call).rules.values())


@operation("incom_rule.create", "POST", "/extension/{extension_id}/incom_rule/")
def add_rule(platform: Platform, call: Call) -> Row:
    found, id_ = platform.extension(call), platform.next_id()
    found.rules[id_] = {**call.fields(), "id": id_}
    return dict(found.rules[id_])


@operation("incom_rule.update", "PUT", "/extension/{extension_id}/incom_rule/{rule_id}")
def set_rule(platform: Platform, call: Call) -> Row:
    found = platform.extension(call).rules.get(call.number("rule_id"))
    if found is None:
        raise Refusal(404, "not_found", "Record not found")
    found |= {name: value for name, value in call.fields().items() if name != "id"}
    return dict(found)


@operation("event.list", "GET", "/extension/{extension_id}/event/")
def events(platform: Platform, call: Call) -> list[Row]:
    return list(platform.extension(call).events.values())


@operation("event.create", "POST", "/extension/{extension_id}/event/")
def add_event(platform: Platform, call: Call) -> Row:
    found, given = platform.extension(call), call.fields()
    values = checked(given, {"url": str, "method": str, "event_type": str}, nulls=False)
    needed(values, "url", "method", "event_type")
    id_ = platform.next_id()
    found.events[id_] = {"id": id_, **values}
    return dict(found.events[id_])


@operation("event.delete", "DELETE", "/extension/{extension_id}/event/{event_id}")
def drop_event(platform: Platform, call: Call) -> None:
    if platform.extension(call).events.pop(call.number("event_id"), None) is None:
        raise Refusal(404, "not_found", "Record not found")
