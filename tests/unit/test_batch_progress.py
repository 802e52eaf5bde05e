"""What a person sees while a batch is checked and sent: a line now and then where nobody looks at a terminal."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from worker.onboarding import progress as shows
from worker.onboarding.sending import LOOK, SOON, Progress, rest


@pytest.fixture
def page() -> io.StringIO:
    return io.StringIO()


def plain(page: io.StringIO) -> Console:
    return Console(file=page, width=200, force_terminal=False)


def terminal(page: io.StringIO) -> Console:
    return Console(file=page, width=200, force_terminal=True, color_system=None)


def under_way() -> Progress:
    progress = Progress(total=100, read=60, sent=50, began=time.monotonic() - 10)
    progress.states = {"sent": 10}
    progress.know({"sent": 10, "done": 38, "failed": 2})
    return progress


def test_the_line_says_rows_read_sent_done_failed_rate_and_time_left() -> None:
    said = shows.line(under_way())
    assert said.startswith("read 60 of 100, sent 50, done 38, failed 2, 4.0/s, 0:1")
    assert said.endswith(" left")


def test_the_line_says_why_nothing_moves() -> None:
    progress = under_way()
    progress.paused, progress.rate, progress.stopped = "ana", 5.0, "platform sip-br is stopped: paused"
    assert shows.line(progress).endswith("paused by ana, at most 5/s, platform sip-br is stopped: paused")
    progress.stopped, progress.last_ended = None, time.monotonic() - 60
    assert "nothing has ended for 60 s: is `worker run` running?" in shows.line(progress)


def test_where_nobody_looks_at_a_terminal_there_is_a_line_now_and_then(
    page: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shows.reading(plain(page)) as read, shows.shown(under_way(), plain(page)) as update:
        read(500)
        update()
        assert page.getvalue() == ""  # not yet
        monkeypatch.setattr(shows, "EVERY", 0.0)
        read(1000)
        update()
    assert page.getvalue().splitlines()[0] == "checking: 1000 rows"
    assert page.getvalue().splitlines()[1].startswith("read 60 of 100")
    assert "\x1b" not in page.getvalue()


def test_on_a_terminal_there_is_a_bar(page: io.StringIO) -> None:
    with shows.reading(terminal(page)) as read:
        read(500)
    with shows.shown(under_way(), terminal(page)) as update:
        update()
    assert "checking: 500 rows" in page.getvalue()
    assert "40%" in page.getvalue()
    assert "read 60 of 100" in page.getvalue()


def test_a_program_that_reads_json_sees_nothing_else() -> None:
    with shows.reading(None) as read, shows.shown(Progress(), None) as update:
        read(1)
        update()


def test_a_slow_journal_is_looked_at_seldom_and_a_pause_takes_hold_soon_even_so() -> None:
    assert [rest(took) for took in (0.001, 0.1, 10.0)] == [LOOK, 2.0, SOON]
