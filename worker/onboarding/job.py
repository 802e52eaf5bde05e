"""One run of a batch, from the file to the report; what it needs is handed in."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from worker.journal.batches.batches import Batch, Batches, NewBatch, content_mac
from worker.onboarding.check import Beyond, Checked, check
from worker.onboarding.mapping import Plan
from worker.onboarding.rows import Maker
from worker.onboarding.sheet import Sheet

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
HASH = 8  # hex digits of the content in a batch's name


class Stopped(Exception):
    """Nothing was sent; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for."""

    batch: str | None = None
    resume: bool = False
    skip_bad: bool = False
    max_rows: int | None = None
    max_share_bad: float | None = None
    repeats: bool = False
    undoable: bool = False
    by: str = ""
    problems: Path | None = None
    undo_of: str | None = None
    rate: float | None = None  # rows a second; one that goes on keeps what a person has set meanwhile


@dataclass(frozen=True, slots=True)
class Job:
    """A file that was looked at, its plan, and the name of its batch."""

    sheet: Sheet
    plan: Plan
    maker: Maker
    wish: Wish
    name: str
    known: Batch | None = field(default=None)

    @property
    def problems(self) -> Path:
        return self.wish.problems or Path(f"{self.name}.problems.csv")


def batch_name(path: Path, sha256: str) -> str:
    """The file's stem and 8 hex digits of its content."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-.")[:80] or "batch"
    return f"{stem}-{sha256[:HASH]}"


async def begin(sheet: Sheet, plan: Plan, maker: Maker, batches: Batches, wish: Wish) -> Job:
    """Which batch it is. Raises Stopped where it is known with other content and nobody said --resume."""
    name = wish.batch or batch_name(sheet.path, sheet.sha256)
    if not NAME.fullmatch(name):
        raise Stopped(
            f"--batch: a name is letters, digits, '.', '_' and '-', at most 100: {name[:40]!r} is none"
        )
    known = await batches.find(name)
    if known is not None:
        _same(known, sheet, maker, plan_mac(batches, plan), wish)
    return Job(sheet, plan, maker, wish, name, known)


def _same(known: Batch, sheet: Sheet, maker: Maker, plan: str, wish: Wish) -> None:
    if known.platform != maker.platform:
        raise Stopped(
            f"batch {known.name} is for platform {known.platform}: give this one another name (--batch)"
        )
    if known.plan != plan and not wish.resume:
        raise Stopped(
            f"batch {known.name} was begun with another mapping or other commands: give this one another name"
            " (--batch), or say --resume; rows whose commands came out differently are then listed and not sent"
        )
    if known.content != sheet.sha256 and not wish.resume:
        raise Stopped(
            f"batch {known.name} is known with other content ({known.file}): say --resume to send what is new in this"
            " file (changed rows are listed and not sent), or give it another name (--batch)"
        )
    if known.state == "cancelled" and not wish.resume:
        raise Stopped(f"batch {known.name} was cancelled: say --resume to go on with it")


def plan_mac(batches: Batches, plan: Plan) -> str:
    """Keyed, because constants of a mapping may be secrets."""
    whole = [
        [c.type, [[s.path, s.column, s.text, s.value, s.generate, list(s.do), s.lookup, s.default] for s in c.sources],
         [repr(one) for one in c.when], c.optional]
        for c in plan.commands
    ]  # fmt: skip
    lookups = {name: dict(table) for name, table in plan.lookups.items()}
    return content_mac(batches.core, [whole, list(plan.identity), [repr(one) for one in plan.when], lookups])


async def checked(
    job: Job, batches: Batches, beyond: Beyond | None, read: Callable[[int], None] = lambda rows: None
) -> Checked:
    """Read and check the whole file. Raises SheetError."""
    return await check(
        job.sheet,
        job.maker,
        batches,
        job.name,
        job.problems,
        repeats=job.wish.repeats,
        beyond=beyond,
        read=read,
    )


def may_go(job: Job, found: Checked) -> None:
    """Raises Stopped with the reason why nothing is sent."""
    wish = job.wish
    if found.rows == 0:
        raise Stopped(f"{job.sheet.path.name}: no row is to be sent; the mapping leaves {found.left_out} out")
    if wish.max_rows is not None and found.rows > wish.max_rows:
        raise Stopped(f"the file has {found.rows} rows, more than --max-rows {wish.max_rows}")
    if wish.max_share_bad is not None and found.share_bad > wish.max_share_bad:
        raise Stopped(
            f"{found.bad} of {found.rows} rows are bad, more than --max-share-bad {wish.max_share_bad:g}"
        )
    if found.bad and not wish.skip_bad:
        raise Stopped(
            f"{found.bad} of {found.rows} rows are bad: mend them, or send the others with --skip-bad"
        )
    if not found.good:
        raise Stopped("no row is good")


async def opened(job: Job, batches: Batches, found: Checked) -> Batch:
    """The batch, written down."""
    wish = job.wish
    batch = await batches.begin(
        NewBatch(
            job.name,
            job.maker.platform,
            job.plan.title,
            job.sheet.path.name,
            job.sheet.sha256,
            plan_mac(batches, job.plan),
            found.rows,
            wish.by,
            wish.undo_of,
            wish.undoable,
            wish.rate or None,
        )
    )
    return batch if batch.state == "sending" else await batches.reopen(job.name, wish.by)
