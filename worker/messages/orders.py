"""The orders of the demonstration, each with the answer that it has to get.

One line is an object: `message` (a CloudEvent) or `raw` (a body that is none), `binary` (send it in binary
mode), and `expect`: the `status` of the answer, and where they matter its `code`, parts of its `output`, and
`duplicate` for an order that repeats another, by its id or by its key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

PLATFORM = "sippulse-br"
DOMAIN = "demo.example"
SOURCE = "/crm"
Line = dict[str, Any]

SUBSCRIBERS = tuple(f"55114000{number:04d}" for number in range(1, 13))
NOBODY = "551140009999"
FUTURE = "2099-01-01T00:00:00Z"
PAST = "2001-01-01T00:00:00Z"
NAMES = ("Ana", "Bruno", "Carla", "Davi", "Elisa", "Fábio", "Gil", "Helena", "Ivo", "Júlia", "Kátia", "Leo")


def jsonl() -> str:
    """The file contracts/examples/orders.jsonl."""
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines())


def lines() -> list[Line]:
    """All orders, in the order they are sent."""
    return [
        *_creates(),
        *_credits(),
        *_blocks(),
        *_existing(),
        *_changes(),
        *_repeats(),
        *_readings(),
        *_removals(),
        *_to_nobody(),
        *_timed(),
        *_bad(),
        *_last(),
    ]


def expected(status: str, **more: Any) -> Line:
    return {"status": status, **more}


DONE = expected("succeeded")


def order(
    message_id: str, command: str, data: Mapping[str, Any], expect: Line, *, binary: bool = False, **more: Any
) -> Line:
    message = {
        "specversion": "1.0",
        "id": message_id,
        "source": SOURCE,
        "type": f"{command}.v1",
        **more,
        "data": dict(data),
    }
    line: Line = {"message": message}
    return line | ({"binary": True} if binary else {}) | {"expect": expect}


def about(username: str, **more: Any) -> Line:
    return {"platform": PLATFORM, "subscriber": {"username": username, "domain": DOMAIN}, **more}


def record(username: str, **more: Any) -> Line:
    number = int(username[-4:])
    name = NAMES[(number - 1) % len(NAMES)]
    return about(
        username,
        password=f"sip-{number}-kept-secret",
        portal_password=f"portal-{number}-kept-secret",
        profile="residential",
        rate_plan_id=1,
        email=f"{username}@{DOMAIN}",
        country_code=55,
        area_code="11",
        call_limit=2,
        first_name=name,
        contract_number=f"C-{number:04d}",
        **more,
    )


def _creates() -> Iterator[Line]:
    extras: dict[int, Line] = {
        2: {"last_name": "Lima", "document": "123.456.789-09", "mobile": "11999990002"},
        3: {"address": {"street": "Rua A", "number": "3", "city": "São Paulo", "postal_code": "01000-003"}},
        4: {"voicemail": True, "voicemail_password": "4321"},
        5: {"cps": 2, "keep_alive": 1},
        6: {"forwarding": {"busy": "sip:551140000001@demo.example"}, "caller_id": SUBSCRIBERS[5]},
        7: {"platform_fields": {"softphoneAllowed": True, "rings": 30}},
        8: {"low_credit_limit": "5.00"},
    }
    for number, username in enumerate(SUBSCRIBERS, start=1):
        data = record(username, **extras.get(number, {}))
        expect = expected("succeeded", output={"adopted": False})
        yield order(f"create-{number:02d}", "subscriber.create", data, expect, binary=number % 4 == 0)


def _credits() -> Iterator[Line]:
    amounts = ("25.00", "10.00", "5.50", "100.00", "0.01", "33.33", "12.00", "7.25", "40.00", "15.00")
    for number, (username, amount) in enumerate(zip(SUBSCRIBERS, amounts, strict=False), start=1):
        data = about(username, amount=amount, note=f"top-up {number}")
        expect = expected("succeeded", output={"amount": amount})
        yield order(f"credit-{number:02d}", "credit.add", data, expect, idempotencykey=f"top-up-{number:02d}")
    last = about(SUBSCRIBERS[10], amount="20.00")
    yield order("credit-11", "credit.add", last, DONE, dependson="create-11", priority="high")


def _blocks() -> Iterator[Line]:
    one, two, three, four, five, six = SUBSCRIBERS[:6]
    several = ["outgoing", "incoming"]
    yield order("block-01", "calls.block", about(one), DONE, idempotencykey="dunning-01")
    yield order("block-02", "calls.block", about(two, kinds=several), DONE, subject="dunning level 2")
    yield order("block-03", "calls.block", about(three, kinds=["collect"]), DONE, binary=True)
    yield order("block-04", "calls.block", about(four, kinds=["anonymous", "private"]), DONE)
    yield order("unblock-01", "calls.unblock", about(one), DONE, idempotencykey="paid-01")
    yield order("unblock-02", "calls.unblock", about(two, kinds=several), DONE, priority="high")
    yield order("subscriber-block-05", "subscriber.block", about(five), DONE)
    yield order("subscriber-block-06", "subscriber.block", about(six), DONE, batchid="dunning-2026-05")
    yield order("subscriber-activate-05", "subscriber.activate", about(five), DONE)
    yield order("credit-05-b", "credit.add", about(five, amount="9.99"), DONE)


def _existing() -> Iterator[Line]:
    """Orders to make what is there already."""
    seven, eight, nine, ten = SUBSCRIBERS[6:10]
    there = expected("rejected", code="already_exists")
    yield order("create-07-again", "subscriber.create", record(seven), there)
    adopted = expected("succeeded", output={"adopted": True})
    yield order("create-09-adopt", "subscriber.create", record(nine, if_exists="adopt"), adopted)
    other = record(ten, if_exists="adopt") | {"profile": "business", "email": "other@demo.example"}
    yield order("create-10-adopt", "subscriber.create", other, expected("rejected", code="exists_different"))
    newer = record(eight, if_exists="update") | {"first_name": "Heloísa", "low_credit_limit": "8.00"}
    yield order("create-08-update", "subscriber.create", newer, DONE)


def _changes() -> Iterator[Line]:
    nine, ten, eleven = SUBSCRIBERS[8:11]
    changes: Line = {"outgoing_calls": False, "address": {"city": "Santos"}, "call_limit": 3}
    changed = expected("succeeded", output={"changed": ["call_limit", "address.city", "outgoing_calls"]})
    yield order("update-09", "subscriber.update", about(nine, changes=changes), changed)
    new = about(nine, new_password="sip-9-new-kept-secret")
    yield order("password-09", "password.change", new, DONE)
    number = {"number": "551130001000"}
    given = expected("succeeded", output=number)
    yield order("number-10", "number.assign", about(ten, **number, monthly_fee="9.90"), given)
    yield order("number-10-list", "number.list", about(ten), DONE)
    yield order("number-10-release", "number.release", about(ten, **number), given)
    month = {"since": "2026-04-01T00:00:00-03:00", "until": "2026-05-01T00:00:00-03:00", "kind": "completed"}
    nowhere = expected("refused", code="invalid_message")  # its rows go to reply_to, and there is none
    yield order("calls-10-list", "call_records.list", about(ten, **month), nowhere)
    yield order("forward-11", "forwarding.set", about(eleven, busy=f"sip:{ten}@{DOMAIN}"), DONE)


def _repeats() -> Iterator[Line]:
    """The same message again, the same order under a new id, and two that only look like it."""
    one, two, three = SUBSCRIBERS[:3]
    again = expected("succeeded", duplicate=True)
    first = about(one, amount="25.00", note="top-up 1")
    yield order("credit-01", "credit.add", first, again, idempotencykey="top-up-01")
    yield order("create-03", "subscriber.create", _created(3), again)
    second = about(two, amount="10.00", note="top-up 2")
    yield order("credit-02-sent-again", "credit.add", second, again, idempotencykey="top-up-02")
    yield order("block-01-sent-again", "calls.block", about(one), again, idempotencykey="dunning-01")
    other = about(two, amount="11.00", note="top-up 2")
    conflict = expected("refused", code="idempotency_conflict")
    yield order("credit-02-other", "credit.add", other, conflict, idempotencykey="top-up-02")
    changed = about(three, amount="500.00", note="top-up 3")
    same_id = expected("refused", code="id_conflict")
    yield order("credit-03", "credit.add", changed, same_id, idempotencykey="top-up-03")


def _created(number: int) -> Line:
    data: Line = [*_creates()][number - 1]["message"]["data"]
    return data


def _readings() -> Iterator[Line]:
    balances = {1: "25.00", 2: "10.00", 5: "10.00", 6: "33.33"}
    for number, balance in balances.items():
        expect = expected("succeeded", output={"balance": balance})
        yield order(f"credit-get-{number:02d}", "credit.get", about(SUBSCRIBERS[number - 1]), expect)
    for number in (1, 6):
        yield order(f"get-{number:02d}", "subscriber.get", about(SUBSCRIBERS[number - 1]), DONE)
    yield order("command-get-by-id", "command.get", {"id": "create-01"}, DONE)
    named = {"source": SOURCE, "idempotencykey": "top-up-04"}
    yield order("command-get-by-key", "command.get", named, DONE, binary=True)


def _removals() -> Iterator[Line]:
    last = SUBSCRIBERS[11]
    gone = expected("rejected", code="not_found")
    yield order("remove-12", "subscriber.remove", about(last), DONE)
    yield order("get-12-removed", "subscriber.get", about(last), gone)
    yield order("create-12-anew", "subscriber.create", record(last), expected("succeeded"))
    # The same subscriber, its domain spelt in another way: the same line.
    shouted = about(last, amount="3.00") | {"subscriber": {"username": last, "domain": DOMAIN.upper()}}
    yield order("credit-12-anew", "credit.add", shouted, DONE)
    fresh = expected("succeeded", output={"balance": "3.00"})
    yield order("credit-get-12", "credit.get", about(last), fresh)


def _to_nobody() -> Iterator[Line]:
    gone = expected("rejected", code="not_found")
    yield order("credit-nobody", "credit.add", about(NOBODY, amount="10.00"), gone)
    yield order("block-nobody", "calls.block", about(NOBODY), gone)
    yield order("get-nobody", "subscriber.get", about(NOBODY), gone)
    yield order("remove-nobody", "subscriber.remove", about(NOBODY), gone)
    after = expected("cancelled", code="dependency_failed")
    followed = about(SUBSCRIBERS[6], amount="10.00")
    yield order("credit-after-nobody", "credit.add", followed, after, dependson="credit-nobody")


def _timed() -> Iterator[Line]:
    eleven = about(SUBSCRIBERS[10])
    never = expected("cancelled", code="cancelled_by_sender")
    yield order("remove-11-in-2099", "subscriber.remove", eleven, never, notbefore=FUTURE)
    stopped = expected("succeeded", output={"status": "cancelled"})
    yield order("cancel-remove-11", "command.cancel", {"id": "remove-11-in-2099"}, stopped)
    unknown = expected("rejected", code="not_found")
    yield order("cancel-unknown", "command.cancel", {"id": "never-sent"}, unknown)
    late = expected("expired", code="expired")
    yield order("block-11-expired", "calls.block", eleven, late, expirytime=PAST)
    yield order("block-11-old", "calls.block", eleven, expected("refused", code="too_old"), time=PAST)
    lonely = expected("refused", code="unknown_dependency")
    yield order("block-11-lonely", "calls.block", eleven, lonely, dependson="never-sent")


def _bad() -> Iterator[Line]:
    """Messages that are refused, and one that only the platform's settings refuse."""
    four = SUBSCRIBERS[3]
    number = count(1)

    def bad(command: str, data: Mapping[str, Any], code: str, **more: Any) -> Line:
        return order(f"bad-{next(number):02d}", command, data, expected("refused", code=code), **more)

    unreadable = expected("refused", code="invalid_message")
    yield {"raw": '{"specversion": "1.0", "id": "bad-00", "source": "/crm", "ty', "expect": unreadable}
    yield {"raw": "<addCredit><value>10.00</value></addCredit>", "expect": unreadable}
    yield bad("credit.add", about(four, amount="-10.00"), "invalid_field")
    yield bad("credit.add", about(four, amount=10), "invalid_field")
    yield bad("credit.add", about(four), "missing_field")
    yield bad("credit.add", about(four, amount="10.00") | {"platform": "sipulse-br"}, "unknown_platform")
    yield bad("credit.added", about(four, amount="10.00"), "unknown_command")
    yield bad("calls.block", about(four, kinds=["all"]), "invalid_field")
    yield bad("calls.block", about(four, reason="dunning"), "invalid_field")
    yield bad("calls.block", about(four), "invalid_message", priority="urgent")
    yield bad("calls.block", about(four), "invalid_message", expirytime="tomorrow")
    finer = expected("rejected", code="invalid_field")
    yield order("credit-04-too-fine", "credit.add", about(four, amount="1.001"), finer)


def _last() -> Iterator[Line]:
    """After all the refusals: good orders around bad ones are unharmed."""
    for number, balance in ((4, "100.00"), (3, "5.50"), (8, "7.25")):
        expect = expected("succeeded", output={"balance": balance})
        yield order(f"credit-get-{number:02d}", "credit.get", about(SUBSCRIBERS[number - 1]), expect)
