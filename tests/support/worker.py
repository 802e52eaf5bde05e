"""Worker processes as an operator would start them: a settings file, `python -m worker run`, signals.

    async def test_something(rabbit_url, tmp_path):
        async with Workers(tmp_path, rabbit_url, {"sippulse-br": simulator.url}) as workers:
            one = await workers.start()                        # ready: /readyz answers 200
            two = await workers.start("engine,relay", held=True)
            one.kill()                                         # SIGKILL; also freeze() thaw() terminate()
            await one.ended()                                  # its exit code
            done = await workers.worker("commands", "list", "--json")   # any verb, with the same settings
            assert done.code == 0, done.err
            print(one.log(), one.events("attempt.settled"))

The journal is SQLite in the folder unless `journal=postgres_url` is given (SQLite serves one process).
Settings are tuned for tests (`QUICK`, `PLATFORM`); `platforms` maps a name to a simulator's URL or to a table
of settings, and `settings` are further tables: `Workers(..., settings={"intake": {"max_bytes": 1000}})`.
Change `workers.settings` and `await workers.write()` for the next start. The password of the simulator's own
configuration (`admin`, `admin`) is the default login.

Every process ends with the `async with`, and also when the test run itself is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.amqp import eventually
from worker.sandbox.processes import Child, Keeper

ROOT = Path(__file__).resolve().parents[2]
START = 90.0  # seconds until a worker is ready: much on a busy machine, a few on an idle one
END = 60.0

QUICK: Mapping[str, Mapping[str, Any]] = {
    "worker": {"grace": 10, "poll": 0.2},
    "console": {"port": 0},
    "events": {"notify_after": 60},
}
PLATFORM: Mapping[str, Any] = {
    "kind": "sippulse",
    "login": "admin",
    "password": "admin",
    "rate": 2000.0,
    "timeout": 2.0,
    "lease_margin": 5.0,
    "settle": 1.5,
    "retry_first": 0.1,
    "retry_most": 1.0,
    "breaker_probe_first": 0.2,
    "breaker_probe_most": 1.0,
    "hold_probe_first": 0.3,
    "hold_probe_most": 1.0,
    "call_records": {"lag": 0.2},
}

Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command-line verb ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(slots=True)
class WorkerProcess:
    """One `worker run`. `url`: of its console, None without that role."""

    child: Child = field(repr=False)
    log_file: Path
    keeper: Keeper = field(repr=False)
    url: str | None = None

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def running(self) -> bool:
        return self.child.running

    def kill(self) -> None:
        """SIGKILL; returns when it is gone. Its number may soon be somebody else's: the keeper forgets it."""
        self.child.kill()
        self.keeper.forget(self.child)

    def terminate(self) -> None:
        """SIGTERM: a clean stop begins; `await ended()`."""
        self.child.send(signal.SIGTERM)

    def freeze(self) -> None:
        self.child.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.child.send(signal.SIGCONT)

    async def ended(self, within: float = END) -> int:
        """Its exit code; fails when it still runs after `within` seconds."""
        await eventually(lambda: not self.running, within, what=f"a stop\n{self.tail()}")
        return int(self.child._process.returncode)

    def log(self) -> str:
        """All that it wrote: JSON lines, and whatever else reached its output."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log().splitlines()[-lines:])

    def events(self, name: str) -> list[Table]:
        """Its log lines of that event."""
        found = []
        for line in self.log().splitlines():
            if f'"{name}"' in line and line.startswith("{"):
                event = json.loads(line)
                if event.get("event") == name:
                    found.append(event)
        return found

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page of its console, e.g. /readyz."""
        assert self.url is not None, "it has no console"
        return await asyncio.to_thread(_get, self.url + path)

    async def readiness(self) -> Table:
        return dict(json.loads((await self.get("/readyz"))[1]))


class Workers:
    """The settings, and all processes that were started with them."""

    def __init__(
        self,
        folder: Path,
        broker: str,
        platforms: Mapping[str, str | Mapping[str, Any]],
        *,
        journal: str | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.folder = folder
        self.file = folder / "worker.toml"
        self.processes: list[WorkerProcess] = []
        self.settings: Table = {name: dict(table) for name, table in QUICK.items()}
        self.settings["broker"] = {"url": broker}
        self.settings["journal"] = {"url": journal or "sqlite:///worker.db"}
        for name, table in (settings or {}).items():
            self.settings.setdefault(name, {}).update(table)
        own = {name: {"url": one} if isinstance(one, str) else one for name, one in platforms.items()}
        self.settings["platforms"] = {name: {**PLATFORM, **table} for name, table in own.items()}
        self._keeper = Keeper()

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for process in self.processes:
            process.kill()
        self._keeper.close()

    def write(self) -> None:
        """Write the settings file anew; the next start reads it."""
        self.file.write_text(toml(self.settings))

    async def start(
        self, roles: str = "intake,engine,relay,console", *, held: bool = False, ready: bool = True
    ) -> WorkerProcess:
        """`ready`: wait until it says that it works, and with a console that all is well."""
        words = [sys.executable, "-m", "worker", "--config", str(self.file), "run", "--roles", roles]
        log = self.folder / f"worker-{len(self.processes) + 1}.log"
        child = self._keeper.spawn(
            log.stem,
            [*words, *(["--held"] if held else [])],
            env=self._environment(),
            cwd=self.folder,
            log=log,
        )
        process = WorkerProcess(child, log, self._keeper)
        self.processes.append(process)
        if ready:
            await self.until_ready(process)
        return process

    async def until_ready(self, process: WorkerProcess, within: float = START) -> None:
        def started() -> bool:
            assert process.running, f"the worker ended:\n{process.tail()}"
            return bool(process.events("worker.started"))

        async def well() -> bool:
            assert process.running, f"the worker ended:\n{process.tail()}"
            return (await process.get("/readyz"))[0] == 200

        await eventually(started, within, 0.05, "worker.started in the log")
        if listening := process.events("console.listening"):
            process.url = str(listening[-1]["url"])
            try:
                await eventually(well, within, 0.1, "200 of /readyz")
            except AssertionError as error:
                raise AssertionError(f"{error}\n{await process.get('/readyz')}\n{process.tail()}") from None

    async def worker(self, *words: str, within: float = 120.0, stdin: str = "", **env: str) -> Finished:
        """Run another verb of the command line with the same settings: `worker("commands", "list")`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "worker",
            "--config",
            str(self.file),
            *words,
            cwd=self.folder,
            env={**self._environment(), **env},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(within):
                out, err = await process.communicate(stdin.encode())
        except BaseException:
            process.kill()
            await process.wait()
            raise
        return Finished(process.returncode or 0, out.decode(), err.decode())

    def _environment(self) -> dict[str, str]:
        """Ours without the worker's own variables: the file alone decides."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
        return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def toml(tables: Mapping[str, Any]) -> str:
    """Enough of TOML for settings: nested tables of texts, numbers, booleans, lists."""
    return "\n".join(_lines(tables, ()))


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = [
        f"{json.dumps(name)} = {_value(one)}" for name, one in table.items() if not isinstance(one, Mapping)
    ]
    lines = ([f"[{'.'.join(json.dumps(part) for part in path)}]"] if path else []) + plain
    for name, one in table.items():
        if isinstance(one, Mapping):
            lines += _lines(one, (*path, name))
    return lines


def _value(value: Any) -> str:
    """JSON's texts, numbers, booleans and lists are TOML's too; a table inside a list is inline."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(name)} = {_value(one)}" for name, one in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    return json.dumps(value)


def _get(url: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""
