"""What a storm saw from outside: what was sent, applied, heard, broken and done by hand.

    history.save(path)             # JSON Lines: one record a line, to be read and checked again later
    same = History.load(path)

Nothing in here is the worker's own view of itself, except `unfinished` and `audit_verify`, which are asked of
it at the end. Times are seconds since 1970 (`time.time()`) of the machine that runs the storm.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self

Exchange = Literal["results", "audit"]
Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """A command as it was published. `subscriber`: "user@domain", or "" for one that names none.

    `confirmed`: RabbitMQ has confirmed it at least once. `times`: how often it was published, the tries without
    a confirm included. `expires` and `not_before` are its attributes as seconds, `depends_on` another's id.
    `at`: when it was published first. Records stand in the order of the first publishing; of one subscriber and
    one `queue` that is the order in which the worker has to carry them out. The same id with other content is
    another record.
    """

    id: str
    source: str
    type: str
    platform: str
    subscriber: str
    idempotency_key: str
    data: Table
    at: float
    confirmed: bool = True
    times: int = 1
    expires: float | None = None
    not_before: float | None = None
    depends_on: str | None = None
    queue: str = "provisioning.commands"


@dataclass(frozen=True, slots=True)
class Applied:
    """One change that the platform made. `number` orders them; `command`: the id that `obs` begins with.

    Money that others moved stands here too, with `command` None and a signed `amount`: their top-ups as
    "foreign", rated calls as "call". `changed`: fields of the subscriber that are otherwise since, and what they
    are now (None: nothing); None where nobody looked.
    """

    number: int
    operation: str
    subscriber: str
    command: str | None = None
    amount: Decimal | None = None
    at: float = 0.0
    changed: Table | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Heard:
    """An event that arrived, each time that it arrived. `command`: the id of the command that it is about.

    `attributes`: of the CloudEvent, without `data`; `body`: the bytes as they came; `at`: when.
    """

    exchange: Exchange
    type: str
    event_id: str
    command: str | None
    attributes: dict[str, str]
    data: Table
    body: bytes = field(repr=False)
    at: float


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that the storm broke, and when it was whole again. A kill ends when it begins."""

    kind: str
    target: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Act:
    """Something that an operator did: retry, cancel, resolve, pause … `ok`: the worker accepted it."""

    verb: str
    command: str
    at: float
    ok: bool = True


@dataclass(slots=True)
class History:
    """All of it. `subscribers_before`, `subscribers_after`: "user@domain" -> the platform's record of it at the
    beginning and at the end.

    `unfinished`: command id -> its state, of those that the journal still held at the end. `audit_verify`: what
    `worker audit verify` complained of, None when the chain was whole or nobody asked. `secrets` must appear in
    no log, event or body; `logs` are the files to look through. `key`: the last of the worker's keys as its file
    has it, so that the audit chain can be recomputed; without it only the links of the chain are held against
    each other.
    """

    sent: list[Sent] = field(default_factory=list)
    applied: list[Applied] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    balances_before: dict[str, Decimal] = field(default_factory=dict)
    balances_after: dict[str, Decimal] = field(default_factory=dict)
    subscribers_before: dict[str, Any] = field(default_factory=dict, repr=False)
    subscribers_after: dict[str, Any] = field(default_factory=dict, repr=False)
    logs: tuple[Path, ...] = ()
    audit_verify: str | None = None
    unfinished: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    key: str | None = None

    def save(self, path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            for line in self._lines():
                file.write(json.dumps(line, default=_plain) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        history = cls()
        with path.open(encoding="utf-8") as file:
            for line in file:
                history._take(json.loads(line))
        return history

    def _lines(self) -> Iterator[Table]:
        for name in RECORDS:
            for record in getattr(self, name):
                yield {"is": name, **{one.name: getattr(record, one.name) for one in fields(record)}}
        yield {"is": "rest", **{name: getattr(self, name) for name in REST}}

    def _take(self, line: Table) -> None:
        name = line.pop("is")
        if name == "rest":
            self._take_rest(line)
        else:
            getattr(self, name).append(RECORDS[name](**{key: _typed(key, one) for key, one in line.items()}))

    def _take_rest(self, line: Table) -> None:
        for name in ("balances_before", "balances_after"):
            setattr(self, name, {who: Decimal(amount) for who, amount in line[name].items()})
        self.logs = tuple(Path(log) for log in line["logs"])
        self.secrets = tuple(line["secrets"])
        self.subscribers_before = line.get("subscribers_before", {})
        self.subscribers_after = line["subscribers_after"]
        self.audit_verify = line["audit_verify"]
        self.unfinished = line["unfinished"]
        self.key = line["key"]


RECORDS: dict[str, type[Any]] = {
    "sent": Sent,
    "applied": Applied,
    "heard": Heard,
    "faults": Fault,
    "acts": Act,
}
REST = tuple(one.name for one in fields(History) if one.name not in RECORDS)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal | Path):
        return str(value)
    raise TypeError(f"a history holds no {type(value).__name__}")


def _typed(name: str, value: Any) -> Any:
    if name == "body":
        return base64.b64decode(value)
    return Decimal(value) if name == "amount" and value is not None else value
