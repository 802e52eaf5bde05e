"""50,000 customers with 5 % faults and 2 % bad rows, through the real broker; both sides are counted.

python -m tests.batches [--rows 50000] [--journal sqlite|postgresql]
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import time
from collections import Counter

from tests.batches.files import customers, write_csv
from tests.batches.rig import Rig, rig, say

BAD, FAULTS = 0.02, 0.05


async def main(rows: int, journal: str) -> None:
    async with rig(journal) as stage:
        await night(stage, rows)


async def night(stage: Rig, rows: int) -> None:
    """The whole file, on a platform that nobody has used before. Raises AssertionError where the sides differ."""
    await stage.platform.fail("insertSubscriber", "lost", share=FAULTS / 2, seconds=0.5)
    await stage.platform.fail(
        ["insertSubscriber", "addCredit"], "declared", share=FAULTS / 2, text="internal error"
    )
    file = write_csv(stage.folder / "customers.csv", customers(rows, BAD))
    out = stage.folder / "report.csv"
    words = [
        "--mapping",
        str(stage.mapping),
        "--skip-bad",
        "--follow",
        "--report",
        str(out),
        "--batch",
        "many",
    ]
    start = time.monotonic()
    done = await stage.run("onboard", str(file), *words)
    took = time.monotonic() - start
    say(done.out + done.err)
    assert done.code == 1, f"exit code {done.code}: bad rows and failed ones are not all well"
    with out.open(encoding="utf-8-sig", newline="") as opened:
        lines = list(csv.DictReader(opened))
    await judge(stage, rows, lines)
    say(f"{rows} rows in {took:.0f} s, {rows / took:.0f} rows a second; both sides are equal")


async def judge(stage: Rig, rows: int, lines: list[dict[str, str]]) -> None:
    """Raises AssertionError where the report and the platform differ."""
    endings = Counter(line["ending"] for line in lines)
    counts = await stage.platform.ask("counts")
    there = {one["username"] for one in (await stage.platform.ask("state"))["subscribers"]}
    made = [line for line in lines if line["ending"] == "succeeded" or line["command"] == "credit.add"]
    booked = sum(line["ending"] == "succeeded" and line["ids"].count("/") > 2 for line in lines)
    assert len(lines) == rows == endings.total()
    assert {"55" + "".join(filter(str.isdigit, line["Telefone"])) for line in made} == there
    assert (counts["doubles"], counts["credits"]) == (0, booked), (counts, booked)
    assert endings["waiting"] == endings["not confirmed"] == 0, endings


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--journal", choices=("sqlite", "postgresql"), default="postgresql")
    given = parser.parse_args()
    asyncio.run(main(given.rows, given.journal))
