"""What a portable command is on RingMe, what of it is rejected, and with which sentence."""

from __future__ import annotations

from typing import Any

import pytest

from worker.domain.effect import Effect
from worker.messages.catalogue import Checked, check
from worker.messages.envelope import Envelope
from worker.messages.errors import Code, Problem
from worker.messages.rest.document import table
from worker.messages.ringme.portable import EXAMPLES, MODELS, NOT_OFFERED
from worker.platforms.port import Order, Passing, Step
from worker.platforms.ringme import RingmePlatform, build
from worker.settings import RingmeSettings

CLIENT, EXTENSION = {"client_id": 12}, {"client_id": "12", "extension_id": "345"}


async def made(**given: Any) -> RingmePlatform:
    usual = {"kind": "ringme", "url": "https://ringme.example", "app_id": "app", "app_secret": "s3cret"}
    return await build("ringme-ru", RingmeSettings(**{**usual, "undocumented": True, **given}), Passing())


def order(command: str, **data: Any) -> Order:
    return Order("order-1", f"{command}.v1", {"platform": "ringme-ru", **data})


async def planned(command: str, settings: dict[str, Any] | None = None, **data: Any) -> tuple[Step, ...]:
    steps = (await made(**(settings or {}))).plan(order(command, **data))
    assert not isinstance(steps, Problem), steps
    return steps


async def refused(command: str, settings: dict[str, Any] | None = None, **data: Any) -> Problem:
    problem = (await made(**(settings or {}))).plan(order(command, **data))
    assert isinstance(problem, Problem), problem
    return problem


@pytest.mark.parametrize(
    ("command", "data", "steps"),
    [
        ("subscriber.create", {"subscriber": CLIENT, "number": "101"}, ["extension.create"]),
        (
            "subscriber.create",
            {"subscriber": CLIENT, "number": "101", "password": "p", "if_exists": "update"},
            ["extension.create", "extension.update", "phone.update"],
        ),
        ("subscriber.get", {"subscriber": CLIENT}, ["client.get"]),
        ("subscriber.get", {"subscriber": EXTENSION}, ["extension.get"]),
        ("subscriber.update", {"subscriber": CLIENT, "changes": {"geo_list": "*"}}, ["client.update"]),
        (
            "subscriber.update",
            {"subscriber": EXTENSION, "changes": {"label": "x", "password": "p"}},
            ["extension.update", "phone.update"],
        ),
        ("subscriber.update", {"subscriber": EXTENSION, "changes": {"password": "p"}}, ["phone.update"]),
        ("subscriber.remove", {"subscriber": EXTENSION}, ["extension.delete"]),
        ("subscriber.block", {"subscriber": EXTENSION}, ["extension.update"]),
        ("password.change", {"subscriber": EXTENSION, "new_password": "p"}, ["phone.update"]),
        ("number.list", {"subscriber": CLIENT}, ["did.list"]),
        ("calls.unblock", {"subscriber": CLIENT}, ["client.update"]),
    ],
)
async def test_each_portable_command_is_these_operations(command: str, data: Any, steps: list[str]) -> None:
    assert [step.endpoint for step in await planned(command, **data)] == steps


async def test_a_new_number_is_ordered_active_under_the_configured_name() -> None:
    data = {"subscriber": CLIENT, "number": "101", "label": "Sales", "platform_fields": {"dial_rule_id": "7"}}
    [step] = await planned("subscriber.create", {"extension_name": "0001*{number}"}, **data)
    wanted = {"name": "0001*101", "type": "phone", "status": "active", "label": "Sales", "dial_rule_id": 7}
    assert step.params == {"client_id": 12, **wanted}
    assert (step.effect, step.readable) == (Effect.CREATE, True)


async def test_call_records_are_asked_for_in_the_zone_of_the_history() -> None:
    data = {"since": "2026-05-01T00:00:00Z", "until": "2026-05-01T12:00:00+01:00", "kind": "failed"}
    zone = {"assume": {"history_zone": "Europe/Moscow"}}
    [step] = await planned("call_records.list", zone, subscriber=EXTENSION, service="out", **data)
    assert step.paged
    assert step.params["start_datetime"] == "2026-05-01 03:00:00"
    assert step.params["end_datetime"] == "2026-05-01 14:00:00"
    assert (step.params["extension_id"], step.params["flow"]) == (345, "out")


@pytest.mark.parametrize("command", ["subscriber.block", "subscriber.activate", "subscriber.remove"])
async def test_what_is_the_providers_business_is_rejected_with_the_reason(command: str) -> None:
    problem = await refused(command, subscriber=CLIENT)
    assert problem.code is Code.UNSUPPORTED
    assert "administrator API" in problem.message


async def test_a_client_can_change_its_seven_fields_alone() -> None:
    problem = await refused("subscriber.update", subscriber=CLIENT, changes={"label": "x"})
    assert (problem.code, problem.field) == (Code.UNSUPPORTED, "changes.label")
    assert "timezone" in problem.message


async def test_calls_are_blocked_only_by_a_list_that_is_named() -> None:
    problem = await refused("calls.block", subscriber=CLIENT)
    assert "block_rule_id" in problem.message
    incoming = await refused("calls.block", {"block_rule_id": 7}, subscriber=CLIENT, kinds=["incoming"])
    assert (incoming.code, incoming.field) == (Code.UNSUPPORTED, "kinds")


@pytest.mark.parametrize("type_", sorted(table("ringme")))
async def test_what_only_other_peoples_programs_show_has_to_be_allowed(type_: str) -> None:
    operation = table("ringme")[type_]
    allow = {"allow": ["ringme.*"]}
    data = {each.name: None for each in operation.asked} | dict(operation.example)
    got = (await made(undocumented=False, **allow)).plan(Order("o", type_, data))
    assert (isinstance(got, Problem) and got.code is Code.UNDOCUMENTED_DISABLED) == operation.undocumented, (
        got
    )
    assert not isinstance((await made(**allow)).plan(Order("o", type_, data)), Problem)


async def test_secrets_in_answers_have_to_be_allowed() -> None:
    problem = await refused("ringme.phone.get", extension_id=345)
    assert problem.code is Code.NOT_ALLOWED


@pytest.mark.parametrize("type_", sorted(NOT_OFFERED))
def test_what_is_not_offered_is_rejected_with_the_reason(type_: str) -> None:
    envelope = Envelope(id="1", source="/crm", type=type_, data={"platform": "r"}, idempotency_key="1")
    found = check(envelope, {"r": "ringme"})
    assert isinstance(found, Checked)
    assert found.unsupported is not None
    assert NOT_OFFERED[type_] in found.unsupported.message


def test_commands_about_one_object_are_in_one_line() -> None:
    def line(type_: str, **data: Any) -> str | None:
        envelope = Envelope(
            id="1", source="/crm", type=type_, data={"platform": "r", **data}, idempotency_key="1"
        )
        found = check(envelope, {"r": "ringme"})
        assert isinstance(found, Checked), found
        return found.partition_key

    assert line("subscriber.get.v1", subscriber=CLIENT) == line("ringme.client.update.v1", client_id=12)
    assert line("subscriber.block.v1", subscriber=EXTENSION) == line(
        "ringme.phone.update.v1", extension_id=345, allow_webrtc=True
    )
    new = {"subscriber": CLIENT, "number": "101"}
    assert line("subscriber.create.v1", **new) == line("ringme.extension.create.v1", client_id=12, name="101")


@pytest.mark.parametrize("type_", sorted(MODELS))
def test_the_examples_are_as_the_models_want_them(type_: str) -> None:
    MODELS[type_].model_validate({"platform": "ringme", **EXAMPLES[type_]})


@pytest.mark.parametrize(
    ("changes", "who", "says"),
    [
        ({}, CLIENT, "name at least one field"),
        ({"timezone": None}, CLIENT, "name at least one field"),
        ({"label": "x"}, CLIENT, "a field of an internal number"),
        ({"timezone": "UTC"}, {"client_id": 12, "extension_id": 3}, "a field of the client"),
    ],
)
def test_an_update_says_which_field_belongs_to_whom(changes: Any, who: Any, says: str) -> None:
    data = {"platform": "r", "subscriber": who, "changes": changes}
    envelope = Envelope(id="1", source="/crm", type="subscriber.update.v1", data=data, idempotency_key="1")
    found = check(envelope, {"r": "ringme"})
    assert isinstance(found, Problem)
    assert says in found.message


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        ({"dial_rules.list": "/x"}, "there is no operation 'dial_rules.list'"),
        ({"dial_rule.list": "/client/dial_rules/"}, "needs the places client_id"),
    ],
)
async def test_a_path_of_the_settings_has_to_fit(paths: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        await made(paths=paths)


async def test_a_path_of_the_settings_goes_before_the_files() -> None:
    path = {"dial_rule.list": "/client/{client_id}/dial_rules/"}
    [step] = await planned("ringme.dial_rule.list", {"paths": path}, client_id=12)
    assert step.operation.path == "/client/{client_id}/dial_rules/"  # type: ignore[attr-defined]
