"""What is on the disk before a row goes out."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
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
