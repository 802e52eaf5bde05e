"""Run the worker, and have its process die at one boundary between two durable steps.

    python -m tests.faults.points.launch PLAN.json --config worker.toml run --roles intake,engine,relay

What follows the plan are the worker's own words. The dying is put into the worker's code from here, in the
worker's own process; no setting of the product does it. A plan says at which point, and which commands have to
be there at that moment: each that arrives waits for the others, then SIGKILL takes them all together. So one
death serves commands of every effect, and each of them was really there.

The report is JSON lines: {"at": id} for each arrival, and {"died": point, "pid": ..., "commands": [...]} as
the last words.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker.broker.intake import Intake
from worker.broker.publisher import Publisher
from worker.broker.session import Held, Session
from worker.broker.topology import COMMANDS
from worker.cli import main as worker
from worker.domain.decide import Finish
from worker.domain.effect import Effect
from worker.domain.lifecycle import State
from worker.engine.line import Line
from worker.engine.runner import Runner
from worker.journal import relaying
from worker.journal.commands.admission import Desk
from worker.journal.journal import StoredJournal
from worker.journal.port import Claim, Settlement
from worker.platforms.port import Step
from worker.platforms.sippulse.adapter import SippulsePlatform
from worker.platforms.sippulse.native_calls import NativeCalls
from worker.platforms.transport.values import NO_GUARD
from worker.platforms.transport.wire import GatedRequest

Original = Callable[..., Awaitable[Any]]

CLAIM: ContextVar[Claim] = ContextVar("points.claim")  # on the command that this task works on
STEP: ContextVar[Step] = ContextVar("points.step")  # the step that is being called


@dataclass(slots=True)
class Death:
    """`commands`: ids that have to be at the point; `fresh`: those of them that end in this life; `steps`: over
    which of its steps each dies, where that is not the first."""

    point: str
    commands: frozenset[str]
    fresh: frozenset[str]
    report: Path
    steps: dict[str, int] = field(default_factory=dict)
    present: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    all_settled: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def planned(cls, file: Path) -> Death:
        plan = json.loads(file.read_text())
        commands = frozenset(plan["commands"])
        fresh = frozenset(plan.get("fresh", commands))
        return cls(plan["point"], commands, fresh, Path(plan["report"]), plan.get("steps", {}))

    def say(self, **words: Any) -> None:
        """In one write, so that no death can halve it. (The machine lives on: no sync is needed.)"""
        with self.report.open("ab", buffering=0) as report:
            report.write(json.dumps(words).encode() + b"\n")

    def die(self, commands: Iterable[str]) -> None:
        self.say(died=self.point, pid=os.getpid(), commands=sorted(commands))
        os.kill(os.getpid(), signal.SIGKILL)

    def die_with(self, commands: Iterable[str]) -> None:
        """Where many are at the point at once: now, if these are all."""
        if self.commands <= (there := set(commands)):
            self.die(there)

    async def arrive(self, claim: Claim) -> None:
        """Where each comes in a task of its own: wait for the others. Who is cancelled has left again."""
        command = claim.message_id
        if command not in self.commands or len(claim.steps) != self.steps.get(command, 0):
            return
        self.present.add(command)
        self.say(at=command)
        if self.commands <= self.present:
            self.die(self.present)
        try:
            await asyncio.Event().wait()
        finally:
            self.present.discard(command)


def around(owner: Any, name: str) -> Callable[[Callable[..., Awaitable[Any]]], None]:
    """Put a function around a method: it gets the original first, then the arguments."""

    def patch(wrapper: Callable[..., Awaitable[Any]]) -> None:
        original: Original = getattr(owner, name)

        @functools.wraps(original)
        async def patched(*args: Any, **kwargs: Any) -> Any:
            return await wrapper(original, *args, **kwargs)

        setattr(owner, name, patched)

    return patch


# ---------------------------------------------------------------- intake


def deliver_together(death: Death) -> None:
    """All commands of the plan are taken as one batch: RabbitMQ may deliver them in several portions."""

    @around(Session, "arrived")
    async def arrived(original: Original, session: Session) -> list[Held]:
        while True:
            held: list[Held] = await original(session)
            if session.queue != COMMANDS or not held or death.commands <= {id_of(one) for one in held}:
                return held


def id_of(one: Held) -> str:
    return str(json.loads(one.delivery.body)["id"])


def received(death: Death) -> None:
    """Delivered, and nothing of it is written."""
    deliver_together(death)

    @around(Intake, "take")
    async def take(original: Original, intake: Intake, held: Sequence[Held], ack: Any) -> None:
        death.die_with(id_of(one) for one in held)
        await original(intake, held, ack)


def admitting(death: Death) -> None:
    """All rows of the admission are written, its commit is not."""
    deliver_together(death)

    @around(Desk, "admit")
    async def admit(original: Original, desk: Desk, arrivals: Sequence[Any]) -> Any:
        answers = await original(desk, arrivals)
        death.die_with(one.item.envelope.id for one in arrivals)
        return answers


def admitted(death: Death) -> None:
    """The admission is committed, RabbitMQ has no acknowledgement."""
    deliver_together(death)

    @around(Session, "ack")
    async def ack(original: Original, session: Session, upto: Held) -> None:
        death.die_with(id_of(one) for one in session.held if one.tag <= upto.tag)
        await original(session, upto)


# ---------------------------------------------------------------- engine


def know_the_command() -> None:
    @around(Runner, "_work")
    async def work(original: Original, runner: Runner, claim: Any, **more: Any) -> None:
        CLAIM.set(claim)
        await original(runner, claim, **more)


def claimed(death: Death) -> None:
    """The claim is committed, nothing else was done."""

    @around(Runner, "_work")
    async def work(original: Original, runner: Runner, claim: Any, **more: Any) -> None:
        await death.arrive(claim)
        await original(runner, claim, **more)


def evidence(death: Death) -> None:
    """What the call needs was read; the "sent" mark that goes with it, or the call itself, is to come."""
    know_the_command()

    @around(Line, "mark_sent")
    async def mark_sent(original: Original, line: Line, claim: Any, row: Any) -> Any:
        await death.arrive(claim)
        return await original(line, claim, row)

    @around(SippulsePlatform, "_do")
    async def do(original: Original, platform: Any, step: Step, *args: Any, **kwargs: Any) -> Any:
        if step.effect is Effect.DELETE:
            await death.arrive(CLAIM.get())
        return await original(platform, step, *args, **kwargs)

    @around(NativeCalls, "_do")
    async def do_native(original: Original, calls: Any, step: Step, *args: Any, **kwargs: Any) -> Any:
        await death.arrive(CLAIM.get())
        return await original(calls, step, *args, **kwargs)


def sent(death: Death) -> None:
    """ "Sent" is committed (of some effects the claim says so), the connection is open, no byte was written."""
    know_the_command()

    @around(SippulsePlatform, "call")
    async def call(original: Original, platform: Any, step: Step, guard: Any) -> Any:
        token = STEP.set(step)
        try:
            return await original(platform, step, guard)
        finally:
            STEP.reset(token)

    @around(GatedRequest, "write_bytes")
    async def write_bytes(original: Original, request: Any, *args: Any, **kwargs: Any) -> None:
        step = STEP.get(None)
        if step is not None and (step.effect is Effect.READ or request._call.guard is not NO_GUARD):
            await death.arrive(CLAIM.get())
        await original(request, *args, **kwargs)


def answered(death: Death) -> None:
    """The answer has come (or a reading that stands for it), and says that the command is done."""

    @around(Runner, "_settle")
    async def settle(
        original: Original, runner: Runner, claim: Any, went: Any, *args: Any, **more: Any
    ) -> None:
        if isinstance(went.decision, Finish):
            await death.arrive(claim)
        await original(runner, claim, went, *args, **more)


def stepped(death: Death) -> None:
    """One of several steps is settled, the next one is not claimed."""
    claiming, all_there, done = asyncio.Lock(), asyncio.Event(), set[str]()

    @around(StoredJournal, "claim")
    async def claim(original: Original, *args: Any, **kwargs: Any) -> Any:
        async with claiming:
            return await original(*args, **kwargs)

    @around(StoredJournal, "settle_one")
    async def settle_one(original: Original, journal: StoredJournal, settled: Settlement) -> Any:
        command = settled.claim.message_id
        more = settled.state is State.WAITING and len(settled.steps) > len(settled.claim.steps)
        if command not in death.commands or not more:
            return await original(journal, settled)
        death.present.add(command)
        death.say(at=command)
        if death.commands <= death.present:
            await claiming.acquire()  # for good: what is settled now is not to go on
            all_there.set()
        await all_there.wait()
        if await original(journal, settled):
            done.add(command)
        if death.commands <= done:
            death.die(done)
        return await asyncio.Event().wait()


# ---------------------------------------------------------------- relay


def note_endings(death: Death) -> None:
    @around(StoredJournal, "settle_one")
    async def settle_one(original: Original, journal: StoredJournal, settled: Any) -> Any:
        ours = await original(journal, settled)
        if ours and settled.state.final:
            death.settled.add(settled.claim.message_id)
            if death.fresh <= death.settled:
                death.all_settled.set()
        return ours


def when_all_have_ended(death: Death, name: str) -> None:
    """The relay looks only when the results of all commands are there."""
    note_endings(death)

    @around(StoredJournal, name)
    async def wait(original: Original, journal: StoredJournal, limit: int) -> Any:
        await death.all_settled.wait()
        return await original(journal, limit)


def commands_of(events: Iterable[Any]) -> set[str]:
    """Ids of the commands whose results these are."""
    results = (json.loads(one.body)["data"] for one in events if one.table == "outbox")
    return {data["command"]["id"] for data in results}


def settled(death: Death) -> None:
    """The ending and its result are committed, nothing of it was published."""
    when_all_have_ended(death, "unpublished")

    @around(Publisher, "publish")
    async def publish(original: Original, publisher: Publisher, events: Any, deadline: float) -> Any:
        death.die_with(commands_of(events))
        return await original(publisher, events, deadline)


def confirmed(death: Death) -> None:
    """RabbitMQ has confirmed the results, the journal does not know it."""
    when_all_have_ended(death, "unpublished")

    @around(StoredJournal, "published")
    async def published(original: Original, journal: StoredJournal, rows: Any) -> None:
        death.die_with(commands_of(event for event, _ in rows))
        await original(journal, rows)


def sealing(death: Death) -> None:
    """The audit records are numbered and chained, the commit of it is missing."""
    when_all_have_ended(death, "seal")

    @around(relaying, "put_mark")
    async def put_mark(original: Original, tx: Any, core: Any, name: str, *mark: Any) -> None:
        await original(tx, core, name, *mark)
        if name == relaying.HEAD:
            death.die(death.commands)


POINTS: dict[str, Callable[[Death], None]] = {
    point.__name__: point
    for point in (
        received,
        admitting,
        admitted,
        claimed,
        evidence,
        sent,
        answered,
        stepped,
        settled,
        confirmed,
        sealing,
    )
}


def main(words: Sequence[str]) -> int:
    """PLAN.json, then the words for the worker; "-" is no plan, and nothing is touched."""
    if words[0] != "-":
        death = Death.planned(Path(words[0]))
        POINTS[death.point](death)
    return worker(words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
