"""How long interactive commands take while nothing else runs, and beside a batch that runs as fast as it can.

    python -m tests.batches.latency [--seconds 60] [--journal sqlite|postgresql] [--rate 50]

`--rate` is the platform's: calls a second, shared by both. Interactive commands come twice a second. The last part is
beside a batch that `batch rate` holds to a fifth of that in rows a second (a row of it is two to three calls).
"""

from __future__ import annotations

import argparse
import asyncio

from tests.batches.files import customers, username, write_csv
from tests.batches.rig import Rig, rig, say
from tests.support.amqp import eventually
from tests.support.storm import Order, Storm, order

APART = 0.5  # seconds between two interactive commands


async def asked(stage: Rig, seconds: float, names: list[str]) -> list[float]:
    """From handing each over to hearing its result, in seconds, ascending."""
    async with Storm(stage.broker) as storm:
        sent: list[Order] = []
        for place in range(int(seconds / APART)):
            one = order("calls.block" if place % 2 else "calls.unblock", names[place % len(names)])
            sent.append(one)
            await storm.send([one])
            await asyncio.sleep(APART)
        ours = [one["id"] for one in sent]
        await eventually(lambda: set(ours) <= storm.ended().keys(), 120, 0.1, "all results")
        return storm.seconds(ours)


async def main(seconds: float, journal: str, rate: float) -> None:
    async with rig(journal, rate) as stage:
        names = [username(place) for place in range(900_000, 900_020)]
        await stage.platform.subscribers(names, balance="1")
        await asked(stage, 5, names)
        tell("alone", await asked(stage, seconds, names))
        file = write_csv(stage.folder / "customers.csv", customers(10_000))
        words = ("onboard", str(file), "--mapping", str(stage.mapping), "--batch", "many")
        running = asyncio.create_task(stage.run(*words))
        while not (await stage.platform.ask("counts"))["subscribers"] > len(names) + 20:
            await asyncio.sleep(0.5)
            assert not running.done(), running.result()
        before = (await stage.platform.ask("counts"))["subscribers"]
        tell("beside a batch", await asked(stage, seconds, names))
        after = (await stage.platform.ask("counts"))["subscribers"]
        say(
            f"meanwhile the batch made {after - before} subscribers; it was {'still' if not running.done() else 'not'} running"
        )
        await stage.run("batch", "rate", "many", f"{rate / 5:g}", "--reason", "measured")
        await asyncio.sleep(10)  # what was under way ends
        tell(f"beside a batch at {rate / 5:g} rows a second", await asked(stage, seconds, names))
        await stage.run("batch", "cancel", "many", "--reason", "measured", within=600)
        await running


def tell(what: str, seconds: list[float]) -> None:
    at = [seconds[min(len(seconds) - 1, int(len(seconds) * share))] * 1000 for share in (0.5, 0.95, 0.99)]
    say(f"{what}: {len(seconds)} commands, p50 {at[0]:.0f} ms, p95 {at[1]:.0f} ms, p99 {at[2]:.0f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--journal", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--rate", type=float, default=50.0)
    given = parser.parse_args()
    asyncio.run(main(given.seconds, given.journal, given.rate))
