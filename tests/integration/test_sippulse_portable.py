"""Every portable command of SIPPulse that changes something, taken through what can happen to it.

What became of it is asked of the platform by a read of the test's own, the one by which a person would look. Where
no read shows it, the scene says so.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.engine import PLATFORM, Stand, any_journal, stand, templates
from tests.support.operations import DOMAIN, Probe, World, record, shown
from worker.broker.arrivals import Reader
from worker.journal.port import Refusal
from worker.messages import contracts
from worker.messages.envelope import STRUCTURED, Delivery

__all__ = ["stand", "templates"]

pytestmark = any_journal

SETTINGS: dict[str, Any] = {
    "timeout": 5.0,
    "lease_margin": 10.0,
    # Thirty commands, some of five steps, are read again and again meanwhile.
    "settle": 3.0,
    "retry_first": 0.3,
    "retry_most": 1.0,
    "concurrency": 40,
}
READER = Reader({PLATFORM: "sippulse"}, 262144)
NUMBERS = [f"5511300010{number:02d}" for number in range(10)]


@dataclass(frozen=True, slots=True)
class Order:
    """One command. `probe` None: no read shows it. `calls`: the operations that change something, in order."""

    name: str
    command: str
    data: dict[str, Any]
    calls: tuple[str, ...]
    probe: Probe | None
    output: dict[str, Any]


class Orders:
    """Each is about a subscriber of its own."""

    def __init__(self, world: World) -> None:
        self.world, self.made = world, dict[str, Order]()

    def add(
        self,
        name: str,
        data: dict[str, Any],
        calls: str,
        shows: str | Probe | None = None,
        output: dict[str, Any] | None = None,
        who: dict[str, str] | None = None,
        **fields: Any,
    ) -> None:
        who = who or self.world.user(**fields)
        probe = record(who, shows) if isinstance(shows, str) else shows
        command = f"{name.split()[0]}.v1"
        whole = {"subscriber": who, **data}
        self.made[name] = Order(name, command, whole, tuple(calls.split()), probe, output or {})


def orders(stand: Stand, *, empty: bool = False) -> dict[str, Order]:
    found = Orders(World(stand.sim, empty))
    updates(found)
    calls(found)
    passwords_and_forwarding(found)
    numbers(found)
    return found.made


def updates(add: Orders) -> None:
    def update(label: str, changes: dict[str, Any], operations: str, shows: Any, **fields: Any) -> None:
        add.add(f"subscriber.update {label}", {"changes": changes}, operations, shows, **fields)

    secret = add.world.user()
    read = Probe("SubscriberWS", "retrievePassword", secret, "<return>n-1</return>")
    changed = {"changed": ["password"]}
    add.add(
        "subscriber.update password",
        {"changes": {"password": "n-1"}},
        "changePassword",
        read,
        changed,
        secret,
    )
    secret = add.world.user()
    read = Probe("SubscriberWS", "retrievePasswordWEB", secret, "<return>n-2</return>")
    changes = {"portal_password": "n-2"}
    add.add(
        "subscriber.update portal", {"changes": changes}, "changePasswordWEB", read,
        {"changed": ["portal_password"]}, secret,
    )  # fmt: skip
    update("record", {"rate_plan_id": 8}, "updateSubscriber", "<ratePlanId>8<", rings=25)
    update("person", {"first_name": "Eva"}, "updateSubscriberBillingInfo", "<firstName>Eva<", city="Rio")
    update("rates", {"cps": 3, "keep_alive": 4}, "updateSubscriberServices", None)
    update("profile", {"profile": "business"}, "changeProfile", "<profile>business<")
    update("limit", {"low_credit_limit": "7.50"}, "activateLowCreditNotification", r"<lowCreditLimit>7\.50?<")
    mailbox = {"voicemail": True, "voicemail_password": "4321"}
    update(
        "mailbox", mailbox, "activateVoicemail", "<voiceMailPassword>4321</voiceMailPassword><voicemail>true<"
    )
    many = {"rate_plan_id": 8, "first_name": "Eva", "outgoing_calls": False, "profile": "business"}
    update(
        "many", many, "updateSubscriber updateSubscriberBillingInfo changeProfile blockOutgoingCalls",
        "<activeOutgoingCalls>false<(?s:.*)<firstName>Eva<(?s:.*)<profile>business<(?s:.*)<ratePlanId>8<",
    )  # fmt: skip


KINDS = {
    "outgoing": ("OutgoingCalls", "activeOutgoingCalls", False),
    "incoming": ("IncommingCalls", "activeIncomingCalls", False),
    "collect": ("CollectCalls", "blockCollectCalls", True),
    "anonymous": ("AnonymousCalls", "blockAnonymousCalls", True),
    "private": ("PrivacyCalls", "", None),  # no field of the record shows it
    "call_center": ("Entry0303", "blockEntry0303", True),
}


def calls(add: Orders) -> None:
    for kind, (operation, field, blocked) in KINDS.items():
        for command, verb, value in (("block", "block", blocked), ("unblock", "activate", not blocked)):
            shows = f"<{field}>{str(value).lower()}<" if field else None
            add.add(
                f"calls.{command} {kind}", {"kinds": [kind]}, f"{verb}{operation}", shows, {"kinds": [kind]},
                **({field: not value} if field else {}),
            )  # fmt: skip
    several = ["outgoing", "private", "collect"]
    shows = "<activeOutgoingCalls>false<(?s:.*)<blockCollectCalls>true<"
    operations = "blockOutgoingCalls blockPrivacyCalls blockCollectCalls"
    add.add("calls.block several", {"kinds": several}, operations, shows, {"kinds": several})
    add.add("subscriber.block", {}, "blockSubscriber")
    add.add("subscriber.activate", {}, "activateSubscriber")


def passwords_and_forwarding(add: Orders) -> None:
    for label, more in (("", {}), (" told", {"current_password": "sip-old"})):
        who = add.world.user()
        read = Probe("SubscriberWS", "retrievePassword", who, "<return>n-3</return>")
        add.add(f"password.change{label}", {"new_password": "n-3", **more}, "changePassword", read, who=who)
    who = add.world.user(callFwd="sip:1@x.example", noAnswer="sip:3@x.example")
    shows = "<callFwd>sip:1@x.example</callFwd>(?s:.*)<fwdBusy>sip:2@x.example</fwdBusy>(?!(?s:.*)sip:3@)"
    read = Probe("SubscriberWS", "retrieveSubscriberClassV", who, shows)
    data = {"busy": "sip:2@x.example", "no_answer": ""}
    add.add("forwarding.set", data, "updateSubscriberClassV", read, who=who)


def numbers(add: Orders) -> None:
    who = add.world.user()
    read = Probe(
        "DidWS",
        "listByAcc",
        account_of(who),
        f"<aliasUsername>{NUMBERS[0]}<(?s:.*)<monthlySubscription>9.90?<",
    )
    data = {"number": NUMBERS[0], "monthly_fee": "9.90"}
    add.add("number.assign", data, "insertDid", read, {"number": NUMBERS[0], "adopted": False}, who)
    who = add.world.user()
    row = {"reverseBilling": False, "didToRuri": False, **account_of(who), **who}
    number = add.world.row("dids", aliasUsername=NUMBERS[1], **row)
    read = Probe("DidWS", "listByAcc", account_of(who), "<aliasUsername>", times=0)
    said = {"number": NUMBERS[1], "platform_id": str(number)}
    add.add("number.release", {"number": NUMBERS[1]}, "deleteDid", read, said, who)


def account_of(who: dict[str, str]) -> dict[str, str]:
    return {"accountCode": f"{who['username']}@{DOMAIN}"}


# How they are sent, and how they end ---------------------------------------------------------------


async def begin(stand: Stand, **settings: Any) -> None:
    stand.sim.platform.numbers = list(NUMBERS)
    await stand.start(**{**SETTINGS, **settings})


async def sent(stand: Stand, found: dict[str, Order], mark: str) -> dict[str, dict[str, Any]]:
    """Order them all, through the door; name -> the data of its one final event."""
    arrivals = []
    for each in found.values():
        event = {"specversion": "1.0", "id": f"{mark} {each.name}", "source": "/crm", "type": each.command}
        body = json.dumps({**event, "data": {"platform": PLATFORM, **each.data}}).encode()
        arrival = READER.arrival(Delivery(body, "provisioning.commands", content_type=STRUCTURED))
        assert not isinstance(arrival.item, Refusal), arrival.item
        arrivals.append(arrival)
    await stand.admit(*arrivals)
    await stand.all_ended(within=150)
    ended = {}
    for outgoing in await stand.journal.unpublished(5000):
        if outgoing.table != "outbox":
            continue
        event = json.loads(outgoing.body)
        assert contracts.invalid(event) == [], event
        data = event["data"]
        begun, _, name = data["command"]["id"].partition(" ")
        if begun == mark and data["status"] != "delayed":
            assert name not in ended
            ended[name] = data
    assert ended.keys() == found.keys()
    return ended


def codes(ended: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {
        name: data["error"]["code"] if data["status"] == "rejected" else data["status"]
        for name, data in ended.items()
    }


async def seen(stand: Stand, found: dict[str, Order]) -> dict[str, bool]:
    """Which of them the platform shows as done."""
    return {
        name: await shown(stand.sim, each.probe) == each.probe.times
        for name, each in found.items()
        if each.probe is not None
    }


async def all_done(stand: Stand, found: dict[str, Order], ended: dict[str, dict[str, Any]]) -> None:
    assert codes(ended) == dict.fromkeys(found, "succeeded")
    assert await seen(stand, found) == {name: True for name, each in found.items() if each.probe}
    assert {name for name, each in found.items() if each.probe is None} == UNSEEN
    wrong = {
        name: data["output"]
        for name, data in ended.items()
        if not found[name].output.items() <= data["output"].items()
    }
    assert not wrong


UNSEEN = {
    "subscriber.update rates",
    "calls.block private",
    "calls.unblock private",
    "subscriber.block",
    "subscriber.activate",
}


async def test_every_command_does_what_it_says_and_finds_what_is_there_or_gone(stand: Stand) -> None:
    await begin(stand)
    found = orders(stand)
    ended = await sent(stand, found, "first")
    await all_done(stand, found, ended)
    for name, each in found.items():
        assert [step["name"] for step in ended[name]["steps"] if step["name"] != "listByAcc"] == list(
            each.calls
        )

    # The same once more, as new orders: what was to be is there already, what was to go is gone.
    again = codes(await sent(stand, found, "again"))
    others = {"number.assign": "already_exists", "number.release": "not_found"}
    others["password.change told"] = "platform_refused"  # the password that was right is so no more
    assert again == {name: others.get(name, "succeeded") for name in found}
    assert all((await seen(stand, found)).values())


async def test_what_a_command_is_about_may_be_missing(stand: Stand) -> None:
    await begin(stand)
    found = orders(stand, empty=True)
    ended = await sent(stand, found, "missing")
    assert codes(ended) == dict.fromkeys(found, "not_found")
    assert {data["effect"] for data in ended.values()} == {"none"}


async def test_a_refusal_ends_a_command_and_names_what_was_done_before(stand: Stand) -> None:
    """In words that nobody knows, while the platform is well."""
    await begin(stand)
    found = orders(stand)
    last = Counter(each.calls[-1] for each in found.values())
    for operation, times in last.items():
        stand.sim.fail(operation, "declared", count=times, text="no, not today")
    # What refuses the last step of one command must not be used up by the first of another.
    found = {name: each for name, each in found.items() if len(each.calls) == 1 or each.name.endswith("many")}
    ended = await sent(stand, found, "refused")
    wanted = {
        name: "partly_done" if len(each.calls) > 1 else "platform_refused" for name, each in found.items()
    }
    assert codes(ended) == wanted
    many = ended["subscriber.update many"]
    assert many["effect"] == "applied"
    assert [step["status"] for step in many["steps"]] == ["done", "done", "done", "refused"]
    assert await seen(stand, found) == {name: False for name, each in found.items() if each.probe}


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("drop_before", {"how": "reset"}),
        ("drop_after", {"how": "close"}),
        ("late", {"connection": "drop", "seconds": 0.3}),
    ],
)
async def test_a_lost_answer_is_settled_by_what_the_platform_shows(
    stand: Stand, kind: str, rule: dict[str, Any]
) -> None:
    found = orders(stand)
    for each in found.values():
        for operation in each.calls:
            # Some name no subscriber on the wire, and are met but once.
            about = (
                {}
                if operation in ("insertDid", "deleteDid")
                else {"username": each.data["subscriber"]["username"]}
            )
            stand.sim.fail(operation, kind, count=1, **about, **rule)
    await begin(stand)
    ended = await sent(stand, found, kind)
    await all_done(stand, found, ended)
    released = ended["number.release"]["output"]
    assert released.items() >= found["number.release"].output.items()
    dids = [row["aliasUsername"] for row in stand.sim.platform.objects["dids"]]
    assert dids == [NUMBERS[0]], "given once, and gone once"


async def test_modules_are_reloaded_after_what_the_settings_name(stand: Stand) -> None:
    """A subscriber by its name, a number by the platform's own number of it, also when it is gone."""
    after = sorted({name.split()[0] for name in orders(stand, empty=True)})
    await begin(stand, reload_after=after)
    found = orders(stand)
    stand.sim.fail("deleteDid", "drop_after", count=1)
    stand.sim.fail("insertDid", "drop_after", count=1)
    ended = await sent(stand, found, "first")
    await all_done(stand, found, ended)
    reloads = [each for each in stand.sim.platform.ledger.entries if each.operation.startswith("reload")]
    reloaded = [each.username for each in reloads if each.operation == "reloadSubscriber"]
    about = [
        each.data["subscriber"]["username"] for name, each in found.items() if not name.startswith("number.")
    ]
    assert sorted(reloaded) == sorted(about)
    dids = [int(each.arguments["didId"]) for each in reloads if each.operation == "reloadDid"]
    told = [int(ended[name]["output"]["platform_id"]) for name in ("number.assign", "number.release")]
    assert sorted(dids) == sorted(told)


async def test_a_number_that_is_not_free_is_not_given(stand: Stand) -> None:
    """Whoever has it: a second assignment would lead calls for one customer to another."""
    await begin(stand)
    stand.sim.platform.switches = stand.sim.platform.switches.changed({"duplicates": "double"})
    found = {name: each for name, each in orders(stand).items() if name == "number.assign"}
    other = World(stand.sim)
    other.users = 900
    owner = other.user()
    stand.sim.platform.objects["dids"].add({"aliasUsername": NUMBERS[0], **account_of(owner), **owner})
    ended = await sent(stand, found, "taken")
    assert codes(ended) == {"number.assign": "not_found"}
    assert NUMBERS[0] in ended["number.assign"]["error"]["message"]
    holders = [
        row["username"] for row in stand.sim.platform.objects["dids"] if row["aliasUsername"] == NUMBERS[0]
    ]
    assert holders == [owner["username"]]


async def test_numbers_are_listed(stand: Stand) -> None:
    await begin(stand)
    made = Orders(World(stand.sim))
    numbers(made)
    release = made.made["number.release"]
    listed = Order("number.list", "number.list.v1", {"subscriber": release.data["subscriber"]}, (), None, {})
    ended = await sent(stand, {"number.list": listed}, "list")
    [row] = ended["number.list"]["output"]["numbers"]
    assert row == {"number": NUMBERS[1], "platform_id": "1", "monthly_fee": None, "toll_free": False}
    assert ended["number.list"]["effect"] == "none"
