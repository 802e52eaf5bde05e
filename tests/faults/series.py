"""A recorded series of storms: one after another, each with a seed of its own, and their figures together.

    python -m tests.faults.series --first 1 --storms 10 --minutes 8.5 --commands 10500 --to series

In the folder `series` there is then a report of each storm (JSON), the history of those that failed, and
`summary.md`: totals, times to recover, machine and versions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KILLED = {"kill": 1, "kill all": 3, "stop": 1}  # processes that ended by it
BROKER = ("restart broker", "kill broker")
DATABASE = ("restart database", "kill database")
LINKS = ("cut link", "refuse link", "slow link", "silent link", "deaf link", "mute link")
Figures = Mapping[str, Any]


def rage(seed: int, given: argparse.Namespace, folder: Path) -> Figures | None:
    """One storm; None when it ended without a report."""
    history = folder / f"storm-{seed}.jsonl"
    words = ["--seed", str(seed), "--minutes", f"{given.minutes:g}", "--commands", str(given.commands)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", *words, "--json", "--save", str(history)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=False,
        text=True,
    )
    if not done.stdout.strip():
        return None
    figures: Figures = json.loads(done.stdout)
    (folder / f"storm-{seed}.json").write_text(json.dumps(figures, indent=1))
    if figures["passed"]:
        history.unlink()
    return figures


def total(storms: Iterable[Figures], name: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in storms:
        found.update(one[name])
    return found


def counts(storms: Iterable[Figures]) -> Counter[str]:
    """The checker's own counts, and how many sentences stand under each heading of what is wrong."""
    found: Counter[str] = Counter()
    for one in storms:
        found.update(one["report"]["counts"])
        found.update({heading: len(said) for heading, said in one["report"]["bad"].items()})
        found.update({f"allowed: {why}": len(said) for why, said in one["report"]["excused"].items()})
    return found


def headlines(storms: Sequence[Figures]) -> dict[str, str]:
    faults, own = total(storms, "faults"), total(storms, "platform_faults")
    killed = sum(faults[name] * times for name, times in KILLED.items())
    return {
        "storms": f"{len(storms)}, of which {sum(one['passed'] for one in storms)} passed",
        "seeds": ", ".join(str(one["seed"]) for one in storms),
        "run time": f"{sum(one['seconds'] for one in storms) / 60:.0f} minutes",
        "processes killed or stopped": f"{killed}, and {faults['freeze'] + faults['blink']} frozen",
        "restarts and kills of RabbitMQ": str(sum(faults[name] for name in BROKER)),
        "restarts and kills of PostgreSQL": str(sum(faults[name] for name in DATABASE)),
        "link faults": str(sum(faults[name] for name in LINKS)),
        "the platform's own faults": f"{sum(own.values()) - own['delay']}, and {own['delay']} delays",
        "all faults": ", ".join(f"{count} {name}" for name, count in sorted(faults.items())),
    }


def recovery(storms: Iterable[Figures]) -> dict[str, list[tuple[float, float, float]]]:
    """Fault -> (least, median, most) seconds to the first result, of each storm that had it."""
    found: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for one in storms:
        for kind, times in one["report"]["recovery"].items():
            if first := times["first"]:
                found[kind].append((first["least"], first["middle"], first["most"]))
    return found


def summary(storms: Sequence[Figures], began: str) -> str:
    lines = [f"Begun {began} on {machine()}.", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in headlines(storms).items()]
    lines += [f"| {name} | {count:,} |" for name, count in counts(storms).items()]
    lines += [
        "",
        "| after | storms | first result, s: least | median of the medians | most |",
        "|---|---|---|---|---|",
    ]
    for kind, times in sorted(recovery(storms).items()):
        least, middles, most = min(t[0] for t in times), sorted(t[1] for t in times), max(t[2] for t in times)
        lines.append(
            f"| {kind} | {len(times)} | {least:.1f} | {middles[len(middles) // 2]:.1f} | {most:.1f} |"
        )
    return "\n".join(lines) + "\n"


def machine() -> str:
    versions = [
        f"{os.cpu_count()} processors, {platform.system()} {platform.release()}",
        f"Python {platform.python_version()}",
    ]
    for package in ("rabbitmq-server", "postgresql"):
        asked = ["dpkg-query", "--show", "--showformat=${Package} ${Version}", package]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        versions += [done.stdout] if done.returncode == 0 else []
    return ", ".join(versions)


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.faults.series", description=(__doc__ or "").splitlines()[0]
    )
    put = parser.add_argument
    put("--first", type=int, default=1, help="the first seed; the others follow it (default: 1)")
    put("--storms", type=int, default=10, help="how many (default: 10)")
    put("--minutes", type=float, default=8.5, help="how long each rages (default: 8.5)")
    put("--commands", type=int, default=10500, help="of each (default: 10500)")
    put("--to", type=Path, default=Path(".run/series"), help="folder for the reports (default: .run/series)")
    given = parser.parse_args()
    given.to.mkdir(parents=True, exist_ok=True)
    began, storms = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), []
    for seed in range(given.first, given.first + given.storms):
        figures = rage(seed, given, given.to)
        if figures is not None:
            storms.append(figures)
            (given.to / "summary.md").write_text(summary(storms, began))
        print(
            f"seed {seed}: {'no report' if figures is None else 'passed' if figures['passed'] else 'FAILED'}"
        )
    print(summary(storms, began))
    return 0 if len(storms) == given.storms and all(one["passed"] for one in storms) else 1


if __name__ == "__main__":
    sys.exit(main())
