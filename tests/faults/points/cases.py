"""What has to be true of every point, effect and number of deaths; and the fixture that brings it about.

All stages of a journal are played side by side before the first case: nearly all of their time is waiting for
leases to end. A case then judges the facts of its own command.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests.faults.points.orders import EFFECTS
from tests.faults.points.stage import DEATHS, Line, Outcome, Seen, Theatre, cases_of, lines_of, theatre
from tests.support.stage import MODULE
from worker.sandbox.rabbitmq import PrivateRabbit

POINTS = (
    "received",
    "admitting",
    "admitted",
    "claimed",
    "evidence",
    "sent",
    "answered",
    "stepped",
    "settled",
    "confirmed",
    "sealing",
)
MARKS = [MODULE, pytest.mark.timeout(900)]  # the first case waits for all stages

Outcomes = Mapping[str, Outcome]


@dataclass(frozen=True, slots=True)
class Case:
    point: str
    effect: str
    deaths: int

    def __str__(self) -> str:
        return f"{self.point}-{self.effect}-{'once' if self.deaths == 1 else 'twice'}"


CASES = [Case(point, effect, deaths) for point in POINTS for effect, deaths in cases_of(point)]
EACH_CASE = pytest.mark.parametrize("case", CASES, ids=str)


# ---------------------------------------------------------------- the fixture


def played(journal: str) -> Callable[..., Any]:
    """Of a module: every point that one of its chosen cases asks for, by name."""

    @pytest_asyncio.fixture(scope="module", loop_scope="module")
    async def outcomes(
        request: pytest.FixtureRequest, rabbit: PrivateRabbit, tmp_path_factory: pytest.TempPathFactory
    ) -> Outcomes:
        postgres = request.getfixturevalue("postgres") if journal == "postgresql" else None
        async with theatre(tmp_path_factory.mktemp("points"), rabbit, postgres) as all_stages:
            points = chosen(request)
            done = await asyncio.gather(*(play(all_stages, point) for point in points))
        return dict(zip(points, done, strict=True))

    return outcomes


async def play(theatre: Theatre, point: str) -> Outcome:
    outcome = Outcome(point, lines_of(point, POINTS.index(point)))
    try:
        async with theatre.stage(outcome) as stage:
            await stage.play()
    except Exception as error:  # the others are to be judged all the same
        outcome.error = error
    return outcome


def chosen(request: pytest.FixtureRequest) -> list[str]:
    """With `-k` only what is asked for is played."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    ours = [item for item in items if item.path == request.path]
    asked: set[str] = {getattr(item.callspec.params["case"], "point", "") for item in ours}
    return [point for point in POINTS if point in asked]


# ---------------------------------------------------------------- the judgement


def judge(outcomes: Outcomes, case: Case) -> None:
    """Died there; one effect; one answer; a whole chain; nothing left."""
    outcome = outcomes[case.point]
    if outcome.error is not None:
        raise outcome.error
    line = outcome.lines[case.effect, case.deaths]
    for seen in outcome.seen[DEATHS - case.deaths :]:
        died_there(outcome, line, seen)
        AS_IT_STOOD[case.point](line, seen)
    answered_once(outcome, line)
    took_effect_once(outcome, line)
    assert outcome.verified is not None
    assert outcome.verified.code == 0, outcome.verified.out + outcome.verified.err
    assert not any(outcome.left.values()), f"left in the journal: {outcome.left}\n{outcome.log}"


def died_there(outcome: Outcome, line: Line, seen: Seen) -> None:
    assert seen.code == -signal.SIGKILL, f"it ended otherwise: {seen.code}"
    assert seen.last_words.get("died") == outcome.point
    assert seen.last_words["pid"] == seen.pid
    assert line.id in seen.last_words["commands"], "this command was not at the point"


def answered_once(outcome: Outcome, line: Line) -> None:
    said = {one.event["id"]: one for one in line.results}
    assert len(said) == 1, f"{len(said)} final results: {[one.type for one in said.values()]}\n{outcome.log}"
    [result] = said.values()
    assert result.data["status"] == "succeeded", result.data["error"]
    assert result.data["effect"] == ("applied" if EFFECTS[line.effect].operations else "none")
    assert {one.body for one in line.results} == {result.body}, "one id, two contents"
    if outcome.point == "confirmed":
        assert len(line.results) > line.deaths, "what was not struck off was not published again"


def took_effect_once(outcome: Outcome, line: Line) -> None:
    effect, seen = EFFECTS[line.effect], line.traces
    assert seen is not None
    output = line.results[0].data["output"] or {}
    assert effect.check(seen, output), f"{output}\n{seen}\n{outcome.log}"
    if line.effect == "delete" and outcome.point not in FORGETS_THE_RECORD:
        assert output["removed"], "the record that was removed"
    assert tuple(dict.fromkeys(seen.applied)) == effect.operations, "each step, one after the other"
    for operation, times in Counter(seen.applied).items():
        if times > 1:
            # No read shows what it did: called again after the window, it leaves the same state.
            assert operation in effect.unseen, f"{operation} was done {times} times"
            assert outcome.point in REPEATS, f"{operation} was repeated needlessly"
            assert times <= 1 + line.deaths


# The record is read before the call and written with the answer: it goes with a process that dies in between.
FORGETS_THE_RECORD = ("answered", "admitted")
# Died with an answer that nobody wrote down; at `admitted` another task may just have had one.
REPEATS = ("answered", "admitted")


# ---------------------------------------------------------------- how things stood at the death


def not_in_the_journal(line: Line, seen: Seen) -> None:
    assert line.id not in seen.commands


def in_the_journal(line: Line, seen: Seen) -> None:
    assert line.id in seen.commands


def begun_without_effect(line: Line, seen: Seen) -> None:
    assert seen.commands[line.id]["state"] in ("running", "in_doubt")
    assert seen.applied[line.username] == EFFECTS[line.effect].before


def not_marked_sent(line: Line, seen: Seen) -> None:
    begun_without_effect(line, seen)
    assert seen.commands[line.id]["sent_at"] is None


def marked_sent(line: Line, seen: Seen) -> None:
    begun_without_effect(line, seen)
    if line.effect in ("create", "increment"):
        assert seen.commands[line.id]["sent_at"] is not None


def applied_and_not_settled(line: Line, seen: Seen) -> None:
    assert seen.commands[line.id]["state"] in ("running", "in_doubt")
    assert tuple(dict.fromkeys(seen.applied[line.username])) == EFFECTS[line.effect].after


def one_step_settled_and_not_the_next(line: Line, seen: Seen) -> None:
    assert seen.commands[line.id]["state"] == "waiting"
    done, steps = seen.applied[line.username], EFFECTS[line.effect].operations
    assert done in [steps[:place] for place in range(1, len(steps))]


def settled_and_not_published(line: Line, seen: Seen) -> None:
    assert seen.commands[line.id]["state"] == "succeeded"
    assert line.id in seen.unpublished
    assert line.id not in seen.heard


def confirmed_and_not_struck_off(line: Line, seen: Seen) -> None:
    assert seen.commands[line.id]["state"] == "succeeded"
    assert line.id in seen.unpublished


def ended_and_not_sealed(line: Line, seen: Seen) -> None:
    assert seen.commands[line.id]["state"] == "succeeded"
    assert (line.id, "ended") in seen.unsealed


AS_IT_STOOD: Mapping[str, Callable[[Line, Seen], None]] = {
    "received": not_in_the_journal,
    "admitting": not_in_the_journal,
    "admitted": in_the_journal,
    "claimed": begun_without_effect,
    "evidence": not_marked_sent,
    "sent": marked_sent,
    "answered": applied_and_not_settled,
    "stepped": one_step_settled_and_not_the_next,
    "settled": settled_and_not_published,
    "confirmed": confirmed_and_not_struck_off,
    "sealing": ended_and_not_sealed,
}
