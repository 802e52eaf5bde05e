"""What the project's own files promise: no registry's address, one help line a wish, a whole lock."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")


def pinned(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_the_locks_name_no_registry_and_hash_every_file() -> None:
    for lock in LOCKS:
        text = (ROOT / lock).read_text()
        assert "://" not in text
        entries = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)[1:]
        assert all("--hash=sha256:" in entry for entry in entries)


def test_what_is_tested_is_what_is_run() -> None:
    assert pinned("requirements.lock").items() <= pinned("requirements-dev.lock").items()


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {"requirements.lock": project["dependencies"]}
    wanted["requirements-dev.lock"] = project["dependencies"] + project["optional-dependencies"]["dev"]
    for lock, requirements in wanted.items():
        names = {re.split(r"[\[<>=;~! ]", text)[0].lower() for text in requirements}
        assert names <= pinned(lock).keys(), lock


def test_every_wish_has_one_line_of_help() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)[0].split()
    said = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line.split()[1] for line in said.splitlines()] == phony


def test_the_ci_entry_asks_for_every_check() -> None:
    text = (ROOT / ".ci" / "run").read_text()
    assert re.findall(r"^wish (\w+)", text, re.MULTILINE) == ["test", "pythons", "lint", "types", "contracts"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
