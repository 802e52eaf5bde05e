"""Every native command of RingMe against the simulator: its example works, and a lost answer is seen through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.ringme import OF_345, Begin, Bench, benches
from worker.domain.effect import Effect
from worker.domain.evidence import NoEffect, Reading, TookEffect, judge
from worker.domain.outcome import Busy, Done, Refused, Unclear
from worker.messages.errors import Code
from worker.messages.rest.document import table
from worker.messages.rest.models import model
from worker.messages.rest.operations import Operation
from worker.platforms.port import Order, Step
from worker.platforms.transport import NO_GUARD
from worker.simulators.ringme.operations.calls import new_call

ALL = sorted(table("ringme").values(), key=lambda each: each.type)
CHANGES = [each for each in ALL if each.effect != "read"]


@pytest.fixture
async def begin() -> AsyncIterator[Begin]:
    async with benches() as start:
        yield start


def furnish(bench: Bench) -> None:
    """What the examples name."""
    platform = bench.sim.platform
    rows: dict[str, dict[str, Any]] = {
        "groups": {"id": 7, "name": "support", "extra_params": None},
        "dial_rules": {"id": 19, "dial_rules": [{"match_exp": "^9", "repl_exp": "9"}]},
        "recordings": {"id": 77, "create_date": "2026-05-01 10:00:00"},
        "applications": {"id": 5, "name": "other", "app_secret": "secret-of-5"},
    }
    for name, row in rows.items():
        platform.tables[name][row["id"]] = {**row, "client_id": 12}
    platform.extensions[345].rules[8] = {"id": 8}
    platform.extensions[345].events[9] = {"id": 9, "url": "x", "method": "POST", "event_type": "y"}
    platform.calls.append(new_call(12, 345, 1, call_uuid="1f0c9d3e-5f2a-4b7c-9d3e-000000000001"))


async def furnished(begin: Begin, **given: Any) -> Bench:
    config = {"extensions": [OF_345 | {"name": "0001*100"}], "clients": [{"id": 12, "timezone": "UTC"}]}
    bench = await begin(config, allow=["ringme.*"], **given)
    furnish(bench)
    return bench


def step_of(bench: Bench, operation: Operation) -> Step:
    data = {"platform": "ringme-ru", **operation.example}
    model(operation.type).model_validate(data)
    steps = bench.platform.plan(Order("order-1", operation.type, data))
    assert isinstance(steps, tuple), (operation.type, steps)
    [step] = steps
    return step


async def test_every_example_does_what_it_says(begin: Begin) -> None:
    bench = await furnished(begin)
    last = {"delete": 2, "change_secret": 1}
    for operation in sorted(ALL, key=lambda each: last.get(each.effect, 0)):
        done = (await bench.platform.call(step_of(bench, operation), NO_GUARD)).outcome
        assert isinstance(done, Done), (operation.type, done)
        assert bench.received(operation.endpoint) >= 1
    # What holds a secret and is no secret as a whole is shown without it.
    assert "secret-of-5" not in repr(await bench.outcome("ringme.application.list"))


@pytest.mark.parametrize("operation", CHANGES, ids=lambda each: each.endpoint)
async def test_a_change_is_sent_once_and_its_check_tells_before_from_after(
    begin: Begin, operation: Operation
) -> None:
    bench = await furnished(begin)
    step = step_of(bench, operation)
    before = await bench.platform.look(step, None) if step.readable else None
    assert before is None or isinstance(before, Reading)
    before = before if step.effect.needs_evidence else None
    for kind, expected in (("drop_before", NoEffect), ("drop_after", TookEffect)):
        bench.sim.fail(operation.endpoint, kind, count=1)
        sent = bench.received(operation.endpoint)
        lost = (await bench.platform.call(step, NO_GUARD)).outcome
        assert isinstance(lost, Unclear), lost
        assert bench.received(operation.endpoint) == sent + 1
        if step.readable:
            now = await bench.platform.look(step, before)
            assert isinstance(now, Reading), now
            assert isinstance(judge(step.effect, before, now), expected), (kind, now)
    applied = [each for each in bench.sim.platform.ledger.entries if each["operation"] == operation.endpoint]
    assert len(applied) == 1


async def test_every_change_is_refused_kept_busy_and_signed_in_anew(begin: Begin) -> None:
    bench = await furnished(begin)
    for operation in sorted(CHANGES, key=lambda each: each.effect == "delete"):
        name, step = operation.endpoint, step_of(bench, operation)
        bench.sim.fail(name, "refuse", count=1, code=403, status="app_access_type_deny", text="no")
        denied = (await bench.platform.call(step, NO_GUARD)).outcome
        assert isinstance(denied, Refused), (name, denied)
        assert (denied.platform_code, denied.certain) == ("app_access_type_deny", False)
        assert "access level of our application" in denied.text
        bench.sim.fail(name, "refuse", count=1, code=429, status="rate_limit_exceeded", text="later")
        assert isinstance((await bench.platform.call(step, NO_GUARD)).outcome, Busy), name
        bench.sim.platform.tokens.clear()
        again = (await bench.platform.call(step, NO_GUARD)).outcome
        assert isinstance(again, Done), (name, again)
    # At most two tokens a command: the first of all, and one after each 401.
    assert bench.received("oauth.token") == len(CHANGES) + 1


async def test_what_returns_secrets_answers_only_who_asked(begin: Begin) -> None:
    for operation in ALL:
        if operation.secret:
            assert operation.denied, operation.type
    secret = {each.endpoint for each in ALL if each.secret}
    assert {"phone.get", "application.reset_secret", "application.create"} <= secret


async def test_an_answer_that_may_be_a_secret_under_any_name_is_in_no_attempt(begin: Begin) -> None:
    bench = await furnished(begin)
    replies = await bench.run("ringme.application.create", name="crm", trusted=True)
    (id_,) = [row["id"] for row in bench.sim.platform.tables["applications"].values() if row["name"] == "crm"]
    row = bench.sim.platform.tables["applications"][id_]
    row["whatever"] = "a-secret-under-another-name"
    for command in ("get", "update", "reset_secret", "delete"):
        more = {"owner": "sales"} if command == "update" else {}
        replies += await bench.run(f"ringme.application.{command}", application_id=str(id_), **more)
    assert all(isinstance(each.outcome, Done) for each in replies)
    kept = [f"{each.exchange.request}{each.exchange.answer}{each.before}" for each in replies]
    for secret in (row["app_secret"], row["whatever"]):
        assert not [text for text in kept if secret in text]
    removed = replies[-1].outcome.output["removed"]  # type: ignore[union-attr] # it is Done
    assert removed["name"] == "crm"
    assert row["whatever"] not in removed.values()


def test_each_way_to_remove_a_subscriber_counts_against_the_limit() -> None:
    counted = {
        each.endpoint for kind in ("ringme", "voipmundo") for each in table(kind).values() if each.removes
    }
    removals = {"manageCustomers.remove", "resource.remove", "resource.removeNamed", "extension.delete"}
    assert counted == removals


async def test_a_native_removal_counts_as_the_portable_one_does(begin: Begin) -> None:
    bench = await begin()
    [native] = bench.steps("ringme.extension.delete", client_id=12, extension_id=345)
    [portable] = bench.steps("subscriber.remove", subscriber={"client_id": 12, "extension_id": 345})
    assert (native.removes, portable.removes) == (True, True)


async def test_a_number_that_is_there_is_not_made_twice(begin: Begin) -> None:
    bench = await furnished(begin)
    bench.sim.platform.seed_extension({"name": "0001*101", "type": "phone"})
    step = step_of(bench, table("ringme")["ringme.extension.create.v1"])
    assert step.effect is Effect.CREATE
    there = await bench.platform.look(step, None)
    assert isinstance(there, Reading)
    assert there.present  # under its prefix
    refused = (await bench.platform.call(step, NO_GUARD)).outcome
    assert isinstance(refused, Refused)
    assert refused.code is Code.PLATFORM_REFUSED


async def test_a_list_that_does_not_show_what_to_look_for_proves_no_absence(begin: Begin) -> None:
    bench = await furnished(begin)
    step = step_of(bench, table("ringme")["ringme.event.create.v1"])
    for id_, rest in ((1, {"url": "x", "method": "POST", "event_type": "y"}), (2, {})):
        bench.sim.platform.extensions[345].events[id_] = {"id": id_, **rest}
    assert await bench.platform.look(step, None) == Unclear("not_shown")
