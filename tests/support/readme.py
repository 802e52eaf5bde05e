"""The code blocks of README.md, and programs to run them with.

Before each block stands what it is: `<!-- test: NAME -->` for one that a test executes,
`<!-- file: NAME -->` for one that is written to a file of that name.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NODE_MODULES = ROOT / ".run" / "readme-node"  # kept: npm needs the network

_FENCE = re.compile(
    r"(?:^<!-- (?P<what>test|file): (?P<name>[\w.-]+) -->\n)?"
    r"^(?P<fence>```+|~~~+)(?P<language>\w*)\n(?P<text>.*?)^(?P=fence)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """`what`: test, file, or "" for a block without a word on it. `line`: of its fence's text, from 1."""

    what: str
    name: str
    language: str
    text: str = field(repr=False)
    line: int


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    output: str  # standard output and error together


def blocks(file: Path = ROOT / "README.md") -> list[Block]:
    """All fenced blocks, in their order."""
    text = file.read_text()
    return [
        Block(
            found["what"] or "",
            found["name"] or "",
            found["language"],
            found["text"],
            text.count("\n", 0, found.start("text")) + 1,
        )
        for found in _FENCE.finditer(text)
    ]


def block(name: str) -> Block:
    return next(one for one in blocks() if one.name == name)


async def ran(words: Sequence[str], folder: Path, env: Mapping[str, str], within: float = 120.0) -> Ran:
    """Run a program to its end; its output is its own, ours is not touched."""
    process = await asyncio.create_subprocess_exec(
        *words,
        cwd=folder,
        env=dict(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(within):
            output, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return Ran(process.returncode or 0, output.decode(errors="replace"))


def shell(text: str) -> list[str]:
    """As a reader would paste it, stopping at the first line that fails."""
    return ["bash", "-e", "-u", "-o", "pipefail", "-c", text]


def node_modules() -> Path:
    """A folder with amqplib in node_modules, installed when it is not there yet. Raises CalledProcessError."""
    if not (NODE_MODULES / "node_modules" / "amqplib").is_dir():
        NODE_MODULES.mkdir(parents=True, exist_ok=True)
        words = "npm install --no-package-lock --no-save --no-audit --no-fund --loglevel=error amqplib"
        subprocess.run(
            [*words.split(), "--prefix", str(NODE_MODULES)],
            check=True,
            capture_output=True,
            env={**os.environ, "npm_config_update_notifier": "false"},
            timeout=180,
        )
    return NODE_MODULES / "node_modules"
