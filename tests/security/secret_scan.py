"""Secrets that should not stand in a repository: by their form, by the look of chance, by the name of their file.

Ours rather than a tool's: detect-secrets (last released in May 2024) finds 149 places here, every one of them an example
or a password made up for a test, 111 because of a word like "password" beside a text. Its baseline would change with
nearly every test, and what always changes is looked at by nobody. What is left without words is short enough to stand
here, knows the form of our own keys, and takes one second instead of half a minute.
"""

from __future__ import annotations

import math
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HASHES = ("requirements.lock", "requirements-dev.lock")  # of files that anybody may know

FORMS = {
    "a private key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
    "a key of a journal": r"(?<![\w/+=-])[A-Za-z0-9_-]{43}=(?![\w=])",
    "an AWS key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,})",
    "a GitLab token": r"\bglpat-[\w-]{20,}",
    "a Slack token": r"\bxox[abeoprs]-[\w-]{10,}|hooks\.slack\.com/services/\w+",
    "a Google key": r"\bAIza[\w-]{35}\b",
    "a Stripe key": r"\b[rs]k_live_\w{16,}",
    "a token of a package registry": r"\b(?:pypi-AgE[\w-]{20,}|npm_[A-Za-z0-9]{36})",
    "a signed web token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    "a login for HTTP": r"(?i)\bauthorization\W{1,4}(?:basic|bearer)\s+[A-Za-z0-9+/_.-]{16,}={0,2}",
}
_FORMS = {what: re.compile(form) for what, form in FORMS.items()}
_LOGIN = re.compile(r"[a-z][a-z0-9+]*://[^\s/:@'\"{}<>`]+:([^\s/@'\"{}<>`$]{3,})@([\w.-]+)")
# Hosts of examples and of this very machine: what leads there opens nothing.
_NOWHERE = re.compile(
    r"(127\.0\.0\.1|localhost|h|host|postgres|rabbitmq|(?:[\w-]+\.)*(?:example|invalid|test)(?:\.com)?)"
)
_CHANCE = re.compile(r"(?<![\w/+-])(?:[A-Za-z0-9+]{28,}={0,2}|[0-9a-f]{32,})(?![\w/+-])")
_FILES = re.compile(
    r"(^|/)(id_(rsa|dsa|ecdsa|ed25519)|\.netrc|\.pgpass|\.erlang\.cookie|\.env|\.npmrc|\.pypirc)$|\.(key|pem|p12|pfx|jks|kdbx)$"
)
LEAST_CHANCE = {"base64": 4.2, "hex": 3.3}  # bits a sign; a name made of words has less

# Path -> why what is found there is none. Each was looked at.
KNOWN: dict[str, str] = {
    f"docs/images/console-{name}.png": "a picture of the console with people who do not exist"
    for name in (
        "batch",
        "command",
        "commands",
        "commands-narrow",
        "failures",
        "in-doubt",
        "in-doubt-narrow",
        "overview",
        "overview-dark",
        "overview-narrow",
        "preview",
    )
}


@dataclass(frozen=True, slots=True)
class Find:
    """Where, and what it looks like. Never the thing itself: a log of CI is read by many."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


def tracked() -> list[str]:
    """What git has, or would take: a file that is not committed yet is looked at before it is."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, check=True, text=True)
    return sorted({name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()})


def scan() -> Iterator[Find]:
    for name in tracked():
        if name in KNOWN:
            continue
        if _FILES.search(name):
            yield Find(name, 0, "a file of a name that secrets have")
        try:
            text = (ROOT / name).read_text()
        except UnicodeDecodeError:
            yield Find(name, 0, "no text: it cannot be looked into")
            continue
        yield from found_in(name, text)


def found_in(name: str, text: str) -> Iterator[Find]:
    for number, line in enumerate(text.splitlines(), start=1):
        for what in kinds(line):
            if not (what == CHANCE and name in HASHES):
                yield Find(name, number, what)


CHANCE = "a text that looks like chance"


def kinds(line: str) -> Iterator[str]:
    """What secrets a line seems to hold."""
    for what, form in _FORMS.items():
        if form.search(line):
            yield what
    for found in _LOGIN.finditer(line):
        if not _NOWHERE.fullmatch(found[2]):
            yield "a password in an address"
    if any(looks_like_chance(found[0]) for found in _CHANCE.finditer(line)):
        yield CHANCE


def looks_like_chance(text: str) -> bool:
    bare = text.rstrip("=")
    if re.fullmatch(r"[0-9a-f]+", bare):
        return chance(bare) >= LEAST_CHANCE["hex"]
    kinds_of_signs = (re.search(form, bare) for form in ("[a-z]", "[A-Z]", "[0-9]"))
    # Of letters alone it is a name: thisIsHowTheOperationsOfAPlatformAreCalled.
    return all(kinds_of_signs) and chance(bare) >= LEAST_CHANCE["base64"]


def chance(text: str) -> float:
    """Shannon's entropy, bits a sign."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())
