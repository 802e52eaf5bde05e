"""A short storm of everything: three worker processes, all that can be broken, and nothing lost or done twice.

Two seeds stay the same, a third is drawn anew each time; it is printed, and again when it fails. The long ones
are `make torture`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.services.private import need_postgresql, need_rabbitmq
from tests.support.storm import ROOT

pytestmark = pytest.mark.timeout(420)
MINUTES, COMMANDS = 0.3, 200
WITHIN = 400.0  # seconds: starts, and what a busy machine needs until nothing is left


async def rage(seed: int, history: Path) -> tuple[dict[str, Any], str]:
    """The storm as a process of its own, which is ended with all that it started, whatever happens here."""
    words = ["--seed", str(seed), "--minutes", str(MINUTES), "--commands", str(COMMANDS), "--pace", "0.5"]
    storm = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults", *words, "--json", "--save", str(history)),
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(history.parent)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(WITHIN):
            out, err = await storm.communicate()
    finally:
        if storm.returncode is None:
            storm.send_signal(signal.SIGTERM)
            with suppress(TimeoutError):
                await asyncio.wait_for(storm.wait(), 30)
    said = err.decode()
    assert out.strip(), f"seed {seed}: the storm ended with {storm.returncode} and no report:\n{said[-6000:]}"
    return json.loads(out), said


@pytest.mark.parametrize("seed", [11, 12, "random"])
async def test_p1_to_p4_and_p7_to_p9_hold_through_a_storm_of_all_faults(
    seed: int | str, tmp_path: Path
) -> None:
    need_rabbitmq()
    need_postgresql()
    drawn = random.SystemRandom().randrange(10**6) if seed == "random" else int(seed)
    print(f"\nstorm with seed {drawn}")
    figures, said = await rage(drawn, tmp_path / "history.jsonl")
    again = f"make torture SEED={drawn} MINUTES={MINUTES} COMMANDS={COMMANDS} STORM='--pace 0.5'"
    shown = {name: figures[name] for name in ("report", "complaints", "troubles", "left", "faults")}
    assert figures["passed"], f"again: {again}\n{json.dumps(shown, indent=1)}\n{said[-3000:]}"
    assert not figures["troubles"], f"again: {again}\n{figures['troubles']}"
    print(f"{figures['seconds']} s; {figures['faults']}; the platform's own {figures['platform_faults']}")
