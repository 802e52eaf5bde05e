"""Every way in which a command may come, and what its sender gets back."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from cloudevents.core.bindings import amqp, rabbitmq
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from tests.support.amqp import Listener, command, eventually, message
from tests.support.stage import MODULE, PLATFORM, Stage, about, staged
from tests.support.storm import create

pytestmark = MODULE
stage = staged()

BULK = "provisioning.commands.bulk"


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def subscribers(stage: Stage) -> None:
    await stage.platform.subscribers(["joao", "maria", "ana", "rui"], balance="20.00")


def read(username: str = "joao", **attributes: Any) -> dict[str, Any]:
    return command("credit.get.v1", about(username), **attributes)


def topup(username: str, amount: str = "1.00", **attributes: Any) -> dict[str, Any]:
    return command("credit.add.v1", about(username, amount=amount), **attributes)


def headers(prefix: str, event: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{name}": value for name, value in event.items() if name != "data"}


@dataclass(frozen=True, slots=True)
class Waited:
    """Commands that came while the platform was paused, and went on afterwards."""

    first: dict[str, Any]  # came twice
    duplicate: dict[str, Any]  # of the first one
    expiring: dict[str, Any]
    cancelled: dict[str, Any]
    cancel: dict[str, Any]
    kept: dict[str, Any]  # that somebody else tried to cancel
    foreign: dict[str, Any]
    asked: dict[str, Any]
    question: dict[str, Any]
    low: list[dict[str, Any]]  # by the bulk queue, high in their own words
    high: list[dict[str, Any]]


def to_wait() -> Waited:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    first, cancelled, kept = (
        topup("joao", idempotencykey="receipt-2"),
        topup("ana", "3.00"),
        topup("ana", "1.25"),
    )
    asked = topup("ana", "1.75", idempotencykey="receipt-9")
    return Waited(
        first,
        duplicate=topup("joao", idempotencykey="receipt-2"),
        expiring=topup("maria", expirytime=soon.isoformat()),
        cancelled=cancelled,
        cancel=command("command.cancel.v1", {"id": cancelled["id"]}),
        kept=kept,
        foreign=command("command.cancel.v1", {"id": kept["id"]}, source="/somebody/else"),
        asked=asked,
        question=command("command.get.v1", {"id": asked["id"]}),
        low=[command("calls.block.v1", about(f"low-{n}"), priority="high") for n in range(40)],
        high=[command("calls.block.v1", about(f"high-{n}"), priority="high") for n in range(5)],
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def waited(stage: Stage) -> Waited:
    sent = to_wait()
    await stage.platform.subscribers(
        [one["data"]["subscriber"]["username"] for one in [*sent.low, *sent.high]]
    )
    await stage.cli("platforms", "pause", PLATFORM, "--reason", "a test")
    await eventually(lambda: _paused(stage), 30, 0.1, "the pause in the metrics")
    await stage.send(*sent.low, queue=BULK)
    last = command("command.get.v1", {"id": sent.low[-1]["id"]})
    await stage.send(last, queue=BULK)
    await stage.send(sent.first, sent.duplicate, sent.first, sent.expiring, sent.cancelled, sent.cancel)
    await stage.send(sent.kept, sent.foreign, sent.asked, sent.question, *sent.high)
    await stage.send(marker := command("command.get.v1", {"id": sent.high[-1]["id"]}))
    for one in (last, marker):  # answered: all before it is in the journal
        assert (await stage.ending(one["id"])).data["output"]["status"] == "waiting"
    await stage.ending(sent.expiring["id"])
    await stage.cli("platforms", "resume", PLATFORM, "--reason", "a test")
    return sent


async def _paused(stage: Stage) -> bool:
    """The engine has seen it: its own gauge says so."""
    figures = await stage.figures()
    return any("worker_platform_stopped" in name and value for name, value in figures.items())


# ---------------------------------------------------------------- modes


@pytest.mark.parametrize("prefix", ["ce-", "ce_", "cloudEvents:", "cloudEvents_", "CE-"])
async def test_binary_mode_is_read_under_every_prefix(stage: Stage, prefix: str) -> None:
    event = read(subject="a customer", time="2026-11-01T12:00:00Z")
    raw = json.dumps(event["data"]).encode()
    await stage.send(message(raw, "application/json", headers=headers(prefix, event)))
    done = await stage.ending(event["id"])
    assert done.data["status"] == "succeeded"
    assert done.data["command"]["subject"] == "a customer"


async def test_both_queues_and_a_parameter_in_the_content_type(stage: Stage) -> None:
    one, two = read(), read()
    await stage.send(message(one, "application/cloudevents+json; charset=UTF-8"))
    await stage.send(two, queue=BULK)
    assert (await stage.ending(one["id"])).data["status"] == "succeeded"
    assert (await stage.ending(two["id"])).data["status"] == "succeeded"


def cloud_event(**attributes: Any) -> CloudEvent:
    given = {
        "id": str(uuid.uuid4()),
        "source": "/sdk",
        "type": "credit.get.v1",
        "specversion": "1.0",
        "time": datetime.now(UTC),
        "datacontenttype": "application/json",
        **attributes,
    }
    return CloudEvent(attributes=given, data=about("joao"))


@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_what_the_sdk_writes_for_rabbitmq_is_read(stage: Stage, mode: str) -> None:
    event = cloud_event(subject="from the SDK")
    write = rabbitmq.to_binary if mode == "binary" else rabbitmq.to_structured
    made = write(event, JSONFormat())
    await stage.send(message(made.body, made.content_type or "", headers=made.headers))
    done = await stage.ending(event.get_id())
    assert (done.data["status"], done.data["command"]["subject"]) == ("succeeded", "from the SDK")


@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_what_the_sdk_writes_for_amqp_is_read(stage: Stage, mode: str) -> None:
    """Its times are whole milliseconds since the epoch."""
    event = cloud_event(expirytime="2999-01-01T00:00:00Z")
    write = amqp.to_binary if mode == "binary" else amqp.to_structured
    made = write(event, JSONFormat())
    kinds = {type(value) for value in made.application_properties.values()}
    assert mode == "structured" or int in kinds or datetime in kinds
    content_type = str(made.properties["content-type"])
    await stage.send(message(made.application_data, content_type, headers=made.application_properties))
    assert (await stage.ending(event.get_id())).data["status"] == "succeeded"


async def test_an_integer_time_in_a_header_is_milliseconds(stage: Stage) -> None:
    early = datetime.now(UTC) - timedelta(days=500)
    event = read() | {"time": int(early.timestamp() * 1000)}
    raw = json.dumps(event["data"]).encode()
    await stage.send(message(raw, "application/json", headers=headers("cloudEvents:", event)))
    refused = await stage.ending(event["id"])
    assert refused.data["error"]["code"] == "too_old"


async def test_the_events_can_be_read_by_the_sdk(stage: Stage) -> None:
    event = read()
    await stage.send(event)
    heard = await stage.ending(event["id"])
    read_back = rabbitmq.from_rabbitmq_event(
        rabbitmq.RabbitMQMessage(headers={}, content_type=heard.message.content_type, body=heard.message.body)
    )
    assert read_back.get_type() == "provisioning.command.succeeded.v1"
    assert read_back.get_source() == "/provisioning-worker"
    assert read_back.get_id() == heard.message.message_id


async def test_what_a_sender_says_of_its_command_is_passed_on(stage: Stage) -> None:
    said = {
        "correlationid": "order 66",
        "causationid": "cause-1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "a=b",
        "batchid": "batch-7",
        "subject": "5511",
    }
    event = read(**said)
    await stage.send(event)
    heard = await stage.ending(event["id"])
    assert {name: heard.event.get(name) for name in said} == said
    assert heard.message.correlation_id == "order 66"
    assert heard.routing_key == f"{PLATFORM}.credit.get.succeeded"
    assert heard.message.delivery_mode == 2
    assert heard.data["command"]["partitionkey"] == f"{PLATFORM}:subscriber:joao@sip.example"


# ---------------------------------------------------------------- answers


async def test_the_final_result_also_goes_to_reply_to(stage: Stage) -> None:
    event = read()
    async with Listener(stage.broker, exchange=None) as answers:
        await stage.send(event, reply_to=answers.queue)
        [answer] = await answers.until(lambda heard: len(heard) == 1)
    same = await stage.ending(event["id"])
    assert (answer.event["id"], answer.data) == (same.event["id"], same.data)


async def test_a_reply_queue_that_is_gone_stops_nothing(stage: Stage) -> None:
    event, next_one = read(), read()
    await stage.send(event, reply_to="nobody-has-this-queue")
    await stage.send(next_one)
    assert (await stage.ending(event["id"])).data["status"] == "succeeded"
    assert (await stage.ending(next_one["id"])).data["status"] == "succeeded"
    assert (await stage.worker.get("/readyz"))[0] == 200


async def test_the_same_message_again_repeats_its_result_under_the_same_event_id(stage: Stage) -> None:
    event = topup("joao")
    await stage.send(event)
    first = await stage.ending(event["id"])
    async with Listener(stage.broker, exchange=None) as answers:
        await stage.send(event, reply_to=answers.queue)
        [again] = await answers.until(lambda heard: len(heard) == 1)
    assert again.event == first.event
    credits_ = await stage.platform.ask("credits")
    assert credits_["by_obs"][event["id"]]["times"] == 1


async def test_the_same_key_under_a_new_id_is_answered_and_not_applied_again(stage: Stage) -> None:
    event, later = topup("joao", idempotencykey="receipt-1"), topup("joao", idempotencykey="receipt-1")
    await stage.send(event)
    await stage.ending(event["id"])
    await stage.send(later)
    answer = await stage.ending(later["id"])
    assert (answer.data["status"], answer.data["duplicate_of"]) == ("succeeded", event["id"])
    assert later["id"] not in (await stage.platform.ask("credits"))["by_obs"]


async def test_a_duplicate_of_one_that_still_waits_is_answered_when_that_one_ends(
    stage: Stage, waited: Waited
) -> None:
    answer = await stage.ending(waited.duplicate["id"])
    assert (answer.data["status"], answer.data["duplicate_of"]) == ("succeeded", waited.first["id"])
    by_obs = (await stage.platform.ask("credits"))["by_obs"]
    assert by_obs[waited.first["id"]]["times"] == 1
    assert waited.duplicate["id"] not in by_obs


async def test_a_key_whose_order_had_no_effect_may_be_used_again(stage: Stage) -> None:
    """A corrected order must be able to run."""
    wrong = topup("nobody of this name", "2.00", idempotencykey="receipt-3")
    right = topup("maria", "2.00", idempotencykey="receipt-3")
    wrong["data"]["subscriber"]["username"] = "missing"
    await stage.send(wrong)
    assert (await stage.ending(wrong["id"])).data["effect"] == "none"
    await stage.send(right)
    assert (await stage.ending(right["id"])).data["status"] == "succeeded"
    assert (await stage.platform.ask("credits"))["by_obs"][right["id"]]["times"] == 1


async def test_every_command_of_the_catalogue_goes_through(stage: Stage) -> None:
    """One subscriber's life, in the order in which it was sent."""
    who = "551140009999"
    kinds = ["outgoing", "incoming", "collect", "anonymous", "private", "call_center"]
    life = [
        create(who),
        command("subscriber.get.v1", about(who)),
        command("credit.add.v1", about(who, amount="12.50", note="a gift")),
        command("credit.get.v1", about(who)),
        command("calls.block.v1", about(who, kinds=kinds)),
        command("calls.unblock.v1", about(who, kinds=kinds)),
        command("subscriber.block.v1", about(who)),
        command("subscriber.activate.v1", about(who)),
        command("subscriber.remove.v1", about(who)),
        command("subscriber.get.v1", about(who)),
    ]
    await stage.send(*life)
    endings = [(await stage.ending(one["id"])).data for one in life]
    assert [one["status"] for one in endings] == ["succeeded"] * 9 + ["rejected"]
    assert endings[9]["error"]["code"] == "not_found"
    assert [float(endings[2]["output"][name]) for name in ("balance_before", "amount")] == [0, 12.5]
    assert float(endings[3]["output"]["balance"]) == 12.5
    assert endings[4]["output"]["kinds"] == kinds
    assert endings[8]["output"]["removed"]["username"] == who


# ---------------------------------------------------------------- time and order


async def test_notbefore_holds_a_command_and_nobody_behind_it(stage: Stage) -> None:
    when = datetime.now(UTC) + timedelta(seconds=6)
    later = command("subscriber.block.v1", about("ana"), notbefore=when.isoformat())
    sooner = command("subscriber.activate.v1", about("ana"))
    await stage.send(later, sooner)
    first = await stage.ending(sooner["id"])
    second = await stage.ending(later["id"])
    assert datetime.fromisoformat(first.data["started_at"]) < datetime.fromisoformat(
        second.data["started_at"]
    )
    assert datetime.fromisoformat(second.data["started_at"]) >= when


async def test_dependson_runs_after_success_only(stage: Stage) -> None:
    parent = topup("rui")
    child = command("calls.block.v1", about("maria"), dependson=parent["id"])
    missing = command("subscriber.block.v1", about("nobody"))
    orphan = command("calls.block.v1", about("maria"), dependson=missing["id"])
    await stage.send(parent, child, missing, orphan)
    assert (await stage.ending(child["id"])).data["status"] == "succeeded"
    ended = await stage.ending(orphan["id"])
    assert (ended.data["status"], ended.data["error"]["code"]) == ("cancelled", "dependency_failed")


async def test_a_higher_priority_starts_first_among_those_that_are_due(stage: Stage, waited: Waited) -> None:
    """Bulk commands are low, whatever they say of themselves."""
    sent = [*waited.low, *waited.high]
    begun = {one["id"]: (await stage.ending(one["id"])).data["started_at"] for one in sent}
    order = sorted(begun, key=lambda name: datetime.fromisoformat(begun[name]))
    places = [order.index(one["id"]) for one in waited.high]
    # The platform's places are taken in one go: the first claim takes all that are high.
    assert max(places) < 16, places


async def test_commands_about_one_subscriber_take_effect_in_the_order_sent(stage: Stage) -> None:
    words = ["calls.block.v1", "calls.unblock.v1"] * 8
    sent = [command(word, about("rui")) for word in words]
    before = len((await stage.platform.log())["rui"])
    await stage.send(*sent)
    await stage.ending(sent[-1]["id"])
    seen = [operation for operation, _ in (await stage.platform.log())["rui"]][before:]
    assert seen == ["blockOutgoingCalls", "activateOutgoingCalls"] * 8


async def test_a_command_past_its_expirytime_ends_expired_and_does_nothing(
    stage: Stage, waited: Waited
) -> None:
    ended = await stage.ending(waited.expiring["id"])
    assert (ended.data["status"], ended.data["effect"]) == ("expired", "none")
    assert waited.expiring["id"] not in (await stage.platform.ask("credits"))["by_obs"]


# ---------------------------------------------------------------- command.get, command.cancel


async def test_cancel_ends_a_waiting_command_and_says_so(stage: Stage, waited: Waited) -> None:
    told = await stage.ending(waited.cancel["id"])
    ended = await stage.ending(waited.cancelled["id"])
    assert (told.data["status"], told.data["output"]["status"]) == ("succeeded", "cancelled")
    assert told.routing_key == f"{PLATFORM}.command.cancel.succeeded"
    assert (ended.data["status"], ended.data["error"]["code"]) == ("cancelled", "cancelled_by_sender")
    assert waited.cancelled["id"] not in (await stage.platform.ask("credits"))["by_obs"]


async def test_cancel_of_an_ended_command_says_how_it_ended(stage: Stage) -> None:
    event = topup("ana", "3.00")
    await stage.send(event)
    await stage.ending(event["id"])
    cancel = command("command.cancel.v1", {"id": event["id"]})
    await stage.send(cancel)
    told = await stage.ending(cancel["id"])
    assert told.data["output"]["status"] == "succeeded"
    assert told.data["output"]["effect"] == "applied"


async def test_a_cancel_that_comes_first_cancels_nothing_later(stage: Stage) -> None:
    event = topup("ana", "1.50")
    cancel = command("command.cancel.v1", {"id": event["id"]})
    await stage.send(cancel, event)
    told = await stage.ending(cancel["id"])
    assert (told.data["status"], told.data["error"]["code"]) == ("rejected", "not_found")
    assert told.routing_key == "unknown.command.cancel.rejected"
    assert (await stage.ending(event["id"])).data["status"] == "succeeded"


async def test_another_source_cannot_cancel_by_id(stage: Stage, waited: Waited) -> None:
    told = await stage.ending(waited.foreign["id"])
    assert told.data["error"]["code"] == "not_found"
    assert (await stage.ending(waited.kept["id"])).data["status"] == "succeeded"


async def test_get_tells_the_state_by_id_and_by_key(stage: Stage, waited: Waited) -> None:
    event = waited.asked
    before = await stage.ending(waited.question["id"])
    await stage.ending(event["id"])
    by_key = command("command.get.v1", {"source": "/tests", "idempotencykey": "receipt-9"}, source="/other")
    await stage.send(by_key)
    after = await stage.ending(by_key["id"])
    assert before.data["output"] == {"id": event["id"], "status": "waiting", "effect": "none"}
    assert after.data["output"] == {"id": event["id"], "status": "succeeded", "effect": "applied"}


async def test_good_ones_from_both_queues_at_once_all_get_one_answer(stage: Stage) -> None:
    """The same burst on both queues at once; half of it comes twice."""
    first = [read("joao") for _ in range(100)]
    second = [read("maria") for _ in range(100)]
    await asyncio.gather(stage.send(*first, *first[::2]), stage.send(*second, *second[::2], queue=BULK))
    for one in [*first, *second]:
        await stage.ending(one["id"])
    for one in [*first, *second]:
        assert len({heard.event["id"] for heard in stage.results.of(one["id"])}) == 1
