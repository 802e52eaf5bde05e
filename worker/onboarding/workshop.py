"""Works on uploaded files in the worker's own process: dry runs, sending, and writing down how rows ended.

One process does it, by a lease. What it works on stands in the journal: whoever is killed is followed by another
process, or by himself, and the batch goes on where it was, as it does on the command line.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from worker.journal.batches.batches import BatchBusy, Batches
from worker.journal.batches.uploads import WORKED_ON, Unfit, Upload, Uploads
from worker.journal.console import batches as console_batches
from worker.journal.journal import StoredJournal
from worker.journal.port import JournalDown
from worker.onboarding import job as jobs
from worker.onboarding.against import Against, NotAsked
from worker.onboarding.check import Checked, portions
from worker.onboarding.held import Held, parts_of
from worker.onboarding.mapping import MappingError, Plan
from worker.onboarding.plans import page_plan
from worker.onboarding.publishing import Bulk, BulkGone
from worker.onboarding.rows import Maker
from worker.onboarding.sending import Cancelled, Progress, Sender, Terms, Watch
from worker.onboarding.sheet import Sheet, SheetError, open_sheet
from worker.platforms.port import Platform

log = structlog.get_logger(__name__)

ROLE = "batch_uploads"
LEASE = 10.0  # seconds
EVERY = 2.0  # seconds between two looks for work
SWEEP = 60.0
AGAIN = 10.0  # seconds until what could not be reached is tried again
GOING = 2  # files that are sent at a time: each is in memory until all its rows are
WAITS_CHECK = "another file is being checked just now: this one is next, or after those that asked before"
WAITS_GO = (
    f"{GOING} other files are being sent just now (a paused batch counts): this one goes when one of them is through;"
    " until then it can be taken back"
)
SHARE = 20  # writing down how rows ended takes at most one part in so many of the time
MOST_PROBLEMS = 32 << 20  # bytes
CAUSES = 20  # of bad rows, that the page shows
WRONG = (SheetError, MappingError, jobs.Stopped, NotAsked, Unfit)  # a person has to do something


@dataclass(frozen=True, slots=True)
class Means:
    """What it needs of the worker. `kinds`: platform -> kind; `limits`: its rate and concurrency; sizes in bytes."""

    owner: str
    kinds: dict[str, str]
    limits: dict[str, tuple[float, int]]
    build: Callable[[str], Awaitable[Platform]]
    bulk: Callable[[], Bulk]
    most_message: int
    most_file: int


class Workshop:
    def __init__(self, journal: StoredJournal, means: Means) -> None:
        self._journal = journal
        self._means = means
        self._owner = f"{means.owner}/batches"
        self.uploads = Uploads(journal)
        self.batches = Batches(journal)
        self._platforms: dict[str, Platform] = {}
        self._building = asyncio.Lock()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._checking = asyncio.Semaphore(1)
        self._going = asyncio.Semaphore(GOING)
        self._woken = asyncio.Event()
        self._mine = False
        self._watches: dict[str, Watch] = {}

    def start(self) -> None:
        for work in (self._look_for_work, self._gather):
            self._loops.append(asyncio.create_task(work(), name=f"batches-{work.__name__}"))

    def wake(self) -> None:
        self._woken.set()

    async def stop(self) -> None:
        """What is under way goes on in the next process."""
        tasks = [*self._loops, *self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for platform in self._platforms.values():
            await platform.close()
        if self._mine:
            with suppress(JournalDown):
                await self._journal.let_go(self._owner)

    async def platform(self, name: str) -> Platform:
        """Built once. Raises Unfit."""
        async with self._building:
            if name not in self._platforms:
                try:
                    self._platforms[name] = await self._means.build(name)
                except ValueError as error:
                    raise Unfit(str(error)) from None
            return self._platforms[name]

    # ------------------------------------------------------------ looking for work

    async def _look_for_work(self) -> None:
        swept = 0.0
        while True:
            try:
                self._mine = await self._journal.keep(ROLE, self._owner, LEASE)
                if self._mine:
                    await self._begin()
                    if time.monotonic() - swept > SWEEP:
                        swept = time.monotonic()
                        await self.uploads.sweep()
                else:
                    self._leave()
            except JournalDown as error:
                log.warning("batches.wait", why=str(error))
            except Exception as error:  # must not end the process, nor itself
                log.error("batches.failed", error=type(error).__name__)
            self._woken.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), EVERY)

    async def _begin(self) -> None:
        for upload in await self.uploads.listing(WORKED_ON):
            if upload.id not in self._tasks:
                task = asyncio.create_task(self._work(upload), name=f"upload-{upload.id}")
                self._tasks[upload.id] = task
                task.add_done_callback(lambda _, id=upload.id: self._tasks.pop(id, None))  # type: ignore[misc]  # bound at once

    def _leave(self) -> None:
        """Another process works on them now; two would do no harm, but the same work twice."""
        for task in self._tasks.values():
            task.cancel()

    async def _work(self, upload: Upload) -> None:
        checking = upload.state == "checking"
        turn, work = (self._checking, self._check) if checking else (self._going, self._go)
        try:
            if turn.locked():
                await self.uploads.note(upload.id, WAITS_CHECK if checking else WAITS_GO)
            async with turn:
                now = await self.uploads.find(upload.id)  # a person may have taken it back meanwhile
                if now is not None and now.state == upload.state:
                    if now.text in (WAITS_CHECK, WAITS_GO):
                        await self.uploads.note(upload.id, "")
                    await work(now)
        except WRONG as error:
            await self._stopped(upload, str(error))
        except Cancelled:
            await self.uploads.ended(upload.id, upload.state, "sent")
        except BatchBusy:
            await self._later(upload, "another run of this batch is under way: this one goes on after it")
        except (BulkGone, JournalDown) as error:
            await self._later(upload, str(error))
        except Exception as error:  # one file must not end the others
            log.error("batches.upload_failed", upload=upload.id, error=type(error).__name__)
            await self._stopped(upload, f"it could not be worked on ({type(error).__name__})")
        finally:
            self.wake()

    async def _stopped(self, upload: Upload, text: str) -> None:
        await self.uploads.ended(upload.id, upload.state, "stopped", text[:1000])

    async def _later(self, upload: Upload, text: str) -> None:
        log.warning("batches.upload_waits", upload=upload.id, why=text)
        with suppress(JournalDown):
            await self.uploads.note(upload.id, text[:1000])
        await asyncio.sleep(AGAIN)

    # ------------------------------------------------------------ dry run, and going

    @asynccontextmanager
    async def _opened(self, upload: Upload) -> AsyncIterator[tuple[Held, Sheet, Plan, Maker, Platform]]:
        """The file, in memory while it is worked on."""
        kind = self._means.kinds.get(upload.platform)
        if kind is None:
            raise Unfit(f"there is no platform {upload.platform!r} any more")
        platform = await self.platform(upload.platform)
        with Held(upload.name) as held:
            async for part in self.uploads.parts(upload.id, "file"):
                await asyncio.to_thread(held.write, part)
            try:
                sheet = await asyncio.to_thread(open_sheet, held.path)
                if sheet.sha256 != upload.sha256:
                    raise Unfit("the file is no longer whole in the journal: upload it again")
                plan = page_plan(upload.plan, sheet.columns, kind)
                yield (
                    held,
                    sheet,
                    plan,
                    Maker(plan, upload.platform, kind, platform.plan, self._means.most_message),
                    platform,
                )
            except SheetError as error:
                raise Unfit(str(error).replace(f"{held.path.parent}/", "")) from None

    def _wish(self, upload: Upload, held: Held) -> jobs.Wish:
        asked = upload.wish
        return jobs.Wish(
            upload.batch, bool(asked.get("resume")), bool(asked.get("skip_bad")), asked.get("max_rows"),
            asked.get("max_share_bad"), bool(asked.get("repeats")), bool(upload.plan.get("undoable")),
            str(asked.get("by", "")), held.beside("problems.csv"), rate=asked.get("rate"),
        )  # fmt: skip

    async def _check(self, upload: Upload) -> None:
        async with self._opened(upload) as (held, sheet, plan, maker, platform):
            wish = self._wish(upload, held)
            job = await jobs.begin(sheet, plan, maker, self.batches, wish)
            beyond = None
            if upload.wish.get("against"):
                rate, at_once = self._means.limits[platform.name]
                beyond = Against(platform, max(0.5, rate / 2), max(1, at_once // 2))
            async with self._telling(upload, job) as read:
                found = await jobs.checked(job, self.batches, beyond, read)
            found.seen.close()
            await self._keep_problems(upload, found)
            await self.uploads.ended(upload.id, "checking", "checked", found=_figures(job, found))

    async def _keep_problems(self, upload: Upload, found: Checked) -> None:
        await self.uploads.forget_problems(upload.id)
        if found.report is not None:
            for number, part in enumerate(parts_of(found.report)):
                await self.uploads.keep_part(upload.id, "problems", number, part)

    async def _go(self, upload: Upload) -> None:
        async with self._opened(upload) as (held, sheet, plan, maker, _), self.batches.running(upload.batch):
            wish = self._wish(upload, held)
            job = await jobs.begin(sheet, plan, maker, self.batches, wish)
            async with self._telling(upload, job) as read:
                found = await jobs.checked(job, self.batches, None, read)
            try:
                jobs.may_go(job, found)
                if not await self.uploads.opening(upload):
                    return
                await self._send(upload, job, found)
            finally:
                found.seen.close()
        await self.uploads.ended(upload.id, "going", "sent")

    async def _send(self, upload: Upload, job: jobs.Job, found: Checked) -> None:
        batch = await jobs.opened(job, self.batches, found)
        bulk = self._means.bulk()
        terms = Terms(bool(upload.wish.get("retry_failed")))
        sender = Sender(self.batches, batch, bulk, None, Progress(total=found.rows), terms)
        try:
            await sender.send(portions(job.sheet.rows(), job.maker), found.seen.is_bad)
        finally:
            await bulk.close()

    @asynccontextmanager
    async def _telling(self, upload: Upload, job: jobs.Job) -> AsyncIterator[Callable[[int], None]]:
        """What the check is to call with the rows read so far. The page shows them."""
        rows = [0]

        def read(count: int) -> None:
            rows[0] = count
            if _size(job.problems) > MOST_PROBLEMS:
                raise Unfit(
                    f"after {count} rows the list of problems has {MOST_PROBLEMS >> 20} MB: is it the right mapping?"
                )

        async def tell() -> None:
            while True:
                await asyncio.sleep(1.0)
                with suppress(JournalDown):
                    await self.uploads.read(upload.id, rows[0])

        telling = asyncio.create_task(tell())
        try:
            yield read
        finally:
            telling.cancel()
            await asyncio.wait({telling})

    # ------------------------------------------------------------ how rows ended

    async def _gather(self) -> None:
        """For batches that nobody follows, as those of the command line without --follow."""
        while True:
            began = time.monotonic()
            try:
                if self._mine:
                    await self._gather_once()
            except JournalDown as error:
                log.warning("batches.gather_waits", why=str(error))
            except Exception as error:
                log.error("batches.gather_failed", error=type(error).__name__)
            await asyncio.sleep(max(EVERY / 2, (time.monotonic() - began) * SHARE))

    async def _gather_once(self) -> None:
        names = await self._journal.run(console_batches.open_ones)
        for name in set(self._watches) - set(names):
            del self._watches[name]
        for name in names:
            if name not in self._watches:
                self._watches[name] = Watch(self.batches, await self.batches.needed(name), Progress())
            await self._watches[name].look()


def _size(path: Path) -> int:
    return path.stat().st_size


def _figures(job: jobs.Job, found: Checked) -> dict[str, Any]:
    """What a dry run found, for the page."""
    causes = sorted(found.causes.items(), key=lambda one: -one[1])[:CAUSES]
    return {
        "batch": job.name, "known": job.known is not None, "commands_of_a_row": job.plan.title,
        "rows": found.rows, "good": found.good, "bad": found.bad, "left_out": found.left_out,
        "commands": found.commands, "unused": list(job.plan.unused), "first": [asdict(one) for one in found.first],
        "causes": [{"problem": text, "rows": count} for text, count in causes],
        "problems": found.report is not None,
    }  # fmt: skip
