"""The state of the simulated platform: tokens, the hourly count, clients and all that hangs on them."""

import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.simulators.common.counts import Counts
from worker.simulators.common.exchange import Answer

from .calls import Call, Refusal
from .config import SimulatorConfig, Switches
from .records import new_client, new_extension
from .wire import answer, refused

Row = dict[str, Any]


@dataclass(slots=True)
class Ledger(Counts):
    """Counters, and what was applied in order. What the admin API seeds is not in it."""

    entries: list[Row] = field(default_factory=list)
    doubles: int = 0
    tokens: int = 0  # that were given
    limited: int = 0  # requests over the hourly limit

    def record(self, call: Call, via: str) -> None:
        shown = {"operation": call.operation, "path": dict(call.path), "body": _masked(call.body), "via": via}
        self.entries.append({"sequence": len(self.entries) + 1, **shown, "at": time.time()})


def _masked(body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    return {name: "***" if "password" in name or "secret" in name else value for name, value in body.items()}


@dataclass(slots=True)
class Hour:
    """The common count of calls. `ends` on time.monotonic()."""

    limit: int
    seconds: float
    used: int = 0
    ends: float = 0.0

    def take(self) -> bool:
        """Count one call; False: it is over the limit."""
        self._turn()
        self.used += 1
        return self.used <= self.limit

    def headers(self) -> dict[str, str]:
        self._turn()
        left = self.ends - time.monotonic()
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(self.limit - self.used, 0)),
            "X-RateLimit-Reset": str(max(round(left + 0.5), 1)),
        }

    def _turn(self) -> None:
        now = time.monotonic()
        if now >= self.ends:
            self.used, self.ends = 0, now + self.seconds


@dataclass(slots=True)
class Client:
    """One PBX client. `foreign`: our login may not see it."""

    record: Row
    blocked: bool = False
    foreign: bool = False


@dataclass(slots=True)
class Extension:
    """An internal number, and what is set beside its record."""

    record: Row
    phone: Row = field(default_factory=dict)
    ani: Row = field(default_factory=lambda: {"default": None})
    rules: dict[int, Row] = field(default_factory=dict)
    events: dict[int, Row] = field(default_factory=dict)


class Platform:
    """Everything that survives a request. Not thread-safe: it lives in one event loop."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.switches: Switches = config.switches
        self.app_id, self.app_secret = config.app_id, config.app_secret
        self.username, self.password = config.username, config.password
        self.not_open = frozenset(config.not_open)
        self.token_life, self.page_size = config.token_life, config.page_size
        self.user_blocked = False
        self.ledger = Ledger()
        self.hour = Hour(config.hourly_limit, config.hour)
        self.tokens: dict[str, float] = {}  # token -> when it ends, by time.monotonic()
        self.clients: dict[int, Client] = {}
        self.extensions: dict[int, Extension] = {}
        self.tables: dict[str, dict[int, Row]] = {name: {} for name in TABLES}
        self.calls: list[Row] = []
        self._next_id = 1000
        for values in config.clients:
            self.seed_client(values)
        for values in config.extensions:
            self.seed_extension(values)

    # Serving -----------------------------------------------------------------------------------------

    def serve(self, call: Call, via: str) -> Answer:
        from .operations import OPERATIONS

        traces = self.ledger.operations[call.operation]
        operation = OPERATIONS[call.operation]
        try:
            if call.operation != "oauth.token":
                self._admit(call)
            value = operation.run(self, call)
        except Refusal as refusal:
            traces.refused += 1
            status = refusal.status if self.switches.refusal_status == "said" else ""
            headers = {**self.hour.headers(), **refusal.headers}
            return refused(refusal.code, status, refusal.message, headers)
        traces.applied += 1
        if call.changes:
            self.ledger.record(call, via)
        return answer(operation.success, value, self.hour.headers())

    def _admit(self, call: Call) -> None:
        ends = self.tokens.get(call.token or "")
        if ends is None or time.monotonic() >= ends:
            raise Refusal(401, "unauthorized", "The access token is missing, wrong or has expired")
        if not self.hour.take():
            self.ledger.limited += 1
            raise Refusal(429, "rate_limit_exceeded", "The hourly limit of requests is exceeded")
        if self.user_blocked:
            raise Refusal(403, "user_blocked", "The user or his client is blocked")

    def token(self, call: Call) -> Row:
        form = call.body
        if (form.get("client_id"), form.get("client_secret")) != (self.app_id, self.app_secret):
            raise Refusal(401, "invalid_client", "The application is unknown or its secret is wrong")
        grant = form.get("grant_type")
        if grant == "password":
            if (form.get("username"), form.get("password")) != (self.username, self.password):
                raise Refusal(400, "invalid_grant", "The username or the password is wrong")
        elif grant != "client_credentials":
            raise Refusal(400, "unsupported_grant_type", "grant_type is client_credentials or password")
        if self.switches.tokens == "newest":
            self.tokens.clear()
        token = secrets.token_urlsafe(24)
        self.tokens[token] = time.monotonic() + self.token_life
        self.ledger.tokens += 1
        given = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": int(self.token_life),
            "scope": "all",
        }
        return {**given, "refresh_token": secrets.token_urlsafe(24)} if grant == "password" else given

    # What operations ask for -------------------------------------------------------------------------

    def next_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def client(self, call: Call) -> Client:
        """The client in the path; @me is the first one."""
        if call.path["client_id"] == "@me" and self.clients:
            return next(iter(self.clients.values()))
        found = self.clients.get(call.number("client_id"))
        if found is None:
            raise Refusal(404, "client_not_found", "Record not found")
        if found.foreign:
            raise Refusal(403, "access_denied", "Access denied")
        if found.blocked:
            raise Refusal(403, "user_blocked", "The user or his client is blocked")
        return found

    def extension(self, call: Call) -> Extension:
        found = self.extensions.get(call.number("extension_id"))
        inside = "client_id" not in call.path or (
            found is not None and found.record["client_id"] == self.client(call).record["id"]
        )
        if found is None or not inside:
            raise Refusal(404, "not_found", "Record not found")
        return found

    def extensions_of(self, client_id: int) -> Iterator[Extension]:
        return (each for each in self.extensions.values() if each.record["client_id"] == client_id)

    def rows(self, table: str, client_id: int) -> list[Row]:
        return [row for row in self.tables[table].values() if row.get("client_id") == client_id]

    # Seeding -----------------------------------------------------------------------------------------

    def seed_client(self, values: Mapping[str, Any]) -> Client:
        """A client as a test wants it. Raises ValueError for unknown fields; it is not counted."""
        given = dict(values)
        blocked, foreign = bool(given.pop("blocked", False)), bool(given.pop("foreign", False))
        record = new_client(int(given.pop("id", 0)) or self.next_id(), given)
        self.clients[record["id"]] = Client(record, blocked, foreign)
        return self.clients[record["id"]]

    def seed_extension(self, values: Mapping[str, Any]) -> Extension:
        given = dict(values)
        phone: Row = {name: given.pop(name) for name in ("password", "allow_webrtc") if name in given}
        client = self.clients[int(given.pop("client_id", next(iter(self.clients))))]
        record = new_extension(int(given.pop("id", 0)) or self.next_id(), client.record, given)
        self.extensions[record["id"]] = Extension(record, phone)
        return self.extensions[record["id"]]


TABLES = ("groups", "dial_rules", "users", "group_users", "dids", "recordings", "applications")
