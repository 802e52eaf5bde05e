"""The journal, opened with its keys as the settings say."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from worker.journal.core import Core
from worker.journal.journal import StoredJournal
from worker.journal.port import JournalDown
from worker.journal.vault import Vault, new_key
from worker.settings import Settings

log = structlog.get_logger(__name__)

KEY_FILE = "worker.key"
SHORTEST_LEASE = 25.0  # seconds, where no platform says otherwise
AWAY = 60.0  # seconds that a start waits for a database that does not answer


class StartError(Exception):
    """What keeps the worker from starting, in one sentence."""


class NoKeyYet(StartError):
    """Nothing was ever encrypted: the first start makes the key."""


def key_file(settings: Settings) -> Path:
    """Where the key lies when the settings name none: beside them."""
    return settings.folder / KEY_FILE


def keys(settings: Settings, *, make: bool) -> list[str]:
    """The encryption keys. `make`: without any, one is made in `worker.key` (mode 0600) and said aloud.

    Raises StartError where there is none, or where it is none.
    """
    if settings.journal.keys:
        return [key.get_secret_value() for key in settings.journal.keys]
    file = key_file(settings)
    if make and not file.exists():
        _make_key(file)
    try:
        return [file.read_text().strip()]
    except FileNotFoundError:
        raise NoKeyYet(
            f"there is no key: set journal.keys, or let `worker run` make {file} at its first start"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"the key file {file} cannot be read: {type(error).__name__}") from None


async def _key_is_not_lost(settings: Settings) -> None:
    """A new key beside a journal that was begun under another would read nothing, and look like a good one."""
    from worker.journal.begun import has_begun

    file = key_file(settings)
    if settings.journal.keys or file.exists():
        return
    # Another process may have made both meanwhile: it made the key first.
    if await has_begun(journal_url(settings)) and not file.exists():
        raise StartError(
            f"the journal {settings.journal.shown} exists, but its key {file} is missing: bring back your copy"
            " of it (`worker run` makes no new one, which could read nothing)"
        )


def _make_key(file: Path) -> None:
    """Whole or not at all: a second process that starts at the same time must not read half a key."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(new_key() + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        with _already_there(file):
            os.link(draft, file)
            log.warning(
                "key.made",
                file=str(file),
                advice="back it up apart from the journal: without it the journal cannot be read",
            )
    except OSError as error:
        raise StartError(f"the key file {file} cannot be made: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _already_there(file: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        log.info("key.found", file=str(file))


def core(settings: Settings, *, make: bool = False) -> Core:
    """What the journal needs to know. Raises StartError for a key that is none."""
    try:
        vault = Vault(keys(settings, make=make))
    except ValueError:
        raise StartError(
            "a key in journal.keys (or worker.key) is none: a key is 32 random bytes in URL-safe base64"
        ) from None
    return Core(
        vault=vault,
        source=settings.worker.source,
        dedup_window=settings.journal.dedup_window,
        retention=settings.journal.retention,
        events_retention=settings.events.retention,
        notify_after=settings.events.notify_after,
        quarantine_rows=settings.quarantine.max_rows,
        quarantine_bytes=settings.quarantine.max_bytes,
        quarantine_retention=settings.quarantine.retention,
        quarantine_source_hour=settings.quarantine.per_source_hour,
    )


def journal_url(settings: Settings) -> str:
    """As the journal takes it: a file of SQLite by its whole path."""
    file = settings.sqlite_path
    return f"sqlite:///{file.absolute()}" if file else settings.journal.url.get_secret_value()


def shortest_lease(settings: Settings) -> float:
    return min((platform.lease for platform in settings.platforms.values()), default=SHORTEST_LEASE)


async def open_stored_journal(
    settings: Settings, *, exclusive: bool = False, make: bool = False
) -> StoredJournal:
    """`exclusive`: as the one `worker run` of a SQLite file. `make`: key and file are made when missing.

    Raises StartError, JournalError, or JournalDown when the database does not answer.
    """
    from worker.journal.opening import open_journal
    from worker.journal.sqlite import make_file

    file = settings.sqlite_path
    if file and not file.absolute().parent.is_dir():
        raise StartError(f"[journal] url: there is no folder {file.absolute().parent}: make it first")
    if file and not make and not file.exists():
        raise StartError(f"there is no journal at {file}: `worker run` makes it")
    await _key_is_not_lost(settings)
    needed = core(settings, make=make)
    if file and make:
        make_file(file)
    return await open_journal(
        journal_url(settings),
        needed,
        exclusive=exclusive,
        lease=shortest_lease(settings),
        connections=settings.journal.connections,
    )


async def patiently(settings: Settings) -> StoredJournal:
    """A database that is still coming up is waited for."""
    loop = asyncio.get_running_loop()
    until, wait = loop.time() + AWAY, 0.2
    while True:
        try:
            return await open_stored_journal(settings, exclusive=True, make=True)
        except JournalDown as error:
            if settings.sqlite_path or loop.time() > until:
                raise
            log.warning("journal.away", why=str(error), journal=settings.journal.shown)
        await asyncio.sleep(wait)
        wait = min(wait * 2, 5.0)
