"""What people pause and slow, seen at the platform: nothing new begins, what had begun is cleared up."""

from __future__ import annotations

import time

import pytest

from tests.support.engine import PATIENT, PLATFORM, Stand, eventually, stand, templates
from worker.engine.attempt import attempt
from worker.engine.lease import LeaseGuard
from worker.journal.port import Scope
from worker.platforms.transport import boottime

__all__ = ["stand", "templates"]

READ = "credit.get.v1"


@pytest.mark.parametrize(("scope", "name"), [("command", READ), ("source", "/crm"), ("batch", "b-1")])
async def test_nothing_of_what_is_paused_reaches_the_platform_until_it_goes_on(
    stand: Stand, scope: Scope, name: str
) -> None:
    stand.seed("ana", "bob")
    await stand.journal.stop(scope, name, "op", "they move")
    await stand.start(**PATIENT)
    held = await stand.send("credit.get", "ana", _batch_id="b-1")
    behind = await stand.send("calls.block", "ana")
    free = stand.order("calls.block", "bob")
    if scope == "command":
        await stand.admit(free)
        assert isinstance(free.item.envelope.id, str)  # type: ignore[union-attr] # a command
        await stand.ended(free.item.envelope.id)  # type: ignore[union-attr] # a command
    else:
        await eventually(lambda: set_aside(stand))
    assert not stand.watched.asked(user="ana"), "its line waits behind it"
    row = await stand.row(held)
    assert (row["state"], row["attempts"]) == ("waiting", 0)
    await stand.journal.go_on(scope, name, "op", "they moved")
    assert (await stand.ended(held))["state"] == "succeeded"
    assert (await stand.ended(behind))["state"] == "succeeded"
    first, *_ = stand.watched.asked(user="ana")
    assert first.operation == "retrieveCredit"


async def set_aside(stand: Stand) -> bool:
    async def work(tx: object) -> bool:
        return bool(await tx.rows("SELECT id FROM commands WHERE paused_for IS NOT NULL"))  # type: ignore[attr-defined] # a Tx

    return await stand.journal.run(work)


async def test_everything_begins_nothing_anywhere_while_intake_admits(stand: Stand) -> None:
    other, seen = await stand.simulator()
    other.platform.seed({"username": "bob", "domain": "pbx.example", "balance": "1"})
    stand.seed("ana")
    await stand.start_for(
        [await stand.platform(stand.sim, **PATIENT), await stand.platform(other, "two", **PATIENT)]
    )
    await stand.journal.stop("everything", "", "op", "the data centre moves")
    await eventually(lambda: all(line.state.halted for line in stand.engine.lines.values()))
    one = await stand.send("credit.get", "ana")
    two = await stand.send("credit.get", "bob", platform="two")
    since = time.monotonic()
    await eventually(lambda: time.monotonic() - since > 1.2)
    assert not stand.watched.asked()
    assert not seen.asked()
    await stand.journal.go_on("everything", "", "op", "it moved")
    assert (await stand.ended(one))["state"] == "succeeded"
    assert (await stand.ended(two))["state"] == "succeeded"


async def test_a_lost_answer_of_a_paused_command_is_read_and_its_call_is_not_made_again(stand: Stand) -> None:
    stand.seed("ana", "bob")
    await stand.start(settle=1.0, retry_most=0.2)
    stand.sim.fail("addCredit", "drop_after", count=1)
    applied = await stand.send("credit.add", "ana", amount="5.00")
    await stand.became(applied, "in_doubt")
    await stand.journal.stop("command", "credit.add.v1", "op", "a wrong price list")
    assert (await stand.ended(applied))["state"] == "succeeded"
    assert stand.credited(applied) == 1

    await stand.journal.go_on("command", "credit.add.v1", "op", "right again")
    stand.sim.fail("addCredit", "drop_before", count=1)
    lost = await stand.send("credit.add", "bob", amount="5.00")
    await stand.became(lost, "in_doubt")
    await stand.journal.stop("command", "credit.add.v1", "op", "again")
    await eventually(lambda: set_aside(stand), what="read to its end, and set aside")
    assert len(stand.watched.asked("addCredit", user="bob")) == 1
    await stand.journal.go_on("command", "credit.add.v1", "op", "right again")
    assert (await stand.ended(lost))["state"] == "succeeded"
    assert stand.credited(lost) == 1


async def test_rule_7_1_time_with_the_command_paused_does_not_count(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("retrieveCredit", "undeclared")
    await stand.start(**PATIENT, retry_for=0.8)
    read = await stand.send("credit.get", "ana")
    await eventually(lambda: stand.watched.asked("retrieveCredit"))
    await stand.journal.stop("command", READ, "op", "it fails")
    await eventually(lambda: set_aside(stand))
    paused = time.monotonic()
    await eventually(lambda: time.monotonic() - paused > 1.5)
    assert (await stand.row(read))["state"] == "waiting"
    calls = len(stand.watched.asked("retrieveCredit"))
    await stand.journal.go_on("command", READ, "op", "mended")
    await stand.became(read, "parked")
    assert len(stand.watched.asked("retrieveCredit")) > calls, "it had time left"


async def test_a_claim_that_waits_for_its_turn_is_given_back_when_its_command_is_paused(stand: Stand) -> None:
    stand.seed("ana")
    await stand.start(**PATIENT)
    line = stand.engine.lines[PLATFORM]
    await stand.engine.stop(0.2)
    line.stopping = False
    await stand.send("calls.block", "ana")
    [claim] = await stand.journal.claim(PLATFORM, "us", 1, 30.0)
    line.guards[claim.id, claim.fence] = LeaseGuard(boottime() + 30.0)
    await stand.journal.stop("source", "/crm", "op", "why")
    line.learn((await stand.journal.heartbeat("us", [PLATFORM]))[PLATFORM])
    went = await attempt(claim, line)
    assert went is not None
    assert went.outcome == "paused"
    assert not stand.watched.writes("ana")


async def test_rule_7_3_a_lowered_rate_takes_hold_at_once_and_leaves_no_lease_behind(stand: Stand) -> None:
    users = [f"u{n}" for n in range(12)]
    stand.seed(*users)
    await stand.start(timeout=1.0, lease_margin=0.5, rate=4, concurrency=16)
    line = stand.engine.lines[PLATFORM]
    await stand.journal.lower(PLATFORM, 0.5, "op", "it is slow")
    await eventually(lambda: line.rate == 0.5)
    await stand.admit(*(stand.order("credit.get", user) for user in users))
    began = time.monotonic()
    await eventually(lambda: time.monotonic() - began > 3.5)
    assert len(stand.watched.asked("retrieveCredit")) <= 4
    await stand.journal.restore(PLATFORM, "op", "it is well")
    assert await stand.all_ended() == {("succeeded", "none"): 12}
    rows = await stand.journal.commands({}, 20)
    assert {row["attempts"] for row in rows} == {1}, "who waited for a turn kept its claim"


async def test_rule_1_nothing_goes_out_after_its_expiry_however_far_its_turn_was(stand: Stand) -> None:
    stand.seed("ana", "ben")
    await stand.start(**PATIENT, rate=20)
    line = stand.engine.lines[PLATFORM]
    await stand.journal.lower(PLATFORM, 0.3, "op", "it is slow")
    await eventually(lambda: line.rate == 0.3)
    first = await stand.send("credit.get", "ben")
    await stand.ended(first)  # the next turn is seconds away
    late = await stand.send("calls.block", "ana", _expires_at=time.time() + 1.0)
    assert (await stand.ended(late))["state"] == "expired"
    assert not stand.watched.writes("ana")


async def test_rule_7_3_a_rate_is_never_raised_above_the_settings(stand: Stand) -> None:
    await stand.start(**PATIENT, rate=20)
    await stand.journal.lower(PLATFORM, 500.0, "op", "more")
    line = stand.engine.lines[PLATFORM]
    await eventually(lambda: line.state.lowered_rate == 500.0)
    assert line.rate == 20
