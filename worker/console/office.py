"""What pages and API share: the journal, who may come in, what is shown of a person's data."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from itsdangerous import BadSignature, URLSafeTimedSerializer

from worker.console.health import Readiness
from worker.console.runner import Runner
from worker.console.speeds import Speeds
from worker.journal.console import people
from worker.journal.console.access import ConsoleJournal
from worker.journal.console.lists import divided, names
from worker.journal.console.people import Person, Role
from worker.journal.quarantine.resending import Post

if TYPE_CHECKING:
    from worker.console.batching import BatchDesk
    from worker.console.oidc.provider import Provider

FIRST = "first admin"
LEAST_PASSWORD, MOST_PASSWORD = 12, 200  # characters
DOT = "•••"
TRIES_A_MINUTE = 20  # wrong passwords from one address
MOST_ORIGINS = 1000  # addresses of wrong passwords that are remembered beyond their minute
MOST_AT_THE_DOOR = 50  # people who sign in at the same moment


class NotSignedIn(Exception):
    """Nobody is signed in: a page leads to the sign-in, the API answers 401."""


class NotAllowed(Exception):
    """The role does not reach; it was written down."""


class Wrong(Exception):
    """The request makes no sense; the sentence says why. Nothing was changed."""

    def __init__(self, text: str, status: int = 422) -> None:
        super().__init__(text)
        self.status = status


@dataclass(slots=True)
class Office:
    """`kinds`: platform -> kind. `address`: what people type, for links; empty: where the port is."""

    journal: ConsoleJournal
    readiness: Readiness
    kinds: Mapping[str, str]
    runner: Runner
    address: str = ""
    local: bool = True  # names and passwords kept here let people in
    provider: Provider | None = None  # the OpenID Connect provider that does so too
    post: Post | None = None  # the way of single messages to RabbitMQ
    settles: Mapping[str, float] = field(default_factory=dict)  # platform -> seconds of its settle window
    timeouts: Mapping[str, float] = field(default_factory=dict)  # platform -> seconds that a call may take
    max_bytes: int = 262_144  # of a message that intake reads
    rates: Mapping[str, float] = field(default_factory=dict)  # platform -> calls a second, by the settings
    batches: BatchDesk | None = None  # takes files of rows; None: this process takes none
    speeds: Speeds = field(default_factory=Speeds)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    _hasher: PasswordHasher = field(default_factory=PasswordHasher)
    _hashing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _door: asyncio.Lock = field(default_factory=asyncio.Lock)
    _at_the_door: int = 0
    _wrong: dict[str, list[float]] = field(default_factory=dict)
    _nobodys: str = ""  # a hash that no password has

    # ------------------------------------------------------------ signing

    def signer(self, purpose: str) -> URLSafeTimedSerializer:
        """Keys of the journal's own: every process of the console knows them, nobody else does."""
        secret = self.journal.journal.core.vault.content_mac(f"console {purpose}".encode())
        return URLSafeTimedSerializer(secret, salt=purpose)

    def sealed(self, purpose: str, value: Any) -> str:
        return str(self.signer(purpose).dumps(value))

    def opened(self, purpose: str, text: str, age: float) -> Any:
        """What was signed; None where it is forged, or older than `age` seconds."""
        try:
            return self.signer(purpose).loads(text, max_age=int(age))
        except BadSignature:
            return None

    # ------------------------------------------------------------ passwords

    async def hashed(self, password: str) -> str:
        """Raises Wrong for one that is too short."""
        if len(password) < LEAST_PASSWORD:
            raise Wrong(f"a password has at least {LEAST_PASSWORD} characters")
        if len(password) > MOST_PASSWORD:
            raise Wrong(f"a password has at most {MOST_PASSWORD} characters")
        async with self._hashing:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def _is(self, password: str, hash: str) -> bool:
        """One at a time: a flood of guesses takes one core for a while, not the machine."""
        async with self._hashing:
            try:
                return await asyncio.to_thread(self._hasher.verify, hash, password[:MOST_PASSWORD])
            except (Argon2Error, InvalidHashError):
                return False

    async def signed_in(self, name: str, password: str, origin: str) -> str | None:
        """A session's secret, or None; the answer does not tell whether the name exists. Raises Wrong while locked.

        One at a time: guesses made at once would all be looked at before the first of them is counted.
        """
        if self._at_the_door >= MOST_AT_THE_DOOR:
            self._turned_away(origin)
            raise Wrong("too many people sign in at once: wait a moment", 429)
        self._at_the_door += 1
        try:
            async with self._door:
                return await self._let_in(name, password, origin)
        finally:
            self._at_the_door -= 1

    async def _let_in(self, name: str, password: str, origin: str) -> str | None:
        loop = asyncio.get_running_loop()
        if self._too_often(origin, loop.time()):
            self._turned_away(origin)
            raise Wrong("too many wrong passwords from this address: wait a minute", 429)
        run = self.journal.journal.run
        user = await run(lambda tx: people.user(tx, name))
        if user is not None and user.locked is not None:
            self._turned_away(origin)
            raise Wrong(
                f"too many wrong passwords for this name: wait {max(int(user.locked // 60), 1)} min", 429
            )
        known = user.password_hash if user else ""  # empty: a provider lets that person in, no password does
        good = await self._is(password, known or await self._nobody())
        if user is not None and not user.disabled and known and good:
            secret = await run(lambda tx: people.sign_in_as(tx, user, origin))
            if secret is not None:
                return secret
        self._wrong.setdefault(origin, []).append(loop.time())
        await run(lambda tx: people.wrong_password(tx, name, origin))
        return None

    def _turned_away(self, origin: str) -> None:
        """No password was looked at. A record each would let a stranger fill the audit chain: they are counted."""
        self.runner.refusals.left_out("sign_in_denied", origin)

    async def _nobody(self) -> str:
        """Some hash: an unknown name takes as long as a known one."""
        if not self._nobodys:
            async with self._hashing:
                self._nobodys = await asyncio.to_thread(self._hasher.hash, "nobody's password")
        return self._nobodys

    def _too_often(self, origin: str, now: float) -> bool:
        if len(self._wrong) > MOST_ORIGINS:  # those who never came again
            self._wrong = {one: times for one, times in self._wrong.items() if now - times[-1] < 60}
        recent = [at for at in self._wrong.get(origin, ()) if now - at < 60]
        if recent:
            self._wrong[origin] = recent
        else:
            self._wrong.pop(origin, None)
        return len(recent) >= TRIES_A_MINUTE

    # ------------------------------------------------------------ who asks

    async def person_of_session(self, secret: str, touch: bool = True) -> Person | None:
        """`touch`: somebody asks; not a page that keeps itself up to date, which must not keep the session open."""
        found = await self.journal.reader.read(lambda tx: people.session(tx, secret))
        if found is None:
            return None
        if found[1] and touch:
            await self.journal.journal.run(lambda tx: people.touch(tx, secret))
        return found[0]

    async def person_of_token(self, secret: str) -> Person | None:
        return await self.journal.reader.read(lambda tx: people.token(tx, secret))

    async def allowed(self, person: Person, role: Role, act: str, **about: Any) -> None:
        """Raises NotAllowed, having written it down."""
        if not person.may(role):
            await self.runner.refusals.of(person, act, f"the role {person.role} may not: {role} may", **about)
            raise NotAllowed(f"this needs the role {role}; yours is {person.role}")

    # ------------------------------------------------------------ the first admin

    async def first_link(self) -> str | None:
        """Of the page that makes the first admin; None where there is one. It is good until there is one."""
        if await self.journal.journal.run(people.any_admin):
            return None
        return f"{self.address}/first/{self.sealed('first', FIRST)}"

    async def is_link(self, secret: str) -> bool:
        if self.opened("first", secret, people.LINK) == FIRST:
            return not await self.journal.journal.run(people.any_admin)
        return await self.journal.reader.read(lambda tx: people.link_is_good(tx, secret))

    async def use_link(self, secret: str, name: str, password: str) -> bool:
        hash = await self.hashed(password)
        run = self.journal.journal.run
        known = await run(lambda tx: people.user(tx, name))
        if known is not None and known.issuer:
            raise Wrong("this name belongs to somebody from the provider: choose another")
        if self.opened("first", secret, people.LINK) == FIRST:
            return await run(lambda tx: people.put_first(tx, name, hash))
        return await run(lambda tx: people.use_link(tx, secret, name, hash))


# ---------------------------------------------------------------- personal data


def masked_key(key: str) -> str:
    """`platform:kind:name` without the name."""
    start, name = divided(key)
    return f"{start}{name[:1]}{DOT}" if start else DOT


IDS = ("message_id", "idem_key", "correlation_id", "retry_of")  # as the sender made them up


def masked_id(text: Any, key: str) -> Any:
    """An id of a sender; masked whole where it holds the name of the object that `key` is of."""
    return DOT if isinstance(text, str) and names(text, key) else text


def for_viewer(row: Mapping[str, Any]) -> dict[str, Any]:
    """A command without what names a customer. What a platform said is masked whole: it may quote a name."""
    shown, key = dict(row), row.get("partition_key") or ""
    shown |= {name: masked_id(shown[name], key) for name in IDS if name in shown}
    if "line" in shown:
        shown["line"] = [one | {"message_id": masked_id(one["message_id"], key)} for one in shown["line"]]
    if "dependents" in shown:
        shown["dependents"] = masked_dependents(shown["dependents"])
    if shown.get("partition_key"):
        shown["partition_key"] = masked_key(shown["partition_key"])
    for name in ("subject", "output"):
        if shown.get(name):
            shown[name] = DOT
    if shown.get("problem"):
        kept = {name: shown["problem"].get(name) for name in ("code", "advice", "field")}
        shown["problem"] = {name: value for name, value in kept.items() if value} | {"message": DOT}
    for name in ("attempts_made", "readings"):
        shown[name] = [_without(one, ("request", "answer", "reading")) for one in shown.get(name, ())]
    shown["records"] = [_masked_record(one) for one in shown.get("records", ())]
    return shown


def masked_dependents(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """They may be about others, whose names are not at hand: their ids are masked whole, their numbers stay."""
    return [{**one, "message_id": DOT} for one in rows]


def _without(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: DOT if name in names and value else value for name, value in row.items()}


def _masked_record(record: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(record)
    if shown.get("command"):
        key = shown["command"].get("partitionkey") or ""
        command = {name: masked_id(value, key) for name, value in shown["command"].items()}
        command["partitionkey"] = masked_key(key)
        command["subject"] = DOT if command.get("subject") else None
        shown["command"] = command
    details = shown.get("details")
    if isinstance(details, Mapping):  # the platform's own words, which name whom they are about
        shown["details"] = {
            name: DOT if name in ("message", "why") else value for name, value in details.items()
        }
    if shown.get("what") == "denied" and shown.get("reason"):
        shown["reason"] = DOT
    return shown


def masked_records(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [_masked_record(one) for one in records]
