"""What every platform has to do, for each effect that it has (rules 2 to 4, P2, P7)."""

from __future__ import annotations

import asyncio
import json
import logging
from itertools import pairwise

import pytest

from tests.conformance.platforms.bench import NAME, SETTLE, Bench
from tests.conformance.platforms.subject import SECRET
from tests.support.engine import FINAL, PATIENT, eventually
from tests.support.leaks import leaks
from worker.domain.outcome import Done, Unclear
from worker.messages.catalogue import PORTABLE, natives
from worker.messages.errors import Code, Problem
from worker.platforms.port import Order
from worker.platforms.transport import NO_GUARD
from worker.sandbox.ports import free_port

TEXT = "this account is closed to us"


async def test_the_suite_goes_through_each_effect_that_the_platform_has(bench: Bench) -> None:
    offered = {spec.effect for spec in natives(bench.subject.kind).values()}
    assert {act.effect for act in bench.subject.acts()} == offered


async def test_a_command_takes_effect_once(bench: Bench) -> None:
    sim = await bench.serve()
    await bench.run(**PATIENT)
    acts = bench.subject.acts()
    sent = await bench.all_of(bench.prepare(*acts))
    await bench.succeeded(sent)
    for act in acts:
        if act.changes:
            assert sim.counts.operations[act.operation].received == 1, act.name


async def test_a_refusal_is_final_once_a_control_read_says_that_the_platform_is_well(bench: Bench) -> None:
    sim = await bench.serve()
    acts = bench.subject.acts()
    prepared = bench.prepare(*acts)
    for act in acts:
        bench.subject.refuse(sim, act.operation, TEXT)
    await bench.run(**PATIENT)
    sent = await bench.all_of(prepared)
    for one, row in zip(sent, await bench.outcomes(sent, *FINAL, "parked"), strict=True):
        assert (row["state"], row["effect"]) == ("rejected", "none"), (one.act.name, row["problem"])
        assert row["problem"]["code"] == "platform_refused", one.act.name
        assert TEXT in row["problem"]["platform_message"], one.act.name
    bench.nothing_applied(sent)
    assert bench.watch.of(bench.subject.control)


async def test_a_refusal_that_the_settings_know_means_what_they_say(bench: Bench) -> None:
    sim = await bench.serve()
    acts = [act for act in bench.subject.acts() if act.changes]
    prepared = bench.prepare(*acts)
    for act in acts:
        bench.subject.refuse(sim, act.operation, TEXT)
    await bench.run(**PATIENT, refusals={"closed to us": "not_allowed"})
    sent = await bench.all_of(prepared)
    for one, row in zip(sent, await bench.outcomes(sent), strict=True):
        assert row["problem"]["code"] == "not_allowed", one.act.name
    bench.nothing_applied(sent)


async def test_a_busy_platform_is_left_alone_for_as_long_as_it_asks(bench: Bench) -> None:
    sim = await bench.serve()
    acts = bench.subject.acts()
    prepared = bench.prepare(*acts)
    for act in acts:
        sim.fail(act.operation, "busy", count=1, retry_after=1)
    await bench.run(**PATIENT)
    await bench.succeeded(await bench.all_of(prepared))
    for act in acts:
        calls = bench.watch.of(act.operation)
        assert len(calls) >= 2, act.name
        if act.changes:
            assert calls[1].at - calls[0].at >= 1.0, act.name


async def test_what_was_not_sent_is_tried_until_it_can_be(bench: Bench) -> None:
    port = free_port()
    sim = await bench.subject.serve(0)  # for what the commands need, and for the address alone
    acts = bench.subject.acts()
    url = sim.url.replace(sim.origin, f"http://127.0.0.1:{port}")
    await sim.close()
    await bench.run(url, **PATIENT)
    sent = await bench.all_of([(act, act.make(sim, 1)) for act in acts])
    for one in sent:
        await eventually(lambda one=one: _waits(bench, one.id), what=f"{one.act.name} is tried")
    await bench.serve(port)
    bench.prepare(*acts)
    await bench.succeeded(sent)
    for act in acts:
        if act.changes:
            assert len(bench.watch.of(act.operation)) == 1, act.name


async def _waits(bench: Bench, name: str) -> bool:
    row = await bench.row(name)
    assert row["state"] in ("waiting", "running"), row
    return (row["problem"] or {}).get("code") == "platform_unreachable"


async def test_an_answer_that_is_lost_after_the_effect_does_no_harm(bench: Bench) -> None:
    sim = await bench.serve()
    acts = bench.subject.acts()
    prepared = bench.prepare(*acts)
    for act in acts:
        sim.fail(act.operation, "drop_after", count=1)
    await bench.run(**PATIENT, settle=SETTLE)
    sent = await bench.all_of(prepared)
    await settled(bench, sent)
    for one in sent:
        bench.applied(one)


async def test_an_effect_that_comes_late_is_not_repeated(bench: Bench) -> None:
    sim = await bench.serve()
    acts = [act for act in bench.subject.acts() if act.changes]
    prepared = bench.prepare(*acts)
    for act in acts:
        sim.fail(act.operation, "late", count=1, seconds=SETTLE / 2, connection="drop")
    await bench.run(**PATIENT, settle=SETTLE)
    sent = await bench.all_of(prepared)
    await settled(bench, sent)
    for one in sent:
        bench.applied(one)
        if not one.act.repeated:
            assert len(bench.watch.of(one.act.operation)) == 1, one.act.name


async def test_a_call_that_was_lost_on_its_way_is_repeated_once_its_window_has_ended(bench: Bench) -> None:
    sim = await bench.serve()
    acts = bench.subject.acts()
    prepared = bench.prepare(*acts)
    for act in acts:
        sim.fail(act.operation, "drop_before", count=1)
    await bench.run(**PATIENT, settle=SETTLE)
    sent = await bench.all_of(prepared)
    await settled(bench, sent)
    for one in sent:
        calls = bench.watch.of(one.act.operation)
        if one.act.changes and (one.act.readable or one.act.repeated):
            bench.applied(one)
            assert len(calls) == 2, one.act.name
            assert all(later.at - former.at >= SETTLE for former, later in pairwise(calls)), one.act.name


async def settled(bench: Bench, sent: list) -> None:
    """Each has succeeded; where nothing shows the effect, a person is asked instead."""
    for one, row in zip(sent, await bench.outcomes(sent, *FINAL, "parked"), strict=True):
        told = (one.act.name, row["state"], row["problem"])
        if one.act.readable or one.act.repeated:
            assert row["state"] == "succeeded", told
        else:
            assert (row["state"], row["effect"]) == ("parked", "unknown"), told


async def test_a_refused_login_holds_everything_and_costs_no_attempt(bench: Bench) -> None:
    sim = await bench.serve()
    acts = bench.subject.acts()
    prepared = bench.prepare(*acts)
    undo = bench.subject.lock_out(sim)
    await bench.run(**PATIENT)
    sent = await bench.all_of(prepared)
    await eventually(lambda: held(bench), what="the platform is held")
    for one in sent:
        row = await bench.became(one.id, "waiting")
        assert row["attempts"] == 0, (one.act.name, row)
    bench.nothing_applied(sent)
    undo()
    await bench.succeeded(sent)


async def held(bench: Bench) -> bool:
    return any(each.held == Code.CREDENTIALS_REFUSED for each in await bench.journal.platforms())


async def test_the_control_read_can_be_another_one(bench: Bench) -> None:
    sim = await bench.serve()
    [act] = [act for act in bench.subject.acts() if act.effect == "set"]
    prepared = bench.prepare(act)
    bench.subject.refuse(sim, act.operation, TEXT)
    await bench.run(**PATIENT, control_read=bench.subject.control_read)
    [row] = await bench.outcomes(await bench.all_of(prepared))
    assert row["problem"]["code"] == "platform_refused"
    assert bench.watch.of(bench.subject.other_control)
    assert not bench.watch.of(bench.subject.control)


async def test_a_control_read_that_does_not_exist_stops_the_start_with_a_sentence(bench: Bench) -> None:
    await bench.serve()
    with pytest.raises(ValueError, match=NAME):
        await bench.made(control_read="nothing.of.the.kind")


async def test_one_call_is_one_request_on_new_connections_and_on_used_ones(bench: Bench) -> None:
    sim = await bench.serve()
    platform, _ = await bench.made(**PATIENT)
    for act in bench.subject.acts():
        step = bench.step(platform, act, act.make(sim, 1))
        assert isinstance((await platform.control()), Done)  # leaves a connection behind
        before = len(bench.watch.of(act.operation))
        sim.fail(act.operation, "drop_after", count=1)
        reply = await platform.call(step, NO_GUARD)
        assert isinstance(reply.outcome, Unclear), (act.name, reply.outcome)
        assert len(bench.watch.of(act.operation)) == before + 1, act.name


async def test_a_call_that_is_cancelled_went_out_once_and_blocks_no_other(bench: Bench) -> None:
    sim = await bench.serve()
    platform, settings = await bench.made(**PATIENT)
    acts = [act for act in bench.subject.acts() if act.changes]
    for act in acts:
        sim.fail(act.operation, "late", seconds=0.0)
    steps = [
        (act, bench.step(platform, act, act.make(sim, number)))
        for act in acts
        for number in range(1, settings.concurrency // len(acts) + 2)
    ]
    calls = [asyncio.create_task(platform.call(step, NO_GUARD)) for _, step in steps]
    for act in acts:
        await bench.until_received(act.operation, sum(one is act for one, _ in steps))
    for call in calls:
        call.cancel()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends)
    sim.heal()
    assert (
        await asyncio.gather(*(platform.control() for _ in range(settings.concurrency)))
        == [Done()] * settings.concurrency
    )
    for act in acts:
        assert len(bench.watch.of(act.operation)) == sum(one is act for one, _ in steps), act.name


async def test_two_hundred_commands_at_once_each_take_effect_once(bench: Bench) -> None:
    sim = await bench.serve()
    [act] = [act for act in bench.subject.acts() if act.effect == "set"]
    prepared = bench.prepare(act, each=200)
    sim.fail(act.operation, "delay", seconds=0.05)
    await bench.run(timeout=20.0, concurrency=8)
    sent = await bench.all_of(prepared)
    assert await bench.all_ended() == {("succeeded", "applied"): 200}
    assert [act.count(sim, one.data) for one in sent] == [1] * 200
    assert 1 < bench.watch.most_inside <= 8


async def test_secrets_are_in_nothing_that_is_left_behind(
    bench: Bench, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Though the platform says them in its refusals: what was sent, and what the worker signs in with."""
    caplog.set_level(logging.DEBUG)
    sim = await bench.serve()
    acts = [act for act in bench.subject.acts() if act.changes]
    prepared = bench.prepare(*acts)
    for act, data in prepared:
        own = [SECRET] if SECRET in json.dumps(data) else []
        bench.subject.refuse(sim, act.operation, f"not for {' or '.join((*own, *bench.subject.login))}")
    await bench.run(**PATIENT)
    sent = await bench.all_of(prepared)
    rows = await bench.outcomes(sent)
    assert all("***" in row["problem"]["platform_message"] for row in rows), [row["problem"] for row in rows]
    sim.heal()
    sent += await bench.all_of([(act, act.make(sim, 2)) for act in acts])
    await bench.outcomes(sent)
    platform, settings = await bench.made()
    output = capfd.readouterr()
    shown = [platform, settings, platform.facts(), [await bench.shown(one.id) for one in sent]]
    places = {
        "the log": caplog.text.encode(),
        "the output": (output.out + output.err).encode(),
        "what can be shown": repr(shown).encode(),
        "the events": repr([await bench.events(one.id) for one in sent]).encode(),
        **bench.left_behind(),
    }
    secrets = {"a command's": SECRET, **{f"login {at}": one for at, one in enumerate(bench.subject.login)}}
    assert leaks(secrets, places) == []


async def test_rule_7_5_what_is_denied_is_not_asked_for(bench: Bench) -> None:
    sim = await bench.serve()
    acts = bench.subject.acts()
    await bench.run(**PATIENT, deny=["*"])
    sent = await bench.all_of(bench.prepare(*acts))
    rows = await bench.outcomes(sent)
    assert {row["problem"]["code"] for row in rows} == {"not_allowed"}
    assert not bench.watch.seen
    assert not sum(each.received for each in sim.counts.operations.values())


async def test_what_a_platform_does_not_offer_it_says_before_anything_is_sent(bench: Bench) -> None:
    await bench.serve()
    platform, _ = await bench.made()
    offered = [type_ for type_, spec in PORTABLE.items() if bench.subject.kind in spec.kinds]
    others = [type_ for type_, spec in PORTABLE.items() if not spec.at_intake and type_ not in offered]
    for type_ in (*others, "something.else.v1"):
        plan = platform.plan(Order("order", type_, {"platform": NAME}))
        assert isinstance(plan, Problem), type_
        assert plan.code is Code.UNSUPPORTED, type_
    assert not bench.watch.seen


async def test_planning_twice_gives_the_same_steps_and_none_shows_a_secret(bench: Bench) -> None:
    sim = await bench.serve()
    platform, _ = await bench.made()
    for act in bench.subject.acts():
        data = act.make(sim, 1)
        step = bench.step(platform, act, data)
        assert step == bench.step(platform, act, data), act.name
        assert step.effect == act.effect, act.name
        if act.changes:
            assert step.readable == act.readable, act.name
        assert SECRET not in repr(step), act.name
    assert not bench.watch.seen
