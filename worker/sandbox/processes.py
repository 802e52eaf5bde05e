"""Child processes that end with us, however we end."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class ServiceError(RuntimeError):
    """A private service did not do what was asked; the text holds the end of its log."""


# Reads the groups to end, one line each time they change ("TERM:123 INT:456"). When the pipe breaks, whoever
# held the other end is gone, by whatever signal: end them, politely first, and remove the folder given.
_KEEPER = r"""
trap '' INT TERM HUP
groups=
while read -r line; do groups=$line; done
for group in $groups; do kill -s "${group%%:*}" -- "-${group#*:}"; done
for group in $groups; do
    tries=100
    while [ "$tries" -gt 0 ] && kill -s 0 -- "-${group#*:}"; do tries=$((tries - 1)); sleep 0.1; done
    kill -s KILL -- "-${group#*:}"
done
[ -z "$1" ] || rm -rf -- "$1"
"""


class Child:
    """One process in a group and session of its own: a Ctrl-C in the terminal does not reach it."""

    def __init__(
        self, name: str, process: subprocess.Popen[bytes], polite: signal.Signals, log: Path
    ) -> None:
        self.name = name
        self.polite = polite
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def stopped(self) -> bool:
        """All its threads stand still after a SIGSTOP: until then one of them may go on."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/stat")
        return all(stat.read_text().rpartition(")")[2].split()[0] in "Tt" for stat in threads)

    def send(self, number: signal.Signals) -> None:
        """To the process alone; one that has ended is left in peace."""
        if self.running:
            self._process.send_signal(number)

    def end(self, grace: float) -> None:
        """Ask politely, wait ``grace`` seconds, then kill the whole group. Returns when it has ended."""
        self.send(self.polite)
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            pass
        finally:  # also when a Ctrl-C comes while we wait
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the group, and wait for the process."""
        if self._process.returncode is None:  # its number is still its own: nobody has waited for it
            _signal_group(self.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def ask(self, line: str) -> str:
        """Write a line to one that talks, and read its next line; "" when it has ended."""
        if self._process.stdin is None or self._process.stdout is None:
            raise ServiceError(f"{self.name} was not started to talk")
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return ""
        return self._process.stdout.readline().decode().strip()

    def last_words(self, lines: int = 20) -> str:
        """The end of its log, for an error text."""
        try:
            return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(no log)"


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


class Keeper:
    """Starts children, and outlives us just long enough to end them if we cannot do it ourselves.

    A shell of 1 MB that waits for our end of a pipe to close. (The kernel's own signal on a parent's death
    follows the thread that started the child, and is not handed on to grandchildren.)
    """

    def __init__(self, remove: Path | None = None) -> None:
        self._children: list[Child] = []
        self._remove = remove
        self._shell: subprocess.Popen[bytes] | None = None

    def spawn(
        self,
        name: str,
        words: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        polite: signal.Signals = signal.SIGTERM,
        user: str | None = None,
        group: int | None = None,
        talks: bool = False,
    ) -> Child:
        """Start a program, as ``user`` if given; its output goes to ``log``, or it ``talks`` over pipes."""
        pipe = subprocess.PIPE if talks else None
        self._watch()
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - our own words, no shell
                list(words),
                env=dict(env),
                cwd=cwd,
                stdin=pipe or subprocess.DEVNULL,
                stdout=pipe or output,
                stderr=output if talks else subprocess.STDOUT,
                start_new_session=True,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
            )
        child = Child(name, process, polite, log)
        self._children.append(child)
        self._tell()
        return child

    def forget(self, child: Child) -> None:
        """It has ended: its number may soon be somebody else's."""
        if child in self._children:
            self._children.remove(child)
            self._tell()

    def close(self) -> None:
        """We have ended our children ourselves."""
        if self._shell is None:
            return
        self._shell.kill()
        self._shell.wait()
        if self._shell.stdin is not None:
            self._shell.stdin.close()
        self._shell = None

    def _watch(self) -> None:
        if self._shell is None:
            self._shell = subprocess.Popen(  # noqa: S603 - our own words
                ["/bin/sh", "-c", _KEEPER, "keeper", str(self._remove or "")],
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _tell(self) -> None:
        if self._shell is None or self._shell.stdin is None:
            return
        words = " ".join(f"{child.polite.name.removeprefix('SIG')}:{child.pid}" for child in self._children)
        self._shell.stdin.write(f"{words}\n".encode())
        self._shell.stdin.flush()


class Folder:
    """The folder of a private service: the caller's, or a temporary one that goes when the service goes."""

    def __init__(self, path: Path | None, prefix: str, for_others: bool = False) -> None:
        """``for_others``: another user will own it, and must be able to reach it."""
        self.ours = path is None
        self.path = _temporary(prefix, for_others) if path is None else path.absolute()
        self.path.mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        if self.ours:
            shutil.rmtree(self.path, ignore_errors=True)


def _temporary(prefix: str, for_others: bool) -> Path:
    places = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108 - mkdtemp makes it private
    place = next((place for place in places if not for_others or _open_to_others(place)), places[0])
    return Path(tempfile.mkdtemp(prefix=prefix, dir=place))


def _open_to_others(place: Path) -> bool:
    try:
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in (place, *place.parents))
    except OSError:
        return False


def wait_until(fact: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """Poll until ``fact`` holds; false when ``seconds`` have passed."""
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def children_of(pid: int) -> list[int]:
    """The processes whose parent ``pid`` is."""
    found = []
    for line in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = line.read_text(errors="replace").rpartition(")")[2]
        except OSError:
            continue  # it has just ended
        if int(after_name.split()[1]) == pid:
            found.append(int(line.parent.name))
    return found


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
