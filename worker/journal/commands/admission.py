"""Admission: all that has come, in its order of delivery, in one commit (rules 4 and 6).

One admission runs at a time, over all processes: identity and order are decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from worker.domain.lifecycle import EffectSeen, State
from worker.journal.commands.endings import Ending, close_identity, finish, lock_lanes, put_out
from worker.journal.commands.newcomers import Fresh, view_of_envelope, write_commands
from worker.journal.core import Core
from worker.journal.driver import Row, Tx
from worker.journal.port import Admission, Arrival, Inquiry, NewCommand, Refusal
from worker.journal.quarantine.refusals import known_attributes, refuse
from worker.journal.vault import pair_hash
from worker.messages.envelope import Envelope
from worker.messages.errors import Code, Problem
from worker.messages.events import UNKNOWN, Event, canonical, render, result


@dataclass(slots=True)
class Known:
    """An identity that exists already, or that this batch has just made."""

    id: int
    command_id: int
    message_id: str
    content_mac: str
    role: str
    status: str | None
    effect: str | None
    event_id: str | None
    routing_key: str | None
    ending_sealed: str | None

    @property
    def spent(self) -> bool:
        """A key is spent by an effect, or may yet be (rule 4.6)."""
        return self.status is None or self.effect != EffectSeen.NONE


@dataclass(frozen=True, slots=True)
class Target:
    """What an inquiry names. The command is gone when it was purged; its identity stays."""

    identity: Row
    command: Row | None


def content(envelope: Envelope) -> bytes:
    """What two messages must share to be the same order: type and data as sent (rule 4.5)."""
    return canonical([envelope.type, envelope.data])


class Desk:
    """One batch on its way through. Identities made by the batch are seen by the rest of it."""

    def __init__(self, tx: Tx, core: Core) -> None:
        self._tx = tx
        self._core = core
        self._by_message: dict[str, Known] = {}
        self._holders: dict[str, Known] = {}
        self._fresh: list[Fresh] = []
        self._identities: list[tuple[Any, ...]] = []
        self._refused: list[Refusal] = []
        self._numbers: list[int] = []

    async def admit(self, arrivals: Sequence[Arrival]) -> list[Admission]:
        self._numbers = (await self._tx.numbers(len(arrivals), "admission"))[::-1]
        await self._load([a.item.envelope for a in arrivals if not isinstance(a.item, Refusal)])
        answers = [await self._take(arrival) for arrival in arrivals]
        await self._flush()
        await refuse(self._tx, self._core, self._refused)
        return answers

    async def _load(self, envelopes: Sequence[Envelope]) -> None:
        if not envelopes:
            return
        hashes = {pair_hash(e.source, e.id) for e in envelopes}
        hashes |= {pair_hash(e.source, e.depends_on) for e in envelopes if e.depends_on}
        for row in await self._tx.rows(
            "SELECT * FROM identities WHERE message_hash = ANY($1::text[])", sorted(hashes)
        ):
            self._by_message[row["message_hash"]] = _known(row)
        askers: dict[str, set[str]] = {}  # key -> the messages that come with it
        for e in envelopes:
            askers.setdefault(pair_hash(e.source, e.idempotency_key), set()).add(pair_hash(e.source, e.id))
        holders = await self._identities_of(await self._newest(sorted(askers)))
        # The holder itself may have come again beside the duplicate that waits for its answer.
        running = [r for r in holders if r["status"] is None and askers[r["key_hash"]] - {r["message_hash"]}]
        if running:
            holders += await self._as_they_end(running)
        self._holders |= {row["key_hash"]: _known(row) for row in holders}

    async def _identities_of(self, ids: Sequence[int]) -> list[Row]:
        if not ids:
            return []
        return list(await self._tx.rows("SELECT * FROM identities WHERE id = ANY($1)", list(ids)))

    async def _as_they_end(self, running: Sequence[Row]) -> list[Row]:
        """Under their lanes' locks: one that is just ending ends before us, and we see how, or it ends after
        us, and sees who waits for its answer (rule 4.6)."""
        commands = [row["command_id"] for row in running]
        lanes = await self._tx.rows("SELECT lane_id FROM commands WHERE id = ANY($1)", commands)
        await lock_lanes(self._tx, [row["lane_id"] for row in lanes])
        return await self._identities_of([row["id"] for row in running])

    async def _newest(self, keys: list[str]) -> list[int]:
        """The newest holder of each key, by the index alone; most keys have none."""
        rows = await self._tx.rows(
            "SELECT (SELECT MAX(i.id) FROM identities i WHERE i.key_hash = asked.value AND i.role = 'command') AS id"
            " FROM unnest($1::text[]) AS asked(value)",
            keys,
        )
        return [row["id"] for row in rows if row["id"] is not None]

    async def _take(self, arrival: Arrival) -> Admission:
        match arrival.item:
            case Refusal() as refusal:
                self._refused.append(refusal)
                return "refused"
            case Inquiry() as inquiry:
                return await self._inquire(arrival, inquiry)
            case NewCommand() as new:
                return await self._command(arrival, new)

    async def _command(self, arrival: Arrival, new: NewCommand) -> Admission:
        envelope = new.envelope
        mac = self._core.vault.content_mac(content(envelope))
        if (known := self._by_message.get(pair_hash(envelope.source, envelope.id))) is not None:
            return await self._seen(arrival, known, mac, new.platform, new.partition_key)
        holder = self._holders.get(pair_hash(envelope.source, envelope.idempotency_key))
        if holder is not None and holder.spent:
            if holder.content_mac == mac:
                return await self._duplicate(new, holder, mac)
            return await self._refuse(arrival, new.platform, _conflict(envelope, holder))
        if (problem := self._too_old(envelope)) is not None:
            return await self._refuse(arrival, new.platform, problem)
        depends_on = None
        if envelope.depends_on is not None:
            parent = self._by_message.get(pair_hash(envelope.source, envelope.depends_on))
            if parent is None or parent.role == "inquiry":
                return await self._refuse(arrival, new.platform, _no_parent(envelope))
            depends_on = parent.command_id
        self._accept(new, mac, depends_on)
        return "admitted"

    def _too_old(self, envelope: Envelope) -> Problem | None:
        if envelope.time is None or envelope.time > self._tx.now - self._core.dedup_window:
            return None
        days = int(self._core.dedup_window // 86400)
        return Problem(
            Code.TOO_OLD,
            f"its time is more than {days} days ago: whether it ran already is no longer known",
            "time",
        )

    def _accept(self, new: NewCommand, mac: str, depends_on: int | None) -> None:
        number = self._numbers.pop()
        self._fresh.append(Fresh(number, new, mac, depends_on, new.envelope.reply_to))
        self._remember(new.envelope, number, number, mac, "command")

    def _remember(self, envelope: Envelope, number: int, command: int, mac: str, role: str) -> Known:
        message = pair_hash(envelope.source, envelope.id)
        key = pair_hash(envelope.source, envelope.idempotency_key)
        known = Known(number, command, envelope.id, mac, role, None, None, None, None, None)
        self._by_message[message] = known
        if role == "command":
            self._holders[key] = known
        self._identities.append(
            (
                number,
                message,
                key,
                envelope.source,
                envelope.id,
                envelope.idempotency_key,
                mac,
                role,
                command,
                envelope.reply_to,
                # By a clock that is ahead it would be taken for new after its identity was purged.
                max(self._tx.now, envelope.time or 0.0),
            )
        )
        return known

    async def _seen(self, arrival: Arrival, known: Known, mac: str, platform: str, key: str) -> Admission:
        """The same id again: the same message, or a sender's mistake (rule 4.4)."""
        item = arrival.item
        assert not isinstance(item, Refusal)
        if known.content_mac != mac:
            problem = Problem(
                Code.ID_CONFLICT, "another message with other content came under this id already", "id"
            )
            return await self._refuse(arrival, platform, problem)
        if known.ending_sealed is not None and known.event_id is not None:
            await self._repeat(known, item.envelope.reply_to)
        return "repeated"

    async def _repeat(self, known: Known, reply_to: str | None) -> None:
        assert known.ending_sealed is not None
        assert known.event_id is not None
        event = Event(
            id=known.event_id,
            type=f"provisioning.command.{known.status}.v1",
            routing_key=known.routing_key or f"{UNKNOWN}.{UNKNOWN}.{known.status}",
            body=b"",
            reply_to=reply_to,
            correlation_id=known.message_id,
        )
        plain = self._core.vault.open_bytes(known.ending_sealed)
        await put_out(self._tx, self._core, [(None, replace(event, body=plain), known.ending_sealed)])

    async def _duplicate(self, new: NewCommand, holder: Known, mac: str) -> Admission:
        """A new id for an order that ran or runs: the stored result, now or when there is one (rule 4.6)."""
        await self._flush()
        number = self._numbers.pop()
        known = self._remember(new.envelope, number, holder.command_id, mac, "duplicate")
        await self._flush()
        if holder.status is None:
            return "duplicate"
        event = await self._stored_answer(new, holder)
        await close_identity(self._tx, self._core, number, str(holder.status), str(holder.effect), event)
        known.status, known.effect, known.event_id, known.routing_key = (
            holder.status,
            holder.effect,
            event.id,
            event.routing_key,
        )
        known.ending_sealed = self._core.vault.seal_bytes(event.body)
        return "duplicate"

    async def _stored_answer(self, new: NewCommand, holder: Known) -> Event:
        """From the event that the first one ended with: its command may have been purged since."""
        assert holder.ending_sealed is not None
        stored = self._core.vault.open(holder.ending_sealed)
        view = view_of_envelope(new.envelope, new.platform, new.partition_key, self._tx.now)
        data = {**stored["data"], "command": view.command(), "duplicate_of": holder.message_id}
        draft = result(view, str(holder.status), at=self._tx.now, effect=str(holder.effect))
        sequence = data.pop("sequence", 1)
        return render(replace(draft, data=data), sequence, self._core.source)

    async def _refuse(self, arrival: Arrival, platform: str, problem: Problem) -> Admission:
        item = arrival.item
        assert not isinstance(item, Refusal)
        known = known_attributes(item.envelope, platform)
        refusal = Refusal(
            problem, known, arrival.body, arrival.queue, arrival.headers, reply_to=item.envelope.reply_to
        )
        self._refused.append(refusal)
        return "refused"

    async def _inquire(self, arrival: Arrival, inquiry: Inquiry) -> Admission:
        envelope = inquiry.envelope
        mac = self._core.vault.content_mac(content(envelope))
        if (known := self._by_message.get(pair_hash(envelope.source, envelope.id))) is not None:
            return await self._seen(arrival, known, mac, UNKNOWN, "")
        await self._flush()  # what came before it in this batch must be there to be found
        number = self._numbers.pop()
        known = self._remember(envelope, number, number, mac, "inquiry")
        await self._flush()
        target = await self._target(inquiry)
        if target is not None and target.command is not None and inquiry.what == "cancel":
            target = Target(target.identity, await self._cancel(target.command, envelope))
        event = self._answer(envelope, target)
        status, effect = event.type.split(".")[2], EffectSeen.NONE.value
        await close_identity(self._tx, self._core, number, status, effect, event)
        known.status, known.effect, known.event_id, known.routing_key = (
            status,
            effect,
            event.id,
            event.routing_key,
        )
        known.ending_sealed = self._core.vault.seal_bytes(event.body)
        return "answered"

    async def _target(self, inquiry: Inquiry) -> Target | None:
        if inquiry.target_id is not None:
            where, value = "message_hash = $1", pair_hash(inquiry.envelope.source, inquiry.target_id)
        else:
            source = inquiry.target_source or inquiry.envelope.source
            where, value = "key_hash = $1 AND role = 'command'", pair_hash(source, inquiry.target_key or "")
        rows = await self._tx.rows(
            f"SELECT * FROM identities WHERE {where} AND role <> 'inquiry' ORDER BY id DESC LIMIT 1",  # noqa: S608 - fixed texts
            value,
        )
        if not rows:
            return None
        found = await self._tx.rows("SELECT * FROM commands WHERE id = $1", rows[0]["command_id"])
        return Target(rows[0], found[0] if found else None)

    async def _cancel(self, command: Row, envelope: Envelope) -> Row:
        """Only a command that waits and has done nothing can be cancelled by its sender (rule 1)."""
        await lock_lanes(self._tx, [command["lane_id"]])
        # The row as well: the word of a delay goes by it alone, and both count the command's events.
        [row] = await self._tx.rows("SELECT * FROM commands WHERE id = $1 FOR UPDATE", command["id"])
        if not untouched(row):
            return row
        problem = Problem(Code.CANCELLED_BY_SENDER, f"cancelled by message {envelope.id}")
        await finish(self._tx, self._core, [Ending(row, State.CANCELLED, problem=problem, actor="sender")])
        [row] = await self._tx.rows("SELECT * FROM commands WHERE id = $1", command["id"])
        return row

    def _answer(self, envelope: Envelope, target: Target | None) -> Event:
        if target is None:
            view = view_of_envelope(envelope, UNKNOWN, None, self._tx.now)
            problem = Problem(Code.NOT_FOUND, "no command of that id or key is known from this source", "id")
            draft = result(view, "rejected", at=self._tx.now, effect="none", error=problem)
            return render(draft, 1, self._core.source)
        command, identity = target.command, target.identity
        platform = command["platform"] if command else str(identity["routing_key"]).split(".", 1)[0]
        view = view_of_envelope(
            envelope, platform, command["partition_key"] if command else None, self._tx.now
        )
        output = {
            "id": identity["message_id"],
            "status": command["state"] if command else identity["status"],
            "effect": command["effect"] if command else identity["effect"],
        }
        draft = result(view, "succeeded", at=self._tx.now, effect="none", output=output)
        return render(draft, 1, self._core.source)

    async def _flush(self) -> None:
        """Write what the batch has gathered so far."""
        fresh, self._fresh = self._fresh, []
        identities, self._identities = self._identities, []
        await self._tx.many(
            "INSERT INTO identities (id, message_hash, key_hash, source, message_id, idem_key, content_mac, role,"
            " command_id, reply_to, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            identities,
        )
        if fresh:
            await write_commands(self._tx, self._core, fresh)


def _known(row: Row) -> Known:
    return Known(
        row["id"],
        row["command_id"],
        row["message_id"],
        row["content_mac"],
        row["role"],
        row["status"],
        row["effect"],
        row["event_id"],
        row["routing_key"],
        row["ending_sealed"],
    )


def untouched(row: Row) -> bool:
    """It waits, no step of it has finished and no call of it is unresolved."""
    return bool(row["state"] == State.WAITING and row["steps_sealed"] is None and not row["unverified"])


def _conflict(envelope: Envelope, holder: Known) -> Problem:
    return Problem(
        Code.IDEMPOTENCY_CONFLICT,
        f"this idempotencykey belongs to message {holder.message_id}, which has other content and"
        f" {'took effect' if holder.status else 'has not ended'}",
        "idempotencykey",
    )


def _no_parent(envelope: Envelope) -> Problem:
    text = f"dependson: no command {envelope.depends_on!r} of source {envelope.source!r} has come before this one"
    return Problem(Code.UNKNOWN_DEPENDENCY, text, "dependson")
