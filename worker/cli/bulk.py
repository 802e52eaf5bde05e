"""Acts on many commands at once: the same previews, portions and stops as in the console (rule 8.3)."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli import show
from worker.cli.context import FAILED, USAGE, Json, actor, fail, journal_of, known, run, settings_of

if TYPE_CHECKING:
    from worker.journal.console.access import ConsoleJournal
    from worker.journal.console.bulk import Act, Preview
    from worker.journal.console.lists import Wanted
    from worker.settings import Settings

INTERRUPTED = 130
STATES = ("waiting", "running", "in_doubt", "parked", "succeeded", "rejected", "cancelled", "expired")

Name = Annotated[
    str | None,
    typer.Argument(metavar="[ID]", help="One command: its number, or the sender's id. Or filters, for many."),
]
StateIs = Annotated[str | None, typer.Option("--state", help=f"Many: {', '.join(STATES)}.")]
Platform = Annotated[str | None, typer.Option("--platform", help="Many: of one platform.")]
Type = Annotated[str | None, typer.Option("--type", help="Many: of one type, e.g. credit.add.")]
Subscriber = Annotated[
    str | None,
    typer.Option("--subscriber", help="Many: about one object, by its whole name or partitionkey."),
]
Batch = Annotated[str | None, typer.Option("--batch", help="Many: of one batch (batchid).")]
Source = Annotated[str | None, typer.Option("--source", help="Many: of one sender.")]
ErrorCode = Annotated[str | None, typer.Option("--code", help="Many: that failed with this error code.")]
Group = Annotated[
    int | None, typer.Option("--group", min=1, help="Many: of one failure group of the console.")
]
Since = Annotated[
    str | None, typer.Option("--since", help="Many: arrived since, e.g. 2026-11-22T05:30 (UTC).")
]
Until = Annotated[str | None, typer.Option("--until", help="Many: arrived until.")]
Superseded = Annotated[
    bool,
    typer.Option("--superseded", help="Many: those too that a later command about the same object overtook."),
]
OnlyPreview = Annotated[
    bool, typer.Option("--preview", "--dry-run", help="Many: say what it would do, and do nothing.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Many: do not ask before it begins.")]
Why = Annotated[
    str | None, typer.Option("--reason", help="Why: it stands in the audit record. Not for a preview.")
]


@dataclass(frozen=True, slots=True)
class Filters:
    """What the command line names of many commands."""

    state: StateIs = None
    platform: Platform = None
    type: Type = None
    subscriber: Subscriber = None
    batch: Batch = None
    source: Source = None
    code: ErrorCode = None
    group: Group = None
    since: Since = None
    until: Until = None

    @property
    def given(self) -> list[str]:
        return [one.name for one in fields(self) if getattr(self, one.name) is not None]

    def wanted(self, settings: Settings) -> Wanted:
        """Raises BadParameter for filters that make no sense."""
        from worker.journal.console.lists import Wanted, whole_type

        if self.state is not None and self.state not in STATES:
            raise typer.BadParameter(f"--state is one of {', '.join(STATES)}")
        if self.platform is not None:
            known(settings, self.platform)
        return Wanted(
            state=self.state,
            platform=self.platform,
            type=whole_type(self.type) if self.type else None,
            about=self.subscriber,
            source=self.source,
            batch=self.batch,
            code=self.code,
            group=self.group,
            since=_time("--since", self.since),
            until=_time("--until", self.until),
        )


def _time(name: str, text: str | None) -> float | None:
    from worker.journal.console.lists import moment_of

    try:
        return None if text is None else moment_of(text)
    except ValueError:
        raise typer.BadParameter(f"{name} is a time, as 2026-11-22T05:30 in UTC") from None


@dataclass(frozen=True, slots=True)
class How:
    """What else the command line says, of one or many."""

    preview: OnlyPreview = False
    yes: Yes = False
    reason: Why = None
    as_json: Json = False

    @property
    def why(self) -> str:
        """The reason. Raises BadParameter where none is given."""
        if self.reason is None or not self.reason.strip():
            raise typer.BadParameter("say why with --reason: it stands in the audit record")
        return self.reason


def one_of(name: str | None, filters: Filters, how: How, *, superseded: bool = False) -> str | None:
    """The name where it is one, None: many. Raises BadParameter where neither is named, or both: a filter beside
    an id would be passed over."""
    if name is not None and (filters.given or how.preview or superseded or how.yes):
        raise typer.BadParameter("give the id of one command, or filters for many: not both")
    if name is None and not filters.given:
        raise typer.BadParameter("name one command, or filter many, e.g. --state parked --platform NAME")
    return name


def many(context: typer.Context, what: Act, filters: Filters, how: How, *, superseded: bool = False) -> None:
    """Preview, then go, in portions of 1, 5, 50, then 500, until it is done, stops by itself, or is stopped."""
    settings = settings_of(context)
    wanted = filters.wanted(settings)
    why = "" if how.preview else how.why
    code = run(_many(settings, what, wanted, how, superseded, why))
    if code:
        raise typer.Exit(code)


async def _many(
    settings: Settings, what: Act, wanted: Wanted, how: How, superseded: bool, reason: str
) -> int:
    from worker.bootstrap import journal_url
    from worker.journal.console.access import ConsoleJournal

    async with journal_of(settings) as journal:
        console = ConsoleJournal(journal, journal_url(settings))
        try:
            await _fold(console)
            seen = await console.preview(what, wanted, superseded)
            _tell(seen, how, superseded)
            if how.preview or not seen.numbers:
                return 0
            _ask(seen, how)
            return await _go(console, seen, wanted, how, reason)
        finally:
            await console.close()


async def _fold(console: ConsoleJournal) -> None:
    """Codes and groups are looked up in what a console folds; here none may run, or be seconds behind."""
    while await console.fold() >= 200:
        pass


def _tell(seen: Preview, how: How, superseded: bool) -> None:
    if how.as_json:
        if how.preview or not seen.numbers:
            show.emit({"preview": seen.shown()})
        return
    taken = "taken as well" if superseded else "left out; --superseded takes them"
    show.say(
        f"{seen.what}: {len(seen.numbers)} commands{', of more than are looked at' if seen.more else ''}"
    )
    left = "left out: each is decided for itself"
    show.facts(
        {
            "platforms": _counted(seen.platforms),
            "states": _counted(seen.states),
            "of unknown outcome": f"{seen.unknown} ({left})" if seen.unknown else None,
            "partly done": f"{seen.partly} ({left})" if seen.partly else None,
            "superseded": f"{seen.superseded} ({taken})" if seen.superseded else None,
            "in another state": seen.unfit or None,
        },
        "  ",
    )


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _ask(seen: Preview, how: How) -> None:
    if how.yes:
        return
    if not sys.stdin.isatty():
        fail("say --yes to go on without being asked, or --preview to look only", USAGE)
    if not typer.confirm(f"{seen.what} {len(seen.numbers)} commands?", err=True):
        fail("nothing was done")


async def _go(console: ConsoleJournal, seen: Preview, wanted: Wanted, how: How, reason: str) -> int:
    from worker.journal.console.work import work

    me = actor()
    number = await console.begin(seen, wanted, me, reason)
    interrupted: list[asyncio.Task[bool]] = []

    def stop() -> None:
        interrupted.append(
            asyncio.create_task(console.end_bulk(number, me, f"stopped by {me} at the command line"))
        )

    with _on_signals(stop):
        ended = await work(console, number, lambda act: None if how.as_json else _progress(act))
        await asyncio.gather(*interrupted)
    if how.as_json:
        show.emit({"preview": seen.shown(), "act": _for_programs(ended)})
    else:
        text = f": {ended['text']}" if ended["text"] else ""
        show.say(f"act {number} is {ended['state']}{text}; {_far(ended)}")
    if interrupted:
        return INTERRUPTED
    return 0 if ended["state"] == "done" and not ended["refused"] else FAILED


@contextmanager
def _on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C ends the act behind the command in hand, which is not left half done."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _progress(act: Mapping[str, Any]) -> None:
    print(f"  {_far(act)}", file=sys.stderr, flush=True)


def _far(act: Mapping[str, Any]) -> str:
    return f"{act['acted']} of {act['total']} acted on, {act['refused']} refused, {act['left_out']} left out"


def _for_programs(act: Mapping[str, Any]) -> dict[str, Any]:
    return show.moments(act, "began_at", "ended_at", "beat_at")
