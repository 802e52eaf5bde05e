"""A process that dies between any two durable steps loses and doubles nothing: on PostgreSQL."""

from __future__ import annotations

from tests.faults.points.cases import EACH_CASE, MARKS, Case, Outcomes, judge, played

pytestmark = MARKS

outcomes = played("postgresql")


@EACH_CASE
async def test_a_death_between_two_steps_leaves_one_effect_and_one_answer(
    outcomes: Outcomes, case: Case
) -> None:
    judge(outcomes, case)
