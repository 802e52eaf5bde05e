"""A command that three processes in a row die over is parked; those beside it are not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio

from tests.faults.points.stage import Outcome, Theatre, theatre
from tests.faults.points.third import LIVES, Third, play_third, third_lines
from tests.support.stage import JOURNALS, MODULE
from worker.sandbox.postgres import PrivatePostgres
from worker.sandbox.rabbitmq import PrivateRabbit

pytestmark = [MODULE, pytest.mark.timeout(900)]


@dataclass(frozen=True, slots=True)
class Killer:
    """Where its process dies each time, and what it is parked with."""

    point: str
    effect: str
    code: str
    unknown: bool
    beside: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.point}-{self.effect}{'-beside-others' if self.beside else ''}"


KILLERS = (
    Killer("claimed", "set", "effect_unknown", unknown=True),
    Killer("evidence", "increment", "gave_up", unknown=False, beside=("increment", "create", "increment")),
    Killer("sent", "read", "gave_up", unknown=False),
)
LEASE = {"timeout": 4.0, "lease_margin": 4.0}  # three of them are waited for; few commands wait at a point

Played = Mapping[tuple[str, Killer], Third | BaseException]


@pytest.fixture(scope="module", params=JOURNALS)
def journal(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(
    request: pytest.FixtureRequest,
    rabbit: PrivateRabbit,
    postgres: PrivatePostgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Played:
    """Both journals side by side: it is all waiting for leases to end. With `-k` only what is asked for."""
    asked = chosen(request)
    folder = tmp_path_factory.mktemp("third")
    async with theatre(folder, rabbit, postgres) as stages:
        homes = {"postgresql": stages, "sqlite": replace(stages, postgres=None)}
        plays = [play(homes[journal], killer, number) for number, (journal, killer) in enumerate(asked)]
        done = await asyncio.gather(*plays, return_exceptions=True)
    return dict(zip(asked, done, strict=True))


def chosen(request: pytest.FixtureRequest) -> list[tuple[str, Killer]]:
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    cases = [item.callspec.params for item in items if item.path == request.path]
    asked: list[Any] = [(case["journal"], case["killer"]) for case in cases]
    return asked


async def play(stages: Theatre, killer: Killer, number: int) -> Third:
    lines = third_lines(killer.effect, killer.beside, number)
    places = {(f"{place} {line.effect}", LIVES): line for place, line in enumerate(lines)}
    async with stages.stage(Outcome(killer.point, places), **LEASE) as stage:
        return await play_third(stage, lines)


@pytest.mark.parametrize("killer", KILLERS, ids=str)
async def test_a_command_that_three_processes_die_over_is_parked_for_a_person(
    played: Played, journal: str, killer: Killer
) -> None:
    third = played[journal, killer]
    if isinstance(third, BaseException):
        raise third
    assert len(third.outcome.seen) == 3
    assert all(third.killer.id in seen.last_words["commands"] for seen in third.outcome.seen)
    states = {third.states[line.id] for line in third.beside}
    assert states <= {"succeeded"}, "it took others with it"
    assert len({one.event["id"] for one in third.parked}) == 1, third.outcome.log
    [said] = {one.event["id"]: one.data for one in third.parked}.values()
    assert said["error"]["code"] == killer.code
    assert said["effect"] == ("unknown" if killer.unknown else "none")
    assert not third.traces.applied
    assert third.resolved is not None
    assert third.resolved.code == 0, third.resolved.err
    assert len({one.event["id"] for one in third.results}) == 1
    assert third.outcome.verified is not None
    assert third.outcome.verified.code == 0, third.outcome.verified.out
