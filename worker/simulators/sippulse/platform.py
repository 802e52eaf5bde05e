"""The state of the simulated platform: domains, subscribers, balances, the administrator."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from . import soap, wsdl
from .call_records import CallRecords
from .config import TEXTS, SimulatorConfig, Switches
from .ledger import Charge, Key, Ledger
from .objects import TABLES, Table
from .soap import Call, Scalar, Values
from .wsdl import Field

CENT = Decimal("0.01")


class Declared(Exception):
    """The platform refuses: becomes the declared fault. `text` names an entry of the config's TEXTS."""

    def __init__(self, text: str, **facts: str) -> None:
        super().__init__(text)
        self.text = text
        self.facts = facts


class Undeclared(Exception):
    """The platform stumbles: becomes a fault that its WSDL does not declare."""


@dataclass(slots=True)
class Subscriber:
    """One record: the 50 fields of subscriberDTO, and what no read of the platform shows."""

    dto: Values
    balance: Decimal = Decimal(0)
    opening: Decimal = Decimal(0)
    active: bool = True
    privacy: bool = False
    daily_statistics: bool = False
    services: Values = field(default_factory=dict)  # cps and keepAlive
    class_v: Values = field(default_factory=dict)
    daily: Values = field(default_factory=dict)  # quotas
    monthly: Values = field(default_factory=dict)
    topology_hiding: bool = False
    reloads: int = 0

    @property
    def key(self) -> Key:
        return key_of(self.dto["username"], self.dto["domain"])


def _default(field_: Field) -> Scalar:
    """As Java has it: a primitive is false or 0, all else nothing."""
    return soap.scalar(field_, "0") if field_.required else None


def key_of(username: Scalar, domain: Scalar) -> Key:
    return str(username or ""), str(domain or "").lower()


class Platform:
    """Everything that survives a request. Not thread-safe: it lives in one event loop."""

    def __init__(self, config: SimulatorConfig, call_records: CallRecords | None = None) -> None:
        self.call_records = call_records
        self.schemas = wsdl.schemas()
        self.fields = {each.name: each for each in self.schemas["SubscriberWS"].types["subscriberDTO"]}
        self.switches: Switches = config.switches
        self.texts: dict[str, str] = {**TEXTS, **config.texts}
        self.login, self.password = config.login, config.password
        self.domains: list[str] = [name.lower() for name in config.domains]
        self.ledger = Ledger()
        self.numbers: list[str] = list(config.numbers)
        self.objects = {name: Table() for name in TABLES}
        for name, column, given in (
            ("profiles", "profile", config.profiles),
            ("dialplans", "name", config.dialplans),
        ):
            for each in given:
                self.objects[name].add({column: each})
        for domain in self.domains:
            for each in config.rate_plans:
                self.objects["rateplans"].add({"name": each, "domain": domain})
        self._records: dict[Key, list[Subscriber]] = {}
        self._next_id = 1
        for values in config.subscribers:
            self.seed(values)

    def __iter__(self) -> Iterator[Subscriber]:
        return (record for records in self._records.values() for record in records)

    def __len__(self) -> int:
        """All records, doubles included."""
        return sum(map(len, self._records.values()))

    def keys(self) -> list[Key]:
        return list(self._records)

    def get(self, username: str, domain: str) -> Subscriber | None:
        """The newest record of that name."""
        records = self._records.get(key_of(username, domain))
        return records[-1] if records else None

    def records(self, key: Key) -> int:
        return len(self._records.get(key, ()))

    def add(self, dto: Values) -> Subscriber:
        """Take a record in under a fresh id; what is there under the same name stays."""
        subscriber = Subscriber(dto={**dto, "id": self._next_id})
        subscriber.dto["domain"] = str(dto["domain"]).lower()
        subscriber.dto["accountCode"] = "@".join(subscriber.key)
        self._next_id += 1
        self._records.setdefault(subscriber.key, []).append(subscriber)
        if subscriber.key[1] not in self.domains:
            self.domains.append(subscriber.key[1])
        return subscriber

    def drop(self, subscriber: Subscriber) -> None:
        records = self._records[subscriber.key]
        records.remove(subscriber)
        if not records:
            del self._records[subscriber.key]

    def seed(self, values: Mapping[str, Any]) -> Subscriber:
        """Set up a subscriber as a test wants it: subscriberDTO's names, and `balance`, `active`.

        Raises ValueError for unknown names. It is not counted, as no SOAP call made it.
        """
        given = dict(values)
        balance, active = Decimal(str(given.pop("balance", "0"))), bool(given.pop("active", True))
        if unknown := sorted(set(given) - set(self.fields)):
            raise ValueError(f"unknown field {unknown[0]!r}: subscriberDTO has {', '.join(self.fields)}")
        if not given.get("username") or not given.get("domain"):
            raise ValueError("a subscriber needs a username and a domain")
        subscriber = self.add(self._complete(given))
        subscriber.balance = subscriber.opening = balance
        subscriber.active = active
        return subscriber

    def _complete(self, given: Mapping[str, Any]) -> Values:
        """All 50 fields; calls are allowed unless said otherwise, as the platform's documents have it."""
        calls = ("activeIncomingCalls", "activeOutgoingCalls")
        dto: Values = {}
        for name, field_ in self.fields.items():
            value = given.get(name)
            if value is None:
                value = (True if name in calls else "0") if field_.required else None
            dto[name] = None if value is None else soap.scalar(field_, soap.plain(value))
        return dto

    def nobody(self) -> Subscriber:
        """A record of defaults, as some servers read one that is not there."""
        empty: Values = {name: _default(field_) for name, field_ in self.fields.items()}
        return Subscriber(dto=empty)

    def booked(self, amount: Decimal) -> Decimal:
        """What of an amount reaches a balance."""
        return amount if self.switches.rounding == "exact" else amount.quantize(CENT, ROUND_HALF_UP)

    def charge(self, username: str, domain: str, price: Decimal, **call: Any) -> Charge:
        """A call is rated: its price leaves the balance. `call`: columns of its record.

        Raises KeyError when there is no such subscriber.
        """
        subscriber = self.get(username, domain)
        if subscriber is None:
            raise KeyError(f"no subscriber {username}@{domain} to charge")
        subscriber.balance -= self.booked(price)
        if self.call_records is not None:
            self.call_records.rated(*subscriber.key, f"{price:f}", self.switches.cdr_delay, call)
        return self.ledger.charge(subscriber.key, price)

    def rated(self, charge: Charge) -> bool:
        """Whether the call has its row in vi_cdrs by now."""
        return time.time() >= charge.at + self.switches.cdr_delay

    def authenticate(self, call: Call) -> None:
        if "principal" in call.arguments and call.principal() != (self.login, self.password):
            raise Declared("wrong_principal")
        domain = call.subject[1]
        if self.switches.domains == "listed" and domain and domain not in self.domains:
            raise Declared("unknown_domain")

    def wording(self, call: Call, text: str, facts: Mapping[str, str]) -> str:
        """Fill a fault text's placeholders from the request: {password} echoes the administrator's."""
        login, password = call.principal()
        username, domain = call.subject
        known = {"login": login, "password": password, "username": username, "domain": domain}
        known |= {"operation": call.operation, **_secrets(call), **facts}
        for name, value in known.items():
            text = text.replace("{" + name + "}", value)
        return text


def _secrets(call: Call) -> dict[str, str]:
    """{secret}: the subscriber's own password in the request, wherever it stands."""
    nested = call.arguments.get("subscriber")
    places: tuple[Mapping[str, Any], ...] = (call.arguments, nested if isinstance(nested, dict) else {})
    names = ("newPassword", "password", "voicemailPassword")
    found = [str(place[name]) for place in places for name in names if place.get(name) is not None]
    return {"secret": found[0] if found else ""}
