"""The third process in a row that dies over a command: what kills a worker each time is a person's (rule 1)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from tests.faults.points.orders import BALANCE, EFFECTS, Traces, traces
from tests.faults.points.stage import LONG, Line, Outcome, Stage
from tests.support.amqp import Heard, eventually
from tests.support.storm import FINAL
from tests.support.worker import Finished

LIVES = 3


@dataclass(slots=True)
class Third:
    """What came of a command that three processes died over, and of those that ran beside it.

    `parked`: the events that say so. `before` and `after`: the platform when it was parked, and at the end.
    """

    outcome: Outcome
    killer: Line
    beside: list[Line]
    parked: list[Heard]
    traces: Traces
    states: dict[str, str]  # command id -> its state when the killer was parked and all others had ended
    resolved: Finished | None
    results: list[Heard]


def third_lines(effect: str, beside: Sequence[str], number: int) -> list[Line]:
    """The killer first; it also goes first among those that are due."""
    lines = []
    for place, name in enumerate((effect, *beside)):
        line = Line(name, LIVES, EFFECTS[name].make(f"5521{number:03}{place:02}"))
        lines.append(line)
    lines[0].order["priority"] = "high"
    return lines


async def play_third(stage: Stage, lines: Sequence[Line]) -> Third:
    killer, beside = lines[0], list(lines[1:])
    there = [line.username for line in lines if EFFECTS[line.effect].exists_before]
    await stage.whole.platform.subscribers(there, balance=BALANCE)
    await stage.die(lines, fresh=lines, later=lines)
    await stage.die(lines, fresh=lines)
    await stage.die([killer], fresh=[killer])  # alone
    worker = await stage.untouched()
    with suppress(AssertionError):
        await eventually(lambda: is_parked(stage, killer) and all(map(stage.has_final, beside)), LONG, 0.25)
    third = Third(
        stage.outcome,
        killer,
        beside,
        [one for one in stage.whole.results.of(killer.id) if one.data["status"] == "parked"],
        await traces(stage.whole.platform, killer.username),
        {
            row["message_id"]: row["state"]
            for row in await stage.rows("SELECT message_id, state FROM commands")
        },
        None,
        [],
    )
    if third.parked and all(map(stage.has_final, beside)):
        await resolve(stage, third)
    stage.outcome.log = worker.tail()
    return third


def is_parked(stage: Stage, line: Line) -> bool:
    return any(one.data["status"] == "parked" for one in stage.whole.results.of(line.id))


async def resolve(stage: Stage, third: Third) -> None:
    """The person's word ends it: as the platform shows it."""
    killer = third.killer
    await eventually(lambda: no_window(stage), LONG, 0.2, "the end of the window")
    if third.parked[0].data["effect"] == "unknown":
        word = "--applied" if third.traces.applied else "--not-applied"
        third.resolved = await stage.verb("commands", "resolve", killer.id, word, "--reason", "looked")
    else:
        third.resolved = await stage.verb("commands", "cancel", killer.id, "--reason", "it kills workers")
    await eventually(lambda: stage.has_final(killer), LONG, 0.1, "the final result")
    await eventually(lambda: nothing_left(stage), LONG, 0.2, "an empty journal")
    stage.outcome.verified = await stage.verify()
    third.results = [one for one in stage.whole.results.of(killer.id) if one.data["status"] in FINAL]


async def no_window(stage: Stage) -> bool:
    return (await stage.left())["windows"] == 0


async def nothing_left(stage: Stage) -> bool:
    return not any((await stage.left()).values())
