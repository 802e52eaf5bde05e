"""What a storm orders: a seeded mixture of commands about many subscribers, and when each is published.

    work = write(seed=7, commands=2000, seconds=120)
    work.subscribers            # whom the platform has to know before
    work.messages               # what is published, to which exchange, and when

One subscriber's commands all go to one of the two queues: between the queues there is no order. Whatever of it
is refused by the platform under a fault, the rest still makes sense: an effect is held against the result that
its own command got, never against the plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from tests.faults.wishes import AMOUNTS, WISHES, Life
from tests.support.amqp import command
from tests.support.storm import DOMAIN, PLATFORM

INTERACTIVE, BULK = "provisioning.commands", "provisioning.commands.bulk"
SOURCES = {INTERACTIVE: "/storm/crm", BULK: "/storm/batch"}
CREDIT_MAX = "500.00"
NUMBERED = 8  # every so many-th subscriber has a number that may be given to it
DRESSED = ("credit", "calls", "password", "forwarding", "number", "sippulse")
KINDS = ("outgoing", "incoming", "collect", "anonymous", "private", "call_center")

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One publishing. `at`: seconds from the beginning; `after`, `until`: notbefore and expirytime likewise."""

    at: float
    queue: str
    event: Event
    after: float | None = None
    until: float | None = None
    binary: bool = False

    def stamped(self, began: float) -> Event:
        """The event with its times, which are known once the storm has begun."""
        times = {"notbefore": self.after, "expirytime": self.until}
        given = {name: _rfc3339(began + at) for name, at in times.items() if at is not None}
        return {**self.event, **given}


@dataclass(frozen=True, slots=True)
class Workload:
    """`secrets`: what must appear nowhere; each password of the storm holds the first of them.

    `subscribers`: records that the platform has before; `numbers`: those it has to give.
    """

    subscribers: tuple[Event, ...] = field(repr=False)
    numbers: tuple[str, ...] = field(repr=False)
    messages: tuple[Message, ...]
    commands: int
    secrets: tuple[str, ...] = field(repr=False)


def write(seed: int, commands: int, seconds: float, subscribers: int | None = None) -> Workload:
    """`commands`: different ids, within a few; `seconds`: over how long they are spread, bursts included."""
    return Author(seed, commands, seconds, subscribers or max(12, commands // 15)).write()


class Author:
    """Writes one workload; everything random comes from its seed."""

    def __init__(self, seed: int, commands: int, seconds: float, subscribers: int) -> None:
        self.seed, self.commands, self.seconds = seed, commands, seconds
        self.chance = Random(f"{seed}/workload")
        self.mark = f"geheim{self.chance.randrange(16**12):012x}"
        self.lives = [self._life(number) for number in range(subscribers)]
        self.old = tuple(self._record(life) for life in self.lives if life.there)
        self.numbers = tuple(life.number for life in self.lives if life.number)
        self.messages: list[Message] = []
        self.named = 0
        self.recent: dict[str, list[Event]] = {INTERACTIVE: [], BULK: []}
        self.weights = [1 / (place + subscribers / 4) for place in range(subscribers)]  # some are busier

    def _life(self, number: int) -> Life:
        queue, there = BULK if number % 3 == 0 else INTERACTIVE, number % 5 != 0
        own = f"551130{number:06}" if number % NUMBERED == 1 else ""
        return Life(f"55119{number:07}", queue, there, portal=f"{self.mark}-portal", number=own)

    def _record(self, life: Life) -> Event:
        """As whole as an update needs it, which writes back all of it."""
        secrets = {"password": f"{self.mark}-sip", "passwordPortal": life.portal}
        more = {"emailAddress": f"{life.username}@{DOMAIN}", "profile": "residential", "ratePlanId": 3}
        return {**life.name, **secrets, **more, "countryCode": 55, "areaCode": 11, "callLimit": 2}

    def write(self) -> Workload:
        for at in self._moments():
            [life] = self.chance.choices(self.lives, self.weights)
            self._turn(life, at)
        self.messages.sort(key=lambda one: one.at)
        return Workload(self.old, self.numbers, tuple(self.messages), self.named, (self.mark,))

    def _moments(self) -> list[float]:
        """Two thirds spread evenly, a third in bursts of half a second; fewer than commands, for some bring more."""
        bursts = [self.chance.uniform(0, self.seconds) for _ in range(max(2, int(self.seconds // 15)))]
        moments = []
        for _ in range(int(self.commands * 0.9)):
            burst = self.chance.random() < 1 / 3
            start, width = (self.chance.choice(bursts), 0.5) if burst else (0.0, self.seconds)
            moments.append(min(start + self.chance.uniform(0, width), self.seconds))
        return sorted(moments)

    # One turn of one subscriber ------------------------------------------------------------------

    def _turn(self, life: Life, at: float) -> None:
        event = self._next(life)
        [dress] = self.chance.choices(list(DRESSES), list(DRESSES.values()))
        if event["type"].partition(".")[0] in DRESSED and dress is not None:
            dress(self, event, life, at)
        else:
            self._put(event, life, at)
        self.recent[life.queue] = [*self.recent[life.queue][-40:], event]
        if self.chance.random() < 0.06:
            self._again(event, life, at)

    def _next(self, life: Life) -> Event:
        if not life.there:
            life.there = self.chance.random() < 0.85
            return self._create(life) if life.there else self._credit(life)  # some credit for nobody
        [make] = self.chance.choices(list(ORDERS), list(ORDERS.values()))
        return make(self, life)

    def _wish(self, life: Life) -> Event:
        [make] = self.chance.choices(list(WISHES), list(WISHES.values()))
        type_, data = make(self.chance, life, f"{self.mark}-{self.named + 1}")
        return self._named(type_, life.queue, data)

    def _event(self, kind: str, life: Life, **data: Any) -> Event:
        data = {"platform": PLATFORM, "subscriber": life.name, **data}
        return self._named(f"{kind}.v1", life.queue, data)

    def _named(self, type_: str, queue: str, data: Event, **attributes: Any) -> Event:
        self.named += 1
        if self.chance.random() < 0.1:
            attributes["priority"] = self.chance.choice(("high", "normal", "low"))
        name = f"storm{self.seed}-{self.named:06}"
        return command(type_, data, id=name, source=SOURCES[queue], **attributes)

    def _put(self, event: Event, life: Life, at: float, **times: float) -> None:
        self.messages.append(Message(at, life.queue, event, binary=self.chance.random() < 0.1, **times))

    def _again(self, event: Event, life: Life, at: float) -> None:
        """The same message once or twice more: at once, soon, or much later."""
        for _ in range(self.chance.choice((1, 1, 2))):
            self._put(event, life, at + self.chance.choice((0.0, 0.2, 3.0, self.seconds / 3)))

    # Orders ----------------------------------------------------------------------------------------

    def _create(self, life: Life, **more: Any) -> Event:
        life.portal = f"{self.mark}-portal"
        event = self._event(
            "subscriber.create",
            life,
            password=f"{self.mark}-sip",
            portal_password=f"{self.mark}-portal",
            profile="residential",
            rate_plan_id=3,
            email=f"{life.username}@{DOMAIN}",
            country_code=55,
            area_code=11,
            call_limit=2,
            **more,
        )
        event["data"]["contract_number"] = event["id"]  # so that the platform's log tells whose it was
        return event

    def _create_again(self, life: Life) -> Event:
        return self._create(life, **self.chance.choice(({}, {"if_exists": "adopt"})))

    def _credit(self, life: Life) -> Event:
        return self._event("credit.add", life, amount=self.chance.choice(AMOUNTS), note="storm")

    def _too_much(self, life: Life) -> Event:
        return self._event("credit.add", life, amount="500.01")

    def _wrong(self, life: Life) -> Event:
        wrong: tuple[Event, ...] = ({"amount": "-1.00"}, {"amount": "1.00", "colour": "red"}, {})
        return self._event("credit.add", life, **self.chance.choice(wrong))

    def _calls(self, life: Life) -> Event:
        kinds = self.chance.sample(KINDS, self.chance.choice((1, 1, 1, 2, 3)))
        return self._event(self.chance.choice(("calls.block", "calls.unblock")), life, kinds=kinds)

    def _state(self, life: Life) -> Event:
        return self._event(self.chance.choice(("subscriber.block", "subscriber.activate")), life)

    def _remove(self, life: Life) -> Event:
        life.there = False
        return self._event("subscriber.remove", life)

    def _read(self, life: Life) -> Event:
        return self._event(self.chance.choice(("credit.get", "subscriber.get")), life)

    # What makes a command special --------------------------------------------------------------------

    def _expiring(self, event: Event, life: Life, at: float) -> None:
        self._put(event, life, at, until=at + self.chance.choice((-5.0, 0.3, 1.0, 5.0, 600.0)))

    def _later(self, event: Event, life: Life, at: float) -> None:
        self._put(event, life, at, after=at + self.chance.uniform(0.2, 6.0))

    def _dependent(self, event: Event, life: Life, at: float) -> None:
        earlier = [one for one in self.recent[life.queue] if one["type"] != "command.cancel.v1"]
        if earlier:
            event["dependson"] = self.chance.choice(earlier)["id"]
        self._put(event, life, at)

    def _cancelled(self, event: Event, life: Life, at: float) -> None:
        """Sometimes it waits, so that the cancel finds it undone."""
        after = {"after": at + 4.0} if self.chance.random() < 0.5 else {}
        self._put(event, life, at, **after)
        cancel = self._named("command.cancel.v1", life.queue, {"id": event["id"]})
        self._put(cancel, life, at + self.chance.choice((0.0, 0.1, 1.5)))

    def _asked_for(self, event: Event, life: Life, at: float) -> None:
        self._put(event, life, at)
        get = self._named("command.get.v1", life.queue, {"id": event["id"]})
        self._put(get, life, at + self.chance.uniform(0.0, 5.0))

    def _same_key(self, event: Event, life: Life, at: float) -> None:
        """The business's own key again under another id: the same order, or another one."""
        event["idempotencykey"] = f"key-{event['id']}"
        self._put(event, life, at)
        data = dict(event["data"])
        if event["type"] == "credit.add.v1" and self.chance.random() < 0.3:
            data["amount"] = "3.33"
        again = self._named(event["type"], life.queue, data, idempotencykey=event["idempotencykey"])
        self._put(again, life, at + self.chance.choice((0.0, 0.5, 6.0)))

    def _same_id(self, event: Event, life: Life, at: float) -> None:
        """A sender's mistake: another order under an id that it has used."""
        self._put(event, life, at)
        if event["data"].get("amount") in AMOUNTS:  # one that was refused would not have taken its id
            other = {**event, "data": {**event["data"], "amount": "4.44"}}
            self._put(other, life, at + self.chance.choice((0.0, 0.5, 6.0)))


# How often, among the commands about a subscriber that is there.
ORDERS: dict[Callable[[Author, Life], Event], float] = {
    Author._credit: 32,
    Author._calls: 16,
    Author._wish: sum(WISHES.values()),
    Author._state: 8,
    Author._read: 8,
    Author._remove: 4,
    Author._create_again: 4,
    Author._too_much: 1.5,
    Author._wrong: 2.5,
}
DRESSES: dict[Callable[[Author, Event, Life, float], None] | None, float] = {
    None: 74,
    Author._expiring: 4,
    Author._later: 4,
    Author._dependent: 5,
    Author._cancelled: 4,
    Author._asked_for: 3,
    Author._same_key: 4,
    Author._same_id: 2,
}


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
