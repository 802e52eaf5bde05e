"""What every verb has: the settings, ways to the journal and the broker, and how errors are told."""

from __future__ import annotations

import asyncio
import os
import pwd
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from worker.journal.journal import StoredJournal
    from worker.settings import Settings

T = TypeVar("T")

WELL, FAILED, USAGE, UNREACHABLE, STILL_RUNNING = range(5)

VERB_EXIT_CODES = """\
\b
Exit codes:
  0  it was done, or all is well
  1  it was refused, or something is wrong; the sentence on standard error says what
  2  the command line, the settings, or the files of key and journal cannot be used
  3  the broker or the journal cannot be reached
"""
EXIT_CODES = f"""\
{VERB_EXIT_CODES}\
  4  send --wait ran out, or the command was parked: nothing is lost, see `worker commands show`
"""

Json = Annotated[bool, typer.Option("--json", help="JSON for programs instead of a table for people.")]


def _said(reason: str) -> str:
    """A reason of nothing but white space explains nothing to who reads the audit record."""
    if not reason.strip():
        raise typer.BadParameter("say why: it stands in the audit record")
    return reason


Reason = Annotated[
    str,
    typer.Option("--reason", help="Why: it stands in the audit record.", show_default=False, callback=_said),
]


class Fault(Exception):
    """What keeps a verb from its work: one sentence, and the exit code."""

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.code = code


@dataclass(slots=True)
class State:
    """What the root command was given."""

    config: Path | None = None
    debug: bool = False

    def settings(self) -> Settings:
        """Read the settings. Raises SettingsError."""
        from worker.settings import load

        return load(self.config, os.environ)

    def without_file(self) -> bool:
        """Whether there is no settings file: one may have gone to a wrong folder."""
        return (
            self.config is None and not os.environ.get("WORKER_CONFIG") and not Path("worker.toml").is_file()
        )


no_file: ContextVar[bool] = ContextVar("no_file", default=False)  # the verb runs on defaults and variables


def state(context: typer.Context) -> State:
    found = context.find_object(State)
    return found if found is not None else State()


def settings_of(context: typer.Context, *, logs: bool = False) -> Settings:
    """The settings, read. `logs`: written as they say; else not at all, for a verb tells what is wrong itself."""
    given = state(context)
    settings = given.settings()
    no_file.set(given.without_file())
    if logs:
        from worker.logs import configure

        configure(settings.logs)
    else:
        quieten(given.debug)
    return settings


def quieten(debug: bool) -> None:
    """Libraries complain on standard error beside the one sentence that a verb says."""
    import logging

    from worker.logs import configure
    from worker.settings import LogSettings

    configure(LogSettings(level="debug" if debug else "error", format="console"))
    if not debug:
        for handler in logging.getLogger().handlers:
            handler.setLevel(logging.CRITICAL + 1)


def known(settings: Settings, name: Any) -> str:
    """The name of a platform that is in the settings. Raises Fault, also for none."""
    if not settings.platforms:
        raise Fault(
            "no platform is configured: write worker.toml with a table [platforms.NAME],"
            " or say where it is (--config FILE, or WORKER_CONFIG)",
            USAGE,
        )
    names = ", ".join(sorted(settings.platforms))
    if not isinstance(name, str):
        raise Fault(f"say for which platform: --platform NAME; we know {names}", USAGE)
    if name not in settings.platforms:
        raise Fault(f"unknown platform {name!r}: we know {names}", USAGE)
    return name


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@asynccontextmanager
async def journal_of(settings: Settings) -> AsyncIterator[StoredJournal]:
    """The journal, for looking and for acts; a running worker sees within a second what is written."""
    from worker.bootstrap import StartError, open_stored_journal

    try:
        journal = await open_stored_journal(settings)
    except StartError as error:
        if not no_file.get():
            raise
        raise type(error)(f"{error} (no ./worker.toml here: see --config)") from None
    try:
        yield journal
    finally:
        await journal.close()


async def with_journal(settings: Settings, work: Callable[[StoredJournal], Awaitable[T]]) -> T:
    async with journal_of(settings) as journal:
        return await work(journal)


def actor() -> str:
    """Who acts: the system's user, not what a variable says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def fail(text: str, code: int = FAILED) -> NoReturn:
    raise Fault(text, code)


def explained(error: BaseException) -> tuple[str, int] | None:
    """The sentence and the exit code of an error that we know; None for one that nobody foresaw."""
    if isinstance(error, Fault):
        return str(error), error.code
    name = type(error).__name__
    known = {
        "SettingsError": USAGE,
        "StartError": USAGE,
        "NoKeyYet": USAGE,
        "ActRefused": FAILED,
        "JournalError": USAGE,
        "KeyMissing": USAGE,
        "TopologyError": FAILED,
        "ServiceError": FAILED,
        "TooWide": FAILED,
    }
    if name in known:
        return str(error), known[name]
    if name == "JournalDown" and "readonly" in str(error):
        return str(error), USAGE
    if name == "JournalDown":
        return f"the journal cannot be reached: {error}", UNREACHABLE
    if isinstance(error, (ConnectionError, TimeoutError)) or name.startswith("AMQP"):
        return f"RabbitMQ cannot be reached: {reason(error)}", UNREACHABLE
    return None


def reason(error: BaseException) -> str:
    """What an error of a library says, in one line, without addresses that hold passwords."""
    text = " ".join(str(error).split())
    return type(error).__name__ if not text or "://" in text else f"{type(error).__name__}: {text[:200]}"


def complain(text: str) -> None:
    print(f"worker: {text}", file=sys.stderr)
