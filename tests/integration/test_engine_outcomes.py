"""Rules 2: what an answer, or the lack of one, means for a command."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from typing import Any

from tests.support.engine import DOMAIN, PATIENT, PLATFORM, Stand, any_journal, eventually, stand, templates
from worker.domain.outcome import Done
from worker.journal.port import PlatformState
from worker.simulators.sippulse import SimulatorConfig, serve

__all__ = ["stand", "templates"]


async def platform_state(stand: Stand) -> PlatformState | None:
    found = [state for state in await stand.journal.platforms() if state.name == PLATFORM]
    return found[0] if found else None


async def held(stand: Stand) -> str | None:
    state = await platform_state(stand)
    return state.held if state else None


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@any_journal
async def test_rule_2_1_what_was_not_sent_is_tried_again_until_the_platform_is_there(stand: Stand) -> None:
    port = free_port()
    elsewhere = await stand.platform(stand.sim, url=f"http://127.0.0.1:{port}/SipPulse")
    await stand.start_for([elsewhere])
    credit = await stand.send("credit.add", "ana", amount="10.00")
    block = await stand.send("calls.block", "bob")

    async def tried() -> bool:
        return all([(await stand.row(name))["attempts"] >= 2 for name in (credit, block)])

    await eventually(tried)
    for name in (credit, block):
        row = await stand.row(name)
        assert row["state"] in ("waiting", "running")
        assert row["effect"] == "none"
        assert "in_doubt" not in await stand.records(name), "nothing was sent, so nothing is in doubt"

    users = [{"username": user, "domain": DOMAIN, "balance": "100"} for user in ("ana", "bob")]
    sim = await serve(port, config=SimulatorConfig.from_values({"subscribers": users}))
    try:
        assert (await stand.ended(credit))["state"] == "succeeded"
        assert (await stand.ended(block))["state"] == "succeeded"
        assert [found.times for found in sim.platform.ledger.credits_by_obs.values()] == [1]
    finally:
        await stand.engine.stop(1)
        await sim.close()


@any_journal
async def test_rule_2_1_a_lost_answer_is_never_repeated_before_the_window_has_ended(stand: Stand) -> None:
    """Whatever way it was lost in: the next call that changes something comes a window later, or not at all."""
    ways = ("drop_before", "drop_after", "html500", "undeclared", "garbage", "drip")
    stand.seed(*ways)
    for way in ways:
        stand.sim.fail("addCredit", way, username=way, count=1, seconds=1.5)
    await stand.admit(*(stand.order("credit.add", way, id=way, amount="10.00") for way in ways))
    await stand.start(settle=1.0)
    assert await stand.all_ended() == {("succeeded", "applied"): len(ways)}
    for way in ways:
        calls = [s.at for s in stand.watched.asked("addCredit", user=way)]
        assert stand.credited(way) == 1, way
        assert len(calls) == 1 or calls[1] - calls[0] >= 1.0, way


async def test_rule_2_4_a_wrong_password_rejects_nothing_and_all_is_done_when_it_is_right_again(
    stand: Stand,
) -> None:
    users = [f"u{n}" for n in range(60)]
    stand.seed(*users)
    stand.sim.platform.password = "rotated"
    orders = [stand.order("calls.block", user) for user in users[:30]]
    orders += [stand.order("credit.add", user, amount="10.00") for user in users[30:]]
    await stand.admit(*orders)
    await stand.start(**PATIENT, hold_probe_first=0.2, hold_probe_most=0.4)

    await eventually(lambda: held(stand))
    assert await held(stand) == "credentials_refused"
    await eventually(lambda: stand.engine.running[PLATFORM] == 0)
    rows = await stand.journal.commands({}, 100)
    assert {(row["state"], row["attempts"], row["effect"]) for row in rows} == {("waiting", 0, "none")}
    begun = time.monotonic()
    since = len(stand.watched.seen)
    await eventually(lambda: time.monotonic() - begun > 1.0)
    tried = stand.watched.seen[since:]
    assert {s.operation for s in tried} == {"listDomains"}
    assert 1 <= len(tried) <= 5, "with a backoff, so that no account is locked out"

    stand.sim.platform.password = "admin"
    assert await stand.all_ended() == {("succeeded", "applied"): 60}
    assert not await held(stand)
    assert {row["attempts"] for row in await stand.journal.commands({}, 100)} == {1}


async def test_rule_2_4_a_held_platform_is_released_by_a_person_too(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.platform.password = "rotated"
    await stand.start(**PATIENT, hold_probe_first=60, hold_probe_most=60)
    block = await stand.send("calls.block", "ana")
    await eventually(lambda: held(stand))
    await eventually(lambda: len(stand.watched.asked("listDomains")) >= 2)
    stand.sim.platform.password = "admin"
    assert await stand.journal.release(PLATFORM, "op", "the password is right again")
    assert (await stand.ended(block))["state"] == "succeeded"


@any_journal
async def test_rule_2_4_a_platform_that_refuses_everything_is_held_as_ill(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("blockOutgoingCalls", "declared", text="database is read-only")
    stand.sim.fail("listDomains", "undeclared")
    await stand.start(**PATIENT)
    block = await stand.send("calls.block", "ana")
    await eventually(lambda: held(stand))
    assert await held(stand) == "platform_ill"
    assert (await stand.became(block, "waiting"))["attempts"] == 0
    stand.sim.heal()
    assert (await stand.ended(block))["state"] == "succeeded"


@any_journal
async def test_rule_2_4_a_refusal_by_a_platform_that_is_well_is_final(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("blockOutgoingCalls", "declared", text="the contract forbids it")
    await stand.start(**PATIENT)
    block = await stand.send("calls.block", "ana")
    row = await stand.ended(block)
    assert (row["state"], row["effect"], row["problem"]["code"]) == ("rejected", "none", "platform_refused")
    assert row["problem"]["platform_message"] == "the contract forbids it"
    refused = stand.watched.asked("blockOutgoingCalls")[0].at
    assert stand.watched.asked("listDomains", since=refused), "the control read began after the refusal"


@any_journal
async def test_rule_2_4_one_control_read_serves_all_refusals_that_wait_for_it(stand: Stand) -> None:
    users = [f"u{n}" for n in range(64)]
    stand.seed(*users)
    stand.sim.fail("blockSubscriber", "declared", text="no")
    stand.sim.fail("listDomains", "delay", seconds=0.3)
    await stand.admit(*(stand.order("subscriber.block", user) for user in users))
    await stand.start(**PATIENT, concurrency=64)
    assert await stand.all_ended() == {("rejected", "none"): 64}
    # The adapter asks whether it means "no such subscriber", the engine whether the platform is well.
    assert len(stand.watched.asked("listDomains")) <= 16


@any_journal
async def test_rule_2_4_the_settings_table_makes_a_text_final_without_a_control_read(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("blockSubscriber", "declared", text="Contract 17 is closed")
    await stand.start(**PATIENT, refusals={"contract .* is closed": "not_allowed"})
    block = await stand.send("subscriber.block", "ana")
    row = await stand.ended(block)
    assert (row["state"], row["problem"]["code"]) == ("rejected", "not_allowed")
    assert stand.watched.asked("listDomains") == []


@any_journal
async def test_rule_2_6_busy_is_tried_again_when_the_platform_said(stand: Stand) -> None:
    stand.seed("ana", "bob")
    stand.sim.fail("blockSubscriber", "busy", retry_after=2, count=1)
    stand.sim.fail("addCredit", "busy", retry_after=2, count=1)
    await stand.start(**PATIENT, retry_first=0.05)
    block = await stand.send("subscriber.block", "ana")
    credit = await stand.send("credit.add", "bob", amount="10.00")
    for name, operation in ((block, "blockSubscriber"), (credit, "addCredit")):
        assert (await stand.ended(name))["state"] == "succeeded"
        first, second = stand.watched.asked(operation)
        assert 2.0 <= second.at - first.at < 20.0
    assert stand.credited(credit) == 1


async def test_an_answer_that_cannot_be_stored_ends_its_command_and_no_other(stand: Stand) -> None:
    stand.seed("ana", "bob")
    platform, settings = await stand.platform(stand.sim, **PATIENT)
    call = platform.call

    async def with_half_a_character(step: Any, guard: Any) -> Any:
        reply = await call(step, guard)
        if step.params["username"] == "ana":
            return replace(reply, outcome=Done({"balance": "1\ud800", "note\x00": "\x00"}))
        return reply

    platform.call = with_half_a_character  # type: ignore[method-assign] # no server sends what XML forbids
    await stand.start_for([(platform, settings)])
    await stand.admit(stand.order("credit.get", "ana", id="a"), stand.order("credit.get", "bob", id="b"))
    assert (await stand.ended("b"))["state"] == "succeeded"
    assert (await stand.ended("a"))["state"] == "succeeded"
    assert len(stand.watched.asked("retrieveCredit", user="ana")) == 1
