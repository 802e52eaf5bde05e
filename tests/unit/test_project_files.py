"""What the project's own files promise: no registry's address, one help line a wish, a whole lock."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")
# In parts: this file must not hold them either.
REGISTRIES = [
    ".".join(parts).encode()
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("crates", "io"),
        ("golang", "org"),
        ("rubygems", "org"),
        ("maven", "org"),
        ("anaconda", "org"),
        ("debian", "org"),
        ("ubuntu", "com"),
        ("docker", "io"),
        ("ghcr", "io"),
        ("quay", "io"),
    )
]
# Keys under which an address of one's own would stand.
CONFIGURED = re.compile(
    rb'index-url *=|extra-index-url|registry *= *"?http|"resolved" *: *"|\[\[tool\.uv\.index\]\]|--find-links'
)


def pinned(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_the_locks_name_no_registry_and_hash_every_file() -> None:
    for lock in LOCKS:
        text = (ROOT / lock).read_text()
        assert "://" not in text
        entries = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)[1:]
        assert all("--hash=sha256:" in entry for entry in entries)


def tracked() -> Iterator[tuple[str, bytes]]:
    """All that is part of the project: name and content."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    names = [name for name in listed.decode().split("\0") if (ROOT / name).is_file()]
    assert len(names) > 500
    for name in names:
        if name:
            yield name, (ROOT / name).read_bytes()


def registries_in(content: bytes) -> list[str]:
    """Addresses of package registries, and settings that would name one."""
    found = [name.decode() for name in REGISTRIES if name in content.lower()]
    return found + [one.decode() for one in CONFIGURED.findall(content)]


def test_no_file_of_the_project_holds_a_registrys_address() -> None:
    """Where packages come from is the business of the machine that installs them."""
    found = {name: held for name, content in tracked() if (held := registries_in(content))}
    here = found.pop(
        str(Path(__file__).relative_to(ROOT)), []
    )  # the keys that are looked for stand in this file
    assert not {*here} & {name.decode() for name in REGISTRIES}
    assert found == {}


def test_an_address_is_found_in_every_kind_of_file() -> None:
    host = b".".join((b"pypi", b"org"))
    registry = b"registry." + b".".join((b"npmjs", b"org"))
    for text in (
        b"--index-url https://" + host + b"/simple",
        b'"resolved": "https://' + registry + b'/koa/-/koa-3.0.1.tgz"',
        b"FROM GHCR" + b".IO/someone/image",
    ):
        assert registries_in(text)


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
