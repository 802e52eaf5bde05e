"""Names of commands as people type them."""

from __future__ import annotations

from difflib import get_close_matches

from worker.messages.catalogue import COMMANDS, find


def as_type(text: str) -> str:
    """`credit.add` or `credit.add.v1` as a type. Raises ValueError with a sentence for one that stands in no line."""
    wanted = text if text.endswith(".v1") else f"{text}.v1"
    if wanted.startswith("command."):
        raise ValueError(f"{text} is answered as it comes in: it never reaches a platform")
    if find(wanted) is None:
        near = get_close_matches(wanted, list(COMMANDS), 3)
        hint = f": did you mean {' or '.join(one.removesuffix('.v1') for one in near)}?" if near else ""
        raise ValueError(f"there is no command {text[:100]!r}{hint}")
    return wanted
