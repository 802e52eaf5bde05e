"""The RingMe adapter against the simulator: what each command does, what refuses it, what is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.support.amqp import eventually
from tests.support.ringme import CLIENT, EXTENSION, OF_345, SECRET, Begin, Bench, benches
from worker.domain.outcome import Busy, Done, Ill, NotSent, Refused, Unclear
from worker.journal.port import JournalDown
from worker.messages.errors import Code, Problem
from worker.platforms.port import Order, Passing
from worker.platforms.rest import RestStep
from worker.platforms.transport import NO_GUARD


@pytest.fixture
async def begin() -> AsyncIterator[Begin]:
    async with benches() as start:
        yield start


# The plain path ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["client", "client_info"])
async def test_a_client_is_read_and_changed_by_either_address(begin: Begin, path: str) -> None:
    bench = await begin(record_path=path)
    got = await bench.outcome("subscriber.get", subscriber=CLIENT)
    assert got.output["subscriber"] == bench.record()
    done = await bench.outcome("subscriber.update", subscriber=CLIENT, changes={"timezone": "UTC"})
    assert done == Done({"changed": ["timezone"]})
    assert bench.record()["timezone"] == "UTC"
    assert (bench.received(f"{path}.get"), bench.received(f"{path}.update")) == (2, 1)


async def test_what_an_update_does_not_name_stays_though_a_put_replaces(begin: Begin) -> None:
    bench = await begin({"switches": {"put": "replace"}})
    await bench.outcome("subscriber.update", subscriber=CLIENT, changes={"geo_list": "RU BY"})
    assert (bench.record()["dial_rule_id"], bench.record()["geo_list"]) == (19, "RU BY")


async def test_with_puts_that_change_only_what_was_ordered_is_sent(begin: Begin) -> None:
    bench = await begin(assume={"put": "changes"})
    await bench.outcome("ringme.client.update", client_id=12, geo_list="RU")
    assert bench.received("client.get") == 0
    [entry] = [each for each in bench.sim.platform.ledger.entries if each["operation"] == "client.update"]
    assert entry["body"] == {"geo_list": "RU"}


@pytest.mark.parametrize(("shown", "done"), [("hidden", False), ("masked", False), ("returned", True)])
async def test_a_password_that_is_not_shown_is_not_lost_by_a_change_beside_it(
    begin: Begin, shown: str, done: bool
) -> None:
    bench = await begin({"switches": {"phone_password": shown}})
    outcome = await bench.outcome("ringme.phone.update", extension_id=345, allow_webrtc=True)
    phone = bench.sim.platform.extensions[345].phone
    assert phone["password"] == "pw-of-101"
    if done:
        assert isinstance(outcome, Done)
        [entry] = [e for e in bench.sim.platform.ledger.entries if e["operation"] == "phone.update"]
        assert entry["body"] == {"password": "***", "allow_webrtc": True}
    else:
        assert (outcome.code, outcome.certain) == (Code.CANNOT_UPDATE_SAFELY, True)
        assert bench.received("phone.update") == 0
    other = await begin({"switches": {"phone_password": shown}}, assume={"put": "changes"})
    assert isinstance(await other.outcome("ringme.phone.update", extension_id=345, allow_webrtc=True), Done)


async def test_an_internal_number_is_made_active_with_its_password(begin: Begin) -> None:
    bench = await begin()
    made, phone = await bench.run(
        "subscriber.create", subscriber=CLIENT, number="102", label="Sales", password="pw-of-102"
    )
    assert isinstance(made.outcome, Done)
    assert isinstance(phone.outcome, Done)
    id_ = int(made.outcome.output["platform_id"])
    assert bench.extension(id_) | {
        "name": "0001*102",
        "status": "active",
        "label": "Sales",
    } == bench.extension(id_)
    assert bench.sim.platform.extensions[id_].phone["password"] == "pw-of-102"


async def test_an_internal_number_is_changed_blocked_freed_and_removed(begin: Begin) -> None:
    bench = await begin()
    changes = {"label": "Front desk", "password": "new-pw", "platform_fields": {"caller_id_name": "Desk"}}
    await bench.outcome("subscriber.update", subscriber=EXTENSION, changes=changes)
    assert (bench.extension()["label"], bench.extension()["caller_id_name"]) == ("Front desk", "Desk")
    for command, status in (("subscriber.block", "blocked"), ("subscriber.activate", "active")):
        assert isinstance(await bench.outcome(command, subscriber=EXTENSION), Done)
        assert bench.extension()["status"] == status
    await bench.outcome("password.change", subscriber=EXTENSION, new_password="another-pw")
    assert bench.sim.platform.extensions[345].phone["password"] == "another-pw"
    gone = await bench.outcome("subscriber.remove", subscriber=EXTENSION)
    assert gone.output["removed"]["name"] == "0001*101"
    assert 345 not in bench.sim.platform.extensions


async def test_numbers_are_those_of_the_client_or_of_one_internal_number(begin: Begin) -> None:
    bench = await begin()
    for id_, owner in ((1, 345), (2, None)):
        row = {"id": id_, "name": f"7495000000{id_}", "client_id": 12, "domain": "x", "extension_id": owner}
        bench.sim.platform.tables["dids"][id_] = row
    everything = await bench.outcome("number.list", subscriber=CLIENT)
    ours = await bench.outcome("number.list", subscriber=EXTENSION)
    assert [len(each.output["numbers"]) for each in (everything, ours)] == [2, 1]


class Collected:
    def __init__(self) -> None:
        self.pages: list[list[dict[str, Any]]] = []

    async def add(self, rows: Any) -> None:
        self.pages.append(list(rows))


@pytest.mark.parametrize(("limit", "rows", "truncated"), [(None, 45, False), (10, 10, True)])
async def test_call_records_come_page_by_page(
    begin: Begin, limit: int | None, rows: int, truncated: bool
) -> None:
    from worker.simulators.ringme.operations.calls import new_call

    bench = await begin(history_page=20)
    bench.sim.platform.calls += [new_call(12, 345, n) for n in range(45)]
    bench.sim.platform.calls += [new_call(12, 345, 100, bridged_time_gmt=None, bridged_duration=0)]
    data = {
        "since": "2026-05-01T00:00:00Z",
        "until": "2026-05-02T00:00:00Z",
        "kind": "completed",
        "limit": limit,
    }
    [step] = bench.steps("call_records.list", subscriber=CLIENT, **data)
    assert step.paged
    collected = Collected()
    reply = await bench.platform.read_rows(step, collected)
    assert reply.outcome == Done({"seconds": rows * 30, "truncated": truncated})
    assert sum(map(len, collected.pages)) == rows
    assert len({row["call_uuid"] for page in collected.pages for row in page}) == rows


# Blocking calls ------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [CLIENT, EXTENSION])
async def test_a_block_puts_a_list_of_rules_in_place_and_its_end_the_one_before(
    begin: Begin, who: Any
) -> None:
    bench = await begin({"extensions": [OF_345 | {"dial_rule_id": 21}]}, block_rule_id=7)
    record, before = (bench.record(), 19) if who is CLIENT else (bench.extension(), 21)
    assert await bench.outcome("calls.block", subscriber=who) == Done()
    assert record["dial_rule_id"] == 7
    assert (await bench.reading("calls.block", subscriber=who)).matches
    assert await bench.outcome("calls.unblock", subscriber=who) == Done()
    assert record["dial_rule_id"] == before
    assert (await bench.reading("calls.unblock", subscriber=who)).matches


async def test_blocking_what_is_blocked_changes_nothing(begin: Begin) -> None:
    bench = await begin(block_rule_id=7)
    for _ in range(3):
        assert await bench.outcome("calls.block", subscriber=CLIENT) == Done()
    assert bench.received("client.update") == 1
    await bench.outcome("calls.unblock", subscriber=CLIENT)
    assert bench.record()["dial_rule_id"] == 19


async def test_a_block_whose_answer_was_lost_is_undone_all_the_same(begin: Begin) -> None:
    bench = await begin(block_rule_id=7)
    bench.sim.fail("client.update", "drop_after", count=1)
    assert isinstance(await bench.outcome("calls.block", subscriber=CLIENT), Unclear)
    assert (await bench.reading("calls.block", subscriber=CLIENT)).matches
    await bench.outcome("calls.unblock", subscriber=CLIENT)
    assert bench.record()["dial_rule_id"] == 19


async def test_an_unblock_whose_answer_was_lost_forgets_only_what_is_restored(begin: Begin) -> None:
    bench = await begin(block_rule_id=7)
    await bench.outcome("calls.block", subscriber=CLIENT)
    bench.sim.fail("client.update", "drop_before", count=1)
    assert isinstance(await bench.outcome("calls.unblock", subscriber=CLIENT), Unclear)
    assert (await bench.reading("calls.unblock", subscriber=CLIENT)).matches is False
    bench.sim.fail("client.update", "drop_after", count=1)
    assert isinstance(await bench.outcome("calls.unblock", subscriber=CLIENT), Unclear)
    assert (await bench.reading("calls.unblock", subscriber=CLIENT)).matches
    assert bench.record()["dial_rule_id"] == 19
    assert await bench.memory.recall("client:12", "dial_rule") is None


async def test_without_its_memory_nothing_is_blocked(begin: Begin) -> None:
    class Away(Passing):
        async def remember(self, of: str, name: str, value: str) -> None:
            raise JournalDown("away")

    bench = await begin(block_rule_id=7, memory=Away())
    with pytest.raises(JournalDown):
        await bench.outcome("calls.block", subscriber=CLIENT)
    assert bench.received("client.update") == 0


async def test_another_list_that_blocks_keeps_the_way_back(begin: Begin) -> None:
    bench = await begin(block_rule_id=7)
    await bench.outcome("calls.block", subscriber=CLIENT)
    later = await begin({"clients": [bench.record()]}, block_rule_id=8, memory=bench.memory)
    await later.outcome("calls.block", subscriber=CLIENT)
    assert later.record()["dial_rule_id"] == 8
    await later.outcome("calls.unblock", subscriber=CLIENT)
    assert later.record()["dial_rule_id"] == 19


async def test_nothing_is_blocked_that_could_not_be_freed_again(begin: Begin) -> None:
    bench = await begin({"clients": [{"id": 12, "dial_rule_id": None}]}, block_rule_id=7)
    refused = await bench.outcome("calls.block", subscriber=CLIENT)
    assert (refused.code, refused.certain) == (Code.CANNOT_UPDATE_SAFELY, True)
    assert bench.received("client.update") == 0
    other = await begin({"clients": [{"id": 12, "dial_rule_id": None}]}, block_rule_id=7, unblocked_rule_id=3)
    await other.outcome("calls.block", subscriber=CLIENT)
    await other.outcome("calls.unblock", subscriber=CLIENT)
    assert other.record()["dial_rule_id"] == 3


async def test_a_block_of_somebody_elses_is_not_undone_by_a_guess(begin: Begin) -> None:
    bench = await begin({"clients": [{"id": 12, "dial_rule_id": 7}]}, block_rule_id=7)
    assert await bench.outcome("calls.block", subscriber=CLIENT) == Done()
    refused = await bench.outcome("calls.unblock", subscriber=CLIENT)
    assert refused.code is Code.CANNOT_UPDATE_SAFELY
    assert "ringme.client.update" in refused.text


# Refusals ----------------------------------------------------------------------------------------


async def test_a_blocked_user_is_told_apart_from_a_right_that_is_missing(begin: Begin) -> None:
    bench = await begin({"clients": [{"id": 12}, {"id": 13, "foreign": True}]})
    denied = await bench.outcome("subscriber.get", subscriber={"client_id": 13})
    assert (denied.platform_code, denied.certain) == ("access_denied", False)
    assert denied.text == f"{denied.said}; our user has no right to this", "what is ours is not RingMe's"
    assert isinstance(await bench.platform.control(), Done)  # so it is about this command
    bench.sim.platform.user_blocked = True
    blocked = await bench.outcome("subscriber.get", subscriber=CLIENT)
    assert (blocked.platform_code, blocked.code) == ("user_blocked", Code.CREDENTIALS_REFUSED)
    control = await bench.platform.control()
    assert isinstance(control, Refused)  # so everything waits, held
    assert "is blocked at RingMe" in control.text


async def test_a_client_that_is_not_there_is_not_found_for_certain(begin: Begin) -> None:
    bench = await begin()
    missing = await bench.outcome("subscriber.get", subscriber={"client_id": 99})
    assert (missing.code, missing.certain) == (Code.NOT_FOUND, True)


@pytest.mark.parametrize(
    "case",
    [
        ("subscriber.update", {"subscriber": CLIENT, "changes": {"timezone": "UTC"}}, "client.update"),
        ("subscriber.update", {"subscriber": EXTENSION, "changes": {"label": "x"}}, "extension.update"),
        ("subscriber.create", {"subscriber": CLIENT, "number": "102"}, "extension.create"),
        ("subscriber.block", {"subscriber": EXTENSION}, "extension.update"),
        ("subscriber.remove", {"subscriber": EXTENSION}, "extension.delete"),
        ("password.change", {"subscriber": EXTENSION, "new_password": "n"}, "phone.update"),
        ("calls.block", {"subscriber": CLIENT}, "client.update"),
        ("ringme.client_info.update", {"client_id": 12, "timezone": "UTC"}, "client_info.update"),
        ("ringme.extension_group.create", {"client_id": 12, "name": "sales"}, "extension_group.create"),
        ("ringme.dial_rule.create", {"client_id": 12, "dial_rules": [{"match_exp": "^8", "repl_exp": "7"}]}, "dial_rule.create"),
        ("ringme.ani.update", {"extension_id": 345, "ani_number": "7495"}, "ani.update"),
        ("ringme.event.create", {"extension_id": 345, "url": "http://x", "method": "POST", "event_type": "e"}, "event.create"),
    ],
    ids=lambda case: f"{case[0]} {case[2]}",
)  # fmt: skip
async def test_what_each_command_makes_of_refusals_and_lost_answers(begin: Begin, case: Any) -> None:
    command, data, operation = case
    bench = await begin(block_rule_id=7)
    step = bench.steps(command, **data)[0]

    async def once(kind: str, **fault: Any) -> Any:
        bench.sim.fail(operation, kind, count=1, **fault)
        return (await bench.platform.call(step, NO_GUARD)).outcome

    refused = await once("refuse", code=400, status="bad_request", text="no such thing")
    assert (refused.code, refused.platform_code, refused.certain) == (
        Code.PLATFORM_REFUSED,
        "bad_request",
        False,
    )
    assert isinstance(await once("busy", retry_after=7), Busy)
    assert isinstance(await once("html500"), Unclear)
    assert isinstance(await once("drop_before"), Unclear)
    before = bench.received(operation)
    lost = await once("drop_after")
    assert isinstance(lost, Unclear)
    assert bench.received(operation) == before + 1, "sent once, whatever became of the answer"
    if step.readable:
        shown = await bench.platform.look(step, None)
        assert (shown.present is False) if command == "subscriber.remove" else shown.matches
    assert len([e for e in bench.sim.platform.ledger.entries if e["operation"] == operation]) == 1


async def test_a_late_change_is_seen_when_it_lands(begin: Begin) -> None:
    bench = await begin(timeout=1.0)
    bench.sim.fail("extension.create", "late", seconds=4.0, count=1)
    data = {"subscriber": CLIENT, "number": "102"}
    assert isinstance(await bench.outcome("subscriber.create", **data), Unclear)
    assert (await bench.reading("subscriber.create", **data)).present is False

    async def there() -> bool:
        return bool((await bench.reading("subscriber.create", **data)).present)

    await eventually(there)
    assert (await bench.reading("subscriber.create", **data)).matches


async def test_a_number_far_back_in_the_list_is_found(begin: Begin) -> None:
    rows = [{"name": f"0001*{n}", "status": "active"} for n in range(200, 270)]
    bench = await begin({"extensions": rows, "page_size": 10})
    assert (await bench.reading("subscriber.create", subscriber=CLIENT, number="269")).present
    assert (await bench.reading("subscriber.create", subscriber=CLIENT, number="69")).present is False


# The hourly limit ----------------------------------------------------------------------------------


async def limited(bench: Bench, **hour: Any) -> None:
    found = bench.sim.platform.hour
    found.limit, found.seconds = hour["limit"], hour.get("seconds", 60.0)
    found.used, found.ends = found.limit - hour["left"], asyncio.get_running_loop().time() + found.seconds


async def test_over_the_limit_it_comes_back_exactly_when_the_hour_is_over(begin: Begin) -> None:
    bench = await begin()
    await limited(bench, limit=10, left=0, seconds=42)
    busy = await bench.outcome("subscriber.get", subscriber=CLIENT)
    assert isinstance(busy, Busy)
    assert 30 <= busy.after <= 43
    received = bench.received("client.get")
    assert isinstance(await bench.outcome("subscriber.get", subscriber=CLIENT), Busy)
    assert bench.received("client.get") == received, "it does not ask again before"


async def test_the_last_calls_of_the_hour_are_the_control_reads(begin: Begin) -> None:
    bench = await begin(limit_reserve=0.2)
    await limited(bench, limit=10, left=4)
    said = [await bench.outcome("subscriber.get", subscriber=CLIENT) for _ in range(3)]
    assert [type(each) for each in said] == [Done, Done, Busy]
    assert isinstance(await bench.platform.control(), Done)
    # A create that has nothing to look for, since nothing went out.
    made = await bench.outcome("subscriber.create", subscriber=CLIENT, number="102")
    assert made == NotSent("hourly_limit")


async def test_a_concurrent_heavy_question_is_not_the_hourly_limit(begin: Begin) -> None:
    bench = await begin()
    bench.sim.fail("client.get", "refuse", code=429, status="", text="concurrent request is not allowed")
    busy = await bench.outcome("subscriber.get", subscriber=CLIENT)
    assert isinstance(busy, Busy)
    assert busy.after < 30


# Tokens --------------------------------------------------------------------------------------------


async def test_one_token_serves_all_who_call(begin: Begin) -> None:
    bench = await begin()
    replies = await asyncio.gather(*(bench.outcome("subscriber.get", subscriber=CLIENT) for _ in range(50)))
    assert all(isinstance(each, Done) for each in replies)
    assert bench.received("oauth.token") == 1


async def test_a_token_is_renewed_before_it_ends(begin: Begin) -> None:
    bench = await begin({"token_life": 1.0})

    async def renewed() -> bool:
        assert isinstance(await bench.outcome("subscriber.get", subscriber=CLIENT), Done)
        return bench.received("oauth.token") > 2

    await eventually(renewed)


async def test_a_token_that_ended_early_is_renewed_once_for_all_who_wait(begin: Begin) -> None:
    bench = await begin()
    assert isinstance(await bench.platform.control(), Done)
    bench.sim.platform.tokens.clear()
    bench.sim.fail("oauth.token", "delay", seconds=0.3)
    replies = await asyncio.gather(
        *(
            bench.outcome("subscriber.update", subscriber=CLIENT, changes={"timezone": "UTC"})
            for _ in range(10)
        )
    )
    assert all(isinstance(each, Done) for each in replies)
    assert bench.received("oauth.token") == 2


async def test_a_refused_renewal_holds_the_platform_and_loses_no_command(begin: Begin) -> None:
    bench = await begin()
    bench.sim.platform.app_secret = "another"
    said = await asyncio.gather(
        *(
            bench.outcome("subscriber.update", subscriber=CLIENT, changes={"timezone": "UTC"})
            for _ in range(10)
        )
    )
    assert all(isinstance(each, Ill) and each.credentials for each in said)
    assert (await bench.platform.control()).code is Code.CREDENTIALS_REFUSED  # type: ignore[union-attr]
    assert bench.received("oauth.token") == 1, "no account is locked out by a crowd that tries"
    assert bench.received("client.update") == 0


@pytest.mark.parametrize(
    ("kind", "why"), [("drop_before", "token: "), ("html500", "token: "), ("garbage", "token: ")]
)
async def test_a_token_that_cannot_be_had_sends_nothing(begin: Begin, kind: str, why: str) -> None:
    bench = await begin()
    bench.sim.fail("oauth.token", kind, count=1)
    reply = await bench.outcome("password.change", subscriber=EXTENSION, new_password="x")
    assert isinstance(reply, NotSent)
    assert reply.why.startswith(why)
    assert isinstance(await bench.outcome("password.change", subscriber=EXTENSION, new_password="x"), Done)


async def test_the_password_grant_signs_in_as_the_user(begin: Begin) -> None:
    bench = await begin(
        {"username": "ana", "password": "pw-of-ana"}, grant="password", username="ana", password="pw-of-ana"
    )
    assert isinstance(await bench.platform.control(), Done)


async def test_a_resource_closed_to_the_application_does_not_end_the_token_twice(begin: Begin) -> None:
    bench = await begin()
    bench.sim.fail("client.get", "refuse", code=401, status="unauthorized", text="closed")
    refused = await bench.outcome("subscriber.get", subscriber=CLIENT)
    assert (refused.code, refused.certain) == (Code.CREDENTIALS_REFUSED, False)
    assert (bench.received("client.get"), bench.received("oauth.token")) == (2, 2)
    assert bench.received("user.me") == 1, "the token itself is good"


async def test_a_new_token_that_ends_at_once_is_no_refusal_of_the_command(begin: Begin) -> None:
    bench = await begin()
    assert isinstance(await bench.platform.control(), Done)
    bench.sim.platform.token_life = 0.0
    bench.sim.platform.tokens.clear()
    busy = await bench.outcome("subscriber.get", subscriber=CLIENT)
    assert isinstance(busy, Busy)
    assert bench.received("client.get") == 2


# Before anything is sent ---------------------------------------------------------------------------


async def test_a_dry_run_says_what_is_there_and_shows_no_secret(begin: Begin) -> None:
    bench = await begin({"clients": [{"id": 12}]}, block_rule_id=7)
    data = {"subscriber": CLIENT, "number": "101", "password": "pw-of-another"}
    steps = bench.steps("subscriber.create", **data)
    order = Order("order-1", "subscriber.create.v1", data)
    said = {each.what: each.right for each in await bench.platform.existing(order, steps)}
    assert said == {"client 12": True, "internal number 101": False}
    previews = [await bench.platform.preview(step) for step in steps]
    assert [preview.method for preview in previews] == ["POST", "PUT"]
    assert "pw-of-another" not in repr(previews)
    assert "101" in previews[1].notes[0]
    nobody = bench.steps("calls.block", subscriber={"client_id": 99})
    [missing] = await bench.platform.existing(order, nobody)
    assert (missing.there, missing.wanted) == (False, True)


NOT_OPEN: list[tuple[str, dict[str, Any], str]] = [
    ("subscriber.update", {"subscriber": CLIENT, "changes": {"timezone": "UTC"}}, "timezone"),
    ("ringme.client.update", {"client_id": 12, "geo_list": "RU"}, "geo_list"),
    ("ringme.extension.update", {"client_id": 12, "extension_id": 345, "label": "Desk"}, "label"),
    ("subscriber.block", {"subscriber": EXTENSION}, "status"),
    ("calls.block", {"subscriber": CLIENT}, "dial_rule_id"),
    ("calls.block", {"subscriber": EXTENSION}, "dial_rule_id"),
]


@pytest.mark.parametrize(
    ("command", "data", "field", "put"),
    [
        *((*case, "replaces") for case in NOT_OPEN),
        *((*case, "changes") for case in NOT_OPEN if case[0] == "calls.block"),
    ],
)
async def test_a_200_that_shows_the_value_from_before_the_call_is_no_success(
    begin: Begin, command: str, data: Any, field: str, put: str
) -> None:
    rules = {"block_rule_id": 7, "unblocked_rule_id": 8}
    bench = await begin({"not_open": [field]}, assume={"put": put}, **rules)
    refused = await bench.outcome(command, **data)
    assert (refused.code, refused.certain) == (Code.PLATFORM_REFUSED, True)
    assert f"{field} stayed as it was" in refused.text


@pytest.mark.parametrize(
    ("command", "data", "field"),
    [
        ("subscriber.block", {"subscriber": EXTENSION}, "status"),
        ("ringme.client.update", {"client_id": 12, "hold_music": 5}, "hold_music"),
        ("subscriber.update", {"subscriber": CLIENT, "changes": {"dial_rule_id": 9}}, "dial_rule_id"),
    ],
)
async def test_a_200_that_shows_another_word_or_number_than_the_one_ordered_is_no_success(
    begin: Begin, command: str, data: Any, field: str
) -> None:
    """Though the value before is not known: there is one way to write these. The record has to say so too."""
    bench = await begin({"not_open": [field]}, assume={"put": "changes"})
    refused = await bench.outcome(command, **data)
    assert (refused.code, refused.certain) == (Code.PLATFORM_REFUSED, True)
    assert f"{field} is not as ordered" in refused.text
    open_ = await begin(assume={"put": "changes"})
    assert isinstance(await open_.outcome(command, **data), Done)
    reads = sum(open_.received(each) for each in ("client.get", "extension.get"))
    assert reads == 0, "an answer that shows what was ordered is enough"


async def test_a_block_whose_answer_is_older_than_the_record_is_a_block(begin: Begin) -> None:
    bench = await begin(assume={"put": "changes"})
    [step] = bench.steps("subscriber.block", subscriber=EXTENSION)
    assert isinstance(step, RestStep)
    old = dict(bench.extension())
    assert isinstance(await bench.outcome("subscriber.block", subscriber=EXTENSION), Done)
    assert await bench.platform.unchanged(step, old) is None
    bench.sim.fail("extension.get", "html500", count=1)
    assert await bench.platform.unchanged(step, old) == Unclear("not_shown")


async def test_where_the_value_before_is_not_known_what_is_shown_otherwise_is_named_and_no_refusal(
    begin: Begin,
) -> None:
    """RingMe may write the text of an applied PUT in a way of its own: rejected would be a guess."""
    bench = await begin({"not_open": ["timezone"]}, assume={"put": "changes"})
    done = await bench.outcome("subscriber.update", subscriber=CLIENT, changes={"timezone": "UTC"})
    assert done == Done({"changed": [], "differences": ["timezone"]})
    assert bench.received("client.get") == 0, "a read could not tell either"


@pytest.mark.parametrize(
    ("command", "table", "data"),
    [
        ("ringme.application.update", "applications", {"application_id": 7, "redirect_uris": "a b"}),
        (
            "ringme.dial_rule.update",
            "dial_rules",
            {"client_id": 12, "dial_rule_id": 7, "dial_rules": [{"match": "810"}]},
        ),
    ],
)
async def test_a_record_that_is_never_read_before_its_put_is_not_held_against_it(
    begin: Begin, command: str, table: str, data: dict[str, Any]
) -> None:
    bench = await begin(allow=[command])
    [step] = bench.steps(command, **data)
    assert isinstance(step, RestStep)
    written = {"id": 7, "client_id": 12, "redirect_uris": "a\nb,", "dial_rules": [{"prefix": "810"}]}
    bench.sim.platform.tables[table][7] = written
    assert await bench.platform.unchanged(step, written) is None


async def test_what_was_ordered_as_it_was_already_is_no_part_that_was_done(begin: Begin) -> None:
    bench = await begin({"not_open": ["status"]})
    data = {"client_id": 12, "extension_id": 345, "label": "Reception", "status": "blocked"}
    refused = await bench.outcome("ringme.extension.update", **data)
    assert (refused.code, refused.certain) == (Code.PLATFORM_REFUSED, True)
    assert "status stayed as it was" in refused.text


async def test_a_secret_that_was_ordered_too_may_have_been_changed(begin: Begin) -> None:
    bench = await begin()
    data = {"extension_id": 345, "password": "new-pw", "allow_webrtc": True}
    [step] = bench.steps("ringme.phone.update", **data)
    assert isinstance(step, RestStep)
    old = {"allow_webrtc": False}
    bench.sim.platform.extensions[345].phone |= old
    assert await bench.platform.unchanged(replace(step, was=old), old) is None


async def test_what_was_changed_beside_a_field_that_is_not_open_is_told_apart(begin: Begin) -> None:
    bench = await begin({"not_open": ["timezone"]})
    changes = {"timezone": "UTC", "geo_list": "RU"}
    done = await bench.outcome("subscriber.update", subscriber=CLIENT, changes=changes)
    assert done == Done({"changed": ["geo_list"], "differences": ["timezone"]})


async def test_a_text_that_is_written_otherwise_was_changed_all_the_same(begin: Begin) -> None:
    bench = await begin()
    bench.extension()["label"] = "FRONT desk"
    done = await bench.outcome("ringme.extension.update", client_id=12, extension_id=345, label="front  Desk")
    assert isinstance(done, Done)


async def test_an_answer_that_shows_the_old_value_is_held_against_the_record(begin: Begin) -> None:
    bench = await begin()
    bench.sim.fail("client.update", "drop_after", count=1)
    step = bench.steps("ringme.client.update", client_id=12, timezone="UTC")[0]
    assert isinstance((await bench.platform.call(step, NO_GUARD)).outcome, Unclear)
    assert isinstance(step, RestStep)
    old = {**bench.record(), "timezone": "Europe/Moscow"}  # an answer from before what was done
    told = replace(step, was=old)
    assert await bench.platform.unchanged(told, old) is None


async def test_the_id_that_the_answer_named_is_not_looked_up_again(begin: Begin) -> None:
    bench = await begin()
    data = {"subscriber": CLIENT, "number": "102", "password": "pw-of-102"}
    [create, _] = bench.steps("subscriber.create", **data)
    made = (await bench.platform.call(create, NO_GUARD)).outcome
    finished = [{"name": create.name, "status": "done", "output": made.output}]
    order = Order("order-1", "subscriber.create.v1", {"platform": "ringme-ru", **data}, finished)
    planned = bench.platform.plan(order)
    assert not isinstance(planned, Problem)
    assert [step.name for step in planned] == [step.name for step in bench.steps("subscriber.create", **data)]
    before = bench.received("extension.list")
    assert isinstance((await bench.platform.call(planned[1], NO_GUARD)).outcome, Done)
    assert bench.received("extension.list") == before
    phone = bench.sim.platform.extensions[int(made.output["platform_id"])].phone
    assert phone["password"] == "pw-of-102"


async def test_with_several_numbers_of_one_name_none_is_chosen(begin: Begin) -> None:
    bench = await begin({"extensions": [{"name": "0001*101"}, {"name": "0002*101"}]})
    step = bench.steps("subscriber.create", subscriber=CLIENT, number="101", password="x")[1]
    refused = (await bench.platform.call(step, NO_GUARD)).outcome
    assert (refused.code, refused.certain) == (Code.NOT_FOUND, True)
    assert "there are 2 internal numbers 101" in refused.text


async def test_a_token_endpoint_that_echoes_a_secret_does_not_spread_it(begin: Begin) -> None:
    bench = await begin()
    bench.sim.fail("oauth.token", "refuse", code=401, status="invalid_client", text=f"bad secret {SECRET}")
    ill = await bench.outcome("subscriber.get", subscriber=CLIENT)
    assert isinstance(ill, Ill)
    assert "invalid_client: bad secret ***" in ill.text
    assert SECRET not in repr((ill, bench.platform, await bench.platform.control(), bench.platform.facts()))
