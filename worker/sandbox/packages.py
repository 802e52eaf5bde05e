"""Install Debian or Ubuntu packages and leave the machine as quiet as it was.

A package of a server starts that server, enables it for the next boot and, with PostgreSQL, makes a database
cluster. Here only the programs are wanted: the private nodes of this folder bring their own everything else.
So nothing is started, made or left enabled; what had been enabled before stays as it was.

Runs without the virtual environment too (``deploy/packages NAME…``): standard library only, nothing of ours.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from glob import glob
from pathlib import Path
from types import FrameType

POLICY = Path("/usr/sbin/policy-rc.d")
"""Asked by invoke-rc.d and deb-systemd-invoke before they start anything; 101 means "no"."""
POLICY_ASIDE = Path("/usr/sbin/policy-rc.d.aside-by-provisioning-worker")
POLICY_TEXT = "#!/bin/sh\n# provisioning-worker: nothing starts while its packages are installed\nexit 101\n"
FORBIDDEN = 101

NO_CLUSTER = Path("/etc/postgresql-common/createcluster.d/provisioning-worker.conf")
NO_CLUSTER_TEXT = "# provisioning-worker: removed again after the installation\ncreate_main_cluster = false\n"

_UNIT_LINKS = ("/etc/systemd/system/*.wants/*", "/etc/systemd/system/*.requires/*", "/etc/systemd/system/*")
_BOOT_LINKS = "/etc/rc[2-5S].d/S*"
_LOCK_WAIT = "300"  # seconds for another apt or dpkg to finish

# What shows that a package's programs are there, whoever installed them.
_EVIDENCE: dict[str, tuple[str, ...]] = {
    "rabbitmq-server": ("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",),
    "postgresql": ("/usr/lib/postgresql/*/bin/initdb",),
    "mariadb-server-core": ("/usr/sbin/mariadbd",),
    "mariadb-client-core": ("/usr/bin/my_print_defaults",),
}
_PROGRAM = {"nodejs": "node", "npm": "npm"}

Say = Callable[[str], None]


class PackageError(RuntimeError):
    """Packages could not be installed; the text says what to do."""


def say_aloud(line: str) -> None:
    print(line, flush=True)


def ensure(*names: str, say: Say = say_aloud) -> list[str]:
    """Install what is missing of ``names``, and return the names that were; nothing missing costs nothing.

    Raises `PackageError` where there is no apt, neither root nor sudo, or the installation fails.
    """
    missing = [name for name in names if not present(name)]
    if missing:
        _check_apt(missing)
        if os.geteuid() == 0:
            _install(missing, say)
        else:
            _install_by_sudo(missing, say)
    return missing


def present(name: str) -> bool:
    """Whether the package's programs are on this machine."""
    if name in _EVIDENCE:
        return any(glob(pattern) for pattern in _EVIDENCE[name])
    if name in _PROGRAM:
        return shutil.which(_PROGRAM[name]) is not None
    return _installed_by_dpkg(name)


def _installed_by_dpkg(name: str) -> bool:
    try:
        asked = _run("dpkg-query", "--show", "--showformat=${db:Status-Status}", name)
    except FileNotFoundError:
        return False
    return asked.returncode == 0 and asked.stdout == "installed"


def _check_apt(missing: Sequence[str]) -> None:
    if shutil.which("apt-get") is None:
        raise PackageError(
            f"missing: {', '.join(missing)}. They are installed by apt-get, which this system does not have:"
            " install their equivalents by hand, and run this again"
        )


def _install_by_sudo(missing: Sequence[str], say: Say) -> None:
    by_hand = f"install by hand: apt-get install --no-install-recommends {' '.join(missing)}"
    if shutil.which("sudo") is None:
        raise PackageError(
            f"missing: {', '.join(missing)}. Installing needs root or sudo, and here is neither: {by_hand}"
        )
    say(f"packages: {', '.join(missing)} missing; installing with sudo")
    proxies = [f"{key}={value}" for key, value in os.environ.items() if key.lower().endswith("_proxy")]
    again = [sys.executable, "-P", str(Path(__file__).resolve()), *missing]
    # Without a terminal sudo would wait for a password that nobody can type.
    ask = [] if sys.stdin.isatty() else ["--non-interactive"]
    done = subprocess.run(["sudo", *ask, "--", "env", *proxies, *again], check=False)  # noqa: S603, S607 - our own words; sudo is where the system has it
    if done.returncode != 0:
        raise PackageError(f"sudo could not install {', '.join(missing)}; {by_hand}")


def _install(missing: Sequence[str], say: Say) -> None:
    say(f"packages: installing {', '.join(missing)}; nothing is started or enabled by it")
    with ExitStack() as quiet:
        quiet.enter_context(_interruption_unwinds())
        quiet.enter_context(nothing_left_enabled(say))
        quiet.enter_context(nothing_starts())
        quiet.enter_context(no_database_cluster(say))
        _apt_install(missing, say)
    absent = [name for name in missing if not present(name)]
    if absent:
        raise PackageError(f"apt-get installed {', '.join(absent)}, but its programs are not where we look")
    say(f"packages: {', '.join(missing)} ready")


def _apt_install(names: Sequence[str], say: Say) -> None:
    tried = _apt("install", "--yes", "--no-install-recommends", *names)
    if tried.returncode != 0:  # lists that are absent or old: fresh machines have none
        say("packages: apt-get update")
        _apt("update")
        tried = _apt("install", "--yes", "--no-install-recommends", *names)
    if tried.returncode != 0:
        raise PackageError(f"apt-get install {' '.join(names)} failed:\n{_tail(tried.stdout)}")


def _apt(*words: str) -> subprocess.CompletedProcess[str]:
    options = ("-o", f"DPkg::Lock::Timeout={_LOCK_WAIT}", "-o", "Dpkg::Use-Pty=0")
    quiet = {
        "DEBIAN_FRONTEND": "noninteractive",
        "SYSTEMD_OFFLINE": "1",  # maintainer scripts that ask systemctl directly reach no running systemd
        "NEEDRESTART_SUSPEND": "1",  # Ubuntu: no restart of other services after an installation
    }
    return _run("apt-get", "-q", *options, *words, env={**os.environ, **quiet})


def _run(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own words, no shell
        words,
        check=False,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
    )


def _tail(output: str, lines: int = 15) -> str:
    return "\n".join(output.splitlines()[-lines:])


@contextmanager
def _interruption_unwinds() -> Iterator[None]:
    """SIGTERM becomes an exception, so that what was put in place is taken away again."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not the main thread: whoever owns the signals decides
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def nothing_starts() -> Iterator[None]:
    """No service is started by an installation; a policy that somebody made is kept, and put back."""
    _restore_policy()  # after a run that was killed
    if _policy_forbids():
        yield
        return
    if POLICY.exists() or POLICY.is_symlink():
        POLICY.rename(POLICY_ASIDE)
    POLICY.write_text(POLICY_TEXT)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        _restore_policy()


def _policy_forbids() -> bool:
    if not os.access(POLICY, os.X_OK):
        return False
    return _run(str(POLICY), "rabbitmq-server", "start").returncode == FORBIDDEN


def _restore_policy() -> None:
    if POLICY.is_file() and not POLICY.is_symlink() and POLICY.read_text(errors="replace") == POLICY_TEXT:
        POLICY.unlink()
    if POLICY_ASIDE.exists() or POLICY_ASIDE.is_symlink():
        POLICY_ASIDE.rename(POLICY)


@contextmanager
def no_database_cluster(say: Say) -> Iterator[None]:
    """PostgreSQL's package makes no cluster, by its own setting; one that appears all the same is dropped."""
    before = _clusters()
    made = _make_folders(NO_CLUSTER.parent)
    NO_CLUSTER.write_text(NO_CLUSTER_TEXT)
    try:
        yield
    finally:
        NO_CLUSTER.unlink(missing_ok=True)
        for folder in made:
            _remove_if_empty(folder)
        for version, name in sorted(_clusters() - before):
            say(f"packages: dropping the cluster {version}/{name} that the installation made")
            _run("pg_dropcluster", "--stop", version, name)


def _clusters() -> set[tuple[str, str]]:
    """Version and name of each cluster that Debian's PostgreSQL tools know."""
    found = (Path(path) for path in glob("/etc/postgresql/*/*/postgresql.conf"))
    return {(path.parts[-3], path.parts[-2]) for path in found}


def _make_folders(folder: Path) -> list[Path]:
    """Make ``folder``; return those that were not there, the innermost first."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return made


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def enabled() -> set[str]:
    """The links by which this machine starts services, sockets and timers at boot."""
    units = {link for pattern in _UNIT_LINKS for link in glob(pattern) if _enables(link)}
    return units | set(glob(_BOOT_LINKS))


def _enables(link: str) -> bool:
    return os.path.islink(link) and os.readlink(link) != os.devnull  # a link to /dev/null masks


@contextmanager
def nothing_left_enabled(say: Say) -> Iterator[None]:
    """What an installation enabled for the next boot is disabled again; its owner can enable it as ever."""
    before = enabled()
    folders = set(glob("/etc/systemd/system/*"))
    try:
        yield
    finally:
        added = sorted(enabled() - before)
        for link in added:
            _disable(Path(link))
        for folder in set(glob("/etc/systemd/system/*.*")) - folders:
            _remove_if_empty(Path(folder))
        if added:
            say(f"packages: disabled again: {', '.join(sorted({_service(Path(link)) for link in added}))}")
            _tell_systemd()


def _disable(link: Path) -> None:
    if not str(link).startswith("/etc/rc"):
        link.unlink(missing_ok=True)
        return
    _run("update-rc.d", _service(link), "disable")
    if link.is_symlink():
        link.rename(link.with_name("K01" + _service(link)))


def _service(link: Path) -> str:
    """``S03rabbitmq-server`` and ``rabbitmq-server.service`` are told apart by their folder."""
    return link.name[3:] if str(link).startswith("/etc/rc") else link.name


def _tell_systemd() -> None:
    if Path("/run/systemd/system").is_dir():
        _run("systemctl", "daemon-reload")


def main(names: Sequence[str]) -> int:
    """Exit code 0 when all is there, 1 with a sentence when it cannot be."""
    try:
        ensure(*names)
    except PackageError as error:
        print(f"packages: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
