"""A creation that no read shows, and that the platform refuses to make twice, is called like a set. A process that
dies over it leaves a doubt all the same, though the command came in as a creation."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio

from tests.faults.points.stage import LONG, Line, Outcome, Stage, Theatre, theatre
from tests.support.amqp import Heard, command, eventually
from tests.support.stage import JOURNALS, MODULE
from tests.support.storm import FINAL, PLATFORM
from worker.sandbox.postgres import PrivatePostgres
from worker.sandbox.rabbitmq import PrivateRabbit

pytestmark = [MODULE, pytest.mark.timeout(900)]

POINTS = ("sent", "answered")
SETTINGS: Mapping[str, Any] = {
    "timeout": 3.0,
    "lease_margin": 3.0,
    "assume": {"duplicates": "refused", "all_documented_operations": True},
}


@dataclass(frozen=True, slots=True)
class Played:
    """`before`: times it was made when the process was dead; `after`: at the end."""

    outcome: Outcome
    line: Line
    before: int
    after: int
    said: list[Heard]


Plays = Mapping[tuple[str, str], Played | BaseException]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plays(
    rabbit: PrivateRabbit, postgres: PrivatePostgres, tmp_path_factory: pytest.TempPathFactory
) -> Plays:
    async with theatre(tmp_path_factory.mktemp("unseen"), rabbit, postgres) as stages:
        await stages.platform.tell("switches", duplicates="refuse")
        homes = {"postgresql": stages, "sqlite": replace(stages, postgres=None)}
        cases = [(journal, point) for journal in JOURNALS for point in POINTS]
        numbered = enumerate(cases)
        done = await asyncio.gather(
            *(play(homes[journal], point, number) for number, (journal, point) in numbered),
            return_exceptions=True,
        )
    return dict(zip(cases, done, strict=True))


async def play(stages: Theatre, point: str, number: int) -> Played:
    alias = f"55113000{number:04}"
    data = {"platform": PLATFORM, "dbAliases": {"aliasUsername": alias}}
    line = Line("alias", 1, command("sippulse.SubscriberWS.insertDBAliases.v1", data))
    async with stages.stage(Outcome(point, {}), **SETTINGS) as stage:
        await stage.die([line], fresh=[line], later=[line])
        before = await made(stage, alias)
        worker = await stage.untouched()
        await eventually(lambda: bool(said(stage, line)), LONG, 0.2, f"what became of it\n{worker.tail()}")
        return Played(stage.outcome, line, before, await made(stage, alias), said(stage, line))


def said(stage: Stage, line: Line) -> list[Heard]:
    return [one for one in stage.whole.results.of(line.id) if one.data["status"] in (*FINAL, "parked")]


async def made(stage: Stage, alias: str) -> int:
    objects = await stage.whole.platform.ask("objects")
    return sum(one.get("aliasUsername") == alias for one in objects["aliases"])


def of(plays: Plays, journal: str, point: str) -> Played:
    played = plays[journal, point]
    if isinstance(played, BaseException):
        raise played
    [seen] = played.outcome.seen
    assert seen.last_words["commands"] == [played.line.id]
    return played


@pytest.mark.parametrize("journal", JOURNALS)
async def test_an_alias_whose_process_died_with_the_answer_is_a_persons_and_not_refused(
    plays: Plays, journal: str
) -> None:
    played = of(plays, journal, "answered")
    assert (played.before, played.after) == (1, 1)
    [result] = {one.event["id"]: one.data for one in played.said}.values()
    assert (result["status"], result["effect"]) == ("parked", "unknown"), result["error"]
    assert result["error"]["code"] == "effect_unknown"


@pytest.mark.parametrize("journal", JOURNALS)
async def test_an_alias_whose_process_died_before_the_first_byte_is_made_once(
    plays: Plays, journal: str
) -> None:
    played = of(plays, journal, "sent")
    assert (played.before, played.after) == (0, 1)
    assert played.outcome.seen[0].commands[played.line.id]["sent_at"] is not None, "no mark before the call"
    [result] = {one.event["id"]: one.data for one in played.said}.values()
    assert (result["status"], result["effect"]) == ("succeeded", "applied"), result["error"]
