"""How long the console's pages take over a journal of a million commands:

    python -m tests.bench.console [--commands 1000000] [--journal postgres|sqlite] [--folder FOLDER]

The real console serves them on a port of its own; somebody who is signed in asks for each page once, and then five
times more. Milliseconds from the request to the whole answer: of the first, median and slowest of the five; what
took over 200 is marked, and counted in the exit code. Beside them the CPU of one, of asking and answering together
(on PostgreSQL without the database's own): where the machine is busy, it says what the page itself costs. With a folder the SQLite journal is made there once and kept for the next time.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import httpx

from tests.bench.console_fill import ACTS, NOW, Filled, fill
from tests.support.console import PASSWORD, Front
from worker.console.metrics import Metrics
from worker.console.server import Console
from worker.journal.console import fold as console_fold
from worker.journal.console.access import ConsoleJournal
from worker.journal.core import Core
from worker.journal.opening import open_journal
from worker.journal.vault import Vault, new_key
from worker.sandbox.postgres import PrivatePostgres
from worker.telemetry import Telemetry

LIMIT = 200.0  # ms
TIMES = 5
KINDS = {"sippulse-br": "sippulse", "voipmundo-br": "voipmundo", "ringme-small": "ringme"}


def pages(filled: Filled, group: int) -> dict[str, str]:
    """Name of a look -> its address."""
    middle, last = filled.commands // 2, filled.commands
    day, hour = NOW - 90_000, NOW - 86_400
    when = f"since={_moment(day)}&until={_moment(hour)}"
    doubt = (last - 5000) // 2000 * 2000 + 7
    rejected = middle // 50 * 50 + 1
    batch = f"b-{filled.batches // 2}"
    return {
        "overview": "/",
        "commands, newest": "/commands",
        "commands, oldest page": "/commands?before=100",
        "commands succeeded": "/commands?state=succeeded",
        "commands rejected": "/commands?state=rejected",
        "commands parked": "/commands?state=parked",
        "commands in doubt": "/commands?state=in_doubt",
        "commands waiting": "/commands?state=waiting",
        "commands of a platform": "/commands?platform=ringme-small",
        "commands of a type": "/commands?type=credit.add",
        "platform, type, state": "/commands?platform=ringme-small&type=credit.add&state=rejected",
        "of a sender": "/commands?source=/crm",
        "of a sender there is not": "/commands?source=/nobody",
        "of a batch": f"/commands?batch={batch}",
        "with an error code": "/commands?code=platform_refused",
        "of a failure group": f"/commands?group={group}",
        "of an hour": f"/commands?{when}",
        "rejected in an hour": f"/commands?state=rejected&{when}",
        "about one subscriber": "/commands?about=person4711@sip.example",
        "search: number": f"/commands?q={middle}",
        "search: id": f"/commands?q=m-{middle}",
        "search: key": f"/commands?q=k-{middle // 5 * 5}",
        "search: subscriber": "/commands?q=person4711@sip.example",
        "search: beginning of a name": "/commands?q=person47",
        "search: words of the error": "/commands?q=of+kind+b",
        "search: nothing": "/commands?q=nobody+at+all",
        "scheduled": "/scheduled",
        "one command": f"/commands/{middle}",
        "one that was rejected": f"/commands/{rejected}",
        "one in doubt": f"/commands/{doubt}",
        "edit one": f"/commands/{rejected}/edit",
        "in doubt": "/in-doubt",
        "failure groups": "/failures",
        "failure groups of a platform": "/failures?platform=sippulse-br",
        "platforms": "/platforms",
        "batches": "/batches",
        "older batches": "/batches?before=100",
        "one batch": f"/batches/{batch}",
        "failed rows of a batch": f"/batches/{batch}?state=failed",
        "a batch of 100,000 rows": f"/batches/b-{filled.batches - 1}",
        "quarantine": "/quarantine",
        "quarantine, dropped": "/quarantine?state=dropped",
        "acts on many": "/acts",
        "an act on 10,000": f"/acts/{ACTS}",
        "preview of a retry": "/bulk/retry?state=parked",
        "audit": "/audit",
        "audit, an old page": f"/audit?before={filled.records // 2}",
        "audit: what": "/audit?what=retried",
        "audit: who": "/audit?actor=ana",
        "audit: who is nobody": "/audit?actor=nobody",
        "audit: platform": "/audit?platform=ringme-small",
        "audit: a command": f"/audit?command={middle}",
        "people": "/people",
        "api: commands": "/api/v1/commands",
        "api: one command": f"/api/v1/commands/{middle}",
        "api: overview": "/api/v1/overview",
        "api: in doubt": "/api/v1/in-doubt",
        "readiness": "/readyz",
        "metrics": "/metrics",
    }


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


async def measure(url: str, key: str, commands: int, known: bool) -> int:
    """`known`: the journal was filled before, under that key. Returns how many looks took too long."""
    postgres = url.startswith("postgresql")
    journal = await open_journal(url, Core(Vault([key])))
    try:
        if not known:
            began = time.monotonic()
            filled = await fill(journal, commands, postgres)
            if postgres:
                await _analyze(url)
            print(
                f"{commands} commands, {filled.records} audit records made in {time.monotonic() - began:.0f} s"
            )
        async with Front(url, journal, KINDS) as front:
            await _fold_all(front.journal)
            return await _served(front, await _filled(front))
    finally:
        await journal.close()


async def _filled(front: Front) -> Filled:
    [row] = await front.journal.reader.read(
        lambda tx: tx.rows(
            "SELECT (SELECT MAX(id) FROM commands) AS commands, (SELECT MAX(id) FROM batches) AS batches"
        )
    )
    return Filled(row["commands"], row["batches"])


async def _served(front: Front, filled: Filled) -> int:
    [*_, group] = [one["id"] for one in await front.journal.groups()] or [0]
    await front.user("ana", "admin")
    front.office.timeouts, front.office.settles = dict.fromkeys(KINDS, 10.0), dict.fromkeys(KINDS, 600.0)
    metrics = Metrics(Telemetry().registry, front.office.readiness.watch)
    console = Console("127.0.0.1", 0, front.office.readiness, metrics, front.office)
    await console.start()
    try:
        async with httpx.AsyncClient(base_url=console.url, trust_env=False, timeout=60) as client:
            answer = await client.post("/sign-in", data={"name": "ana", "password": PASSWORD})
            assert answer.status_code == 303, answer.text
            return await _table(client, pages(filled, group))
    finally:
        await console.stop()


async def _analyze(url: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(url)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def _fold_all(console: ConsoleJournal) -> None:
    began, folded, portions, slowest = time.monotonic(), 0, 0, 0.0
    while True:
        start = time.monotonic()
        count = await console.fold()
        slowest = max(slowest, time.monotonic() - start)
        folded, portions = folded + count, portions + 1
        if count < console_fold.PORTION // 4:
            break
    took = time.monotonic() - began
    print(
        f"{folded} commands folded in {portions} portions, {took:.0f} s; the slowest {slowest * 1000:.0f} ms"
    )


async def _table(client: httpx.AsyncClient, looks: Mapping[str, str]) -> int:
    slow = 0
    print(f"{'page':32} {'first':>8} {'median':>8} {'slowest':>8} {'CPU':>8}  ms")
    for name, path in looks.items():
        first, _ = await _asked(client, path)
        asked = [await _asked(client, path) for _ in range(TIMES)]
        took, cpu = [one for one, _ in asked], statistics.median(one for _, one in asked)
        slow += max(took) > LIMIT
        mark = "  over the limit" if max(took) > LIMIT else ""
        figures = f"{first:8.1f} {statistics.median(took):8.1f} {max(took):8.1f} {cpu:8.1f}"
        print(f"{name:32} {figures}{mark}", flush=True)
    return slow


async def _asked(client: httpx.AsyncClient, path: str) -> tuple[float, float]:
    """Milliseconds until the answer was there, and of CPU."""
    began, spent = time.perf_counter(), time.process_time()
    answer = await client.get(path)
    took, used = time.perf_counter() - began, time.process_time() - spent
    assert answer.status_code in (200, 503), f"{path}: {answer.status_code} {answer.text[:300]}"
    return took * 1000, used * 1000


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--commands", type=int, default=1_000_000)
    words.add_argument("--journal", choices=("postgres", "sqlite"), default="sqlite")
    words.add_argument("--folder", type=Path, help="keep the SQLite journal here")
    given = words.parse_args()
    key, known = new_key(), False
    with ExitStack() as stack:
        if given.journal == "sqlite":
            folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            folder.mkdir(parents=True, exist_ok=True)
            if known := (folder / "key").exists():
                key = (folder / "key").read_text()
            (folder / "key").write_text(key)
            url = f"sqlite:///{folder.absolute()}/worker.db"
        else:
            url = stack.enter_context(PrivatePostgres()).create_database("console")
        slow = asyncio.run(measure(url, key, given.commands, known))
    raise SystemExit(min(slow, 100))


if __name__ == "__main__":
    main()
