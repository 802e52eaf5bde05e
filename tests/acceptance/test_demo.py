"""`worker demo`, whole, as `make demo` runs it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.services.private import need_rabbitmq
from tests.support.amqp import Sender, command, depth
from tests.support.worker import ROOT
from worker.broker.link import address
from worker.broker.topology import declare

WHOLE = 240.0  # seconds; 20 on an idle machine
SOON = 60.0


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A temporary folder of the demonstration's own, and no trace of it in processes afterwards."""
    need_rabbitmq()
    yield tmp_path
    assert not traces(tmp_path)


def start(place: Path, *words: str, broker: str | None = None) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
    if broker:
        kept["WORKER__BROKER__URL"] = broker
    return subprocess.Popen(
        [sys.executable, "-m", "worker", "demo", *words],
        env={**kept, "TMPDIR": str(place), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def traces(place: Path) -> list[str]:
    """Processes that have to do with the folder, and what is left in it."""
    found = [str(one) for one in place.iterdir()]
    for process in psutil.process_iter(["cmdline", "environ"]):
        words = " ".join(process.info["cmdline"] or ())
        if str(place) in words or (process.info["environ"] or {}).get("TMPDIR") == str(place):
            found.append(words)
    return found


def wait_without_trace(place: Path) -> None:
    until = time.monotonic() + SOON
    while traces(place) and time.monotonic() < until:
        time.sleep(0.1)
    assert not traces(place)


def said(process: subprocess.Popen[str], text: str) -> list[str]:
    """Its lines up to one that holds `text`."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"{text!r} was not said:\n{''.join(lines)}")


def row(out: str, name: str) -> str:
    found = re.search(rf"^\W*{re.escape(name)}\s+\W*\s*(.*?)\W*$", out, re.M)
    assert found, f"no row {name!r} in:\n{out}"
    return found[1]


def test_every_order_gets_its_answer_and_the_credit_is_exactly_what_was_ordered(place: Path) -> None:
    demo = start(place)
    out, _ = demo.communicate(timeout=WHOLE)
    assert demo.returncode == 0, out
    assert int(row(out, "sent")) >= 60
    for kind in ("succeeded", "rejected", "refused", "duplicates answered"):
        assert int(row(out, kind)) > 0
    lost = row(out, "answers lost by the platform")
    for kind in ("drip", "drop_after", "drop_before", "garbage", "html500", "late", "undeclared"):
        assert kind in lost
    assert int(row(out, "in doubt, and how settled").split(":")[0]) > 0
    assert "open" not in row(out, "in doubt, and how settled")
    assert row(out, "credit ordered") == row(out, "credit on the platform")
    assert "all as expected" in out
    wait_without_trace(place)


def test_kept_it_runs_until_ctrl_c_and_answers_one_more_order(place: Path, rabbit_url: str) -> None:
    """Here on a broker that is there already."""
    demo = start(place, "--keep", "--seed", "11", broker=rabbit_url)
    try:
        out = "".join(said(demo, "send one"))
        sent = subprocess.run(  # as a reader pastes it
            ["sh", "-c", out.rpartition("send one")[2]],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert sent.returncode == 0, sent.stdout + sent.stderr
        assert "succeeded" in sent.stdout
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=SOON)
        assert demo.returncode == 0
    finally:
        demo.kill()
        demo.wait()
    wait_without_trace(place)


async def test_a_broker_in_use_is_left_alone(place: Path, rabbit_url: str) -> None:
    await declare(address(rabbit_url))
    async with Sender(rabbit_url) as sender:
        await sender.send(command())
    demo = start(place, broker=rabbit_url)
    out, _ = await asyncio.to_thread(demo.communicate, timeout=WHOLE)
    assert demo.returncode == 1
    assert "provisioning.commands is in use on this RabbitMQ (0 consumers, 1 messages)" in out
    assert await depth(rabbit_url, "provisioning.commands") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_in_the_middle_it_leaves_nothing_behind(place: Path, number: signal.Signals) -> None:
    demo = start(place)
    said(demo, "orders go out")
    demo.send_signal(number)
    demo.communicate(timeout=SOON)
    assert demo.returncode == 128 + number
    wait_without_trace(place)


def test_killed_it_leaves_nothing_behind_either(place: Path) -> None:
    demo = start(place)
    said(demo, "orders go out")
    demo.kill()
    demo.wait()
    wait_without_trace(place)
