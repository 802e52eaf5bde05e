"""An uploaded file while it is read: in memory under its own name, never in clear on a disk."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.journal.batches.uploads import PART, Unfit

ODD = re.compile(r"[^\w .()-]+")
LONGEST = 100  # characters of a name


def file_name(name: str) -> str:
    """Without folders, and with signs only that any system takes."""
    plain = ODD.sub("_", re.split(r"[/\\]", name)[-1]).strip(" .")
    return plain[-LONGEST:] or "file"


class Held:
    """A file in memory, with a link to it in a folder of its own: what reads files by their path can read it.

    The link leads to this process's descriptor: it is dead when the process is.
    """

    def __init__(self, name: str, descriptor: int | None = None) -> None:
        """`descriptor`: of a file that somebody else holds. Raises Unfit where the system has no such files."""
        if not hasattr(os, "memfd_create"):
            raise Unfit("this system cannot keep a file in memory alone: use `worker batch run`", 501)
        self._own = descriptor is None
        self.descriptor = os.memfd_create("upload") if descriptor is None else descriptor
        self._folder = Path(tempfile.mkdtemp(prefix="worker-upload-"))
        self._others: list[int] = []
        self.path = self._linked(name, self.descriptor)

    def fit_name(self) -> str:
        """A workbook is read as one by its name's end; whatever it came as, its content decides."""
        if os.pread(self.descriptor, 4, 0) == b"PK\x03\x04" and not self.path.name.lower().endswith(".xlsx"):
            self.path = self._linked(f"{self.path.name}.xlsx", self.descriptor)
        return self.path.name

    def beside(self, name: str) -> Path:
        """Another file in memory, to be written to."""
        made = os.memfd_create("beside")
        self._others.append(made)
        return self._linked(name, made)

    def _linked(self, name: str, descriptor: int) -> Path:
        path = self._folder / file_name(name)
        path.symlink_to(f"/proc/{os.getpid()}/fd/{descriptor}")
        return path

    def write(self, data: bytes) -> None:
        """At its end."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.descriptor, view) :]

    @property
    def size(self) -> int:
        return os.fstat(self.descriptor).st_size

    def close(self) -> None:
        for one in (*self._others, *((self.descriptor,) if self._own else ())):
            os.close(one)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def parts_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(PART):
            yield part
