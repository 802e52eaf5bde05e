"""Whose fault a refusal is: the command's only if the platform is well, and was (rule 2.4)."""

from __future__ import annotations

from typing import Any

from worker.domain.outcome import Done, Ill, Outcome, Refused, Unclear
from worker.engine.line import Line
from worker.messages.errors import Code
from worker.settings import SippulseSettings
from worker.telemetry import Telemetry

SETTINGS = SippulseSettings.model_validate(
    {"kind": "sippulse", "url": "http://127.0.0.1:1/SipPulse", "login": "a", "password": "b", "timeout": 5}
)
REFUSED = Refused(Code.PLATFORM_REFUSED, "no")
WELL, WRONG_LOGIN = Done(), Refused(Code.PLATFORM_REFUSED, "Authentication failed")


class Answers:
    """Answers control reads as told, one after another."""

    name = "sippulse-br"

    def __init__(self, *outcomes: Outcome) -> None:
        self._outcomes = list(outcomes)

    async def control(self) -> Outcome:
        return self._outcomes.pop(0)


def line(*control: Outcome, **settings: Any) -> Line:
    platform: Any = Answers(*control)
    journal: Any = None  # nothing here is written
    return Line(platform, SETTINGS.model_copy(update=settings), journal, Telemetry())


async def test_rule_2_4_a_refusal_is_the_commands_when_a_control_read_behind_it_succeeds():
    assert await line(WELL).confirm(REFUSED) == REFUSED


async def test_rule_2_4_a_refusal_is_the_platforms_when_the_control_read_is_refused_too():
    confirmed = await line(WRONG_LOGIN).confirm(REFUSED)
    assert isinstance(confirmed, Ill)
    assert confirmed.credentials


async def test_a_call_refused_just_before_the_password_was_put_right_is_not_rejected():
    one = line(WRONG_LOGIN, WELL)
    await one.control()
    assert isinstance(await one.confirm(REFUSED), Ill)


async def test_a_refusal_well_after_the_password_was_put_right_is_the_commands():
    one = line(WRONG_LOGIN, WELL, timeout=0.0)  # no call that is refused now was under way then
    await one.control()
    assert await one.confirm(REFUSED) == REFUSED


async def test_a_control_read_that_was_lost_says_nothing_of_a_refusal():
    one = line(Unclear("timeout"), WELL)
    await one.control()
    assert await one.confirm(REFUSED) == REFUSED
