"""The parts of a storm do what they say: links that break, a workload and a schedule that a seed repeats, a verdict."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import islice
from random import Random
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import pytest

from tests.faults.__main__ import arguments, plan_of
from tests.faults.arena import Arena
from tests.faults.breaks import KINDS
from tests.faults.graph import Chart, draw
from tests.faults.links import Link
from tests.faults.nemesis import Nemesis, dealt, kind_of
from tests.faults.soak import SERIES, judge
from tests.faults.workload import BULK, write
from tests.support.amqp import eventually

# ---------------------------------------------------------------- links


class Ends:
    """Both ends of one connection through a link."""

    def __init__(self, link: Link, served: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
        self.link, self._served = link, served

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.link.port)
        await eventually(lambda: self._served, 10)
        self.theirs, self.back = self._served.pop()


@asynccontextmanager
async def linked(hangups: bool = False) -> AsyncIterator[Ends]:
    served: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    server = await asyncio.start_server(lambda *ends: served.append(ends), "127.0.0.1", 0)
    async with Link("test", server.sockets[0].getsockname()[1], hangups) as link:
        ends = Ends(link, served)
        await ends.open()
        try:
            yield ends
        finally:
            for writer in (ends.writer, ends.back):
                writer.transport.abort()
            server.close()


async def nothing_within(reader: asyncio.StreamReader, seconds: float) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), seconds)


async def test_a_whole_link_hands_on_both_ways_and_ends_as_its_ends_do() -> None:
    async with linked() as ends:
        ends.writer.write(b"there")
        assert await ends.theirs.readexactly(5) == b"there"
        ends.back.write(b"and back")
        ends.back.close()
        assert await ends.reader.read() == b"and back"


async def test_a_cut_link_resets_and_takes_new_connections() -> None:
    async with linked() as ends:
        ends.link.cut()
        with pytest.raises(ConnectionResetError):
            await ends.reader.read()
        await ends.open()
        ends.writer.write(b"again")
        assert await ends.theirs.readexactly(5) == b"again"


async def test_a_silent_link_hands_everything_on_when_it_is_whole_again() -> None:
    async with linked() as ends:
        ends.link.silence()
        ends.writer.write(b"late")
        await nothing_within(ends.theirs, 0.2)
        ends.link.heal()
        assert await ends.theirs.readexactly(4) == b"late"


async def test_a_deaf_link_hands_on_in_one_direction() -> None:
    async with linked() as ends:
        ends.link.silence(outward=False)
        ends.writer.write(b"request")
        assert await ends.theirs.readexactly(7) == b"request"
        ends.back.write(b"answer")
        await nothing_within(ends.reader, 0.2)


async def test_what_was_held_back_never_reaches_a_platform_whose_caller_hung_up() -> None:
    async with linked(hangups=True) as ends:
        ends.link.silence()
        ends.writer.write(b"request")
        await nothing_within(ends.theirs, 0.2)
        ends.writer.transport.abort()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(ends.theirs.read(), 5)
        ends.link.heal()


# ---------------------------------------------------------------- what a seed repeats


def test_a_seed_repeats_its_workload() -> None:
    assert write(7, 300, 20.0) == write(7, 300, 20.0)
    assert write(7, 300, 20.0) != write(8, 300, 20.0)


def test_a_workload_is_about_as_long_as_asked_and_has_everything_in_it() -> None:
    work = write(3, 3000, 60.0)
    assert 0.9 * 3000 < work.commands < 1.1 * 3000
    types = Counter(one.event["type"] for one in work.messages)
    assert {"subscriber.create.v1", "subscriber.remove.v1", "credit.add.v1", "command.cancel.v1"} <= set(
        types
    )
    assert len(work.messages) > work.commands, "duplicates"
    assert any(one.queue == BULK for one in work.messages)
    assert any(one.after is not None for one in work.messages)
    assert any(one.until is not None for one in work.messages)
    assert any("dependson" in one.event for one in work.messages)


def test_a_subscriber_has_one_queue_and_so_one_order() -> None:
    queues: dict[str, set[str]] = {}
    for one in write(3, 2000, 60.0).messages:
        if who := one.event["data"].get("subscriber"):
            queues.setdefault(who["username"], set()).add(one.queue)
    assert all(len(those) == 1 for those in queues.values())


def test_a_lane_deals_all_its_faults_before_one_comes_again() -> None:
    workers = [kind for kind in KINDS if kind.lane == "workers"]
    cards = sum(kind.share for kind in workers)
    first = list(islice(dealt(workers, Random(5)), cards))
    assert set(first) == set(workers)
    assert first == list(islice(dealt(workers, Random(5)), cards))


def test_only_what_was_asked_for_is_broken() -> None:
    disk = SimpleNamespace(why_never_full="")
    nemesis = Nemesis(cast(Arena, SimpleNamespace(disk=disk)), 1, only=("kill", "broker"))
    found = {kind_of(kind) for kinds in nemesis.lanes().values() for kind in kinds}
    assert found == {
        "freeze broker",
        "kill",
        "restart broker",
        "kill broker",
        "close connections",
        "close channels",
        "memory alarm",
    }


def test_a_wrong_word_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments(["--only", "earthquake"])
    assert ended.value.code == 2
    assert "unknown fault 'earthquake': we know" in capsys.readouterr().err


def test_a_storm_without_a_seed_draws_one() -> None:
    assert plan_of(arguments([])).seed != plan_of(arguments([])).seed
    assert plan_of(arguments(["--seed", "5"])).seed == 5


# ---------------------------------------------------------------- soak


@pytest.mark.parametrize(
    ("values", "flat"),
    [([100, 200, 200, 201], True), ([100, 200, 250, 300], False), ([300, 200, 100, 90], True)],
)
def test_flat_means_that_the_last_quarter_is_not_above_the_second(values: list[float], flat: bool) -> None:
    points = [(minute + 0.5, value) for minute, value in enumerate(values)]
    assert judge(points, 4.0, SERIES["memory"]).flat is flat


def test_spikes_are_no_growth_and_no_spike_hides_it() -> None:
    def samples(value: Callable[[int], float]) -> list[tuple[float, float]]:
        return [(place / 10, value(place)) for place in range(600)]

    late = judge(
        samples(lambda place: 5000.0 if place > 450 and place % 3 == 0 else 100.0), 60.0, SERIES["p99"]
    )
    assert late.flat, "a third of the last quarter is spikes"
    early = judge(samples(lambda place: 9999.0 if 150 < place < 300 and place % 3 == 0 else 100.0 + place), 60.0,
                  SERIES["memory"])  # fmt: skip
    assert not early.flat, "a slope, with spikes in the quarter that it is held against"


def test_a_series_without_samples_is_not_flat() -> None:
    assert not judge([], 4.0, SERIES["memory"]).flat


def test_the_graph_is_a_picture_with_a_line_for_each_worker() -> None:
    lines: dict[str, Any] = {"worker-1": [(0.0, 10.0), (1.0, 12.0)], "worker-2": [(0.0, 9.0), (1.0, 9.0)]}
    root = ElementTree.fromstring(
        draw("Soak", "a & b", [Chart("Memory", "MiB", lines), Chart("None", "", {})])
    )
    assert len(root.findall(".//{http://www.w3.org/2000/svg}polyline")) == 2
