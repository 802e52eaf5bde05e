"""What a simulator is started with, and the unknowns of the platform that can be switched."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

TEXTS = {
    "wrong_principal": "Authentication failed",
    "unknown_domain": "Domain {domain} is not managed by {login}",
    "unknown_subscriber": "Subscriber {username}@{domain} not found",
    "duplicate": "Subscriber {username}@{domain} already exists",
    "unknown_object": "Not found in {what}",
    "duplicate_object": "Already exists in {what}",
    "wrong_customer": "Invalid username or password",
    "wrong_password": "The actual password does not match",
    "unconfirmed_password": "The new password and its confirmation differ",
    "missing": "Required field is missing: {field}",
    "invalid_value": "Invalid value: {field}",
    "not_available": "Number {number} is not available in {domain}",
    "not_simulated": "Operation {operation} is known to the platform but not simulated",
    "already_reached": "Nothing to do: the subscriber is in that state already",
    "ill": "java.lang.NullPointerException",
}

CHOICES = {
    "absent": ("fault", "empty", "undeclared", "record"),
    "absent_writes": ("fault", "silent"),
    "duplicates": ("refuse", "double"),
    "passwords": ("returned", "empty", "masked"),
    "password_reads": ("same", "returned", "empty", "masked"),
    "customer_password": ("portal", "sip"),
    "domains": ("any", "listed"),
    "omitted": ("clear", "keep"),
    "reached": ("accept", "refuse"),
    "blocking": ("hidden", "calls"),
    "rounding": ("exact", "cents"),
    "numbers": ("any", "listed"),
    "goes_along": ("nothing", "all"),
}
MOST_DELAY = 86400.0  # seconds


@dataclass(frozen=True, slots=True)
class Switches:
    """What nobody could tell us of the real platform; every value is a way it may behave.

    absent: how reads report a subscriber that does not exist: by the declared fault, by an empty answer, by
    a fault of the stack, by a record of nobody (and a balance of 0). absent_writes: what a write to one does.
    duplicates: `double` makes a second record of the same name. passwords: how records show secrets;
    password_reads: how retrievePassword does, `same` as records. customer_password: which one CustomerWS takes.
    domains: `listed` refuses domains that the platform does not hold, `any` takes them in on first use.
    omitted: what updateSubscriber does with optional fields that were not sent. reached: what activate… and
    block… of a state that is reached already are answered. blocking: whether blockSubscriber and
    activateSubscriber move the flags of both kinds of calls, or nothing that a read shows. rounding: `cents` keeps balances in cents, half up.
    numbers: `listed` refuses to give away a number that listAvailablesNumbers does not list; one that is somebody
    else's is a duplicate to `any`. goes_along: whether removeSubscriber takes what is the subscriber's with it:
    numbers, aliases, addresses, whitelist, locations.
    cdr_delay: seconds from a charge to its row in vi_cdrs.
    """

    absent: str = "fault"
    absent_writes: str = "fault"
    duplicates: str = "refuse"
    passwords: str = "returned"
    password_reads: str = "same"
    customer_password: str = "portal"
    domains: str = "any"
    omitted: str = "clear"
    reached: str = "accept"
    blocking: str = "hidden"
    rounding: str = "exact"
    numbers: str = "any"
    goes_along: str = "nothing"
    cdr_delay: float = 0.0

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """Raises ValueError that names the switch and what it takes."""
        checked: dict[str, Any] = {name: _checked(name, value) for name, value in changes.items()}
        return replace(self, **checked)


def _checked(name: str, value: Any) -> str | float:
    if name == "cdr_delay":
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 <= value <= MOST_DELAY:
            raise ValueError(f"switch cdr_delay takes seconds from 0 to {MOST_DELAY:g}")
        return float(value)
    if name not in CHOICES:
        raise ValueError(f"unknown switch {name!r}: we know {', '.join(sorted((*CHOICES, 'cdr_delay')))}")
    if value not in CHOICES[name]:
        raise ValueError(f"switch {name} cannot be {value!r}: it takes {' or '.join(CHOICES[name])}")
    return str(value)


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """How a simulator begins; `reset` comes back to it.

    texts: fault texts that differ from `TEXTS`; {login} {password} {username} {domain} {operation} are
    filled in, so {password} makes the platform echo the secret it was sent. faults, subscribers: as the
    admin API takes them. keepalive: seconds an idle connection is kept open. profiles, dialplans: numbered from 1
    in this order, the same in every domain; rate_plans likewise, in each of `domains`. numbers: those that can be
    assigned to subscribers. call_records: a MySQL database to write calls into (vi_cdrs and acc), with its password.
    """

    login: str = "admin"
    password: str = field(default="admin", repr=False)
    domains: tuple[str, ...] = ("sippulse.example",)
    profiles: tuple[str, ...] = ("default", "residential", "business")
    dialplans: tuple[str, ...] = ("national", "international")
    rate_plans: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ("551130001000", "551130001001", "551130001002")
    seed: int = 1
    switches: Switches = field(default_factory=Switches)
    texts: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[Mapping[str, Any], ...] = ()
    subscribers: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    traffic: Mapping[str, Any] | None = None
    keepalive: float = 75.0
    call_records: str | None = field(default=None, repr=False)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a .toml or .json file with the fields above. Raises ValueError that names a wrong field."""
        source = path.read_text(encoding="utf-8")
        return cls.from_values(json.loads(source) if path.suffix == ".json" else tomllib.loads(source))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        known = {each.name for each in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown setting {unknown[0]!r}: we know {', '.join(sorted(known))}")
        given = dict(values)
        given["switches"] = Switches().changed(given.get("switches", {}))
        for name in ("domains", "profiles", "dialplans", "rate_plans", "numbers", "faults", "subscribers"):
            given[name] = tuple(given.get(name, getattr(cls(), name)))
        return cls(**given)
