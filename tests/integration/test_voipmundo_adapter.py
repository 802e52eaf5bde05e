"""The VoIPMundo adapter against the simulator: each command in each way it may go, and what reads prove.

What all platforms have in common (held, in doubt, one sending) is in tests/conformance/platforms.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.support.amqp import eventually
from tests.support.leaks import leaks
from worker.domain.effect import Effect
from worker.domain.evidence import Credit, NoEffect, Reading, TookEffect, Undecided, judge
from worker.domain.outcome import Busy, Done, NotSent, Refused, Unclear
from worker.messages.errors import Code, Problem
from worker.messages.rest.document import table
from worker.platforms.build import build
from worker.platforms.port import Order, Reply, Step
from worker.platforms.rest import RestStep
from worker.platforms.transport import NO_GUARD
from worker.platforms.voipmundo import VoipmundoPlatform
from worker.platforms.voipmundo.pace import OneAtATime
from worker.settings import VoipmundoSettings
from worker.simulators.voipmundo import Simulator, SimulatorConfig, operations, serve

TOKEN, KEY = "c0ffee00-aaaa-4bbb-8ccc-0123456789ab-7001", "deadbeef-dddd-4eee-8fff-ba9876543210-7002"
ABOUT: dict[str, Any] = {"subscriber": {"id": 1}}
BOTH = {"kinds": ["outgoing", "incoming"]}
WHOLE: dict[str, Any] = {
    "undocumented": True,
    "status_blocks_calls": True,
    "assume": {"balance": "balance", "partial_update": True},
    "credit": {"customer": "customer", "amount": "amount", "note": "note"},
    "allow": ["voipmundo.*"],
}
Start = Callable[..., Awaitable[tuple[Simulator, VoipmundoPlatform]]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """A simulator with one client that has one line, and a platform that talks to it."""
    async with contextlib.AsyncExitStack() as stack:

        async def begin(
            simulator: dict[str, Any] | None = None, **given: Any
        ) -> tuple[Simulator, VoipmundoPlatform]:
            line = {"username": "1000", "password": "line-pw-1000"}
            usual = {"clients": [{"nome_fantasia": "Ana", "balance": "3148895.40924", "devices": [line]}]}
            config = SimulatorConfig.from_values({"token": TOKEN, "key": KEY, **usual, **(simulator or {})})
            sim = await serve(0, config=config)
            stack.push_async_callback(sim.close)
            pair = {"api_token": TOKEN, "api_key": KEY}
            settings = VoipmundoSettings(
                **{"kind": "voipmundo", "url": sim.url, "timeout": 5.0, **pair, **WHOLE, **given}
            )
            platform = await build("vm", settings)
            assert isinstance(platform, VoipmundoPlatform)
            stack.push_async_callback(platform.close)
            return sim, platform

        yield begin


def only(platform: VoipmundoPlatform, command: str, data: dict[str, Any]) -> Step:
    steps = platform.plan(Order("order-1", f"{command}.v1", {"platform": "vm", **data}))
    assert not isinstance(steps, Problem), steps
    (step,) = steps
    return step


async def outcome(platform: VoipmundoPlatform, command: str, data: dict[str, Any]) -> Any:
    return (await platform.call(only(platform, command, data), NO_GUARD)).outcome


# Every command that changes something: name, data, what the simulator calls it, whether it was applied.
Applied = Callable[[Simulator], bool]
CHANGES: list[tuple[str, dict[str, Any], str, Applied]] = [
    ("subscriber.block", ABOUT, "statusCustomer.set", lambda sim: sim.state.clients[1].status == 0),
    ("calls.block", ABOUT | BOTH, "statusCustomer.set", lambda sim: sim.state.clients[1].status == 0),
    (
        "subscriber.update",
        ABOUT | {"changes": {"email": "a@b.example"}},
        "manageCustomers.update",
        lambda sim: sim.state.clients[1].fields.get("email") == "a@b.example",
    ),
    (
        "subscriber.create",
        {"first_name": "Bia"},
        "manageCustomers.create",
        lambda sim: len(sim.state.clients) == 2,
    ),
    ("subscriber.remove", ABOUT, "manageCustomers.remove", lambda sim: not sim.state.clients),
    (
        "credit.add",
        ABOUT | {"amount": "5.00"},
        "manageCredit.add",
        lambda sim: sim.credit("order-1") == (1, Decimal("5.00")),
    ),
    ("number.assign", ABOUT | {"number": "5511"}, "manageDID.create", lambda sim: "5511" in sim.state.dids),
    (
        "voipmundo.manageDevices.create",
        {"customer_id": 1, "username": "1001", "password": "line-pw-1001"},
        "manageDevices.create",
        lambda sim: len(sim.state.clients[1].devices) == 2,
    ),
    (
        "voipmundo.statusCustomer.set",
        {"id": "1", "status": "0"},
        "statusCustomer.set",
        lambda sim: sim.state.clients[1].status == 0,
    ),
]
each_change = pytest.mark.parametrize(
    ("command", "data", "operation", "applied"), CHANGES, ids=[each[0] for each in CHANGES]
)


@each_change
async def test_a_change_is_made_once_and_its_answer_understood(
    start: Start, command: str, data: Any, operation: str, applied: Applied
) -> None:
    sim, platform = await start()
    assert isinstance(await outcome(platform, command, data), Done)
    assert applied(sim)
    assert sim.counts.operations[operation].received == 1


@each_change
@pytest.mark.parametrize("status", [200, 400, 500])
async def test_error_1_is_a_refusal_whatever_the_http_status(
    start: Start, command: str, data: Any, operation: str, applied: Applied, status: int
) -> None:
    sim, platform = await start()
    step = only(platform, command, data)
    sim.fail(operation, "refuse", status=status, text="Plano vencido")
    found = (await platform.call(step, NO_GUARD)).outcome
    assert isinstance(found, Refused)
    assert (found.code, found.text, found.certain) == (Code.PLATFORM_REFUSED, "Plano vencido", False)
    assert not applied(sim)


@each_change
@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "late", "garbage", "html500"])
async def test_a_lost_answer_is_unclear_whether_it_was_applied_or_not(
    start: Start, command: str, data: Any, operation: str, applied: Applied, kind: str
) -> None:
    sim, platform = await start()
    step = only(platform, command, data)
    before = await platform.look(step, None) if step.effect.needs_evidence else None
    sim.fail(operation, kind, count=1, **({"seconds": 0.05, "connection": "drop"} if kind == "late" else {}))
    assert isinstance((await platform.call(step, NO_GUARD)).outcome, Unclear)
    await eventually(lambda: not sim.pending())
    assert applied(sim) is (kind in ("drop_after", "late", "garbage"))
    assert sim.counts.operations[operation].received == 1
    if step.readable:
        assert isinstance(before, Reading | None)
        now = await platform.look(step, before)
        assert isinstance(now, Reading), now
        proved = _judged(step, before, now)
        assert isinstance(proved, TookEffect if applied(sim) else NoEffect), proved


def _judged(step: Step, before: Reading | None, now: Reading) -> TookEffect | NoEffect | Undecided:
    credit = None if step.amount is None else Credit(step.amount, Decimal("0.01"))
    return judge(step.effect, before, now, credit)


@each_change
async def test_429_is_busy_and_changes_nothing(
    start: Start, command: str, data: Any, operation: str, applied: Applied
) -> None:
    sim, platform = await start()
    step = only(platform, command, data)
    sim.fail(operation, "too_many", count=1)
    assert isinstance((await platform.call(step, NO_GUARD)).outcome, Busy)
    assert not applied(sim)
    assert isinstance((await platform.call(step, NO_GUARD)).outcome, Done)


@each_change
async def test_a_wrong_pair_is_refused_as_a_login(
    start: Start, command: str, data: Any, operation: str, applied: Applied
) -> None:
    sim, platform = await start({"token": "another"})
    found = (await platform.call(only(platform, command, data), NO_GUARD)).outcome
    codes = {Code.CREDENTIALS_REFUSED}
    assert isinstance(found, Refused), found
    assert found.code in codes
    assert not applied(sim)
    control = await platform.control()
    assert isinstance(control, Refused)
    assert control.code is Code.CREDENTIALS_REFUSED


async def test_nothing_goes_out_to_a_server_that_is_away(start: Start) -> None:
    sim, platform = await start()
    await sim.close()
    for command, data, *_ in CHANGES:
        assert isinstance(await outcome(platform, command, data), NotSent), command


# Reads ---------------------------------------------------------------------------------------------------


async def test_the_record_is_read_by_id_with_the_pair_of_a_master(start: Start) -> None:
    _, platform = await start()
    found = (await outcome(platform, "subscriber.get", ABOUT)).output["subscriber"]
    assert (found["id"], found["status"], found["users"]["api_key"]) == (1, "active", "***")


async def test_the_record_is_read_without_an_id_with_the_pair_of_a_subscriber(start: Start) -> None:
    sim, platform = await start({"switches": {"level": "subscriber", "users": "list"}}, level="subscriber")
    found = (await outcome(platform, "subscriber.get", ABOUT)).output["subscriber"]
    assert (found["id"], found["users"][0]["api_token"]) == (1, "***")
    assert sim.counts.operations["manageCustomers.getOwn"].received == 1
    other = await outcome(platform, "subscriber.get", {"subscriber": {"id": 2}})
    assert (other.code, other.certain) == (Code.NOT_FOUND, True)


@pytest.mark.parametrize("decimals", ["comma", "point"])
async def test_a_balance_is_read_in_both_shapes(start: Start, decimals: str) -> None:
    _, platform = await start({"decimals": decimals})
    assert (await outcome(platform, "credit.get", ABOUT)).output == {"balance": "3148895.40924"}


async def test_a_balance_that_is_not_where_the_settings_say_is_no_balance(start: Start) -> None:
    _, platform = await start(assume={"balance": "saldo"})
    assert isinstance(await outcome(platform, "credit.get", ABOUT), Unclear)


async def test_every_read_of_the_tables_is_answered(start: Start) -> None:
    sim, platform = await start()
    digest = hashlib.md5(b"1000:line-pw-1000").hexdigest()  # the platform's way
    reads = [each for each in table("voipmundo").values() if each.effect == "read"]
    for each in reads:
        known = {"id": 1, "username": "1000", "digest": digest}
        data = {datum.name: known[datum.name] for datum in each.asked if datum.name in known}
        if each.endpoint == "manageCustomers.getOwn":
            continue  # for a subscriber's own pair
        found = await outcome(platform, each.type.removesuffix(".v1"), data)
        assert isinstance(found, Done), (each.type, found)
        assert sim.counts.operations[each.endpoint].received == 1, each.type


async def test_a_line_is_shown_without_what_is_secret_in_it(start: Start) -> None:
    _, platform = await start()
    (block,) = (await outcome(platform, "voipmundo.listDevices.list", {"id": 1})).output["data"]
    assert block["data"][0]["username"] == "1000"
    assert "line-pw-1000" not in json.dumps(block)


@pytest.mark.parametrize(("shown", "ends"), [(1, Code.PLATFORM_REFUSED), (0, None)])
async def test_an_answer_whose_status_is_not_the_one_ordered_is_held_against_the_record(
    start: Start, shown: int, ends: Code | None
) -> None:
    sim, platform = await start()
    step = only(platform, "subscriber.block", ABOUT)
    assert isinstance(step, RestStep)
    sim.state.clients[1].status = shown
    instead = await platform.unchanged(step, {"error": 0, "reason": "OK", "old_status": 1, "new_status": "1"})
    assert getattr(instead, "code", None) is ends
    assert await platform.unchanged(step, {"error": 0, "old_status": 1, "new_status": "0"}) is None


@pytest.mark.parametrize("absent", ["error", "404"])
async def test_nobody_is_told_from_a_refusal_by_comparison(start: Start, absent: str) -> None:
    _, platform = await start({"switches": {"absent": absent}})
    nobody = {"subscriber": {"id": 99}}
    first = await outcome(platform, "subscriber.get", nobody)
    assert not first.certain, "this server has shown no record yet: it may have none at all"
    assert isinstance(await outcome(platform, "subscriber.get", ABOUT), Done)
    for command in ("subscriber.get", "subscriber.block"):
        found = await outcome(platform, command, nobody)
        assert (found.code, found.certain) == (Code.NOT_FOUND, True)


async def test_a_refusal_of_all_alike_says_nothing_about_one(start: Start) -> None:
    sim, platform = await start()
    assert isinstance(await outcome(platform, "subscriber.get", ABOUT), Done)
    sim.fail("*", "refuse", text="Conta suspensa")
    found = await outcome(platform, "subscriber.get", ABOUT)
    assert (found.code, found.certain) == (Code.PLATFORM_REFUSED, False)


async def test_what_the_server_does_not_have_is_said_so(start: Start) -> None:
    _, platform = await start({"switches": {"lists": "none"}})
    found = await outcome(platform, "voipmundo.contacts.list", {})
    assert found.code is Code.UNSUPPORTED_BY_SERVER


async def test_the_control_read_is_the_calls_of_today(start: Start) -> None:
    sim, platform = await start()
    assert await platform.control() == Done()
    assert sim.counts.operations["cdr.listAll"].applied == 1


# Looking for a new client --------------------------------------------------------------------------------


async def test_a_new_client_is_found_far_down_a_list_that_has_to_be_paged_through(start: Start) -> None:
    sim, platform = await start()
    for number in range(1203):
        sim.state.seed({"nome_fantasia": f"c{number}"})
    step = only(platform, "subscriber.create", {"first_name": "c1202"})
    found = await platform.look(step, None)
    assert isinstance(found, Reading)
    assert (found.present, found.matches, found.platform_id) == (True, True, "1204")
    assert sim.counts.operations["contacts.list"].received == 4


async def test_a_list_that_gives_the_same_page_again_proves_nothing(start: Start) -> None:
    _sim, platform = await start()
    step = only(platform, "subscriber.create", {"first_name": "Ana"})
    original = operations.page
    try:
        operations.page = lambda call, rows, skip="start": (rows, 0, 100)
        assert isinstance(await platform.look(step, None), Unclear)
    finally:
        operations.page = original


async def test_a_namesake_with_another_legal_name_is_not_ours(start: Start) -> None:
    sim, platform = await start()
    sim.state.seed({"nome_fantasia": "Bia", "razao_social": "Bia Sul Ltda"})
    data = {"first_name": "Bia", "platform_fields": {"razao_social": "Bia Norte Ltda"}}
    found = await platform.look(only(platform, "subscriber.create", data), None)
    assert isinstance(found, Reading)
    assert (found.present, found.matches, found.differences) == (True, False, ("razao_social",))


@pytest.mark.parametrize(("created", "shown"), [("customer_id", "2"), ("nothing", None)])
async def test_the_new_id_is_told_where_the_reply_has_it(
    start: Start, created: str, shown: str | None
) -> None:
    _, platform = await start({"switches": {"created": created}})
    assert (await outcome(platform, "subscriber.create", {"first_name": "B"})).output["platform_id"] == shown


@pytest.mark.parametrize(
    ("command", "data", "there", "said"),
    [
        ("subscriber.block", ABOUT, True, "client 1 is there"),
        ("subscriber.block", {"subscriber": {"id": 99}}, False, "rejected not_found"),
        ("subscriber.create", {"first_name": "Bia"}, False, "no Bia yet"),
        ("subscriber.create", {"first_name": "Ana"}, True, "with the id 1"),
        ("voipmundo.manageDevices.create", {"customer_id": 1, "username": "1000"}, True, "client 1 is there"),
    ],
)
async def test_what_a_command_names_is_held_against_the_platform_before_it_is_sent(
    start: Start, command: str, data: Any, there: bool, said: str
) -> None:
    sim, platform = await start()
    assert isinstance(await outcome(platform, "subscriber.get", ABOUT), Done)
    order = Order("order-1", f"{command}.v1", {"platform": "vm", **data})
    found = await platform.existing(order, [only(platform, command, data)])
    assert (found[0].there, said in found[0].said) == (there, True), found
    assert not sim.state.ledger.entries, "nothing was changed"


# Call records --------------------------------------------------------------------------------------------


class Kept:
    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.parts = 0

    async def add(self, rows: Sequence[Any]) -> None:
        self.rows += rows
        self.parts += 1


async def records(platform: VoipmundoPlatform, **data: Any) -> tuple[Reply, Kept]:
    given = {"since": "2026-05-01T23:00:00-03:00", "until": "2026-05-03T01:00:00-03:00", "kind": "completed"}
    rows = Kept()
    step = only(platform, "call_records.list", ABOUT | given | data)
    return await platform.read_rows(step, rows), rows


def calls(sim: Simulator, *moments: str) -> None:
    for at, moment in enumerate(moments):
        row = sim.state.charge(sim.state.clients[1], Decimal("1.25"), source=str(at))
        row["at"] = datetime.fromisoformat(moment).timestamp()


async def test_calls_are_read_by_day_and_page_to_the_second(start: Start) -> None:
    sim, platform = await start(assume={**WHOLE["assume"], "time_zone": "UTC"})
    inside = [
        f"2026-05-0{1 + hour // 24}T{hour % 24:02d}:{minute:02d}:00+00:00"
        for hour in range(2, 27)
        for minute in range(0, 60, 1)
    ]
    calls(sim, "2026-05-01T01:59:59+00:00", *inside, "2026-05-02T03:00:00+00:00")
    reply, rows = await records(platform, since="2026-05-01T02:00:00Z", until="2026-05-02T03:00:00Z")
    assert [row["source"] for row in rows.rows] == [str(at) for at in range(1, 1501)]
    assert isinstance(reply.outcome, Done)
    assert reply.outcome.output == {"seconds": 90000, "price": "1875.00000", "truncated": False}
    assert rows.parts == 4


async def test_a_limit_cuts_the_calls_off_and_says_so(start: Start) -> None:
    sim, platform = await start(assume={**WHOLE["assume"], "time_zone": "UTC"})
    calls(sim, "2026-05-02T10:00:00+00:00", "2026-05-02T11:00:00+00:00", "2026-05-03T00:00:00+00:00")
    for limit, truncated in ((1, True), (2, True), (3, False), (4, False)):
        reply, rows = await records(platform, limit=limit)
        assert len(rows.rows) == min(limit, 3)
        assert isinstance(reply.outcome, Done)
        assert reply.outcome.output["truncated"] is truncated


async def test_the_days_are_the_platforms_own(start: Start) -> None:
    _sim, platform = await start()
    step = only(
        platform,
        "call_records.list",
        ABOUT | {"since": "2026-05-01T00:00:00Z", "until": "2026-05-01T06:00:00Z", "kind": "completed"},
    )
    shown = await platform.preview(step)
    assert "date_ini=2026-04-30" in shown.url
    assert "time_ini=21%3A00%3A00" in shown.url


async def test_a_reading_of_calls_that_is_lost_half_way_says_so(start: Start) -> None:
    sim, platform = await start()
    sim.fail("cdr.list", "drop_after", skip=1, count=1)
    reply, _ = await records(platform)
    assert isinstance(reply.outcome, Unclear)


# One at a time -------------------------------------------------------------------------------------------


async def test_the_calls_at_once_follow_a_429_down_and_come_back_slowly(start: Start) -> None:
    sim, platform = await start({"switches": {"simultaneous": "one"}, "time": 0.01}, recovery=3600)
    read = only(platform, "voipmundo.listDevices.list", {"id": 1})

    async def ask(times: int) -> list[str]:
        replies = await asyncio.gather(*(platform.call(read, NO_GUARD) for _ in range(times)))
        return [type(reply.outcome).__name__ for reply in replies]

    assert "Busy" in await ask(8)
    pace = platform.client.pace
    assert isinstance(pace, OneAtATime)
    assert pace.places == 1
    assert set(await ask(6)) == {"Done"}, "one by one they all pass"
    sim.state.switches = sim.state.switches.changed({"simultaneous": "any"})
    pace._recovery, began = 0.1, time.monotonic()
    while pace.places < 3:
        await ask(1)
    assert time.monotonic() - began >= 0.1, "not two places in one go"


# Secrets -------------------------------------------------------------------------------------------------


async def test_the_pair_and_what_is_secret_in_answers_are_in_no_log_no_text_and_no_page(
    start: Start, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = "nao para {token} e {key} e {password}"
    sim, platform = await start({"texts": {"absent": echo, "missing": echo}})
    client = sim.state.clients[1]
    kept: list[Any] = [platform, platform.facts(), platform.settings]
    for kind in (None, "refuse", "garbage", "drop_after", "html500", "too_many"):
        for command, data, operation, _ in (*CHANGES, ("subscriber.get", ABOUT, "manageCustomers.get", None)):
            if kind:
                sim.fail(operation, kind, count=1, text=f"{echo} {client.token}")
            step = only(platform, command, data)
            kept += [step, await platform.preview(step), await platform.call(step, NO_GUARD)]
            sim.heal()
        if 1 not in sim.state.clients:
            sim.state.clients[1] = client
    for command in ("subscriber.get", "subscriber.block"):
        kept.append(await platform.call(only(platform, command, {"subscriber": {"id": 77}}), NO_GUARD))
    await sim.close()
    kept.append(await platform.call(only(platform, "subscriber.get", ABOUT), NO_GUARD))
    output = capfd.readouterr()
    places = {
        "the log": caplog.text.encode(),
        "the output": (output.out + output.err).encode(),
        "what is kept": repr(kept).encode(),
    }
    secrets = {"token": TOKEN, "key": KEY, "a line's password": "line-pw-1001"}
    secrets |= {"the client's key": client.key}
    assert leaks(secrets, places) == []
    assert "***" in repr(kept)
    assert sim.counts.operations["manageCustomers.get"].applied


@pytest.mark.parametrize("effect", list(Effect))
def test_no_operation_that_may_double_goes_over_a_used_connection(effect: Effect) -> None:
    """PUT creates here, and some HTTP libraries send a PUT again by themselves."""
    puts = [each for each in table("voipmundo").values() if each.method in ("PUT", "DELETE")]
    assert puts
    assert all(Effect(each.effect).needs_fresh_connection for each in puts)
