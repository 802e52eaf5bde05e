"""Scripts for subscribers whose credit moves while ours is booked, and the till that plays them.

What others do is tied to requests, not to time: it happens just before the n-th request about the subscriber is
handled. So an example means the same on a slow machine. Only late and frozen applications need the clock, and
they stay within the settle window, as the platform's own longest transaction does.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from aiohttp import web
from hypothesis import strategies as st

from tests.support.engine import DOMAIN, Stand, eventually
from worker.simulators.sippulse import Simulator
from worker.simulators.sippulse.soap import Call

SETTLE = float(os.environ.get("SETTLE", "1.5"))  # seconds; more where the machine has much else to do
LATEST = 0.5  # seconds that an application may be late; freezes of one operation come on top
FREEZE = 0.4


@dataclass(frozen=True)
class Fate:
    """What becomes of one addCredit, in the order they come: a fault of the simulator, or none."""

    kind: str = "delay"
    parameters: tuple[tuple[str, Any], ...] = (("seconds", 0.0),)

    def __repr__(self) -> str:
        return f"{self.kind}({', '.join(f'{k}={v}' for k, v in self.parameters)})"


def fate(kind: str, **parameters: Any) -> Fate:
    return Fate(kind, tuple(parameters.items()))


FINE = Fate()
LOST = [
    fate("drop_before"),
    fate("drop_after"),
    *(fate("late", seconds=s, connection=c) for s in (0.1, LATEST) for c in ("hang", "drop")),
    fate("garbage"),
    fate("drip", seconds=2.0),
    *(fate(kind, applied=applied) for kind in ("html500", "undeclared") for applied in (False, True)),
    fate("freeze", scope="operation", seconds=FREEZE),
]
REFUSED = [fate("declared", applied=False)]
# The platform says no, and has booked it all the same (rule 2.5).
LIES = [fate("declared", applied=True), fate("busy", applied=True)]


@dataclass(frozen=True)
class Script:
    """One subscriber. `others`: (before which request, how much); `unread`: which readings fail, by number."""

    amounts: tuple[Decimal, ...]
    fates: tuple[Fate, ...]
    others: tuple[tuple[int, Decimal], ...] = ()
    unread: tuple[int, ...] = ()


def scripts(
    fates: Sequence[Fate],
    movements: Sequence[str],
    amounts: Sequence[str],
    count: int,
    most: int = 3,
) -> st.SearchStrategy[list[Script]]:
    """`count` subscribers at once; the more there are, the more one example tries in the time it takes."""
    one = st.builds(
        Script,
        st.lists(st.sampled_from(amounts).map(Decimal), min_size=1, max_size=2).map(tuple),
        st.lists(st.sampled_from([FINE, *fates]), min_size=1, max_size=3).map(tuple),
        st.lists(st.tuples(st.integers(1, 7), st.sampled_from(movements).map(Decimal)), max_size=most).map(
            tuple
        ),
        st.lists(st.integers(2, 5), max_size=1).map(tuple),
    )
    return st.lists(one, min_size=count, max_size=count)


freezes = st.lists(st.tuples(st.integers(5, 60), st.sampled_from([0.2, 0.4, 1.0, 2.5])), max_size=2)


class Till:
    """Plays the scripts: wraps the simulator's entrance, and notes what moved beside our own credits."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.asked: Counter[str] = Counter()
        self.moved: defaultdict[str, list[Decimal]] = defaultdict(list)
        self.called_again: set[str] = set()  # ids of commands that were called though they were applied
        self._due: dict[str, list[tuple[int, Decimal]]] = {}
        self._freezes: list[tuple[int, float]] = []
        self._requests = 0
        self._received = simulator.received
        simulator.received = self._receive  # type: ignore[method-assign] # the till stands at the entrance

    def play(self, user: str, script: Script) -> None:
        self._due[user] = list(script.others)
        for each in script.fates:
            self.simulator.fail("addCredit", each.kind, username=user, count=1, **dict(each.parameters))
        for nth in sorted(script.unread):
            self.simulator.fail("retrieveCredit", "undeclared", username=user, count=1, skip=nth - 1)

    def freeze_at(self, freezes: Sequence[tuple[int, float]]) -> None:
        """(after how many requests from now, seconds): the whole platform stands still."""
        self._freezes = [(self._requests + after, seconds) for after, seconds in freezes]

    async def _receive(self, request: web.Request, call: Call) -> web.Response:
        self._requests += 1
        for due in [f for f in self._freezes if f[0] <= self._requests]:
            self._freezes.remove(due)
            self.simulator.freezer.freeze("*", due[1])
        user = call.subject[0]
        if user in self._due:
            self.asked[user] += 1
            self._move(user)
            if self.simulator.call_records is not None:
                await self.simulator.call_records.settled()  # rated by the time anybody asks
            if call.operation == "addCredit":
                self._note(str(call.arguments.get("obs")).split(" ")[0])
        return await self._received(request, call)

    def _move(self, user: str) -> None:
        record = self.simulator.subscriber(user, DOMAIN)
        assert record is not None
        for due in [d for d in self._due[user] if d[0] <= self.asked[user]]:
            self._due[user].remove(due)
            if due[1] < 0 and self.simulator.call_records is not None:
                self.simulator.platform.charge(user, DOMAIN, -due[1])
            else:
                record.balance += due[1]
            self.moved[user].append(due[1])

    def _note(self, command: str) -> None:
        if self.simulator.credit(command)[0]:
            self.called_again.add(command)


@dataclass
class Verdict:
    command: str
    script: Script
    amount: Decimal
    state: str
    effect: str
    times: int  # that the platform applied it
    moved: list[Decimal]

    @property
    def wrong(self) -> str | None:
        """What a sender would be misled by."""
        if self.times > 1:
            return "applied twice"
        match self.state:
            case "succeeded":
                return None if self.times == 1 else "succeeded, not applied"
            case "parked" if self.effect == "unknown":
                return None
            case _:
                return None if self.times == 0 else f"{self.state} with effect {self.effect}, applied"

    @property
    def coincides(self) -> bool:
        """What others booked in a row makes just the amount, up or down: no figures can tell."""
        runs = [self.moved[i:j] for i in range(len(self.moved)) for j in range(i + 1, len(self.moved) + 1)]
        needed = self.amount if self.wrong == "succeeded, not applied" else -self.amount
        return any(sum(run, Decimal(0)) == needed for run in runs)


@dataclass
class Tally:
    """All verdicts of a test."""

    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def wrong(self) -> list[Verdict]:
        return [v for v in self.verdicts if v.wrong]

    def told(self, title: str) -> str:
        states = Counter(f"{v.state}/{v.effect}" for v in self.verdicts)
        wrong = Counter(v.wrong for v in self.wrong)
        losses = sum(len(v.script.fates) for v in self.verdicts)
        return (
            f"{title}: {len(self.verdicts)} credits, {losses} fates, {dict(states)},"
            f" wrong {sum(wrong.values())} {dict(wrong) or ''}"
        )


async def play(stand: Stand, till: Till, name: str, given: Sequence[Script], tally: Tally) -> list[Verdict]:
    """One example: all subscribers at once. `name`: of the example, as its subscribers are its own."""
    stand.sim.faults.clear()
    orders, found = [], []
    for number, script in enumerate(given):
        user = f"{name}-{number}"
        stand.seed(user)
        till.play(user, script)
        for n, amount in enumerate(script.amounts):
            orders.append(stand.order("credit.add", user, id=f"{user}-{n}", amount=f"{amount:f}"))
            found.append((f"{user}-{n}", user, script, amount))
    await stand.admit(*orders)
    await eventually(lambda: over(stand), within=160 * SETTLE, what="credits are left to do")
    await eventually(lambda: stand.sim.pending() == 0, within=60, what="the platform has work left")
    rows = {row["message_id"]: row for row in await stand.journal.commands({}, len(orders))}
    verdicts = [
        Verdict(
            command,
            script,
            amount,
            rows[command]["state"],
            rows[command]["effect"],
            stand.credited(command),
            till.moved[user],
        )
        for command, user, script, amount in found
    ]
    for number, script in enumerate(given):
        the_books_are_right(stand, till, f"{name}-{number}", script, verdicts)
    tally.verdicts += verdicts
    return verdicts


async def over(stand: Stand) -> bool:
    """Every key has ended, or stands behind one that a person must decide."""

    async def work(tx: Any) -> list[Any]:
        return list(
            await tx.rows(
                "SELECT c.state FROM lanes l JOIN commands c ON c.id = l.head WHERE l.head IS NOT NULL"
            )
        )

    return all(row["state"] == "parked" for row in await stand.journal.run(work))


def the_books_are_right(
    stand: Stand, till: Till, user: str, script: Script, verdicts: Sequence[Verdict]
) -> None:
    """The test's own figures explain the balance: else it would judge by wrong ones."""
    record = stand.sim.subscriber(user, DOMAIN)
    assert record is not None
    ours = sum((v.amount * v.times for v in verdicts if v.command.startswith(f"{user}-")), Decimal(0))
    assert record.balance == 100 + ours + sum(till.moved[user], Decimal(0)), (user, script)
