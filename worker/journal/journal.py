"""The journal: the port's sentences over a database driver, in group commits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from worker.journal import care, limits, pauses, relaying
from worker.journal.batches import care as batch_care
from worker.journal.batches import upload_care
from worker.journal.batching import Batcher
from worker.journal.commands import acts, admission, claims, sweeps
from worker.journal.commands.endings import new_id
from worker.journal.core import Core, write_audit
from worker.journal.driver import Driver, Tx
from worker.journal.port import (
    Admission,
    Arrival,
    Claim,
    EvidenceRow,
    Health,
    JournalError,
    Outgoing,
    Pause,
    PlatformState,
    Quota,
    Refusal,
    Scope,
    Settlement,
)
from worker.journal.quarantine import quarantine, refusals
from worker.messages.events import AuditDraft

T = TypeVar("T")


class StoredJournal:
    """See `port.Journal`. Several engines' tasks settle and mark at once: their commits are shared."""

    def __init__(self, driver: Driver, core: Core) -> None:
        self._driver = driver
        self.core = core
        self._settling: Batcher[Settlement, bool] = Batcher(self.settle)
        self._marking: Batcher[tuple[Claim, EvidenceRow | None], bool] = Batcher(self.mark_sent)

    async def run(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        return await self._driver.transact(work)

    def held(self, name: str) -> AbstractAsyncContextManager[bool]:
        """Hold the lock of that name (fit for a file's) while the block runs; False: somebody else does."""
        return self._driver.held(name)

    def listen(self, heard: Callable[[str], None]) -> None:
        """`heard(channel)`: a platform's name, `relay`, `sweep` or `control`."""
        self._driver.listen(heard)

    async def check_key(self) -> None:
        """The journal knows its key's fingerprint; another one stops the start."""
        name, ours = "key", self.core.vault.fingerprint

        async def work(tx: Tx) -> str:
            await tx.run(
                "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", name, ours
            )
            [row] = await tx.rows("SELECT value FROM meta WHERE name = $1", name)
            return str(row["value"])

        if await self.run(work) != ours:
            raise JournalError(
                "the journal was written under another key: the last of [journal] keys must be the one it began with"
            )

    # ------------------------------------------------------------ intake

    async def admit(self, arrivals: Sequence[Arrival]) -> list[Admission]:
        return await self.run(lambda tx: admission.Desk(tx, self.core).admit(arrivals))

    async def waiting(self) -> int:
        async def work(tx: Tx) -> int:
            [row] = await tx.rows("SELECT count(*) AS n FROM commands WHERE finished_at IS NULL")
            return int(row["n"])

        return await self.run(work)

    async def quarantine_dead(self, arrivals: Sequence[Refusal]) -> None:
        await self.run(lambda tx: refusals.quarantine_dead(tx, self.core, arrivals))

    # ------------------------------------------------------------ engine

    async def claim(self, platform: str, owner: str, limit: int, lease: float) -> list[Claim]:
        return await self.run(lambda tx: claims.claim(tx, self.core, platform, owner, limit, lease))

    async def mark_sent(self, claimed: Sequence[tuple[Claim, EvidenceRow | None]]) -> list[bool]:
        return await self.run(lambda tx: claims.mark_sent(tx, self.core, claimed))

    async def renew(self, claim: Claim) -> bool:
        return await self.run(lambda tx: claims.renew(tx, claim))

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        return await self.run(lambda tx: claims.settle(tx, self.core, settlements))

    async def reserve(self, claim: Claim, quota: Quota) -> str | None:
        """Count the command against the platform's limits, or say which one it would exceed (rule 7.4)."""
        return await self.run(lambda tx: limits.reserve(tx, claim, quota))

    async def flag(self, claim: Claim, flag: str) -> None:
        """Say of a command what its result and the audit are to tell, whosever it is by now."""
        await self.run(lambda tx: claims.flag(tx, claim, flag))

    async def mark_one(self, claim: Claim, evidence: EvidenceRow | None) -> bool:
        return await self._marking.submit((claim, evidence))

    async def settle_one(self, settlement: Settlement) -> bool:
        return await self._settling.submit(settlement)

    async def sweep(self) -> int:
        """Joins, expiries, delays, late commands of cancelled batches, ends of pauses. Short commits, one process
        at a time."""
        done = 0
        for part in (sweeps.join, sweeps.expire, sweeps.tell_delayed, batch_care.cancel_late, pauses.release):
            done += await self._alone("sweep", part)
        return done

    async def rescue(self) -> int:
        return await self._alone("rescue", sweeps.rescue)

    async def _alone(self, lock: str, part: Callable[[Tx, Core], Awaitable[int]]) -> int:
        async def work(tx: Tx) -> int:
            return await part(tx, self.core) if await tx.try_lock(lock) else 0

        return await self.run(work)

    async def heartbeat(self, owner: str, platforms: Sequence[str]) -> dict[str, PlatformState]:
        return await self.run(lambda tx: care.heartbeat(tx, owner, platforms))

    async def leave(self, owner: str) -> None:
        await self.run(lambda tx: care.leave(tx, owner))

    async def hold(self, platform: str, code: str, text: str) -> None:
        await self.run(lambda tx: care.hold(tx, platform, code, text))

    async def release(self, platform: str, actor: str, reason: str) -> bool:
        return await self.run(lambda tx: care.release(tx, platform, actor, reason))

    async def break_circuit(self, platform: str) -> None:
        await self.run(lambda tx: care.break_circuit(tx, platform, True))

    async def close_circuit(self, platform: str) -> None:
        await self.run(lambda tx: care.break_circuit(tx, platform, False))

    async def control_answered(self, platform: str, began: float, settle: float) -> int:
        return await self.run(lambda tx: sweeps.control_answered(tx, platform, began, settle))

    async def keep(self, role: str, owner: str, lease: float) -> bool:
        return await self.run(lambda tx: care.keep(tx, role, owner, lease))

    async def let_go(self, owner: str) -> None:
        """Give back all roles, at a clean stop: the next process need not wait for the lease's end."""
        await self.run(lambda tx: care.let_go(tx, owner))

    async def now(self) -> float:
        async def work(tx: Tx) -> float:
            return tx.now

        return await self.run(work)

    # ------------------------------------------------------------ relay

    async def seal(self, limit: int) -> int:
        return await self.run(lambda tx: relaying.seal(tx, self.core, limit))

    async def unpublished(self, limit: int) -> list[Outgoing]:
        return await self.run(lambda tx: relaying.unpublished(tx, self.core, limit))

    async def published(self, rows: Sequence[tuple[Outgoing, bool]]) -> None:
        await self.run(lambda tx: relaying.published(tx, rows))

    async def republish(self, since: float, untaken_only: bool, actor: str, reason: str) -> int:
        async def work(tx: Tx) -> int:
            count = await relaying.republish(tx, since, untaken_only)
            draft = AuditDraft(
                "republished", "unknown", actor, reason, None, {"events": count, "since": int(since)}
            )
            await write_audit(tx, [(draft, None)], new_id)
            return count

        return await self.run(work)

    async def verify(self, collected: Iterable[Mapping[str, Any]] | None = None) -> relaying.AuditReport:
        return await self.run(lambda tx: relaying.verify(tx, self.core, collected))

    # ------------------------------------------------------------ care and acts

    async def audit(self, drafts: Sequence[AuditDraft]) -> None:
        await self.run(lambda tx: write_audit(tx, [(draft, None) for draft in drafts], new_id))

    async def health(self) -> Health:
        return await self.run(care.health)

    async def platforms(self) -> list[PlatformState]:
        return await self.run(care.states)

    async def pause(self, platform: str, actor: str, reason: str) -> None:
        await self.run(lambda tx: care.pause(tx, platform, actor, reason))

    async def resume(self, platform: str, actor: str, reason: str) -> bool:
        return await self.run(lambda tx: care.resume(tx, platform, actor, reason))

    async def lower(self, platform: str, rate: float, actor: str, reason: str) -> None:
        """`rate`: calls a second, all processes together; the caller knows that it is below the settings'."""
        await self.run(lambda tx: care.lower(tx, platform, rate, actor, reason))

    async def restore(self, platform: str, actor: str, reason: str) -> bool:
        return await self.run(lambda tx: care.restore(tx, platform, actor, reason))

    async def pauses(self) -> list[Pause]:
        """Of everything, commands, sources and batches; those of single platforms are in `platforms`."""
        return await self.run(pauses.listing)

    async def stop(self, scope: Scope, name: str, actor: str, reason: str) -> Pause | None:
        """Returns the pause that there was before."""
        return await self.run(lambda tx: pauses.stop(tx, scope, name, actor, reason))

    async def go_on(self, scope: Scope, name: str, actor: str, reason: str) -> bool:
        return await self.run(lambda tx: pauses.go_on(tx, scope, name, actor, reason))

    async def purge(self) -> Mapping[str, int]:
        total: dict[str, int] = {}
        while True:
            portion = await self.run(lambda tx: care.purge(tx, self.core))
            total = {name: total.get(name, 0) + n for name, n in portion.items()}
            if not any(portion.values()):
                return total

    async def rekey(self, progress: Callable[[str, int], None] = lambda table, done: None) -> dict[str, int]:
        totals = {}
        for table in care.SEALED:
            done, after = 0, 0
            while True:
                count, after = await self._rekey(table, after)
                if count == 0:
                    break
                done += count
                progress(table, done)
            totals[table] = done
        return {**totals, "upload_parts": await self._rekey_parts(progress)}

    async def _rekey(self, table: str, after: int) -> tuple[int, int]:
        return await self.run(lambda tx: care.rekey(tx, self.core, table, after))

    async def _rekey_parts(self, progress: Callable[[str, int], None]) -> int:
        done, after = 0, upload_care.START
        while parts := await self._rekey_some(after):
            done, after = done + len(parts), parts[-1]
            progress("upload_parts", done)
        return done

    async def _rekey_some(self, after: upload_care.Part) -> list[upload_care.Part]:
        return await self.run(lambda tx: upload_care.rekey(tx, self.core, after))

    async def commands(
        self, filters: Mapping[str, Any], limit: int, before: int | None = None
    ) -> list[dict[str, Any]]:
        return await self.run(lambda tx: acts.listing(tx, filters, limit, before))

    async def command(self, name: str) -> dict[str, Any]:
        return await self.run(lambda tx: acts.show(tx, self.core, name))

    async def cancel(self, name: str, actor: str, reason: str) -> dict[str, Any]:
        return await self.run(lambda tx: acts.cancel(tx, self.core, name, actor, reason))

    async def resolve(
        self, name: str, applied: bool, actor: str, reason: str, waive: bool = False
    ) -> dict[str, Any]:
        return await self.run(lambda tx: acts.resolve(tx, self.core, name, applied, actor, reason, waive))

    async def retry(self, name: str, actor: str, reason: str, dependents: bool = False) -> dict[str, Any]:
        return await self.run(
            lambda tx: acts.retry(tx, self.core, name, actor, reason, dependents=dependents)
        )

    async def edit(
        self,
        name: str,
        changes: Mapping[str, Any],
        check: Callable[[str, Mapping[str, Any]], None],
        actor: str,
        reason: str,
        dependents: bool = False,
    ) -> dict[str, Any]:
        """Retry with some fields replaced. `check(type, data)` raises ActRefused when the result is not valid."""

        async def work(tx: Tx) -> dict[str, Any]:
            row, data = await acts.data_of(tx, self.core, name)
            data = acts.merged(data, changes)
            check(row["type"], data)
            return await acts.retry(tx, self.core, name, actor, reason, data, dependents)

        return await self.run(work)

    async def archive(self, name: str, actor: str, reason: str) -> dict[str, Any]:
        return await self.run(lambda tx: acts.archive(tx, name, actor, reason))

    async def quarantined(self, state: str = "kept", limit: int = 100) -> list[dict[str, Any]]:
        return await self.run(lambda tx: quarantine.listing(tx, state, limit))

    async def quarantine_show(
        self, uid: str, actor: str, reason: str
    ) -> tuple[dict[str, Any], bytes | None, dict[str, str]] | None:
        """Looking at a quarantined body is an act (rule 8.4)."""

        async def work(tx: Tx) -> tuple[dict[str, Any], bytes | None, dict[str, str]] | None:
            found = await quarantine.body(tx, self.core, uid)
            if found is not None:
                await self._quarantine_act(tx, "quarantine_shown", found[0]["uid"], actor, reason)
            return found

        return await self.run(work)

    async def quarantine_mark(self, uid: str, state: str, actor: str, reason: str) -> bool:
        """`state`: dropped or sent."""

        async def work(tx: Tx) -> bool:
            done = await quarantine.mark(tx, uid, state)
            if done:
                await self._quarantine_act(tx, f"quarantine_{state}", uid, actor, reason)
            return done

        return await self.run(work)

    async def _quarantine_act(self, tx: Tx, what: str, uid: str, actor: str, reason: str) -> None:
        draft = AuditDraft(what, "unknown", actor, reason, None, {"refused_message": uid})
        await write_audit(tx, [(draft, None)], new_id)

    async def close(self) -> None:
        await self._driver.close()
