"""What is on this machine: so that a test can say what a command has left behind.

`take` before, `take` after, `left_behind` names the differences that count. On a machine which others use at
the same time a new process is ours if it carries the mark we gave to the command's environment; in CI, where
nobody else is about, every new file in the places watched counts as well.

Standard library only: also run as ``python -m tests.services.machine FILE`` before packages are installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from worker.sandbox.packages import POLICY, enabled

MARK = "PROVISIONING_TEST_MARK"
"""Environment variable: whatever inherits it was started by the command under test."""

SERVICE_PORTS = (3306, 4369, 5432, 5672, 15672, 25672)
"""Where the system's own MariaDB, epmd, PostgreSQL and RabbitMQ would listen if an installation had started them."""

_ROOT = str(Path(__file__).parents[2])
_LISTEN = "0A"
_DEEP = (Path("/etc"), Path("/usr/local"), Path("/var/lib"), Path("/opt"))
_SHALLOW = (
    Path("/tmp"),
    Path("/var/tmp"),
    Path("/dev/shm"),
    Path("/run"),
)  # one level: their owners fill them
# The package managers' own, and what is rewritten by the system itself.
_OTHERS = re.compile(
    r"^/var/lib/(dpkg|apt|ucf|pam|systemd|update-|command-not-found|man-db|logrotate|private)"
    r"|^/etc/(ld\.so\.cache|\.pwd\.lock|[a-z]+-$|alternatives)"
    r"|/\.(cache|npm|local/share/uv|pyenv|rustup|cargo)(/|$)|/__pycache__(/|$)"
    r"|^/tmp/(pytest-of-|bash_|npm-|node-compile-cache|hsperfdata_)|^/run/(systemd|udev|log|lock|mount|sudo)"
)
_OURS = re.compile(
    r"rabbit|erlang|erl_|epmd|postgres|maria|mysql|PGSQL|provisioning|private-|worker", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Machine:
    """One look at it. Processes are known by number and start, since numbers come again."""

    processes: dict[str, str]
    listeners: dict[str, str]
    files: frozenset[str]
    enabled: frozenset[str]
    clusters: frozenset[str]
    policy: str


def take() -> Machine:
    return Machine(
        processes=dict(_processes()),
        listeners=dict(_listeners()),
        files=frozenset(_files()),
        enabled=frozenset(enabled()),
        clusters=frozenset(str(path) for path in Path("/etc/postgresql").glob("*/*")),
        policy=_policy(),
    )


def left_behind(before: Machine, after: Machine, mark: str, everything: bool) -> list[str]:
    """One sentence for each thing that is there now and was not before, and that counts.

    ``everything``: nobody else uses this machine, so every new file counts, not only those named like ours.
    """
    new = sorted(after.processes.keys() - before.processes.keys())
    marked = {key.split("@")[0] for key in new if _carries(key, mark)}
    owners = _owners_of_sockets()
    said = [f"process {key}: {after.processes[key]}" for key in new if key.split("@")[0] in marked]
    for inode, address in sorted(after.listeners.items()):
        port = int(address.rpartition(":")[2])
        if inode not in before.listeners and (owners.get(inode) in marked or port in SERVICE_PORTS):
            said.append(f"listener {address}, owned by {owners.get(inode, 'nobody we can see')}")
    new_files = sorted(after.files - before.files)
    said += [f"file {path}" for path in new_files if everything or _telling(path)]
    return said + installation_left(before, after)


def _telling(path: str) -> bool:
    """Whether it is surely ours; in the temporary folders others may run the same things at the same time."""
    return bool(_OURS.search(path)) and not path.startswith(tuple(f"{root}/" for root in _SHALLOW))


def installation_left(before: Machine, after: Machine) -> list[str]:
    """What installing packages may leave: units enabled, clusters, a changed policy, services that listen."""
    said = [f"enabled at boot: {link}" for link in sorted(after.enabled - before.enabled)]
    said += [f"disabled at boot: {link}" for link in sorted(before.enabled - after.enabled)]
    said += [f"database cluster: {path}" for path in sorted(after.clusters - before.clusters)]
    if after.policy != before.policy:
        said.append(f"{POLICY} was {before.policy}, is {after.policy}")
    known = {address.rpartition(":")[2] for address in before.listeners.values()}
    now = {address.rpartition(":")[2] for address in after.listeners.values()}
    return said + [f"service port {port} listens" for port in map(str, SERVICE_PORTS) if port in now - known]


def marked_processes(mark: str) -> dict[str, str]:
    """Those that carry the mark now: number and start, and command line."""
    return {key: words for key, words in _processes() if _carries(key, mark)}


def save(machine: Machine, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(machine), default=sorted))


def load(path: Path) -> Machine:
    read = json.loads(path.read_text())
    sets = {name: frozenset(read[name]) for name in ("files", "enabled", "clusters")}
    return Machine(**{**read, **sets})


def _processes() -> Iterator[tuple[str, str]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue  # it has just ended
        if fields[0] not in "ZX":
            yield f"{folder.name}@{fields[19]}", words


def _carries(key: str, mark: str) -> bool:
    try:
        environment = Path(f"/proc/{key.split('@')[0]}/environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={mark}".encode() in environment.split(b"\0")


def _listeners() -> Iterator[tuple[str, str]]:
    """Inode and address of each listening TCP socket."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN:
                address, _, port = fields[1].partition(":")
                yield fields[9], f"{address}:{int(port, 16)}"


def _owners_of_sockets() -> dict[str, str]:
    """Inode of each socket that we may look at, and the number of a process that holds it."""
    found = {}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith("socket:["):
            found[target[8:-1]] = link.parts[2]
    return found


def _files() -> Iterator[str]:
    home = Path(os.environ.get("HOME", "/root"))
    for root in {*_DEEP, home}:
        yield from _below(root, lambda path: _OTHERS.search(path) is None and not _a_clone(path))
    for root in _SHALLOW:
        yield from (str(path) for path in _entries(root) if not _OTHERS.search(str(path)))


def _a_clone(path: str) -> bool:
    """A checkout may lie in the home folder: what happens inside it is its own affair."""
    return path == _ROOT or os.path.exists(os.path.join(path, ".git"))


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _below(root: Path, wanted: Callable[[str], bool]) -> Iterator[str]:
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if wanted(os.path.join(folder, name))]
        yield from (path for name in (*names, *files) if wanted(path := os.path.join(folder, name)))


def _policy() -> str:
    if not POLICY.exists():
        return "absent"
    return hashlib.sha256(POLICY.read_bytes()).hexdigest()[:12]


if __name__ == "__main__":
    save(take(), Path(sys.argv[1]))
