"""What the console asks of batches: files taken in, mappings tried, dry runs and sending asked for, reports.

The console knows it by its port (`worker/console/batching.py`); the work itself is done by the workshop.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Literal

from worker.domain.redaction import MASK, without_secrets
from worker.journal.batches.uploads import Unfit, Upload
from worker.journal.journal import StoredJournal
from worker.onboarding.fields import fields_of, put, take
from worker.onboarding.held import Held, file_name, parts_of
from worker.onboarding.job import NAME, batch_name
from worker.onboarding.mapping import MappingError
from worker.onboarding.matching import mapping_text
from worker.onboarding.plans import CREATE, MOST_TEXT, ONBOARD, offered, page_plan
from worker.onboarding.rehearsal import rehearse, sample_of
from worker.onboarding.rows import Finding, Made, Maker
from worker.onboarding.streamed import report
from worker.onboarding.workshop import Means, Workshop

PATIENCE = 120.0  # seconds that a file may take to come in


class Desk:
    def __init__(self, journal: StoredJournal, means: Means) -> None:
        self._means = means
        self.most = means.most_file
        self._workshop = Workshop(journal, means)
        self.uploads = self._workshop.uploads
        self.batches = self._workshop.batches
        self._door = asyncio.Semaphore(1)  # one file at a time: it is in memory until it is in the journal

    def start(self) -> None:
        self._workshop.start()

    async def stop(self) -> None:
        await self._workshop.stop()

    # ------------------------------------------------------------ a file comes in

    async def take(self, name: str, chunks: AsyncIterator[bytes], by: str) -> int:
        """The upload's number. Raises Unfit: too large, no table, or another one is coming in just now."""
        if self._door.locked():
            raise Unfit("another file is coming in just now: try again in a minute", 429)
        async with self._door:
            with Held(file_name(name)) as held:
                try:
                    async with asyncio.timeout(PATIENCE):
                        await self._receive(held, chunks)
                except TimeoutError:
                    raise Unfit(f"the file did not come in within {PATIENCE:.0f} seconds", 408) from None
                kept = held.fit_name()
                return await self._keep(kept, held, await rehearse(held), by)

    async def _receive(self, held: Held, chunks: AsyncIterator[bytes]) -> None:
        async for chunk in chunks:
            if held.size + len(chunk) > self.most:
                raise Unfit(
                    f"a file has at most {self.most >> 20} MB here ([console] upload_max); larger ones go on the command"
                    " line: `worker onboard FILE` or `worker batch run FILE`",
                    413,
                )
            held.write(chunk)

    async def _keep(self, name: str, held: Held, looked: Mapping[str, Any], by: str) -> int:
        upload = await self.uploads.begin(name, held.size, str(looked["sha256"]), by, looked)
        try:
            for number, part in enumerate(parts_of(held.path)):
                await self.uploads.keep_part(upload, "file", number, part)
            await self.uploads.whole(upload, by)
        except BaseException:
            await asyncio.shield(self.uploads.cut_off(upload))
            raise
        return upload

    # ------------------------------------------------------------ what is to become of a row

    def commands(self, platform: str) -> list[str]:
        """What a row can become there, besides `onboard`."""
        return offered(self._kind(platform))

    def batch_name(self, upload: Upload) -> str:
        return batch_name(Path(upload.name), upload.sha256)

    def mapping(self, upload: Upload, platform: str, command: str) -> str:
        """One to begin with: what could be guessed from the headers, and all other fields as comments."""
        type = CREATE if command == ONBOARD else command
        return mapping_text(upload.name, list(upload.looked["columns"]), type, self._kind(platform))

    async def plan(self, upload: Upload, platform: str, given: Mapping[str, Any]) -> None:
        """Keep what is to become of a row. Raises Unfit with what is wrong with it."""
        self._planned(upload, platform, given)
        name = str(given.get("batch") or self.batch_name(upload))
        if not NAME.fullmatch(name):
            raise Unfit("the name of a batch is letters, digits, '.', '_' and '-', at most 100")
        kept = {
            "command": given.get("command") or ONBOARD,
            "mapping": str(given.get("mapping") or "")[:MOST_TEXT],
            "undoable": bool(given.get("undoable")),
            "batch": name,
        }
        if not await self.uploads.plan(upload.id, platform, kept):
            raise Unfit("it is being worked on, or was sent: its mapping stays as it is", 409)

    def _planned(self, upload: Upload, platform: str, given: Mapping[str, Any]) -> Any:
        try:
            return page_plan(given, list(upload.looked["columns"]), self._kind(platform))
        except MappingError as error:
            raise Unfit(str(error)) from None

    def _kind(self, platform: str) -> str:
        if platform not in self._means.kinds:
            raise Unfit(
                f"there is no platform {platform[:40]!r}: we know {', '.join(sorted(self._means.kinds))}", 404
            )
        return self._means.kinds[platform]

    async def preview(self, upload: Upload) -> list[dict[str, Any]]:
        """The first rows as commands, without their secrets. Raises Unfit."""
        kind = self._kind(upload.platform)
        plan = self._planned(upload, upload.platform, upload.plan)
        platform = await self._workshop.platform(upload.platform)
        maker = Maker(plan, upload.platform, kind, platform.plan, self._means.most_message)
        made = await asyncio.to_thread(
            lambda: [(row.number, maker.make(row)) for row in sample_of(upload.looked)]
        )
        return [_shown(number, one, kind) for number, one in made]

    # ------------------------------------------------------------ acts

    async def check(self, upload: Upload, by: str, against: bool, repeats: bool) -> None:
        """Ask for a dry run. Raises Unfit."""
        wish = {"by": by, "against": against, "repeats": repeats, "resume": True}
        await self._ask(upload, "checking", ("ready", "checked", "stopped"), by, None, wish)

    async def go(
        self, upload: Upload, by: str, reason: str, wish: Mapping[str, Any], seen: float | None = None
    ) -> str:
        """Send it, if it is still as it was `seen`. The batch's name. Raises Unfit."""
        frm = ("sent",) if wish.get("retry_failed") else ("checked",)
        await self._ask(upload, "going", frm, by, reason, {**wish, "by": by, "opened": False}, seen)
        return str(upload.plan["batch"])

    async def _ask(
        self,
        upload: Upload,
        state: Literal["checking", "going"],
        frm: tuple[str, ...],
        by: str,
        reason: str | None,
        wish: Mapping[str, Any],
        seen: float | None = None,
    ) -> None:
        if not upload.plan:
            raise Unfit("say first what is to become of a row: command or mapping", 409)
        batch = str(upload.plan["batch"])
        if not await self.uploads.ask(upload, state, frm, by, reason, batch, wish, seen):
            now = await self.uploads.find(upload.id)
            if now is not None and now.state in frm:
                raise Unfit(
                    "somebody changed it after you looked: look at its page again before you go on", 409
                )
            said = "it is sent after a dry run" if state == "going" else "it is being worked on, or was sent"
            raise Unfit(f"{said}: look at its page again", 409)
        self._workshop.wake()

    # ------------------------------------------------------------ downloads

    async def report(self, name: str, form: Literal["csv", "xlsx"]) -> AsyncIterator[bytes]:
        """Of a batch that there is."""
        batch = await self.batches.needed(name)
        await self.batches.gather_all(batch)
        async for part in report(self.batches, batch, form):
            yield part

    async def problems(self, upload: Upload) -> AsyncIterator[bytes]:
        async for part in self.uploads.parts(upload.id, "problems"):
            yield part


def _shown(number: int, made: Made | None, kind: str) -> dict[str, Any]:
    if made is None:
        return {"row": number, "left_out": True, "commands": [], "problems": []}
    commands = [{"type": type, "data": _masked(type, data, kind)} for type, data in made.commands]
    return {
        "row": number, "left_out": False, "commands": commands, "problems": [_problem(one) for one in made.findings],
    }  # fmt: skip


def _masked(type: str, data: Mapping[str, Any], kind: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(json.dumps(dict(without_secrets(data)), default=str))
    for path, one in fields_of(type, kind).items():
        if one.secret and take(shown, path) is not None:
            put(shown, path, MASK)
    return shown


def _problem(one: Finding) -> dict[str, Any]:
    return {"column": one.column or one.field, "value": one.value, "problem": one.problem, "code": one.code}
