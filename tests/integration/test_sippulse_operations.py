"""Every operation of SIPPulse that is not a read, taken through what can happen to it.

What became of it is asked of the platform by a read of the test's own, the one by which a person would look. Where
no read shows an operation's effect, its scene says so, and the catalogue does as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.engine import PLATFORM, Stand, any_journal, stand, templates
from tests.support.operations import UNSEEN, Scene, scenes, shown
from worker.broker.arrivals import Reader
from worker.journal.port import Refusal
from worker.messages import contracts
from worker.messages.envelope import STRUCTURED, Delivery
from worker.messages.sippulse import examples
from worker.messages.sippulse.checks import Nothing
from worker.messages.sippulse.examples import DOMAIN, USERNAME
from worker.messages.sippulse.operations import OPERATIONS

__all__ = ["stand", "templates"]

pytestmark = any_journal

SETTINGS: dict[str, Any] = {
    "allow": ["sippulse.*"],
    "assume": {"all_documented_operations": True},
    "timeout": 5.0,
    "lease_margin": 10.0,
    # 72 commands are read again and again meanwhile: not so often that a busy machine reads nothing else.
    "settle": 5.0,
    "retry_first": 0.5,
    "retry_most": 1.5,
    "concurrency": 40,
}
CHANGES = [each for each in OPERATIONS.values() if each.effect != "read"]
ALIASES = {"SubscriberWS.insertDBAliases", "SubscriberWS.deleteDBAliases"}
# They are about no object that could be missing.
ABOUT_NOTHING = {name for name in UNSEEN if name.startswith("ReloadModulesWS.")} - {
    "ReloadModulesWS.reloadSubscriber"
}
READER = Reader({PLATFORM: "sippulse"}, 262144)

Expected = Callable[[str], str]


async def send(stand: Stand, played: list[Scene], mark: str) -> dict[str, str]:
    """Order them all, through the door; operation -> id."""
    arrivals, ids = [], {}
    for scene in played:
        ids[scene.operation] = f"{mark}-{scene.operation}"
        event = {
            "specversion": "1.0",
            "id": ids[scene.operation],
            "source": "/crm",
            "type": f"sippulse.{scene.operation}.v1",
            "data": {"platform": PLATFORM, **scene.data},
        }
        body = json.dumps(event).encode()
        arrival = READER.arrival(
            Delivery(body, "provisioning.commands", content_type=STRUCTURED, reply_to="answers")
        )
        assert not isinstance(arrival.item, Refusal), arrival.item
        arrivals.append(arrival)
    await stand.admit(*arrivals)
    return ids


async def endings(stand: Stand, ids: dict[str, str]) -> dict[str, str]:
    """Operation -> `succeeded`, `parked`, or the code of a rejection."""
    await stand.all_ended(within=150)
    ended: dict[str, str] = {}
    names = {name: operation for operation, name in ids.items()}
    for outgoing in await stand.journal.unpublished(5000):
        if outgoing.table == "outbox":
            event = json.loads(outgoing.body)
            assert contracts.invalid(event) == [], event
            name, what = event["data"]["command"]["id"], event["type"].split(".")[2]
            if name in names and what != "delayed":
                ended[names[name]] = event["data"]["error"]["code"] if what == "rejected" else what
    return ended


async def play(stand: Stand, expected: Expected, mark: str, played: list[Scene]) -> None:
    """Order all scenes at once; each has to end as expected, and to show what that means."""
    ended = await endings(stand, await send(stand, played, mark))
    wrong = {name: (expected(name), was) for name, was in ended.items() if was != expected(name)}
    assert not wrong, f"operation: (expected, was) {wrong}"
    assert set(ended) == {each.endpoint for each in CHANGES}
    await look(stand, [scene for scene in played if expected(scene.operation) == "succeeded"])


async def look(stand: Stand, played: list[Scene]) -> None:
    """The platform shows that each was done, once."""
    wrong = {}
    for scene in played:
        if scene.probe is None:
            assert isinstance(OPERATIONS[scene.operation].check, Nothing), "it has a check, so look"
            continue
        times = await shown(stand.sim, scene.probe)
        if times != scene.probe.times:
            wrong[scene.operation] = (scene.probe.times, times)
    assert not wrong, f"operation: (times expected, times shown) {wrong}"


def succeeds(_: str) -> str:
    return "succeeded"


async def test_every_operation_does_what_it_says_and_finds_what_is_there_or_gone(stand: Stand) -> None:
    await stand.start(**SETTINGS)
    played = scenes(stand.sim)
    await play(stand, succeeds, "first", played)

    # The same once more, as new orders: what was to be is there already, what was to go is gone.
    def again(operation: str) -> str:
        match OPERATIONS[operation].effect:
            case "create":
                # No read lists aliases: the platform itself says that there is one.
                return "platform_refused" if operation in ALIASES else "already_exists"
            case "delete":
                return "platform_refused" if operation in ALIASES else "not_found"
            case "change_secret":
                return "platform_refused"  # the password that was right is so no more
            case _:
                return "succeeded"

    ended = await endings(stand, await send(stand, played, "again"))
    assert ended == {each.endpoint: again(each.endpoint) for each in CHANGES}
    await look(stand, [scene for scene in played if OPERATIONS[scene.operation].effect != "increment"])


async def test_every_read_answers_and_a_secret_goes_only_to_whom_it_was_asked_for(stand: Stand) -> None:
    who = {"username": USERNAME, "domain": DOMAIN}
    passwords = {"password": "sip-secret-1", "passwordPortal": "portal-password-of-ana"}
    stand.sim.platform.seed({**who, **passwords, "balance": "5"})
    stand.sim.platform.objects["resellers"].add({"domain": DOMAIN, "name": "north", "credit": 7})
    manager = f"551140020000@{DOMAIN}"
    group = {"accountManager": manager, "managerProfile": "default", "account": f"{USERNAME}@{DOMAIN}"}
    stand.sim.platform.objects["groups"].add(group)
    await stand.start(**SETTINGS)
    data = examples.data()
    reads = [
        Scene(
            each.endpoint,
            {**data[each.type], **({"resellerId": 1} if "resellerId" in data[each.type] else {})},
            None,
        )
        for each in OPERATIONS.values()
        if each.effect == "read"
    ]
    ended = await endings(stand, await send(stand, reads, "read"))
    assert len(ended) == len(reads) == 23
    assert set(ended.values()) == {"succeeded"}, ended
    rows = [each for each in await stand.journal.unpublished(5000) if each.table == "outbox"]
    told = {
        event["command"]["type"]: event["output"]
        for row in rows
        if row.exchange and (event := json.loads(row.body)["data"])["status"] == "succeeded"
    }
    assert told["sippulse.SubscriberWS.retrievePassword.v1"] == {"return": "***"}
    assert told["sippulse.SubscriberWS.retrieveCredit.v1"] == {"return": "5.00"}
    assert told["sippulse.ResellerWS.retrieveResellerCredit.v1"] == {"return": "7.00"}
    assert "sip-secret-1" not in json.dumps(told)
    assert [row.exchange for row in rows if b"sip-secret-1" in row.body] == [""], "once, to reply_to"


async def test_what_an_operation_is_about_may_be_missing(stand: Stand) -> None:
    await stand.start(**SETTINGS)

    def missing(operation: str) -> str:
        if OPERATIONS[operation].effect == "create" or operation in ABOUT_NOTHING:
            return "succeeded"
        if operation in ALIASES or operation.startswith(("CustomerWS.", "ReloadModulesWS.")):
            return "platform_refused"  # in words that nobody knows, while the platform is well
        return "not_found"

    await play(stand, missing, "missing", scenes(stand.sim, empty=True))


def lost(operation: str) -> str:
    """No read shows what became of an alias, and a second call could do it twice: a person decides."""
    return "parked" if operation in ALIASES else "succeeded"


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("drop_before", {"how": "reset"}),
        ("drop_after", {"how": "close"}),
        ("late", {"connection": "drop", "seconds": 0.3}),
    ],
)
async def test_a_lost_answer_is_settled_by_the_operations_own_check(
    stand: Stand, kind: str, rule: dict[str, Any]
) -> None:
    for each in CHANGES:
        stand.sim.fail(each.spelled[0], kind, count=1, **rule)
    await stand.start(**SETTINGS)
    await play(stand, lost, kind, scenes(stand.sim))
