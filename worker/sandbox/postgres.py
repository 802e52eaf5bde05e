"""A private PostgreSQL server from the system's package, beside whatever else runs on the machine.

Own folder, port, socket and password; loopback only. initdb and postgres refuse root: for root they run as
the package's user, in a folder which that user can reach.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from glob import glob
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.sandbox.ports import LOOPBACK, free_port
from worker.sandbox.processes import Child, Folder, Keeper, ServiceError, alive, children_of, wait_until

_PROGRAMS = "/usr/lib/postgresql/*/bin"  # Debian keeps them off the PATH, one folder a version
_START = 60.0  # seconds; a recovery after `kill` included
_GRACE = 20.0  # seconds for a clean stop
_PORTS = 4  # that are tried
_TAKEN = "Address already in use"
_USER = "private"
_USERS = ("postgres", "nobody")  # whom root asks to run it
# Asks for encryption; a server that is up answers one byte, "S" or "N".
_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


def installed() -> bool:
    """Whether the server's programs are on this machine (package ``postgresql``)."""
    return _find("initdb") is not None


class PrivatePostgres:
    """One server. ``with PrivatePostgres() as postgres: connect(postgres.url("postgres"))``.

    ``folder``: where its data live, and which its user must be able to reach; without it a temporary folder
    that `stop` removes. ``fsync`` off loses data in a power cut only, not when processes die.
    ``settings``: further server settings, e.g. ``{"lock_timeout": "2s"}``.
    """

    def __init__(
        self, folder: Path | None = None, fsync: bool = True, settings: Mapping[str, str] | None = None
    ) -> None:
        if not installed():
            raise ServiceError(
                f"no PostgreSQL server in {_PROGRAMS}: install it with deploy/packages postgresql"
            )
        self._user = _somebody_else() if os.geteuid() == 0 else None
        self._group = None if self._user is None else pwd.getpwnam(self._user).pw_gid
        self._folder = Folder(folder, "private-postgres-", for_others=self._user is not None)
        self.folder = self._folder.path
        self._data = self.folder / "data"
        self.port = free_port()
        self.password = secrets.token_hex(12)
        self._settings = {"fsync": "on" if fsync else "off", **(settings or {})}
        self._keeper = Keeper(self.folder if self._folder.ours else None)
        self._server: Child | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def url(self, database: str = "postgres") -> str:
        """Address of a database, with user and password."""
        return f"postgresql://{_USER}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    @property
    def pid(self) -> int | None:
        """Process number of the server, where it runs."""
        return self._server.pid if self._server is not None and self._server.running else None

    def start(self) -> None:
        """Start the server and wait until it answers. Raises `ServiceError` with the end of its log."""
        if self.pid is not None:
            return
        try:
            if (self._data / "PG_VERSION").exists():
                self._start_server()
            else:
                self._make_cluster()
                self._start_first()
        except BaseException:  # a Ctrl-C while it starts leaves nothing behind either
            self.stop()
            raise

    def stop(self) -> None:
        """Stop cleanly, connected or not; remove the folder if it is a temporary one."""
        if self._server is not None:
            self._server.end(_GRACE)
            self._forget()
        self._drop_shared_memory()
        self._keeper.close()
        self._folder.remove()

    def kill(self) -> None:
        """All its processes die at once (SIGKILL), as by a power cut; `start` brings it back by recovery."""
        if self._server is None:
            return
        self._server.send(signal.SIGSTOP)  # it must not start a session while we count them
        sessions = children_of(self._server.pid)
        for pid in sessions:
            _kill(pid)
        self._server.kill()
        wait_until(lambda: not any(alive(pid) for pid in sessions), _GRACE)
        self._forget()

    def restart(self) -> None:
        """A clean stop, open connections cut, and a start, on the same port and data."""
        if self._server is not None:
            self._server.end(_GRACE)
            self._forget()
        self.start()

    def create_database(self, name: str, template: str = "template1") -> str:
        """A fresh database; returns its address. ``template`` must have no connections."""
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Sessions in it are ended."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Run a statement through psql; returns the rows, columns parted by "|"."""
        words = ("psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
        return self._run(*words, "--command", statement, self.url(database)).strip()

    def _make_cluster(self) -> None:
        secret = self.folder / "password"
        for name in ("data", "socket", "log"):
            (self.folder / name).mkdir(exist_ok=True)
        secret.touch(mode=0o600)
        secret.write_text(self.password)
        self._hand_over()
        words = (
            "--username",
            _USER,
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
        )
        self._run("initdb", "--no-sync", *words, "--pgdata", str(self._data))
        secret.unlink()

    def _hand_over(self) -> None:
        """To the user that runs the server, whose folder must be its own and closed to others."""
        if self._user is not None:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, self._user, self._group)
        self._data.chmod(0o700)

    def _start_first(self) -> None:
        """Nobody knows its port yet: where somebody was quicker to take that, it gets another one."""
        for left in reversed(range(_PORTS)):
            try:
                self._start_server()
            except ServiceError as error:
                if _TAKEN not in str(error) or not left:
                    raise
                self._forget()
                self.port = free_port()
            else:
                return

    def _start_server(self) -> None:
        words = [_program("postgres"), "-D", str(self._data), *_as_words(self._all_settings())]
        self._server = self._keeper.spawn(
            "postgresql",
            words,
            env=_environment(),
            cwd=self.folder,
            log=self.folder / "log" / "postgresql.out",
            polite=signal.SIGINT,  # the fast stop: sessions are cut, data are safe
            user=self._user,
            group=self._group,
        )
        self._await(self._server)

    def _all_settings(self) -> dict[str, str]:
        return {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": str(self.folder / "socket"),
            "max_connections": "200",
            "synchronous_commit": "on",
            "shared_buffers": "64MB",
            "max_wal_size": "256MB",
            # In the data folder, where a killed server's pages go with the folder, not in /dev/shm.
            "dynamic_shared_memory_type": "mmap",
            **self._settings,
        }

    def _await(self, server: Child) -> None:
        wait_until(lambda: not server.running or _answers(self.port), _START)
        if not server.running or not wait_until(self._accepts, _START, every=0.1):
            raise ServiceError(f"PostgreSQL did not come up within {_START:.0f} s:\n{server.last_words()}")

    def _accepts(self) -> bool:
        try:
            return self.execute("SELECT 1") == "1"
        except ServiceError:
            return False

    def _forget(self) -> None:
        if self._server is not None:
            self._keeper.forget(self._server)
            self._server = None

    def _drop_shared_memory(self) -> None:
        """A killed server leaves a segment of 56 bytes, known by the seventh line of its lock file."""
        lock = self._data / "postmaster.pid"
        try:
            segment = lock.read_text().splitlines()[6].split()[1]
        except (OSError, IndexError):
            return
        subprocess.run(["ipcrm", "--shmem-id", segment], check=False, capture_output=True)  # noqa: S603, S607 - a number; util-linux is always there

    def _run(self, program: str, *words: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            [_program(program), *words],
            # Asked for TLS, psql looks for a certificate at home: that of root is closed to the package's user.
            env={**_environment(), "HOME": str(self.folder)},
            cwd=self.folder,
            user=self._user,
            group=self._group,
            extra_groups=None if self._user is None else [],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ServiceError(f"{program} failed with {done.returncode}: {done.stdout.strip()}")
        return done.stdout


def _find(program: str) -> str | None:
    found = sorted(glob(f"{_PROGRAMS}/{program}"), key=lambda path: int(path.split("/")[4].split(".")[0]))
    return found[-1] if found else None


def _program(name: str) -> str:
    """Of the newest version installed."""
    path = _find(name)
    if path is None:
        raise ServiceError(f"no {name} in {_PROGRAMS}: install it with deploy/packages postgresql")
    return path


def _environment() -> dict[str, str]:
    """Ours, without the PG* that would lead a client to somebody else's server."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return {**kept, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


def _as_words(settings: Mapping[str, str]) -> Sequence[str]:
    return [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]


def _somebody_else() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    found = [name for name in _USERS if name in known]
    if not found:
        raise ServiceError(f"PostgreSQL refuses to run as root, and none of {', '.join(_USERS)} exists here")
    return found[0]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=2) as connection:
            connection.sendall(_SSL_REQUEST)
            return connection.recv(1) in (b"S", b"N")
    except OSError:
        return False
