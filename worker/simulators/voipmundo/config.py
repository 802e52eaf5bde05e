"""What a simulator is started with, and the unknowns of the platform that can be switched."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

TEXTS = {
    "wrong_token": "Token invalido",
    "no_such_option": "Opcao inexistente",
    "unreadable": "Requisicao incompleta",
    "too_large": "Requisicao acima de 128 kB",
    "missing": "Parametro obrigatorio: {field}",
    "invalid": "Parametro invalido: {field}",
    "too_many": "Requisicoes simultaneas",
    "absent": "Cliente nao encontrado",
    "absent_record": "Registro nao encontrado",
    "not_allowed": "Sem permissao",
}

_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "users": ("object", "list"),
    "absent": ("error", "404"),
    "created": ("customer_id", "nothing"),
    "updates": ("partial", "clear"),
    "simultaneous": ("any", "one"),
    "refusals": (200, 400, 422),
    "level": ("master", "reseller", "subscriber"),
    "lists": ("all", "none"),
}


@dataclass(frozen=True, slots=True)
class Switches:
    """What nobody could tell us of the real platform; every value is a way it may behave.

    users: in a client's record, one user or a list. absent: how a client that does not exist is reported.
    created: whether the reply to a create says the new id. updates: what POST does with fields that are not
    sent. simultaneous: `one` answers 429 to a request that comes while another is being worked on.
    refusals: the HTTP status that goes with error 1. level: of the pair that the simulator was started with;
    `subscriber` makes it the first client's own. lists: `none` has no list of clients (404).
    """

    users: str = "object"
    absent: str = "error"
    created: str = "customer_id"
    updates: str = "partial"
    simultaneous: str = "any"
    refusals: int = 200
    level: str = "master"
    lists: str = "all"

    def changed(self, changes: Mapping[str, Any]) -> Self:
        for name, value in changes.items():
            if name not in _CHOICES:
                raise ValueError(f"unknown switch {name!r}: we know {', '.join(sorted(_CHOICES))}")
            if value not in _CHOICES[name]:
                known = " or ".join(map(str, _CHOICES[name]))
                raise ValueError(f"switch {name} cannot be {value!r}: it takes {known}")
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class CreditNames:
    """What manageCredit calls its parameters: nobody knows, so that these are stand-ins.

    Empty: the platform takes no such parameter. balance: the field of getCustomerBalance.
    """

    customer: str = "customer"
    amount: str = "amount"
    note: str = "note"
    balance: str = "balance"


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """How a simulator begins; `reset` comes back to it.

    resource: what stands in the address of a client's record. texts: reasons that differ from `TEXTS`;
    {token} and {key} are filled in, so that the platform echoes the secrets it was sent. clients, faults: as
    the admin API takes them. decimals: "comma" writes balances as "1.077,90". keepalive: seconds an idle
    connection is kept open. time: seconds a request takes.
    """

    token: str = field(default="11111111-2222-3333-4444-555555555555-1234", repr=False)
    key: str = field(default="66666666-7777-8888-9999-000000000000-5678", repr=False)
    resource: str = "manageCustomers"
    decimals: str = "comma"
    seed: int = 1
    switches: Switches = field(default_factory=Switches)
    credit: CreditNames = field(default_factory=CreditNames)
    texts: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[Mapping[str, Any], ...] = ()
    clients: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    keepalive: float = 75.0
    time: float = 0.0

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
        given["credit"] = CreditNames(**given.get("credit", {}))
        for name in ("faults", "clients"):
            given[name] = tuple(given.get(name, ()))
        return cls(**given)
