"""What doctor advises without reaching anything."""

from __future__ import annotations

from decimal import Decimal

import pytest

from worker.cli.doctor import _consumed, _figures, _stop, unset
from worker.journal.port import Health
from worker.settings import LimitSettings, Settings

PLATFORM = {"kind": "sippulse", "url": "http://127.0.0.1/S", "login": "a", "password": "b"}


def settings(timeout: float = 10, grace: float = 25) -> Settings:
    return Settings.model_validate(
        {"worker": {"grace": grace}, "platforms": {"one": {**PLATFORM, "timeout": timeout}}}
    )


def test_a_container_that_waits_too_short_is_warned_of() -> None:
    [short] = _stop(settings(timeout=20, grace=25), "30s")
    assert (short.level, "30 s" in short.text) == ("warning", True)
    [long] = _stop(settings(timeout=20, grace=25), "31")
    assert long.level == "well"


def test_a_container_that_does_not_say_how_long_it_waits_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.cli.doctor._contained", lambda: False)
    assert not [*_stop(settings(timeout=10, grace=25), "")]
    monkeypatch.setattr("worker.cli.doctor._contained", lambda: True)
    [said] = _stop(settings(timeout=10, grace=25), "")
    assert said.level == "advice"
    assert "25 s" in said.text


def test_a_grace_that_is_no_duration_is_said() -> None:
    [said] = _stop(settings(), "soon")
    assert said.level == "warning"


def test_one_is_not_said_as_many() -> None:
    assert _consumed("q", 1, 1).text == "1 consumer, 1 message waits"
    assert _consumed("q", 0, 2).text == "2 consumers, 0 messages wait"


def test_limits_that_are_not_set_are_named() -> None:
    assert unset(LimitSettings(credit_max=Decimal("500"), removes_per_hour=10)) == [
        "credit_per_subscriber_day",
        "credit_per_hour",
    ]


def test_what_needs_a_person_is_said_with_the_next_step() -> None:
    health = Health(
        waiting=3,
        running=1,
        in_doubt=1,
        parked=2,
        oldest_due=900.0,
        unpublished=5,
        oldest_unpublished=900.0,
        unsealed=0,
        quarantined=4,
        nobody_listens={"provisioning.results": 7},
    )
    found = {(one.part, one.level): one for one in _figures(health)}
    assert "3 wait, 1 run, 1 in doubt, 2 parked" in found["commands", "well"].text
    assert found["events", "broken"].next
    assert 'republish --reason "…"`' in found["exchange provisioning.results", "warning"].next
    assert found["quarantine", "advice"].next == "`worker quarantine list`"
