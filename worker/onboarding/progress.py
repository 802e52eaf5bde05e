"""How far a run is: a bar for eyes, plain lines where nobody looks at a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from worker.onboarding.sending import Progress

if TYPE_CHECKING:
    from rich.console import Console

EVERY = 10.0  # seconds between two plain lines


def line(progress: Progress) -> str:
    """The figures in words."""
    figures = [f"read {progress.read} of {progress.total}", f"sent {progress.sent}"]
    figures += [f"{name} {n}" for name, n in (("before", progress.before),) if n]
    figures += [f"done {progress.done}", f"failed {progress.failed}"]
    figures += [f"parked {progress.parked}"] if progress.parked else []
    figures.append(f"{progress.speed:.1f}/s")
    if (left := progress.left) is not None:
        figures.append(f"{clock(left)} left")
    if progress.paused:
        figures.append(f"paused by {progress.paused}")
    if progress.rate:
        figures.append(f"at most {progress.rate:g}/s")
    if progress.stopped:
        figures.append(progress.stopped)
    elif progress.silent:
        figures.append(f"nothing has ended for {progress.silent:.0f} s: is `worker run` running?")
    return ", ".join(figures)


def clock(seconds: float) -> str:
    whole = int(seconds)
    return (
        f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
        if whole >= 3600
        else f"{whole // 60}:{whole % 60:02}"
    )


@contextmanager
def reading(console: Console | None) -> Iterator[Callable[[int], None]]:
    """While a file is checked: yields what is told the number of rows so far. None: nothing is shown."""
    if console is None:
        yield lambda rows: None
    elif console.is_terminal:
        with console.status("checking") as status:
            yield lambda rows: status.update(f"checking: {rows} rows")
    else:
        last = [time.monotonic()]

        def say(rows: int) -> None:
            if time.monotonic() - last[0] >= EVERY:
                last[0] = time.monotonic()
                console.print(f"checking: {rows} rows", markup=False)

        yield say


@contextmanager
def shown(progress: Progress, console: Console | None) -> Iterator[Callable[[], None]]:
    """Yields what is to be called now and then; None: nothing is shown."""
    if console is None:
        yield lambda: None
    elif console.is_terminal:
        with _bar(progress, console) as update:
            yield update
    else:
        yield _lines(progress, console)


def _lines(progress: Progress, console: Console) -> Callable[[], None]:
    last = [time.monotonic()]

    def update() -> None:
        if time.monotonic() - last[0] >= EVERY:
            last[0] = time.monotonic()
            console.print(line(progress), markup=False)

    return update


@contextmanager
def _bar(progress: Progress, console: Console) -> Iterator[Callable[[], None]]:
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=progress.total or None)

        def update() -> None:
            ended = progress.done + progress.failed + progress.parked + progress.states.get("bad", 0)
            bar.update(task, completed=ended, description=line(progress))

        yield update
