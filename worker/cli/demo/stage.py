"""What the demonstration runs on: RabbitMQ, the simulator, a worker; private, and gone at the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import worker
from worker.cli.context import Fault
from worker.sandbox.ports import free_port
from worker.sandbox.processes import Child, Keeper, wait_until
from worker.sandbox.rabbitmq import PrivateRabbit
from worker.simulators.sippulse import LOST

PLATFORM = "sippulse-br"
BROKER = "WORKER__BROKER__URL"
START = 90.0  # seconds that a process may take to come up on a slow machine
STOP = 20.0
TIMEOUT = 1.5  # seconds, of a call to the platform
LATE = 2.0  # seconds after which a lost order is still applied: after the worker gave up, within `settle`
SETTLE = 2.0
SHARE = 0.15  # of the calls that change something lose their answer, beside one of each kind for certain


class Stopped(KeyboardInterrupt):
    """Somebody asked us to stop. As a Ctrl-C it passes through every `except Exception` on its way."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """SIGTERM, SIGHUP and Ctrl-C unwind what was begun; a second one while it unwinds is not heard."""

    def stop(number: int, frame: FrameType | None) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        raise Stopped(number)

    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Stage:
    """`with Stage(seed) as stage:`; what it starts ends with it, however it ends."""

    def __init__(self, seed: int) -> None:
        self.kept = False  # all was as expected, and it only goes on until somebody stops it
        self._seed = seed
        self._stack = ExitStack()
        self.folder = Path()
        self.broker = ""
        self.simulator = ""
        self.console = ""

    def __enter__(self) -> Self:
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="worker-demo-"))
            self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self._keeper = Keeper(self.folder)
            self._stack.callback(self._keeper.close)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def settings_file(self) -> Path:
        return self.folder / "worker.toml"

    def open_broker(self) -> None:
        """The one that WORKER__BROKER__URL names, or a private one."""
        self.broker = os.environ.get(BROKER, "")
        if not self.broker:
            rabbit = PrivateRabbit()
            self._stack.callback(rabbit.stop)
            rabbit.start()
            self.broker = rabbit.url

    def open_simulator(self) -> None:
        config = self.folder / "simulator.json"
        config.write_text(json.dumps({"seed": self._seed, "faults": faults()}))
        words = ("simulate", "sippulse", "--port", "0", "--config", str(config))
        said = self._spawn("simulator", words, lambda line: "listening on " in line)
        self.simulator = said.split("listening on ")[1].split()[0]

    def open_worker(self) -> None:
        """All roles in one process."""
        # A port that is known beforehand: `worker console link` in another shell names it.
        self.settings_file.write_text(settings(self.broker, self.simulator, free_port()))
        words = ("--config", str(self.settings_file), "run")
        said = self._spawn("worker", words, lambda line: '"worker.started"' in line)
        self.console = str(json.loads(said)["console"])

    def _spawn(self, name: str, words: tuple[str, ...], ready: Any) -> str:
        """Start `worker WORDS`; the line of its log that says that it is ready."""
        log = self.folder / f"{name}.log"
        child = self._keeper.spawn(
            name, (sys.executable, "-m", "worker", *words), env=environment(), cwd=self.folder, log=log
        )
        self._stack.callback(self._end, child)
        found: list[str] = []

        def said() -> bool:
            found[:] = [line for line in log.read_text(errors="replace").splitlines() if ready(line)]
            return bool(found) or not child.running

        wait_until(said, START)
        if not found:
            raise Fault(f"the {name} did not come up:\n{child.last_words()}")
        return found[0]

    def _end(self, child: Child) -> None:
        child.end(STOP)
        self._keeper.forget(child)

    def log_of(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")


def faults() -> list[dict[str, Any]]:
    """One answer lost in each way that the simulator knows, and more by chance: a quarter in all."""
    common = {"operation": "@changes", "seconds": LATE}
    each = [
        common | {"kind": kind, "count": 1, "skip": 2 + 5 * place} for place, kind in enumerate(sorted(LOST))
    ]
    return [*each, common | {"kind": "lost", "share": SHARE}]


def environment() -> dict[str, str]:
    """Ours without what would change the worker's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
    package = str(Path(worker.__file__).resolve().parent.parent)
    paths = [package, *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def settings(broker: str, simulator: str, console: int) -> str:
    """Quick where a real platform has to be given time: nothing here takes longer than LATE."""
    return f"""\
[worker]
source = "/provisioning-demo"
poll = 0.2
[broker]
url = {json.dumps(broker)}
[journal]
url = "sqlite:///worker.db"
[console]
port = {console}
[platforms.{PLATFORM}]
kind = "sippulse"
url = {json.dumps(simulator)}
login = "admin"
password = "admin"
rate = 500
timeout = {TIMEOUT}
settle = {SETTLE}
retry_first = 0.2
retry_most = 2
breaker_after = 20
breaker_probe_first = 0.2
breaker_probe_most = 1
hold_probe_first = 0.2
hold_probe_most = 1
[platforms.{PLATFORM}.call_records]
lag = 0.3
"""
