"""Reading an uploaded file once in a process of its own, with a bound of memory and time, before the worker does.

A file from outside may be made to use up both. What has been read here whole is read in the same way, by the
same code, a second time; what brought this process down is never read in the worker's.

`python -m worker.onboarding.rehearsal DESCRIPTOR NAME` prints one JSON object: what the file is, or what is wrong.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from worker.journal.batches.uploads import Unfit
from worker.onboarding.held import Held
from worker.onboarding.sheet import MOST_COLUMNS, Row, Sheet, SheetError, open_sheet

MEMORY = 1 << 30  # bytes of addresses; an empty Python takes a fifth of it
MOST_HELD = (
    256 << 20
)  # bytes of a file that it makes: the shared texts of a workbook, held in memory beside MEMORY
SECONDS = 120  # of CPU; by the clock three times as many
SAMPLE, SAMPLE_BYTES = 10, 128 * 1024  # rows that a preview shows, and what they may hold altogether
TOO_MUCH = (
    "reading it takes more memory or time than the worker gives a file that was uploaded: if it is a real table, use"
    " `worker batch run` on the command line"
)


async def rehearse(held: Held) -> dict[str, Any]:
    """How the file is read, its columns, first rows, number of rows and hash. Raises Unfit."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "worker.onboarding.rehearsal", str(held.descriptor), held.path.name,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        pass_fds=(held.descriptor,), env=_environment(),
    )  # fmt: skip
    try:
        async with asyncio.timeout(3 * SECONDS):
            out, _ = await child.communicate()
    except TimeoutError:
        raise Unfit(TOO_MUCH) from None
    finally:
        with suppress(ProcessLookupError):
            if child.returncode is None:
                child.kill()
                await asyncio.shield(child.wait())
    return _answer(out)


def _environment() -> dict[str, str]:
    """Nothing of the worker's: its settings may hold passwords."""
    names = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, (here, kept.get("PYTHONPATH"))))}


def _answer(out: bytes) -> dict[str, Any]:
    try:
        found = json.loads(out)
    except ValueError:
        raise Unfit(TOO_MUCH) from None
    if "wrong" in found:
        raise Unfit(str(found["wrong"]))
    return dict(found)


# ---------------------------------------------------------------- in the process of its own


def main(descriptor: int, name: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    # Files in memory are no addresses of ours. Python ignores SIGXFSZ: who writes beyond gets EFBIG.
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_HELD, MOST_HELD))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)  # commands go first
    with Held(name, descriptor) as held:
        try:
            said = _looked(open_sheet(held.path))
        except SheetError as error:
            said = {"wrong": str(error).replace(f"{held.path.parent}/", "")}
        except (MemoryError, RecursionError):
            said = {"wrong": TOO_MUCH}
        except Exception as error:
            said = {"wrong": f"{name} cannot be read ({type(error).__name__}): open it and save it again"}
    sys.stdout.write(json.dumps(said))


def _looked(sheet: Sheet) -> dict[str, Any]:
    if len(sheet.columns) > MOST_COLUMNS:
        raise SheetError(f"{sheet.path.name} has {len(sheet.columns)} columns, more than {MOST_COLUMNS}")
    rows, taken = 0, 0
    sample: list[list[Any]] = []
    for row in sheet.rows():
        rows += 1
        if len(sample) < SAMPLE and taken < SAMPLE_BYTES:
            one = [row.number, {name: _plain(cell) for name, cell in row.cells.items()}, row.flaw]
            taken += len(json.dumps(one))
            if taken < SAMPLE_BYTES:
                sample.append(one)
    return {
        "how": sheet.how, "kind": sheet.kind, "columns": list(sheet.columns), "rows": rows,
        "sha256": sheet.sha256, "sample": sample,
    }  # fmt: skip


def _plain(cell: Any) -> Any:
    return cell if cell is None or isinstance(cell, (str, int, float, bool, list, dict)) else str(cell)


def sample_of(looked: Mapping[str, Any]) -> list[Row]:
    """The first rows of the file, as they were read."""
    return [Row(number, cells, flaw) for number, cells, flaw in looked.get("sample", ())]


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
