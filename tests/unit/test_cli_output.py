"""Where the output goes is not the verb's fault, and is told in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTHING = '[worker]\nsource = "/here"\n'
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
CHECK = [sys.executable, "-m", "worker", "platforms", "check"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "worker.toml").write_text(NOTHING)
    return tmp_path


def ran(words: list[str], folder: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, stderr=subprocess.PIPE, text=True, cwd=folder, env=ENVIRONMENT, check=False, **more
    )


def test_who_stops_reading_early_does_not_change_the_exit_code(folder: Path) -> None:
    for words, code in ((CHECK, 0), ([*CHECK[:3], "doctor"], 1)):
        reading, writing = os.pipe()
        os.close(reading)
        done = ran(words, folder, stdout=writing)
        os.close(writing)
        assert (done.returncode, done.stderr) == (code, "")


def test_output_that_cannot_be_written_is_told(folder: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = ran(CHECK, folder, stdout=full)
    told = "worker: cannot write the output: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, told)
    closed = ran(["sh", "-c", 'exec "$@" >&-', "sh", *CHECK], folder)
    told = "worker: cannot write the output: standard output is closed\n"
    assert (closed.returncode, closed.stderr) == (1, told)
