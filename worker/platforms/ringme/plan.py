"""From portable commands to RingMe's operations. Pure: nothing is sent, nothing is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from worker.messages.errors import Code
from worker.messages.fields import instant
from worker.messages.rest.operations import Operation, Table
from worker.messages.ringme.portable import NOT_OFFERED, OF_A_CLIENT
from worker.platforms.port import Order, Step
from worker.platforms.rest import Plan, RestStep, Wrong, step_of
from worker.platforms.rest.answers import plain
from worker.platforms.rest.looks import alike, hidden
from worker.platforms.ringme.steps import NumberStep, RuleStep, operation
from worker.settings.ringme import RingmeSettings

NO_SECRETS: frozenset[str] = frozenset()
IF_EXISTS = ("reject", "adopt", "update")
TYPE = "type"


class Plans:
    def __init__(self, name: str, settings: RingmeSettings, table: Table) -> None:
        self._name, self._settings, self._table = name, settings, table

    def portable(self) -> Mapping[str, Plan]:
        offered: dict[str, Plan] = {
            "subscriber.create": self._create,
            "subscriber.update": self._update,
            "subscriber.get": self._get,
            "subscriber.remove": self._remove,
            "subscriber.block": lambda order: self._status(order, "blocked"),
            "subscriber.activate": lambda order: self._status(order, "active"),
            "calls.block": lambda order: self._calls(order, block=True),
            "calls.unblock": lambda order: self._calls(order, block=False),
            "password.change": self._password,
            "number.list": self._numbers,
            "call_records.list": self._call_records,
        }
        return offered | {type_.removesuffix(".v1"): refused(why) for type_, why in NOT_OFFERED.items()}

    def _operation(self, endpoint: str) -> Operation:
        return operation(self._table, endpoint)

    @property
    def _record(self) -> str:
        return self._settings.record_path

    # Internal numbers ----------------------------------------------------------------------------

    def _create(self, order: Order) -> list[Step]:
        data, who = order.data, client_of(order)
        number, if_exists = text(data, "number"), data.get("if_exists") or "reject"
        if if_exists not in IF_EXISTS:
            raise Wrong(Code.INVALID_FIELD, f"if_exists is one of {', '.join(IF_EXISTS)}", "if_exists")
        wanted = {TYPE: data.get("type") or "phone", "status": "active", **given(data, "label")}
        wanted |= platform_fields(data)
        name = self._settings.extension_name.replace("{number}", number)
        create = self._operation("extension.create")
        steps: list[Step] = [step_of(create, {**who, "name": name, **wanted}, if_exists=if_exists)]
        if if_exists == "update":
            again = self._by_number("extension.update", {**who, **wanted}, name, after_adoption=True)
            steps.append(replace(again, extension_id=made(order)))
        if data.get("password") is not None:
            phone = {"password": data["password"]}
            steps.append(
                replace(self._by_number("phone.update", phone, name, client=who), extension_id=made(order))
            )
        return steps

    def _by_number(
        self,
        endpoint: str,
        data: Mapping[str, Any],
        name: str,
        *,
        client: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> NumberStep:
        """A step whose extension_id is not known before the first one is done; no read shows it by itself."""
        plain_step = step_of(self._operation(endpoint), {**data, "extension_id": 1}, check=None, **more)
        params = {key: value for key, value in plain_step.params.items() if key != "extension_id"}
        own = {each.name: getattr(plain_step, each.name) for each in fields(plain_step)}
        return NumberStep(**{**own, "params": params | dict(client or {})}, number=name)

    def _remove(self, order: Order) -> list[Step]:
        return [step_of(self._operation("extension.delete"), extension_of(order))]

    def _status(self, order: Order, status: str) -> list[Step]:
        return [step_of(self._operation("extension.update"), {**extension_of(order), "status": status})]

    def _password(self, order: Order) -> list[Step]:
        if order.data.get("new_password") is None:
            raise Wrong(Code.MISSING_FIELD, "new_password is needed", "new_password")
        phone = {"extension_id": extension_of(order)["extension_id"], "password": order.data["new_password"]}
        return [step_of(self._operation("phone.update"), phone, output=nothing)]

    # Clients and internal numbers ----------------------------------------------------------------

    def _get(self, order: Order) -> list[Step]:
        who = subscriber_of(order)
        read = "extension.get" if "extension_id" in who else f"{self._record}.get"
        return [step_of(self._operation(read), who, output=shown)]

    def _update(self, order: Order) -> list[Step]:
        who, changes = subscriber_of(order), order.data.get("changes")
        if not isinstance(changes, Mapping) or not any(value is not None for value in changes.values()):
            raise Wrong(Code.MISSING_FIELD, "changes with at least one field is needed", "changes")
        password = changes.get("password")
        wanted = {
            name: value for name, value in changes.items() if name not in ("password", "platform_fields")
        }
        wanted = {name: value for name, value in wanted.items() if value is not None} | platform_fields(
            changes
        )
        if "extension_id" not in who:
            if other := sorted({*wanted, *(["password"] if password is not None else [])} - set(OF_A_CLIENT)):
                why = f"{other[0]} cannot be changed: a client may change {', '.join(OF_A_CLIENT)}"
                raise Wrong(Code.UNSUPPORTED, why, f"changes.{other[0]}")
            return [self._changed(f"{self._record}.update", who, wanted)]
        steps: list[Step] = [self._changed("extension.update", who, wanted)] if wanted else []
        if password is not None:
            phone = {"extension_id": who["extension_id"]}
            steps.append(self._changed("phone.update", phone, {"password": password}))
        return steps

    def _changed(self, endpoint: str, who: Mapping[str, Any], wanted: Mapping[str, Any]) -> RestStep:
        """`changed`: as the answer shows it. What it shows otherwise was not open to us, and is said."""
        step = step_of(self._operation(endpoint), {**who, **wanted}, promises={"changed": sorted(wanted)})
        sent = {name: step.params[name] for name in sorted(wanted) if name in step.params}
        return with_(step, output=Changed(sent))

    def _calls(self, order: Order, *, block: bool) -> list[Step]:
        who, kinds = subscriber_of(order), order.data.get("kinds") or ["outgoing"]
        if other := [kind for kind in kinds if kind != "outgoing"]:
            why = f"calls of the kind {other[0]} cannot be blocked: RingMe has lists of rules for outgoing ones alone"
            raise Wrong(Code.UNSUPPORTED, why, "kinds")
        rule = self._settings.block_rule_id
        if block and rule is None:
            why = f"block_rule_id is not set in the settings of {self._name}: the list of rules that lets no call out"
            raise Wrong(Code.UNSUPPORTED, why)
        extension = who.get("extension_id")
        tag = self._record if extension is None else "extension"
        of = f"client:{who['client_id']}" if extension is None else f"extension:{extension}"
        data = {**who, "dial_rule_id": rule} if block else who
        plain_step = step_of(self._operation(f"{tag}.update"), data, promises={"kinds": ["outgoing"]})
        own = {each.name: getattr(plain_step, each.name) for each in fields(plain_step)}
        read = self._operation(f"{tag}.get")
        return [RuleStep(**{**own, "readable": True}, of=of, read=read, rule=rule, block=block)]

    def _numbers(self, order: Order) -> list[Step]:
        who = subscriber_of(order)
        client = {"client_id": who["client_id"]}
        return [step_of(self._operation("did.list"), client, output=Numbers(who.get("extension_id")))]

    def _call_records(self, order: Order) -> list[Step]:
        who, data, zone = subscriber_of(order), order.data, ZoneInfo(self._settings.assume.history_zone)
        asked: dict[str, Any] = {
            **who,
            "start_datetime": local(instant(text(data, "since")), zone),
            "end_datetime": local(instant(text(data, "until")), zone),
            "per_page": self._settings.history_page,
        }
        if data.get("service") is not None:
            asked["flow"] = data["service"]
        step = step_of(self._operation("call_history.list"), asked, paged=True)
        more = {"kind": text(data, "kind"), "limit": int(data.get("limit") or 2**62)}
        return [with_(step, params={**step.params, **more})]


def refused(why: str) -> Plan:
    """Of a portable command that is not offered."""

    def plan(order: Order) -> list[Step]:
        raise Wrong(Code.UNSUPPORTED, f"{order.type} is not offered by platforms of kind ringme: {why}")

    return plan


def with_(step: RestStep, **more: Any) -> RestStep:
    own = {each.name: getattr(step, each.name) for each in fields(step)}
    return RestStep(**{**own, **more})


# What the result says: values, so that planning twice gives the same steps ------------------------------


@dataclass(frozen=True, slots=True)
class Changed:
    """What the answer shows otherwise than it was sent was not open to us, and is named. `sent` may hold secrets."""

    sent: Mapping[str, Any] = field(repr=False)

    def __call__(self, value: Any) -> dict[str, Any]:
        shown = value if isinstance(value, Mapping) else {}
        other = [
            name
            for name, wanted in self.sent.items()
            if name in shown and name != "password" and not alike(shown[name], wanted)
        ]
        changed = [name for name in self.sent if name not in other]
        return {"changed": changed, "differences": other} if other else {"changed": changed}


@dataclass(frozen=True, slots=True)
class Numbers:
    """The external numbers of the client, or of one internal number."""

    extension: int | None

    def __call__(self, value: Any) -> dict[str, Any]:
        rows = [dict(row) for row in value if isinstance(row, Mapping)]
        ours = [
            row for row in rows if self.extension is None or alike(row.get("extension_id"), self.extension)
        ]
        return {"numbers": hidden(plain(ours), NO_SECRETS)}


def shown(value: Any) -> dict[str, Any]:
    return {"subscriber": hidden(plain(value), NO_SECRETS)}


def nothing(value: Any) -> dict[str, Any]:
    return {}


# What the order says -----------------------------------------------------------------------------------


def subscriber_of(order: Order) -> dict[str, Any]:
    said = order.data.get("subscriber")
    if not isinstance(said, Mapping) or said.get("client_id") is None:
        raise Wrong(Code.MISSING_FIELD, "subscriber with client_id is needed", "subscriber")
    return {name: whole(said, name) for name in ("client_id", "extension_id") if said.get(name) is not None}


def made(order: Order) -> int | None:
    """The id of the internal number, once an earlier step of the command has made or found it."""
    outputs = (step.get("output", {}) for step in order.finished)
    found = next((str(each["platform_id"]) for each in outputs if each.get("platform_id")), "")
    return int(found) if found.isascii() and found.isdecimal() else None


def client_of(order: Order) -> dict[str, Any]:
    return {"client_id": subscriber_of(order)["client_id"]}


def extension_of(order: Order) -> dict[str, Any]:
    who = subscriber_of(order)
    if "extension_id" not in who:
        why = (
            f"{order.type} is offered for internal numbers alone: a whole client is the business of the provider's "
            "administrator API, whose addresses are not known"
        )
        raise Wrong(Code.UNSUPPORTED, why, "subscriber.extension_id")
    return who


def whole(said: Mapping[str, Any], name: str) -> int:
    digits = str(said[name])
    if not digits.isascii() or not digits.isdecimal():
        raise Wrong(Code.INVALID_FIELD, f"subscriber.{name} has to be a whole number", f"subscriber.{name}")
    return int(digits)


def text(data: Mapping[str, Any], name: str) -> str:
    if not isinstance(data.get(name), str) or not data[name]:
        raise Wrong(Code.MISSING_FIELD, f"{name} is needed", name)
    return str(data[name])


def given(data: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: data[name] for name in names if data.get(name) is not None}


def platform_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    said = data.get("platform_fields")
    if not isinstance(said, Mapping):
        return {}
    return {name: value for name, value in said.items() if value is not None}


def local(moment: datetime, zone: ZoneInfo) -> str:
    """As the platform's parameters have it."""
    try:
        return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
    except OverflowError:
        raise Wrong(
            Code.INVALID_FIELD, "since and until have to be times between the years 1 and 9999"
        ) from None
