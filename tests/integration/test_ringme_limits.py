"""The engine at RingMe's hourly limit, and a token that ends under its hands: every command is done, once."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.conformance.platforms.bench import SETTLE, Bench
from tests.conformance.platforms.ringme_subject import Ringme
from tests.support.engine import PATIENT, Templates, eventually, templates

__all__ = ["templates"]


@pytest.fixture
async def bench(tmp_path: Path, templates: Templates) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        made = Bench(await templates.sqlite(tmp_path / "worker.db"), stack)
        made.subject = Ringme()
        made.journal = await made.open()
        await made.serve()
        yield made


def hour(bench: Bench, *, limit: int, left: int, seconds: float) -> None:
    """An hour of so many seconds, which begins now."""
    found = bench.sim.platform.hour  # type: ignore[attr-defined]
    found.limit, found.seconds, found.used = limit, seconds, limit - left
    found.ends = time.monotonic() + seconds


async def test_commands_wait_for_the_next_hour_and_are_all_done_without_running_against_the_limit(
    bench: Bench,
) -> None:
    [block] = [act for act in bench.subject.acts() if act.effect == "set"]
    prepared = bench.prepare(block, each=12)
    bench.sim.fail(block.operation, "drop_before", count=1)
    hour(bench, limit=40, left=10, seconds=6.0)
    await bench.run(**PATIENT, settle=SETTLE, concurrency=2)
    await bench.succeeded(await bench.all_of(prepared))
    ledger = bench.sim.platform.ledger  # type: ignore[attr-defined]
    # What was under way as the first answer told of the limit, at most.
    assert ledger.limited <= 4, f"{ledger.limited} requests were sent over the limit"


async def test_tokens_that_end_early_cost_no_command(bench: Bench) -> None:
    acts = [act for act in bench.subject.acts() if act.changes]
    prepared = bench.prepare(*acts, each=5)
    await bench.run(**PATIENT)
    sent = await bench.all_of(prepared)
    for times in (1, 2, 3):
        await eventually(lambda times=times: len(bench.watch.seen) >= times * 8)
        bench.sim.platform.tokens.clear()  # type: ignore[attr-defined]
    await bench.succeeded(sent)
    for act in acts:
        applied = bench.sim.counts.operations[act.operation].applied
        assert applied == 5, act.name
