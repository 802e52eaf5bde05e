"""50,000 customers with 5 % faults and 2 % bad rows, through the real broker; both sides are counted.

    python -m tests.batches [--rows 50000] [--journal sqlite|postgresql]

It says how far it is every ten seconds, and ends with a table; exit code 1: the two sides differ.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import Any

import aiohttp

from tests.batches.files import customers, write_csv
from tests.batches.judging import Account, Platform, accounted, read_report, seen
from tests.batches.memory import most_memory
from tests.batches.rig import Rig, rig, say

BAD, FAULTS = 0.02, 0.05


async def main(rows: int, journal: str) -> int:
    async with rig(journal) as stage:
        return await night(stage, rows, journal)


async def night(stage: Rig, rows: int, journal: str) -> int:
    """The whole file, on a platform that nobody has used before. The exit code."""
    await stage.platform.fail("insertSubscriber", "lost", share=FAULTS / 2, seconds=0.5)
    await stage.platform.fail(
        ["insertSubscriber", "addCredit"], "declared", share=FAULTS / 2, text="internal error"
    )
    file = write_csv(stage.folder / "customers.csv", customers(rows, BAD))
    out = stage.folder / "report.csv"
    words = ("onboard", str(file), "--mapping", str(stage.mapping), "--skip-bad", "--follow")
    say(f"{rows} rows, journal {journal}")
    start = time.monotonic()
    code, memory = await stage.watched(*words, "--report", str(out), "--batch", "many")
    took = time.monotonic() - start
    worker = most_memory(stage.workers.processes[0].pid)
    await stage.platform.settled()
    account = accounted(list(customers(rows, BAD)), read_report(out), await truth(stage))
    figures = [
        ("exit code of the sender (1: some rows failed or were bad)", str(code)),
        ("seconds", f"{took:.0f}"),
        ("rows a second", f"{rows / took:.1f}"),
        ("commands a second", f"{account.commands / took:.1f}"),
        ("MB of the sender at its most", f"{memory:.0f}"),
        ("MB of the worker at its most", f"{worker:.0f}"),
    ]
    return tell(account, figures, code)


async def truth(stage: Rig) -> Platform:
    """What the platform has, asked with patience: its state is a hundred megabytes."""
    origin = f"{stage.platform.origin}/admin"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(900)) as session:

        async def ask(view: str) -> dict[str, Any]:
            async with session.get(f"{origin}/{view}") as answer:
                return dict(await answer.json())

        return seen(await ask("counts"), await ask("credits"), await ask("state"))


def tell(account: Account, figures: list[tuple[str, str]], code: int) -> int:
    """The table; 1 where the two sides differ, or the sender did not get through."""
    say("\n| | report and file | platform | |\n|---|---|---|---|")
    for one in account.lines:
        say(f"| {one.what} | {one.ours} | {one.theirs} | {'equal' if one.equal else 'DIFFERENT'} |")
        if one.examples:
            say(f"  on one side alone: {', '.join(one.examples)}")
    say("\n| figure | |\n|---|---|")
    for name, value in [*account.endings, *figures]:
        say(f"| {name} | {value} |")
    equal = account.equal and code in (0, 1)
    say("\nboth sides are equal" if equal else "\nthe two sides DIFFER")
    return 0 if equal else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--journal", choices=("sqlite", "postgresql"), default="postgresql")
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.rows, given.journal)))
