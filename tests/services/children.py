"""Programs that tests start in order to end them: a parent killed, a Ctrl-C, another user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from tests.services.machine import MARK

ROOT = Path(__file__).parents[2]


def start(text: str, mark: str, folder: Path) -> subprocess.Popen[str]:
    """Run a Python text in a session of its own, temporary files in ``folder``; it talks over its output."""
    environment = {**os.environ, MARK: mark, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(text)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run_as_ordinary_user(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a Python text as somebody who is not root, with a copy of the sandbox that he can read."""
    shutil.copytree(ROOT / "worker" / "sandbox", folder / "worker" / "sandbox")
    (folder / "worker" / "__init__.py").touch()
    somebody: dict[str, Any] = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        somebody = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        subprocess.run(["chown", "-R", "nobody", str(folder)], check=True)
    # The system's interpreter: ours may lie in a home folder that is closed to others.
    python = "/usr/bin/python3" if os.geteuid() == 0 else sys.executable
    return subprocess.run(
        [python, "-c", textwrap.dedent(text)],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)},
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        **somebody,
    )
