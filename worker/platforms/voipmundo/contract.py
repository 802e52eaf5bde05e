"""The operations of the OpenAPI file as the settings have them: names that no document shows, and their checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from worker.messages.rest.operations import Check, Datum, Operation, Place, Table
from worker.settings import VoipmundoSettings

KIND = "voipmundo"
NOBODY = 2**31 - 1  # an id that no client has


def named(endpoint: str) -> str:
    """manageCustomers.get -> the type of its native command."""
    return f"{KIND}.{endpoint}.v1"


GET, GET_OWN = named("manageCustomers.get"), named("manageCustomers.getOwn")
CREATE, UPDATE, REMOVE = (named(f"manageCustomers.{act}") for act in ("create", "update", "remove"))
STATUS, DEVICE, DID = named("statusCustomer.set"), named("manageDevices.create"), named("manageDID.create")
BALANCE, CREDIT = named("getCustomerBalance.get"), named("manageCredit.add")
CDR, CDR_ALL = named("cdr.list"), named("cdr.listAll")
CONTACTS, CUSTOMERS = named("contacts.list"), named("listCustomers.list")


def adjusted(table: Table, settings: VoipmundoSettings) -> Table:
    found = dict(table)
    for type_ in (GET, GET_OWN):
        path = found[type_].path.replace("/manageCustomers/", f"/{settings.customer_resource}/")
        found[type_] = replace(found[type_], path=path)
    for type_ in (CREATE, UPDATE):
        found[type_] = replace(found[type_], data=(*found[type_].data, *_more(settings)))
    found[CREATE] = replace(
        found[CREATE], id=settings.assume.created_id or "customer_id", check=_found_again(settings)
    )
    found[CREDIT] = _credit(found[CREDIT], settings)
    if settings.level == "subscriber":
        _own_record(found)
    return found


def _more(settings: VoipmundoSettings) -> tuple[Datum, ...]:
    schema = {"type": "string", "format": "password"}
    return tuple(Datum(name, name, Place.BODY, schema) for name in settings.more_fields)


def _found_again(settings: VoipmundoSettings) -> Check | None:
    """Where a client shows that was just made. Rows of `contacts` are known; of `listCustomers` nothing is."""
    if settings.find_in == "nothing":
        return None
    same = {name: name for name in settings.find_by}
    if settings.find_in == "contacts":
        return Check(CONTACTS, {}, "data", same, {"razao_social": "razao_social", "contact.email1": "email"})
    return Check(CUSTOMERS, {}, "data", same, {})


def _credit(operation: Operation, settings: VoipmundoSettings) -> Operation:
    """Under the names of the settings. What has none there is not sent."""
    said = settings.credit
    wires = {"customer": said.customer, "amount": said.amount, "note": said.note}
    data = tuple(
        replace(each, wire=wires[each.name]) if each.name in wires else each
        for each in operation.data
        if wires.get(each.name, "it") != ""
    )
    constants = tuple(Datum(name, name, Place.BODY, {}) for name in said.constants)
    check = Check(BALANCE, {"id": "customer"}, balance=settings.assume.balance)
    return replace(operation, data=(*data, *constants), check=check if is_on(settings) else None)


def is_on(settings: VoipmundoSettings) -> bool:
    """Whether credit is configured; then the settings have made sure of the rest."""
    return bool(settings.credit.customer and settings.credit.amount)


def _own_record(found: dict[str, Operation]) -> None:
    """A pair of level Assinante reads its own record, by no id."""
    for type_, each in found.items():
        if each.check is not None and each.check.read == GET:
            found[type_] = replace(each, check=replace(each.check, read=GET_OWN, arguments={}))


def settled(step_params: Mapping[str, object], check: Check | None) -> Check | None:
    """The check, if this command says all that it goes by: a row without a name is not the one without a name."""
    if check is None:
        return None
    needed = [*check.same.values(), *check.arguments.values()]
    return check if all(step_params.get(name) not in (None, "") for name in needed) else None
