"""What is on the disk before a row goes out."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.test_batches import new
from worker.journal.batches.batches import Batches
from worker.journal.journal import StoredJournal
from worker.onboarding.passwords import Lock, Opener, PasswordFile, read_passwords
from worker.onboarding.publishing import Bulk, Message
from worker.onboarding.rows import Made
from worker.onboarding.sending import CHUNK, Progress, Sender, Terms

PHRASE = b"correct horse battery"
CREATE = "subscriber.create.v1"
pytestmark = pytest.mark.timeout(120)


class Out(Bulk):
    """Takes messages as RabbitMQ would, and notes what the disk holds at that moment."""

    def __init__(self, passwords: Path) -> None:
        self.passwords = passwords
        self.synced = -1  # bytes of the file that were there when it was last synced
        self.portions: list[int] = []
        self.sent: list[str] = []

    async def publish(self, messages: Sequence[Message]) -> None:
        assert self.synced == self.passwords.stat().st_size, "a password was written and not synced"
        kept = {one.made["0 password"] for one in read_passwords(self.passwords, Opener(passphrase=PHRASE))}
        here = [json.loads(one.body)["data"]["password"] for one in messages]
        assert set(here) <= kept
        self.portions.append(len(messages))
        self.sent += here


def made(number: int) -> Made:
    who = {"username": f"u{number}", "domain": "sip.example"}
    command = (CREATE, {"platform": "sip-br", "subscriber": who})
    return Made(number, who, (who["username"],), (command,), {"0 password": 12})


async def test_passwords_are_synced_before_their_rows_are_published(
    journal: StoredJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A portion of rows at a time: one sync for many, none too late."""
    batches, file = Batches(journal), tmp_path / "friday.passwords"
    out, sync = Out(file), os.fsync

    def noted(descriptor: Any) -> None:
        sync(descriptor)
        if os.path.sameopenfile(descriptor, passwords._file.fileno()):
            out.synced = os.fstat(descriptor).st_size

    passwords = PasswordFile(file, Lock(passphrase=PHRASE))
    monkeypatch.setattr(os, "fsync", noted)
    batch = await batches.begin(new(title="subscriber.create", total=250))
    sender = Sender(batches, batch, out, passwords, Progress(total=250), Terms(in_flight=0))
    rows = [made(number) for number in range(2, 252)]
    await sender.send([rows], lambda number: False)
    passwords.close()
    assert out.portions == [CHUNK, CHUNK, 250 - 2 * CHUNK]
    assert len(set(out.sent)) == 250


async def test_a_count_from_before_lets_no_more_rows_out(
    journal: StoredJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch counts in the journal while the sender sends: what went out meanwhile is open all the same."""
    batches, counted = Batches(journal), asyncio.Event()
    batch = await batches.begin(new(total=2))
    progress = Progress(total=2)
    sender = Sender(batches, batch, Taking(), None, progress, Terms())
    states = Batches.states

    async def slowly(self: Batches, batch: Any) -> dict[str, int]:
        found = await states(self, batch)
        counted.set()
        for _ in range(50):  # the sender's turn, were it not to wait
            await asyncio.sleep(0.01)
        return found

    monkeypatch.setattr(Batches, "states", slowly)
    looking = asyncio.create_task(sender.watch.look())
    await counted.wait()
    await sender._chunk([replace(made(number), blanks={}) for number in (2, 3)])
    await looking
    assert progress.open == 2


class Taking(Bulk):
    def __init__(self) -> None:
        return

    async def publish(self, messages: Sequence[Message]) -> None:
        return
