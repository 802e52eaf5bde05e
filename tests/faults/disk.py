"""A disk of the journal's own, small enough to be full on request.

As root the server's folder is a tmpfs, in a mount namespace of the storm's own, so that the mount goes with the
storm however it ends. Full is then what a full disk is: ENOSPC to every write that needs a new page, brought
about by making the file system as small as what is on it. As anybody else the limit on the size of the server's
files is lowered: PostgreSQL ignores the signal and meets EFBIG where a full disk would give ENOSPC.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from worker.sandbox.processes import children_of

NEW_MOUNTS = 0x00020000  # CLONE_NEWNS
LARGE = 8 * 1024**3  # bytes; of memory, but only what is written is taken
SPARE = 256 * 1024  # bytes that are still free on a disk that is as good as full
MARK = "PROVISIONING_STORM_MOUNTS"  # set in a process that has mounts of its own


def own_mounts() -> bool:
    """Give this process mounts of its own. Called before any thread is started: threads keep what they have."""
    if os.environ.get(MARK):
        return True
    if os.geteuid() != 0 or ctypes.CDLL(None, use_errno=True).unshare(NEW_MOUNTS) != 0:
        return False
    done = subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, check=False)
    if done.returncode == 0:
        os.environ[MARK] = "1"
    return done.returncode == 0


class Disk:
    """`folder` is for the server, `server` gives the process id of the running one."""

    def __init__(self, server: Callable[[], int | None]) -> None:
        self._server = server
        self.folder = Path(tempfile.mkdtemp(prefix="provisioning-storm-journal-", dir="/tmp"))
        self._mounted = bool(os.environ.get(MARK)) and self._mount()

    @property
    def kind(self) -> str:
        return "tmpfs" if self._mounted else "file size limit"

    @property
    def why_never_full(self) -> str:
        """ "" where it can be filled."""
        may = self._mounted or os.geteuid() != 0
        return "" if may else "root may not mount here, and may not limit another user's files"

    def fill(self) -> None:
        if self._mounted:
            found = os.statvfs(self.folder)
            used = (found.f_blocks - found.f_bfree) * found.f_frsize
            self._size(used + SPARE)
        else:
            self._limit(SPARE)

    def free(self) -> None:
        if self._mounted:
            self._size(LARGE)
        else:
            self._limit(resource.RLIM_INFINITY)

    def used(self) -> int:
        """Bytes in the folder."""
        if self._mounted:
            found = os.statvfs(self.folder)
            return (found.f_blocks - found.f_bfree) * found.f_frsize
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())

    def remove(self) -> None:
        if self._mounted:
            subprocess.run(["umount", str(self.folder)], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _mount(self) -> bool:
        words = ["mount", "-t", "tmpfs", "-o", f"size={LARGE},mode=0755", "tmpfs", str(self.folder)]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def _size(self, size: int) -> None:
        words = ["mount", "-o", f"remount,size={size}", str(self.folder)]
        subprocess.run(words, check=True, capture_output=True)

    def _limit(self, size: int) -> None:
        """Of the server and its sessions; new ones inherit it from the server. Raises where it may not be set."""
        if (pid := self._server()) is None:
            return
        for each in (pid, *children_of(pid)):
            with suppress(ProcessLookupError):
                _, hard = resource.prlimit(each, resource.RLIMIT_FSIZE)
                resource.prlimit(each, resource.RLIMIT_FSIZE, (size, hard))
