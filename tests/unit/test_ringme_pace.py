"""The hourly limit: slow before it, away until the hour is over after it, control reads to the last."""

from __future__ import annotations

import pytest

from worker.messages.rest.document import table
from worker.platforms.ringme.pace import SHORT, HourlyPace, busy_for
from worker.platforms.transport import Answer, Lost, Phase

READ = table("ringme")["ringme.client.get.v1"]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def said(clock: Clock, limit: int, left: int, reset: int) -> Answer:
    names = {"X-RateLimit-Limit": limit, "X-RateLimit-Remaining": left, "X-RateLimit-Reset": reset}
    return Answer(200, {name: str(value) for name, value in names.items()}, b"", clock.now, clock.now)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> HourlyPace:
    return HourlyPace(reserve=0.05, slow=0.2, clock=clock)


def test_before_anything_was_heard_nobody_waits(pace: HourlyPace) -> None:
    assert pace.wait(control=False) == 0.0


def test_with_plenty_left_nobody_waits(pace: HourlyPace, clock: Clock) -> None:
    pace.heard(said(clock, 1000, 900, 3000))
    assert [pace.wait(control=False) for _ in range(20)] == [0.0] * 20


def test_what_is_left_is_spread_over_the_rest_of_the_hour(pace: HourlyPace, clock: Clock) -> None:
    pace.heard(said(clock, 1000, 150, 1000))
    waits = [pace.wait(control=False) for _ in range(5)]
    assert waits[:4] == [0.0] * 4  # a command's few calls are not torn apart
    assert waits[4] == pytest.approx(10.0)  # 100 beside the reserve, in 1000 s
    clock.now += 10.0
    assert pace.wait(control=False) == pytest.approx(0.0)
    assert pace.wait(control=False) == pytest.approx(10.0 * 990 / 1000, rel=0.05)


def test_the_last_calls_are_kept_for_control_reads(pace: HourlyPace, clock: Clock) -> None:
    pace.heard(said(clock, 1000, 50, 700))
    assert pace.wait(control=False) == 700.0
    assert pace.wait(control=True) == 0.0
    pace.heard(said(clock, 1000, 0, 700))
    assert pace.wait(control=True) == 700.0


def test_when_the_hour_is_over_all_go_on(pace: HourlyPace, clock: Clock) -> None:
    pace.heard(said(clock, 1000, 0, 30))
    clock.now += 29.9
    assert pace.wait(control=False) == pytest.approx(0.1)
    clock.now += 0.1
    assert pace.wait(control=False) == 0.0
    pace.heard(said(clock, 1000, 999, 3600))
    assert pace.wait(control=False) == 0.0


def test_a_new_hour_is_not_taken_for_the_old_one(pace: HourlyPace, clock: Clock) -> None:
    pace.heard(said(clock, 1000, 0, 3))
    clock.now += 3.0
    pace.heard(said(clock, 1000, 999, 4))
    assert pace.wait(control=False) == 0.0


def test_an_answer_that_was_overtaken_does_not_give_calls_back(pace: HourlyPace, clock: Clock) -> None:
    pace.heard(said(clock, 1000, 40, 700))
    pace.heard(said(clock, 1000, 300, 701))
    assert pace.wait(control=False) == 701.0


async def test_a_long_wait_is_told_and_nothing_is_sent(pace: HourlyPace, clock: Clock) -> None:
    pace.heard(said(clock, 10, 0, 60))
    async with pace.turn(READ, control=False) as busy:
        assert busy is not None
        assert busy.after == 60.0


def test_calls_under_way_count(pace: HourlyPace, clock: Clock) -> None:
    pace.heard(said(clock, 100, 6, 60))
    pace._under_way = 1
    assert pace.wait(control=False) > SHORT


@pytest.mark.parametrize(("left", "seconds"), [(0, 61), (5, None)])
def test_only_an_empty_count_is_the_hourly_limit(clock: Clock, left: int, seconds: int | None) -> None:
    assert busy_for(said(clock, 100, left, 61)) == seconds


def test_headers_that_cannot_be_read_say_nothing(pace: HourlyPace, clock: Clock) -> None:
    pace.heard(Answer(200, {"X-RateLimit-Limit": "many"}, b"", 0, 0))
    pace.heard(Lost(Phase.SENT, "reset"))
    assert pace.wait(control=False) == 0.0
