"""The common part of the machines: what every step must leave behind, held against the model."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from tests.conformance.support import PLATFORM, order, select
from tests.faults.machines.bench import Bench
from tests.faults.machines.book import Book
from tests.faults.machines.entries import Command, Content, Message, Token, Told
from worker.domain.lifecycle import FINAL, State
from worker.journal.driver import Row, Tx
from worker.journal.journal import StoredJournal
from worker.journal.port import Arrival, Claim, Outgoing

OWNERS = ("w-1", "w-2")
LEASE = 250.0  # seconds

# Which state may follow which (rules 1): moved by the engine, rescue, the sender, a person or time.
MOVES: dict[State, set[State]] = {
    State.WAITING: {State.RUNNING, State.CANCELLED, State.EXPIRED},
    State.RUNNING: {State.WAITING, State.IN_DOUBT, State.PARKED, State.SUCCEEDED, State.REJECTED},
    State.IN_DOUBT: {State.WAITING, State.PARKED, State.SUCCEEDED, State.REJECTED},
    State.PARKED: {State.WAITING, State.SUCCEEDED, State.REJECTED, State.CANCELLED},
    **{final: set() for final in FINAL},
}

indexes = st.integers(0, 40)

Look = Mapping[str, Sequence[Row]]
LOOKS = {
    "commands": "SELECT id, partition_key, arrival, state, effect, attempts, lapsed, owner, unverified,"
    " window_closed, sent_at, failing_since, notify_at, finished_at FROM commands ORDER BY id",
    "lanes": "SELECT l.key, l.head, l.due_at, l.priority, l.window_command, l.window_first,"
    " (SELECT count(*) FROM commands c WHERE c.lane_id = l.id AND c.owner IS NOT NULL) AS claimed FROM lanes l",
    "audit": "SELECT command_id, what FROM audit ORDER BY id",
}


async def look(tx: Tx) -> Look:
    """What a step has left behind."""
    return {name: await tx.rows(sql) for name, sql in LOOKS.items()}


def in_line(row: Row) -> bool:
    return row["finished_at"] is None and row["arrival"] is not None


class Machine(RuleBasedStateMachine):
    """`claims`: what each process believes to hold, whether it still does or not."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench = bench
        self.book = Book()
        self.claims: dict[Token, Claim] = {}
        self.fences: dict[int, int] = {}
        self.states: dict[int, State] = {}
        self.seen: dict[int, Outgoing] = {}  # rows of the outbox
        self.struck: dict[int, bool] = {}  # those that were published, and whether anybody took them
        self.bodies: dict[tuple[str, str], tuple[str, bytes]] = {}  # of final events: id and body
        self.sequences: dict[tuple[str, str], int] = {}
        self.loose_records = 0  # audit records that belong to no command
        self.sent = 0

    def begin(self) -> None:
        self.bench.empty()

    @property
    def journal(self) -> StoredJournal:
        return self.bench.journal

    def new_id(self) -> str:
        self.sent += 1
        return f"x{self.sent}"

    def rows(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        return self.bench.run(select(self.journal, sql, *args))

    def wait(self, hundreds: int) -> None:
        if hundreds:
            self.bench.pass_time(hundreds * 100.0)
            self.book.pass_time(hundreds * 100.0)

    # Sending ------------------------------------------------------------------------------------------

    def send(self, *messages: Message) -> None:
        """Through the journal and through the model; they must say the same of each."""
        now = self.bench.run(self.journal.now())
        answers = self.bench.run(self.journal.admit([arrival(m, now) for m in messages]))
        expected = self.book.admit(messages)
        assert answers == expected, [
            (m.id, a, e) for m, a, e in zip(messages, answers, expected, strict=True)
        ]
        self.loose_records += answers.count("refused")
        self.learn_numbers()

    def learn_numbers(self) -> None:
        last = max((c.number for c in self.book.commands), default=0)
        rows = self.rows("SELECT id, source, message_id FROM commands WHERE id > $1", last)
        named = {(row["source"], row["message_id"]): row["id"] for row in rows}
        for command in self.book.commands:
            if not command.number:
                command.number = named[command.message.source, command.message.id]

    # Claiming -----------------------------------------------------------------------------------------

    def took(self, claims: Sequence[Claim], owner: str, limit: int) -> list[Token]:
        """Only heads that are due, those of the highest priority first; each as the model has it."""
        ready = {c.number: c for c in self.book.claimable()}
        assert {c.id for c in claims} <= set(ready), "it took what was not free, or not due"
        assert len(claims) == min(limit, len(ready)), "it left what was free"
        ranks = {number: (self.book.lent(c.key), c.due) for number, c in ready.items()}
        left = [ranks[number] for number in ready if number not in {c.id for c in claims}]
        assert not left or max((ranks[c.id] for c in claims), default=(0, ())) <= min(left), "not by priority"
        assert {c.owner for c in claims} <= {owner}
        return self.hold(claims)

    def hold(self, claims: Sequence[Claim]) -> list[Token]:
        """In the order of their numbers: a database may hand them out in any, and examples must repeat."""
        commands = {c.number: c for c in self.book.commands}
        claims = sorted(claims, key=lambda c: c.id)
        tokens = [self.book.claim(commands[c.id], c.owner, LEASE) for c in claims]
        for claim, token in zip(claims, tokens, strict=True):
            self.check_claim(claim, token.command)
            self.moved(token.command)
            self.claims[token] = claim
        return tokens

    def clear(self, limit: int) -> int:
        """The same, or no limit where it would be left open whom it lets in: several are of the same rank."""
        ranks = sorted((self.book.lent(c.key), c.due) for c in self.book.claimable())
        return 50 if limit < len(ranks) and ranks[limit - 1] == ranks[limit] else limit

    def check_claim(self, claim: Claim, c: Command) -> None:
        assert (claim.message_id, claim.state, claim.attempts) == (c.message.id, c.state, c.attempts)
        assert (claim.lapsed, claim.unverified, len(claim.steps)) == (c.lapsed, c.unverified, c.steps)
        assert (claim.failing_since is not None, len(claim.evidence)) == (c.failing, c.readings)
        assert claim.data == data_of(c.message)
        assert claim.fence > self.fences.get(claim.id, 0), "a fencing number came twice"
        self.fences[claim.id] = claim.fence
        in_doubt = c.state is State.IN_DOUBT
        assert (claim.window is not None) is in_doubt
        assert claim.window is None or claim.window.closed is c.window_closed

    def pick(self, tokens: Iterable[Token], n: int) -> Token:
        found = list(tokens)
        return found[n % len(found)]

    # What must be so after every step -----------------------------------------------------------------

    @invariant()
    def everything_is_as_promised(self) -> None:
        seen = self.bench.run(self.journal.run(look))
        self.commands_are_as_promised(seen)
        self.one_of_a_key_at_a_time_and_in_order(seen)
        self.every_change_left_a_record(seen)
        self.events_went_out_once()

    def commands_are_as_promised(self, seen: Look) -> None:
        rows = {row["id"]: row for row in seen["commands"]}
        assert list(rows) == sorted(c.number for c in self.book.commands), "lost, or made twice"
        for c in self.book.commands:
            row = rows[c.number]
            found = (row["state"], row["effect"], row["attempts"], row["lapsed"], row["owner"])
            owner = c.claim.owner if c.claim else None
            assert found == (c.state, c.effect, c.attempts, c.lapsed, owner), (c.message.id, found)
            flags = [bool(row[n]) for n in ("unverified", "window_closed", "sent_at", "failing_since")]
            assert flags == [c.unverified, c.window_closed, c.sent, c.failing], (c.message.id, flags)
            told = (row["notify_at"] is not None, row["finished_at"] is not None)
            assert told == (c.notify is not None, c.ended), (c.message.id, told)
            self.moved(c)

    def moved(self, c: Command) -> None:
        """Only as the table of states allows it; unknown is no ending (surface 1)."""
        before = self.states.get(c.number, c.state)
        assert c.state is before or c.state in MOVES[before], f"{c.message.id}: {before} to {c.state}"
        assert not (c.ended and c.effect == "unknown")
        assert not (c.steps and c.state in (State.CANCELLED, State.EXPIRED))
        self.states[c.number] = c.state

    def one_of_a_key_at_a_time_and_in_order(self, seen: Look) -> None:
        lines = seen["lanes"]
        for line in lines:
            head, free = self.book.head(line["key"]), self.book.free(line["key"])
            window = self.book.windows.get(line["key"])
            assert line["claimed"] <= 1, "two of one key are under way"
            assert line["head"] == (head.number if head else None)
            assert (line["due_at"] is not None) is (free is not None), (line["key"], line["due_at"])
            assert head is None or line["priority"] == self.book.lent(line["key"])
            assert line["window_command"] == (window.command.number if window else None)
            assert (line["window_first"] is not None) is bool(window and window.first is not None)
        waiting: dict[str, list[int]] = {line["key"]: [] for line in lines}
        for row in sorted((r for r in seen["commands"] if in_line(r)), key=lambda r: r["arrival"]):
            waiting[row["partition_key"]].append(row["id"])
        assert waiting == {key: [c.number for c in self.book.line(key)] for key in waiting}

    def every_change_left_a_record(self, seen: Look) -> None:
        written: dict[int | None, list[str]] = {}
        for row in seen["audit"]:
            written.setdefault(row["command_id"], []).append(row["what"])
        assert len(written.pop(None, [])) == self.loose_records
        assert written == {c.number: c.records for c in self.book.commands if c.records}

    def events_went_out_once(self) -> None:
        waiting = {o.row: o for o in self.bench.run(self.journal.unpublished(10_000)) if o.table == "outbox"}
        assert set(waiting) >= set(self.seen) - set(self.struck), "an event was lost"
        assert not set(waiting) & set(self.struck), "one that was struck off came back"
        new = [waiting[row] for row in sorted(set(waiting) - set(self.seen))]
        self.seen |= waiting
        told, self.book.told = self.book.told, []
        shown = Counter(shown_as(out) for out in new)
        assert shown == Counter(line for each in told for line in expected_as(each))
        repeated = {(t.source, t.id) for t in told if t.again}
        for out in new:
            self.check_event(out, repeated)

    def check_event(self, out: Outgoing, repeated: set[tuple[str, str]]) -> None:
        event = json.loads(out.body)
        data, what = event["data"], out.type.split(".")[2]
        name = (data["command"]["source"], data["command"]["id"])
        if what == "refused":
            return  # refused under the id of another command
        if what in set(FINAL):
            first = self.bodies.setdefault(name, (out.event_id, out.body))
            assert first == (out.event_id, out.body), f"two different final results of {name}"
        if out.exchange and name not in repeated and "duplicate_of" not in data:
            assert data["sequence"] > self.sequences.get(name, 0), f"sequence of {name} does not grow"
            self.sequences[name] = data["sequence"]

    def teardown(self) -> None:
        """The chain of all that happened is whole."""
        while self.bench.run(self.journal.seal(1000)):
            pass
        report = self.bench.run(self.journal.verify())
        assert report.faults == []
        assert report.records == self.loose_records + sum(len(c.records) for c in self.book.commands)


def data_of(m: Message) -> dict[str, str]:
    return {"platform": PLATFORM, "who": m.content.key, "what": m.content.variant}


def arrival(m: Message, now: float) -> Arrival:
    """`now`: by the database's clock."""
    return order(
        m.id,
        m.content.key,
        data=data_of(m),
        risk=m.risk,
        source=m.source,
        idempotency_key=m.idem,
        priority=m.priority,
        reply_to="crm.answers" if m.reply else None,
        not_before=None if m.not_before is None else now + m.not_before,
        expires_at=None if m.expires is None else now + m.expires,
        depends_on=m.depends_on,
        time=now - 401 * 86400 if m.old else None,
    )


Line = tuple[str, str, str, str, bool, str | None]


def expected_as(told: Told) -> list[Line]:
    public = (told.source, told.id, told.what, told.effect, True, told.of)
    return [public, (*public[:4], False, told.of)] if told.copy else [public]


def shown_as(out: Outgoing) -> Line:
    data = json.loads(out.body)["data"]
    what = out.type.split(".")[2]
    of = data["error"]["code"] if what == "refused" else data.get("duplicate_of")
    command = data["command"]
    return (command["source"], command["id"], what, data["effect"], bool(out.exchange), of)


def simple(id: str, key: str, **more: Any) -> Message:
    """A message like no other."""
    return Message("/crm", id, id, Content(key, id), **more)
