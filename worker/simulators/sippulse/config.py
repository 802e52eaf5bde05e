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
    "not_simulated": "Operation {operation} is known to the platform but not simulated",
}

_CHOICES = {
    "absent": ("fault", "empty"),
    "absent_writes": ("fault", "silent"),
    "duplicates": ("refuse", "double"),
    "passwords": ("returned", "empty", "masked"),
    "domains": ("any", "listed"),
    "omitted": ("clear", "keep"),
}


@dataclass(frozen=True, slots=True)
class Switches:
    """What nobody could tell us of the real platform; every value is a way it may behave.

    absent: how reads report a subscriber that does not exist. absent_writes: what a write to one does.
    duplicates: `double` makes a second record of the same name. passwords: how secrets are read back.
    domains: `listed` refuses domains that the platform does not hold, `any` takes them in on first use.
    omitted: what updateSubscriber does with optional fields that were not sent.
    """

    absent: str = "fault"
    absent_writes: str = "fault"
    duplicates: str = "refuse"
    passwords: str = "returned"
    domains: str = "any"
    omitted: str = "clear"

    def changed(self, changes: Mapping[str, Any]) -> Self:
        for name, value in changes.items():
            if name not in _CHOICES:
                raise ValueError(f"unknown switch {name!r}: we know {', '.join(sorted(_CHOICES))}")
            if value not in _CHOICES[name]:
                raise ValueError(f"switch {name} cannot be {value!r}: it takes {' or '.join(_CHOICES[name])}")
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """How a simulator begins; `reset` comes back to it.

    texts: fault texts that differ from `TEXTS`; {login} {password} {username} {domain} {operation} are
    filled in, so {password} makes the platform echo the secret it was sent. faults, subscribers: as the
    admin API takes them. keepalive: seconds an idle connection is kept open. profiles, dialplans: numbered from 1
    in this order, the same in every domain. numbers: those that can be assigned to subscribers.
    """

    login: str = "admin"
    password: str = field(default="admin", repr=False)
    domains: tuple[str, ...] = ("sippulse.example",)
    profiles: tuple[str, ...] = ("default", "residential", "business")
    dialplans: tuple[str, ...] = ("national", "international")
    numbers: tuple[str, ...] = ("551130001000", "551130001001", "551130001002")
    seed: int = 1
    switches: Switches = field(default_factory=Switches)
    texts: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[Mapping[str, Any], ...] = ()
    subscribers: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    traffic: Mapping[str, Any] | None = None
    keepalive: float = 75.0

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
        for name in ("domains", "profiles", "dialplans", "numbers", "faults", "subscribers"):
            given[name] = tuple(given.get(name, getattr(cls(), name)))
        return cls(**given)
