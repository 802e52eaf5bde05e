"""`python -m tests.security.fuzzing --minutes 60`: a long hunt; exit code 1 if it finds anything.

Each finding is kept in `.run/fuzz/`; `--replay FILE` runs it again and shows the traceback.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import secrets
import sys
import warnings
from pathlib import Path
from typing import cast

from tests.security.fuzzing import answers, messages, wsdls
from tests.security.fuzzing.hunt import Hunt, Target, guarded, hunt

ROOT = Path(__file__).resolve().parents[3]
KEPT = ROOT / ".run" / "fuzz"
TARGETS = {str(one.NAME): cast(Target, one) for one in (messages, answers, wsdls)}
SHARE = {"messages": 0.45, "answers": 0.45, "wsdls": 0.1}
MOST_MEMORY = 2 << 30  # bytes of address space: what asks for more fails here, and is a finding


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.security.fuzzing", description=__doc__)
    words.add_argument("--minutes", type=float, default=1.0, help="all targets together")
    words.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    words.add_argument("--target", choices=TARGETS, action="append", help="this one only; may be repeated")
    words.add_argument("--replay", type=Path, help="one kept input")
    given = words.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    if given.replay:
        return replay(given.replay)
    chosen = given.target or list(TARGETS)
    whole = sum(SHARE[name] for name in chosen)
    warnings.simplefilter("ignore")  # zeep warns of each thing that a bent WSDL lacks
    print(f"seed {given.seed}", flush=True)
    findings = 0
    for name in chosen:
        done = hunt(TARGETS[name], given.minutes * 60 * SHARE[name] / whole, given.seed)
        print(done, flush=True)
        findings += len(done.found)
        keep(done)
    return 1 if findings else 0


def keep(done: Hunt) -> None:
    for where, data in done.found.items():
        KEPT.mkdir(parents=True, exist_ok=True)
        file = KEPT / f"{done.name}-{hashlib.sha256(data).hexdigest()[:12]}"
        file.write_bytes(data)
        print(f"  {where}: {len(data)} bytes\n    again: --replay {file.relative_to(ROOT)}", flush=True)


def replay(file: Path) -> int:
    target = TARGETS[file.name.split("-")[0]]
    ending, took = guarded(target.check, file.read_bytes())
    print(f"{ending}, {took:.3f} s of CPU")
    return 0


if __name__ == "__main__":
    sys.exit(main())
