"""A private MariaDB server from the system's package, beside whatever else runs on the machine.

Own folder, port, socket and passwords; loopback only. Root runs it as another user, in a folder which that user
can reach. Nothing of the system's configuration is read.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.sandbox.ports import LOOPBACK, free_port
from worker.sandbox.processes import Child, Folder, Keeper, ServiceError, wait_until

PACKAGES = ("mariadb-server-core", "mariadb-client-core")  # the programs alone: no service, no user, no data
HOW = f"install it with deploy/packages {' '.join(PACKAGES)}"
_SERVERS = ("mariadbd", "mysqld")
_START = 60.0  # seconds; a recovery after `kill` included
_GRACE = 20.0  # seconds for a clean stop
_USERS = ("mysql", "nobody")  # whom root asks to run it
FREEZING = 10.0  # seconds, on a busy machine
OWNER = "private"


def installed() -> bool:
    """Whether the server's programs are on this machine (packages ``mariadb-server-core`` and ``mariadb-client-core``)."""
    return all(_find(*names) for names in (_SERVERS, ("mariadb-install-db",), ("my_print_defaults",)))


class PrivateMariaDb:
    """One server. ``with PrivateMariaDb() as mariadb: connect(mariadb.url("mysql"))``.

    ``folder``: where its data live, and which its user must be able to reach; without it a temporary folder
    that `stop` removes. ``settings``: further server settings, e.g. ``{"max_connections": "5"}``.
    """

    def __init__(self, folder: Path | None = None, settings: Mapping[str, str] | None = None) -> None:
        if not installed():
            raise ServiceError(f"no MariaDB server: {HOW}")
        self._user = _somebody_else() if os.geteuid() == 0 else None
        self._group = None if self._user is None else pwd.getpwnam(self._user).pw_gid
        self._folder = Folder(folder, "private-mariadb-", for_others=self._user is not None)
        self.folder = self._folder.path
        self._data = self.folder / "data"
        self.port = free_port()
        self.password = secrets.token_hex(12)
        self._settings = dict(settings or {})
        self._keeper = Keeper(self.folder if self._folder.ours else None)
        self._server: Child | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def url(self, database: str = "mysql", user: str = OWNER, password: str | None = None) -> str:
        """Address of a database, with user and password; by default the server's owner."""
        secret = self.password if password is None else password
        return f"mysql://{user}:{secret}@{LOOPBACK}:{self.port}/{database}"

    @property
    def pid(self) -> int | None:
        """Process number of the server, where it runs."""
        return self._server.pid if self._server is not None and self._server.running else None

    def start(self) -> None:
        """Start the server and wait until it answers. Raises `ServiceError` with the end of its log."""
        if self.pid is not None:
            return
        try:
            if not (self._data / "mysql").is_dir():
                self._make_data()
            self._start_server()
        except BaseException:  # a Ctrl-C while it starts leaves nothing behind either
            self.stop()
            raise

    def stop(self) -> None:
        """Stop cleanly, connected or not; remove the folder if it is a temporary one."""
        if self._server is not None:
            self._server.end(_GRACE)
            self._forget()
        self._keeper.close()
        self._folder.remove()

    def kill(self) -> None:
        """SIGKILL, as by a power cut; `start` brings it back by recovery, on the same port and data."""
        if self._server is not None:
            self._server.kill()
            self._forget()

    def freeze(self) -> None:
        """It takes connections and says nothing more, until `thaw`."""
        if self._server is not None:
            server = self._server
            server.send(signal.SIGSTOP)
            wait_until(lambda: server.stopped, FREEZING, every=0.01)

    def thaw(self) -> None:
        if self._server is not None:
            self._server.send(signal.SIGCONT)

    def _make_data(self) -> None:
        """The system tables, and one account of all rights; the installer's own accounts cannot sign in."""
        for name in ("data", "tmp", "log"):
            (self.folder / name).mkdir(exist_ok=True)
        if self._user is not None:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, self._user, self._group)
        words = (*self._places(), "--skip-test-db", "--auth-root-authentication-method=socket")
        self._run(_program("mariadb-install-db"), *words)
        init = self.folder / "init.sql"
        init.touch(mode=0o600)
        init.write_text(
            f"CREATE USER IF NOT EXISTS '{OWNER}'@'%' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON *.* TO '{OWNER}'@'%' WITH GRANT OPTION;\n"
        )
        if self._user is not None:
            shutil.chown(init, self._user, self._group)

    def _start_server(self) -> None:
        words = [_program(*_SERVERS), *self._places(), *self._all_settings()]
        log = self.folder / "log" / "mariadb.out"
        self._server = self._keeper.spawn(
            "mariadb", words, env=_environment(), cwd=self.folder, log=log, user=self._user, group=self._group
        )
        server = self._server
        # It says so itself, after the init file has run and before it takes its first connection.
        if (
            not wait_until(lambda: not server.running or _ready(log, server.pid), _START)
            or not server.running
        ):
            raise ServiceError(f"MariaDB did not come up within {_START:.0f} s:\n{server.last_words()}")

    def _places(self) -> list[str]:
        return ["--no-defaults", f"--datadir={self._data}", f"--tmpdir={self.folder / 'tmp'}"]

    def _all_settings(self) -> list[str]:
        settings = {
            "bind-address": LOOPBACK,
            "port": str(self.port),
            "socket": str(self.folder / "mariadb.sock"),
            "pid-file": str(self.folder / "mariadb.pid"),
            "init-file": str(self.folder / "init.sql"),
            "innodb-buffer-pool-size": "64M",
            "innodb-log-file-size": "16M",
            "innodb-flush-log-at-trx-commit": "2",  # processes may die here, the machine does not lose power
            "performance-schema": "OFF",
            "skip-name-resolve": "ON",
            **self._settings,
        }
        return [f"--{name}={value}" for name, value in settings.items()]

    def _forget(self) -> None:
        if self._server is not None:
            self._keeper.forget(self._server)
            self._server = None

    def _run(self, *words: str) -> None:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            words,
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
            raise ServiceError(f"{words[0]} failed with {done.returncode}: {done.stdout.strip()[-2000:]}")


def _ready(log: Path, pid: int) -> bool:
    """Since this start: the log goes on from the one before."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return False
    return "ready for connections" in text[text.rfind(f"as process {pid}") :]


def _find(*programs: str) -> str | None:
    folders = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    return next((path for name in programs if (path := shutil.which(name, path=folders))), None)


def _program(*names: str) -> str:
    path = _find(*names)
    if path is None:
        raise ServiceError(f"no {names[0]} on this machine: {HOW}")
    return path


def _environment() -> dict[str, str]:
    """Ours, without what would lead a client to somebody else's server."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MYSQL", "MARIADB"))}
    return {**kept, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


def _somebody_else() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    found = [name for name in _USERS if name in known]
    if not found:
        raise ServiceError(f"MariaDB refuses to run as root, and none of {', '.join(_USERS)} exists here")
    return found[0]
