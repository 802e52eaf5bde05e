"""Orders, endings and looks at the tables, for tests of the journal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from worker.domain.effect import Risk
from worker.domain.evidence import Reading
from worker.domain.lifecycle import EffectSeen, State
from worker.domain.outcome import Exchange
from worker.journal.core import Core
from worker.journal.journal import StoredJournal
from worker.journal.opening import open_journal
from worker.journal.port import (
    Admission,
    Arrival,
    Claim,
    EvidenceRow,
    Inquiry,
    NewCommand,
    Outgoing,
    Refusal,
    Settlement,
)
from worker.journal.vault import Vault, new_key
from worker.messages.envelope import Envelope
from worker.messages.errors import Code, Problem

PLATFORM = "sip-br"
ALICE, BOB = "sip-br/subscriber/alice@example.org", "sip-br/subscriber/bob@example.org"
CRM = "/crm"
LONG = 60.0  # seconds: a lease that does not end within a test


class Place:
    """One database, under one key."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url = url
        self.key = key or new_key()
        self.core = Core(Vault([self.key]))
        self._opened: list[StoredJournal] = []

    async def open(self, **changes: Any) -> StoredJournal:
        """`exclusive` and `lease` are for the driver, everything else is a limit of `Core`."""
        how = {name: changes.pop(name) for name in ("exclusive", "lease") if name in changes}
        journal = await open_journal(self.url, replace(self.core, **changes), **how)
        self._opened.append(journal)
        return journal

    async def close(self) -> None:
        for journal in self._opened:
            await journal.close()


# ---------------------------------------------------------------- what comes in


def order(
    id: str = "m-1",
    key: str = ALICE,
    *,
    type: str = "calls.block.v1",
    data: dict[str, Any] | None = None,
    platform: str = PLATFORM,
    risk: Risk = Risk.CLAIM,
    secret_output: bool = False,
    **attributes: Any,
) -> Arrival:
    """A command; `attributes` are those of the envelope."""
    given = {"source": CRM, "idempotency_key": id, **attributes}
    filled = {"platform": platform, "kinds": ["outgoing"]} if data is None else data
    envelope = Envelope(id=id, type=type, data=filled, **given)
    item = NewCommand(envelope, platform, key, risk, secret_output)
    return Arrival(item, json.dumps(filled).encode(), "provisioning.commands")


def inquiry(what: Any, id: str, *, source: str = CRM, reply_to: str | None = None, **target: Any) -> Arrival:
    """`target`: target_id, or target_source and target_key."""
    envelope = Envelope(
        id=id,
        source=source,
        type=f"command.{what}.v1",
        data=dict(target),
        idempotency_key=id,
        reply_to=reply_to,
    )
    return Arrival(Inquiry(envelope, what, **target), b"{}", "provisioning.commands")


def bad(id: str | None = "m-bad", *, source: str = CRM, body: bytes = b"{", **more: Any) -> Arrival:
    known = {name: value for name, value in {"id": id, "source": source}.items() if value is not None}
    refusal = Refusal(
        Problem(Code.INVALID_MESSAGE, "the body cannot be read: it ends too early"),
        known,
        body,
        "provisioning.commands",
        {"x-origin": "test"},
        **more,
    )
    return Arrival(refusal, body, "provisioning.commands", refusal.headers)


async def admit(journal: StoredJournal, *arrivals: Arrival) -> list[Admission]:
    return await journal.admit(arrivals)


# ---------------------------------------------------------------- what the engine does


async def claim(
    journal: StoredJournal, owner: str = "w-1", limit: int = 50, lease: float = LONG, platform: str = PLATFORM
) -> list[Claim]:
    return await journal.claim(platform, owner, limit, lease)


async def claim_one(journal: StoredJournal, owner: str = "w-1", lease: float = LONG) -> Claim:
    [one] = await claim(journal, owner, lease=lease)
    return one


def done(claim: Claim, **more: Any) -> Settlement:
    return replace(
        Settlement(
            claim,
            State.SUCCEEDED,
            effect=EffectSeen.APPLIED,
            output={"kinds": ["outgoing"]},
            exchange=Exchange("SubscriberWS.blockCalls", 3.0, 200, "<request/>", "<answer/>"),
            outcome="done",
        ),
        **more,
    )


def refused(claim: Claim, code: Code = Code.PLATFORM_REFUSED, **more: Any) -> Settlement:
    """Ended, and nothing took effect."""
    return replace(
        Settlement(
            claim, State.REJECTED, problem=Problem(code, "the platform refused it"), outcome="refused"
        ),
        **more,
    )


def again(claim: Claim, due_in: float = 0.0, **more: Any) -> Settlement:
    return replace(Settlement(claim, State.WAITING, due_in=due_in, outcome="not_sent", failing=True), **more)


def lost(claim: Claim, due_in: float = 0.0, **more: Any) -> Settlement:
    """The answer was lost: it may have had, or may yet have, an effect."""
    return replace(
        Settlement(
            claim,
            State.IN_DOUBT,
            due_in=due_in,
            effect=EffectSeen.UNKNOWN,
            open_window=True,
            outcome="unclear",
            failing=True,
            left=(),
        ),
        **more,
    )


def still_unknown(claim: Claim, due_in: float = 0.0) -> Settlement:
    """A reading while in doubt that settled nothing."""
    return Settlement(
        claim, State.IN_DOUBT, due_in=due_in, effect=EffectSeen.UNKNOWN, outcome="unclear", failing=True
    )


def parked(claim: Claim, effect: EffectSeen = EffectSeen.NONE, **more: Any) -> Settlement:
    code = Code.EFFECT_UNKNOWN if effect is EffectSeen.UNKNOWN else Code.GAVE_UP
    return replace(
        Settlement(
            claim, State.PARKED, effect=effect, problem=Problem(code, "a person must decide"), left=()
        ),
        **more,
    )


async def settle(journal: StoredJournal, *settlements: Settlement) -> list[bool]:
    return await journal.settle(settlements)


async def run_next(journal: StoredJournal, owner: str = "w-1") -> list[str]:
    """Claim what is due and let it succeed; the ids in the order they were taken."""
    claims = await claim(journal, owner)
    await journal.settle([done(one) for one in claims])
    return [one.message_id for one in claims]


async def run_all(journal: StoredJournal) -> list[str]:
    order = []
    while ids := await run_next(journal):
        order += ids
    return order


def read(step: str = "block", attempt: int = 1, kind: Any = "before", **reading: Any) -> EvidenceRow:
    return EvidenceRow(step, attempt, kind, Reading(**reading))


# ---------------------------------------------------------------- what comes out


@dataclass(frozen=True, slots=True)
class Seen:
    out: Outgoing
    event: dict[str, Any]

    @property
    def what(self) -> str:
        return self.out.type.split(".")[2]

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = self.event["data"]
        return data

    @property
    def id(self) -> str | None:
        """Of the command."""
        command = self.data["command"]
        return None if command is None else command["id"]


async def waiting_events(journal: StoredJournal, table: str = "outbox") -> list[Seen]:
    """What the relay would publish next, in its order."""
    rows = await journal.unpublished(10_000)
    return [Seen(out, json.loads(out.body)) for out in rows if out.table == table]


async def results(journal: StoredJournal, *what: str, private: bool = False) -> list[Seen]:
    """Result events, for everybody, or those for `reply_to`; of these kinds, where some are given."""
    seen = [one for one in await waiting_events(journal) if (one.out.exchange == "") is private]
    return [one for one in seen if not what or one.what in what]


async def take_all(journal: StoredJournal, taken: bool = True) -> list[Seen]:
    """Seal and publish everything."""
    while await journal.seal(1000):
        pass
    rows = await journal.unpublished(10_000)
    await journal.published([(row, taken) for row in rows])
    return [Seen(out, json.loads(out.body)) for out in rows]


async def records(journal: StoredJournal) -> list[dict[str, Any]]:
    """Audit records in the order they were written."""
    rows = await select(journal, "SELECT record FROM audit ORDER BY id")
    return [json.loads(row["record"]) for row in rows]


# ---------------------------------------------------------------- the tables themselves


async def select(journal: StoredJournal, sql: str, *args: Any) -> list[dict[str, Any]]:
    async def work(tx: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in await tx.rows(sql, *args)]

    return await journal.run(work)


async def change(journal: StoredJournal, sql: str, *args: Any) -> int:
    return await journal.run(lambda tx: tx.run(sql, *args))


async def states(journal: StoredJournal) -> dict[str, str]:
    """Message id -> state."""
    rows = await select(journal, "SELECT message_id, state FROM commands")
    return {row["message_id"]: row["state"] for row in rows}


async def earlier(journal: StoredJournal, table: str, seconds: float, *columns: str) -> None:
    """As if what these columns tell had been so many seconds earlier."""
    for column in columns:
        await change(journal, f"UPDATE {table} SET {column} = {column} - {seconds}")


async def lapse(journal: StoredJournal) -> None:
    """All leases have ended."""
    await change(journal, "UPDATE commands SET lease_until = received_at - 1 WHERE owner IS NOT NULL")


async def make_due(journal: StoredJournal) -> None:
    """All that waits for a retry is due."""
    await change(journal, "UPDATE commands SET due_at = received_at WHERE due_at IS NOT NULL")
    await change(journal, "UPDATE lanes SET due_at = 1 WHERE due_at IS NOT NULL")


async def control(journal: StoredJournal, settle: float = 100.0) -> int:
    """A control read that was begun just now and answered."""
    return await journal.control_answered(PLATFORM, await journal.now(), settle)


async def close_window(journal: StoredJournal, settle: float = 100.0) -> int:
    """The platform answered all through the window, which ends with this answer."""
    await control(journal, settle)
    await earlier(journal, "lanes", settle + 1, "window_first")
    return await control(journal, settle)


async def in_doubt(journal: StoredJournal, arrival: Arrival | None = None) -> Claim:
    """A command whose answer was lost, claimed again for reading."""
    await admit(journal, arrival or order())
    await settle(journal, lost(await claim_one(journal)))
    return await claim_one(journal)


async def eventually(fact: Callable[[], Awaitable[Any]], within: float = 30.0) -> Any:
    deadline = asyncio.get_running_loop().time() + within
    while not (found := await fact()):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not so within {within} s: {fact}")
        await asyncio.sleep(0.02)
    return found


async def has(things: Sequence[str], what: str) -> bool:
    return what in things
