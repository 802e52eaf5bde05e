"""The platform's operations, one function each: it takes the state and the call, and gives the reply's fields."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from worker.simulators.common.exchange import Answer
from worker.simulators.common.rest import RestCall, answer

from .records import client_row, contact_row, device_row, record
from .state import SECRETS, Client, Refused, Row, State

Function = Callable[[State, RestCall], Row]


@dataclass(frozen=True, slots=True)
class Operation:
    """`changes` tells whether a success goes into the log."""

    function: Function
    changes: bool


OPERATIONS: dict[str, Operation] = {}


def reads(name: str) -> Callable[[Function], Function]:
    return _operation(name, changes=False)


def changes(name: str) -> Callable[[Function], Function]:
    return _operation(name, changes=True)


def _operation(name: str, changes: bool) -> Callable[[Function], Function]:
    def keep(function: Function) -> Function:
        OPERATIONS[name] = Operation(function, changes)
        return function

    return keep


def apply(state: State, call: RestCall, via: str) -> Answer:
    """Run a call against the state at once, log what it changed, and build its answer."""
    traces = state.ledger.operations[call.operation]
    try:
        authenticate(state, call)
        found = OPERATIONS[call.operation].function(state, call)
    except Refused as refusal:
        traces.refused += 1
        status = state.switches.refusals if refusal.status is None else refusal.status
        return refused(wording(state, call, state.texts[refusal.text], **refusal.facts), status)
    traces.applied += 1
    if call.changes:
        state.ledger.record(call, str(found.pop("_object", call.object)), via, SECRETS)
    return answer(200, {"error": 0, "reason": "OK", **found})


def refused(reason: str, status: int) -> Answer:
    return answer(status, {"error": 1, "reason": reason}, fault=reason)


def wording(state: State, call: RestCall, text: str, **facts: str) -> str:
    """{token}, {key} and {password} make the platform echo the secrets that it was sent."""
    body = call.body if isinstance(call.body, dict) else {}
    known = {"token": call.path.get("token", ""), "key": call.path.get("key", ""), **facts}
    known["password"] = str(body.get("password", ""))
    for name, value in known.items():
        text = text.replace("{" + name + "}", value)
    return text


# Who asks ----------------------------------------------------------------------------------------------


def authenticate(state: State, call: RestCall) -> None:
    if call.operation == "getDeviceBalance.get":
        return
    own = owner(state, call)
    if own is None and not is_house(state, call):
        raise Refused("wrong_token", 403)
    if own is not None and call.operation == "manageCustomers.create":
        raise Refused("not_allowed")


def is_house(state: State, call: RestCall) -> bool:
    """The pair that the simulator was started with, unless it is a subscriber's."""
    pair = (call.path.get("token"), call.path.get("key"))
    return pair == (state.token, state.key) and state.switches.level != "subscriber"


def owner(state: State, call: RestCall) -> Client | None:
    """The client whose own pair it is."""
    pair = (call.path.get("token"), call.path.get("key"))
    if state.switches.level == "subscriber" and pair == (state.token, state.key):
        return next(iter(state), None)
    return next((each for each in state if pair == (each.token, each.key)), None)


def mine(state: State, call: RestCall, number: Any) -> Client:
    """The client meant; with a subscriber's pair there is no other than its own."""
    own = owner(state, call)
    if own is None:
        return state.find(number)
    if number not in (None, "", own.id, str(own.id)):
        raise Refused("not_allowed")
    return own


def visible(state: State, call: RestCall) -> list[Client]:
    own = owner(state, call)
    return [own] if own else list(state)


# What came -----------------------------------------------------------------------------------------------


def body_of(call: RestCall) -> Row:
    if not isinstance(call.body, dict):
        raise Refused("unreadable", 400)
    return call.body


def needed(values: Row, name: str) -> Any:
    if values.get(name) in (None, ""):
        raise Refused("missing", 422, field=name)
    return values[name]


def number_of(values: Any, name: str, default: int) -> int:
    given = str(values.get(name, default))
    if not given.isascii() or not given.isdecimal():
        raise Refused("invalid", 422, field=name)
    return int(given)


def page(call: RestCall, rows: list[Row], skip: str = "start") -> tuple[list[Row], int, int]:
    start = number_of(call.query, skip, 0)
    limit = number_of(call.query, "limit", 100)
    limit = 200 if limit > 10_000 else limit  # as found on the sister product
    return rows[start : start + limit], start, limit


# Clients -------------------------------------------------------------------------------------------------


@reads("manageCustomers.getOwn")
def get_own(state: State, call: RestCall) -> Row:
    own = owner(state, call)
    if own is None:
        raise Refused("missing", 422, field="id")
    return record(state, own)


@reads("manageCustomers.get")
def get(state: State, call: RestCall) -> Row:
    return record(state, mine(state, call, call.path["id"]))


@changes("manageCustomers.create")
def create(state: State, call: RestCall) -> Row:
    values = body_of(call)
    needed(values, "nome_fantasia")
    client = state.add(values)
    shown = {"customer_id": client.id} if state.switches.created == "customer_id" else {}
    return {**shown, "_object": client.id}


@changes("manageCustomers.update")
def update(state: State, call: RestCall) -> Row:
    client, values = mine(state, call, call.path["id"]), body_of(call)
    client.fields = {**({} if state.switches.updates == "clear" else client.fields), **values}
    return {}


@changes("manageCustomers.remove")
def remove(state: State, call: RestCall) -> Row:
    client = mine(state, call, call.path["id"])
    del state.clients[client.id]
    return {}


@changes("statusCustomer.set")
def set_status(state: State, call: RestCall) -> Row:
    values = body_of(call)
    client, wanted = mine(state, call, needed(values, "id")), needed(values, "status")
    if str(wanted) not in ("0", "1"):
        raise Refused("invalid", 422, field="status")
    old, client.status = client.status, int(wanted)
    shown = {"customer_id": client.id, "customer_name": client.name}
    return {**shown, "old_status": old, "new_status": client.status, "_object": client.id}


@reads("listCustomers.list")
def list_customers(state: State, call: RestCall) -> Row:
    if state.switches.lists == "none":
        raise Refused("no_such_option", 404)
    rows = [client_row(each) for each in visible(state, call)]
    return {"records": len(rows), "data": rows}


@reads("listCustomers.listOf")
def list_customers_of(state: State, call: RestCall) -> Row:
    client = mine(state, call, call.path["id"])
    return {"records": 1, "data": [client_row(client)]}


@reads("contacts.list")
def contacts(state: State, call: RestCall) -> Row:
    if state.switches.lists == "none":
        raise Refused("no_such_option", 404)
    rows = [contact_row(each) for each in visible(state, call)]
    found, offset, limit = page(call, rows, "start" if "start" in call.query else "offset")
    return {"offset": offset, "limit": limit, "records": len(found), "data": found}


# Lines, numbers ------------------------------------------------------------------------------------------


@changes("manageDevices.create")
def create_device(state: State, call: RestCall) -> Row:
    values = body_of(call)
    own = owner(state, call)
    client = mine(state, call, own.id if own else needed(values, "customer_id"))
    state.add_device(client, values)
    return {"_object": client.id}


@reads("listDevices.list")
def list_devices(state: State, call: RestCall) -> Row:
    client = mine(state, call, call.path["id"])
    wanted = call.query.get("id_record")
    rows = [device_row(client, each) for each in client.devices if wanted in (None, str(each["id"]))]
    block = {"id_cliente": str(client.id), "nome_fantasia": client.name, "records": len(rows), "data": rows}
    return {"records": 1, "data": [block]}


@reads("listDevicesRegistered.list")
def registered(state: State, call: RestCall) -> Row:
    return _registered([mine(state, call, call.path["id"])])


@reads("listDevicesRegistered.listAll")
def registered_all(state: State, call: RestCall) -> Row:
    return _registered(visible(state, call))


def _registered(clients: list[Client]) -> Row:
    rows = [
        {"device_id": each["id"], "device_username": each.get("username"), "device_registered": False}
        for client in clients
        for each in client.devices
    ]
    return {"records": len(rows), "data": rows}


@reads("getDeviceBalance.get")
def device_balance(state: State, call: RestCall) -> Row:
    device = state.device(call.path["username"], call.path["digest"])
    if device is None:
        raise Refused("wrong_token", 403)
    return {"balance": state.amount(Decimal(str(device["saldo"])))}


@changes("manageDID.create")
def did(state: State, call: RestCall) -> Row:
    """Create or change: the page's title says both."""
    values = body_of(call)
    number, client = str(needed(values, "did_number")), values.get("customer_id", 0)
    if str(client) != "0":
        mine(state, call, client)
    state.dids[number] = {**state.dids.get(number, {}), **values}
    return {"_object": number}


# Money, calls --------------------------------------------------------------------------------------------


@reads("getCustomerBalance.get")
def balance(state: State, call: RestCall) -> Row:
    client = mine(state, call, call.path["id"])
    return {state.credit.balance: state.amount(client.balance, 5)}


@changes("manageCredit.add")
def add_credit(state: State, call: RestCall) -> Row:
    values, names = body_of(call), state.credit
    client = state.find(needed(values, names.customer))
    try:
        amount = Decimal(str(needed(values, names.amount)).replace(",", "."))
    except InvalidOperation:
        raise Refused("invalid", 422, field=names.amount) from None
    if not amount.is_finite() or abs(amount) > 10**12:
        raise Refused("invalid", 422, field=names.amount)
    client.balance += amount
    client.credits.append({"amount": amount, "note": values.get(names.note), "at": time.time()})
    return {"_object": client.id}


@reads("manageCredit.list")
def credit_history(state: State, call: RestCall) -> Row:
    client = mine(state, call, call.path["id"])
    rows = [{"amount": state.amount(each["amount"]), "note": each["note"]} for each in client.credits]
    found, offset, limit = page(call, rows)
    return {"offset": offset, "limit": limit, "records": len(found), "data": found}


@reads("cdr.list")
def cdr(state: State, call: RestCall) -> Row:
    return _calls(state, call, [mine(state, call, call.path["id"])])


@reads("cdr.listAll")
def cdr_all(state: State, call: RestCall) -> Row:
    return _calls(state, call, visible(state, call))


def _calls(state: State, call: RestCall, clients: list[Client]) -> Row:
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    query = call.query
    first = f"{query.get('date_ini', today)} {query.get('time_ini', '00:00:00')}"
    last = f"{query.get('date_end', today)} {query.get('time_end', '23:59:59')}"
    rows = [(client, row) for client in clients for row in client.calls if first <= _stamp(row) <= last]
    found, offset, limit = page(call, [_call_row(state, client, row) for client, row in rows])
    value = sum((row["price"] for _, row in rows), Decimal(0))
    seconds = sum(int(row.get("seconds", 60)) for _, row in rows)
    return {
        "total_records": str(len(rows)),
        "total_time": str(seconds),
        "total_time_text": f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}",
        "total_value": state.amount(value, 5),
        "limit": limit,
        "offset": offset,
        "records": len(found),
        "data": found,
    }


def _stamp(row: Row) -> str:
    return datetime.fromtimestamp(row["at"], UTC).strftime("%Y-%m-%d %H:%M:%S")


def _call_row(state: State, client: Client, row: Row) -> Row:
    """The fields of a row are shown nowhere: these are stand-ins."""
    return {
        "id": str(row["id"]),
        "id_cliente": str(client.id),
        "date": _stamp(row),
        "source": str(row.get("source", "1000")),
        "destination": str(row.get("destination", "551130001000")),
        "duration": str(row.get("seconds", 60)),
        "value": state.amount(row["price"], 5),
    }


@changes("click2Call.start")
def click_to_call(state: State, call: RestCall) -> Row:
    values = body_of(call)
    for name in ("device_id", "src", "dst"):
        needed(values, name)
    known = [client for client in visible(state, call) for each in client.devices]
    if not known:
        raise Refused("absent_record")
    return {"_object": values["device_id"]}


@changes("onlineCalls.hangUp")
def hang_up(state: State, call: RestCall) -> Row:
    raise Refused("absent_record")  # no call of the simulator's is ever in progress


def _nothing(state: State, call: RestCall) -> Row:
    if call.path.get("id"):
        mine(state, call, call.path["id"])
    return {"records": 0, "data": []}


for _name in (
    "onlineCalls.listAll",
    "onlineCalls.list",
    "cdrDid.list",
    "recording.list",
    "cdrDisconnection.get",
    "cdrSipcodes.get",
    "profitCustomers.get",
    "profitGateways.get",
    "onlineCallsAgreggate.get",
):
    reads(_name)(_nothing)
