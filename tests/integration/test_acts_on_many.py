"""Acts on many commands, and a message that is mended, by the command line beside a running worker."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.amqp import Listener, Sender, command, eventually
from tests.support.worker import Finished, Workers
from worker.simulators.sippulse import Simulator, SimulatorConfig, serve

DOMAIN = "sip.example"
PLATFORM = "sippulse-br"
PEOPLE = 12
ROOT = Path(__file__).parents[2]
ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    it = await serve(0, config=SimulatorConfig())
    yield it
    await it.close()


@pytest.fixture
async def workers(rabbit_url: str, tmp_path: Path, simulator: Simulator) -> AsyncIterator[Workers]:
    async with Workers(tmp_path, rabbit_url, {PLATFORM: simulator.url}) as them:
        await them.start()
        yield them


async def ok(workers: Workers, *words: str, **more: Any) -> Finished:
    done = await workers.worker(*words, **more)
    assert done.code == 0, f"{words}: {done.out}{done.err}"
    return done


def about(name: str) -> dict[str, Any]:
    return {"platform": PLATFORM, "subscriber": {"username": name, "domain": DOMAIN}}


async def rejected(rabbit_url: str) -> None:
    """Orders for people whom the platform does not know."""
    async with Listener(rabbit_url) as results, Sender(rabbit_url) as sender:
        orders = [command("calls.block.v1", about(f"p{n}"), id=f"m-{n}") for n in range(PEOPLE)]
        await sender.send_all([json.dumps(order).encode() for order in orders])
        await results.until(lambda heard: len(heard) == PEOPLE)


async def test_many_are_previewed_retried_in_portions_cancelled_and_archived(
    workers: Workers, rabbit_url: str, simulator: Simulator
) -> None:
    await rejected(rabbit_url)
    filters = ("--state", "rejected", "--platform", PLATFORM, "--code", "not_found", "--type", "calls.block")
    seen = (await ok(workers, "commands", "retry", *filters, "--preview", "--json")).json["preview"]
    assert (seen["count"], seen["platforms"], seen["unknown"]) == (PEOPLE, {PLATFORM: PEOPLE}, 0)
    one = await ok(workers, "commands", "retry", "--subscriber", f"p3@{DOMAIN}", "--dry-run")
    assert "retry: 1 commands" in one.out
    for words, why in (
        (("retry", "m-1", *filters, "--reason", "x"), "not both"),
        (("retry", "--reason", "x"), "filter many"),
        (("retry", *filters), "say why with --reason"),
        (("retry", *filters, "--reason", "x"), "say --yes"),
        (("cancel", "--state", "asleep", "--preview"), "--state is one of"),
        (("archive", "--since", "yesterday", "--preview"), "--since is a time"),
    ):
        refused = await workers.worker("commands", *words)
        assert (refused.code, why in refused.err) == (2, True), (words, refused.err)
    # They are still unknown: the first portion fails again, and the act stops by itself.
    stopped = await workers.worker("commands", "retry", *filters, "--yes", "--reason", "try")
    assert stopped.code == 1
    assert "is stopped: 1 of the 1 in portion 1 failed again; 1 of 12 acted on" in stopped.out
    for number in range(PEOPLE):
        simulator.platform.seed({"username": f"p{number}", "domain": DOMAIN})
    went = await ok(workers, "commands", "retry", *filters, "--yes", "--reason", "they exist now", "--json")
    act = went.json["act"]
    assert went.json["preview"]["superseded"] == 1, "the one that was retried before"
    assert (act["state"], act["acted"], act["refused"], act["left_out"]) == ("done", PEOPLE, 0, 0)
    succeeded = (await ok(workers, "commands", "list", "--state", "succeeded", "--json")).json
    assert len(succeeded) == PEOPLE
    tidy = await ok(workers, "commands", "archive", "--state", "rejected", "--yes", "--reason", "done")
    assert "is done" in tidy.out
    assert "acted on" in tidy.err, "how far it is stands on standard error"
    nothing = await ok(workers, "commands", "cancel", "--state", "waiting", "--yes", "--reason", "none")
    assert nothing.out.startswith("cancel: 0 commands")


async def test_ctrl_c_stops_an_act_behind_the_command_in_hand(workers: Workers, rabbit_url: str) -> None:
    await rejected(rabbit_url)
    await ok(workers, "platforms", "pause", PLATFORM, "--reason", "nothing shall end")
    words = ("commands", "retry", "--state", "rejected", "--yes", "--reason", "x")
    own = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "worker", "--config", str(workers.file), *words,
        cwd=workers.folder, env=own | {"PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip

    async def first_is_there() -> bool:
        rows = (await ok(workers, "commands", "list", "--state", "waiting", "--json")).json
        return len(rows) == 1

    await eventually(first_is_there)
    running.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(running.communicate(), 60)
    assert running.returncode == 130, err
    assert f"is stopped: stopped by {ME} at the command line; 1 of {PEOPLE} acted on" in out.decode()
    rows = (await ok(workers, "commands", "list", "--state", "waiting", "--json")).json
    assert len(rows) == 1


async def test_a_quarantined_message_is_mended_and_sent_again(
    workers: Workers, rabbit_url: str, simulator: Simulator
) -> None:
    simulator.platform.seed({"username": "ana", "domain": DOMAIN})
    body = json.dumps(command("calls.blok.v1", {**about("ana"), "kind": "x"}, id="q-1")).encode()
    async with Listener(rabbit_url) as results, Sender(rabbit_url) as sender:
        await sender.send(body)
        await results.until(lambda heard: heard)
        uid = results.heard[0].data["refused_message"]
        words = ("quarantine", "send", uid[:8], "--attribute", "type=calls.block.v1")
        wrong = (await ok(workers, *words, "--dry-run", "--json", "--reason", "look")).json
        assert "invalid_field" in wrong["wrong"]
        refused = await workers.worker(*words, "--reason", "a typo")
        assert (refused.code, "it would be refused again" in refused.err) == (1, True)
        sent = await ok(workers, *words, "kind=null", "--reason", "a typo")
        assert sent.out == f"{uid} is in provisioning.commands again, attributes, data mended\n"
        await results.until(lambda heard: len(heard) == 2)
    assert results.heard[1].data["status"] == "succeeded"
    assert results.heard[1].data["command"]["id"] == "q-1"
