"""Worker processes born by fork from one that has imported the worker already.

    with Nursery(folder) as nursery:
        life = nursery.bear(["plan.json", "--config", "worker.toml", "run"], folder, log)
        assert await life.end() == -signal.SIGKILL

A start in full costs two seconds of CPU, most of it imports, and there are a hundred of them. What is born has its
own process, connections, event loop and log, and shares nothing with the others but the code; its death
reaches nobody else. `python -m tests.faults.points.nursery` is the mother: a JSON line in, a process id out;
how a child ended stands in the file named for it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.amqp import eventually
from worker.sandbox.processes import Child, Keeper

QUEUE = '"provisioning.commands"'
ROOT = Path(__file__).resolve().parents[3]
MODULES = (
    "tests.faults.points.launch",
    "worker.cli.app",
    "worker.bootstrap",
    "worker.broker.dead",
    "worker.broker.intake",
    "worker.broker.relay",
    "worker.engine.engine",
    "worker.journal.opening",
    "worker.journal.postgres",
    "worker.journal.sqlite",
    "worker.platforms.build",
    "worker.platforms.sippulse",
    "uvloop",
)


@dataclass(frozen=True, slots=True)
class Life:
    """One process from its birth to its death."""

    pid: int
    log: Path

    @property
    def ended(self) -> bool:
        return end_of(self.log).exists()

    async def end(self, within: float = 120.0) -> int:
        """Its exit code, negative for a signal."""
        await eventually(lambda: self.ended, within, 0.05, f"the death of {self.log.name}\n{self.tail()}")
        return int(end_of(self.log).read_text())

    def kill(self) -> None:
        """Its number is its own until its mother has written how it ended."""
        if not self.ended:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def consumes(self) -> bool:
        """The queue of commands is there, and consumed."""
        return any('"consumer.started"' in line and QUEUE in line for line in self._lines())

    def _lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines() if self.log.exists() else []

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self._lines()[-lines:])


def end_of(log: Path) -> Path:
    return log.with_suffix(".end")


class Nursery:
    """The mother as a child of ours: she and all that she bore end with us."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keeper = Keeper()
        self._mother: Child | None = None

    def __enter__(self) -> Self:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
        manners = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        words = [sys.executable, "-m", "tests.faults.points.nursery"]
        log = self._folder / "nursery.log"
        self._mother = self._keeper.spawn(
            "nursery", words, env={**kept, **manners}, cwd=ROOT, log=log, talks=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._mother is not None
        self._mother.kill()  # and her group
        self._keeper.forget(self._mother)
        self._keeper.close()

    def bear(self, words: Sequence[str], folder: Path, log: Path) -> Life:
        """A process in `folder`, its output in `log`, that runs `launch` with these words: a plan, or "-"."""
        assert self._mother is not None
        pid = self._mother.ask(json.dumps({"words": list(words), "folder": str(folder), "log": str(log)}))
        assert pid, f"the nursery has ended: {self._mother.last_words()}"
        return Life(int(pid), log)


# ---------------------------------------------------------------- the mother's side


def serve() -> None:
    for module in MODULES:
        importlib.import_module(module)
    gc.freeze()  # what is shared is not to be copied by the children's collections
    living: dict[int, Path] = {}
    while True:
        ready, _, _ = select.select([sys.stdin], [], [], 0.05)
        if ready:
            if not (line := sys.stdin.readline()):
                return
            asked = json.loads(line)
            if (pid := os.fork()) == 0:
                live(asked)
            living[pid] = end_of(Path(asked["log"]))
            print(pid, flush=True)
        bury(living)


def bury(living: dict[int, Path]) -> None:
    """How each ended is written before its number can become somebody else's."""
    for pid in list(living):
        if (end := os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            code = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
            write_whole(living.pop(pid), str(code))
            os.waitpid(pid, 0)


def write_whole(file: Path, text: str) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(text)
    draft.rename(file)


def live(asked: Mapping[str, Any]) -> None:
    """The child's whole life; never returns."""
    code = 1
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for ours, theirs in ((null, 0), (log, 1), (log, 2)):
            os.dup2(ours, theirs)
        os.chdir(asked["folder"])
        from tests.faults.points import launch

        code = launch.main(asked["words"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
