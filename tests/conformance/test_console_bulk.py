"""An act on many commands, as it is worked off: what was left out at the preview is left out again later."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conformance.support import (
    Place,
    admit,
    change,
    claim,
    claim_one,
    order,
    parked,
    refused,
    select,
    settle,
    states,
)
from tests.conformance.test_console_journal import KEPT
from worker.journal.console import bulk
from worker.journal.console.access import ConsoleJournal
from worker.journal.console.lists import Wanted
from worker.journal.console.work import work
from worker.journal.journal import StoredJournal
from worker.messages.errors import Code, Problem

MANY = 8


@pytest.fixture
async def console(place: Place, journal: StoredJournal) -> AsyncIterator[ConsoleJournal]:
    it = ConsoleJournal(journal, place.url)
    for name in KEPT:
        await change(journal, f"DELETE FROM {name}")
    yield it
    await it.close()


def key(number: int) -> str:
    return f"sip-br:subscriber:p{number}@example.org"


async def rejected(journal: StoredJournal, count: int = MANY) -> list[int]:
    for number in range(count):
        await admit(journal, order(f"m-{number}", key(number)))
    wrong = Problem(Code.PLATFORM_REFUSED, "the trunk is down")
    await settle(journal, *(refused(one, problem=wrong) for one in await claim(journal)))
    return [row["id"] for row in await select(journal, "SELECT id FROM commands ORDER BY id")]


async def results(journal: StoredJournal) -> dict[int, tuple[str, str | None]]:
    rows = await select(journal, "SELECT command_id, result, text FROM console_act_items")
    return {row["command_id"]: (row["result"], row["text"]) for row in rows}


async def portion(journal: StoredJournal, act: dict[str, Any]) -> list[bulk.Done | None]:
    """All that is left, acted on."""
    numbers = await journal.run(lambda tx: bulk.next_items(tx, act["id"], 100))
    return [
        await journal.run(lambda tx, number=number: bulk.one(tx, journal.core, act, number, 1))  # type: ignore[misc]  # bound at once
        for number in numbers
    ]


async def test_what_was_overtaken_went_unknown_or_half_done_since_the_preview_is_left_out(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    numbers = await rejected(journal)
    seen = await console.preview("retry", Wanted(state="rejected"))
    assert (len(seen.numbers), seen.unknown, seen.partly, seen.superseded) == (MANY, 0, 0, 0)
    act = await console.bulk_act(await console.begin(seen, Wanted(), "ann", "the trunk is up"))
    assert act is not None
    await admit(journal, order("later", key(1)))
    await change(journal, f"UPDATE commands SET effect = 'unknown' WHERE id = {numbers[2]}")
    await change(journal, f"UPDATE commands SET effect = 'applied' WHERE id = {numbers[3]}")
    await journal.retry(f"#{numbers[4]}", "bob", "mine")
    done = await portion(journal, act)
    assert [one and one.result for one in done] == [
        "acted", "left_out", "left_out", "left_out", "left_out", "acted", "acted", "acted",
    ]  # fmt: skip
    found = await results(journal)
    assert "later command" in (found[numbers[1]][1] or "")
    assert "unknown" in (found[numbers[2]][1] or "")
    assert "steps took effect" in (found[numbers[3]][1] or "")
    assert "later command" in (found[numbers[4]][1] or ""), "somebody's retry is such a later command"
    counted = await console.bulk_act(act["id"])
    assert counted is not None
    assert (counted["acted"], counted["refused"], counted["left_out"]) == (4, 0, 4)
    assert len(await states(journal)) == MANY + 1 + 1 + 4


async def test_who_includes_what_was_overtaken_gets_it_at_every_portion(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    await rejected(journal, 2)
    await admit(journal, order("later", key(1)))
    wanted = Wanted(state="rejected")
    assert len((await console.preview("retry", wanted)).numbers) == 1
    seen = await console.preview("retry", wanted, superseded=True)
    act = await console.bulk_act(await console.begin(seen, wanted, "ann", "both"))
    assert act is not None
    assert [one and one.result for one in await portion(journal, act)] == ["acted", "acted"]


async def test_a_preview_tells_what_is_half_done_and_never_takes_it(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    numbers = await rejected(journal, 2)
    await change(journal, f"UPDATE commands SET effect = 'applied' WHERE id = {numbers[0]}")
    seen = await console.preview("retry", Wanted(), superseded=True)
    assert (seen.partly, seen.numbers) == (1, (numbers[1],))
    assert (await console.preview("archive", Wanted())).numbers == tuple(numbers)


async def test_an_act_goes_in_portions_of_1_5_50_then_500(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    count = 1 + 5 + 50 + 500 + 4
    await admit(journal, *(order(f"m-{number}", key(number)) for number in range(count)))
    wrong = Problem(Code.PLATFORM_REFUSED, "the trunk is down")
    claimed = await claim(journal, limit=count)
    await settle(journal, *(refused(one, problem=wrong) for one in claimed))
    seen = await console.preview("archive", Wanted(state="rejected"))
    told: list[int] = []
    number = await console.begin(seen, Wanted(), "ann", "known")
    act = await work(console, number, lambda act: told.append(act["acted"]))
    assert (act["state"], told) == ("done", [1, 6, 56, 556, 560])
    rows = await select(
        journal, "SELECT portion, count(*) AS n FROM console_act_items GROUP BY portion ORDER BY portion"
    )
    assert [row["n"] for row in rows] == [1, 5, 50, 500, 4]


async def test_a_stopped_act_does_not_touch_the_next_command(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    numbers = await rejected(journal, 3)
    seen = await console.preview("archive", Wanted())
    number = await console.begin(seen, Wanted(), "ann", "old")
    act = await console.bulk_act(number)
    assert act is not None
    assert await journal.run(lambda tx: bulk.one(tx, journal.core, act, numbers[0], 1)) == bulk.Done(
        "acted", numbers[0]
    )
    assert await console.end_bulk(number, "bob", "stopped by bob")
    assert await journal.run(lambda tx: bulk.one(tx, journal.core, act, numbers[1], 1)) is None
    assert (await work(console, number))["acted"] == 1
    rows = await select(journal, "SELECT id FROM commands WHERE archived")
    assert [row["id"] for row in rows] == [numbers[0]]


async def test_it_stops_when_most_of_a_portion_is_refused_and_left_out_ones_do_not_count(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    for number in range(3):
        await admit(journal, order(f"m-{number}", key(number)))
    for one in await claim(journal):
        await settle(journal, parked(one))
    seen = await console.preview("cancel", Wanted(state="parked"))
    numbers = list(seen.numbers)
    number = await console.begin(seen, Wanted(state="parked"), "ann", "given up")
    await change(journal, f"UPDATE commands SET effect = 'unknown' WHERE id = {numbers[0]}")
    await journal.cancel(f"#{numbers[1]}", "bob", "first")
    await journal.cancel(f"#{numbers[2]}", "bob", "first")
    ended = await work(console, number)
    assert (ended["state"], ended["acted"], ended["refused"], ended["left_out"]) == ("stopped", 0, 2, 1)
    assert ended["text"].startswith("2 of the 2 in portion 2 were refused")


async def test_a_whole_act_goes_in_portions_and_tells_how_far_it_is(
    console: ConsoleJournal, journal: StoredJournal
) -> None:
    numbers = await rejected(journal)
    number = await console.begin(await console.preview("archive", Wanted()), Wanted(), "ann", "old")
    told: list[int] = []
    ended = await work(console, number, lambda act: told.append(act["acted"]))
    assert (ended["state"], ended["acted"], told) == ("done", MANY, [1, 6, 8])
    assert len(numbers) == MANY
    await admit(journal, order("more", key(99)))
    assert await claim_one(journal)
