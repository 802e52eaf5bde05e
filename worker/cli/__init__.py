"""The command line. Nothing heavy is imported before a verb runs: `worker --help` is quick."""

from __future__ import annotations

from collections.abc import Sequence


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line with `words` (those of the process by default); the exit code."""
    from worker.cli.app import run

    return run(words)
