"""Many commands through the real thing, faults on, and an account of what became of each.

    async with Sippulse(folder) as platform, Storm(broker_url) as storm:
        await platform.subscribers(count=100, prefix="55", domain=DOMAIN, balance="50")
        await platform.fail("addCredit", "lost", share=0.3, seconds=1.8)
        await storm.send(orders, twice=0.1)
        await storm.until_final()
        account = await storm.account(platform)
        account.check()                    # nothing lost, doubled, missing, answered twice, out of order

`Sippulse` is the simulator as a process of its own; what it counted is the truth that results are compared
with. `Storm` publishes with confirms and says the same again when the broker goes; a message that comes twice
has to be harmless.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aio_pika.exceptions
import aiohttp
from aio_pika.abc import AbstractIncomingMessage

from tests.support.amqp import Heard, Listener, Sender, command, eventually, message
from worker.sandbox.ports import answers, free_port
from worker.sandbox.processes import Child, Keeper

ROOT = Path(__file__).resolve().parents[2]
PLATFORM = "sippulse-br"
DOMAIN = "sip.example"
FINAL = ("succeeded", "rejected", "cancelled", "expired")

# A lease that a slow machine does not lapse, everything else as quick as the rules let it be.
QUICK: Mapping[str, Any] = {
    "timeout": 1.0,
    "lease_margin": 4.0,
    "settle": 2.0,
    "rate": 5000.0,
    "concurrency": 16,
    "retry_first": 0.2,
    "retry_most": 2.0,
    "breaker_probe_first": 0.2,
    "breaker_probe_most": 1.0,
    "hold_probe_first": 0.5,
    "hold_probe_most": 2.0,
    "call_records": {"lag": 0.2},
}
LATE = 1.6  # seconds after which a late request lands: past `timeout`, well inside `settle` behind it


# ---------------------------------------------------------------- orders

Order = dict[str, Any]


def order(kind: str, username: str, *, platform: str = PLATFORM, **data: Any) -> Order:
    """A command about one subscriber, with an id of its own: order("calls.block", "551140000001")."""
    who = {"username": username, "domain": DOMAIN}
    return command(f"{kind}.v1", {"platform": platform, "subscriber": who, **data})


def credit(username: str, amount: str = "10.00", **more: Any) -> Order:
    return order("credit.add", username, amount=amount, **more)


def create(username: str) -> Order:
    return order(
        "subscriber.create",
        username,
        password="password-of-a-subscriber",
        portal_password="portal-password-of-a-subscriber",
        profile="residential",
        rate_plan_id=3,
        email=f"{username}@{DOMAIN}",
        country_code=55,
        area_code=11,
        call_limit=2,
        contract_number=f"C-{username}",
    )


def username_of(sent: Order) -> str:
    return str(sent["data"]["subscriber"]["username"])


# Command -> the one operation that the simulator logs for it.
OPERATION: Mapping[str, str] = {
    "subscriber.create.v1": "insertSubscriber",
    "subscriber.remove.v1": "removeSubscriber",
    "subscriber.block.v1": "blockSubscriber",
    "subscriber.activate.v1": "activateSubscriber",
    "calls.block.v1": "blockOutgoingCalls",
    "calls.unblock.v1": "activateOutgoingCalls",
    "credit.add.v1": "addCredit",
}
ONCE = frozenset({"insertSubscriber", "removeSubscriber", "addCredit"})  # a repeat of the others is harmless

Mark = tuple[str, str]  # operation, and the `obs` where there is one


def mark_of(sent: Order) -> Mark:
    operation = OPERATION[sent["type"]]
    return operation, sent["id"] if operation == "addCredit" else ""


# ---------------------------------------------------------------- the platform


class Sippulse:
    """The simulator as a process; `url` is the platform's address. It may be started later, or again."""

    def __init__(
        self, folder: Path, port: int | None = None, config: Mapping[str, Any] | None = None
    ) -> None:
        """`config`: what it begins with, as in its configuration file."""
        self.folder = folder
        self.config = config
        self.port = port or free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.origin}/SipPulse"
        self._keeper = Keeper()
        self._child: Child | None = None
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", "worker.simulators.sippulse", "--port", str(self.port)]
        if self.config is not None:
            file = self.folder / f"simulator-{self.port}.json"
            file.write_text(json.dumps(self.config))
            words += ["--config", str(file)]
        log = self.folder / f"simulator-{self.port}.log"
        self._child = self._keeper.spawn("simulator", words, env=_environment(), cwd=ROOT, log=log)
        await eventually(lambda: answers(self.port), 60, 0.1, "the simulator")
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60))

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
        if self._child is not None:
            self._child.kill()
            self._keeper.forget(self._child)
        self._keeper.close()

    async def ask(self, view: str, **query: str) -> dict[str, Any]:
        """A view of its admin API: counts, credits, charges, log, state."""
        assert self._http is not None
        async with self._http.get(f"{self.origin}/admin/{view}", params=query) as answer:
            return dict(await answer.json())

    async def tell(self, act: str, **body: Any) -> dict[str, Any]:
        """An act of its admin API: faults, principal, subscribers, charge, traffic, freeze, switches."""
        assert self._http is not None
        async with self._http.post(f"{self.origin}/admin/{act}", json=body) as answer:
            said = dict(await answer.json())
            assert answer.status == 200, said
            return said

    async def subscribers(self, names: Sequence[str], **values: Any) -> None:
        seeds = [{"username": name, "domain": DOMAIN, **values} for name in names]
        await self.tell("subscribers", subscribers=seeds)

    async def fail(self, operation: str | Sequence[str], kind: str, **more: Any) -> None:
        await self.tell("faults", operation=operation, kind=kind, **more)

    async def lose_answers(self, operation: str, share: float) -> None:
        """In every way that it knows; the first rule that is drawn wins."""
        rules = [
            {"kind": "late", "since": "hangup", "within": 1.2, "seconds": 0.6, "share": share / 10},
            {"kind": "late", "connection": "drop", "seconds": 0.8, "share": share / 10},
            {"kind": "undeclared", "applied": True, "share": share / 10},
            {"kind": "html500", "applied": True, "share": share / 10},
            {"kind": "lost", "seconds": LATE, "share": share * 0.6},
        ]
        await self.tell("faults", rules=[{"operation": operation, **rule} for rule in rules])

    async def lie(self, operation: str, share: float) -> None:
        """Done, but the answer says refused, or come back later. Only where a reading can show it (rule 2.5)."""
        common = {"operation": operation, "applied": True, "share": share / 2}
        rules = [{**common, "kind": "declared", "text": "internal error"}, {**common, "kind": "busy"}]
        await self.tell("faults", rules=rules)

    async def heal(self) -> None:
        await self.tell("faults", rules=[], replace=True)

    async def settled(self) -> None:
        """Nothing is late, frozen or dripping any more."""

        async def quiet() -> bool:
            counts = await self.ask("counts")
            return bool(counts["pending"] == 0 and counts["frozen"] == 0)

        await eventually(quiet, 60, 0.1, "a platform with nothing under way")

    async def log(self) -> dict[str, list[Mark]]:
        """Subscriber -> what was applied, in order."""
        found: dict[str, list[Mark]] = defaultdict(list)
        for entry in (await self.ask("log"))["log"]:
            obs = entry["arguments"].get("obs", "") if entry["operation"] == "addCredit" else ""
            found[entry["username"]].append((entry["operation"], obs))
        return found

    async def subscriber(self, username: str) -> dict[str, Any] | None:
        """Its record now, as the platform holds it."""
        found = (await self.ask("state", username=username, domain=DOMAIN))["subscribers"]
        return dict(found[0]) if found else None


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


# ---------------------------------------------------------------- the storm

GONE = (aio_pika.exceptions.AMQPError, ConnectionError, TimeoutError, OSError, asyncio.CancelledError)


class _Timed(Listener):
    """Knows when each event was heard first."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(url, key=key)
        self.at: dict[str, float] = {}  # event id -> monotonic

    async def _hear(self, message: AbstractIncomingMessage) -> None:
        self.at.setdefault(str(message.message_id), time.monotonic())
        await super()._hear(message)


class Storm:
    """Sends orders, hears results, and draws up the account."""

    def __init__(self, broker: str, key: str = "#") -> None:
        """`key`: which results it hears, e.g. those of one platform: "sippulse-br.#"."""
        self.sent: dict[str, Order] = {}  # in the order of sending
        self.at: dict[str, float] = {}  # id -> when it was handed to RabbitMQ, monotonic
        self.messages = 0
        self._broker = broker
        self._results = _Timed(broker, key=key)
        self._began = time.monotonic()

    async def __aenter__(self) -> Self:
        await self._results.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(*GONE):
            await self._results.__aexit__(kind, error, trace)

    async def send(self, orders: Iterable[Order], *, twice: float = 0.0, seed: int = 1) -> None:
        """`twice`: the share of messages that come a second time, somewhere later."""
        orders = list(orders)
        for one in orders:
            self.sent[one["id"]] = one
            self.at[one["id"]] = time.monotonic()
        await self._publish(delivered(orders, twice, random.Random(seed)))

    async def _publish(self, orders: Sequence[Order]) -> None:
        """All in their order; what a restarted broker did not confirm is sent again from its place on."""
        done = 0
        while done < len(orders):
            try:
                async with Sender(self._broker) as sender:
                    while done < len(orders):
                        part = [message(one) for one in orders[done : done + 500]]
                        await asyncio.wait_for(sender.send_all(part), 30)
                        done += len(part)
                        self.messages += len(part)
            except GONE:
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
                await asyncio.sleep(0.2)

    @property
    def heard(self) -> list[Heard]:
        return self._results.heard

    def ended(self) -> dict[str, dict[str, Heard]]:
        """Command -> its final results by event id: one each, however often it was published."""
        found: dict[str, dict[str, Heard]] = defaultdict(dict)
        for one in self.heard:
            if one.data["status"] in FINAL:
                found[about(one)][one.event["id"]] = one
        return found

    def seconds(self, commands: Iterable[str]) -> list[float]:
        """From handing each command to RabbitMQ to hearing its final result; ascending."""
        ended, heard = self.ended(), self._results.at
        return sorted(heard[next(iter(ended[name]))] - self.at[name] for name in commands)

    def with_status(self, *statuses: str) -> dict[str, Heard]:
        """Command -> its latest event of these."""
        return {about(one): one for one in self.heard if one.data["status"] in statuses}

    async def until(self, *statuses: str, within: float = 120.0) -> None:
        """Until each command sent has one of these results. Says who has none when time runs out."""
        start, seen, done = time.monotonic(), 0, set[str]()
        while not self.sent.keys() <= done:
            done |= {about(one) for one in self.heard[seen:] if one.data["status"] in statuses}
            seen = len(self.heard)
            if time.monotonic() - start > within:
                raise AssertionError(self._missing(done, within))
            await asyncio.sleep(0.05)

    async def until_final(self, within: float = 120.0) -> None:
        await self.until(*FINAL, within=within)

    def _missing(self, done: set[str], within: float) -> str:
        missing = [one for one in self.sent if one not in done]
        parked = [m for m in missing if m in self.with_status("parked")]
        named = "\n".join(f"  {self.sent[m]['type']} {m} {username_of(self.sent[m])}" for m in missing[:10])
        said = "\n".join(f"  {m}: {self.with_status('parked')[m].data['error']}" for m in parked[:5])
        return (
            f"{len(missing)} of {len(self.sent)} without a result after {within:.0f} s, {len(parked)} of them "
            f"parked:\n{named}\n{said}"
        )

    async def account(self, platform: Sippulse) -> Account:
        """What the platform says it did, beside what the results say."""
        await platform.settled()
        log = await platform.log()
        counts, credits_ = await platform.ask("counts"), await platform.ask("credits")
        return draw_up(self, log, credits_["by_obs"], counts, time.monotonic() - self._began)


def delivered(orders: Sequence[Order], twice: float, chance: random.Random) -> list[Order]:
    """The orders as they come: some of them again, at once or some messages later."""
    places: list[tuple[float, Order]] = [(float(place), one) for place, one in enumerate(orders)]
    again = [
        (place + chance.choice((0.5, 3.5, 40.5)), one) for place, one in places if chance.random() < twice
    ]
    return [one for _, one in sorted(places + again, key=lambda pair: pair[0])]


def about(one: Heard) -> str:
    """Id of the command, "" where the event names none."""
    return str((one.data.get("command") or {}).get("id") or "")


@dataclass(slots=True)
class Account:
    """Ids of commands under each heading; all but the figures have to be empty."""

    sent: int
    messages: int
    seconds: float
    endings: Counter[str]
    applied: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    retried: int = 0  # calls beyond the first, all commands together
    missing: list[str] = field(default_factory=list)  # said to be done, and is not
    doubled: list[str] = field(default_factory=list)  # took effect more than once
    unsaid: list[str] = field(default_factory=list)  # took effect, and the result says it did not
    unanswered: list[str] = field(default_factory=list)
    answered_twice: list[str] = field(default_factory=list)  # two final results under different event ids
    disordered: list[str] = field(default_factory=list)  # subscribers
    errors: list[Any] = field(default_factory=list)  # of results
    repeats: int = 0  # harmless: a set that was called again after a lost answer

    def expect(self, **endings: int) -> None:
        """So many of each ending; the errors of what ended otherwise are shown."""
        assert self.endings == endings, f"{dict(self.endings)}, not {endings}: {self.errors[:5]}"

    def check(self) -> None:
        wrong = {name: getattr(self, name) for name in WRONG if getattr(self, name)}
        assert not wrong, f"{self}\n{ {name: found[:10] for name, found in wrong.items()} }"

    def __str__(self) -> str:
        counted = {name: len(getattr(self, name)) for name in WRONG}
        return (
            f"sent {self.sent} in {self.messages} messages, {dict(self.endings)}, applied {self.applied}, "
            f"calls again {self.retried}, sets repeated {self.repeats}, {self.seconds:.1f} s; faults "
            f"{self.faults}; {counted}"
        )


WRONG = ("missing", "doubled", "unsaid", "unanswered", "answered_twice", "disordered")


def draw_up(
    storm: Storm,
    log: Mapping[str, Sequence[Mark]],
    by_obs: Mapping[str, Mapping[str, Any]],
    counts: Mapping[str, Any],
    seconds: float,
) -> Account:
    ended = storm.ended()
    last = {command: list(events.values())[-1] for command, events in ended.items()}
    account = Account(
        sent=len(storm.sent),
        messages=storm.messages,
        seconds=seconds,
        endings=Counter(one.data["status"] for one in last.values()),
        applied=sum(len(marks) for marks in log.values()),
        faults=dict(counts["faults"]),
        retried=sum(max(one.data["attempts"] - 1, 0) for one in last.values()),
    )
    account.errors = [one.data["error"] for one in last.values() if one.data["error"]]
    account.unanswered = [one for one in storm.sent if one not in ended]
    account.answered_twice = [one for one, events in ended.items() if len(events) > 1]
    _money(account, storm, last, by_obs)
    _lines(account, storm, last, log)
    return account


def _money(
    account: Account, storm: Storm, last: Mapping[str, Heard], by_obs: Mapping[str, Mapping[str, Any]]
) -> None:
    """Each top-up by the simulator's own count: once if it succeeded, never if it did not."""
    for name, sent in storm.sent.items():
        if sent["type"] != "credit.add.v1" or name not in last:
            continue
        found = by_obs.get(name, {"times": 0, "sum": "0"})
        done = last[name].data["status"] == "succeeded"
        if found["times"] > 1:
            account.doubled.append(name)
        elif done and (found["times"] == 0 or Decimal(found["sum"]) != Decimal(sent["data"]["amount"])):
            account.missing.append(name)
        elif found["times"] and not done:
            account.unsaid.append(name)


def _lines(
    account: Account, storm: Storm, last: Mapping[str, Heard], log: Mapping[str, Sequence[Mark]]
) -> None:
    """Per subscriber, what was applied is what was ordered, in that order; only a set may stand twice in a row."""
    lines: dict[str, list[Order]] = defaultdict(list)
    for name, sent in storm.sent.items():
        if name in last and last[name].data["status"] == "succeeded":
            lines[username_of(sent)].append(sent)
    for username, sents in lines.items():
        seen = list(log.get(username, ()))
        once, repeated, twice = collapsed(seen)
        account.repeats += repeated
        # Money has been counted by `obs` already.
        account.doubled += [f"{operation} of {username}" for operation in twice if operation != "addCredit"]
        if once != collapsed([mark_of(sent) for sent in sents])[0]:
            account.disordered.append(f"{username}: ordered {[mark_of(s) for s in sents]}, saw {seen}")


def collapsed(marks: Sequence[Mark]) -> tuple[list[Mark], int, list[str]]:
    """Without repeats in a row; how many of them, and the operations that no repeat is harmless of."""
    once: list[Mark] = []
    repeated, twice = 0, []
    for mark in marks:
        if not once or once[-1] != mark:
            once.append(mark)
        elif mark[0] in ONCE:
            twice.append(mark[0])
        else:
            repeated += 1
    return once, repeated, twice
