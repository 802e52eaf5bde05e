"""What the overview says: figures, charts, what is slow; and the same for programs, with what is in doubt."""

from __future__ import annotations

import html
import json
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from tests.conformance.support import (
    Place,
    admit,
    change,
    claim,
    done,
    lost,
    order,
    parked,
    read,
    settle,
)
from tests.conformance.test_console_journal import KEPT
from tests.support.console import Front
from worker.console.overview import calls_of, complaints, condition, is_slow, rate
from worker.domain.lifecycle import EffectSeen
from worker.domain.outcome import Exchange
from worker.journal.console.fold import STEPS
from worker.journal.journal import StoredJournal
from worker.journal.port import PlatformState

PLATFORM = "sip-br"
MINUTE, QUARTER = 60, 900


@pytest.fixture
async def front(place: Place, journal: StoredJournal) -> AsyncIterator[Front]:
    for name in KEPT:
        await change(journal, f"DELETE FROM {name}")
    async with Front(place.url, journal) as it:
        it.office.timeouts = {PLATFORM: 10.0}
        yield it


async def ended(journal: StoredJournal, ago: float, succeeded: int, failed: int, **within: int) -> None:
    """In one minute; `within`: how many in which step of `STEPS`, by its index."""
    spread = [within.get(f"s{step}", 0) for step in range(len(STEPS) + 1)]
    await change(
        journal,
        "INSERT INTO console_minutes (minute, platform, succeeded, failed, spread) VALUES ($1, $2, $3, $4, $5)",
        int((await journal.now() - ago) // 60),
        PLATFORM,
        succeeded,
        failed,
        json.dumps(spread),
    )


def panel(text: str, name: str = PLATFORM) -> dict[str, str]:
    """What one platform's part of the overview says, by the names that stand there."""
    [part] = [one for one in re.findall(r"<section.*?</section>", text, re.S) if f">{name}</a>" in one]
    said = {
        key: html.unescape(re.sub("<[^>]+>", "", value)).strip()
        for key, value in re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", part, re.S)
    }
    [state] = re.findall(r'class="state \w+">([^<]*)<', part)
    charts = re.findall(r'aria-label="([^"]*)"(.*?)</svg>', part, re.S)
    bars = {label: re.findall(r"<title>([^<]*)</title>", chart) for label, chart in charts}
    return said | {"state": state} | {label: ", ".join(found) for label, found in bars.items()}


HOUR = "Commands that ended in the last hour, by minute"
DAY = "Commands that ended in the last day, by quarter of an hour"


async def test_the_overview_shows_rate_share_and_times_of_what_ended(
    front: Front, journal: StoredJournal
) -> None:
    # Half within half a second, the slowest within 30 s; and long ago, which only the day knows.
    await ended(journal, MINUTE, 45, 5, s2=30, s7=20)
    await ended(journal, 3 * MINUTE, 30, 0, s0=30)
    await ended(journal, 20 * 60 * MINUTE, 7, 3, s0=10)
    vera = await front.person("vera", "viewer")
    said = panel((await vera.get("/")).text)
    assert said["succeeded, last hour"] == "93.8 %", "75 of 80"
    assert said["arrival to end, p50 / p99"] == "500 ms / 30 s", "of the newest minute"
    assert 80 / 4.7 < float(said["a minute"]) < 80 / 3.6, "of the five minutes that have begun"
    assert said[HOUR] == "30 / 0, 45 / 5"
    day = said[DAY].split(", ")
    assert day[0] == "7 / 3"
    assert day[1:] in (["75 / 5"], ["30 / 0", "45 / 5"]), "one quarter of an hour, or two"


async def test_a_chart_begins_an_hour_and_a_day_ago(front: Front, journal: StoredJournal) -> None:
    await ended(journal, 61 * MINUTE, 2, 0, s0=2)
    await ended(journal, 25 * 60 * MINUTE, 9, 0, s0=9)
    said = panel((await (await front.person("vera", "viewer")).get("/")).text)
    assert HOUR not in said, "nothing ended in it"
    assert said[DAY] == "2 / 0"
    assert said["succeeded, last hour"] == "–"
    assert said["a minute"] == "0.0"


def test_a_rate_is_of_the_time_that_can_be_known_yet() -> None:
    """Figures are 20 s late, and the present minute has only begun."""
    hour = [{"at": n * 60.0, "succeeded": 60, "failed": 0} for n in range(4)]
    now = 4 * 60 + 50.0
    assert rate([*hour, {"at": 240.0, "succeeded": 29, "failed": 1}], now) == pytest.approx(60.0)
    assert rate([*hour, {"at": 240.0, "succeeded": 0, "failed": 0}], 4 * 60 + 20.0) == pytest.approx(60.0)
    assert rate([], now) == 0.0


# ---------------------------------------------------------------- slow


async def called(journal: StoredJournal, *took: float) -> None:
    """So many commands succeeded, each after a call of so many seconds."""
    for n in range(len(took)):
        await admit(journal, order(f"call-{n}", f"{PLATFORM}:subscriber:p{n}@sip.example"))
    claims = await claim(journal, limit=len(took))
    for one, seconds in zip(claims, took, strict=True):
        await settle(journal, done(one, exchange=Exchange("blockCalls", seconds * 1000, 200, "<a/>", "<b/>")))


async def test_a_platform_whose_calls_take_most_of_their_time_is_slow_and_the_first_line_says_so(
    front: Front, journal: StoredJournal
) -> None:
    vera = await front.person("vera", "viewer")
    await called(journal, *[0.2] * 10, 9.0, 8.0)
    text = (await vera.get("/")).text
    said = panel(text)
    assert said["state"] == "slow"
    assert said["calls to the platform, p50 / p99"] == "200 ms / 9 s"
    assert "it is slow: 2 of its last 12 calls took more than 5 s, half of its timeout" in text
    assert "All is well" not in text
    assert "One thing needs a look" in text
    assert 'class="state slow">slow<' in (await vera.get("/platforms")).text
    front.office.timeouts = {PLATFORM: 60.0}
    assert panel((await vera.get("/")).text)["state"] == "well", "9 s of 60 are no news"


async def test_slow_is_what_calls_are_now_not_what_they_were(front: Front, journal: StoredJournal) -> None:
    await called(journal, *[9.0] * 5)
    await change(journal, "UPDATE attempts SET at = at - 301")
    said = panel((await (await front.person("vera", "viewer")).get("/")).text)
    assert said["state"] == "well"
    assert said["calls to the platform, p50 / p99"] == "– / –"


def test_one_call_makes_no_platform_slow_nor_does_one_in_a_hundred() -> None:
    assert not is_slow(calls_of([0.1, 9.0], 10.0))
    assert is_slow(calls_of([0.1, 9.0, 9.0], 10.0))
    assert not is_slow(calls_of([0.1] * 398 + [9.0] * 4, 10.0))
    assert is_slow(calls_of([0.1] * 395 + [9.0] * 5, 10.0))
    assert not is_slow(calls_of([9.0] * 5, None)), "of a platform whose timeout nobody knows here"
    assert not is_slow(calls_of([], 10.0))


def test_the_worst_of_a_platform_is_its_one_word() -> None:
    slow, quick = calls_of([9.0] * 5, 10.0), calls_of([0.1] * 5, 10.0)
    waiting = {"waiting": 3, "failing": 2}
    assert condition(None, {}, quick) == "well"
    assert condition(None, {}, slow) == "slow"
    assert condition(None, waiting, slow) == "failing"
    assert condition(PlatformState(PLATFORM, broken_since=1.0), waiting, slow) == "broken"
    assert condition(PlatformState(PLATFORM, held="refused login"), waiting, slow) == "held"
    assert condition(PlatformState(PLATFORM, paused_by="olga"), waiting, slow) == "paused"
    line = {"name": PLATFORM, "condition": "failing", "open": waiting, "calls": slow}
    assert [one["text"].split(":")[0] for one in complaints(line)] == [
        "2 of 3 waiting commands were tried and failed",
        "it is slow",
    ]
    assert complaints(line | {"condition": "paused"}) == []


# ---------------------------------------------------------------- for programs


async def test_programs_see_what_the_overview_shows(front: Front, journal: StoredJournal) -> None:
    await called(journal, 9.0, 9.0)
    await admit(journal, order("late", f"{PLATFORM}:subscriber:maria@sip.example"))
    await ended(journal, MINUTE, 45, 5, s2=50)
    operator, viewer = await front.token("dash", "operator"), await front.token("wall", "viewer")
    seen = (await operator.get("/api/v1/overview")).json()
    [line] = seen["platforms"]
    assert (line["name"], line["kind"], line["condition"]) == (PLATFORM, "sippulse", "slow")
    assert (line["share"], line["p50"], line["open"]["waiting"]) == (90.0, 0.5, 1)
    assert line["calls"] == {"count": 2, "p50": 9.0, "p99": 9.0, "slow": 2, "timeout": 10.0}
    assert len(line["hour"]) == 60
    assert sum(one["succeeded"] for one in line["hour"]) == 45
    assert len(line["day"]) == 96
    assert sum(one["failed"] for one in line["day"]) == 5
    assert seen["journal"]["waiting"] == 1
    assert seen["ready"] is True
    assert [one["part"] for one in seen["wrong"]] == [f"platform {PLATFORM}"]
    assert seen["oldest"]["partition_key"] == f"{PLATFORM}:subscriber:maria@sip.example"
    assert "maria" not in (await viewer.get("/api/v1/overview")).text
    await journal.pause(PLATFORM, "olga", "they move")
    front.office.readiness.watch.forget()
    [line] = (await operator.get("/api/v1/overview")).json()["platforms"]
    assert (line["condition"], line["paused_by"], line["paused_reason"]) == ("paused", "olga", "they move")
    assert (await operator.get("/api/v1/platforms")).json()[0]["condition"] == "paused"


async def test_programs_see_what_is_in_doubt_with_its_evidence(front: Front, journal: StoredJournal) -> None:
    front.office.settles = {PLATFORM: 600.0}
    key = f"{PLATFORM}:subscriber:maria@sip.example"
    asked: dict[str, Any] = {
        "platform": PLATFORM,
        "subscriber": {"username": "maria", "domain": "sip.example"},
    }
    await admit(journal, order("topup", key, type="credit.add.v1", data=asked | {"amount": "20.00"}))
    [one] = await claim(journal)
    await journal.mark_sent([(one, read("credit", balance=Decimal("35.00"), last_call=9120))])
    after = read("credit", 1, "after", balance=Decimal("43.20"), calls=(Decimal("11.80"),))
    await settle(journal, lost(one, due_in=600.0, evidence=(after,)))
    operator, viewer = await front.token("dash", "operator"), await front.token("wall", "viewer")
    [found] = (await operator.get("/api/v1/in-doubt")).json()["rows"]
    assert (found["message_id"], found["state"], found["may_decide"]) == ("topup", "in_doubt", False)
    assert found["evidence"]["data"] == {"amount": "20.00"}
    figures = {name: Decimal(value) for name, value in found["evidence"]["credit"].items()}
    assert (figures["before"], figures["now"], figures["left"]) == (35, Decimal("43.2"), 20)
    assert [one["kind"] for one in found["evidence"]["readings"]] == ["before", "after"]
    assert found["window"]["window_command"] == found["id"]
    masked = (await viewer.get("/api/v1/in-doubt")).text
    assert "maria" not in masked
    assert "43.2" not in masked
    await change(journal, "UPDATE lanes SET window_opened = NULL, window_command = NULL")
    [found] = (await operator.get("/api/v1/in-doubt")).json()["rows"]
    assert found["may_decide"] is True


async def test_what_is_in_doubt_comes_page_by_page_each_command_once(
    front: Front, journal: StoredJournal
) -> None:
    for n in range(45):
        await admit(journal, order(f"m-{n}", f"{PLATFORM}:subscriber:p{n}@sip.example"))
    for n, one in enumerate(await claim(journal, limit=45)):
        if n % 9 == 0:
            await settle(journal, parked(one))  # its effect is known: nothing to decide from evidence
        elif n % 3 == 0:
            await settle(journal, parked(one, EffectSeen.UNKNOWN))
        else:
            await settle(journal, lost(one, due_in=600.0))
    operator = await front.token("dash", "operator")
    seen: list[int] = []
    path, pages = "/api/v1/in-doubt", 0
    while True:
        page = (await operator.get(path)).json()
        seen += [one["id"] for one in page["rows"]]
        pages += 1
        if page["more"] is None:
            break
        path = f"/api/v1/in-doubt?before={page['more']}"
    assert seen == sorted(set(seen), reverse=True)
    assert (len(seen), pages) == (40, 2)
