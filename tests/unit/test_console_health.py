"""What counts as wrong, and how badly."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from worker.console.health import (
    UNMOVED,
    Complaint,
    JournalWatch,
    Readiness,
    Seen,
    of_consumer,
    of_engine,
    of_journal,
    of_platforms,
    of_relay,
)
from worker.journal.port import Health, JournalDown, Pause, PlatformState

WELL = Health(0, 0, 0, 0, None, 0, None, 0, 0, {})


@dataclass
class Consumer:
    queue: str = "provisioning.commands"
    last_delivery_age: float | None = 1.0
    ready: int | None = 0
    held: int = 0
    paused: str | None = None
    ill: str | None = None


class Journal:
    """Answers what it is told to."""

    def __init__(self, health: Health | Exception, wait: float = 0.0) -> None:
        self.answer, self.wait, self.asked = health, wait, 0

    async def health(self) -> Health:
        self.asked += 1
        await asyncio.sleep(self.wait)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def platforms(self) -> list[PlatformState]:
        return []

    async def pauses(self) -> list[Pause]:
        return []


def levels(found: Sequence[Complaint]) -> list[str]:
    return [one.level for one in found]


def test_a_consumer_that_is_gone_is_an_error_and_one_that_rests_a_warning() -> None:
    assert levels([*of_consumer("intake", Consumer(ill="the channel was closed"))]) == ["error"]
    assert levels([*of_consumer("intake", Consumer(paused="max_waiting"))]) == ["warning"]
    assert not [*of_consumer("intake", Consumer())]


def test_messages_that_are_ready_and_do_not_move_are_an_error() -> None:
    stuck = Consumer(ready=5, last_delivery_age=UNMOVED + 1)
    [complaint] = of_consumer("intake", stuck)
    assert (complaint.level, "5 messages are ready" in complaint.text) == ("error", True)
    # What we hold ourselves is being worked on; who stands by has never got anything.
    assert not [*of_consumer("intake", Consumer(ready=5, last_delivery_age=UNMOVED + 1, held=3))]
    assert not [*of_consumer("intake", Consumer(ready=5, last_delivery_age=None))]


def test_an_engine_without_heartbeat_is_an_error() -> None:
    assert levels([*of_engine(None, 100.0)]) == ["error"]
    assert levels([*of_engine(10.0, 100.0)]) == ["error"]
    assert not [*of_engine(99.0, 100.0)]


def test_a_relay_that_rabbitmq_asks_to_wait_is_a_warning() -> None:
    assert levels([*of_relay("short of memory", True)]) == ["warning"]
    assert levels([*of_relay("RabbitMQ cannot be reached", False)]) == ["error"]
    assert not [*of_relay(None, False)]


def test_nobody_listens_and_parked_commands_are_warnings() -> None:
    health = Health(0, 0, 0, 2, None, 1, 900.0, 0, 0, {"provisioning.results": 3})
    found = [*of_journal(Seen(0.0, health))]
    assert {one.part for one in found} == {"relay", "commands"}
    assert 'worker events republish --reason "…"`' in found[0].text
    assert set(levels(found)) == {"warning"}


def test_a_stopped_platform_is_a_warning_and_only_if_it_is_ours() -> None:
    states = [
        PlatformState("held", held="credentials_refused", held_text="wrong"),
        PlatformState("paused", paused_by="ana", paused_reason="move"),
        PlatformState("broken", broken_since=1.0),
        PlatformState("foreign", held="credentials_refused"),
        PlatformState("well"),
    ]
    found = [*of_platforms(states, frozenset({"held", "paused", "broken", "well"}))]
    assert [one.part for one in found] == ["platform held", "platform paused", "platform broken"]
    assert set(levels(found)) == {"warning"}
    assert 'ana: move; `worker platforms resume paused --reason "…"`' in found[1].text


async def test_a_journal_that_is_away_makes_the_process_not_ready() -> None:
    for away in (JournalDown("the database does not answer"), RuntimeError("hidden")):
        ready, report = await Readiness(JournalWatch(Journal(away)), ["engine"], []).report()
        assert not ready
        assert [one["part"] for one in report["wrong"]] == ["journal"]
        assert "hidden" not in str(report)


async def test_many_who_ask_at_once_ask_the_journal_once() -> None:
    journal = Journal(WELL, wait=0.05)
    watch = JournalWatch(journal)
    seen = await asyncio.gather(*(watch.seen(max_age=5.0) for _ in range(50)))
    assert journal.asked == 1
    assert all(one.health is WELL for one in seen)


async def test_warnings_leave_the_process_ready() -> None:
    readiness = Readiness(JournalWatch(Journal(WELL)), ["relay"], [])
    readiness.parts.append(lambda: [Complaint("relay", "warning", "nobody listens")])
    ready, report = await readiness.report()
    assert ready
    assert report["wrong"] == [{"part": "relay", "level": "warning", "text": "nobody listens"}]
