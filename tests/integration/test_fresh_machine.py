"""``make demo`` on somebody's machine: it installs, runs, and leaves nothing running, listening or lying about."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.services import machine
from tests.services.children import ROOT
from tests.services.private import need_rabbitmq
from worker.sandbox import packages
from worker.sandbox.processes import wait_until

ALONE = bool(os.environ.get("CI"))
"""Nobody else uses this machine: every new file counts, not only those named like ours."""
BEFORE_PACKAGES = ROOT / ".run" / "before-packages.json"
DEMO = ("make", "--no-print-directory", "demo")
DEMO_SECONDS = 240  # with all that it installs, on a fresh machine of two cores
AFTERWARDS = 30  # with everything there


A_BROKER = (
    sys.executable,
    "-c",
    "from worker.sandbox.rabbitmq import PrivateRabbit\n"
    "import time\n"
    "with PrivateRabbit() as rabbit:\n"
    "    print(rabbit.add_vhost('some'), flush=True)\n"
    "    time.sleep(600 if LINGER else 0)\n",
)


def launch(command: Sequence[str], mark: str) -> subprocess.Popen[bytes]:
    """In a process group of its own, as a terminal would start it."""
    environment = {**os.environ, machine.MARK: mark, "PYTHONPATH": str(ROOT)}
    environment.pop("WORKER__BROKER__URL", None)  # the private broker is what this is about
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        process_group=0,
    )


def left_by(command: Sequence[str], seconds: float = DEMO_SECONDS) -> list[str]:
    """Run it to its end; what it left on the machine, and whether it took longer than `seconds`."""
    before, mark = machine.take(), secrets.token_hex(8)
    began = time.monotonic()
    assert launch(command, mark).wait(DEMO_SECONDS) == 0
    took = time.monotonic() - began
    print(f"{' '.join(command[:3])}: {took:.1f} s")
    late = [f"it took {took:.1f} s, and {seconds} are allowed"] if ALONE and took >= seconds else []
    return late + machine.left_behind(before, machine.take(), mark, everything=ALONE)


def left_by_interrupting(command: Sequence[str]) -> list[str]:
    """Ctrl-C as soon as its broker listens; what it left on the machine."""
    before, mark = machine.take(), secrets.token_hex(8)
    running = launch(command, mark)
    try:
        assert wait_until(lambda: "beam" in str(machine.marked_processes(mark)), DEMO_SECONDS)
        os.killpg(running.pid, signal.SIGINT)
        running.wait(60)
    finally:
        running.kill()
        running.wait()
    wait_until(lambda: not machine.marked_processes(mark), 60)
    return machine.left_behind(before, machine.take(), mark, everything=ALONE)


def linger(command: tuple[str, ...], yes: bool) -> tuple[str, ...]:
    return (*command[:-1], command[-1].replace("LINGER", str(yes)))


def test_the_demo_takes_half_a_minute_at_most_and_leaves_nothing_behind() -> None:
    """What it installs is there: `make test` needs the same."""
    assert left_by(DEMO, AFTERWARDS) == []


def test_a_demo_that_is_interrupted_leaves_nothing_behind() -> None:
    assert left_by_interrupting(DEMO) == []


def test_a_private_broker_leaves_nothing_behind() -> None:
    need_rabbitmq()
    assert left_by(linger(A_BROKER, False)) == []


def test_a_private_broker_that_is_interrupted_leaves_nothing_behind() -> None:
    need_rabbitmq()
    assert left_by_interrupting(linger(A_BROKER, True)) == []


def test_a_process_and_a_listener_that_stay_are_noticed() -> None:
    before, mark = machine.take(), secrets.token_hex(8)
    text = (
        "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(flush=True); time.sleep(600)"
    )
    environment = {**os.environ, machine.MARK: mark}
    stray = subprocess.Popen([sys.executable, "-c", text], env=environment, stdout=subprocess.PIPE)
    try:
        assert stray.stdout is not None
        stray.stdout.readline()
        said = machine.left_behind(before, machine.take(), mark, everything=False)
    finally:
        stray.kill()
        stray.communicate()
    assert [line.split()[0] for line in said] == ["process", "listener"]


def test_what_an_installation_would_leave_is_noticed(tmp_path: Path) -> None:
    before = machine.take()
    machine.save(before, tmp_path / "machine.json")
    assert machine.load(tmp_path / "machine.json") == before
    link = "/etc/systemd/system/multi-user.target.wants/rabbitmq-server.service"
    after = replace(
        before,
        enabled=before.enabled | {link},
        clusters=before.clusters | {"/etc/postgresql/99/main"},
        listeners={**before.listeners, "1": "00000000:4369"},
        policy="another",
    )
    said = machine.installation_left(before, after)
    assert [line.split(":")[0].split(" was ")[0] for line in said] == [
        "enabled at boot",
        "database cluster",
        str(packages.POLICY),
        "service port 4369 listens",
    ]


def test_installing_what_the_tests_need_started_and_enabled_nothing() -> None:
    """`make test` looks at the machine before it installs; here is what had changed after that."""
    if not BEFORE_PACKAGES.exists():
        pytest.skip("only `make test` knows how the machine was before it installed anything")
    assert machine.installation_left(machine.load(BEFORE_PACKAGES), machine.take()) == []
