"""What the image would hold is enough to run the worker. (No engine is there to build it.)"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def in_the_image(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """As the image's entry would run it: its copied files, its environment, its working folder."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    app, home = folder / "app", folder / "home"
    home.mkdir()
    for source, target in re.findall(r"^COPY (?!--from)(\S+) /app/(\S+)$", dockerfile, re.MULTILINE):
        shutil.copytree(ROOT / source, app / target, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(app), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, "-m", "worker", *words],
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_files_of_the_image_are_enough(tmp_path: Path) -> None:
    done = in_the_image(tmp_path, "contracts", "check")
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "home").iterdir()) == []


def test_the_simulator_of_the_compose_file_knows_its_words(tmp_path: Path) -> None:
    done = in_the_image(tmp_path, "simulate", "sippulse", "--host", "0.0.0.0", "--port", "8090", "--help")
    assert done.returncode == 0, done.stderr
    assert "--host" in done.stdout
