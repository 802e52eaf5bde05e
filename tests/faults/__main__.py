"""A storm over the real parts, and what it left: `python -m tests.faults --help`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import random
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from tests.faults.breaks import KINDS
from tests.faults.checker import check
from tests.faults.disk import own_mounts
from tests.faults.nemesis import PACE, kind_of
from tests.faults.storm import Outcome, Plan, storm

PASSED, FOUND, TROUBLE = 0, 1, 3

ABOUT = """\
Sends mixed commands to three worker processes over a private RabbitMQ, a private PostgreSQL and a simulated
platform, while things are killed, frozen, cut, filled up and set wrong; mends everything, waits until nothing is
left to do, and holds what was sent against what the platform did and what the events say.
Exit code: 0 all promises were kept; 1 they were not, the report names the commands; 2 a wrong word on the
command line; 3 the storm itself did not get what it needs.
"""


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.faults", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    put = parser.add_argument
    put("--seed", default="random", help="a whole number repeats a storm, as far as a real system repeats itself; "
        "`random` (the default) draws one and says which")  # fmt: skip
    put("--minutes", type=float, default=2.0, help="how long it rages; starting and calming down come on top")
    put("--commands", type=int, help="how many are sent (default: 1000 a minute)")
    put("--subscribers", type=int, help="how many they are about (default: one for 15 commands)")
    put("--only", action="append", default=[], metavar="FAULT", help="a fault or a lane of faults by the name "
        "that --list shows; again for more of them (default: all)")  # fmt: skip
    put("--first", action="append", default=[], metavar="FAULT", help="a fault that comes in any case, before the "
        "others of its lane; again for more of them")  # fmt: skip
    put("--calm", action="store_true", help="no faults at all: what the workload does when all is well")
    put("--pace", type=float, default=1.0, help="2 leaves twice the time between faults (default: 1)")
    put(
        "--quiet",
        type=float,
        default=180.0,
        metavar="SECONDS",
        help="after the storm, until nothing may be left",
    )
    put("--save", type=Path, metavar="FILE", help="write the history as JSON Lines; "
        "`python -m tests.faults.checker FILE` checks it again")  # fmt: skip
    put("--json", action="store_true", help="the report as one JSON object on standard output")
    put(
        "--keep",
        action="store_true",
        help="keep the folder with logs and settings; what failed keeps it anyhow",
    )
    put("--list", action="store_true", help="name all faults by lane, and stop")
    given = parser.parse_args(words)
    names = {*PACE, *map(kind_of, KINDS)}
    if unknown := sorted({*given.only, *given.first} - names):
        parser.error(f"unknown fault {unknown[0]!r}: we know {', '.join(sorted(names))}")
    if given.seed != "random" and not given.seed.isdecimal():
        parser.error(f"--seed is a whole number or `random`, not {given.seed!r}")
    return given


def plan_of(given: argparse.Namespace) -> Plan:
    return Plan(
        seed=random.SystemRandom().randrange(10**6) if given.seed == "random" else int(given.seed),
        minutes=given.minutes,
        commands=given.commands or max(50, round(1000 * given.minutes)),
        subscribers=given.subscribers,
        only=tuple(given.only),
        calm=given.calm,
        pace=given.pace,
        quiet=given.quiet,
        first=tuple(given.first),
    )


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def show_faults() -> None:
    for lane in PACE:
        print(f"{lane}:")
        for kind in KINDS:
            if kind.lane == lane:
                print(f"  {kind_of(kind):18} {(kind.__doc__ or '').splitlines()[0]}")


async def rage(plan: Plan) -> Outcome:
    """A Ctrl-C or a SIGTERM ends everything that was started."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await storm(plan, say)


def told(outcome: Outcome, again: str) -> str:
    """What the checker cannot know."""
    lines = [
        f"seed {outcome.plan.seed}, {outcome.seconds:.0f} s in all; again: {again}",
        f"faults: {_counted(outcome.faults)}",
        f"the platform's own faults: {_counted(outcome.platform_faults)}",
        f"processes that ended by themselves: {outcome.exits}; the journal's disk: {outcome.disk}",
    ]
    lines += [f"left to do: {_counted(outcome.left)}"] if outcome.left else []
    lines += [f"errors in the workers' logs: {_counted(outcome.logged)}"] if outcome.logged else []
    lines += [f"left out: {kind}, for {why}" for kind, why in outcome.left_out.items()]
    lines += [f"WRONG: {one}" for one in outcome.complaints]
    lines += [f"TROUBLE: {one}" for one in outcome.troubles]
    lines += [f"logs and settings: {outcome.folder}"] if outcome.folder.exists() else []
    return "\n".join(lines)


def more(given: argparse.Namespace) -> str:
    """What else on the command line made this storm what it was."""
    words = [f'--only "{name}"' for name in given.only]
    words += [f'--first "{name}"' for name in given.first]
    words += ["--calm"] if given.calm else []
    words += [f"--pace {given.pace:g}"] if given.pace != 1 else []
    words += [f"--subscribers {given.subscribers}"] if given.subscribers else []
    return f" STORM='{' '.join(words)}'" if words else ""


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


def main() -> int:
    given = arguments()
    if given.list:
        show_faults()
        return PASSED
    own_mounts()
    for name in ("aio_pika", "aiormq", "asyncio"):  # a storm is full of what they complain about
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    plan = plan_of(given)
    try:
        outcome = asyncio.run(rage(plan))
    except asyncio.CancelledError:
        say("ended before its time; nothing was judged")
        return TROUBLE
    if given.save:
        outcome.history.save(given.save)
    report = check(outcome.history)
    passed = report.passed and not outcome.complaints and not outcome.left
    if passed and not given.keep:
        shutil.rmtree(outcome.folder, ignore_errors=True)
    again = f"make torture SEED={plan.seed} MINUTES={plan.minutes:g} COMMANDS={plan.commands}{more(given)}"
    if given.json:
        figures: dict[str, Any] = {**outcome.as_json(), "report": report.as_json(), "passed": passed}
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(figures, default=str))
    else:
        print(f"\n{report.render()}\n\n{told(outcome, again)}\n\n{'PASSED' if passed else 'FAILED'}")
    if not passed:
        return FOUND
    return TROUBLE if outcome.troubles else PASSED


if __name__ == "__main__":
    sys.exit(main())
