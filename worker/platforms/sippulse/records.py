"""Reading subscribers, and knowing "there is none" by comparison with a name that cannot exist (rule 3.3)."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from worker.domain.outcome import Refused, Unclear
from worker.messages.errors import Code
from worker.platforms.port import Unread
from worker.platforms.sippulse.answers import Answered
from worker.platforms.sippulse.client import Client, Heard
from worker.platforms.sippulse.fields import money

READ = "SubscriberWS.retrieveSubscriber"
MOST_DOMAINS = 1000  # and reads, whose way of saying "absent" is remembered; the longest unused are forgotten

Read = Callable[[], Awaitable[Answered | Unread]]
Ask = Callable[["Name"], Awaitable[Answered | Unread]]
Learn = Callable[[], Coroutine[Any, Any, "Learned | None"]]
Sample = Callable[[], Awaitable[str | None]]
# The arguments of reads that name what is looked for, the narrowest first.
NAMING = ("username", "accountCode", "accountManager", "domain")


@dataclass(frozen=True, slots=True)
class Name:
    username: str
    domain: str

    def __str__(self) -> str:
        return f"{self.username}@{self.domain}"

    @property
    def arguments(self) -> dict[str, str]:
        return {"username": self.username, "domain": self.domain}


@dataclass(frozen=True, slots=True)
class Record:
    """A subscriber as the platform holds it, by wire names. Holds secrets: no repr."""

    fields: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Absent:
    """The platform answered as it does for a name that cannot exist. `said`: the text of its fault, if it was one:
    a domain that this login may not see looks just so."""

    said: str = ""


@dataclass(frozen=True, slots=True)
class Learned:
    """How one domain says "absent". `since`: seconds of time.monotonic()."""

    shape: str
    since: float


def nobody(name: Name, said: str = "") -> Refused:
    """`said`: in the platform's words."""
    own = f', and says: "{said}"' if said else ""
    why = f"no subscriber {name}: the platform knows none of that name{own}"
    return Refused(Code.NOT_FOUND, why, certain=True, said=said or None)


class Shared:
    """One run of a read serves all who asked before it began, and none who asked after."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._next: asyncio.Task[Answered | Unread] | None = None
        self._one = asyncio.Lock()

    async def __call__(self) -> Answered | Unread:
        if self._next is None:
            self._next = asyncio.create_task(self._run())
        return await asyncio.shield(self._next)

    async def _run(self) -> Answered | Unread:
        async with self._one:
            self._next = None  # whoever comes from here on needs a read that begins later
            return await self._read()


class Records:
    """The reads of one platform. `control`: a read with the same login that succeeds when all is well."""

    def __init__(self, client: Client, control: Read, *, settle: float, undeclared: bool) -> None:
        """`settle`: seconds for which another way of saying "absent" has to last before it is believed.
        `undeclared`: this server says "absent" by a fault that its WSDL does not declare.
        """
        self._client, self._settle, self._undeclared = client, settle, undeclared
        self._control = Shared(control)
        self._learned: OrderedDict[str, Learned] = OrderedDict()
        self._changed: dict[str, Learned] = {}
        self._running: dict[tuple[str, str], asyncio.Task[Learned | None]] = {}

    async def subscriber(self, name: Name) -> Record | Absent | Unread:
        return (await self.heard(name))[0]

    async def heard(self, name: Name) -> tuple[Record | Absent | Unread, Heard]:
        """The subscriber, and the exchange that showed it."""
        heard = await self._client.call(READ, name.arguments)
        if isinstance(heard.what, Answered) and is_of(name, heard.what.value):
            return Record(heard.what.value), heard
        return await self._absence(name, heard.what, name.domain, self._ask), heard

    async def balance(self, name: Name) -> Decimal | Unread:
        """In the platform's currency unit. `not_found`, certain, where there is no such subscriber."""
        return (await self.heard_balance(name))[0]

    async def heard_balance(self, name: Name) -> tuple[Decimal | Unread, Heard]:
        heard = await self._client.call("SubscriberWS.retrieveCredit", name.arguments)
        what = heard.what
        if isinstance(what, Answered) and isinstance(what.value, (float, Decimal)):
            try:
                amount = money(what.value)
            except (ValueError, ArithmeticError):
                return Unclear("garbage"), heard
            return (amount if amount else await self._nothing_of(name)), heard
        if isinstance(what, Answered):
            return await self.explained(name, Unclear("garbage")), heard
        return await self.explained(name, what), heard

    async def _nothing_of(self, name: Name) -> Decimal | Unread:
        """A balance of 0: a server may answer that for nobody, too."""
        found = await self.subscriber(name)
        match found:
            case Record():
                return Decimal(0)
            case Absent(said):
                return nobody(name, said)
            case unread:
                return unread

    async def explained(self, name: Name, unread: Unread) -> Unread:
        """A refusal whose text nobody knows: is it that there is no such subscriber?"""
        if unread == Unclear("garbage") or self.may_mean_none(unread):
            found = await self.subscriber(name)
            return nobody(name, found.said) if isinstance(found, Absent) else unread
        return unread

    def may_mean_none(self, what: Answered | Unread) -> bool:
        """A refusal that no table explains, or the fault by which this server says "absent"."""
        if isinstance(what, Refused):
            return not what.certain and may_mean_absent(what)
        return self._undeclared and what == Unclear("server_fault")

    async def nothing(self, endpoint: str, arguments: Mapping[str, Any], what: Answered | Unread) -> bool:
        """Whether a read answers as it does for what cannot exist. `arguments`: of the read, a name among them."""
        varied = next((each for each in NAMING if each in arguments), None)
        if varied is None:
            return False
        domain = str(arguments.get("domain", ""))

        async def ask(name: Name) -> Answered | Unread:
            other = f"{name.username}.invalid" if varied == "domain" else name.username
            return (await self._client.call(endpoint, {**arguments, varied: other})).what

        found = await self._absence(
            Name(str(arguments[varied]), domain), what, _key(endpoint, arguments), ask
        )
        return isinstance(found, Absent)

    def learn_empty(self, endpoint: str, arguments: Mapping[str, Any]) -> None:
        """A read that answers nothing where nothing is does not say so by a fault: one may be a database that is
        down, and has to last for `settle` before it is believed."""
        key = _key(endpoint, arguments)
        if key not in self._learned:
            self._remember(key, Learned("empty", time.monotonic()))

    async def _ask(self, name: Name) -> Answered | Unread:
        return (await self._client.call(READ, name.arguments)).what

    async def _absence(self, name: Name, what: Answered | Unread, key: str, ask: Ask) -> Absent | Unread:
        """`key`: what is alike in how it says "absent"; `ask`: the same read for another name."""
        unread = Unclear("garbage") if isinstance(what, Answered) else what
        shape = self._shape(name, what)
        if shape is None:
            return unread
        if not await self._is_how_absent_looks(key, shape, lambda: self._sample(name.domain, ask)):
            return unread
        if not isinstance(what, Answered) and not isinstance(await self._control(), Answered):
            return unread  # the login, or the whole platform, may be what it complains of
        return Absent(what.text if isinstance(what, Refused) else "")

    async def _is_how_absent_looks(self, key: str, shape: str, sample: Sample) -> bool:
        learned = self._learned.get(key)
        if learned is None:
            learned = await self._once((key, ""), lambda: self._learn(sample))
        elif learned.shape != shape:
            learned = await self._once((key, shape), lambda: self._relearn(key, shape, sample))
        if learned is None or learned.shape != shape:
            return False
        self._remember(key, learned)
        return True

    async def _once(self, key: tuple[str, str], learn: Learn) -> Learned | None:
        """One at a time of a kind: whoever comes meanwhile gets what it learns."""
        if (running := self._running.get(key)) is None:
            running = self._running[key] = asyncio.create_task(learn())
            running.add_done_callback(lambda _: self._running.pop(key))
        return await asyncio.shield(running)

    async def _learn(self, sample: Sample) -> Learned | None:
        """Ask for a name that cannot exist; None where that showed nothing to go by."""
        shape = await sample()
        return None if shape is None else Learned(shape, time.monotonic())

    async def _relearn(self, key: str, shape: str, sample: Sample) -> Learned | None:
        """The answer was another than the one learned. It may be a new version, or a database that is down and
        says the same of every name: so the other way has to last for `settle` before it is believed.
        """
        if await sample() != shape:
            self._changed.pop(key, None)
            return None
        begun = self._changed.get(key)
        if begun is None or begun.shape != shape:
            begun = self._changed[key] = Learned(shape, time.monotonic())
        return begun if time.monotonic() - begun.since >= self._settle else None

    def _remember(self, key: str, learned: Learned) -> None:
        self._changed.pop(key, None)
        self._learned[key] = learned
        self._learned.move_to_end(key)
        while len(self._learned) > MOST_DOMAINS:
            self._learned.popitem(last=False)

    async def _sample(self, domain: str, ask: Ask) -> str | None:
        impossible = Name("zz" + secrets.token_hex(12), domain)
        what = await ask(impossible)
        shape = self._shape(impossible, what)
        if isinstance(what, Answered) or shape is None:
            return shape
        return shape if isinstance(await self._control(), Answered) else None

    def _shape(self, name: Name, what: Answered | Unread) -> str | None:
        """What two answers for absent names have in common; None for what cannot mean "absent"."""
        match what:
            case Answered(value):
                return "empty" if is_nameless(value) else None
            case Refused() if may_mean_absent(what):
                return f"fault: {without_names(what.text, name)}"
            case Unclear("server_fault") if self._undeclared:
                return "undeclared fault"
            case _:
                return None


def _key(endpoint: str, arguments: Mapping[str, Any]) -> str:
    """What is alike in how a read says that there is nothing: one domain's reads, or all where they name one."""
    others = [each for each in NAMING[:-1] if each in arguments]
    return f"{endpoint} {arguments.get('domain', '')}" if others else endpoint


def may_mean_absent(refusal: Refused) -> bool:
    """A fault that no table knows, or that the settings' table knows as `not_found`; no bare HTTP status."""
    unknown = refusal.code is Code.PLATFORM_REFUSED and not refusal.certain
    return (unknown and refusal.platform_code is None) or refusal.code is Code.NOT_FOUND


def is_nameless(value: Any) -> bool:
    """No record at all, or one made of defaults that is nobody's."""
    return value is None or (isinstance(value, Mapping) and not value.get("username"))


def is_of(name: Name, value: Any) -> bool:
    """A record that says it is of this name; a platform may keep names in its own case."""
    if is_nameless(value) or not isinstance(value, Mapping):
        return False
    domain = value.get("domain") or name.domain
    return (str(value["username"]).lower(), str(domain).lower()) == (
        name.username.lower(),
        name.domain.lower(),
    )


def without_names(text: str, name: Name) -> str:
    for part, sign in ((name.username, "<username>"), (name.domain, "<domain>")):
        text = re.sub(rf"(?<![\w]){re.escape(part)}(?![\w])", sign, text, flags=re.IGNORECASE)
    return " ".join(text.split())
