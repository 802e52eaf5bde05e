"""From a portable command to VoIPMundo's operations. Pure: nothing is read, nothing is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from worker.domain.effect import Effect
from worker.domain.evidence import money
from worker.messages.errors import Code
from worker.messages.fields import instant
from worker.messages.rest.operations import Table
from worker.messages.voipmundo.portable import CUSTOMER, NOT_OFFERED, PORTABLE_NAMES
from worker.platforms.port import Order, Step
from worker.platforms.rest import Plan, Wrong, amount_of, step_of
from worker.platforms.rest.looks import at
from worker.platforms.voipmundo import contract as of
from worker.platforms.voipmundo.record import shown
from worker.platforms.voipmundo.values import number, whole
from worker.settings import VoipmundoSettings

MOST_NOTE = 180  # characters
BOTH = {"outgoing", "incoming"}


class SomebodyElse(LookupError):
    """The record that came is not the one that was asked for."""


@dataclass(frozen=True, slots=True)
class RecordOf:
    """The record in an answer, if it is this client's."""

    client: int

    def __call__(self, value: Any) -> Mapping[str, Any]:
        if whole(value.get("id", self.client)) != self.client:
            raise SomebodyElse
        return {"subscriber": shown(value)}


@dataclass(frozen=True, slots=True)
class BalanceIn:
    """The balance in an answer, in this field."""

    field: str

    def __call__(self, value: Any) -> Mapping[str, Any]:
        return {"balance": money(number(at(value, self.field)))}


class Plans:
    """`table`: the operations as the settings have them."""

    def __init__(self, name: str, settings: VoipmundoSettings, table: Table) -> None:
        self._name, self._settings, self._table = name, settings, table

    def all(self) -> Mapping[str, Plan]:
        return {
            "subscriber.create": self.create,
            "subscriber.update": self.update,
            "subscriber.get": self.get,
            "subscriber.remove": self.remove,
            "subscriber.block": lambda order: self.status(order, 0),
            "subscriber.activate": lambda order: self.status(order, 1),
            "calls.block": lambda order: self.calls(order, 0),
            "calls.unblock": lambda order: self.calls(order, 1),
            "credit.add": self.credit,
            "credit.get": self.balance,
            "number.assign": self.number,
            "call_records.list": self.records,
            **{type_.removesuffix(".v1"): not_offered(type_, why) for type_, why in NOT_OFFERED.items()},
        }

    # Clients -------------------------------------------------------------------------------------

    def get(self, order: Order) -> Sequence[Step]:
        client = client_of(order)
        own = self._settings.level == "subscriber"
        operation = self._table[of.GET_OWN if own else of.GET]

        return [step_of(operation, {} if own else {"id": client}, output=RecordOf(client))]

    def create(self, order: Order) -> Sequence[Step]:
        if self._settings.level != "master":
            why = f"a client is made with a token of level Master, and that of {self._name} is {self._settings.account}"
            raise Wrong(Code.UNSUPPORTED, why)
        fields = self.fields(order.data)
        if not fields.get("nome_fantasia"):
            raise Wrong(
                Code.MISSING_FIELD, "first_name, or platform_fields.nome_fantasia, is needed", "first_name"
            )
        if_exists = order.data.get("if_exists") or "reject"
        step = step_of(self._table[of.CREATE], fields, if_exists=if_exists)
        if if_exists == "adopt" and not self._looks():
            why = (
                "to adopt a client it has to be looked for, and no document shows a list of clients: undocumented ="
                f" true and find_in in the settings of {self._name} allow it"
            )
            raise Wrong(Code.UNSUPPORTED, why, "if_exists")
        return [step]

    def _looks(self) -> bool:
        return self._settings.undocumented and self._settings.find_in != "nothing"

    def update(self, order: Order) -> Sequence[Step]:
        changes = order.data.get("changes") or {}
        fields = self.fields(changes, "changes.")
        step = step_of(
            self._table[of.UPDATE],
            {"id": client_of(order), **fields},
            promises={"changed": sorted(called(changes))},
            output=nothing,
        )
        if self._settings.undocumented and not self._settings.assume.partial_update:
            why = (
                "nobody knows whether a change of a client keeps the fields that are not sent, and no read shows "
                f"them: assume.partial_update = true in the settings of {self._name}, once it was tried, allows it"
            )
            raise Wrong(Code.CANNOT_UPDATE_SAFELY, why)
        return [step]

    def remove(self, order: Order) -> Sequence[Step]:
        return [step_of(self._table[of.REMOVE], {"id": client_of(order)}, output=nothing)]

    def status(self, order: Order, status: int, **promises: Any) -> Sequence[Step]:
        data = {"id": client_of(order), "status": status}
        return [step_of(self._table[of.STATUS], data, output=nothing, promises=promises)]

    def calls(self, order: Order, status: int) -> Sequence[Step]:
        kinds = order.data.get("kinds") or ["outgoing"]
        if not self._settings.status_blocks_calls:
            why = (
                "no document of VoIPMundo shows how calls are blocked: status_blocks_calls = true in the settings "
                f"of {self._name}, once it was seen that deactivating a client does it, allows it"
            )
            raise Wrong(Code.UNSUPPORTED, why)
        if set(kinds) != BOTH:
            why = "a client is deactivated as a whole: name outgoing and incoming together, and no other kind"
            raise Wrong(Code.UNSUPPORTED, why, "kinds")
        return self.status(order, status, kinds=list(kinds))

    # Money, numbers, calls -----------------------------------------------------------------------

    def credit(self, order: Order) -> Sequence[Step]:
        self.check_credit()
        amount = amount_of(self._name, self._settings, order.data.get("amount"))
        data = {"customer": client_of(order), "amount": order.data["amount"]}
        if order.data.get("note"):
            data["note"] = order.data["note"]
        return [step_of(self._table[of.CREDIT], data, amount=amount)]

    def check_credit(self) -> None:
        if not of.is_on(self._settings):
            why = (
                "no document shows what manageCredit calls its parameters: credit.customer, credit.amount and "
                f"assume.balance in the settings of {self._name} have to name them"
            )
            raise Wrong(Code.UNSUPPORTED, why)

    def balance(self, order: Order) -> Sequence[Step]:
        field = self._settings.assume.balance
        operation = self._table[of.BALANCE]
        step = step_of(
            operation,
            {"id": client_of(order)},
            output=lambda value: {"balance": money(number(at(value, field)))},
        )
        if self._settings.undocumented and not field:
            why = (
                "no document shows the reply of getCustomerBalance: assume.balance in the settings of "
                f"{self._name} has to name the field with the balance"
            )
            raise Wrong(Code.UNSUPPORTED, why)
        return [step]

    def number(self, order: Order) -> Sequence[Step]:
        given = order.data.get("number")
        more = order.data.get("platform_fields") or {}
        data = {**more, "customer_id": client_of(order), "did_number": given}

        return [step_of(self._table[of.DID], data, promises={"number": given}, output=unnamed)]

    def records(self, order: Order) -> Sequence[Step]:
        if order.data.get("kind") == "failed":
            raise Wrong(
                Code.UNSUPPORTED, "the platform's call records are of calls that were made: completed", "kind"
            )
        if order.data.get("service") is not None:
            raise Wrong(
                Code.UNSUPPORTED, "the platform's call records are not asked for by service", "service"
            )
        limit = order.data.get("limit")
        params = {
            "id": client_of(order),
            "since": _moment(order, "since"),
            "until": _moment(order, "until"),
            "limit": None if limit is None else int(limit),
        }
        own = self._settings.level == "subscriber"
        endpoint = self._table[of.CDR_ALL if own else of.CDR].endpoint
        return [Step("cdr", endpoint, Effect.READ, params, paged=True)]

    # Fields --------------------------------------------------------------------------------------

    def fields(self, data: Mapping[str, Any], where: str = "") -> dict[str, Any]:
        """What was said of a client, by the platform's names."""
        own = dict(data.get("platform_fields") or {})
        more = own.pop("more", None) or {}
        found = portable_fields(data)
        if twice := sorted(set(found) & set(own)):
            why = f"{twice[0]} stands twice: {PORTABLE_NAMES.get(twice[0], twice[0])} says the same"
            raise Wrong(Code.INVALID_FIELD, why, f"{where}platform_fields.{twice[0]}")
        for name in more:
            if name not in self._settings.more_fields or name in CUSTOMER:
                why = f"{name} is not among more_fields in the settings of {self._name}"
                raise Wrong(Code.INVALID_FIELD, why, f"{where}platform_fields.more.{name}")
        sent = {name: value for name, value in {**found, **own}.items() if value is not None}
        return {**sent, **{name: _bare(value) for name, value in more.items()}}


def not_offered(type_: str, why: str) -> Plan:
    def plan(order: Order) -> Sequence[Step]:
        raise Wrong(Code.UNSUPPORTED, f"{type_} is not offered by platforms of kind voipmundo: {why}")

    return plan


def portable_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    address = data.get("address") or {}
    street = ", ".join(part for part in (address.get("street"), address.get("number")) if part)
    name = " ".join(part for part in (data.get("first_name"), data.get("last_name")) if part)
    found = {
        "nome_fantasia": name,
        "cpf": data.get("document"),
        "email": data.get("email"),
        "telefone": data.get("phone"),
        "celular": data.get("mobile"),
        "id_hie": data.get("reseller_id"),
        "endereco": street,
        "complemento": address.get("complement"),
        "bairro": address.get("district"),
        "cidade": address.get("city"),
        "uf": address.get("state"),
        "cep": address.get("postal_code"),
    }
    return {wire: value for wire, value in found.items() if value not in (None, "")}


def called(changes: Mapping[str, Any]) -> list[str]:
    """What is changed, under the names that the sender used."""
    names = []
    for name, value in changes.items():
        if name in ("address", "platform_fields") and isinstance(value, Mapping):
            names += [f"{name}.{inner}" for inner, each in value.items() if each is not None]
        elif value is not None:
            names.append(name)
    return names


def client_of(order: Order) -> int:
    subscriber = order.data.get("subscriber") or {}
    try:
        return whole(subscriber.get("id"))
    except ValueError:
        raise Wrong(Code.MISSING_FIELD, "subscriber.id is needed: the client's id", "subscriber.id") from None


def nothing(value: Any) -> Mapping[str, Any]:
    return {}


def unnamed(value: Any) -> Mapping[str, Any]:
    """The reply to it is not known, and with it the platform's own id."""
    return {"platform_id": None}


def noted(order: Order, note: Any) -> str:
    """What the platform keeps with a credit: the command's id comes first."""
    return re.sub(r"\s+", " ", f"{order.id} {note or ''}").strip()[:MOST_NOTE]


def _bare(value: Any) -> Any:
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def _moment(order: Order, name: str) -> str:
    """As text: a step's parameters are plain values."""
    try:
        return instant(order.data.get(name)).astimezone(UTC).isoformat()
    except (ValueError, TypeError, OverflowError):
        raise Wrong(Code.INVALID_FIELD, f"{name} has to be a time with zone", name) from None


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
