"""Every code block of the README does what the text around it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.services.private import need, need_rabbitmq
from tests.support.amqp import Listener, command, eventually
from tests.support.readme import ROOT, Ran, block, blocks, node_modules, ran, shell
from tests.support.storm import Sippulse
from worker.sandbox.processes import Keeper

WHO = ("551140001000", "voip.example")
# What a reader has of his own, and times that a test can wait for; everything else is as the README says.
QUICK = {
    "PLATFORMS__SIPPULSE_BR__TIMEOUT": "2",
    "PLATFORMS__SIPPULSE_BR__SETTLE": "2.5",
    "PLATFORMS__SIPPULSE_BR__LEASE_MARGIN": "5",
    "PLATFORMS__SIPPULSE_BR__RETRY_FIRST": "0.1",
    "PLATFORMS__SIPPULSE_BR__CALL_RECORDS__LAG": "2",  # in which the call below has to come
    "CONSOLE__PORT": "0",
}
EXECUTED = frozenset(
    {
        "demo",
        "up",
        "first",
        "install",
        "run",
        "doctor",
        "python",
        "javascript",
        "cloudevents",
        "send",
        "batch",
        "parked",
    }
)


def test_every_block_says_what_it_is_and_is_executed() -> None:
    unknown = [f"README.md:{one.line}" for one in blocks() if not one.what]
    assert unknown == []
    assert {one.name for one in blocks() if one.what == "test"} == EXECUTED
    assert [one.name for one in blocks() if one.what == "file"] == ["worker.toml"]


def test_every_file_that_readme_and_docs_point_at_is_there() -> None:
    texts = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    missing = [
        f"{text.name}: {target}"
        for text in texts
        for target in re.findall(r"\]\(([^)#]+)", text.read_text())
        if "://" not in target and not (text.parent / target).exists()
    ]
    assert missing == []


def test_the_demo_block_is_what_the_test_of_a_fresh_machine_runs() -> None:
    from tests.integration.test_fresh_machine import DEMO

    assert [word for word in DEMO if not word.startswith("-")] == block("demo").text.split()


async def test_install_makes_a_worker_that_runs_from_any_folder(tmp_path: Path) -> None:
    done = await ran(shell(block("install").text), ROOT, os.environ, within=600)
    assert done.code == 0, done.output
    assert "quarantine" in done.output
    elsewhere = await ran([str(ROOT / ".venv/bin/worker"), "--version"], tmp_path, os.environ)
    assert elsewhere.code == 0, elsewhere.output


async def test_a_newcomer_sends_a_first_command_to_the_demonstration(rabbit_url: str, tmp_path: Path) -> None:
    """And what Python programs are shown below works there too. On a broker that is there already."""
    need_rabbitmq()
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("WORKER_", "MAKE"))}
    log = tmp_path / "up.log"
    keeper = Keeper()
    own = {"WORKER__BROKER__URL": rabbit_url, "TMPDIR": str(temporary)}
    running = keeper.spawn("up", shell(block("up").text), env={**env, **own}, cwd=ROOT, log=log)
    try:
        await eventually(lambda: "send one" in log.read_text() or not running.running, 240, 0.2, "a table")
        assert running.running, running.last_words()
        pasted = re.findall(r"\bexport WORKER_CONFIG=.*", log.read_text())
        assert len(pasted) == 1
        done = await ran(shell(f"{pasted[0]}\n{block('first').text}"), ROOT, env)
        assert (done.code, done.output.count("succeeded")) == (0, 2), done.output
        file = tmp_path / "first.py"
        file.write_text(block("python").text)
        done = await ran(shell(f"{pasted[0]}\n{sys.executable} {file}"), tmp_path, env)
        assert done.output.startswith("succeeded "), done.output
    finally:
        running.end(60)
        keeper.close()
    assert not list(temporary.iterdir())


@dataclass(slots=True)
class Reader:
    """Somebody who follows the README in a folder of his own."""

    folder: Path
    env: Mapping[str, str]

    async def sh(self, name: str, code: int = 0) -> str:
        return self.said(name, await ran(shell(block(name).text), self.folder, self.env), code)

    async def python(self, name: str) -> str:
        file = self.folder / f"block_{name}.py"
        file.write_text(block(name).text)
        return self.said(name, await ran([sys.executable, str(file)], self.folder, self.env))

    async def node(self, name: str) -> str:
        file = self.folder / f"block_{name}.js"
        file.write_text(block(name).text)
        env = {**self.env, "NODE_PATH": str(node_modules())}
        return self.said(name, await ran(["node", str(file)], self.folder, env))

    def said(self, name: str, done: Ran, code: int = 0) -> str:
        assert done.code == code, f"README.md:{block(name).line}: {done.code}\n{done.output}"
        return done.output


def environment(broker: str, platform: str) -> dict[str, str]:
    """Ours, with private services, and `worker` of the virtual environment on the PATH."""
    settings = {"BROKER__URL": broker, "PLATFORMS__SIPPULSE_BR__URL": platform, **QUICK}
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("WORKER_")},
        **{f"WORKER__{name}": value for name, value in settings.items()},
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        "BROKER_URL": broker,
        "SIPPULSE_PASSWORD": "admin",
    }


async def test_a_reader_gets_from_the_settings_to_a_parked_command(rabbit_url: str, tmp_path: Path) -> None:
    need(shutil.which("node") is not None and shutil.which("npm") is not None, "nodejs npm")
    folder = tmp_path / "reader"
    folder.mkdir()
    keeper = Keeper()
    async with Sippulse(tmp_path / "platform") as platform, Listener(rabbit_url) as results:
        reader = Reader(folder, environment(rabbit_url, platform.url))
        (folder / "worker.toml").write_text(block("worker.toml").text)
        log = folder / "run.log"
        running = keeper.spawn("worker", shell(block("run").text), env=reader.env, cwd=folder, log=log)
        try:
            await eventually(lambda: '"worker.started"' in log.read_text(), 90, 0.2, log.read_text())
            await eventually(lambda: doctor_is_content(reader), 60, 0.5, "a doctor who is content")
            assert (folder / "worker.key").stat().st_mode & 0o777 == 0o600
            assert await missing_figures(log.read_text()) == set()
            await sends_commands(reader, platform, results)
            await decides_about_a_parked_one(reader, platform, results, rabbit_url)
            assert running.running
        finally:
            running.end(30)
            keeper.close()


async def missing_figures(log: str) -> set[str]:
    """Names of metrics in docs/ that /metrics does not know."""
    named = set(re.findall(r"\bworker_[a-z_]+", (ROOT / "docs" / "operations.md").read_text()))
    [listening] = [line for line in log.splitlines() if '"console.listening"' in line]
    async with aiohttp.ClientSession() as http, http.get(f"{json.loads(listening)['url']}/metrics") as page:
        known = set(re.findall(r"^# HELP (\w+)", await page.text(), re.MULTILINE))
    return named - known


async def doctor_is_content(reader: Reader) -> bool:
    done = await ran(shell(block("doctor").text), reader.folder, reader.env)
    return done.code == 0 and "sippulse-br: reachable, signed in" in done.output


async def sends_commands(reader: Reader, platform: Sippulse, results: Listener) -> None:
    assert (await reader.python("python")).startswith("succeeded ")
    created = (await platform.ask("state", username=WHO[0], domain=WHO[1]))["subscribers"]
    assert len(created) == 1
    assert (await reader.node("javascript")).startswith("succeeded ")
    said = await reader.python("cloudevents")
    assert said.startswith("sent order-")
    ended = await eventually(lambda: results.of(said.split()[1]), 60)
    assert ended[0].data["status"] == "succeeded"
    said = await reader.sh("send")
    assert said.count("succeeded") == 2
    await reader.sh("send")  # the same key again: no second effect
    [after] = (await platform.ask("state", username=WHO[0], domain=WHO[1]))["subscribers"]
    assert (float(after["balance"]), after["activeOutgoingCalls"]) == (35.0, False)
    said = await reader.sh("batch")
    assert "succeeded  1" in said
    assert "succeeded" in (reader.folder / "report.csv").read_text()


async def decides_about_a_parked_one(
    reader: Reader, platform: Sippulse, results: Listener, broker: str
) -> None:
    """The answer is lost, and a call eats some of the credit meanwhile: reading cannot tell."""
    from tests.support.amqp import Sender

    name = {"username": WHO[0], "domain": WHO[1]}
    await platform.fail("addCredit", "drop_after", count=1)
    order = command(
        "credit.add.v1", {"platform": "sippulse-br", "subscriber": name, "amount": "5.00"}, id="order-4711"
    )
    async with Sender(broker) as sender:
        await sender.send(order)
    await eventually(lambda: lost(platform), 30, 0.02, "a lost answer")
    await platform.tell("charge", **name, price="0.07")
    await eventually(lambda: statuses(results, "order-4711") == ["parked"], 60, 0.1, "a parked command")
    said = await reader.sh("parked")
    assert "order-4711" in said
    await eventually(lambda: statuses(results, "order-4711") == ["parked", "succeeded"], 60, 0.1)
    final = results.of("order-4711")[-1].data
    assert final["error"]["code"] == "resolved_by_operator"
    assert "the statement of 12 March shows the top-up" in final["error"]["message"]


async def lost(platform: Sippulse) -> bool:
    return bool((await platform.ask("counts"))["faults"])


def statuses(results: Listener, name: str) -> list[str]:
    return [one.data["status"] for one in results.of(name)]
