"""How long the console's looks take over a journal of a million commands:

    python -m tests.bench.console [--commands 1000000] [--journal postgres|sqlite]

Each look is taken several times; the slowest and the median are shown in milliseconds at the journal.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from worker.journal.console import fold as console_fold
from worker.journal.console.access import ConsoleJournal
from worker.journal.console.lists import Wanted
from worker.journal.core import Core
from worker.journal.opening import open_journal
from worker.journal.vault import Vault, new_key
from worker.sandbox.postgres import PrivatePostgres

LIMIT = 200.0  # ms
PEOPLE = 200_000
PORTION = 50_000  # rows a commit
NOW = time.time()
PERSON = f"n % {PEOPLE}"  # five commands about each

# One in fifty was rejected, one in five hundred is parked, one in two thousand is in doubt, the last 2000 wait.
FILL = """
INSERT INTO commands (id, lane_id, source, message_id, idem_key, type, platform, partition_key, priority, state,
    arrival, due_at, data_sealed, risk, first_risk, attempts, received_at, started_at, finished_at, effect, problem, batch_id)
SELECT n, PERSON + 1, '/crm', 'm-' || n, 'm-' || n,
    CASE n % 7 WHEN 0 THEN 'credit.add.v1' WHEN 1 THEN 'subscriber.create.v1' ELSE 'calls.block.v1' END, PLATFORM,
    PLATFORM || ':subscriber:person' || (PERSON) || '@sip.example', 1, STATE, n, NULL, DATA, 'claim', 'claim', 1,
    NOW - (COUNT - n) * 0.2, NOW - (COUNT - n) * 0.2 + 0.1,
    CASE WHEN STATE IN ('succeeded', 'rejected') THEN NOW - (COUNT - n) * 0.2 + 1 ELSE NULL END,
    CASE STATE WHEN 'succeeded' THEN 'applied' WHEN 'in_doubt' THEN 'unknown' ELSE 'none' END,
    CASE WHEN STATE IN ('rejected', 'parked') THEN
        '{"code":"platform_refused","message":"line ' || n || ' of kind ' || (CASE n % 3 WHEN 0 THEN 'a' ELSE 'b' END)
        || ' is not free","advice":"look"}' ELSE NULL END,
    CASE WHEN n % 10 = 0 THEN 'b-' || (n / 10000) ELSE NULL END
FROM SERIES
"""
LANES = """
INSERT INTO lanes (id, key, platform) SELECT n + 1, PLATFORM || ':subscriber:person' || n || '@sip.example', PLATFORM
FROM SERIES
"""
PLATFORM = "CASE WHEN (PERSON) % 100 = 0 THEN 'ringme-small' WHEN (PERSON) % 3 = 0 THEN 'voipmundo-br' ELSE 'sippulse-br' END"
STATE = (
    "CASE WHEN n > COUNT - 2000 THEN 'waiting' WHEN n % 2000 = 7 THEN 'in_doubt' WHEN n % 500 = 3 THEN 'parked'"
    " WHEN n % 50 = 1 THEN 'rejected' ELSE 'succeeded' END"
)


def statement(text: str, count: int, postgres: bool, low: int, high: int) -> str:
    series = f"generate_series({low}, {high}) AS g(n)"
    if not postgres:
        series = f"(WITH RECURSIVE g(n) AS (SELECT {low} UNION ALL SELECT n + 1 FROM g WHERE n < {high}) SELECT n FROM g)"
    text = text.replace("STATE", f"({STATE})").replace("PLATFORM", f"({PLATFORM})").replace("PERSON", PERSON)
    return (
        text.replace("SERIES", series)
        .replace("NOW", str(NOW))
        .replace("COUNT", str(count))
        .replace("DATA", f"'{'x' * 400}'")
    )


async def fill(journal: Any, count: int, postgres: bool) -> None:
    for text, low, high in ((LANES, 0, PEOPLE - 1), (FILL, 1, count)):
        for start in range(low, high + 1, PORTION):
            sql = statement(text, count, postgres, start, min(start + PORTION - 1, high))
            await journal.run(lambda tx, sql=sql: tx.run(sql))


def looks(console: ConsoleJournal, count: int, group: int) -> dict[str, Callable[[], Awaitable[Any]]]:
    now = time.time()

    def page(**wanted: Any) -> Callable[[], Awaitable[Any]]:
        return lambda: console.page(Wanted(**wanted))

    return {
        "newest": page(),
        "oldest page": page(before=100),
        "succeeded": page(state="succeeded"),
        "rejected": page(state="rejected"),
        "parked": page(state="parked"),
        "in doubt": page(state="in_doubt"),
        "waiting": page(state="waiting"),
        "one platform": page(platform="ringme-small"),
        "one type": page(type="credit.add.v1"),
        "platform, type, state": page(platform="ringme-small", type="credit.add.v1", state="rejected"),
        "one sender": page(source="/crm"),
        "a sender there is not": page(source="/nobody"),
        "batch": page(batch="b-17"),
        "error code": page(code="platform_refused"),
        "group": page(group=group),
        "an hour": page(since=now - 90_000, until=now - 86_400),
        "rejected in an hour": page(state="rejected", since=now - 90_000, until=now - 86_400),
        "search: id": page(text=f"m-{count // 2}"),
        "search: subscriber": page(text="person4711@sip.example"),
        "search: beginning of a name": page(text="person47"),
        "search: words of the error": page(text="of kind b"),
        "search: nothing": page(text="nobody at all"),
        "one command": lambda: console.command(f"m-{count // 2}"),
        "failure groups": console.groups,
        "overview": console.overview,
        "a portion of the fold": console.fold,
    }


async def measure(url: str, count: int) -> int:
    postgres = url.startswith("postgresql")
    journal = await open_journal(url, Core(Vault([new_key()])))
    console = ConsoleJournal(journal, url)
    try:
        began = time.monotonic()
        await fill(journal, count, postgres)
        if postgres:
            await _analyze(url)
        print(f"{count} commands made in {time.monotonic() - began:.0f} s")
        await _fold_all(console)
        [*_, group] = [one["id"] for one in await console.groups()] or [0]
        return await _table(looks(console, count, group))
    finally:
        await console.close()
        await journal.close()


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


async def _table(looks: dict[str, Callable[[], Awaitable[Any]]]) -> int:
    slow = 0
    print(f"{'look':32} {'median':>8} {'slowest':>8}  ms")
    for name, look in looks.items():
        took = []
        for _ in range(5):
            began = time.perf_counter()
            await look()
            took.append((time.perf_counter() - began) * 1000)
        slow += max(took) > LIMIT
        mark = "  over the limit" if max(took) > LIMIT else ""
        print(f"{name:32} {statistics.median(took):8.1f} {max(took):8.1f}{mark}")
    return slow


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--commands", type=int, default=1_000_000)
    words.add_argument("--journal", choices=("postgres", "sqlite"), default="sqlite")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.journal == "sqlite":
            slow = asyncio.run(measure(f"sqlite:///{Path(folder)}/worker.db", given.commands))
        else:
            with PrivatePostgres() as postgres:
                slow = asyncio.run(measure(postgres.create_database("console"), given.commands))
    raise SystemExit(min(slow, 100))


if __name__ == "__main__":
    main()
