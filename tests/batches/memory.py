"""A million rows, read and checked as `onboard --dry-run` does, and the most memory that it took.

python -m tests.batches.memory [--rows 1000000] [--kind csv|xlsx]
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.batches.files import MAPPING, customers, write_csv, write_large_xlsx

ALLOWED = 300  # MB


def measured(folder: Path, file: Path) -> None:
    """In a process of its own: the making of the file must not count."""
    words = [sys.executable, "-m", "tests.batches.memory", "--check", str(file), "--folder", str(folder)]
    subprocess.run(words, check=True)


async def check(folder: Path, file: Path) -> None:
    from worker.journal.batches.batches import Batches
    from worker.journal.core import Core
    from worker.journal.opening import open_journal
    from worker.journal.vault import Vault, new_key
    from worker.onboarding import job as jobs
    from worker.onboarding.mapping import fitting, read_plan
    from worker.onboarding.rows import Maker
    from worker.onboarding.sheet import open_sheet
    from worker.platforms.build import build
    from worker.settings import SippulseSettings

    mapping = folder / "mapping.toml"
    mapping.write_text(MAPPING, encoding="utf-8")
    start = time.monotonic()
    sheet = open_sheet(file)
    plan = fitting(read_plan(mapping, "sippulse"), sheet.columns)
    settings = SippulseSettings.model_validate(
        {"kind": "sippulse", "url": "http://127.0.0.1:1/SipPulse", "login": "a", "password": "b"}
    )
    platform = await build("sippulse-br", settings)
    journal = await open_journal(f"sqlite:///{folder}/{file.suffix[1:]}.db", Core(Vault([new_key()])))
    try:
        batches = Batches(journal)
        maker = Maker(plan, "sippulse-br", "sippulse", platform.plan, 262_144)
        job = await jobs.begin(
            sheet, plan, maker, batches, jobs.Wish(by="test", problems=folder / "problems.csv")
        )
        found = await jobs.checked(job, batches, None)
        found.seen.close()
    finally:
        await journal.close()
        await platform.close()
    peak = most_memory()
    took = time.monotonic() - start
    print(f"{file.suffix}: {found.rows} rows, {found.bad} bad, {took:.0f} s, peak {peak:.0f} MB")
    assert peak < ALLOWED, f"more than {ALLOWED} MB"


def most_memory(pid: int | str = "self") -> float:
    """MB of a process at its most; 0: it is gone. (`getrusage` counts what the process that started it had, too.)"""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(one.split()[1]) / 1024 for one in lines if one.startswith("VmHWM")), 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kind", choices=("csv", "xlsx"), action="append")
    parser.add_argument("--check", type=Path)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.check:
        asyncio.run(check(given.folder, given.check))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in given.kind or ("csv", "xlsx"):
            write = write_csv if kind == "csv" else write_large_xlsx
            measured(folder, write(folder / f"customers.{kind}", customers(given.rows, 0.02)))


if __name__ == "__main__":
    main()
