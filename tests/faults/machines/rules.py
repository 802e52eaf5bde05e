"""The steps that machines are made of: senders, engines, sweeps, the relay, people, and time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.conformance.support import again, done, inquiry, lost, parked, read, refused
from tests.faults.machines.entries import (
    APPLIED,
    NONE,
    SETTLE,
    UNKNOWN,
    Command,
    Content,
    Ended,
    Message,
    Refused,
    Token,
)
from tests.faults.machines.machine import LEASE, OWNERS, PLATFORM, Machine, indexes
from worker.domain.effect import Risk
from worker.domain.lifecycle import EffectSeen, State
from worker.journal.commands.acts import ActRefused
from worker.journal.port import Claim, Settlement

processes = st.integers(0, 1)
waits = st.sampled_from([0.0, 0.0, 150.0, 450.0])
keys = st.sampled_from(["ana", "bob", "eva"])

messages = st.builds(
    lambda idem, id, **more: Message(id=id, idem=idem or id, **more),
    idem=st.sampled_from([None, None, None, "k1", "k2"]),
    id=st.sampled_from([f"m{n}" for n in range(30)]),
    source=st.sampled_from(["/crm", "/crm", "/crm", "/shop"]),
    content=st.builds(Content, keys, st.sampled_from(["block", "unblock"])),
    priority=st.integers(0, 2),
    risk=st.sampled_from(list(Risk)),
    reply=st.booleans(),
    not_before=st.sampled_from([None, None, None, 150.0, 350.0]),
    expires=st.sampled_from([None, None, None, 50.0, 450.0]),
    old=st.sampled_from([False] * 9 + [True]),
)


class Time(Machine):
    @precondition(lambda self: self.book.commands)
    @rule(hundreds=st.integers(1, 4))
    def time_passes(self, hundreds: int) -> None:
        self.wait(hundreds)

    @precondition(lambda self: self.book.commands)
    @rule(hundreds=st.integers(0, 4))
    def sweep(self, hundreds: int) -> None:
        """Some time later."""
        self.wait(hundreds)
        assert self.bench.run(self.journal.sweep()) == self.book.sweep()

    @precondition(lambda self: self.book.tokens())
    @rule(hundreds=st.sampled_from([0, 3, 3, 3]))
    def processes_are_given_up(self, hundreds: int) -> None:
        """Three hundred seconds after they were claimed, leases have lapsed."""
        self.wait(hundreds)
        assert self.bench.run(self.journal.rescue()) == self.book.rescue()


class Senders(Machine):
    @initialize(batch=st.lists(messages, min_size=3, max_size=6))
    def some_came_before(self, batch: list[Message]) -> None:
        self.begin()
        self.send(*batch)

    @rule(batch=st.lists(messages, min_size=1, max_size=4))
    def messages_come(self, batch: list[Message]) -> None:
        self.send(*batch)

    @precondition(lambda self: self.book.identities)
    @rule(message=messages, n=indexes)
    def one_comes_that_depends_on_another(self, message: Message, n: int) -> None:
        known = [id for source, id in self.book.identities if source == message.source]
        self.send(replace(message, id=self.new_id(), depends_on=known[n % len(known)] if known else "nobody"))

    @precondition(lambda self: self.book.identities)
    @rule(n=indexes, times=st.integers(1, 2))
    def a_message_comes_again(self, n: int, times: int) -> None:
        known = [i.message for i in self.book.identities.values() if i.role != "inquiry"]
        if known:
            self.send(*[known[n % len(known)]] * times)

    @precondition(lambda self: self.book.commands)
    @rule(n=indexes)
    def the_same_order_comes_under_a_new_id(self, n: int) -> None:
        message = self.book.commands[n % len(self.book.commands)].message
        self.send(replace(message, id=self.new_id(), depends_on=None))

    @precondition(lambda self: self.book.identities)
    @rule(n=indexes, what=st.sampled_from(["cancel", "cancel", "get"]))
    def a_sender_asks(self, n: int, what: str) -> None:
        names = [*self.book.identities, ("/crm", "nobody")]
        source, target = names[n % len(names)]
        id = self.new_id()
        asked = inquiry(what, id, source=source, target_id=target)
        assert self.bench.run(self.journal.admit([asked])) == ["answered"]
        self.book.inquire(what, source, id, target)


def holds(*states: State) -> Callable[[Any], Any]:
    """Some process holds the claim of such a command."""
    return precondition(lambda self: self.of(*states))


class Engines(Machine):
    """Two processes claim, call and settle. Each also tries to settle what it does not hold any more."""

    def take(self, process: int, limit: int) -> list[Token]:
        limit = self.clear(limit)
        work = self.bench.journals[process].claim(PLATFORM, OWNERS[process], limit, LEASE)
        return self.took(self.bench.run(work), OWNERS[process], limit)

    @precondition(lambda self: self.book.commands)
    @rule(process=processes, limit=st.sampled_from([1, 2, 50, 50]))
    def claim(self, process: int, limit: int) -> None:
        self.take(process, limit)

    @precondition(lambda self: self.book.claimable())
    @rule()
    def both_claim_at_once(self) -> None:
        async def both() -> list[list[Claim]]:
            pairs = zip(self.bench.journals, OWNERS, strict=True)
            return await asyncio.gather(*(j.claim(PLATFORM, o, 50, LEASE) for j, o in pairs))

        mine, theirs = self.bench.run(both())
        assert not {c.id for c in mine} & {c.id for c in theirs}, "both hold it"
        assert len(mine) + len(theirs) == len(self.book.claimable()), "both left what was free"
        self.hold([*mine, *theirs])

    def of(self, *states: State) -> list[Token]:
        """Claims that are held, of commands in these states (any), also those whose lease has lapsed."""
        return [t for t in self.book.tokens() if t.command.state in (states or tuple(State))]

    def stale(self) -> list[Token]:
        """Claims that a process settled, or that rescue or a person took from it: the newest few."""
        return [t for t in self.claims if t.command.claim is not t][-6:]

    @precondition(lambda self: self.stale())
    @rule(n=indexes, what=st.sampled_from([done, refused, again, lost, parked, None]))
    def an_answer_comes_to_a_claim_that_is_none_any_more(self, n: int, what: Any) -> None:
        token = self.pick(self.stale(), n)
        if what is None:
            assert self.bench.run(self.journal.mark_sent([(self.claims[token], None)])) == [False]
        else:
            self.settle(token, what(self.claims[token]), expected=False)

    def settle(self, token: Token, settlement: Settlement, expected: bool) -> None:
        process = OWNERS.index(token.owner)
        assert self.bench.run(self.bench.journals[process].settle([settlement])) == [expected]

    @holds(State.RUNNING)
    @rule(n=indexes, evidence=st.booleans(), hundreds=st.sampled_from([0, 0, 1, 3]))
    def it_is_marked_as_sent(self, n: int, evidence: bool, hundreds: int) -> None:
        """Perhaps too late: after three hundred seconds its lease has ended."""
        self.wait(hundreds)
        self.mark(self.pick(self.of(State.RUNNING), n), evidence=evidence)

    def mark(self, *tokens: Token, evidence: bool = True) -> None:
        row = read(balance=None, present=False) if evidence else None
        marks = self.bench.run(self.journal.mark_sent([(self.claims[t], row) for t in tokens]))
        assert marks == [self.book.mark_sent(t, evidence) for t in tokens]

    def mark_and_hold(self, token: Token) -> None:
        self.mark(token)

    @holds()
    @rule(n=indexes)
    def it_succeeds(self, n: int) -> None:
        self.succeed(self.pick(self.of(), n))

    def succeed(self, token: Token) -> None:
        claim = self.claims[token]
        step = {"name": "last", "status": "done", "output": {}, "changes": True}
        settled = done(claim, steps=(*claim.steps, step))
        expected = self.book.settle_ended(token, Ended(State.SUCCEEDED, APPLIED))
        if expected:
            token.command.steps += 1
        self.settle(token, settled, expected)

    # A whole turn of one process: what it does with each claim, one after the other.
    turns: ClassVar[dict[State, tuple[str, ...]]] = {
        State.RUNNING: ("succeed", "refuse", "repeat", "mark_and_hold", "refuse_unchecked")
    }

    @precondition(lambda self: self.book.claimable())
    @rule(ways=st.lists(indexes, min_size=1, max_size=3), limit=st.sampled_from([1, 50, 50]))
    def the_first_process_works(self, ways: list[int], limit: int) -> None:
        self.work(0, ways, limit)

    @precondition(lambda self: self.book.claimable())
    @rule(ways=st.lists(indexes, min_size=1, max_size=3))
    def the_second_process_works(self, ways: list[int]) -> None:
        self.work(1, ways, 50)

    def work(self, process: int, ways: list[int], limit: int) -> None:
        for n, token in enumerate(self.take(process, limit)):
            known = self.turns.get(token.command.state, ("succeed",))
            getattr(self, known[ways[n % len(ways)] % len(known)])(token)

    @precondition(lambda self: self.book.claimable())
    @rule(times=st.integers(1, 3), marked=st.sampled_from(["", "in time", "late"]), process=processes)
    def processes_die_over_it(self, times: int, marked: str, process: int) -> None:
        """Claimed, perhaps marked as sent (or tried to, too late), then nothing is heard; and so the next ones."""
        for _ in range(times):
            taken = [t for t in self.take(process, 50) if t.command.state is State.RUNNING]
            if marked == "in time":
                self.mark(*taken)
            self.wait(3)
            if marked == "late":
                self.mark(*taken)
            assert self.bench.run(self.journal.rescue()) == self.book.rescue()

    @holds(State.RUNNING)
    @rule(n=indexes)
    def it_is_refused(self, n: int) -> None:
        self.refuse(self.pick(self.of(State.RUNNING), n))

    def refuse(self, token: Token) -> None:
        claim, effect = self.claims[token], self.so_far(token)
        expected = self.book.settle_ended(token, Ended(State.REJECTED, effect))
        self.settle(token, refused(claim, effect=effect, steps=claim.steps), expected)

    def so_far(self, token: Token) -> EffectSeen:
        return APPLIED if self.claims[token].steps else NONE

    @holds(State.RUNNING)
    @rule(n=indexes, due_in=waits, counted=st.booleans(), unverified=st.booleans())
    def it_is_tried_again(self, n: int, due_in: float, counted: bool, unverified: bool) -> None:
        self.repeat(self.pick(self.of(State.RUNNING), n), due_in, counted, unverified)

    def repeat(
        self, token: Token, due_in: float = 0.0, counted: bool = True, unverified: bool = False
    ) -> None:
        how = {"counted": counted, "failing": counted, "unverified": unverified}
        claim = self.claims[token]
        settled = again(claim, due_in, effect=self.so_far(token), steps=claim.steps, **how)
        self.settle(token, settled, self.book.settle_waiting(token, due_in, **how))

    def refuse_unchecked(self, token: Token) -> None:
        """The refusal may hide an effect, and the evidence could not be read (rule 2.5)."""
        self.repeat(token, unverified=True)

    @precondition(lambda self: len(self.book.tokens()) > 1)
    @rule()
    def both_settle_everything_at_once(self) -> None:
        """Each process settles all there is, also what the other one holds: each of it counts once."""
        tokens = self.book.tokens()
        ends = [refused(self.claims[t], effect=self.so_far(t), steps=self.claims[t].steps) for t in tokens]

        async def both() -> list[list[bool]]:
            return await asyncio.gather(*(journal.settle(ends) for journal in self.bench.journals))

        answers = self.bench.run(both())
        counted = [sum(pair) for pair in zip(*answers, strict=True)]
        assert counted == [1] * len(tokens), "settled twice, or not at all"
        self.book.commit()
        for token in tokens:
            self.book.end(token.command, Ended(State.REJECTED, self.so_far(token)))


class Doubts(Engines):
    """Lost answers, the readings after them, and the windows that hold the key."""

    turns: ClassVar[dict[State, tuple[str, ...]]] = {
        State.RUNNING: (
            "lose",
            "lose",
            "finish_step",
            "park",
            "refuse",
            "repeat",
            "succeed",
            "mark_and_hold",
            "refuse_unchecked",
        ),
        State.IN_DOUBT: ("find_nothing", "find_nothing", "find", "finish_step", "park", "lose"),
    }

    @holds()
    @rule(n=indexes, due_in=waits)
    def the_answer_is_lost(self, n: int, due_in: float) -> None:
        self.lose(self.pick(self.of(), n), due_in)

    def lose(self, token: Token, due_in: float = 0.0) -> None:
        settled = lost(self.claims[token], due_in, steps=self.claims[token].steps)
        self.settle(token, settled, self.book.settle_doubt(token, due_in, opens=True))

    @holds(State.IN_DOUBT)
    @rule(n=indexes, due_in=waits, counted=st.booleans())
    def a_reading_settles_nothing(self, n: int, due_in: float, counted: bool) -> None:
        """Not counted: there was no reading, as it could not run alone."""
        token = self.pick(self.of(State.IN_DOUBT), n)
        claim, how = self.claims[token], {"counted": counted}
        settled = lost(claim, due_in, steps=claim.steps, open_window=False, **how)
        self.settle(token, settled, self.book.settle_doubt(token, due_in, opens=False, **how))

    @holds(State.IN_DOUBT)
    @rule(n=indexes, proved=st.booleans())
    def a_reading_shows_the_effect(self, n: int, proved: bool) -> None:
        self.find(self.pick(self.of(State.IN_DOUBT), n), proved)

    def find(self, token: Token, proved: bool = False) -> None:
        settled = done(self.claims[token], steps=self.claims[token].steps, releases_window=proved)
        ended = Ended(State.SUCCEEDED, APPLIED)
        self.settle(token, settled, self.book.settle_ended(token, ended, proved))

    def find_nothing(self, token: Token) -> None:
        """At the end of the window it is called again; before, it is read again."""
        claim = self.claims[token]
        if claim.window is not None and claim.window.closed:
            settled = again(claim, steps=claim.steps, effect=self.so_far(token))
            self.settle(token, settled, self.book.settle_waiting(token, 0.0))
        else:
            settled = lost(claim, steps=claim.steps, open_window=False)
            self.settle(token, settled, self.book.settle_doubt(token, 0.0, opens=False))

    @holds(State.IN_DOUBT)
    @rule(n=indexes)
    def a_reading_shows_nothing(self, n: int) -> None:
        self.find_nothing(self.pick(self.of(State.IN_DOUBT), n))

    @holds()
    @rule(n=indexes, risk=st.sampled_from(list(Risk)), proved=st.booleans())
    def a_step_is_finished(self, n: int, risk: Risk, proved: bool) -> None:
        self.finish_step(self.pick(self.of(), n), risk, proved)

    def finish_step(self, token: Token, risk: Risk = Risk.CLAIM, proved: bool = False) -> None:
        claim = self.claims[token]
        step = {"name": f"step {len(claim.steps)}", "status": "done", "output": {}, "changes": True}
        how = {"failing": False, "risk": risk, "effect": APPLIED, "releases_window": proved}
        settled = again(claim, steps=(*claim.steps, step), **how)
        expected = self.book.settle_waiting(token, 0.0, failing=False, step=risk, proved=proved)
        self.settle(token, settled, expected)

    @holds()
    @rule(n=indexes, unknown=st.booleans())
    def it_is_parked(self, n: int, unknown: bool) -> None:
        self.park(self.pick(self.of(), n), unknown)

    def park(self, token: Token, unknown: bool = False) -> None:
        claim = self.claims[token]
        unknown = unknown or claim.state is State.IN_DOUBT
        effect = UNKNOWN if unknown else self.so_far(token)
        settled = parked(claim, effect, steps=claim.steps, failing=True)
        self.settle(token, settled, self.book.settle_parked(token, unknown))

    @precondition(lambda self: self.book.windows)
    @rule(before=st.sampled_from([0.0, 25.0]))
    def a_control_read_is_answered(self, before: float) -> None:
        """`before`: seconds that it began before its answer came."""
        began = self.bench.run(self.journal.now()) - before
        still_open = self.bench.run(self.journal.control_answered(PLATFORM, began, SETTLE))
        assert still_open == self.book.control_answered(self.book.now - before)

    @precondition(lambda self: self.book.windows)
    @rule(times=st.integers(1, 5), hundreds=st.sampled_from([1, 1, 1, 2]))
    def the_platform_keeps_answering(self, times: int, hundreds: int) -> None:
        """Control reads every hundred seconds; those two hundred apart are too far to be one series."""
        for _ in range(times):
            self.wait(hundreds)
            self.a_control_read_is_answered(0.0)


class People(Machine):
    def any_command(self, n: int, *states: State) -> Command | None:
        """Mostly one of those that people are asked about."""
        found = [c for c in self.book.commands if c.state in states] if n % 4 else self.book.commands
        return found[n % len(found)] if found else None

    def act(self, work: Any, in_the_model: Any) -> Any:
        """Both refuse, or neither."""
        try:
            expected = in_the_model()
        except Refused:
            try:
                self.bench.run(work)
            except ActRefused:
                return None
            raise AssertionError("it was allowed") from None
        return self.bench.run(work), expected

    @precondition(lambda self: self.book.commands)
    @rule(n=indexes)
    def a_person_cancels(self, n: int) -> None:
        if (c := self.any_command(n, State.PARKED)) is not None:
            self.act(self.journal.cancel(str(c.number), "ann", "not wanted"), lambda: self.book.cancel(c))

    @precondition(lambda self: self.book.commands)
    @rule(n=indexes, applied=st.booleans(), waive=st.booleans())
    def a_person_resolves(self, n: int, applied: bool, waive: bool) -> None:
        if (c := self.any_command(n, State.IN_DOUBT, State.PARKED)) is not None:
            work = self.journal.resolve(str(c.number), applied, "ann", "looked", waive)
            self.act(work, lambda: self.book.resolve(c, applied, waive))

    @precondition(lambda self: any(c.state in (State.PARKED, State.REJECTED) for c in self.book.commands))
    @rule(n=indexes)
    def a_person_retries(self, n: int) -> None:
        if (c := self.any_command(n, State.PARKED, State.REJECTED, State.CANCELLED)) is None:
            return
        acted = self.act(self.journal.retry(str(c.number), "ann", "again"), lambda: self.book.retry(c))
        if acted is not None and acted[1] is not None:
            made, message = acted
            new = self.book.accept(
                Message(**{**vars(message), "id": made["message_id"]}), retry_of=c.message.id
            )
            new.number = made["id"]


class Relay(Machine):
    @precondition(lambda self: self.book.commands)
    @rule(skip=st.integers(0, 2), n=st.integers(1, 6), taken=st.booleans())
    def publish(self, skip: int, n: int, taken: bool) -> None:
        """The relay publishes some, and strikes off those that were confirmed: not always the first ones."""
        rows = self.bench.run(self.journal.unpublished(10_000))[skip : skip + n]
        self.bench.run(self.journal.published([(row, taken) for row in rows]))
        self.struck |= {row.row: taken for row in rows if row.table == "outbox"}

    @precondition(lambda self: self.book.commands)
    @rule(limit=st.sampled_from([1, 7, 1000]))
    def seal(self, limit: int) -> None:
        self.bench.run(self.journal.seal(limit))

    @precondition(lambda self: self.struck)
    @rule(untaken_only=st.booleans())
    def republish(self, untaken_only: bool) -> None:
        self.bench.run(self.journal.republish(0.0, untaken_only, "ann", "they were down"))
        self.loose_records += 1
        public = {row for row in self.struck if self.seen[row].exchange}
        for row in public:
            if not untaken_only or not self.struck[row]:
                del self.struck[row]
