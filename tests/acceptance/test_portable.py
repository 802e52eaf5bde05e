"""Changes of a subscriber from queue to answer, each losing its answer in another way; and no password anywhere."""

from __future__ import annotations

import secrets as random
from typing import Any

import pytest_asyncio

from tests.support.amqp import Listener, command, eventually
from tests.support.leaks import leaks
from tests.support.stage import DOMAIN, MODULE, Stage, about, staged

pytestmark = MODULE
stage = staged(
    {"logs": {"level": "debug"}},
    journals=("sqlite",),
    reload_after=["number.assign", "number.release", "password.change"],
)

SECRETS = {
    "the old password": f"old-ç&<{random.token_hex(6)}>",
    "the old portal password": f"old-portal-{random.token_hex(8)}",
    "the new password": f"new;ü={random.token_hex(8)}",
    "the new portal password": f"new-portal-\"'{random.token_hex(6)}",
    "the new mailbox password": str(10**17 + int.from_bytes(random.token_bytes(6))),
}
OLD, OLD_PORTAL, NEW, NEW_PORTAL, MAILBOX = SECRETS.values()
LOST = {
    "before": {"kind": "drop_before"},
    "after": {"kind": "drop_after"},
    "late": {"kind": "late", "connection": "drop", "seconds": 0.4},
    "words": {"kind": "undeclared", "applied": True, "text": "{password} {secret}"},
}
OPERATIONS = (
    "changePasswordWEB",
    "activateVoicemail",
    "updateSubscriberBillingInfo",
    "changePassword",
    "updateSubscriberClassV",
    "insertDid",
    "reloadSubscriber",
)
NUMBERS = dict(zip(LOST, ("551130001000", "551130001001", "551130001002"), strict=False))  # all there are


def orders(username: str) -> dict[str, dict[str, Any]]:
    changes = {
        "portal_password": NEW_PORTAL,
        "voicemail": True,
        "voicemail_password": MAILBOX,
        "address": {"city": "Santos"},
    }
    changed = {
        "update": command("subscriber.update.v1", about(username, changes=changes)),
        "password": command("password.change.v1", about(username, new_password=NEW)),
        "forwarding": command("forwarding.set.v1", about(username, busy="sip:9@sip.example", always="")),
    }
    if username not in NUMBERS:
        return changed
    number = {"number": NUMBERS[username]}
    return changed | {
        "assign": command("number.assign.v1", about(username, **number, monthly_fee="9.90")),
        "list": command("number.list.v1", about(username)),
        "release": command("number.release.v1", about(username, **number)),
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def results(stage: Stage) -> dict[str, dict[str, dict[str, Any]]]:
    """Subscriber -> order -> the data of its final result."""
    dto = {"password": OLD, "passwordPortal": OLD_PORTAL, "callFwd": "sip:1@sip.example", "firstName": "Ana"}
    await stage.platform.subscribers(list(LOST), **dto)
    await stage.platform.tell("switches", duplicates="double")  # nobody knows that a second one is refused
    for username, rule in LOST.items():
        for operation in OPERATIONS:
            # What the worker has read just before, the platform may say in its own words.
            told = (
                {"text": f"{rule['text']} {OLD}"} if operation == "changePassword" and "text" in rule else {}
            )
            await stage.platform.tell(
                "faults", operation=operation, username=username, count=1, **rule | told
            )
    for rule in LOST.values():  # these name nobody on the wire
        await stage.platform.tell("faults", operation=["deleteDid", "reloadDid"], count=1, **rule)
    sent = {username: orders(username) for username in LOST}
    async with Listener(stage.broker, exchange=None) as answers:
        for each in sent.values():
            await stage.send(*each.values(), reply_to=answers.queue)
        found = {
            username: {name: (await stage.ending(one["id"], within=120)).data for name, one in each.items()}
            for username, each in sent.items()
        }
        await eventually(
            lambda: len(answers.heard) >= sum(map(len, sent.values())), 30, what="the answers to reply_to"
        )
        found["answers"] = {"bodies": {"all": b"\n".join(each.body for each in answers.heard)}}
    return found


async def test_every_change_ends_as_if_no_answer_had_been_lost(
    stage: Stage, results: dict[str, dict[str, dict[str, Any]]]
) -> None:
    for username in LOST:
        ended = {name: data["status"] for name, data in results[username].items()}
        assert ended == dict.fromkeys(orders(username), "succeeded"), username
        state = await stage.platform.ask("state", username=username, domain=DOMAIN, secrets="1")
        [now] = state["subscribers"]
        assert (now["password"], now["passwordPortal"]) == (NEW, NEW_PORTAL)
        assert (now["callFwd"] or "", now["fwdBusy"], now["city"]) == ("", "sip:9@sip.example", "Santos")
        assert (now["firstName"], now["voicemail"], str(now["voiceMailPassword"])) == ("Ana", True, MAILBOX)


async def test_a_number_is_given_once_and_gone_once_whatever_got_lost(
    stage: Stage, results: dict[str, dict[str, dict[str, Any]]]
) -> None:
    counts = (await stage.platform.ask("log"))["log"]
    reloaded = [str(each["arguments"]["didId"]) for each in counts if each["operation"] == "reloadDid"]
    for username in NUMBERS:
        assign, listed, release = (
            results[username][name]["output"] for name in ("assign", "list", "release")
        )
        assert assign["number"] == release["number"] == NUMBERS[username]
        assert assign["platform_id"] == release["platform_id"]
        assert [row["number"] for row in listed["numbers"]] == [NUMBERS[username]]
        assert [row["monthly_fee"] for row in listed["numbers"]] == ["9.90"]
        assert reloaded.count(assign["platform_id"]) >= 2, "after it was given, and after it was gone"
    assert len({results[username]["assign"]["output"]["platform_id"] for username in NUMBERS}) == len(NUMBERS)
    inserted = [each for each in counts if each["operation"] == "insertDid"]
    removed = [each for each in counts if each["operation"] == "deleteDid"]
    assert (len(inserted), len(removed)) == (len(NUMBERS), len(NUMBERS))


async def test_what_was_changed_is_told_by_name_alone(results: dict[str, dict[str, dict[str, Any]]]) -> None:
    for username in LOST:
        changed = ["portal_password", "address.city", "voicemail", "voicemail_password"]
        assert sorted(results[username]["update"]["output"]["changed"]) == sorted(changed)
        assert results[username]["password"]["output"] == {}


async def test_no_password_old_or_new_is_in_any_event_log_or_journal(
    stage: Stage, results: dict[str, dict[str, dict[str, Any]]]
) -> None:
    await stage.settled()
    listed = await stage.here("commands", "list", "--json")
    places: dict[str, bytes] = {"the list": (listed.out + listed.err).encode()}
    for one in results["before"].values():
        shown = await stage.here("commands", "show", one["command"]["id"], "--json")
        places[f"show {one['command']['type']}"] = (shown.out + shown.err).encode()
    places |= results["answers"]["bodies"]
    for name, listener in (("results", stage.results), ("audit", stage.audit)):
        places[name] = b"\n".join(
            heard.body + repr(heard.message.info()).encode() for heard in listener.heard
        )
    for file in sorted(stage.workers.folder.iterdir()):
        if file.name not in ("worker.toml", "worker.key"):
            places[file.name] = file.read_bytes()
    assert {"worker-1.log", "worker.db"} <= places.keys()
    assert leaks(SECRETS, places) == []
