"""What verbs print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from worker.cli.context import Fault

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDE = 200  # columns where nobody says how wide the page is, e.g. in a pipe


def console(stderr: bool = False) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream is not None and stream.isatty() else WIDE
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def emit(value: Any) -> None:
    """JSON, indented, to standard output."""
    say(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def say(text: str) -> None:
    """A line to standard output. Raises Fault when it cannot be written, not when nobody reads any more."""
    if sys.stdout is None:
        raise Fault("cannot write the output: standard output is closed")
    _guarded(lambda: print(text))


def flush() -> None:
    """Write what is still held back; raises as `say` does."""
    if sys.stdout is not None:
        _guarded(sys.stdout.flush)


def _guarded(write: Callable[[], None]) -> None:
    """Who stops reading early (`| head -1`) is content: the verb ends with its own exit code."""
    try:
        write()
    except BrokenPipeError:
        _to_nowhere()
    except OSError as error:
        _to_nowhere()
        raise Fault(f"cannot write the output: {error.strerror or type(error).__name__}") from None


def _to_nowhere() -> None:
    """Python writes what is left at its end once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> None:
    """`empty` is said instead of a table without rows."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        drawn.add_row(*(Text(_text(cell)) for cell in row))
    if drawn.row_count == 0:
        say(empty)
    else:
        say(_drawn(drawn))


def _drawn(table: Table) -> str:
    """Without the white space at the end of its lines."""
    page = console()
    with page.capture() as captured:
        page.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines() if line.strip())


def _text(cell: Any) -> str:
    """Control characters of a sender's must not reach the terminal."""
    text = "" if cell is None else str(cell)
    return "".join(sign if sign.isprintable() or sign == "\n" else "\ufffd" for sign in text)


def facts(pairs: Mapping[str, Any], indent: str = "") -> None:
    """Name and value, one a line; what is empty is left out."""
    shown = {name: value for name, value in pairs.items() if value not in (None, "", [], {}, ())}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        say(f"{indent}{name:<{width}}  {_text(value if isinstance(value, str) else plain(value))}")


def plain(value: Any) -> str:
    """Tables and lists as JSON, anything else as it is."""
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def moment(seconds: float | None) -> str:
    """Seconds since the epoch, as a time of day in UTC."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def moments(record: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """A copy for programs, with times as RFC 3339."""
    from worker.messages.events import rfc3339

    return {name: rfc3339(value) if name in names else value for name, value in record.items()}
