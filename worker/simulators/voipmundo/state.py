"""The state of the simulated platform: clients, lines, DIDs, balances, calls."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from worker.simulators.common.rest import RestLedger

from .config import TEXTS, SimulatorConfig

Row = dict[str, Any]

SECRETS = frozenset({"password", "senha", "api_token", "api_key", "digest"})

# The record's fields beside those that a create can set; as texts, as a database driver gives them.
FINANCE: Mapping[str, str] = {
    "allow_loss_call": "0",
    "available_disk_space": "1024",
    "call_only_local": "1",
    "disk_space": "0",
    **{f"franquia_{kind}_{zone}": "0" for kind in ("fixo", "movel") for zone in ("ddi", "ldn", "local")},
    **{
        f"franquia_{kind}_{zone}_used": "0.00"
        for kind in ("fixo", "movel")
        for zone in ("ddi", "ldn", "local")
    },
    "franquia_last_reset": "2026-01-01",
    "habilita_npn": "0",
    "habilita_npn_fixo": "0",
    "id_perfil": "1",
    "id_plano": "1",
    "id_plano_sms": "0",
    **{f"{step}_{zone}": "6" for step in ("inc", "ini", "tmp") for zone in ("c", "c_ddi", "f", "f_ddi")},
    "max_devices": "0",
    "sipcode_no_prefix": "404",
    "tipo_tar": "0",
}
PERMISSIONS = (
    "tem_callingcard",
    "tem_campanha_sms",
    "tem_campanha_voz",
    "tem_conferencia",
    "tem_did",
    "tem_escuta",
    "tem_fila",
    "tem_gravacao",
    "tem_grupo_captura",
    "tem_grupo_chamada",
    "tem_portal",
    "tem_provisionamento",
    "tem_ramal",
    "tem_report",
    "tem_sigame",
    "tem_sms",
    "tem_ura",
)
OWNERSHIP = ("id_hie", "id_origem", "id_vendedor", "id_vinculo")


class Refused(Exception):
    """The platform refuses. `text` names an entry of the config's TEXTS; `status` None: as the switch says."""

    def __init__(self, text: str, status: int | None = None, **facts: str) -> None:
        super().__init__(text)
        self.text, self.status, self.facts = text, status, facts


@dataclass(slots=True)
class Client:
    """One client. `fields`: what a create or an update sent; what no read shows is kept too."""

    id: int
    fields: Row
    token: str
    key: str
    username: str
    status: int = 1
    kind: int = 4
    balance: Decimal = Decimal(0)
    devices: list[Row] = field(default_factory=list)
    calls: list[Row] = field(default_factory=list)
    credits: list[Row] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.fields.get("nome_fantasia") or "")


class State:
    """Everything that survives a request. Not thread-safe: it lives in one event loop."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.switches, self.credit = config.switches, config.credit
        self.token, self.key = config.token, config.key
        self.resource = config.resource
        self.texts: dict[str, str] = {**TEXTS, **config.texts}
        self.decimals, self.time = config.decimals, config.time
        self.ledger = RestLedger()
        self.clients: dict[int, Client] = {}
        self.dids: dict[str, Row] = {}
        self._ids = {"client": 0, "device": 0, "call": 0}
        for values in config.clients:
            self.seed(values)

    def __iter__(self) -> Iterator[Client]:
        return iter(self.clients.values())

    def _next(self, what: str) -> int:
        self._ids[what] += 1
        return self._ids[what]

    def add(self, values: Mapping[str, Any]) -> Client:
        number = self._next("client")
        token, key = (f"{number:08d}-0000-4000-8000-{part:012d}-{number:04d}" for part in (1, 2))
        client = Client(number, dict(values), token, key, f"user{number}")
        self.clients[number] = client
        return client

    def seed(self, values: Mapping[str, Any]) -> Client:
        """Set up a client as a test wants it: a create's names, and `balance`, `status`, `devices`, `token`,
        `key`, `kind`. It is not counted, as no request made it."""
        given = dict(values)
        balance, devices = Decimal(str(given.pop("balance", "0"))), given.pop("devices", ())
        own = {
            name: given.pop(name) for name in ("status", "token", "key", "kind", "username") if name in given
        }
        client = self.add(given)
        client.balance = balance
        for name, value in own.items():
            setattr(client, name, value)
        for device in devices:
            self.add_device(client, device)
        return client

    def find(self, number: Any) -> Client:
        text = str(number)
        client = (
            self.clients.get(int(text)) if text.isdecimal() and text.isascii() and len(text) < 12 else None
        )
        if client is None:
            raise Refused("absent", 404 if self.switches.absent == "404" else None)
        return client

    def add_device(self, client: Client, values: Mapping[str, Any]) -> Row:
        device = {**values, "id": self._next("device"), "saldo": str(values.get("saldo", "0"))}
        client.devices.append(device)
        return device

    def device(self, username: str, digest: str) -> Row | None:
        """By its user, and the MD5 of user and password."""
        for client in self:
            for device in client.devices:
                made = f"{device.get('username')}:{device.get('password')}".encode()
                if device.get("username") == username and digest == hashlib.md5(made).hexdigest():  # noqa: S324 # the platform's way
                    return device
        return None

    def charge(self, client: Client, price: Decimal, **facts: Any) -> Row:
        """A call was made and is rated: its price leaves the balance."""
        client.balance -= price
        row = {"id": self._next("call"), "at": time.time(), "price": price, **facts}
        client.calls.append(row)
        return row

    def amount(self, value: Decimal, places: int = 2) -> str:
        """As the platform writes it: "3.148.895,40" or "3148895.40"."""
        plain = f"{value:,.{places}f}"
        if self.decimals == "comma":
            return plain.replace(",", "_").replace(".", ",").replace("_", ".")
        return plain.replace(",", "")
