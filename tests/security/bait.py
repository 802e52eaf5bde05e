"""Something that must not be touched: a file that tells when it is opened, a port that counts connections."""

from __future__ import annotations

import ctypes
import os
import secrets
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_ACCESS, _OPEN = 0x1, 0x20  # of inotify(7)
_EVENT = struct.Struct("iIII")


@dataclass(slots=True)
class Bait:
    """`file` holds `secret`; `url` leads to a port of ours."""

    file: Path
    secret: str
    url: str
    _notices: int
    _visits: list[str] = field(default_factory=list)

    def touched(self) -> list[str]:
        """What happened since it was last asked: "opened", "read", "visited"."""
        found, self._visits[:] = list(self._visits), []
        try:
            raw = os.read(self._notices, 65536)
        except BlockingIOError:
            return found
        while raw:
            _, mask, _, length = _EVENT.unpack_from(raw)
            raw = raw[_EVENT.size + length :]
            found += [word for bit, word in ((_OPEN, "opened"), (_ACCESS, "read")) if mask & bit]
        return found


@contextmanager
def laid(folder: Path) -> Iterator[Bait]:
    secret = f"bait-{secrets.token_hex(8)}"
    file = folder / "bait.txt"
    file.write_text(secret)
    libc = ctypes.CDLL(None, use_errno=True)
    notices = libc.inotify_init1(os.O_NONBLOCK)
    assert notices >= 0, os.strerror(ctypes.get_errno())
    visits: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        try:
            assert libc.inotify_add_watch(notices, bytes(file), _ACCESS | _OPEN) > 0
            threading.Thread(target=_count, args=(listener, visits), daemon=True).start()
            yield Bait(file, secret, f"http://127.0.0.1:{listener.getsockname()[1]}/", notices, visits)
        finally:
            os.close(notices)
            listener.shutdown(socket.SHUT_RDWR)


def _count(listener: socket.socket, visits: list[str]) -> None:
    while True:
        try:
            visitor, _ = listener.accept()
        except OSError:
            return
        visits.append("visited")
        visitor.close()
