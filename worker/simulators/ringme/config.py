"""What a simulated RingMe is started with, and the unknowns of the platform that can be switched."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

_CHOICES = {
    "put": ("partial", "replace"),
    "nulls": ("clear", "refuse"),
    "closed_fields": ("ignore", "refuse"),
    "duplicates": ("refuse", "double"),
    "phone_password": ("hidden", "returned", "masked"),
    "names": ("prefixed", "bare"),
    "tokens": ("several", "newest"),
    "refusal_status": ("said", "left_out"),
}


@dataclass(frozen=True, slots=True)
class Switches:
    """What no document says of the real platform; every value is a way it may behave.

    put: whether fields that a PUT leaves out keep their value. nulls: whether null clears one.
    closed_fields: what happens to fields of the record that PUT does not take. duplicates: `double` makes a
    second internal number of the same name. phone_password: how GET phone shows it. names: whether a new
    number gets the client's prefix. tokens: whether an older token lives beside a newer one.
    refusal_status: whether a refusal's body says `status` beside `message`.
    """

    put: str = "partial"
    nulls: str = "clear"
    closed_fields: str = "ignore"
    duplicates: str = "refuse"
    phone_password: str = "hidden"
    names: str = "prefixed"
    tokens: str = "several"
    refusal_status: str = "said"

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

    app_id, app_secret: of the application; username, password: of the API user (password grant).
    token_life: seconds. hourly_limit: calls in `hour` seconds. page_size: entries of a page where the caller
    does not say. clients: fields of client records by id, and `blocked`, `foreign` (not ours: access_denied).
    not_open: fields that a PUT takes and leaves as they were, with 200: "not every parameter is open to the client".
    """

    app_id: str = "app"
    app_secret: str = field(default="app-secret", repr=False)
    username: str = "admin"
    password: str = field(default="admin", repr=False)
    token_life: float = 3600.0
    hourly_limit: int = 100_000
    hour: float = 3600.0
    page_size: int = 20
    seed: int = 1
    keepalive: float = 75.0
    switches: Switches = field(default_factory=Switches)
    faults: tuple[Mapping[str, Any], ...] = ()
    clients: tuple[Mapping[str, Any], ...] = ({"id": 12},)
    extensions: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    not_open: tuple[str, ...] = ()

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
        for name in ("faults", "clients", "extensions", "not_open"):
            given[name] = tuple(given.get(name, getattr(cls(), name)))
        return cls(**given)
