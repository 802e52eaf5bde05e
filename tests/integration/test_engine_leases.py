"""Rules 5: a process that freezes or dies in the middle of a command neither doubles nor loses it."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from tests.support.engine import PLATFORM, Stand, any_journal, eventually, stand, templates
from worker.domain.decide import Finish
from worker.domain.effect import Effect
from worker.engine.engine import Engine
from worker.engine.settle import settlement
from worker.engine.went import Went
from worker.journal.opening import open_journal
from worker.journal.port import Claim, EvidenceRow, JournalDown
from worker.platforms.port import Guard, Reply, Step
from worker.telemetry import Telemetry

__all__ = ["stand", "templates"]

SHORT: dict[str, Any] = {"timeout": 0.8, "lease_margin": 0.7, "settle": 0.8}
LEASE = 1.5


class Elsewhere:
    """Another process: an engine in a thread of its own, which stands still when it is told to."""

    def __init__(self, stand: Stand, frozen_before_call: float = 0.0) -> None:
        self._stand = stand
        self._frozen_before_call = frozen_before_call
        self._ready = threading.Event()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.loop: asyncio.AbstractEventLoop
        self.engine: Engine

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        journal = await open_journal(self._stand.url, self._stand.core)
        platform, settings = await self._stand.platform(self._stand.sim, **SHORT)
        call = platform.call

        async def slow(step: Step, guard: Guard) -> Reply:
            seconds, self._frozen_before_call = self._frozen_before_call, 0.0
            time.sleep(seconds)  # noqa: ASYNC251 - nothing of this process moves meanwhile
            return await call(step, guard)

        platform.call = slow  # type: ignore[method-assign] # a freeze between the "sent" mark and the first byte
        self.engine = Engine([(platform, settings)], journal, Telemetry(), poll=0.1)
        await self.engine.start()
        self._ready.set()
        await self._end.wait()
        await self.engine.stop(1)
        await journal.close()

    async def __aenter__(self) -> Elsewhere:
        self._thread.start()
        await asyncio.to_thread(self._ready.wait)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._end.set)
        await asyncio.to_thread(self._thread.join)

    def freeze(self, seconds: float) -> None:
        self.loop.call_soon_threadsafe(time.sleep, seconds)

    async def settled(self) -> None:
        """It has come to an end with all that it had claimed."""
        await eventually(lambda: self.engine.running[PLATFORM] == 0)


async def counts(stand: Stand) -> dict[str, int]:
    async def work(tx: Any) -> dict[str, int]:
        tables = ("attempts", "evidence", "outbox", "audit")
        found = {name: await tx.rows(f"SELECT count(*) AS n FROM {name}") for name in tables}
        return {name: rows[0]["n"] for name, rows in found.items()}

    return await stand.journal.run(work)


# A SQLite journal serves one process; see the next test but one for its freeze.
two_processes = pytest.mark.parametrize("stand", ["postgres"], indirect=True)


@two_processes
async def test_rule_5_4_a_process_that_wakes_after_its_lease_writes_nothing(stand: Stand) -> None:
    stand.seed("ana")
    stand.sim.fail("addCredit", "delay", seconds=0.3, count=1)
    async with Elsewhere(stand) as other:
        credit = await stand.send("credit.add", "ana", amount="10.00")
        await eventually(lambda: stand.watched.asked("addCredit"))
        other.freeze(6.0)
        thawed = time.monotonic() + 6.0
        await stand.start(**SHORT)
        assert (await stand.ended(credit))["state"] == "succeeded"
        assert time.monotonic() < thawed, "it was rescued while the other stood still"
        before = await counts(stand)
        await eventually(lambda: time.monotonic() > thawed)
        await other.settled()
        assert await counts(stand) == before
    assert stand.credited(credit) == 1
    assert (await stand.result(credit))["effect"] == "applied"
    assert "rescued" in await stand.records(credit)


@two_processes
async def test_rule_5_2_a_process_that_froze_before_the_first_byte_does_not_send_it(stand: Stand) -> None:
    stand.seed("ana")
    async with Elsewhere(stand, frozen_before_call=5.0) as other:
        credit = await stand.send("credit.add", "ana", amount="10.00")
        await eventually(lambda: stand.watched.asked("retrieveCredit"))
        await stand.start(**SHORT)
        assert (await stand.ended(credit))["state"] == "succeeded"
        await other.settled()
    assert len(stand.watched.asked("addCredit")) == 1, "only by the one that rescued it"
    assert stand.credited(credit) == 1


class Asleep:
    """A guard whose process freezes before its last look at the lease, or after it."""

    def __init__(self, guard: Guard, before: float = 0.0, after: float = 0.0) -> None:
        self._guard, self._before, self._after = guard, before, after

    def before_first_byte(self) -> None:
        time.sleep(self._before)
        self._guard.before_first_byte()
        time.sleep(self._after)

    def wrote(self) -> None:
        self._guard.wrote()


@any_journal
async def test_rule_5_2_a_lease_that_ended_before_the_first_byte_is_noticed_by_who_held_it(
    stand: Stand,
) -> None:
    stand.seed("ana")
    platform, settings = await stand.platform(stand.sim, **SHORT)
    call = platform.call
    naps = [LEASE + 0.5]

    async def late(step: Step, guard: Guard) -> Reply:
        return await call(step, Asleep(guard, before=naps.pop()) if naps else guard)

    platform.call = late  # type: ignore[method-assign] # see Asleep
    await stand.start_for([(platform, settings)])
    credit = await stand.send("credit.add", "ana", amount="10.00")
    assert (await stand.ended(credit))["state"] == "succeeded"
    assert len(stand.watched.asked("addCredit")) == 1
    assert "sent_after_lease" not in await stand.records(credit)


async def test_rule_5_2_what_was_sent_after_the_lease_is_said_so(stand: Stand) -> None:
    """P2's second exception: nobody can look at a lease and write a byte in one instant."""
    stand.seed("ana")
    platform, settings = await stand.platform(stand.sim, **SHORT)
    call = platform.call
    naps = [LEASE + 0.5]

    async def late(step: Step, guard: Guard) -> Reply:
        return await call(step, Asleep(guard, after=naps.pop()) if naps else guard)

    platform.call = late  # type: ignore[method-assign] # see Asleep
    await stand.start_for([(platform, settings)])
    credit = await stand.send("credit.add", "ana", amount="10.00")
    assert (await stand.ended(credit))["state"] == "succeeded"

    async def said() -> bool:
        return "sent_after_lease" in await stand.records(credit)

    await eventually(said)
    assert (await stand.result(credit))["flags"] == ["sent_after_lease"]
    assert stand.engine.lines[PLATFORM].guards == {}


@pytest.mark.parametrize("committed", [True, False])
async def test_rule_5_1_an_uncertain_sent_commit_means_no_call(stand: Stand, committed: bool) -> None:
    stand.seed("ana")
    mark_one = stand.journal.mark_one
    asked: list[float] = []

    async def uncertain(claim: Claim, evidence: EvidenceRow | None) -> bool:
        asked.append(time.monotonic())
        if len(asked) > 1:
            return await mark_one(claim, evidence)
        if committed:
            await mark_one(claim, evidence)
        raise JournalDown("the connection was lost during the commit")

    stand.journal.mark_one = uncertain  # type: ignore[method-assign] # a connection lost at that instant
    await stand.start(timeout=5.0)
    credit = await stand.send("credit.add", "ana", amount="10.00")
    row = await stand.ended(credit)
    assert (row["state"], row["attempts"]) == ("succeeded", 1)
    [call] = stand.watched.asked("addCredit")
    assert call.at > asked[1]
    assert stand.credited(credit) == 1


async def dies(stand: Stand, name: str, *, sent: bool) -> None:
    """A process claims the command, marks it as sent or not, and is never heard of again."""

    async def claimed() -> list[Claim]:
        return await stand.journal.claim(PLATFORM, "dead", 1, 2.0)

    platform, _ = await stand.platform(stand.sim)  # before the claim: it takes a good part of a lease
    [claim] = await eventually(claimed)
    assert claim.message_id == name
    if sent:
        before = await platform.look(_credit_step(platform, claim), None)
        assert await stand.journal.mark_one(claim, EvidenceRow("addCredit", 1, "before", before))  # type: ignore[arg-type] # it is a reading


def _credit_step(platform: Any, claim: Claim) -> Step:
    from worker.platforms.port import Order

    [step] = platform.plan(Order(claim.message_id, claim.view.type, claim.data or {}))
    return step  # type: ignore[no-any-return] # planned, not refused


async def test_rule_5_3_a_command_whose_call_was_not_begun_is_simply_done_by_another(stand: Stand) -> None:
    stand.seed("ana")
    credit = await stand.send("credit.add", "ana", amount="10.00")
    await dies(stand, credit, sent=False)
    await stand.start(timeout=5.0, settle=60.0)
    assert (await stand.ended(credit))["state"] == "succeeded"
    assert "in_doubt" not in await stand.records(credit)
    assert stand.credited(credit) == 1


async def test_rule_5_3_a_command_whose_call_may_have_begun_is_in_doubt(stand: Stand) -> None:
    stand.seed("ana", "bob")
    credit = await stand.send("credit.add", "ana", amount="10.00")
    await dies(stand, credit, sent=True)
    block = await stand.send("calls.block", "bob")
    await dies(stand, block, sent=False)  # for a set the claim is its "sent"
    died = time.monotonic()
    await stand.start(settle=1.0)
    for name in (credit, block):
        assert (await stand.ended(name))["state"] == "succeeded"
    assert stand.credited(credit) == 1
    for operation in ("addCredit", "blockOutgoingCalls"):
        [call] = stand.watched.asked(operation)
        assert call.at - died >= 1.0, "not before a window after the lease's end"


async def die(stand: Stand, name: str) -> None:
    """As if a process had died as soon as it had claimed it."""

    async def claimed() -> bool:
        return [c.message_id for c in await stand.journal.claim(PLATFORM, "dead", 1, 0.01)] == [name]

    await eventually(claimed)
    await eventually(stand.journal.rescue)


@any_journal
async def test_rule_5_3_who_dies_over_a_first_step_that_only_reads_leaves_no_doubt(stand: Stand) -> None:
    number = {"number": "551130001000"}
    stand.seed("ana")
    stand.sim.platform.numbers = [number["number"]]
    engine = await stand.start(settle=600.0, timeout=5.0)
    given = await stand.send("number.assign", "ana", **number)
    assert (await stand.ended(given))["state"] == "succeeded"
    await engine.stop(1.0)
    release = await stand.send("number.release", "ana", **number)
    await die(stand, release)
    row = await stand.row(release)
    assert (row["state"], row["effect"]) == ("waiting", "none")
    await stand.start(settle=600.0, timeout=5.0)
    assert (await stand.ended(release))["state"] == "succeeded", "nothing held its key"
    assert len(stand.watched.asked("deleteDid")) == 1


@any_journal
async def test_rule_5_3_who_dies_over_the_second_step_that_changes_leaves_a_doubt(stand: Stand) -> None:
    release = await stand.send("number.release", "ana", number="551130001000")
    [claim] = await stand.journal.claim(PLATFORM, "w", 1, 60.0)
    went = Went(
        Finish({"platform_id": "7"}), step("listByAcc", Effect.READ), (step("deleteDid", Effect.DELETE),)
    )
    assert await stand.journal.settle([settlement(claim, went, 0.0)]) == [True]
    await die(stand, release)
    assert [s["name"] for s in (await stand.shown(release))["steps"]] == ["listByAcc"]
    assert (await stand.row(release))["state"] == "in_doubt"


def step(name: str, effect: Effect) -> Step:
    return Step(name, f"DidWS.{name}", effect, {})


@any_journal
async def test_a_command_over_which_the_worker_stumbles_is_tried_again_and_not_lost(stand: Stand) -> None:
    stand.seed("ana", "bob")
    platform, settings = await stand.platform(stand.sim)
    call = platform.call
    stumbles = [1, 1]

    async def stumbling(step: Step, guard: Guard) -> Reply:
        if stumbles and step.params["username"] == "ana":
            stumbles.pop()
            reply = await call(step, guard) if not stumbles else None
            raise RuntimeError("a mistake of ours" if reply else "before the call")
        return await call(step, guard)

    platform.call = stumbling  # type: ignore[method-assign] # a bug that we do not have yet
    await stand.start_for([(platform, settings)])
    credit = await stand.send("credit.add", "ana", amount="10.00")
    other = await stand.send("credit.add", "bob", amount="10.00")
    assert (await stand.ended(other))["state"] == "succeeded"
    assert (await stand.ended(credit))["state"] == "succeeded"
    assert stand.credited(credit) == 1
